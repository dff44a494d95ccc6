import type { Clock } from "../clock.ts";
import { overOrAborted, type Wait } from "../wait.ts";
import type { ScheduleEntry } from "./schedule.ts";
import { sentLine, slotId } from "./slot-id.ts";
import { beatState, type Covered, type DueSlot, tick, wanted, withEntries } from "./tick.ts";

/** Where a beat loop remembers what it has covered, so that `catchUp` works across a restart. */
export interface BeatMemory {
  /** What was last saved; `undefined` where nothing was. */
  load(): Promise<Covered | undefined>;
  /** What needs no second look. */
  save(covered: Covered): Promise<void>;
}

/** Where a beat loop says what it does; `console` is one. */
export interface BeatLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string, error: unknown): void;
}

/** Entries that come and go while a loop runs. */
export interface ComingEntries {
  /** Those that there are now. One that has not changed is the same object, so that it is not looked at again. */
  list(): Promise<readonly ScheduleEntry[]>;
  /** Begins to wait until `list` may answer otherwise than at the time of this call. */
  changed(): Wait;
}

/** What a beat loop needs. */
export interface BeatOptions {
  /** The app's name, a part of every {@link slotId}. */
  readonly app: string;
  readonly entries: readonly ScheduleEntry[];
  /** Entries beside those: the loop notices a change within {@link SETTLE_MS}. A list that cannot be had leaves the last one. */
  readonly coming?: ComingEntries;
  /** The zone of entries that have none of their own: the app's, such as `"Europe/Berlin"`. */
  readonly zone: string;
  readonly clock: Clock;
  /**
   * Sends the task of an entry under this id. Resolves to that, or to the id of another one that is there for it. When it
   * rejects, it is called again with the same id until the slot is too old for the entry's `catchUp`.
   */
  readonly send: (entry: ScheduleEntry, slot: number, id: string) => Promise<string>;
  /** Without one, a restarted loop begins at the present and catches nothing up. */
  readonly memory?: BeatMemory;
  readonly log?: BeatLog;
  /** Ends the loop. */
  readonly signal?: AbortSignal;
}

/**
 * The longest sleep. A timer does not count the time that a laptop sleeps, so beat looks at the clock at least twice
 * within the grace of a slot, and finds one that came while the lid was closed.
 */
export const MAX_SLEEP_MS = 30_000;

/**
 * How long after word of a change the loop lists what there is: the word is of anything in the file, and under load the
 * file changes all the time.
 */
export const SETTLE_MS = 250;

/** A clock that is kept right by NTP goes back by milliseconds, and nobody needs to hear of it. */
const SLEW_MS = 1_000;

/** How soon a send that failed, or a list that could not be had, is tried again. */
const RETRY_MS = 5_000;

/** While sends go on failing, it is told no more often what waits and what is given up. */
const TOLD_MS = 60_000;

/** An outage is told of with so many different reasons at most: some have an id of their own each time. */
const MOST_REASONS = 20;

/** Tells of sends that fail, also where many do each second: each reason once, and then now and then how many slots it holds up. */
function outage({ clock, log }: BeatOptions) {
  const reasons = new Set<string>();
  let last: unknown;
  let tellAt = Number.NEGATIVE_INFINITY;
  const givenUp = new Map<ScheduleEntry, number[]>();

  function tellGivenUp(): void {
    for (const [{ name }, slots] of givenUp) {
      const [first, end] = [Math.min(...slots), Math.max(...slots)].map((slot) => new Date(slot).toISOString());
      log?.warn(
        slots.length === 1
          ? `${name}: the slot of ${first} could not be sent in time and is given up`
          : `${name}: ${slots.length} slots from ${first} to ${end} could not be sent in time and are given up`,
      );
    }
    givenUp.clear();
  }

  return {
    failed({ entry, slot }: DueSlot, id: string, error: unknown): void {
      last = error;
      const reason = String(error);
      if (reasons.has(reason) || reasons.size >= MOST_REASONS) return;
      if (reasons.size === 0) tellAt = clock.now() + TOLD_MS;
      reasons.add(reason);
      log?.error(
        `${entry.name}: ${entry.task} [${id}] for ${new Date(slot).toISOString()} could not be sent; trying again every ${RETRY_MS / 1000} s`,
        error,
      );
    },
    gaveUp({ entry, slot }: DueSlot): void {
      const slots = givenUp.get(entry);
      if (slots === undefined) givenUp.set(entry, [slot]);
      else slots.push(slot);
    },
    /** To be called with what waits after each step, and when the loop ends. */
    tell(unsent: readonly DueSlot[], isLast = false): void {
      const isDue = clock.now() >= tellAt;
      if (unsent.length === 0 || isLast || isDue) tellGivenUp();
      if (unsent.length === 0) reasons.clear();
      else if (isDue) {
        tellAt = clock.now() + TOLD_MS;
        const entries = new Set(unsent.map(({ entry }) => entry)).size;
        log?.error(
          `beat could not send ${unsent.length} slots of ${entries} ${entries === 1 ? "entry" : "entries"} until now, and tries again every ${RETRY_MS / 1000} s`,
          last,
        );
      }
    },
  };
}

/** Keeps a list of coming entries up to date. */
function follow({ coming, clock, log, signal }: BeatOptions) {
  let current: readonly ScheduleEntry[] = [];
  let isStale = coming !== undefined;
  /** The last list could not be had, which was said. */
  let isLost = false;
  let nap = new AbortController();
  async function lookAgain(after: number, change?: Wait): Promise<void> {
    if (change !== undefined) await overOrAborted(change, signal);
    await clock.sleep(after, signal);
    isStale = true;
    nap.abort();
  }
  return {
    /** The entries, and whether they are others than at the last call. */
    async update(): Promise<boolean> {
      if (coming === undefined || !isStale) return false;
      isStale = false;
      // Before the list is read, so that what changes while it is read is not missed.
      const change = coming.changed();
      try {
        const found = await coming.list();
        isLost = false;
        void lookAgain(SETTLE_MS, change);
        if (found.length === current.length && found.every((entry, i) => entry === current[i])) return false;
        current = found;
        return true;
      } catch (error) {
        // Where the store cannot be read there is no waiting for its news either.
        change.end();
        void lookAgain(RETRY_MS);
        if (!isLost)
          log?.error("beat could not read the entries put at run time, and goes on with those it knows", error);
        isLost = true;
        return false;
      }
    },
    entries: () => current,
    /** Aborts when it is time to call `update` again. */
    get stale(): AbortSignal {
      if (nap.signal.aborted) nap = new AbortController();
      if (isStale) nap.abort();
      return nap.signal;
    },
  };
}

/**
 * Sends each slot of the entries as soon as it is due, until the signal aborts; what is being sent then is awaited. It
 * wakes for the next slot, and at least every {@link MAX_SLEEP_MS}. Two loops for one app do no harm, as both give a
 * slot the same id. Rejects only where the memory cannot be loaded.
 */
export async function runBeat(options: BeatOptions): Promise<void> {
  const { zone, clock, memory, log, signal } = options;
  const loaded = await memory?.load();
  const coming = follow(options);
  let entries = options.entries;
  let state = beatState(entries, zone, loaded ?? { covered: clock.now() });
  let unsent: readonly DueSlot[] = [];
  const failing = outage(options);
  /** When they are tried again. */
  let retryAt = Number.NEGATIVE_INFINITY;
  /** How far it has come could not be saved, which was said. */
  let isUnsaved = false;
  /** The clock is behind, which was said. */
  let isBehind = false;

  async function remember() {
    const first = Math.min(...unsent.map(({ slot }) => slot));
    try {
      const covered = Math.min(state.covered, first - 1);
      await memory?.save({ covered, gapless: Math.min(state.gapless, covered), ahead: state.ahead });
      isUnsaved = false;
    } catch (error) {
      if (!isUnsaved)
        log?.error(
          "beat could not save how far it has come; a restart may send some slots again, under the same ids",
          error,
        );
      isUnsaved = true;
    }
  }

  if (loaded === undefined) await remember();
  while (!signal?.aborted) {
    if (await coming.update()) {
      const before = entries;
      entries = [...options.entries, ...coming.entries()];
      // What is new counts from its own `since`: a slot between that and this moment is due, and not missed.
      state = withEntries(before, entries, zone, state);
    }
    const now = clock.now();
    const step = tick(entries, zone, state, now);
    state = step.state;
    if (step.behind > SLEW_MS && !isBehind) {
      log?.warn(
        `the clock is ${(step.behind / 1000).toFixed(0)} s behind the last slots that were looked at, of ${new Date(now + step.behind).toISOString()}: it was set back, or beat ran with a clock that was ahead; ${step.restarted ? "beat goes on from the present, and leaves out the slots that it sent by then" : "beat goes on when that time has come"}`,
      );
    }
    isBehind = step.behind > 0 && !step.restarted;
    for (const { entry, slot } of step.missed) {
      log?.warn(
        `${entry.name}: slots from ${new Date(slot).toISOString()} on were missed and are not sent (catchUp: "${entry.catchUp}")`,
      );
    }
    const isRetry = now >= retryAt || step.restarted;
    const sending = [...(isRetry ? stillWanted(unsent, now, failing.gaveUp) : []), ...step.due];
    const failed = await sendAll(sending, options, failing.failed);
    if (isRetry && failed.length > 0) retryAt = now + RETRY_MS;
    unsent = isRetry ? failed : [...unsent, ...failed];
    failing.tell(unsent);
    if (sending.length > 0 || step.missed.length > 0 || step.restarted) await remember();

    const next = Math.min(
      step.next ?? Number.POSITIVE_INFINITY,
      unsent.length > 0 ? retryAt : Number.POSITIVE_INFINITY,
    );
    // At least a millisecond, since a timer may end a little before the slot.
    const wait = Math.min(Math.max(next - clock.now(), 1), MAX_SLEEP_MS);
    const { stale } = coming;
    if (!signal?.aborted) await clock.sleep(wait, signal === undefined ? stale : AbortSignal.any([signal, stale]));
  }
  failing.tell(unsent, true);
  await remember();
}

/** Sends all at once, so that a broker can put them into one request, and gives back those that failed. */
async function sendAll(
  due: readonly DueSlot[],
  { app, send, log }: BeatOptions,
  told: (one: DueSlot, id: string, error: unknown) => void,
): Promise<readonly DueSlot[]> {
  const failed = await Promise.all(
    due.map(async (one) => {
      const { entry, slot } = one;
      const id = slotId(app, entry.name, slot);
      try {
        const sent = await send(entry, slot, id);
        log?.info(sentLine(entry, slot, id, sent));
        return undefined;
      } catch (error) {
        told(one, id, error);
        return one;
      }
    }),
  );
  return failed.filter((one) => one !== undefined);
}

/** What failed before and is not too old by now. */
function stillWanted(unsent: readonly DueSlot[], now: number, gaveUp: (one: DueSlot) => void): DueSlot[] {
  const byEntry = Map.groupBy(unsent, ({ entry }) => entry);
  return [...byEntry].flatMap(([entry, of]) => {
    const passed = of.map(({ slot }) => slot);
    const kept = wanted(entry, passed, now);
    for (const one of of) if (!kept.includes(one.slot)) gaveUp(one);
    return kept.map((slot) => ({ entry, slot }));
  });
}
