/**
 * The port of entries put at run time, `app.beat`. They are kept beside the queues: in the SQLite file, in memory, or as
 * rules of EventBridge. `test/contract/beat-store.ts` is the suite of all three.
 */
import { ImproperlyConfigured } from "../errors.ts";
import { parseValue, stringifyValue } from "../protocol/values.ts";
import type { Wait } from "../wait.ts";
import { type BeatEntry, RUNTIME_PREFIX, type ScheduleEntry, scheduleEntry } from "./schedule.ts";
import { checkZone } from "./zone.ts";

/** An entry put at run time, under the name it was put under. */
export interface RuntimeEntry extends ScheduleEntry {
  /** When it was put or resumed. */
  readonly since: number;
  /** The app's zone when it was put. */
  readonly zone: string;
}

/**
 * An entry that is not sent: it is stored in a form that this version cannot read, such as that of a later one, or on AWS its
 * rule calls the beat function of a deployment that was there before. It can be removed, or put over.
 */
export interface UnreadableEntry {
  /** The name under which it was put. */
  readonly name: string;
  /** What is wrong with it. */
  readonly error: ImproperlyConfigured;
}

/** What is stored, by name. */
export interface StoredEntries {
  /** Those that can be read. */
  readonly entries: readonly RuntimeEntry[];
  /** The others: nothing is sent of them. */
  readonly unreadable: readonly UnreadableEntry[];
}

export interface BeatStore {
  /** One that cannot be read keeps none of the others back. Where a loop follows them, one that has not changed is the same object. */
  list(): Promise<StoredEntries>;
  /** Over one of the same name. */
  put(entry: RuntimeEntry): Promise<void>;
  /** Resolves to whether there was one. */
  remove(name: string): Promise<boolean>;
  /**
   * Pauses or resumes: `since` is the time of it, so that slots of a pause are not made up for. Resolves to whether there is one.
   * Throws {@link ImproperlyConfigured}, which names it, for one that cannot be read.
   */
  setEnabled(name: string, enabled: boolean, since: number): Promise<boolean>;
  /**
   * Begins to wait until entries may have changed since the call, or the store closes. Absent where the entries are nothing for
   * a loop to follow: EventBridge's call the beat function.
   */
  readonly changed?: (() => Wait) | undefined;
  /** Ends waits and closes what is open. */
  close(): Promise<void>;
}

export interface BeatStoreContext {
  /** The app's name: apps that share a file have entries of their own. */
  readonly app: string;
  readonly random: () => number;
  /** The settings `brokerTransportOptions`. */
  readonly options: Readonly<Record<string, unknown>>;
  /** `queue_name_prefix`, the URL's too. */
  readonly prefix: string;
  /** The setting `beatFunction`. */
  readonly beatFunction: string | undefined;
}

export type OpenBeatStore = (url: string, context: BeatStoreContext) => BeatStore | Promise<BeatStore>;

/** An entry as a host of beat has it beside those of `beatSchedule`: no name, and so no slot's id, is of both kinds. */
export function besideDeclared(entry: RuntimeEntry): ScheduleEntry {
  const known = beside.get(entry);
  if (known !== undefined) return known;
  const made = { ...entry, name: RUNTIME_PREFIX + entry.name };
  beside.set(entry, made);
  return made;
}

/** So that one that has not changed is the same object each time. */
const beside = new WeakMap<RuntimeEntry, ScheduleEntry>();

/** JSON with Celery's tags, for the store. Throws `EncodeError` for arguments that cannot travel. */
export function stringifyEntry(entry: RuntimeEntry): string {
  const { within, ...rest } = entry;
  return stringifyValue(entry.catchUp === "skip" ? rest : { ...rest, within });
}

/** Throws {@link ImproperlyConfigured} where the text is no entry, such as one of a later version. */
export function parseEntry(text: string): RuntimeEntry {
  const stored: unknown = parseValue(text);
  if (!isObject(stored)) throw new ImproperlyConfigured("beat", `a stored entry is no object: ${text.slice(0, 200)}`);
  const { name, since, zone, ...entry } = stored;
  if (typeof name !== "string" || typeof since !== "number" || typeof zone !== "string") {
    throw new ImproperlyConfigured("beat", `a stored entry has no name, time or zone: ${text.slice(0, 200)}`);
  }
  return Object.freeze({
    ...scheduleEntry(name, entry as unknown as BeatEntry, whereOf(name)),
    since,
    zone: checkZone(zone, `${whereOf(name)}.zone`),
  });
}

/** The entry that is stored under a name. Throws {@link ImproperlyConfigured}, which names it. */
export function readEntry(name: string, text: string): RuntimeEntry {
  try {
    return parseEntry(text);
  } catch (cause) {
    throw new ImproperlyConfigured(
      whereOf(name),
      `was put in a form that this version cannot read; put it again, or remove it by app.beat.remove() (${cause instanceof Error ? cause.message : cause})`,
      { cause },
    );
  }
}

/** What is stored, by name. */
type Stored = Iterable<readonly [name: string, text: string]>;

/** Reads what is stored, again and again: an entry that has not changed is the same object each time. */
export function entriesReader(): (stored: Stored) => StoredEntries {
  let known = new Map<string, readonly [text: string, entry: RuntimeEntry]>();
  return (stored) => {
    const before = known;
    known = new Map();
    return readEntries(stored, (name, text) => {
      const [knownText, knownEntry] = before.get(name) ?? [];
      const entry = knownEntry !== undefined && knownText === text ? knownEntry : readEntry(name, text);
      known.set(name, [text, entry]);
      return entry;
    });
  };
}

/** Of what is stored, by name. */
export function readEntries(stored: Stored, read = readEntry): StoredEntries {
  const entries: RuntimeEntry[] = [];
  const unreadable: UnreadableEntry[] = [];
  for (const [name, text] of stored) {
    try {
      entries.push(read(name, text));
    } catch (error) {
      unreadable.push({ name, error: error as ImproperlyConfigured });
    }
  }
  return { entries, unreadable };
}

/** What errors call an entry put at run time. */
export const whereOf = (name: string): string => `beat[${JSON.stringify(name)}]`;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
