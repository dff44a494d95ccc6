/** Beat for an app: what its `beatSchedule` says, sent by its broker, remembered in its result backend. */
import type { Lovage } from "../app.ts";
import { type BeatMemory, type ComingEntries, runBeat } from "../beat/loop.ts";
import { type ScheduleEntry, scheduleEntries } from "../beat/schedule.ts";
import type { Covered } from "../beat/tick.ts";
import { besideDeclared } from "../beat/store.ts";
import { signatureList } from "../canvas/wire-options.ts";
import { EncodeError, ImproperlyConfigured } from "../errors.ts";
import { stringifyValue } from "../protocol/values.ts";
import { applyOne } from "../results/backend.ts";
import { checkEntry, entryOptions } from "../tasks/beat.ts";
import type { CallOptions } from "../tasks/options.ts";
import { sendCall } from "../tasks/send-call.ts";
import type { Log } from "./log.ts";

/**
 * The entries of an app's `beatSchedule`, checked. Throws `ImproperlyConfigured` for what no message could carry, such as a
 * value that contains itself, and what `checkEntry` throws.
 */
export function beatEntries(app: Lovage): readonly ScheduleEntry[] {
  const entries = scheduleEntries(app.config.beatSchedule);
  for (const entry of entries) {
    const where = `beatSchedule[${JSON.stringify(entry.name)}]`;
    checkEntry(app, entry, where);
    checkSendable(entry, where);
  }
  return entries;
}

/** What is put at run time is encoded to be kept. Here only a message would be, when the entry is due. */
function checkSendable(entry: ScheduleEntry, where: string): void {
  const { args, kwargs, options } = entry;
  const { headers, link, linkError }: CallOptions = options;
  try {
    stringifyValue(args, "args", 1);
    stringifyValue(kwargs, "kwargs", 1);
    stringifyValue(headers, "options.headers", 1);
    for (const [name, links] of Object.entries({ link, linkError }))
      stringifyValue(signatureList(links), `options.${name}`, 2);
  } catch (error) {
    if (!(error instanceof EncodeError)) throw error;
    throw new ImproperlyConfigured(`${where}.${error.path}`, error.message.slice(error.path.length + 1), {
      cause: error,
    });
  }
}

/** Sends each slot of the app's schedule when it is due, until the signal aborts. Throws what {@link beatEntries} throws. */
export async function beat(app: Lovage, options: { readonly log: Log; readonly signal: AbortSignal }): Promise<void> {
  const { log, signal } = options;
  const coming = await comingEntries(app, log);
  await runBeat({
    app: app.name,
    entries: beatEntries(app),
    ...(coming !== undefined && { coming }),
    zone: app.config.timezone,
    clock: app.engine.clock,
    memory: createMemory(app),
    signal,
    log: {
      info: (message) => log("info", message),
      warn: (message) => log("warning", message),
      error: (message, error) => log("error", `${message}: ${String(error)}`),
    },
    send: (entry, slot, id) => sendSlot(app, entry, slot, id),
  });
}

/**
 * Sends the task of a slot, in milliseconds since the epoch, under its id. Resolves to that, or where the task is unique to the id
 * of the one that is there: then nothing is sent.
 */
export async function sendSlot(app: Lovage, entry: ScheduleEntry, slot: number, id: string): Promise<string> {
  const options = { ...entryOptions(entry), taskId: id };
  if (app.config.taskAlwaysEager) {
    await app.sendTask(entry.task, entry.args, options);
    return id;
  }
  const { engine } = app;
  const { task, name } = entry;
  // The claim keeps a slot from running twice; where the broker can drop the second copy, it need not even travel.
  const { id: sentId, sent } = await sendCall(engine, task, entry.args, { ...options, deduplicationId: id });
  const queue = sent && { queue: sent.queue };
  await engine.note({ time: engine.clock.now(), kind: "slot", id: sentId, task, ...queue, entry: name, slot });
  return sentId;
}

/** The entries put at run time, where a loop is what sends them: EventBridge calls the beat function for its own. */
export async function comingEntries({ engine, name }: Lovage, log?: Log): Promise<ComingEntries | undefined> {
  if (!engine.hasBeatStore) return undefined;
  const store = await engine.beatStore(name);
  const { changed } = store;
  if (changed === undefined) return undefined;
  let told = new Set<string>();
  return {
    async list() {
      const { entries, unreadable } = await store.list();
      const messages = unreadable.map(({ error }) => error.message);
      for (const message of messages) if (!told.has(message)) log?.("error", `nothing is sent of an entry: ${message}`);
      told = new Set(messages);
      return entries.map(besideDeclared);
    },
    changed,
  };
}

/** One row of the app's, so that a restart knows what was covered, on whatever machine it happens. */
function createMemory(app: Lovage): BeatMemory {
  const { engine } = app;
  const key = `lovage-beat-${app.name}`;
  return {
    async load() {
      const [row] = await (await engine.backend()).read([key], { consistent: true });
      if (typeof row?.result !== "string") return undefined;
      // Written below, and by nobody else.
      return JSON.parse(row.result) as Covered;
    },
    async save(covered) {
      const result = JSON.stringify(covered);
      await applyOne(engine.backend(), { type: "store", key, now: engine.clock.now(), ttl: engine.ttl(), result });
    },
  };
}
