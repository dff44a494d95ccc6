/** What is known of a task that has no result in time: where it was sent, and who works there. */
import { maskUrl } from "../brief.ts";
import type { Engine } from "../engine.ts";
import { TimeoutError, type Whereabouts } from "../errors.ts";
import { fileOf } from "../file-url.ts";
import type { Way } from "../results/reader.ts";
import { PENDING, RETRY } from "../states.ts";
import { routed } from "../tasks/publish.ts";
import { readPaused, readWorkers, type WorkerInfo } from "./rows.ts";

/** The store may be what is out of reach: nobody waits longer for an explanation than this, in milliseconds. */
const PATIENCE_MS = 1_000;

/** What the store says of queues and their workers. */
interface Seen {
  readonly workers: readonly WorkerInfo[];
  readonly paused: ReadonlyMap<string, unknown>;
}

/** One look at the same queues serves all who time out together. */
const looks = new WeakMap<Engine, Map<string, Promise<Seen | undefined>>>();

/**
 * The same error, with what is known. Never throws.
 *
 * @param ways How the task goes to its queue, then how those before it do.
 */
export async function explained(
  engine: Engine,
  error: TimeoutError,
  [own, ...others]: readonly Way[] = [],
): Promise<TimeoutError> {
  const { brokerUrl } = engine.urls;
  const queue = own && queueOf(engine, own);
  const before = [...new Set(others.flatMap((way) => queueOf(engine, way) ?? []))];
  const queues = [...new Set(queue === undefined ? before : [queue, ...before])];
  const seen = await seenBy(engine, queues);
  const where: Whereabouts = {
    broker: fileOf(brokerUrl) === undefined ? maskUrl(brokerUrl) : `sqlite:// (${fileOf(brokerUrl)})`,
    queue,
    before,
    workers: seen?.workers
      .filter((worker) => queues.length === 0 || queues.some((name) => worker.queues.includes(name)))
      .map(({ name }) => name),
    unserved: seen && queues.filter((name) => !seen.workers.some((worker) => worker.queues.includes(name))),
    paused: seen && [...seen.paused.keys()],
  };
  const { taskId, timeout, state } = error;
  const { resultExpires } = engine.config;
  const mayBeGone = queue === undefined && state === PENDING && resultExpires > 0;
  // What was begun goes on.
  const hasBegun = before.length === 0 && state !== PENDING && state !== RETRY;
  const why = explain(hasBegun ? { ...where, paused: [] } : where);
  const gone = `. A task that nobody sent, or whose result is older than resultExpires (${resultExpires} s), is PENDING too`;
  return new TimeoutError(taskId, timeout, state, where, why + (mayBeGone ? gone : ""));
}

/** `undefined` where it is not known here: the call's arguments, by which a function may route, are not kept. */
function queueOf(engine: Engine, { task, queue }: Way): string | undefined {
  if (queue !== undefined || task === undefined) return queue;
  try {
    return routed(engine, task, [], {}, {}).queue;
  } catch {
    return undefined;
  }
}

function seenBy(engine: Engine, queues: readonly string[]): Promise<Seen | undefined> {
  const known = looks.get(engine) ?? new Map<string, Promise<Seen | undefined>>();
  looks.set(engine, known);
  const key = JSON.stringify(queues);
  const look = known.get(key) ?? readSeen(engine, queues).finally(() => known.delete(key));
  known.set(key, look);
  return look;
}

async function readSeen(engine: Engine, queues: readonly string[]): Promise<Seen | undefined> {
  const over = new AbortController();
  try {
    return await Promise.race([
      engine.backend().then(async (backend) => {
        const [workers, paused] = await Promise.all([
          readWorkers(backend, engine.clock.now()),
          readPaused(backend, queues),
        ]);
        return { workers, paused };
      }),
      engine.clock.sleep(PATIENCE_MS, over.signal).then(() => undefined),
    ]);
  } catch {
    return undefined;
  } finally {
    over.abort();
  }
}

function explain(where: Whereabouts): string {
  const { broker, queue, before, workers, unserved = [], paused = [] } = where;
  const steps = `those of what comes before it: ${before.join(", ")}; the broker is ${broker}`;
  const place =
    before.length > 0
      ? `. Its queue is ${queue ?? "not known here"}, ${steps}`
      : queue === undefined
        ? `. The broker is ${broker}`
        : `. It was sent to the queue ${queue} of ${broker}`;
  if (workers === undefined) return `${place}; whether a worker is there could not be seen`;
  // What is paused is not begun, whoever works there.
  const resume = paused.map((name) => `lovage control resume ${name}`).join(" and ");
  const isPaused = `${paused.join(", ")} ${paused.length === 1 ? "is" : "are"} paused, so that no task of ${paused.length === 1 ? "it" : "them"} begins: resume by ${resume}, or by app.control.resume()`;
  const more = paused.length > 0 ? `; and ${isPaused}` : "";
  if (workers.length > 0 && unserved.length > 0)
    return `${place}, where no worker of ${unserved.join(", ")} has been seen in the last 30 s${functions(broker)}: start one with the same broker, as by lovage worker -Q ${unserved.join(",")}${more}`;
  if (workers.length > 0 && paused.length > 0) return `${place}; ${isPaused}`;
  if (workers.length > 0)
    return `${place}, where ${workers.join(", ")} ${workers.length === 1 ? "works" : "work"}: it waits for its turn or takes longer; give get() a longer timeout`;
  return `${place}, where no worker has been seen in the last 30 s${functions(broker)}: start one with the same broker, as by lovage worker${more}`;
}

const functions = (broker: string): string =>
  broker.startsWith("sqs:") ? " (functions and workers of Celery do not say that they are there)" : "";
