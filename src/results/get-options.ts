/** The check of what `get`, `join`, `collect` and `revoke` are given. */
import { ImproperlyConfigured } from "../errors.ts";
import { boolean, fail, isPlain, type Parse, seconds, shape, show } from "../parse.ts";
import type { GetOptions, RevokeOptions } from "./async-result.ts";

/** Without end is a number of seconds too. */
const span = seconds({ min: 0, max: Number.POSITIVE_INFINITY });

const signal: Parse<AbortSignal> = (value, at) =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value
    ? (value as AbortSignal)
    : fail(at, "an AbortSignal", value);

const getShape = shape<GetOptions>({ timeout: span, interval: span, propagate: boolean, signal }, {});
const revokeShape = shape<RevokeOptions>({ terminate: boolean }, {});

/** The options that were given. `null` counts as not given, as Celery's `timeout=None`. Throws `ImproperlyConfigured`. */
export const checkGetOptions = (options: unknown): GetOptions => given(getShape, options, "get", "{ timeout: 5 }");

export const checkRevokeOptions = (options: unknown): RevokeOptions =>
  given(revokeShape, options, "revoke", "{ terminate: true }");

function given<T>(parse: Parse<T>, options: unknown, at: string, example: string): T {
  const some = options ?? {};
  if (!isPlain(some)) {
    throw new ImproperlyConfigured(at, `takes an object of options, such as ${example} (given: ${show(options)})`);
  }
  return parse(Object.fromEntries(Object.entries(some).filter(([, value]) => value !== null)), at);
}
