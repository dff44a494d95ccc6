/** What a declaration says of limits, and the checks of it. */
import { ImproperlyConfigured } from "../errors.ts";
import { integer, type Parse, seconds, shape, show } from "../parse.ts";
import { parseRate, type Rate } from "./rate.ts";

/** Says whose limit it is, by the task's arguments: each key has a limit of its own. */
// biome-ignore lint/suspicious/noExplicitAny: the arguments are the task's, of whatever types
export type LimitKey = (...args: any[]) => string;

/** How often a task may start, over all workers together: `10` or `"10/s"`, `"100/m"`, `"5/h"`; with a key, of each key. */
export interface RateLimit {
  /** So many in a second, or in the span that is named: `"100/m"`. 1 or more. */
  readonly limit: number | string;
  /** Starts that may come together, 1 or more. In no period start more than limit and burst together. Default 1. */
  readonly burst?: number | undefined;
  /** Default: one limit for all calls of the task. */
  readonly key?: LimitKey | undefined;
}

/** How many runs of a task there may be at a time, over all workers together. */
export interface ConcurrencyLimit {
  /** 1 to 1,000. */
  readonly limit: number;
  /** Default: one limit for all calls of the task. */
  readonly key?: LimitKey | undefined;
}

/** One call for each key: another is not sent, and gives the `AsyncResult` of the one that is there. */
export interface Unique {
  /** Of the arguments: calls with the same text belong together. */
  readonly key: LimitKey;
  /** Until it starts (`"waiting"`), until it ends (`"running"`), or for so many seconds from the call. */
  readonly for: "waiting" | "running" | number;
  /** `"replace"`: the one that waits runs with the arguments of the last call. Only with `for: "waiting"`. Default `"keep"`. */
  readonly onConflict?: "keep" | "replace" | undefined;
}

/** Of calls that come shortly after each other the last one's arguments count: the task starts when none has come for a while. */
export interface Debounce {
  /** Of the arguments: calls with the same text belong together. */
  readonly key: LimitKey;
  /** Seconds without a further call until it starts. */
  readonly wait: number;
  /** It starts so many seconds after the first call at the latest. Default: ten times {@link wait}. */
  readonly max?: number | undefined;
}

/** One call in so many seconds; those that come before give the `AsyncResult` of the first. */
export interface Throttle {
  /** Of the arguments: calls with the same text belong together. */
  readonly key: LimitKey;
  /** Seconds. */
  readonly wait: number;
}

/** Options of a declaration that say who may run now. */
export interface LimitOptions {
  /** How many may start in a span of time, over all workers together: `"100/m"`, or `{ limit, burst, key }`. Default: no limit. */
  readonly rateLimit?: number | string | RateLimit | undefined;
  /** How many may run at a time, over all workers together: a number, or `{ limit, key }`. Default: no limit. */
  readonly concurrency?: number | ConcurrencyLimit | undefined;
  /** Of calls with the same key one is sent. One of `unique`, `debounce` and `throttle`. */
  readonly unique?: Unique | undefined;
  /** Of a burst of calls with the same key the last one runs. Default: each call runs. */
  readonly debounce?: Debounce | undefined;
  /** Of the calls with the same key one runs in each span of time. Default: each call runs. */
  readonly throttle?: Throttle | undefined;
}

/** A call counts as one that waits, or runs, for so many seconds at most: a week, SQS's usual retention. */
export const MOST_UNIQUE_S = 7 * 86_400;

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
  if (read.limit === undefined) throw new ImproperlyConfigured(`${at}.limit`, "is needed: how many may run at a time");
  return read;
}

const mustHave = <T extends object>(value: T, at: string, ...names: readonly (keyof T & string)[]): T => {
  for (const name of names) if (value[name] === undefined) throw new ImproperlyConfigured(`${at}.${name}`, "is needed");
  return value;
};

const uniqueFor: Parse<Unique["for"]> = (value, at) =>
  value === "waiting" || value === "running" ? value : seconds({ min: 1, max: MOST_UNIQUE_S })(value, at);
const onConflict: Parse<"keep" | "replace"> = (value, at) => {
  if (value === "keep" || value === "replace") return value;
  throw new ImproperlyConfigured(at, `must be "keep" or "replace"; given: ${show(value)}`);
};
const uniqueShape = shape<Unique>({ key, for: uniqueFor, onConflict }, {});
const wait = seconds({ min: 0.001, max: MOST_UNIQUE_S });
const debounceShape = shape<Debounce>({ key, wait, max: wait }, {});
const throttleShape = shape<Throttle>({ key, wait }, {});

export function readUnique(value: unknown, at: string): Unique {
  const unique = mustHave(uniqueShape(value, at), at, "key", "for");
  if (unique.onConflict === "replace" && unique.for !== "waiting")
    throw new ImproperlyConfigured(
      `${at}.onConflict`,
      '"replace" is only possible until the task starts: set for: "waiting"',
    );
  return unique;
}

export function readDebounce(value: unknown, at: string): Debounce {
  const debounce = mustHave(debounceShape(value, at), at, "key", "wait");
  if (debounce.max !== undefined && debounce.max < debounce.wait)
    throw new ImproperlyConfigured(`${at}.max`, `must not be below wait (${debounce.wait} s); given: ${debounce.max}`);
  return debounce;
}

export const readThrottle = (value: unknown, at: string): Throttle =>
  mustHave(throttleShape(value, at), at, "key", "wait");
