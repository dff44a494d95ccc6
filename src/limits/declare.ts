/** What a declaration says of limits, and the checks of it. */
import { ImproperlyConfigured } from "../errors.ts";
import { integer, type Parse, shape, show } from "../parse.ts";
import { parseRate, type Rate } from "./rate.ts";

/** Says whose limit it is, by the task's arguments: each key has a limit of its own. */
// biome-ignore lint/suspicious/noExplicitAny: the arguments are the task's, of whatever types
export type LimitKey = (...args: any[]) => string;

/** How often a task may start, over all workers together: `10` or `"10/s"`, `"100/m"`, `"5/h"`; with a key, of each key. */
export interface RateLimit {
  readonly limit: number | string;
  /** Starts that may come together, 1 or more. In no period start more than limit and burst together. Default 1. */
  readonly burst?: number;
  /** Default: one limit for all calls of the task. */
  readonly key?: LimitKey;
}

/** How many runs of a task there may be at a time, over all workers together. */
export interface ConcurrencyLimit {
  /** 1 to 1,000. */
  readonly limit: number;
  /** Default: one limit for all calls of the task. */
  readonly key?: LimitKey;
}

/** Options of a declaration that say who may run now. */
export interface LimitOptions {
  readonly rateLimit?: number | string | RateLimit;
  readonly concurrency?: number | ConcurrencyLimit;
}

const key: Parse<LimitKey> = (value, at) => {
  if (typeof value === "function") return value as LimitKey;
  throw new ImproperlyConfigured(
    at,
    `must be a function of the task's arguments that gives a text, such as (customer) => customer.id; given: ${show(value)}`,
  );
};

const any: Parse<unknown> = (value) => value;
const rateShape = shape<RateLimit>({ limit: any as Parse<number | string>, burst: integer(1, 100_000), key }, {});
const concurrencyShape = shape<ConcurrencyLimit>({ limit: integer(1, 1_000), key }, {});

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** The rate that an option says, and its key. Throws `ImproperlyConfigured`. */
export function readRateLimit(value: unknown, at: string): { readonly rate: Rate; readonly key: LimitKey | undefined } {
  if (!isRecord(value)) return { rate: parseRate(value, at), key: undefined };
  const { limit, burst, key } = rateShape(value, at);
  return { rate: parseRate(limit, `${at}.limit`, burst ?? 1), key };
}

/** The same of a limit of concurrency. */
export function readConcurrency(value: unknown, at: string): ConcurrencyLimit {
  if (!isRecord(value)) return { limit: integer(1, 1_000)(value, at) };
  const read = concurrencyShape(value, at);
  if (read.limit === undefined) throw new ImproperlyConfigured(`${at}.limit`, "says how many may run at a time");
  return read;
}
