/** The check of what `get`, `join`, `collect` and `revoke` are given. */
import { boolean, options, seconds, shape, signal } from "../parse.ts";
import type { GetOptions, RevokeOptions } from "./async-result.ts";

/** Without end is a number of seconds too. */
const span = seconds({ min: 0, max: Number.POSITIVE_INFINITY });

const getShape = shape<GetOptions>(
  { timeout: span, interval: span, propagate: boolean, signal, disableSyncSubtasks: boolean },
  {},
);
const revokeShape = shape<RevokeOptions>({ terminate: boolean }, {});

/** The options that were given. Throws `ImproperlyConfigured`. */
export const checkGetOptions = (given: unknown): GetOptions => options(getShape, given, "get", "{ timeout: 5 }");

export const checkRevokeOptions = (given: unknown): RevokeOptions =>
  options(revokeShape, given, "revoke", "{ terminate: true }");
