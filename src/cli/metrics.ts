/** What a worker does, as Prometheus reads it: by `prom-client`, which whoever wants it installs. */
import type { Gauge } from "prom-client";
import type { Lovage } from "../app.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { parseTime } from "../protocol/time.ts";
import { hasRun } from "../states.ts";
import type { Log } from "../workers/log.ts";
import type { PollingWorker, PollWatch } from "../workers/poll.ts";

export interface Metrics extends PollWatch {
  readonly contentType: string;
  /** All of it at this moment. */
  text(worker: PollingWorker | undefined): Promise<string>;
}

/** Queues are asked for their sizes so often at most, in milliseconds: on SQS each is two requests. */
const SIZES_MS = 10_000;
/** Who scrapes waits for them no longer than this: then they are of the time before. */
const SIZES_WAIT_MS = 2_000;
/** What goes wrong with it is told so often at most, in milliseconds. */
const WARN_MS = 60_000;

/** From a fast call to a task of an hour, in seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];

/** Stands for every name that the app does not know: a label whose values anyone could invent has no end. */
const UNKNOWN = "unknown";
/** A message can name a queue for what follows it: those that the app does not declare have names of their own up to so many. */
const MOST_UNDECLARED = 100;

/** Throws `ImproperlyConfigured` where `prom-client` is not installed. */
export async function openMetrics(app: Lovage, log: Log): Promise<Metrics> {
  const { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } = await import("prom-client").catch(
    (cause: unknown) => {
      throw new ImproperlyConfigured("--health", "needs prom-client for it: npm install prom-client", { cause });
    },
  );
  const { clock } = app.engine;
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const nameOf = (task: string) => (app.tasks.has(task) ? task : UNKNOWN);
  const labelNames = ["task", "queue"] as const;
  const counter = <T extends string>(name: string, help: string, names: readonly T[]) =>
    new Counter({ name, help, labelNames: names, registers });
  const gauge = <T extends string>(name: string, help: string, names: readonly T[] = []) =>
    new Gauge({ name, help, labelNames: names, registers });
  const histogram = (name: string, help: string) =>
    new Histogram({ name, help, labelNames, buckets: BUCKETS, registers });

  const received = counter("lovage_messages_received_total", "Messages that the worker has fetched.", ["queue"]);
  const started = counter("lovage_tasks_started_total", "Runs that were begun.", labelNames);
  const ended = counter("lovage_tasks_ended_total", "Attempts that ended, by how.", [...labelNames, "state"]);
  const running = gauge("lovage_tasks_running", "Tasks that run in the worker now.");
  const reserved = gauge("lovage_tasks_reserved", "Messages that it has fetched and not begun.");
  const concurrency = gauge("lovage_worker_concurrency", "Tasks that it runs at a time at most.");
  const ready = gauge("lovage_worker_ready", "1 where it fetches, else 0.");
  const runtime = histogram("lovage_task_runtime_seconds", "How long attempts ran.");
  const waited = histogram("lovage_task_waiting_seconds", "From when a task was due to its start.");
  const messages = gauge("lovage_queue_messages", "Messages of a queue: ready, delayed, in_flight or dead.", [
    "queue",
    "state",
  ]);
  const oldest = gauge("lovage_queue_oldest_message_age_seconds", "Since the oldest ready message was sent.", [
    "queue",
  ]);
  const paused = gauge("lovage_queue_paused", "1 where nothing of the queue is begun, else 0.", ["queue"]);

  let asked = Number.NEGATIVE_INFINITY;
  let warned = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  const sizes = (): Promise<void> => {
    if (asking !== undefined || clock.now() < asked + SIZES_MS) return asking ?? Promise.resolve();
    asked = clock.now();
    asking = ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };
  async function ask(): Promise<void> {
    const all: readonly Gauge[] = [messages, oldest, paused];
    try {
      const queues = await app.control.inspect().queues({ cloudWatch: false });
      for (const one of all) one.reset();
      // Those that are declared come first.
      const named = Object.keys(app.config.taskQueues).length + MOST_UNDECLARED;
      for (const [at, one] of queues.entries()) {
        const { ready: waiting, delayed, inFlight, deadLetters, oldest: age, paused: order } = one;
        const queue = at < named ? one.queue : UNKNOWN;
        const states = { ready: waiting, delayed, in_flight: inFlight, dead: deadLetters };
        for (const [state, count] of Object.entries(states)) messages.inc({ queue, state }, count);
        if (queue === UNKNOWN) continue;
        if (age !== undefined) oldest.set({ queue }, age);
        paused.set({ queue }, order === undefined ? 0 : 1);
      }
    } catch (error) {
      // A number that is no longer true is worse than none.
      for (const one of all) one.reset();
      if (clock.now() < warned + WARN_MS) return;
      warned = clock.now();
      log("warning", `/metrics is without the sizes of queues: ${String(error)}`);
    }
  }

  return {
    contentType: registry.contentType,
    received: (queue, count) => received.inc({ queue }, count),
    began({ message: { task, eta }, delivery: { queue, sentAt }, decided }) {
      if (decided) return;
      const of = { task: nameOf(task), queue };
      started.inc(of);
      const due = Math.max(sentAt, eta === null ? 0 : parseTime(eta));
      waited.observe(of, Math.max(0, clock.now() - due) / 1000);
    },
    ended({ task, queue, state, runtime: seconds }) {
      const of = { task: nameOf(task), queue };
      ended.inc({ ...of, state });
      if (hasRun(state, seconds)) runtime.observe(of, seconds);
    },
    async text(worker) {
      const stop = new AbortController();
      await Promise.race([sizes(), clock.sleep(SIZES_WAIT_MS, stop.signal)]);
      stop.abort("told");
      const now = worker?.readiness();
      running.set(now?.running ?? 0);
      reserved.set(now?.waiting ?? 0);
      ready.set(now?.ready === true ? 1 : 0);
      concurrency.set(worker?.concurrency ?? 0);
      return registry.metrics();
    },
  };
}
