/** What is known of a task that has no result in time: where it was sent, and who works there. */
import { maskUrl } from "../brief.ts";
import type { Engine } from "../engine.ts";
import { TimeoutError, type Whereabouts } from "../errors.ts";
import { fileOf } from "../file-url.ts";
import { readWorkers, type WorkerInfo } from "./rows.ts";

/** The store may be what is out of reach: nobody waits longer for an explanation than this, in milliseconds. */
const PATIENCE_MS = 1_000;

/** One look serves all who time out together. */
const looks = new WeakMap<Engine, Promise<readonly WorkerInfo[] | undefined>>();

/** The same error, with what is known. Never throws. */
export async function explained(engine: Engine, error: TimeoutError, queue: string | undefined): Promise<TimeoutError> {
  let look = looks.get(engine);
  if (look === undefined) {
    look = workersOf(engine).finally(() => looks.delete(engine));
    looks.set(engine, look);
  }
  const seen = await look;
  const { brokerUrl } = engine.urls;
  const where: Whereabouts = {
    broker: fileOf(brokerUrl) === undefined ? maskUrl(brokerUrl) : `sqlite:// (${fileOf(brokerUrl)})`,
    queue,
    workers: seen?.filter(({ queues }) => queue === undefined || queues.includes(queue)).map(({ name }) => name),
  };
  const { taskId, timeout, state } = error;
  return new TimeoutError(taskId, timeout, state, where);
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
