/** Beat for an app: what its `beatSchedule` says, sent by its broker, remembered in its result backend. */
import type { Lovage } from "../app.ts";
import { type BeatMemory, runBeat } from "../beat/loop.ts";
import { type ScheduleEntry, scheduleEntries } from "../beat/schedule.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { CallOptions } from "../tasks/options.ts";
import { checkCall, createCall, send } from "../tasks/publish.ts";
import type { Log } from "./log.ts";

/**
 * The entries of an app's `beatSchedule`, checked. Throws `ImproperlyConfigured` for an entry that is wrong, for options
 * that no call takes, and for a task that is not registered: only one that is sent to a `queue` by name may be known to
 * other workers alone.
 */
export function beatEntries(app: Lovage): readonly ScheduleEntry[] {
  const entries = scheduleEntries(app.config.beatSchedule);
  for (const entry of entries) {
    const where = `beatSchedule[${JSON.stringify(entry.name)}]`;
    const options = callOptions(entry);
    checkCall(entry.task, entry.args, options);
    if (!app.tasks.has(entry.task) && options.queue === undefined) {
      const cause = app.notRegistered(entry.task);
      throw new ImproperlyConfigured(
        `${where}.task`,
        `${cause.message}; a task that other workers run needs options.queue`,
        { cause },
      );
    }
  }
  return entries;
}

/** Sends each slot of the app's schedule when it is due, until the signal aborts. Throws what {@link beatEntries} throws. */
export async function beat(app: Lovage, options: { readonly log: Log; readonly signal: AbortSignal }): Promise<void> {
  const { log, signal } = options;
  await runBeat({
    app: app.name,
    entries: beatEntries(app),
    zone: app.config.timezone,
    clock: app.engine.clock,
    memory: createMemory(app),
    signal,
    log: {
      info: (message) => log("info", message),
      warn: (message) => log("warning", message),
      error: (message, error) => log("error", `${message}: ${String(error)}`),
    },
    send: (entry, _slot, id) => sendSlot(app, entry, id),
  });
}

/** Sends the task of a slot under its id. */
export async function sendSlot(app: Lovage, entry: ScheduleEntry, id: string): Promise<void> {
  const options = { ...callOptions(entry), taskId: id };
  if (app.config.taskAlwaysEager) {
    await app.sendTask(entry.task, entry.args, options);
    return;
  }
  const { engine } = app;
  const call = await createCall(engine, entry.task, entry.args, options);
  // The claim keeps a slot from running twice; where the broker can drop the second copy, it need not even travel.
  await send(engine, call, { ...options, deduplicationId: id });
}

function callOptions({ options, kwargs }: ScheduleEntry): CallOptions {
  const given: CallOptions = options;
  return { ...given, kwargs, headers: { ...given.headers, celery_beat_task: true } };
}

/** One row of the app's, so that a restart knows what was covered, on whatever machine it happens. */
function createMemory(app: Lovage): BeatMemory {
  const { engine } = app;
  const key = `lovage-beat-${app.name}`;
  return {
    async load() {
      const [row] = await (await engine.backend()).read([key], { consistent: true });
      if (typeof row?.result !== "string") return undefined;
      const stored: unknown = JSON.parse(row.result);
      const covered = typeof stored === "object" && stored !== null && "covered" in stored ? stored.covered : undefined;
      return typeof covered === "number" ? covered : undefined;
    },
    async save(covered) {
      const result = JSON.stringify({ covered });
      const backend = await engine.backend();
      const [outcome] = await backend.apply([
        { type: "store", key, now: engine.clock.now(), ttl: engine.ttl(), result },
      ]);
      if (outcome instanceof Error) throw outcome;
    },
  };
}
