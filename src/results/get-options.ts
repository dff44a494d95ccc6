/** The check of what `get`, `join`, `collect` and `revoke` are given. */
import { boolean, fail, integer, options, type Parse, seconds, shape, signal } from "../parse.ts";
import type { GetOptions, RevokeOptions, StreamOptions, WatchOptions } from "./async-result.ts";

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

const told: Parse<() => void> = (value, at) =>
  typeof value === "function" ? (value as () => void) : fail(at, "a function", value);

const streamShape = shape<StreamOptions>({ from: integer(0), timeout: span, signal, onRestart: told }, {});
const watchShape = shape<WatchOptions>({ timeout: span, signal }, {});

export const checkStreamOptions = (given: unknown): StreamOptions =>
  options(streamShape, given, "stream", "{ from: 0 }");

export const checkWatchOptions = (given: unknown): WatchOptions =>
  options(watchShape, given, "watch", "{ timeout: 60 }");
