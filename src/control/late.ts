/** What is known of a task that has no result in time: where it was sent, and who works there. */
import { maskUrl } from "../brief.ts";
import type { Engine } from "../engine.ts";
import { TimeoutError, type Whereabouts } from "../errors.ts";
import { fileOf } from "../file-url.ts";
import type { Way } from "../results/reader.ts";
import { PENDING } from "../states.ts";
import { routed } from "../tasks/publish.ts";
import { readWorkers, type WorkerInfo } from "./rows.ts";

/** The store may be what is out of reach: nobody waits longer for an explanation than this, in milliseconds. */
const PATIENCE_MS = 1_000;

/** One look serves all who time out together. */
const looks = new WeakMap<Engine, Promise<readonly WorkerInfo[] | undefined>>();

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
  let look = looks.get(engine);
  if (look === undefined) {
    look = workersOf(engine).finally(() => looks.delete(engine));
    looks.set(engine, look);
  }
  const seen = await look;
  const { brokerUrl } = engine.urls;
  const queue = own && queueOf(engine, own);
  const before = [...new Set(others.flatMap((way) => queueOf(engine, way) ?? []))];
  const queues = queue === undefined ? before : [queue, ...before];
  const where: Whereabouts = {
    broker: fileOf(brokerUrl) === undefined ? maskUrl(brokerUrl) : `sqlite:// (${fileOf(brokerUrl)})`,
    queue,
    before,
    workers: seen
      ?.filter((worker) => queues.length === 0 || queues.some((name) => worker.queues.includes(name)))
      .map(({ name }) => name),
    unserved: seen && [...new Set(queues)].filter((name) => !seen.some((worker) => worker.queues.includes(name))),
  };
  const { taskId, timeout, state } = error;
  const { resultExpires } = engine.config;
  const mayBeGone = queue === undefined && state === PENDING && resultExpires > 0;
  const gone = `. A task that nobody sent, or whose result is older than resultExpires (${resultExpires} s), is PENDING too`;
  return new TimeoutError(taskId, timeout, state, where, explain(where) + (mayBeGone ? gone : ""));
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

async function workersOf(engine: Engine): Promise<readonly WorkerInfo[] | undefined> {
  const over = new AbortController();
  try {
    return await Promise.race([
      engine.backend().then((backend) => readWorkers(backend, engine.clock.now())),
      engine.clock.sleep(PATIENCE_MS, over.signal).then(() => undefined),
    ]);
  } catch {
    return undefined;
  } finally {
    over.abort();
  }
}

function explain(where: Whereabouts): string {
  const { broker, queue, before, workers, unserved = [] } = where;
  const steps = `those of what comes before it: ${before.join(", ")}; the broker is ${broker}`;
  const place =
    before.length > 0
      ? `. Its queue is ${queue ?? "not known here"}, ${steps}`
      : queue === undefined
        ? `. The broker is ${broker}`
        : `. It was sent to the queue ${queue} of ${broker}`;
  if (workers === undefined) return `${place}; whether a worker is there could not be seen`;
  if (workers.length > 0 && unserved.length > 0)
    return `${place}, where no worker of ${unserved.join(", ")} has been seen in the last 30 s${functions(broker)}: start one with the same broker, as by lovage worker -Q ${unserved.join(",")}`;
  if (workers.length > 0)
    return `${place}, where ${workers.join(", ")} ${workers.length === 1 ? "works" : "work"}: it waits for its turn or takes longer; give get() a longer timeout`;
  return `${place}, where no worker has been seen in the last 30 s${functions(broker)}: start one with the same broker, as by lovage worker`;
}

const functions = (broker: string): string =>
  broker.startsWith("sqs:") ? " (functions and workers of Celery do not say that they are there)" : "";
