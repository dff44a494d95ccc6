/**
 * A place: a process or a thread in which a poller has its tasks run, one delivery at a time. It does what is to be done with
 * a delivery up to its end, and says so. What keeps the delivery meanwhile is the poller's: its event loop is free.
 */
import { isMainThread } from "node:worker_threads";
import { getHeapStatistics } from "node:v8";
import type { Lovage } from "../app.ts";
import type { Delivery } from "../brokers/broker.ts";
import type { Message } from "../protocol/message.ts";
import type { Payload } from "../results/backend.ts";
import { batchOf } from "../tasks/batch.ts";
import { type Disposition, HAND_BACK } from "./disposition.ts";
import { reportFault, watchFaults } from "./faults.ts";
import type { Log } from "./log.ts";
import { type Named, nameOf } from "./report.ts";
import { LONG_RUN_MS } from "./run.ts";
import { createWorker, type Run } from "./worker.ts";

/** A run in a place, as its poller knows it. */
export interface PlacedRun {
  readonly claim: Run["claim"];
  readonly message: Named & Pick<Message, "eta">;
  readonly decided: boolean;
  /** The row of its result, where it is to wait again. */
  readonly waiting: Payload | undefined;
}

/** What a place is told. Runs are named by the poller's own ids. */
export type PlaceOrder =
  | { readonly run: number; readonly delivery: Delivery }
  /** It was revoked with `terminate`. */
  | { readonly terminate: number }
  /** The worker stops. */
  | { readonly abort: number }
  /** No more calls come for the batches that it gathers. */
  | "hurry"
  /** It has nothing in hand, and is to end. */
  | "leave";

/** What it says. */
export type PlaceReport =
  | "ready"
  /** It wants a fresh one in its stead, once it has nothing in hand. */
  | "tired"
  | { readonly began: number; readonly run: PlacedRun }
  /** User's code may run until then, in milliseconds since the epoch, and what stores that it did not end. */
  | { readonly held: number; readonly deadline: number; readonly overrun: Awaited<ReturnType<Run["overrun"]>> }
  | { readonly ended: number; readonly end: PlacedEnd }
  /** An attempt ended so. */
  | { readonly postrun: Postrun };

/** `suspect`: workers died of it, and others would die with it here. It waits again. */
export type PlacedEnd =
  | { readonly type: "ended"; readonly disposition: Disposition }
  | { readonly type: "suspect"; readonly message: Named; readonly deaths: number };

/** How an attempt ended, for those who count. */
export interface Postrun {
  readonly task: string;
  readonly queue: string;
  readonly state: string;
  /** Seconds. */
  readonly runtime: number;
}

/** Has told of each run that ended here. What ran in its caller is a part of that one's run, and came from no queue. */
export const onEnded = (app: Lovage, tell: (postrun: Postrun) => void) =>
  app.on("taskPostrun", ({ task, request: { queue, isEager }, state, runtime }) => {
    if (!isEager) tell({ task, queue, state, runtime });
  });

export interface PlaceOptions {
  /** The worker's name. */
  readonly hostname: string;
  readonly log: Log;
  /** What runs here has a process for itself, and takes nobody along. */
  readonly isProcess: boolean;
  /** Whether each end of an attempt is told. */
  readonly isCounted: boolean;
  say(report: PlaceReport): void;
}

export interface Place {
  hear(order: PlaceOrder): void;
  /** Resolves when it was told to end. */
  readonly ended: Promise<void>;
}

/** Starts one for an app. */
export async function startPlace(app: Lovage, options: PlaceOptions): Promise<Place> {
  const { hostname, log, isProcess, isCounted, say } = options;
  const { engine } = app;
  const { config, clock } = engine;
  await Promise.all([engine.broker(), engine.backend()]);
  const visibility = config.brokerTransportOptions.visibilityTimeout * 1000;
  const worker = createWorker(app, { hostname, log, lease: () => clock.now() + visibility, pid: process.pid });
  const runs = new Map<number, Run>();
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const { workerMaxTasksPerChild: mostTasks, workerMaxMemoryPerChild: mostMemory } = config;
  let begun = 0;
  let isTired = false;

  function tire(): void {
    if (!isTired) say("tired");
    isTired = true;
  }

  async function admitAndRun(id: number, delivery: Delivery): Promise<PlacedEnd> {
    const admission = await worker.admit(delivery);
    if (!("run" in admission)) return { type: "ended", disposition: admission.disposition };
    const { run } = admission;
    const { claim, message, timeLimit, decided } = run;
    const task = engine.task(message.task);
    const isAlone = isProcess && (task === undefined || batchOf(task) === undefined);
    if (run.suspect && !decided && !isAlone) {
      await run.release();
      return { type: "suspect", message: named(message), deaths: run.deaths };
    }
    runs.set(id, run);
    const overrun = timeLimit === null ? undefined : await run.overrun(timeLimit);
    const waiting = claim === undefined ? undefined : await run.waiting();
    say({ began: id, run: { claim, message: { ...named(message), eta: message.eta }, decided, waiting } });
    let held = Number.POSITIVE_INFINITY;
    const { disposition, abandoned } = await run.execute((deadline) => {
      if (deadline !== held) say({ held: id, deadline, overrun });
      held = deadline;
    });
    if (abandoned) tire();
    return { type: "ended", disposition };
  }

  async function take(id: number, delivery: Delivery): Promise<void> {
    const done = await admitAndRun(id, delivery).catch((error: unknown): PlacedEnd => {
      // Giving a claim up may fail; nothing else throws.
      log("warning", `Message ${delivery.messageId} of ${delivery.queue} is handed back: ${String(error)}`);
      return { type: "ended", disposition: HAND_BACK };
    });
    runs.delete(id);
    begun++;
    if ((mostTasks !== undefined && begun >= mostTasks) || isLarge(mostMemory)) tire();
    say({ ended: id, end: done });
  }

  const noting = setInterval(() => {
    for (const run of runs.values()) void run.noteRunning();
    void worker.releaseLate();
  }, LONG_RUN_MS).unref();

  const unwatch = watchFaults({
    app,
    ownsProcess: true,
    ofTask(kind, error, scope) {
      reportFault(log, kind, error, scope);
      tire();
    },
    async ofProcess() {
      await Promise.all(
        [...runs].map(async ([id, run]) => {
          log("warning", `Task ${nameOf(run.message)} is handed back: its process ends`);
          say({ ended: id, end: { type: "ended", disposition: await run.release() } });
        }),
      );
    },
  });

  if (isCounted) {
    onEnded(app, (postrun) => say({ postrun }));
  }

  return {
    ended,
    hear(order) {
      if (order === "leave") {
        clearInterval(noting);
        unwatch();
        end();
      } else if (order === "hurry") worker.hurry(true);
      else if ("run" in order) void take(order.run, order.delivery);
      else if ("terminate" in order) runs.get(order.terminate)?.terminate();
      else runs.get(order.abort)?.abort();
    },
  };
}

const named = ({ id, task, shadow }: Message): Named => ({ id, task, shadow });

/**
 * Whether this process, or this thread, holds more than so many KiB. Of a thread it is its own heap and what that keeps beside
 * it: the resident memory is that of all threads together.
 */
export function isLarge(most: number | undefined): boolean {
  if (most === undefined) return false;
  if (isMainThread) return process.memoryUsage.rss() > most * 1024;
  const { total_heap_size, external_memory } = getHeapStatistics();
  return total_heap_size + external_memory > most * 1024;
}
