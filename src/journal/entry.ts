/**
 * One thing that has happened, as the journal keeps it. An entry is a plain object of JSON: what a later version adds to
 * it is kept by an earlier one, and shown.
 */
import { clip } from "../brief.ts";
import { FAILURE } from "../states.ts";

/**
 * What an entry tells of:
 * - `task`: an attempt ended. `state` says how: `SUCCESS`, `FAILURE`, `RETRY`, `REVOKED`, `IGNORED` or `REPLACED`.
 * - `running`: a run that has taken some seconds and still runs; `runtime` says how many.
 * - `waiting`: a task waits for one of its limits: `limit` says for which, `until` for how long.
 * - `deadLetter`: a message that was not run went to the dead letters.
 * - `unsent`: what was to follow from a task could not be sent, and has failed.
 * - `revoke`: somebody revoked a task.
 * - `slot`: beat sent the task of an entry of its schedule.
 * - `join`: the members of a chord have ended. `state` is `SUCCESS` where its body was sent, else `FAILURE`.
 * - `control`: somebody steered the app: `action` says what was done.
 */
export type JournalKind =
  | "task"
  | "running"
  | "waiting"
  | "deadLetter"
  | "unsent"
  | "revoke"
  | "slot"
  | "join"
  | "control";

/** One thing that happened: an attempt that ended, a dead letter, a slot of beat, an operator's action. `kind` says which. */
export interface JournalEntry {
  /** When it happened, in milliseconds since the epoch. */
  readonly time: number;
  /** A later version may have further ones. */
  readonly kind: JournalKind;
  /** Of the task; of a `join`, that of the chord's body. */
  readonly id?: string;
  /** The task's name. */
  readonly task?: string;
  /** The queue of the message. */
  readonly queue?: string;
  /** The state that was stored. */
  readonly state?: string;
  /** Attempts before this one that asked for another. Absent: none. */
  readonly retries?: number;
  /** How often this attempt was begun: one more for each worker that died of it. Absent: once. */
  readonly runs?: number;
  /** Seconds that the task's own code took, to the microsecond. Absent where it did not run. */
  readonly runtime?: number;
  /** Seconds from when it was due, or was sent, to its start. */
  readonly waited?: number;
  /** The worker's name. */
  readonly worker?: string;
  /** What the attempt failed with. */
  readonly error?: JournalError;
  /** The id of the task that all of its workflow began with. Absent: it began with this one. */
  readonly root?: string;
  /** The id of the task that sent it. */
  readonly parent?: string;
  /** The id of the group, or the header of a chord, that it is a member of. */
  readonly group?: string;
  /** The id of the body of the chord that it is a member of. */
  readonly chord?: string;
  /** The id of the task, or of the group, that the chain ends in of which it is a step. Absent for the last step. */
  readonly chain?: string;
  /** Positional arguments, shortened; what the caller gave as `argsrepr`, where it gave that. */
  readonly args?: string;
  /** Keyword arguments, shortened; what the caller gave as `kwargsrepr`, where it gave that. */
  readonly kwargs?: string;
  /** It failed, and its message was too large to be kept: it cannot be run again by its id. */
  readonly unkept?: boolean;
  /** The message went to the dead letters as well. */
  readonly deadLetter?: boolean;
  /** Of a `revoke`: a run that is under way is to be aborted. */
  readonly terminate?: boolean;
  /** Of a `join`: the ids of the tasks that the body begins with, where that is not the body's own. */
  readonly begins?: readonly string[];
  /** Of a `slot`: the name of the entry of the schedule. */
  readonly entry?: string;
  /** Of a `slot`: the instant that it stands for, in milliseconds since the epoch. */
  readonly slot?: number;
  /** Of a `waiting`: the option that says the limit, such as `rateLimit`. */
  readonly limit?: string;
  /** Of a `waiting`: when it asks again, or starts, in milliseconds since the epoch. */
  readonly until?: number;
  /** Of a `control`: what was done. */
  readonly action?: string;
  /** Of a `control` of a dead letter: the broker's id of the message. */
  readonly message?: string;
  /** Of a `control` that purged a queue: how many messages, where the broker tells it. */
  readonly count?: number;
  /** Of a `control` or `revoke`: who did it. */
  readonly by?: string;
  /** What a later version of Lovage wrote. */
  readonly [field: string]: unknown;
}

/** The error of an entry, shortened. */
export interface JournalError {
  /** The error's class, by the name that is stored with the result. */
  readonly type: string;
  /** The first line of its message, shortened. */
  readonly message: string;
}

/** Such entries are kept apart from the rest, to be found over weeks without reading what went well. */
export const isFailure = ({ kind, state }: JournalEntry): boolean =>
  state === FAILURE || kind === "deadLetter" || kind === "unsent";

/** Most characters of an error's message. */
const LINE_LENGTH = 300;
const LINE_END = /[\r\n\u2028\u2029]/;

/** The first line of a text, with at most so many characters. */
export function shortened(text: string, length = LINE_LENGTH): string {
  if (text.length <= length && !LINE_END.test(text)) return text;
  const [line = ""] = text.slice(0, length + 1).split(LINE_END, 1);
  return clip(line, length);
}

/** How entries that are written together are stored: what several have alike once, and the rest field by field. `null` is none. */
interface StoredEntries {
  /** Kind, task, queue, state and worker of some of them, and a time that theirs is counted from. */
  readonly same: readonly (Partial<JournalEntry> | null)[];
  /** Which of `same` is that of each; empty: the first one. */
  readonly place: readonly number[];
  readonly time: readonly number[];
  readonly id: readonly unknown[];
  readonly args: readonly unknown[];
  /** In microseconds. */
  readonly waited: readonly (number | null)[];
  readonly runtime: readonly (number | null)[];
  /** By the number of an entry, its other fields, and seconds that are no whole number of microseconds. */
  readonly rest: Readonly<Record<string, object>>;
}

/** Times are counted from the last multiple of this before them: a short integer is written many times faster than a long one. */
const SPAN_MS = 2 ** 20;

/** Entries as {@link readEntries} reads them. It is done for each task, so with little code and few objects. */
export function writeEntries(entries: readonly JournalEntry[]): string {
  const same: string[] = [];
  const places: number[] = [];
  const times: number[] = [];
  const ids: unknown[] = [];
  const allArgs: unknown[] = [];
  const waits: (number | null)[] = [];
  const runtimes: (number | null)[] = [];
  const rest: Record<string, object> = {};
  /** The last one that was not like the one before it. */
  let like: JournalEntry | undefined;
  let since = 0;
  let place = -1;
  for (const entry of entries) {
    const { time, kind, id, task, queue, state, worker, args } = entry;
    const from = Math.floor(time / SPAN_MS) * SPAN_MS;
    const isLike =
      like !== undefined &&
      from === since &&
      like.task === task &&
      like.state === state &&
      like.kind === kind &&
      like.queue === queue &&
      like.worker === worker;
    if (!isLike) {
      like = entry;
      since = from;
      const text = JSON.stringify({ time: since, kind, task, queue, state, worker });
      place = same.indexOf(text);
      if (place < 0) place = same.push(text) - 1;
    }
    const waited = microseconds(entry.waited);
    const runtime = microseconds(entry.runtime);
    const placed =
      2 + one(id) + one(task) + one(queue) + one(state) + one(worker) + one(args) + one(waited) + one(runtime);
    if (Object.keys(entry).length !== placed) rest[times.length] = restOf(entry, waited, runtime);
    places.push(place);
    times.push(time - since);
    ids.push(id);
    allArgs.push(args);
    waits.push(waited);
    runtimes.push(runtime);
  }
  const stored = {
    place: same.length === 1 ? [] : places,
    time: times,
    id: ids,
    args: allArgs,
    waited: waits,
    runtime: runtimes,
    rest,
  } satisfies Omit<StoredEntries, "same">;
  return `{"same":[${same.join(",")}],${JSON.stringify(stored).slice(1)}`;
}

const one = (value: unknown): number => (value === undefined || value === null ? 0 : 1);

/** `null`: there are none, or they are no whole number of them. */
function microseconds(seconds: unknown): number | null {
  if (typeof seconds !== "number") return null;
  const whole = Math.round(seconds * 1e6);
  return whole / 1e6 === seconds ? whole : null;
}

function restOf(entry: JournalEntry, ownWaited: number | null, ownRuntime: number | null): object {
  const { time: _t, kind: _k, id: _i, task: _n, queue: _q, state: _s, worker: _w, args: _a, ...others } = entry;
  const { waited, runtime, ...rest } = others;
  return { ...rest, ...(ownWaited === null && { waited }), ...(ownRuntime === null && { runtime }) };
}

/** Entries as they were stored, by whatever version: together, or each by itself. What is none is left out. */
export function readEntries(text: string): readonly JournalEntry[] {
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch {
    return [];
  }
  if (Array.isArray(stored)) return stored.filter(isEntry);
  if (!areStored(stored)) return [];
  const { same, place, time, id, args, waited, runtime, rest } = stored;
  return time
    .map((after, index): unknown => {
      const [own, arg, wait, run] = [id[index] ?? null, args[index] ?? null, waited[index], runtime[index]];
      const { time: since, ...alike } = same[place[index] ?? 0] ?? {};
      return {
        time: Number(since) + after,
        ...alike,
        ...(own !== null && { id: own }),
        ...(arg !== null && { args: arg }),
        ...(typeof wait === "number" && { waited: wait / 1e6 }),
        ...(typeof run === "number" && { runtime: run / 1e6 }),
        ...rest[index],
      };
    })
    .filter(isEntry);
}

const LISTS = ["same", "place", "time", "id", "args", "waited", "runtime"] as const;

const areStored = (value: unknown): value is StoredEntries => {
  const stored = Object(value) as Readonly<Record<string, unknown>>;
  return (
    LISTS.every((list) => Array.isArray(stored[list])) && typeof stored["rest"] === "object" && stored["rest"] !== null
  );
};

const isEntry = (value: unknown): value is JournalEntry =>
  typeof value === "object" &&
  value !== null &&
  "time" in value &&
  Number.isFinite(value.time) &&
  "kind" in value &&
  typeof value.kind === "string";
