/**
 * One thing that has happened, as the journal keeps it. An entry is a plain object of JSON: what a later version adds to
 * it is kept by an earlier one, and shown.
 */
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
  /** Positional arguments, shortened; what the caller gave as `argsrepr`, where it gave that. */
  readonly args?: string;
  /** The same of keyword arguments and `kwargsrepr`. */
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
  return line.length <= length ? line : `${line.slice(0, length - 1).toWellFormed()}…`;
}

/** How entries that are written together are stored: most fields of one are those of all, and are written once. */
interface StoredEntries {
  readonly count: number;
  /** What all of them have. */
  readonly same: Readonly<Record<string, unknown>>;
  /** The value of each for the fields in which they differ; `null`: it has none. */
  readonly each: Readonly<Record<string, readonly unknown[]>>;
  /** Fields whose numbers are short integers in `each`: so many `parts` make 1, and are counted `from` there. */
  readonly scales?: Readonly<Record<string, Scale>>;
}

interface Scale {
  readonly from: number;
  readonly parts: number;
}

/** Entries as they are stored. It is done for each task, so that it looks at each of them once. */
export function writeEntries(entries: readonly JournalEntry[]): string {
  // Without a prototype: a later version's field may have any name.
  const same: Record<string, unknown> = Object.create(null);
  const each: Record<string, readonly unknown[]> = Object.create(null);
  const scales: Record<string, Scale> = Object.create(null);
  const [fields, rows] = tableOf(entries);
  fields.forEach((field, place) => {
    const values = rows.map((row) => row[place]);
    const [first] = values;
    if (typeof first !== "object" && values.every((value) => value === first)) {
      same[field] = first;
      return;
    }
    const scale = values.every((value) => typeof value === "number") ? scaleOf(values) : undefined;
    if (scale !== undefined) scales[field] = scale;
    each[field] = scale === undefined ? values : values.map((value) => scaled(value as number, scale));
  });
  return JSON.stringify({ count: entries.length, same, each, scales } satisfies StoredEntries);
}

/** Of each entry the values of all fields that any of them has. Mostly they have the same ones, in the same order. */
function tableOf(entries: readonly JournalEntry[]): readonly [fields: readonly string[], rows: readonly unknown[][]] {
  const fields = Object.keys(entries[0] ?? {});
  if (entries.every((entry) => areSame(Object.keys(entry), fields))) return [fields, entries.map(Object.values)];
  const all = [...new Set(entries.flatMap(Object.keys))];
  return [all, entries.map((entry) => all.map((field) => entry[field] ?? null))];
}

const areSame = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((text, index) => text === others[index]);

/** Seconds are known to the millisecond or to the microsecond. An integer is written many times faster than a fraction. */
const PARTS = [1, 1e3, 1e6];
/** Beyond, an integer is no longer a short one. */
const SHORT = 2 ** 30;

/** The coarsest scale that keeps every one of them exactly. */
function scaleOf(values: readonly number[]): Scale | undefined {
  const from = Number.isInteger(values[0]) ? Number(values[0]) : 0;
  return PARTS.map((parts) => ({ from, parts })).find((scale) =>
    values.every((value) => {
      const short = scaled(value, scale);
      return Math.abs(short) < SHORT && unscaled(short, scale) === value;
    }),
  );
}

const scaled = (value: number, { from, parts }: Scale): number => Math.round((value - from) * parts);
const unscaled = (short: number, { from, parts }: Scale): number => from + short / parts;

/** Entries as they were stored, by whatever version. What is none is left out. */
export function readEntries(text: string): readonly JournalEntry[] {
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch {
    return [];
  }
  // So they were stored at first.
  if (Array.isArray(stored)) return stored.filter(isEntry);
  // No more than there are characters: a text that was damaged takes no memory.
  if (!isStored(stored) || stored.count > text.length) return [];
  return Array.from({ length: stored.count }, (_, index) => entryAt(stored, index)).filter(isEntry);
}

function entryAt({ same, each, scales = {} }: StoredEntries, index: number): unknown {
  const entry: Record<string, unknown> = { ...same };
  for (const field in each) {
    const value = each[field]?.[index] ?? null;
    const scale = Object.hasOwn(scales, field) ? scales[field] : undefined;
    if (value !== null) entry[field] = typeof value === "number" && scale ? unscaled(value, scale) : value;
  }
  return entry;
}

const isStored = (value: unknown): value is StoredEntries =>
  typeof value === "object" &&
  value !== null &&
  "count" in value &&
  Number.isSafeInteger(value.count) &&
  "same" in value &&
  typeof value.same === "object" &&
  "each" in value &&
  typeof value.each === "object" &&
  (!("scales" in value) || (typeof value.scales === "object" && value.scales !== null));

const isEntry = (value: unknown): value is JournalEntry =>
  typeof value === "object" &&
  value !== null &&
  "time" in value &&
  Number.isFinite(value.time) &&
  "kind" in value &&
  typeof value.kind === "string";
