/**
 * The long-lived worker: fetches from its queues, runs up to `concurrency` tasks at a time, keeps what it has in hand,
 * and stops as Celery's does: warm (hand back what waits, let what runs end), for as long as the grace is, then cold.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { availableParallelism, hostname as machineName } from "node:os";
import type { Lovage } from "../app.ts";
import type { Broker, Delivery } from "../brokers/broker.ts";
import type { Orders } from "../control/rows.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import { checkQueueName } from "../brokers/queue-name.ts";
import type { Config } from "../config/config.ts";
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured, LovageError, QueueNotFound } from "../errors.ts";
import type { Unit } from "../unit.ts";
import { createAcknowledgements } from "./acknowledge.ts";
import { createFetches } from "./fetch.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { createHand, type InHand, type RunInHand } from "./in-hand.ts";
import { type Log, silent } from "./log.ts";
import { createDeaths } from "./deaths.ts";
import { DELETE, type Disposition, HAND_BACK, LEAVE } from "./disposition.ts";
import { reportFault, watchFaults } from "./faults.ts";
import { watchBlocking } from "./blocked.ts";
import { batchOf, batchSizes } from "../tasks/batch.ts";
import { isLarge, type Postrun } from "./place.ts";
import { type Apart, type PlaceWatch, type Pool, type RunInPlace, runInPlace } from "./pool.ts";
import { type Named, nameOf } from "./report.ts";
import { presenceOf, startPresence } from "./presence.ts";
import { startProtection } from "./protection.ts";
import { COLD_MS, createShutdown } from "./shutdown.ts";
import { UNCOUNTED_RECEIVES } from "./read.ts";
import { LONG_RUN_MS } from "./run.ts";
import { createWorker, type Run } from "./worker.ts";

/** Whose message it is that something is done for: of tasks, of the handlers of signals, and of what was laid around a run. */
const workedFor = new AsyncLocalStorage<Engine>();

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
  const { pool } = options;
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
  if (options.only !== undefined) worker.hurry(true);
  /** So many calls that are gathered take no place from what runs: of each task a batch that runs, and the one after it. */
  const mostGathered = 2 * batchSizes(app.tasks);
  /** Calls of batches that are in hand. */
  let calls = 0;
  const gathered = () => Math.min(calls, mostGathered);
  const prefetch = isOneStore ? concurrency : concurrency * config.workerPrefetchMultiplier;
  if (options.watch !== undefined && pool === undefined) {
    const { watch } = options;
    app.on("taskPostrun", ({ task, request: { queue }, state, runtime }) =>
      watch.ended({ task, queue, state, runtime }),
    );
  }
  const { promise: ended, resolve: end } = Promise.withResolvers<"stopped" | "recycle" | "shutdown">();
  // A heartbeat that dies at once stops a worker that has not begun.
  let unwatch: () => void = () => {};
  const heartbeat = startHeartbeat({
    config: { ...config, ...engine.urls },
    visibility,
    // What runs in a place is not ended with this process.
    ownsProcess: pool === undefined && (options.ownsProcess ?? false),
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
  /** Queues of which nothing is begun. */
  let paused: ReadonlySet<string> = new Set();
  /** In places nothing else is blocked. */
  const blocking = pool === undefined && options.only === undefined ? watchBlocking(log) : undefined;
  /** Fetched, not begun. */
  const waiting: InHand[] = [];
  /** Workers died of these, and there is no process of their own for them: each runs when nothing else does. */
  const suspects: InHand[] = [];
  /** FIFO groups of which a message is being worked on, or was handed back since its queue was last empty here. */
  const groups = new Set<string>();
  let active = 0;
  let recycle = false;
  /** Somebody has asked for its end. */
  let isOrdered = false;
  /** A suspect runs. */
  let alone = false;
  let idle: (() => void) | undefined;

  /** Runs in processes of their own. */
  const runningApart = new Set<Promise<unknown>>();

  /** Whether anything of a queue is to be begun now. */
  const isWanted = (queue: string) => suspects.length === 0 && !alone && !paused.has(queue);

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
    inHand: () => hand.size - gathered(),
    isWanted,
    take,
    received: options.watch?.received,
  });

  const shutdown = createShutdown({
    engine,
    log,
    hand,
    acks,
    apart: runningApart,
    grace: (options.grace ?? config.workerSoftShutdownTimeout) * 1000,
    visibility,
    stopping,
    over,
    handBackRest,
    ending,
    close,
  });

  const unkept = engine.beforeClose(shutdown.stop, () => workedFor.getStore() === engine);

  function take(received: readonly Delivery[], unit?: Unit): void {
    const deliveries = received.filter((delivery) => !hand.renew(delivery));
    const [first] = deliveries;
    if (first !== undefined && !isWanted(first.queue)) {
      // It came while a suspect waits, or runs, and others need not wait for that; or its queue was paused meanwhile.
      const giveBack = () => {
        for (const delivery of deliveries) void acks.dispose(delivery, HAND_BACK);
      };
      if (unit === undefined) giveBack();
      else unit.committed.then(giveBack, () => {});
      return;
    }
    const taken = deliveries.map((delivery) => hand.take(delivery, unit));
    waiting.push(...taken);
    if (unit !== undefined) {
      void unit.committed
        .catch(() => {
          // What has begun learns it by itself.
          for (const held of waiting.filter((one) => one.unit === unit)) {
            waiting.splice(waiting.indexOf(held), 1);
            hand.forget(held);
          }
        })
        .then(() => {
          for (const held of taken) held.unit = undefined;
        });
    }
    pump();
  }

  /** How many are settling: others are taken in their places, in the same transaction. */
  let settling = 0;
  /** Where runs are counted, or one is to be alone, one ends before the next begins. */
  const mayOverlap = isOneStore && config.workerMaxTasksPerChild === undefined && options.only === undefined;

  function giveRoom(held: InHand): void {
    if (!mayOverlap || alone || stopping.signal.aborted || held.group !== undefined) return;
    held.isSettling = true;
    settling++;
    hand.forget(held);
    fetches.wake();
  }

  /** Begins as much as there is room for. */
  function pump(): void {
    // Nothing new beside a suspect: it waits until it is alone, and stays so.
    if (alone || stopping.signal.aborted) return;
    if (suspects.length > 0) {
      if (active === 0) void runSuspect();
      return;
    }
    for (let index = 0; active - settling - gathered() < concurrency && index < waiting.length; ) {
      const held = waiting[index] as InHand;
      const { group } = held;
      if (group !== undefined && groups.has(group)) {
        index++;
        continue;
      }
      waiting.splice(index, 1);
      if (group !== undefined) groups.add(group);
      void workedFor.run(engine, work, held);
    }
  }

  async function work(held: InHand): Promise<void> {
    active++;
    const { delivery } = held;
    const disposition = await admitAndRun(held);
    if (held.isSettling) settling--;
    held.isSettling = false;
    // It has come again meanwhile, and its outcome deleted nothing: by the receipt that it had then.
    const isRenewed = held.delivery !== delivery && disposition?.type === "delete";
    if (disposition !== undefined) await finish(held, isRenewed ? DELETE : disposition);
    active--;
    settleDown();
  }

  /** What may happen to the message; `undefined`: it waits until it can be alone. */
  async function admitAndRun(held: InHand): Promise<Disposition | undefined> {
    const { apart, only } = options;
    const { delivery, unit } = held;
    // What workers may have died of before they could claim it is read where it can take nothing along.
    const isApart = apart !== undefined && delivery.receiveCount > UNCOUNTED_RECEIVES;
    if (isApart || pool !== undefined) {
      if (unit !== undefined && !(await isCommitted(unit))) return LEAVE;
      return isApart ? runApart(apart, held) : runPlaced(pool as Pool, held);
    }
    const admission = await worker.admit(delivery, unit);
    if (!("run" in admission)) return admission.disposition;
    const { run } = admission;
    options.claimed?.(run);
    // Told to stop meanwhile: it has not begun.
    if (stopping.signal.aborted && only === undefined) return giveBack(run);
    if (!run.suspect || run.decided || only !== undefined || alone) return execute(held, run);
    // If this process dies, it did not die of this one.
    return setApart(held, run, await giveBack(run));
  }

  /** What workers died of runs in a process of its own, or else waits until it can be alone: `undefined`. */
  async function setApart(
    held: InHand,
    { message, deaths }: { readonly message: Named; readonly deaths: number },
    back: Disposition,
  ): Promise<Disposition | undefined> {
    const { apart } = options;
    const how = apart === undefined ? "alone, when nothing else runs here" : "in a process of its own";
    log("warning", `Task ${nameOf(message)} is to run ${how}: ${deaths} of its workers died while they ran it`);
    if (apart !== undefined) return runApart(apart, held);
    if (stopping.signal.aborted) return back;
    suspects.push(held);
    await handBackFrom(waiting);
    return undefined;
  }

  async function giveBack(run: Run): Promise<Disposition> {
    try {
      return await run.release();
    } catch (error) {
      log("warning", `The claim of ${nameOf(run.message)} could not be given up: ${String(error)}`);
      return HAND_BACK;
    }
  }

  async function runApart(apart: Apart, { id, delivery }: InHand): Promise<Disposition> {
    const running = apart.run(delivery, () => heartbeat.drop(id));
    runningApart.add(running);
    const end = await running.finally(() => runningApart.delete(running));
    if (end.type === "ended") {
      deaths.survived(delivery);
      return LEAVE;
    }
    return end.type === "stopped" ? HAND_BACK : deaths.died(delivery, end.claim);
  }

  async function runSuspect(): Promise<void> {
    const held = suspects.shift();
    if (held === undefined) return;
    alone = true;
    worker.hurry(true);
    await workedFor.run(engine, work, held);
    alone = false;
    worker.hurry(stopping.signal.aborted);
    settleDown();
  }

  const batchIn = (name: string | undefined) => {
    const task = mostGathered === 0 || name === undefined ? undefined : engine.task(name);
    return task === undefined ? undefined : batchOf(task);
  };

  /** A call of a batch takes no place from what runs, until what this returns is called. */
  function gather(isBatch: boolean): () => void {
    let isCall = isBatch;
    if (isCall) {
      calls++;
      pump();
      fetches.wake();
    }
    return () => {
      if (isCall) calls--;
      isCall = false;
    };
  }

  /** `undefined`: it waits until it can be alone. */
  async function runPlaced(pool: Pool, held: InHand): Promise<Disposition | undefined> {
    if (stopping.signal.aborted) return HAND_BACK;
    const { id, delivery } = held;
    const task = mostGathered === 0 ? undefined : peekEnvelope(delivery.body).task;
    const batch = batchIn(task);
    const ungather = gather(batch !== undefined);
    let run: RunInPlace | undefined;
    const watch: PlaceWatch = {
      began(placed) {
        run = runInPlace(engine, pool, held, placed);
        hand.begin(held, run);
        options.watch?.began(run);
        hand.keep(held, run.claim, Number.POSITIVE_INFINITY);
      },
      held(deadline, overrun) {
        if (run !== undefined) hand.keep(held, run.claim, deadline, overrun);
      },
    };
    const end = await pool.run(id, delivery, watch, batch && { ...batch, task: task as string });
    ungather();
    hand.end(held);
    switch (end.type) {
      case "ended":
        deaths.survived(delivery);
        return end.disposition;
      case "suspect":
        return setApart(held, end, HAND_BACK);
      case "died":
        return deaths.died(delivery, end.claim);
      case "killed":
        return run === undefined || run.isReleased ? LEAVE : run.release();
      default:
        return end satisfies never;
    }
  }

  async function execute(held: InHand, run: Run): Promise<Disposition> {
    const ungather = gather(batchIn(run.message.task) !== undefined);
    hand.begin(held, run);
    const turning = blocking?.began(run.message);
    options.watch?.began(run);
    const { claim, timeLimit: limit } = run;
    const overrun = limit === null ? undefined : await run.overrun(limit);
    let end = Number.POSITIVE_INFINITY;
    hand.keep(held, claim, end);
    const { disposition, abandoned } = await run.execute(
      (deadline) => {
        // Without a limit it is told the same each time.
        if (deadline !== end) hand.keep(held, claim, deadline, overrun);
        end = deadline;
      },
      () => {
        ungather();
        giveRoom(held);
      },
    );
    ungather();
    if (turning !== undefined) blocking?.ended(turning);
    hand.end(held);
    const { workerMaxTasksPerChild: mostTasks, workerMaxMemoryPerChild: mostMemory } = config;
    if (abandoned || (mostTasks !== undefined && hand.done >= mostTasks) || isLarge(mostMemory)) makeRoom();
    return disposition;
  }

  async function finish(held: InHand, disposition: Disposition): Promise<void> {
    const { delivery, group } = held;
    if (group === undefined && disposition.type === "delete" && disposition.done) return hand.forget(held);
    while (group === undefined && acks.isCrowded()) await acks.oneLess();
    hand.forget(held);
    if (group === undefined) {
      // The outcome is durable: the next task need not wait until the message is gone.
      acks.disposeBeside(delivery, disposition);
      return;
    }
    await acks.dispose(delivery, disposition);
    groups.delete(group);
    // The order of the group is kept: what was fetched behind a message that is handed back goes back too.
    if (disposition.type !== "delete") await handBackFrom(waiting, (held) => held.group === group);
  }

  /** What was fetched and is not begun goes back, for anybody to take at once. */
  async function handBackRest(): Promise<void> {
    await Promise.all([handBackFrom(waiting), handBackFrom(suspects)]);
  }

  async function handBackFrom(list: InHand[], chosen: (held: InHand) => boolean = () => true): Promise<void> {
    const back = list.filter(chosen);
    list.splice(0, list.length, ...list.filter((held) => !back.includes(held)));
    await Promise.all(
      back.map((held) => {
        hand.forget(held);
        return acks.dispose(held.delivery, HAND_BACK);
      }),
    );
  }

  function settleDown(): void {
    pump();
    fetches.wake();
    if (active === 0) idle?.();
    if (active === 0 && options.only !== undefined) void shutdown.begin();
  }

  /** Resolves when all has ended by itself. */
  async function ending(): Promise<void> {
    await fetches.ended();
    await handBackRest();
    while (active > 0) {
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
      await handBackRest();
    }
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
    const added = [...now].filter((queue) => !paused.has(queue));
    const gone = [...paused].filter((queue) => !now.has(queue));
    paused = now;
    for (const queue of added) log("warning", `Queue ${queue} is paused: nothing of it is begun`, { queue });
    for (const queue of gone) log("info", `Queue ${queue} is resumed`, { queue });
    if (added.length > 0) void handBackFrom(waiting, ({ delivery }) => paused.has(delivery.queue));
    if (gone.length > 0) fetches.wake();
    if (order === undefined || stopping.signal.aborted) return;
    log("warning", `The worker stops, as ${order.by} has asked`);
    isOrdered = true;
    void shutdown.stop();
  }

  function readiness(): Readiness {
    const counts = { running: hand.runs.length, waiting: waiting.length };
    if (stopping.signal.aborted) return { ...counts, ready: false, reason: "stops" };
    const errors = [...fetches.failing].map(([queue, error]) => `the queue ${queue} cannot be read: ${error}`);
    if (errors.length > 0) return { ...counts, ready: false, reason: errors.join("; ") };
    const reason = paused.size === 0 ? undefined : `ready; paused: ${[...paused].join(", ")}`;
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
      if (options.ownsProcess) makeRoom();
    },
    ownsProcess: options.ownsProcess ?? false,
    ofProcess: shutdown.abort,
    lastWords(scope) {
      const ended = scope === undefined ? [] : hand.runs.filter(({ run }) => scope.runs(run.message.id));
      for (const { run } of ended) log("error", `Task ${nameOf(run.message)} ended its process`);
      if (hand.size > ended.length)
        log("warning", `The process ends: ${hand.size - ended.length} messages in hand are handed back`);
      heartbeat.lastWords(ended.map(({ held }) => held.id));
    },
  });

  const { only } = options;
  // One that is there for a single task belongs to another, and obeys that.
  if (only === undefined)
    absent = await startPresence({
      engine,
      log,
      worker: { name: hostname, queues, concurrency },
      now: () => presenceOf(hand, waiting),
      obey,
    });
  options.taking?.();
  if (only !== undefined) take([only]);
  else
    fetches.start().catch((error: unknown) => {
      log("error", `The worker stops: ${String(error)}`);
      void shutdown.stop();
    });
  await engine.emitter.emit("workerReady", { hostname, queues });
  return { hostname, queues, concurrency, stop: shutdown.stop, abort: shutdown.abort, readiness, ended };
}

const isCommitted = (unit: Unit): Promise<boolean> =>
  unit.committed.then(
    () => true,
    () => false,
  );

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
