/**
 * Concurrency: so many at a time. A row names who holds a place, each with a lease, and the first of those who wait. Who leaves
 * keeps the place for the first of them, for a short time, and says who that is: whoever it is can be woken.
 */
import type { Decided } from "./store.ts";

/** A place is free so long after its lease, in milliseconds: clocks of workers differ. */
const LEASE_MARGIN_MS = 2_000;
/** Who waits asks again after this, in milliseconds, where nobody wakes it. */
const ASK_AGAIN_MS = 30_000;
/** Who has not asked again so long after it was to, in milliseconds, waits no more. */
const LATE_MS = 15_000;
/** A place is kept so long for who was woken, in milliseconds. */
const KEPT_MS = 5_000;
/** So many who wait are named. Those behind them ask again in turn. */
const MOST_NAMED = 50;

interface Holder {
  readonly id: string;
  readonly until: number;
}

interface Waiting {
  readonly ticket: number;
  /** The row with the message that it is woken by. */
  readonly parked: string;
  /** It asks again until then, or is gone. */
  readonly until: number;
}

interface PlacesState {
  /** By owner; a place that is kept for who was woken, by its ticket. */
  readonly holders: Readonly<Record<string, Holder>>;
  readonly waiting: readonly Waiting[];
  readonly tickets: number;
}

const read = (state: string | undefined): PlacesState =>
  state === undefined ? { holders: {}, waiting: [], tickets: 0 } : (JSON.parse(state) as PlacesState);

const keptFor = (ticket: number): string => `ticket ${ticket}`;

export interface PlaceAsk {
  readonly now: number;
  readonly limit: number;
  /** Who asks: made once for each delivery. */
  readonly owner: string;
  /** The task's id. */
  readonly id: string;
  /** The row with the message that it can be woken by. */
  readonly parked: string;
  /** Until when it may be believed alive. */
  readonly lease: number;
  /** That it was given when it asked before. */
  readonly ticket?: number | undefined;
  /** What is known of holders whose lease is over: until when they are alive, as their rows say; `undefined`: they are not. */
  readonly known?: ReadonlyMap<string, number | undefined>;
}

export type PlaceAnswer =
  | { readonly type: "admitted" }
  /** It asks again after so many milliseconds. With a ticket it is named, and may be woken before. */
  | { readonly type: "wait"; readonly ms: number; readonly ticket: number | undefined }
  /** No place is free, as far as is known: are these alive? */
  | { readonly type: "lapsed"; readonly holders: readonly (Holder & { readonly owner: string })[] }
  /** It waits no more under this ticket: another copy of it was woken, or it comes too late. */
  | { readonly type: "stale" };

/** Asks for a place. */
export function askPlace(stored: string | undefined, ask: PlaceAsk): Decided<PlaceAnswer> {
  const { now, limit, owner, id, parked, lease, ticket, known } = ask;
  const state = read(stored);
  const holders: Record<string, Holder> = {};
  const lapsed: (Holder & { readonly owner: string })[] = [];
  for (const [name, holder] of Object.entries(state.holders)) {
    if (name === owner || (ticket !== undefined && name === keptFor(ticket))) continue;
    const isKept = holder.id === "";
    const until = known?.get(name) ?? holder.until;
    if (until + (isKept ? 0 : LEASE_MARGIN_MS) > now) holders[name] = { ...holder, until };
    else if (!isKept && !known?.has(name)) {
      holders[name] = holder;
      lapsed.push({ ...holder, owner: name });
    }
  }
  const fresh = state.waiting.filter((one) => one.until > now);
  const isKnown =
    ticket === undefined || fresh.some((one) => one.ticket === ticket) || keptFor(ticket) in state.holders;
  if (!isKnown) return { answer: { type: "stale" } };
  const others = fresh.filter((one) => one.parked !== parked);
  if (Object.keys(holders).length < limit) {
    const taken = { ...holders, [owner]: { id, until: lease } };
    return written({ ...state, holders: taken, waiting: others }, { type: "admitted" }, now);
  }
  if (lapsed.length > 0) return { answer: { type: "lapsed", holders: lapsed } };
  const hasName = ticket !== undefined || others.length < MOST_NAMED;
  const own = ticket ?? state.tickets;
  const until = now + ASK_AGAIN_MS + LATE_MS;
  const waiting = hasName ? [...others, { ticket: own, parked, until }].sort((a, b) => a.ticket - b.ticket) : others;
  const tickets = ticket === undefined && hasName ? state.tickets + 1 : state.tickets;
  const answer = { type: "wait", ms: ASK_AGAIN_MS, ticket: hasName ? own : undefined } as const;
  return written({ holders, waiting, tickets }, answer, now);
}

export interface Left {
  /** The row with the message of who is to be woken. */
  readonly wake: string | undefined;
}

/** Gives a place back. Said twice, it is one. */
export function leavePlace(stored: string | undefined, owner: string, now: number): Decided<Left> {
  const state = read(stored);
  if (!(owner in state.holders)) return { answer: { wake: undefined } };
  const { [owner]: _, ...holders } = state.holders;
  const [first, ...waiting] = state.waiting.filter((one) => one.until > now);
  if (first === undefined) {
    const isEmpty = Object.keys(holders).length === 0;
    if (isEmpty) return { write: null, answer: { wake: undefined } };
    return written({ ...state, holders, waiting }, { wake: undefined }, now);
  }
  const kept = { ...holders, [keptFor(first.ticket)]: { id: "", until: now + KEPT_MS } };
  return written({ ...state, holders: kept, waiting }, { wake: first.parked }, now);
}

function written<T>(state: PlacesState, answer: T, now: number): Decided<T> {
  const ends = [...Object.values(state.holders), ...state.waiting].map(({ until }) => until);
  // A holder's own row may say that it lives on: then it is asked, and this one must still be there.
  const expires = Math.max(now, ...ends) + 86_400_000;
  return { write: { state: JSON.stringify(state), expires }, answer };
}
