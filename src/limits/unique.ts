/**
 * Uniqueness: one call for each key. A row says whose id it is; it is written before the message is sent, and told again when
 * that is done. Who meets one whose message is not told of looks again for a while, and then sends it under the same id: so
 * nothing stays locked by a crash between the two, and the claim lets one of two copies run.
 */
import { CLOCK_SKEW_MS } from "./rate.ts";
import type { Decided } from "./store.ts";

interface UniqueState {
  readonly id: string;
  /** Its message is known to be in the queue. */
  readonly sent: boolean;
  /** Until when the row stands, in milliseconds since the epoch. */
  readonly until: number;
  /** When the first call came, and when it is to start, where each further call puts that off. */
  readonly first: number;
  readonly due: number;
  /** The arguments of the last call, where they replace those of the message. */
  readonly call?: string;
  /** How many calls there were. */
  readonly calls: number;
  /** When its message expires, in milliseconds since the epoch: it must have started by then. Absent: never, or nobody has told. */
  readonly ends?: number;
  /** It has started, and so it has a result: when that is gone, it is over. */
  readonly begun?: true;
}

const read = (stored: string | undefined): UniqueState | undefined =>
  stored === undefined ? undefined : (JSON.parse(stored) as UniqueState);

const written = <T>(state: UniqueState, answer: T): Decided<T> => ({
  write: { state: JSON.stringify(state), expires: state.until },
  answer,
});

export interface UniqueAsk {
  readonly now: number;
  /** The id that the call has, if it is the one. */
  readonly id: string;
  /** For so long, in milliseconds, another call is the same. */
  readonly ms: number;
  /** The call's arguments, where they replace those of one that waits. */
  readonly call?: string | undefined;
  /** Milliseconds without a further call until it starts, and from the first call on at most. */
  readonly debounce?: { readonly wait: number; readonly max: number } | undefined;
  /** The task of this id has ended: its row is nobody's. */
  readonly over?: string | undefined;
}

export interface UniqueAnswer {
  /** The id of the call that is there. */
  readonly id: string;
  /** Whether its message is to be sent: it is this call's, or that of one that was never told of. */
  readonly send: boolean;
  /** It is this call's. */
  readonly isNew: boolean;
  /** Without a result it is over: it has expired in its queue, or its result was there and is gone. */
  readonly needsResult: boolean;
}

/** Asks whether a call is the one of its key. */
export function askUnique(stored: string | undefined, ask: UniqueAsk): Decided<UniqueAnswer> {
  const { now, id, ms, call, debounce, over } = ask;
  const there = read(stored);
  if (there === undefined || there.id === over) {
    const due = debounce === undefined ? 0 : now + debounce.wait;
    const state = { id, sent: false, until: now + ms, first: now, due, calls: 1 };
    return written(state, { id, send: true, isNew: true, needsResult: false });
  }
  const needsResult = there.begun === true || (there.ends !== undefined && there.ends + CLOCK_SKEW_MS < now);
  const answer: UniqueAnswer = { id: there.id, send: !there.sent, isNew: false, needsResult };
  if (call === undefined) return { answer };
  const due = debounce === undefined ? there.due : Math.min(now + debounce.wait, there.first + debounce.max);
  const until = Math.max(there.until, now + ms);
  return written({ ...there, call, due, until, calls: there.calls + 1 }, answer);
}

/** Whether its message is known to be in the queue; `undefined`: the row is another's, or gone. */
export function seeSent(stored: string | undefined, id: string): Decided<boolean | undefined> {
  const there = read(stored);
  return { answer: there?.id === id ? there.sent : undefined };
}

/** Its message is in the queue, until it expires. */
export function tellSent(stored: string | undefined, id: string, ends: number | undefined): Decided<undefined> {
  const there = read(stored);
  if (there === undefined || there.id !== id || there.sent) return { answer: undefined };
  return written({ ...there, sent: true, ...(ends !== undefined && { ends }) }, undefined);
}

/** It has started, and goes on in other messages. */
export function tellBegun(stored: string | undefined, id: string): Decided<undefined> {
  const there = read(stored);
  if (there === undefined || there.id !== id || there.begun) return { answer: undefined };
  return written({ ...there, begun: true }, undefined);
}

/** Its task is not unique any more: it has started, has ended, or could not be sent. */
export function endUnique(stored: string | undefined, id: string): Decided<undefined> {
  return read(stored)?.id === id ? { write: null, answer: undefined } : { answer: undefined };
}

export interface BeginAnswer {
  /** When it is to start. */
  readonly due: number;
  /** Arguments that replace those of its message. */
  readonly call: string | undefined;
  readonly calls: number;
}

/** What a task is to know before it starts; `undefined`: the row is another's, or gone. */
export function seeUnique(stored: string | undefined, id: string): Decided<BeginAnswer | undefined> {
  const there = read(stored);
  if (there === undefined || there.id !== id) return { answer: undefined };
  return { answer: { due: there.due, call: there.call, calls: there.calls } };
}

/** It starts. `false`: another call came since it looked, and its arguments count. */
export function beginUnique(stored: string | undefined, id: string, calls: number): Decided<boolean> {
  const there = read(stored);
  if (there === undefined || there.id !== id) return { answer: true };
  return there.calls === calls ? { write: null, answer: true } : { answer: false };
}
