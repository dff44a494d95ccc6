/** What `app.control` does, over the ports. Loaded at the first question or action. */
import { isDeadLetterQueue } from "../brokers/broker.ts";
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured, NotRegistered, OperationalError, WorkerNotFound } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { parseRate } from "../limits/rate.ts";
import { writeRateOrder } from "../limits/rows.ts";
import { didYouMean } from "../nearest.ts";
import { openOperator } from "../open.ts";
import { boolean, options, shape, text } from "../parse.ts";
import type { Acting, ChangedTasks, ChangeTasks, Control, RevokeTasks } from "./control.ts";
import { endedText, foreseeForget, foreseeRevoke, NOT_STORED } from "./foresee.ts";
import { createInspect, namesOnSqs, noQueue } from "./inspect.ts";
import { createLetters } from "./letters.ts";
import { checkRetry, retryMany, retryOne } from "./retry.ts";
import { readWorkers, writePaused, writeShutdown } from "./rows.ts";
import { actionEntry, noteAction, whoIs } from "./who.ts";

const changeShape = shape<ChangeTasks>({ dryRun: boolean, by: text }, {});
const changing = (given: ChangeTasks | undefined, at: string) => options(changeShape, given, at, "{ dryRun: true }");
const revokeShape = shape<RevokeTasks>({ terminate: boolean, dryRun: boolean, by: text }, {});
const actingShape = shape<Acting>({ by: text }, {});
const acting = (given: Acting | undefined, at: string): Acting => options(actingShape, given, at, '{ by: "anna" }');

/** Ids whose rows are written at a time. */
const BATCH = 100;

export function createOperations(engine: Engine, app: string): Control {
  const { clock } = engine;

  const tell = (action: string, by: string, facts: Partial<JournalEntry> = {}): Promise<void> =>
    noteAction(engine, action, facts, { by });

  /** @param act Says of each why it could not be done, if so. */
  async function each(
    ids: readonly string[],
    act: (batch: readonly string[]) => Promise<readonly (string | undefined)[]>,
  ): Promise<ChangedTasks> {
    const failed: { readonly id: string; readonly reason: string }[] = [];
    for (let at = 0; at < ids.length; at += BATCH) {
      const batch = ids.slice(at, at + BATCH);
      for (const [index, reason] of (await act(batch)).entries())
        if (reason !== undefined) failed.push({ id: batch[index] as string, reason });
    }
    return { count: ids.length - failed.length, failed };
  }

  async function revokeOne(id: string, terminate: boolean, by: string): Promise<string | undefined> {
    const ended = await engine.reader.revoke(id, terminate, by);
    return ended === undefined ? undefined : endedText(ended);
  }

  async function forgetOne(id: string, by: string): Promise<string | undefined> {
    if (!(await engine.reader.forget(id))) return NOT_STORED;
    await tell("forget", by, { id });
    return undefined;
  }

  async function mustBe(queue: string): Promise<void> {
    if (typeof queue !== "string" || queue === "")
      throw new ImproperlyConfigured("queue", "must be the name of a queue, as in taskQueues");
    if (queue in engine.config.taskQueues) return;
    const existing = await (await engine.broker()).queues();
    if (existing.includes(queue)) return;
    throw noQueue(engine, queue, existing);
  }

  async function setPaused(queue: string, paused: boolean, given: Acting | undefined): Promise<void> {
    const action = paused ? "pause" : "resume";
    const by = await whoIs(engine, acting(given, action));
    await mustBe(queue);
    if (isDeadLetterQueue(queue))
      throw new ImproperlyConfigured("queue", `${queue} is one of dead letters, which no worker serves`);
    // The row first: it is what pollers obey, and what every list shows.
    await writePaused(await engine.backend(), queue, paused, by, clock.now());
    const operator = await openOperator(engine.urls.brokerUrl, engine.config.brokerTransportOptions);
    if (operator !== undefined) {
      try {
        for (const name of namesOnSqs(engine, queue)) await operator.setEnabled(name, !paused);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        throw new OperationalError(
          `${queue} is ${paused ? "paused" : "resumed"} for long-lived workers alone, as its function could not be told: ${why}. Who does it needs lambda:ListEventSourceMappings and lambda:UpdateEventSourceMapping; the same again does no harm`,
          { retryable: false, cause: error },
        );
      }
    }
    await tell(action, by, { queue });
  }

  return {
    async revoke(ids, given) {
      const { terminate = false, dryRun, ...who } = options(revokeShape, given, "revoke", "{ terminate: true }");
      const by = await whoIs(engine, who);
      return each(idsOf(ids), (batch) =>
        dryRun ? foreseeRevoke(engine, batch) : Promise.all(batch.map((id) => revokeOne(id, terminate, by))),
      );
    },
    async retry(id, given) {
      const { dryRun, ...who } = changing(given, "retry");
      const by = await whoIs(engine, who);
      const [one] = idsOf(id);
      if (dryRun) await checkRetry(engine, one as string);
      else await tell("retry", by, { id: one, ...(await retryOne(engine, one as string)) });
    },
    async retryFailed(filter) {
      const by = await whoIs(engine, filter?.by === undefined ? undefined : { by: filter.by });
      return retryMany(engine, filter, (sent) =>
        engine.note(...sent.map(({ id, task, queue }) => actionEntry(engine, "retry", by, { id, task, queue }))),
      );
    },
    async forget(ids, given) {
      const { dryRun, ...who } = changing(given, "forget");
      const by = await whoIs(engine, who);
      return each(idsOf(ids), (batch) =>
        dryRun ? foreseeForget(engine, batch) : Promise.all(batch.map((id) => forgetOne(id, by))),
      );
    },
    async rateLimit(task, rate, given) {
      const by = await whoIs(engine, acting(given, "rateLimit"));
      const known = engine.declared(task);
      if (known === undefined) throw new NotRegistered(task, didYouMean(String(task), engine.tasks.keys()).slice(2));
      if (engine.optionsOf(known).rateLimit === undefined)
        throw new ImproperlyConfigured(
          "rateLimit",
          `${task} declares no rateLimit, so workers do not look for one; declare it, as the highest rate that the task may ever have`,
        );
      if (rate !== null) parseRate(rate, "rateLimit");
      await writeRateOrder(await engine.limits(), task, { rate, by, at: clock.now() });
      await tell("rateLimit", by, { task });
    },
    async purge(queue, given) {
      const by = await whoIs(engine, acting(given, "purge"));
      await mustBe(queue);
      const broker = await engine.broker();
      const count = (await broker.queues()).includes(queue) ? await broker.purge(queue) : 0;
      await tell("purge", by, { queue, ...(count !== undefined && { count }) });
      return count;
    },
    deadLetters: createLetters(engine),
    pause: (queue, given) => setPaused(queue, true, given),
    resume: (queue, given) => setPaused(queue, false, given),
    async shutdown(worker, given) {
      const by = await whoIs(engine, acting(given, "shutdown"));
      const backend = await engine.backend();
      const names = (await readWorkers(backend, clock.now())).map(({ name }) => name);
      if (!names.includes(worker))
        throw new WorkerNotFound(
          worker,
          ` of ${app}${didYouMean(String(worker), names)} (there are: ${names.join(", ") || "none"}); functions of Lambda are no long-lived workers, pause their queue`,
        );
      await writeShutdown(backend, worker, by, clock.now());
      await tell("shutdown", by, { worker });
    },
    inspect: () => createInspect(engine),
  };
}

/** Throws `ImproperlyConfigured` for what is no id. */
function idsOf(ids: string | readonly string[]): readonly string[] {
  const list = typeof ids === "string" ? [ids] : ids;
  if (Array.isArray(list) && list.every((id) => typeof id === "string" && id !== "")) return [...new Set(list)];
  throw new ImproperlyConfigured("id", "must be the id of a task (a text that is not empty), or a list of ids");
}
