/**
 * The long-lived worker: fetches from its queues, runs up to `concurrency` tasks at a time, keeps what it has in hand,
 * and stops as Celery's does: warm (hand back what waits, let what runs end), for as long as the grace is, then cold.
 */
import { availableParallelism, hostname as machineName } from "node:os";
import type { Lovage } from "../app.ts";
import type { Broker, Delivery } from "../brokers/broker.ts";
import type { Orders } from "../control/rows.ts";
import { checkQueueName } from "../brokers/queue-name.ts";
import type { Config } from "../config/config.ts";
import { ImproperlyConfigured, LovageError, QueueNotFound } from "../errors.ts";
import { batchSizes } from "../tasks/batch.ts";
import { createAcknowledgements } from "./acknowledge.ts";
import { watchBlocking } from "./blocked.ts";
import { createDeaths } from "./deaths.ts";
import { createDispatch } from "./dispatch.ts";
import { reportFault, watchFaults } from "./faults.ts";
import { createFetches } from "./fetch.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { createHand, type RunInHand } from "./in-hand.ts";
import { type Log, silent } from "./log.ts";
import { onEnded, type Postrun } from "./place.ts";
import type { Apart, Pool } from "./pool.ts";
import { presenceOf, startPresence } from "./presence.ts";
import { startProtection } from "./protection.ts";
import { nameOf } from "./report.ts";
import { LONG_RUN_MS } from "./run.ts";
import { createRunQueue, isWorkedFor } from "./run-queue.ts";
import { COLD_MS, createShutdown } from "./shutdown.ts";
import { createWorker, type Run } from "./worker.ts";

/** How a worker fetches, and what it says. */
export interface PollOptions {
  /** Default: all of `taskQueues`. */
  readonly queues?: readonly string[] | undefined;
  /** Tasks at a time. Default: `workerConcurrency`. */
  readonly concurrency?: number | undefined;
  /** Default `celery@<machine>`. */
  readonly hostname?: string | undefined;
  /** Where its lines go. Default: nowhere. */
  readonly log?: Log | undefined;
  /** Seconds that running tasks have to end when the worker is told to stop; 0: without end. Default: `workerSoftShutdownTimeout`. */
  readonly grace?: number | undefined;
  /**
   * `true`: the process belongs to the worker alone, as that of `lovage worker` does, so it may be ended if a task blocks it beyond
   * its time limit. Default false, as for a web server: then such a task is only named in the log, and its outcome is stored.
   */
  readonly ownsProcess?: boolean | undefined;
}

/** Is told of what goes on in a worker. */
export interface PollWatch {
  /** So many messages of a queue were fetched. */
  received(queue: string, count: number): void;
  /** What was admitted begins: a run, or what ends without one, which is `decided`. */
  began(run: RunInHand): void;
  /** An attempt ended. */
  ended(attempt: Postrun): void;
}

/** Whether a worker takes messages. */
export interface Readiness {
  /** It fetches, or would where no queue were paused. */
  readonly ready: boolean;
  /** Why it does not, or which queues are paused. */
  readonly reason: string | undefined;
  /** Tasks that run, and messages that were fetched and are not begun. */
  readonly running: number;
  readonly waiting: number;
}

/** A worker that fetches until it is stopped. */
export interface PollingWorker {
  /** Its name, as rows and logs have it. */
  readonly hostname: string;
  /** The queues that it fetches from. */
  readonly queues: readonly string[];
  /** How many tasks it runs at a time. */
  readonly concurrency: number;
  /**
   * Warm shutdown: takes nothing more, hands back what waits, and lets what runs end. After the grace
   * (`workerSoftShutdownTimeout`) the `signal`s of what still runs abort, and what does not end then is handed back: other
   * workers take it at once, and no death is counted. Resolves when it is done.
   */
  stop(): Promise<void>;
  /** Cold shutdown: the same without the grace. */
  abort(): Promise<void>;
  /** How it is at this moment. */
  readiness(): Readiness;
  /**
   * Resolves when the worker has ended: `recycle` where its process should make room for a fresh one, `shutdown` where
   * somebody has asked for it by `app.control.shutdown()`.
   */
  readonly ended: Promise<"stopped" | "recycle" | "shutdown">;
}

/**
 * Starts a worker in this process. Throws `ImproperlyConfigured` or `QueueNotFound` for queues and numbers that cannot be.
 */
export const startWorker = (app: Lovage, options: PollOptions = {}): Promise<PollingWorker> =>
  startPoller(app, options);

/** The same for those who can run a task in a process of its own, or are that process and have `only` one delivery. */
export async function startPoller(
  app: Lovage,
  options: PollOptions & {
    readonly apart?: Apart;
    readonly pool?: Pool | undefined;
    readonly only?: Delivery;
    readonly leadsGroup?: boolean;
    readonly claimed?: (run: Run) => void;
    /** Is called before the first message is taken: from now on there may be something to hand back. */
    readonly taking?: () => void;
    readonly watch?: PollWatch | undefined;
  },
): Promise<PollingWorker> {
  const { engine } = app;
  const { config, clock } = engine;
  const { pool, only, watch, ownsProcess = false } = options;
  const log = options.log ?? silent;
  const hostname = options.hostname ?? `celery@${machineName()}`;
  const queues = chooseQueues(app, options.queues);
  const concurrency = checkConcurrency(options.concurrency ?? concurrencyOf(config));
  const visibility = config.brokerTransportOptions.visibilityTimeout * 1000;
  const broker: Broker = await engine.broker();
  await engine.backend();
  /** Where a message is claimed as it is taken, it costs no time to take the next: none is kept waiting. */
  const isOneStore = (await engine.store()) !== undefined;

  const worker = createWorker(app, { hostname, log, lease: () => clock.now() + visibility, pid: process.pid });
  const stopping = new AbortController();
  const deaths = createDeaths({ engine, worker, log });
  const over = new AbortController();
  stopping.signal.addEventListener("abort", () => {
    worker.hurry(true);
    pool?.hurry();
  });
  if (only !== undefined) worker.hurry(true);
  /** So many calls that are gathered take no place from what runs: of each task a batch that runs, and the one after it. */
  const mostGathered = 2 * batchSizes(app.tasks);
  const prefetch = isOneStore ? concurrency : concurrency * config.workerPrefetchMultiplier;
  if (watch !== undefined && pool === undefined) onEnded(app, (attempt) => watch.ended(attempt));
  const { promise: ended, resolve: end } = Promise.withResolvers<"stopped" | "recycle" | "shutdown">();
  // A heartbeat that dies at once stops a worker that has not begun.
  let unwatch: () => void = () => {};
  const heartbeat = startHeartbeat({
    config: { ...config, ...engine.urls },
    visibility,
    // What runs in a place is not ended with this process.
    ownsProcess: pool === undefined && ownsProcess,
    leadsGroup: options.leadsGroup ?? false,
    dead: (error) => {
      log(
        "error",
        `The heartbeat cannot be kept up, so the worker stops, and hands back what it has: ${String(error)}`,
      );
      void shutdown.abort();
    },
    capacity: prefetch + concurrency + mostGathered,
    broker: () => engine.broker(),
    backend: () => engine.backend(),
    found: (finding) => hand.found(finding),
    failed: (error) => log("warning", `Messages in hand could not be kept for longer: ${String(error)}`),
    logged: (why) =>
      log(
        "warning",
        `Changes stay in the log of the SQLite file, which grows meanwhile, until it can be written: ${why}`,
      ),
  });

  const acks = createAcknowledgements({
    broker,
    worker,
    clock,
    log,
    concurrency,
    dropped: heartbeat.dropped,
    stopping: stopping.signal,
  });

  const hand = createHand({ heartbeat, clock, log, pool, over: over.signal });

  const unprotect = startProtection({
    env: engine.platform.env,
    clock,
    log,
    oldest: () => hand.runs[0]?.began,
  });

  const noting = setInterval(() => {
    for (const { run } of hand.runs) void run.noteRunning();
    void worker.releaseLate();
  }, LONG_RUN_MS).unref();

  /** Says that this worker has ended. */
  let absent = async (): Promise<void> => {};
  /** In places nothing else is blocked. */
  const blocking = pool === undefined && only === undefined ? watchBlocking(log) : undefined;
  let recycle = false;
  /** Somebody has asked for its end. */
  let isOrdered = false;

  const queue = createRunQueue({
    engine,
    worker,
    hand,
    acks,
    concurrency,
    mostGathered,
    // Where runs are counted, or one is to be alone, one ends before the next begins.
    mayOverlap: isOneStore && config.workerMaxTasksPerChild === undefined && only === undefined,
    stopping: stopping.signal,
    run: (held, isAlone) => dispatch.run(held, isAlone),
    wake: () => fetches.wake(),
    emptied: () => {
      if (only !== undefined) void shutdown.begin();
    },
  });

  const dispatch = createDispatch({
    engine,
    worker,
    log,
    hand,
    heartbeat,
    deaths,
    pool,
    apart: options.apart,
    isForOne: only !== undefined,
    hasBatches: mostGathered > 0,
    gather: queue.gather,
    giveRoom: queue.giveRoom,
    blocking,
    claimed: options.claimed,
    began: watch?.began,
    makeRoom,
    stopping: stopping.signal,
  });

  const fetches = createFetches({
    broker,
    queues,
    wait: config.brokerTransportOptions.waitTimeSeconds * 1000,
    visibility,
    prefetch,
    enough: Math.max(concurrency, prefetch / 2),
    isOneStore,
    clock,
    log,
    stopping: stopping.signal,
    inHand: () => hand.size - queue.gathered,
    isWanted: queue.isWanted,
    take: queue.take,
    received: watch?.received,
  });

  const shutdown = createShutdown({
    engine,
    log,
    hand,
    acks,
    apart: dispatch.apart,
    grace: (options.grace ?? config.workerSoftShutdownTimeout) * 1000,
    visibility,
    stopping,
    over,
    handBackRest: queue.handBack,
    ending,
    close,
  });

  const unkept = engine.beforeClose(shutdown.stop, () => isWorkedFor(engine));

  /** Resolves when all has ended by itself. */
  async function ending(): Promise<void> {
    await fetches.ended();
    await queue.drained();
    await acks.ended();
  }

  async function close(isCold: boolean): Promise<void> {
    clearInterval(noting);
    blocking?.stop();
    unprotect();
    // Others take it for gone soon enough, where that takes long.
    const told = new AbortController();
    await Promise.race([Promise.all([absent(), worker.releaseLate()]), clock.sleep(COLD_MS, told.signal)]);
    told.abort();
    await heartbeat.stop();
    unwatch();
    // Whoever is told may close the app, which must not wait for this worker.
    unkept();
    if (!isCold) await engine.emitter.emit("workerShutdown", { hostname });
    end(recycle && !isCold ? "recycle" : isOrdered ? "shutdown" : "stopped");
  }

  /** A fresh process is to take its place; nobody hurries it. */
  function makeRoom(): void {
    recycle = true;
    void shutdown.begin();
  }

  function obey({ paused: now, shutdown: order }: Orders): void {
    for (const name of now) {
      if (!queue.paused.has(name)) log("warning", `Queue ${name} is paused: nothing of it is begun`, { queue: name });
    }
    for (const name of queue.paused) if (!now.has(name)) log("info", `Queue ${name} is resumed`, { queue: name });
    queue.pause(now);
    if (order === undefined || stopping.signal.aborted) return;
    log("warning", `The worker stops, as ${order.by} has asked`);
    isOrdered = true;
    void shutdown.stop();
  }

  function readiness(): Readiness {
    const counts = { running: hand.runs.length, waiting: queue.waiting.length };
    if (stopping.signal.aborted) return { ...counts, ready: false, reason: "stops" };
    const errors = [...fetches.failing].map(([queue, error]) => `the queue ${queue} cannot be read: ${error}`);
    if (errors.length > 0) return { ...counts, ready: false, reason: errors.join("; ") };
    const reason = queue.paused.size === 0 ? undefined : `ready; paused: ${[...queue.paused].join(", ")}`;
    return { ...counts, ready: true, reason };
  }

  // Nothing is taken that could not be kept.
  await heartbeat.ready.catch(async (error: unknown) => {
    unkept();
    await heartbeat.stop();
    throw error;
  });
  if (stopping.signal.aborted) {
    await shutdown.begin();
    throw new LovageError("the worker was stopped before it had started: its app was closed");
  }
  unwatch = watchFaults({
    app,
    ofTask(kind, error, scope) {
      reportFault(log, kind, error, scope);
      if (ownsProcess) makeRoom();
    },
    ownsProcess,
    ofProcess: shutdown.abort,
    lastWords(scope) {
      const ended = scope === undefined ? [] : hand.runs.filter(({ run }) => scope.runs(run.message.id));
      for (const { run } of ended) log("error", `Task ${nameOf(run.message)} ended its process`);
      if (hand.size > ended.length)
        log("warning", `The process ends: ${hand.size - ended.length} messages in hand are handed back`);
      heartbeat.lastWords(ended.map(({ held }) => held.id));
    },
  });

  // One that is there for a single task belongs to another, and obeys that.
  if (only === undefined)
    absent = await startPresence({
      engine,
      log,
      worker: { name: hostname, queues, concurrency },
      now: () => presenceOf(hand, queue.waiting),
      obey,
    });
  options.taking?.();
  if (only !== undefined) queue.take([only]);
  else
    fetches.start().catch((error: unknown) => {
      log("error", `The worker stops: ${String(error)}`);
      void shutdown.stop();
    });
  await engine.emitter.emit("workerReady", { hostname, queues });
  return { hostname, queues, concurrency, stop: shutdown.stop, abort: shutdown.abort, readiness, ended };
}

function chooseQueues(app: Lovage, wanted: readonly string[] | undefined): readonly string[] {
  const declared = Object.keys(app.config.taskQueues);
  if (wanted === undefined) return declared;
  for (const queue of wanted) {
    if (declared.includes(queue)) continue;
    if (!app.config.taskCreateMissingQueues) throw new QueueNotFound(queue, declared);
    checkQueueName("queues", app.config.brokerTransportOptions.queueNamePrefix, queue, false);
  }
  if (wanted.length === 0) throw new ImproperlyConfigured("queues", "a worker needs at least one queue");
  return [...new Set(wanted)];
}

/** Tasks at a time, where nothing else is said. */
export const concurrencyOf = ({
  workerPool,
  workerConcurrency,
}: Pick<Config, "workerPool" | "workerConcurrency">): number =>
  workerPool === "solo" ? 1 : (workerConcurrency ?? availableParallelism());

export function checkConcurrency(concurrency: number): number {
  if (Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000) return concurrency;
  throw new ImproperlyConfigured("concurrency", `must be a whole number from 1 to 10000; given: ${concurrency}`);
}
