/**
 * The port of entries put at run time, `app.beat`. They are kept beside the queues: in the SQLite file, in memory, or as
 * rules of EventBridge. `test/beat/store.test.ts` is the suite of the first two, `test/live/beat-store.test.ts` that of the rules.
 */
import { ImproperlyConfigured } from "../errors.ts";
import { parseValue, stringifyValue } from "../protocol/values.ts";
import type { Wait } from "../wait.ts";
import { type BeatEntry, RUNTIME_PREFIX, type ScheduleEntry, scheduleEntry } from "./schedule.ts";

/** An entry put at run time, under the name it was put under. */
export interface RuntimeEntry extends ScheduleEntry {
  /** When it was put or resumed. */
  readonly since: number;
  /** The app's zone when it was put. */
  readonly zone: string;
}

export interface BeatStore {
  /** By name. */
  list(): Promise<readonly RuntimeEntry[]>;
  /** Over one of the same name. */
  put(entry: RuntimeEntry): Promise<void>;
  /** Resolves to whether there was one. */
  remove(name: string): Promise<boolean>;
  /** Pauses or resumes: `since` is the time of it, so that slots of a pause are not made up for. Resolves to whether there is one. */
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
export const besideDeclared = (entry: RuntimeEntry): ScheduleEntry => ({
  ...entry,
  name: RUNTIME_PREFIX + entry.name,
});

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
  return { ...scheduleEntry(name, entry as unknown as BeatEntry, whereOf(name)), since, zone };
}

/** What errors call an entry put at run time. */
export const whereOf = (name: string): string => `beat[${JSON.stringify(name)}]`;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
