/** A job as an attempt: what its task reaches of its worker, and what is sent in its name. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Engine } from "../engine.ts";
import { PayloadTooLarge } from "../errors.ts";
import { holdsLong, type LongText } from "../protocol/long-text.ts";
import { encodeMeta, type MetaCodec } from "../protocol/meta.ts";
import type { MaybePromise } from "../protocol/serializers.ts";
import { createStream } from "../results/stream.ts";
import { batchOf } from "../tasks/batch.ts";
import { describe, factsOf } from "./conclude.ts";
import { comesNoMore, type Job, type WorkerContext } from "./context.ts";
import { follow, isAlone, type Settled } from "./follow.ts";
import type { Kept } from "./held-place.ts";
import type { Sender } from "./sender.ts";
import type { Batches, Gathering } from "./batch.ts";
import { Stop } from "./stop.ts";
import { afterRun, type Attempt } from "./trace.ts";

/** Whether a task of the app that is bundled gathers calls. */
declare const LOVAGE_BATCHES: boolean;

export const attemptAt = (context: WorkerContext, job: Job, abort: Stop = new Stop()): Attempt => ({
  task: job.task,
  options: job.options,
  message: job.message,
  request: job.request,
  clock: context.engine.clock,
  random: context.engine.platform.random,
  abort,
  deadline: context.deadline(),
  sender: context,
  log: context.log,
  updateState: (state, meta) => updateState(context, job, state, meta),
  stream: () =>
    createStream({
      backend: () => context.engine.backend(),
      clock: context.engine.clock,
      id: job.message.id,
      run: context.engine.uuid(),
    }),
  ...((typeof LOVAGE_BATCHES === "undefined" || LOVAGE_BATCHES) &&
    batchOf(job.task) !== undefined && { gathering: gatheringOf(context.batches(), job) }),
});

const gatheringOf = (batches: Batches, { delivery }: Job): Gathering => ({
  batches,
  outside: AsyncLocalStorage.snapshot(),
  arrived: () => comesNoMore(batches, delivery),
});

async function updateState(context: WorkerContext, job: Job, state: string, meta: unknown): Promise<void> {
  const { engine, apply } = context;
  const { id } = job.message;
  const described = describe(engine, factsOf(context, job, []), state, meta, null);
  const store = async (codec: MetaCodec) => {
    const result = await encodeMeta({ ...described, dateDone: null }, codec);
    const address = { key: job.key, now: engine.clock.now(), ttl: engine.ttl(), result };
    await apply(
      job.claimed === undefined ? { type: "store", ...address } : { type: "update", owner: job.owner, ...address },
    );
  };
  const outside = holdsLong(meta) ? await outsideRow(engine, id) : undefined;
  if (outside !== undefined) return store(outside);
  try {
    await store(engine.codec);
  } catch (error) {
    const smaller = error instanceof PayloadTooLarge ? await outsideRow(engine, id) : undefined;
    if (smaller === undefined) throw error;
    await store(smaller);
  }
}

/**
 * How the result of a row is written that is kept elsewhere, and read by who has just written it, who need not ask for it again;
 * `undefined`: there is nothing that keeps it.
 */
export async function outsideRow(engine: Engine, id: string): Promise<MetaCodec | undefined> {
  const payloads = await engine.payloads();
  if (payloads === undefined) return undefined;
  const days = engine.rowDays();
  const { codec } = engine;
  let own: string;
  let given: string | LongText;
  return {
    ...codec,
    async keep(text) {
      given = text;
      own = await payloads.put(text, id, days);
      return own;
    },
    async fetch(pointer) {
      if (pointer !== own && codec.fetch) return codec.fetch(pointer);
      return typeof given === "string" ? { text: given, restored: (value) => value } : { ...given, text: given.marked };
    },
  };
}

/** Sends what follows from a job's row, as the job's part where anybody asks whose it is. */
export function followJob(
  context: WorkerContext,
  job: Job,
  row: Settled,
  sender: Sender = context,
): MaybePromise<Kept | undefined> {
  if (row.next === undefined && isAlone(job.message)) return undefined;
  const send = () => follow(sender, job.message, job.source, row);
  return sendFor(context.engine, () => attemptAt(context, job), send);
}

/** Sends what follows from an attempt: as its part, where it makes a difference which task it is that something is sent for. */
export const sendFor = <T>({ emitter, config }: Engine, attempt: () => Attempt, send: () => Promise<T>): Promise<T> =>
  config.taskInheritParentPriority || emitter.has("beforeTaskPublish") || emitter.has("afterTaskPublish")
    ? afterRun(attempt(), send)
    : send();
