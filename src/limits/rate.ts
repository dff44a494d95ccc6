/**
 * Rates: so many starts in a period, over all workers together. A row holds a virtual schedule (the generic cell rate
 * algorithm, GCRA): starts are at least an interval apart, but for a burst. Who comes when no place is free is told a time of
 * its own, and asks again then.
 */
import { ImproperlyConfigured } from "../errors.ts";
import { show } from "../parse.ts";
import type { Decided } from "./store.ts";

/** What a rate says, in milliseconds. */
export interface Rate {
  /** Starts in a period. */
  readonly limit: number;
  readonly period: number;
  /** Starts that may come together. */
  readonly burst: number;
}

/** Clocks of workers may differ by so much, in milliseconds: a rate is kept all the same. */
export const CLOCK_SKEW_MS = 2_000;

/** Sums of intervals are as exact as this, in milliseconds. */
const ROUNDING_MS = 0.01;

const PERIODS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** A rate in Celery's words: `10`, `"10/s"`, `"100/m"`, `"5/h"`. Throws `ImproperlyConfigured`. */
export function parseRate(value: unknown, at: string, burst = 1): Rate {
  const [, digits, period = "s"] = /^\s*(\d+)\s*(?:\/\s*([smh]))?\s*$/.exec(String(value)) ?? [];
  const limit = Number(digits);
  if ((typeof value !== "number" && typeof value !== "string") || !(limit >= 1 && limit <= 1_000_000))
    throw new ImproperlyConfigured(
      at,
      `must be a whole number of starts from 1 to 1,000,000 in a second, a minute or an hour, such as 10, "10/s", "100/m" or "5/h"; given: ${show(value)}`,
    );
  return { limit, period: PERIODS[period as keyof typeof PERIODS], burst };
}

/** How a rate is written. */
export const rateText = ({ limit, period, burst }: Rate): string => `${limit}/${period}/${burst}`;

/**
 * Milliseconds between two starts. With a burst they are a little further apart than the period says: a clock that is ahead of
 * the others gives the burst back too soon, and what it gives must not come on top.
 */
export function intervalOf({ limit, period, burst }: Rate): number {
  const plain = period / limit;
  const apart = burst > limit ? Number.POSITIVE_INFINITY : period / (limit + 1 - burst);
  return Math.max(plain, Math.min(apart, (period + CLOCK_SKEW_MS) / (limit + 1)));
}

/** The state of a row. All times are in milliseconds since the epoch. */
interface RateState {
  /** What the rate was called that it was written for, and how far apart its starts are. */
  readonly rate: string;
  readonly interval: number;
  /** The latest time that any worker had: it never goes back. */
  readonly clock: number;
  /** From when on the schedule is free: GCRA's theoretical arrival time. */
  readonly free: number;
  /** The first time that nobody was told yet. */
  readonly booked: number;
  /** The same, for those who came at their time and found no place. */
  readonly again: number;
  /** Nothing starts before, whatever the rate: a service said so. */
  readonly held: number;
}

export interface RateAsk {
  /** The time of who asks. */
  readonly now: number;
  readonly rate: Rate;
  /** What the rate is called: what was told under another name is told anew. */
  readonly text: string;
  /** The time that it was told when it asked before, under a rate. */
  readonly told?: { readonly at: number; readonly rate: string } | undefined;
  /** Who asks can wait so long by itself, in milliseconds, once it is its turn. */
  readonly patience: number;
}

export interface RateAnswer {
  /** It may start from this time on; `false`: not yet, and this is the time to ask again. */
  readonly admitted: boolean;
  readonly at: number;
  /** The row's clock: by so much the worker's own may be behind. */
  readonly clock: number;
}

function read(stored: string | undefined, { text, rate, now }: RateAsk): RateState {
  const interval = intervalOf(rate);
  if (stored === undefined) return { rate: text, interval, clock: 0, free: 0, booked: 0, again: 0, held: 0 };
  const state = JSON.parse(stored) as RateState;
  if (state.rate === text) return state;
  // Times that were told under another rate are nobody's any more: who has one asks again. Starts that there were count on.
  const clock = Math.max(state.clock, now);
  const free = clock + (Math.max(0, state.free - clock) / state.interval) * interval;
  return { ...state, rate: text, interval, free, booked: 0, again: 0 };
}

/** Asks for a start. */
export function askRate(stored: string | undefined, ask: RateAsk): Decided<RateAnswer> {
  const state = read(stored, ask);
  const { interval } = state;
  const clock = Math.max(state.clock, ask.now);
  const told = ask.told?.rate === state.rate ? ask.told : undefined;
  // Told by a worker whose clock is ahead of all that asked since: its time is still its own.
  if (told !== undefined && told.at > clock + ask.patience)
    return written({ ...state, clock }, ask, { admitted: false, at: told.at, clock });
  const wasTold = told !== undefined;
  const own = Math.max(told?.at ?? 0, clock);
  const earliest = Math.max(state.free - (ask.rate.burst - 1) * interval, state.held, own);
  // Who has not been told a time must not pass those who have.
  const isItsTurn = wasTold || state.booked <= clock;
  if (isItsTurn && earliest - clock <= (wasTold ? ask.patience : 0) + ROUNDING_MS) {
    const free = Math.max(state.free, earliest) + interval;
    const at = earliest - clock <= ROUNDING_MS ? clock : earliest;
    return written({ ...state, clock, free }, ask, { admitted: true, at, clock });
  }
  if (wasTold) {
    const at = Math.max(state.again, earliest);
    return written({ ...state, clock, again: at + interval }, ask, { admitted: false, at, clock });
  }
  const at = Math.max(state.booked, earliest);
  return written({ ...state, clock, booked: at + interval }, ask, { admitted: false, at, clock });
}

/** Holds a key: nothing of it starts for so many milliseconds. Who says so is told a time after that. */
export function holdRate(stored: string | undefined, ask: RateAsk, ms: number): Decided<RateAnswer> {
  const state = read(stored, ask);
  const held = Math.max(state.held, state.clock + ms, ask.now + ms);
  return askRate(JSON.stringify({ ...state, held }), { ...ask, told: undefined, patience: 0 });
}

function written(state: RateState, { rate }: RateAsk, answer: RateAnswer): Decided<RateAnswer> {
  const { clock, free, booked, again, held } = state;
  const expires = Math.max(clock, free, booked, again, held) + rate.period + rate.burst * intervalOf(rate) + 60_000;
  return { write: { state: JSON.stringify(state), expires }, answer };
}
