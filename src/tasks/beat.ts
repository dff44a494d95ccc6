/** Schedules and the app: entries typed by their task, entries checked against it, and those put at run time. */
import type { Lovage } from "../app.ts";
import { type BeatEntry, type ScheduleEntry, scheduleEntry } from "../beat/schedule.ts";
import { type BeatStore, type RuntimeEntry, type StoredEntries, whereOf } from "../beat/store.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { withinRun } from "./context.ts";
import { type CallOptions, checkBeatOptions, checkTaskName } from "./options.ts";
import { isDebounced } from "./limits.ts";
import { checkInputNow } from "./schema.ts";
import type { Task } from "./task.ts";
import type { SendableArgs } from "./wire.ts";

/** What an entry says beside its task; arguments are needed where the task has parameters that are. */
export type BeatEntryOf<P extends readonly unknown[], K extends BeatEntry["kwargs"] = BeatEntry["kwargs"]> = Omit<
  BeatEntry,
  "task" | "args" | "kwargs" | "options"
> & {
  readonly kwargs?: K | undefined;
  readonly options?: Omit<CallOptions, "kwargs" | "taskId"> | undefined;
} & ([] extends P
    ? { readonly args?: Readonly<SendableArgs<P>> | undefined }
    : K extends undefined
      ? { readonly args: Readonly<SendableArgs<P>> }
      : // What keywords stand for is known to `params` or the schema alone, which check them at the start.
        { readonly args?: readonly unknown[] | undefined });

/** An entry of `beatSchedule` or `app.beat.put` whose arguments are those of the task: others do not compile. */
export function beatEntry<P extends readonly unknown[], R, K extends BeatEntry["kwargs"] = undefined>(
  task: Task<P, R>,
  entry: BeatEntryOf<P, K>,
): BeatEntry {
  return { ...(entry as Omit<BeatEntry, "task">), task: task.name };
}

/**
 * Checks an entry against the app. Throws `ImproperlyConfigured` for options that no call takes, for arguments that the
 * task's schema refuses, and for a task that is neither registered nor declared by `taskRef`: only one that is sent to a
 * `queue` by name may be known to other workers alone.
 */
export function checkEntry(app: Lovage, entry: ScheduleEntry, where: string): void {
  const { options } = entry;
  checkTaskName(entry.task);
  checkBeatOptions(entry.task, options, `${where}.options`);
  const task = app.engine.declared(entry.task);
  if (task !== undefined) {
    try {
      checkInputNow(task, entry.args, entry.kwargs);
    } catch (cause) {
      throw new ImproperlyConfigured(`${where}.args`, cause instanceof Error ? cause.message : String(cause), {
        cause,
      });
    }
    const timed = ["countdown", "eta"].find((name) => options[name] !== undefined);
    if (timed !== undefined && isDebounced(app.engine, entry.task))
      throw new ImproperlyConfigured(
        `${where}.options.${timed}`,
        `${entry.task} declares debounce, which says when it starts; leave it out`,
      );
  } else if (options["queue"] === undefined) {
    const cause = app.notRegistered(entry.task);
    throw new ImproperlyConfigured(
      `${where}.task`,
      `${cause.message}; a task that other workers run needs a taskRef, or options.queue`,
      { cause },
    );
  }
}

/** The options that the task of an entry is sent with. */
export function entryOptions({ options, kwargs }: ScheduleEntry): CallOptions {
  const given: CallOptions = options;
  return { ...given, kwargs, headers: { ...given.headers, celery_beat_task: true } };
}

/**
 * Entries put at run time, beside those of `beatSchedule`. On SQLite and in memory every beat of the app follows them
 * within a second; on AWS each is a rule of EventBridge, which AWS takes up within about a minute. A deployment leaves
 * them alone.
 */
export class RuntimeSchedule {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /**
   * Puts an entry, over one that was put under the same name. Its slots count from now on. Throws
   * `ImproperlyConfigured` for what would be refused in `beatSchedule`, and for a name that stands there.
   */
  async put(name: string, entry: BeatEntry): Promise<void> {
    const { engine, config } = this.#app;
    const where = whereOf(name);
    if (typeof name !== "string" || name === "") throw new ImproperlyConfigured(where, "an entry needs a name");
    if (Object.hasOwn(config.beatSchedule, name)) {
      throw new ImproperlyConfigured(where, "stands in beatSchedule; change it there, or choose another name");
    }
    const checked = scheduleEntry(name, entry, where);
    checkEntry(this.#app, checked, where);
    await withinRun("beat.put()", async () => {
      const store = await this.#store();
      await store.put({ ...checked, since: engine.clock.now(), zone: config.timezone });
    });
  }

  /** Resolves to whether there was one. */
  async remove(name: string): Promise<boolean> {
    return withinRun("beat.remove()", async () => (await this.#store()).remove(name));
  }

  /** By name. An entry that will not run again stays until it is removed. What cannot be read is left out: see {@link stored}. */
  async list(): Promise<readonly RuntimeEntry[]> {
    return (await this.stored()).entries;
  }

  /** The same, and beside them entries of which nothing is sent, as this version cannot read them. */
  async stored(): Promise<StoredEntries> {
    return (await this.#store()).list();
  }

  /** Keeps the entry and sends nothing until `resume`; slots of the pause are not sent later. Resolves to whether there is one. */
  async pause(name: string): Promise<boolean> {
    return this.#setEnabled(name, false);
  }

  /** Resolves to whether there is one. */
  async resume(name: string): Promise<boolean> {
    return this.#setEnabled(name, true);
  }

  #store(): Promise<BeatStore> {
    return this.#app.engine.beatStore(this.#app.name);
  }

  async #setEnabled(name: string, enabled: boolean): Promise<boolean> {
    return withinRun(enabled ? "beat.resume()" : "beat.pause()", async () =>
      (await this.#store()).setEnabled(name, enabled, this.#app.engine.clock.now()),
    );
  }
}
