/** What the board does, once an operation has been asked for: to queues, workers, tasks, dead letters and the schedule. */
import type { Lovage } from "../app.ts";
import { crontab } from "../beat/crontab.ts";
import type { BeatEntry, ScheduleEntry } from "../beat/schedule.ts";
import { brief } from "../brief.ts";
import type {
  ChangedLetters,
  ChangedTasks,
  ChangeLetters,
  ChangeTasks,
  LettersOf,
  RetriedFailures,
  RetryFailed,
  RetryRefusal,
  ShownLetter,
} from "../control/control.ts";
import { REASONS } from "../control/retry.ts";
import { noteAction } from "../control/who.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import type { JournalFilter } from "../journal/query.ts";
import { readWorkflow } from "../canvas/workflow.ts";
import { FAILURE, PENDING, RETRY, STARTED } from "../states.ts";
import { entryOptions } from "../tasks/beat.ts";
import { problemOf } from "./live.ts";

/** States of what has not ended. */
const OPEN: ReadonlySet<string> = new Set([PENDING, RETRY, STARTED]);
/** Of what the journal tells of a task, too: one that is replaced goes on under its id. */
export const isOpen = (state: string): boolean => OPEN.has(state) || state === "REPLACED";

/** Tasks that one action is for. */
const MOST_CHOSEN = 100_000;
/** Tasks that are acted on at a time, and between two words of how far it is. */
const TOGETHER = 50;

/** The same, with what the reasons in `skipped` mean, for people and agents. */
export interface RetriedInWords extends RetriedFailures {
  readonly reasons: Readonly<Partial<Record<RetryRefusal, string>>>;
}

/** What was done to several. */
export interface Done {
  readonly count: number;
  readonly failed: readonly { readonly id: string; readonly error: string }[];
}

/** The tasks that are meant, and what is not known of others that were. */
interface Found {
  readonly ids: readonly string[];
  readonly left: Done["failed"];
}

/** No entry of the schedule has this name. */
export class EntryNotFound extends LovageError {}

/** Who does it, who is told how far it is, and what ends it: what is done by then stays done. */
export interface Doing {
  readonly by?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: ((done: number, total: number | undefined) => void) | undefined;
}

/** Which tasks are meant: these ids, or those of a workflow that the action is for. */
export interface ChosenInWorkflow {
  readonly ids?: readonly string[] | undefined;
  /** The id of any task of a workflow, or of a group. */
  readonly workflow?: string | undefined;
  /** Only count. */
  readonly dryRun?: boolean | undefined;
}

/** Or all whose latest entry in the journal matches. */
export interface Chosen extends JournalFilter, ChosenInWorkflow {
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/** Which dead letters are meant: these, or all that match. */
export interface ChosenLetters extends Omit<LettersOf, "id"> {
  /** Of tasks, or the broker's of messages. */
  readonly ids?: readonly string[] | undefined;
  /** Only count. */
  readonly dryRun?: boolean;
}

/** Positional and keyword arguments that take the place of those of a message. */
export interface Arguments {
  readonly args?: readonly unknown[] | undefined;
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** @param entries All entries of the schedule. */
export function createActions(app: Lovage, entries: () => Promise<readonly ScheduleEntry[]>) {
  const { engine, control, journal } = app;

  return {
    pause: (queue: string, { by }: Doing) => control.pause(queue, acting(by)),
    resume: (queue: string, { by }: Doing) => control.resume(queue, acting(by)),
    purge: (queue: string, { by }: Doing) => control.purge(queue, acting(by)),
    rateLimit: (task: string, rate: string | number | null, { by }: Doing) => control.rateLimit(task, rate, acting(by)),
    shutdown: (worker: string, { by }: Doing) => control.shutdown(worker, acting(by)),
    async retry(chosen: ChosenInWorkflow, doing: Doing): Promise<Done> {
      const found = await idsOf(chosen, (state) => state === FAILURE, doing);
      if (found === undefined) throw new ImproperlyConfigured("ids", "must be given, or a workflow");
      const { dryRun } = chosen;
      return each(found, (id) => control.retry(id, { dryRun, ...acting(doing.by) }), doing);
    },
    async retryFailed(filter: RetryFailed, { by, progress, signal }: Doing): Promise<RetriedInWords> {
      const retried = await control.retryFailed({
        ...filter,
        ...acting(by),
        progress(count) {
          signal?.throwIfAborted();
          progress?.(count, undefined);
        },
      });
      const why = Object.entries(REASONS).filter(([reason]) => reason in retried.skipped);
      return { ...retried, reasons: Object.fromEntries(why) };
    },
    revoke: (chosen: Chosen, terminate: boolean, doing: Doing): Promise<Done> =>
      some(chosen, isOpen, (ids, how) => control.revoke(ids, { terminate, ...how }), doing),
    forget: (chosen: Chosen, doing: Doing): Promise<Done> =>
      some(
        chosen,
        () => true,
        (ids, how) => control.forget(ids, how),
        doing,
      ),
    redrive: ({ args, kwargs, ...chosen }: ChosenLetters & Arguments, doing: Doing): Promise<Done> =>
      letters(chosen, doing, (given) =>
        control.deadLetters.redrive({
          ...given,
          ...(args !== undefined && { args }),
          ...(kwargs !== undefined && { kwargs }),
        }),
      ),
    deleteLetters: (chosen: ChosenLetters, doing: Doing): Promise<Done> =>
      letters(chosen, doing, (given) => control.deadLetters.delete(given)),
    /** Throws `NotRegistered` for a task that is neither registered here nor sent to a queue by its name. */
    async call(
      task: string,
      args: readonly unknown[],
      options: Readonly<Record<string, unknown>>,
      { by }: Doing,
    ): Promise<{ readonly id: string }> {
      if (app.engine.declared(task) === undefined && options["queue"] === undefined) throw app.notRegistered(task);
      const { id } = await app.sendTask(task, args, options);
      await noteAction(engine, "call", { id, task }, acting(by));
      return { id };
    },
    async runNow(name: string, { by }: Doing): Promise<{ readonly id: string }> {
      const entry = (await entries()).find((one) => one.name === name);
      if (entry === undefined) throw new EntryNotFound(`there is no entry ${brief(name, 100)} in the schedule`);
      const { id } = await app.sendTask(entry.task, entry.args, entryOptions(entry));
      await noteAction(engine, "runNow", { id, task: entry.task, entry: name }, acting(by));
      return { id };
    },
    pauseEntry: (name: string, doing: Doing) => changeEntry("pauseEntry", name, doing, () => app.beat.pause(name)),
    resumeEntry: (name: string, doing: Doing) => changeEntry("resumeEntry", name, doing, () => app.beat.resume(name)),
    removeEntry: (name: string, doing: Doing) => changeEntry("removeEntry", name, doing, () => app.beat.remove(name)),
    putEntry: (
      name: string,
      entry: Omit<BeatEntry, "schedule"> & { readonly schedule: string | number },
      doing: Doing,
    ) =>
      changeEntry("putEntry", name, doing, async () => {
        await app.beat.put(name, { ...entry, schedule: scheduleOf(entry.schedule) });
        return true;
      }),
  };

  async function changeEntry(action: string, name: string, { by }: Doing, act: () => Promise<boolean>): Promise<void> {
    if (!(await act())) {
      throw new EntryNotFound(
        `no entry ${brief(name, 100)} was put at run time; those of beatSchedule are changed in the code`,
      );
    }
    await noteAction(engine, action, { entry: name }, acting(by));
  }

  async function each(
    { ids, left }: Found,
    act: (id: string) => Promise<void>,
    { progress, signal }: Doing,
  ): Promise<Done> {
    const failed: { readonly id: string; readonly error: string }[] = [];
    for (let at = 0; at < ids.length; at += TOGETHER) {
      signal?.throwIfAborted();
      const batch = ids.slice(at, at + TOGETHER);
      const outcomes = await Promise.allSettled(batch.map(act));
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.status === "rejected")
          failed.push({ id: batch[index] as string, error: problemOf(outcome.reason) });
      }
      progress?.(at + batch.length, ids.length);
    }
    return { count: ids.length - failed.length, failed: [...failed, ...left] };
  }

  async function some(
    chosen: Chosen,
    isMeant: (state: string) => boolean,
    act: (ids: readonly string[], how: ChangeTasks) => Promise<ChangedTasks>,
    doing: Doing,
  ): Promise<Done> {
    const { by, progress, signal } = doing;
    const { ids, left } = (await idsOf(chosen, isMeant, doing)) ?? {
      ids: await choose(chosen, isMeant, doing),
      left: [],
    };
    const failed: { readonly id: string; readonly error: string }[] = [];
    for (let at = 0; at < ids.length; at += TOGETHER) {
      signal?.throwIfAborted();
      const changed = await act(ids.slice(at, at + TOGETHER), { dryRun: chosen.dryRun, ...acting(by) });
      for (const { id, reason } of changed.failed) failed.push({ id, error: reason });
      progress?.(Math.min(at + TOGETHER, ids.length), ids.length);
    }
    return { count: ids.length - failed.length, failed: [...failed, ...left] };
  }

  /** These, or those of a workflow whose state is meant; `undefined`: neither is given. */
  async function idsOf(
    { ids, workflow }: ChosenInWorkflow,
    isMeant: (state: string) => boolean,
    { signal }: Doing,
  ): Promise<Found | undefined> {
    // Who names a task twice means it once.
    if (ids !== undefined) return { ids: [...new Set(ids)], left: [] };
    if (workflow === undefined) return undefined;
    const { tasks, truncated } = await readWorkflow(engine, workflow, signal);
    return {
      ids: tasks.filter(({ id, state }) => isMeant(state) && id !== "").map(({ id }) => id),
      left: truncated
        ? [{ id: workflow, error: "it has more tasks than are looked for; the others stay as they are" }]
        : [],
    };
  }

  /** The tasks whose latest entry matches, and whose state is meant. Throws `ImproperlyConfigured` where nothing is asked for: that would be all. */
  async function choose(
    { ids: _, workflow: __, dryRun: ___, ...filter }: Chosen,
    isMeant: (state: string) => boolean,
    { signal }: Doing,
  ): Promise<readonly string[]> {
    const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
    if (Object.keys(given).length === 0) {
      throw new ImproperlyConfigured(
        "ids",
        "must be given, or a filter that says which tasks are meant, such as a task's name",
      );
    }
    const found = new Map<string, JournalEntry>();
    for await (const entry of journal.find({ ...given, kind: "task", signal })) {
      const { id } = entry;
      if (id === undefined || found.has(id)) continue;
      found.set(id, entry);
      if (found.size > MOST_CHOSEN) {
        throw new ImproperlyConfigured(
          "from",
          `leaves more than ${MOST_CHOSEN} tasks: choose a later time, or narrow another filter, to do them in parts`,
        );
      }
    }
    // What came of a task later may match none of the filter: another state, error, worker or queue, or after its `to`.
    const from = [...found.values()].at(-1)?.time;
    if (from === undefined) return [];
    const looked = new Set<string>();
    const meant: string[] = [];
    for await (const entry of journal.find({ from, kind: "task", signal })) {
      const { id = "" } = entry;
      const matching = found.get(id);
      if (matching === undefined || looked.has(id)) continue;
      looked.add(id);
      if (JSON.stringify(entry) === JSON.stringify(matching) && isMeant(entry.state ?? "")) meant.push(id);
      if (looked.size === found.size) break;
    }
    return meant;
  }

  /** Throws `ImproperlyConfigured` where nothing is asked for: that would be all. */
  async function letters(
    { ids, ...filter }: ChosenLetters,
    { by, progress, signal }: Doing,
    act: (given: ChangeLetters) => Promise<ChangedLetters>,
  ): Promise<Done> {
    const { dryRun: _, ...which } = filter;
    if (ids === undefined && Object.keys(which).length === 0) {
      throw new ImproperlyConfigured(
        "ids",
        "must be given, or a filter that says which dead letters are meant, such as a queue",
      );
    }
    const seen = new Set<string | undefined>();
    const asked = { ...filter, ...(ids !== undefined && { id: ids }), ...acting(by), ...(signal && { signal }) };
    let done = 0;
    const each = ({ id, message }: ShownLetter) => {
      for (const one of [id, message]) seen.add(one);
      progress?.(++done, ids?.length);
    };
    const { count, failed } = await act({ ...asked, each });
    for (const { letter } of failed) for (const one of [letter.id, letter.message]) seen.add(one);
    const gone = (ids ?? []).filter((id) => !seen.has(id));
    return {
      count,
      failed: [
        ...failed.map(({ letter, error }) => ({ id: letter.id ?? letter.message, error: problemOf(error) })),
        ...gone.map((id) => ({ id, error: "it is not there any more, or somebody else looks at it" })),
      ],
    };
  }
}

const acting = (by: string | undefined): { readonly by?: string } => (by === undefined ? {} : { by });

const CRON_FIELDS = ["minute", "hour", "dayOfMonth", "monthOfYear", "dayOfWeek"] as const;

/** Seconds, or the five fields of crontab in its own order. Throws `ImproperlyConfigured`. */
function scheduleOf(given: string | number): BeatEntry["schedule"] {
  const text = String(given).trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const fields = text.split(/\s+/);
  if (fields.length !== CRON_FIELDS.length) {
    throw new ImproperlyConfigured(
      "schedule",
      `must be seconds, such as 30, or the five fields of crontab, such as "*/15 * * * *", and is ${brief(given, 100)}`,
    );
  }
  return crontab(Object.fromEntries(CRON_FIELDS.map((name, at) => [name, fields[at]])));
}
