import { nextSlots, slots, type Window } from "./due.ts";
import type { ScheduleEntry } from "./schedule.ts";

/** How far a beat has come. Times in milliseconds since the epoch. */
export interface Covered {
  /** Every slot up to and including this instant has been handed out or given up. */
  readonly covered: number;
  /** Every slot after this instant and up to `covered` has been handed out: none was given up. */
  readonly gapless: number;
  /** Slots to come that were handed out before, by a clock that was ahead of the present one. */
  readonly ahead: readonly Window[];
}

/** What a beat loop knows between two steps. */
export interface BeatState extends Covered {
  /** The next slot of each entry after `covered`, in the order of the entries; `undefined` where there is none. */
  readonly upcoming: readonly (number | undefined)[];
}

/** A slot that is to be sent. */
export interface DueSlot {
  readonly entry: ScheduleEntry;
  /** Milliseconds since the epoch. */
  readonly slot: number;
}

/** What one step found. */
export interface Tick {
  /** To be sent now: by slot, and by the order of the entries within one. */
  readonly due: readonly DueSlot[];
  /** The entries that lost slots by their `catchUp`, with the first one that is not sent. */
  readonly missed: readonly DueSlot[];
  readonly state: BeatState;
  /** The instant of the next slot; `undefined` where no entry has any. */
  readonly next: number | undefined;
  /** The clock is so far behind what is covered, in milliseconds: it was set back, or beat ran with one that was ahead. 0: it is not. */
  readonly behind: number;
  /** That is more than {@link MAX_STEP_BACK_MS}, and beat began anew. */
  readonly restarted: boolean;
}

/** A slot found later than this has been missed, and `catchUp` decides about it. */
const GRACE_MS = 60_000;

/**
 * The largest step back of the clock that beat waits out. Where it goes further back, now or with a restart, beat goes on
 * from the present, rather than be silent until it has caught up, and leaves out what was handed out already.
 */
const MAX_STEP_BACK_MS = GRACE_MS;

/** Where a loop begins: all slots up to `covered` are behind it. */
export function beatState(
  entries: readonly ScheduleEntry[],
  zone: string,
  { covered, gapless = covered, ahead = [] }: Partial<Covered> & Pick<Covered, "covered">,
): BeatState {
  return { covered, gapless, ahead, upcoming: entries.map((entry) => upcoming(entry, zone, covered)) };
}

/** The same loop with other entries: nothing is looked up again for those that it had before. */
export function withEntries(
  before: readonly ScheduleEntry[],
  entries: readonly ScheduleEntry[],
  zone: string,
  state: BeatState,
): BeatState {
  const known = new Map(before.map((entry, i) => [entry, state.upcoming[i]]));
  const upcomingOf = (entry: ScheduleEntry) =>
    known.has(entry) ? known.get(entry) : upcoming(entry, zone, state.covered);
  return { ...state, upcoming: entries.map(upcomingOf) };
}

/** One step of a beat loop, without a clock or a timer: what is due at `now`, and when to look again. */
export function tick(entries: readonly ScheduleEntry[], zone: string, state: BeatState, now: number): Tick {
  const behind = Math.max(0, state.covered - now);
  if (behind > MAX_STEP_BACK_MS) {
    const sent = { from: state.gapless, to: state.covered };
    const ahead = union([...state.ahead, sent].filter(({ from, to }) => to > Math.max(from, now)));
    const anew = beatState(entries, zone, { covered: now, ahead });
    return { due: [], missed: [], state: anew, next: earliest(anew.upcoming), behind, restarted: true };
  }
  if (now <= state.covered)
    return { due: [], missed: [], state, next: earliest(state.upcoming), behind, restarted: false };

  const due: DueSlot[] = [];
  const missed: DueSlot[] = [];
  const after = entries.map((entry, i) => {
    const first = state.upcoming[i];
    if (first === undefined || first > now) return first;
    const send = wanted(entry, passed(entry, entry.zone ?? zone, first, now), now);
    for (const slot of send) if (!isIn(state.ahead, slot)) due.push({ entry, slot });
    if (send[0] !== first && !isIn(state.ahead, first)) missed.push({ entry, slot: first });
    return upcoming(entry, zone, now);
  });
  due.sort((a, b) => a.slot - b.slot);
  const gapless = missed.length > 0 ? Math.max(state.gapless, now - GRACE_MS) : state.gapless;
  const ahead = state.ahead.filter(({ to }) => to > now);
  return {
    due,
    missed,
    state: { covered: now, gapless, ahead, upcoming: after },
    next: earliest(after),
    behind: 0,
    restarted: false,
  };
}

/** The slots from `first` on that {@link wanted} may choose from: what no `catchUp` wants is not even listed. */
function passed(entry: ScheduleEntry, zone: string, first: number, now: number): number[] {
  const from = Math.max(first, earliestWanted(entry, now)) - 1;
  const list = (from: number, to: number) => slots(entry.schedule, zone, { from, to });
  if (entry.catchUp !== "last") return list(from, now);
  // Of the late ones the last: looked for from the end, further back each time.
  const late = now - GRACE_MS - 1;
  for (let length = GRACE_MS; late > from; length *= 8) {
    const before = Math.max(from, late - length);
    const found = list(before, late);
    if (found.length > 0 || before === from) return [...found.slice(-1), ...list(late, now)];
  }
  return list(from, now);
}

/**
 * Which of an entry's slots that have passed are still worth sending: all within the grace, and of the late ones those
 * that `catchUp` wants.
 */
export function wanted(entry: ScheduleEntry, passed: readonly number[], now: number): number[] {
  const late = passed.filter((slot) => slot < now - GRACE_MS && slot >= earliestWanted(entry, now));
  const onTime = passed.filter((slot) => slot >= now - GRACE_MS);
  switch (entry.catchUp) {
    case "skip":
      return onTime;
    case "last":
      return [...late.slice(-1), ...onTime];
    case "all":
      return [...late, ...onTime];
    default:
      return entry.catchUp satisfies never;
  }
}

/** The same instants, in as few windows as they need. */
function union(windows: readonly Window[]): Window[] {
  const made: Window[] = [];
  for (const window of windows.toSorted((a, b) => a.from - b.from)) {
    const last = made.at(-1);
    if (last !== undefined && window.from <= last.to)
      made[made.length - 1] = { from: last.from, to: Math.max(last.to, window.to) };
    else made.push(window);
  }
  return made;
}

const isIn = (windows: readonly Window[], slot: number): boolean =>
  windows.some(({ from, to }) => slot > from && slot <= to);

function earliestWanted(entry: ScheduleEntry, now: number): number {
  return now - Math.max(GRACE_MS, entry.catchUp === "skip" ? 0 : entry.within * 1000);
}

function upcoming(entry: ScheduleEntry, zone: string, after: number): number | undefined {
  if (!entry.enabled) return undefined;
  return nextSlots(entry.schedule, entry.zone ?? zone, Math.max(after, entry.since ?? after), 1)[0];
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const time of times) if (time !== undefined && (first === undefined || time < first)) first = time;
  return first;
}
