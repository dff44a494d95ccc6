/**
 * Concurrency: so many at a time. A row names who holds a place, each with a lease, and counts those who wait by tickets: so it is
 * as small for ten thousand as for one. Who leaves keeps the place for the first ticket, for a short time, and says which that is:
 * whoever has it can be woken.
 */
import type { Decided } from "./store.ts";

/** A place is free so long after its lease, in milliseconds: clocks of workers differ. */
const LEASE_MARGIN_MS = 2_000;
/** Who waits asks again after this, in milliseconds, where nobody wakes it. */
const ASK_AGAIN_MS = 30_000;
/** A place is kept so long for who was woken, in milliseconds. */
const KEPT_MS = 5_000;
/** Who was given a ticket has left its message after this, in milliseconds, or is gone. */
const YOUNG_MS = 10_000;
/** So many who were woken and came too late are the next. Those beyond wait as if they had just come. */
const MOST_LATE = 50;

interface Holder {
  /** The task's id; empty where the place is kept for who was woken. */
  readonly id: string;
  readonly until: number;
}

interface PlacesState {
  /** By owner; a place that is kept for who was woken, by {@link keptFor}. */
  readonly holders: Readonly<Record<string, Holder>>;
  /** The first ticket that nobody called, and the next one that is given. */
  readonly head: number;
  readonly tickets: number;
  /** Tickets that were called in vain: they are called before all others. */
  readonly late: readonly number[];
  /** Tickets below the second were given before the time `at`, and those below the first {@link YOUNG_MS} before it. */
  readonly aged: readonly [number, number];
  readonly at: number;
}

/** Tickets of a row that is made anew begin by the clock: none is one that there was. */
const read = (state: string | undefined, now: number): PlacesState => ({
  holders: {},
  head: now,
  tickets: now,
  late: [],
  aged: [now, now],
  at: now,
  ...(state !== undefined && (JSON.parse(state) as Partial<PlacesState>)),
});

/** Who holds the place that is kept for a ticket. */
export const keptFor = (ticket: number): string => `ticket ${ticket}`;

export interface PlaceAsk {
  readonly now: number;
  readonly limit: number;
  /** Who asks: made once for each delivery. */
  readonly owner: string;
  /** The task's id. */
  readonly id: string;
  /** Its message can be kept, for who wakes it. */
  readonly canBeWoken: boolean;
  /** Until when it may be believed alive. */
  readonly lease: number;
  /** That it was given when it asked before. */
  readonly ticket?: number | undefined;
  /** What is known of holders whose lease is over: until when they are alive, as their rows say; `undefined`: they are not. */
  readonly known?: ReadonlyMap<string, number | undefined>;
}

export type PlaceAnswer =
  /** `uncalled`: a ticket that nobody will come for any more. */
  | { readonly type: "admitted"; readonly uncalled: number | undefined }
  /** It asks again after so many milliseconds. With a ticket it may be woken before. */
  | { readonly type: "wait"; readonly ms: number; readonly ticket: number | undefined }
  /** No place is free, as far as is known: are these alive? */
  | { readonly type: "lapsed"; readonly holders: readonly (Holder & { readonly owner: string })[] }
  /** It waits no more under this ticket: another copy of it was woken, or it comes too late. */
  | { readonly type: "stale" };

/** Asks for a place. */
export function askPlace(stored: string | undefined, ask: PlaceAsk): Decided<PlaceAnswer> {
  const { now, limit, owner, id, canBeWoken, lease, ticket, known } = ask;
  const state = read(stored, now);
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
  const isLate = ticket !== undefined && (state.late.includes(ticket) || keptFor(ticket) in state.holders);
  const isInLine = ticket !== undefined && ticket >= state.head && ticket < state.tickets;
  if (ticket !== undefined && !isLate && !isInLine) return { answer: { type: "stale" } };
  const late = state.late.filter((one) => one !== ticket);
  if (Object.keys(holders).length < limit) {
    const taken = { ...holders, [owner]: { id, until: lease } };
    return written(
      { ...state, holders: taken, late },
      { type: "admitted", uncalled: isInLine ? ticket : undefined },
      now,
    );
  }
  if (lapsed.length > 0) return { answer: { type: "lapsed", holders: lapsed } };
  const isNext = isLate && late.length < MOST_LATE;
  const keeps = isInLine || isNext;
  const own = !canBeWoken ? undefined : keeps ? ticket : state.tickets;
  const answer = { type: "wait", ms: ASK_AGAIN_MS, ticket: own } as const;
  return written(
    {
      ...aging(state, now),
      holders,
      tickets: own === state.tickets ? state.tickets + 1 : state.tickets,
      late: isNext ? [...late, ticket as number].sort((a, b) => a - b) : late,
    },
    answer,
    now,
  );
}

/** Which tickets are young changes with time. */
function aging(state: PlacesState, now: number): PlacesState {
  return now - state.at < YOUNG_MS ? state : { ...state, aged: [state.aged[1], state.tickets], at: now };
}

export interface Left {
  /** The ticket of who is to be woken. */
  readonly wake: number | undefined;
  /** Who has it may not have left its message yet. */
  readonly isYoung: boolean;
}

const NOBODY: Left = { wake: undefined, isYoung: false };

/** Gives a place back. Said twice, it is one. */
export function leavePlace(stored: string | undefined, owner: string, now: number): Decided<Left> {
  const state = read(stored, now);
  if (!(owner in state.holders)) return { answer: NOBODY };
  const { [owner]: _, ...holders } = state.holders;
  const [first = state.head, ...late] = state.late;
  if (first >= state.tickets) {
    const isEmpty = Object.keys(holders).length === 0;
    if (isEmpty) return { write: null, answer: NOBODY };
    return written({ ...state, holders }, NOBODY, now);
  }
  const kept = { ...holders, [keptFor(first)]: { id: "", until: now + KEPT_MS } };
  const head = first === state.head ? first + 1 : state.head;
  const aged = aging(state, now);
  return written({ ...aged, holders: kept, head, late }, { wake: first, isYoung: first >= aged.aged[0] }, now);
}

function written<T>(state: PlacesState, answer: T, now: number): Decided<T> {
  const ends = Object.values(state.holders).map(({ until }) => until);
  // A holder's own row may say that it lives on: then it is asked, and this one must still be there.
  const expires = Math.max(now, ...ends) + 86_400_000;
  return { write: { state: JSON.stringify(state), expires }, answer };
}
