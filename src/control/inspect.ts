/** What there is: queues, workers and what they have in hand, in the words of Celery's `inspect`. */
import { maskUrl } from "../brief.ts";
import { deadLetterQueue, isDeadLetterQueue, type QueueSize } from "../brokers/broker.ts";
import type { FunctionNumbers, FunctionOfQueue } from "../brokers/operator.ts";
import { bandQueues, translateQueueName } from "../brokers/queue-name.ts";
import type { Config } from "../config/config.ts";
import type { Engine } from "../engine.ts";
import { OperationalError, QueueNotFound } from "../errors.ts";
import { openOperator } from "../open.ts";
import { type Order, readPaused, readWorkers, type TaskInHand, type WorkerInfo } from "./rows.ts";

/** What is known of a queue. */
export interface QueueState extends QueueSize {
  /** The queue's name in the app. */
  readonly queue: string;
  /** How many dead letters it has. */
  readonly deadLetters: number;
  /**
   * Seconds since the oldest message that could be received now was sent; absent where there is none. On SQS it is
   * CloudWatch's number, of a minute or two ago, and absent without the right to it (`cloudwatch:GetMetricData`).
   */
  readonly oldest?: number;
  /** Who paused it and when. Absent: it is not paused. */
  readonly paused?: Order;
}

/** By the worker's name. */
export type ByWorker<T> = Readonly<Record<string, T>>;

/** A function of Lambda that runs the tasks of a queue. */
export interface FunctionState {
  /** The function's name on AWS. */
  readonly name: string;
  /** The queue that it works on. */
  readonly queue: string;
  /** Whether it is given messages, in Lambda's words: `Enabled`, `Disabled`, `Enabling`, `Disabling` … */
  readonly state: string;
  /** Invocations at a time at most, where the queue says so. */
  readonly maxConcurrency?: number;
  /** `true`: its event source mapping has no `ReportBatchItemFailures`, so that Lambda deletes what the function hands back: such tasks are lost. */
  readonly losesMessages?: true;
  /** From CloudWatch; absent without the right to it (`cloudwatch:GetMetricData`). */
  readonly lastHour?: FunctionNumbers;
}

/** A task that waits for one of its limits. It reads PENDING. */
export interface WaitingTask {
  /** The task's id. */
  readonly id: string;
  /** The task's name. */
  readonly task: string;
  /** The queue that it came from. */
  readonly queue: string;
  /** What it waits for: `rateLimit`, `concurrency` or `debounce`. */
  readonly limit: string;
  /** Since when, in milliseconds since the epoch. */
  readonly since: number;
  /** When it starts, or asks again, in milliseconds since the epoch; who leaves a place may wake it before. */
  readonly until: number;
}

/** What may be asked that costs money. */
export interface InspectNumbers {
  /** Whether CloudWatch may be asked on AWS, for the age of the oldest message or a function's last hour, at $0.01 for a thousand numbers. Default true. */
  readonly cloudWatch?: boolean | undefined;
}

/** Questions about workers and queues, in the words of Celery's `app.control.inspect()`. */
export interface Inspect {
  /** Every queue that is declared or exists: how many messages wait, run and are dead, and whether it is paused. */
  queues(options?: InspectNumbers): Promise<readonly QueueState[]>;
  /**
   * The functions of Lambda that run the app's tasks, and what each did in the last hour; none where the broker is not SQS.
   * CloudWatch is asked once a minute at most. Throws `OperationalError` without the right `lambda:ListEventSourceMappings`.
   */
  functions(options?: InspectNumbers): Promise<readonly FunctionState[]>;
  /**
   * What runs, by worker: of long-lived ones as they said last, which is some seconds ago at most; of functions, runs that
   * have taken longer than a few seconds, from the journal.
   */
  active(): Promise<ByWorker<readonly TaskInHand[]>>;
  /** What long-lived workers have fetched and not begun. */
  reserved(): Promise<ByWorker<readonly TaskInHand[]>>;
  /**
   * The tasks that wait for a limit, for what and until when, the first to start first: from the journal of the last day, so none
   * where the app keeps no journal, and a thousand at most.
   */
  waiting(): Promise<readonly WaitingTask[]>;
  /** How many messages wait in each queue for their time to come. */
  scheduled(): Promise<Readonly<Record<string, number>>>;
  /** The tasks that each worker can run. */
  registered(): Promise<ByWorker<readonly string[]>>;
  /** The long-lived workers, as they said last. */
  stats(): Promise<ByWorker<WorkerInfo>>;
  /** The long-lived workers that are there, and how long ago each said so, in seconds. */
  ping(): Promise<ByWorker<{ readonly ok: "pong"; readonly seen: number }>>;
  /** The settings of the app here, without passwords. */
  conf(): Promise<Config>;
}

/** A run of which nothing more was told for so long, in milliseconds, is taken for lost: Lambda gives it 15 minutes. */
const LOST_RUN_MS = 16 * 60_000;

/** The declared queues first, then the others that exist. */
export const queuesOf = ({ config }: Engine, existing: readonly string[]): readonly string[] => [
  ...new Set([...Object.keys(config.taskQueues), ...existing.filter((name) => !isDeadLetterQueue(name))]),
];

/**
 * Whether a queue that was found is not the app's, by the error of who looked at it: SQS finds queues by the beginning of their
 * names, and so those of other deployments too, at which the operators of this one may not look.
 */
export const isOthers = ({ config }: Engine, queue: string, error: unknown): boolean =>
  !(queue in config.taskQueues) &&
  error instanceof OperationalError &&
  error.cause instanceof Error &&
  /AccessDenied/.test(error.cause.name);

/** Looks at queues that were found, and leaves out those that are others'. */
export async function lookAt<T>(
  engine: Engine,
  queues: readonly string[],
  look: (queue: string) => Promise<T>,
): Promise<readonly T[]> {
  const seen = await Promise.all(
    queues.map(async (queue): Promise<readonly T[]> => {
      try {
        return [await look(queue)];
      } catch (error) {
        if (isOthers(engine, queue, error)) return [];
        throw error;
      }
    }),
  );
  return seen.flat();
}

/** Of what exists and what is declared there is none of this name. */
export function noQueue(engine: Engine, queue: string, existing: readonly string[]): QueueNotFound {
  const all = queuesOf(engine, existing);
  return new QueueNotFound(queue, all, { remedy: `there are ${all.join(", ")}` });
}

/** Who waits for a limit was told so within so long, in milliseconds … */
const WAITING_MS = 86_400_000;
/** … and is listed among so many. */
const MOST_WAITING = 1000;

/** What a queue is on SQS: itself, or its bands. */
export const namesOnSqs = ({ config }: Engine, queue: string): readonly string[] =>
  bandQueues(queue, config.taskQueues[queue]?.priorities).map((name) =>
    translateQueueName(config.brokerTransportOptions.queueNamePrefix, name),
  );

/** CloudWatch has new numbers each minute, and takes $0.01 for a thousand: so long they are kept, in milliseconds. */
const NUMBERS_MS = 60_000;

interface Numbers {
  readonly at: number;
  readonly found: Promise<ReadonlyMap<string, unknown>>;
}

/** By what was asked for. */
const numbers = new WeakMap<Engine, Map<string, Numbers>>();

/** What CloudWatch said within the last minute, or says now; nothing where it says nothing. */
function remembered<T>(
  engine: Engine,
  what: string,
  ask: () => Promise<ReadonlyMap<string, T>>,
): Promise<ReadonlyMap<string, T>> {
  const known = numbers.get(engine) ?? new Map<string, Numbers>();
  numbers.set(engine, known);
  const now = engine.clock.now();
  const before = known.get(what);
  if (before !== undefined && now < before.at + NUMBERS_MS) return before.found as Promise<ReadonlyMap<string, T>>;
  const found = ask().catch((): ReadonlyMap<string, T> => new Map());
  known.set(what, { at: now, found });
  return found;
}

const NONE: QueueSize = { ready: 0, delayed: 0, inFlight: 0 };

export function createInspect(engine: Engine): Inspect {
  const { clock } = engine;
  const workers = async () => readWorkers(await engine.backend(), clock.now());
  const byWorker = async <T>(of: (worker: WorkerInfo) => T): Promise<ByWorker<T>> =>
    Object.fromEntries((await workers()).map((worker) => [worker.name, of(worker)]));

  /** What functions run, and has been told of while it ran. */
  async function running(): Promise<ReadonlyMap<string, TaskInHand[]>> {
    const found = new Map<string, TaskInHand[]>();
    if (!engine.config.journal) return found;
    const ended = new Set<string | undefined>();
    const now = clock.now();
    const range = { failures: false, from: now - LOST_RUN_MS, to: Number.POSITIVE_INFINITY };
    for await (const page of (await engine.journal()).read(range)) {
      for (const { kind, id, task = "", queue = "", worker = "", time, runtime = 0 } of page) {
        if (kind === "task") ended.add(id);
        if (kind !== "running" || id === undefined || ended.has(id)) continue;
        ended.add(id);
        const list = found.get(worker) ?? [];
        list.push({ id, task, queue, started: time - runtime * 1000 });
        found.set(worker, list);
      }
    }
    return found;
  }

  const operator = () => openOperator(engine.urls.brokerUrl, engine.config.brokerTransportOptions);

  const inspect: Inspect = {
    async functions({ cloudWatch = true } = {}) {
      const asked = await operator();
      if (asked === undefined) return [];
      const existing = await (await engine.broker()).queues();
      const names = new Map(
        queuesOf(engine, existing).flatMap((queue) => namesOnSqs(engine, queue).map((name) => [name, queue] as const)),
      );
      const found = (await asked.functions()).filter(({ queue }) => names.has(queue));
      const functions = [...new Set(found.map(({ name }) => name))].sort();
      const lastHours: ReadonlyMap<string, FunctionNumbers> = cloudWatch
        ? await remembered(engine, `functions ${functions.join()}`, () => asked.functionNumbers(functions, clock.now()))
        : new Map();
      // A queue's bands are one queue, of one function.
      const byFunction = Map.groupBy(found, ({ name, queue }) => `${name} ${names.get(queue)}`);
      return [...byFunction.values()].map((mappings) => {
        const [{ name, queue, state }] = mappings as [FunctionOfQueue];
        const lastHour = lastHours.get(name);
        const shares = mappings.flatMap(({ maxConcurrency }) => maxConcurrency ?? []);
        return {
          name,
          queue: names.get(queue) ?? queue,
          state: mappings.find((mapping) => mapping.state !== "Enabled")?.state ?? state,
          ...(shares.length > 0 && { maxConcurrency: shares.reduce((sum, share) => sum + share, 0) }),
          ...(mappings.some(({ losesMessages }) => losesMessages) && { losesMessages: true }),
          ...(lastHour !== undefined && { lastHour }),
        };
      });
    },
    async queues({ cloudWatch = true } = {}) {
      const broker = await engine.broker();
      const existing = await broker.queues();
      const names = queuesOf(engine, existing);
      const paused = await readPaused(await engine.backend(), names);
      // A queue that was declared and not used yet is not there, which is no reason to fail.
      const sizeOf = async (queue: string) => (existing.includes(queue) ? broker.size(queue) : NONE);
      const asked = broker.oldest === undefined && cloudWatch ? await operator() : undefined;
      const ages =
        asked === undefined
          ? undefined
          : await remembered(engine, `oldest ${names.join()}`, () =>
              asked.oldest(
                names.flatMap((queue) => namesOnSqs(engine, queue)),
                clock.now(),
              ),
            );
      const stateOf = async (queue: string): Promise<QueueState> => {
        const [size, dead, sentAt] = await Promise.all([
          sizeOf(queue),
          sizeOf(deadLetterQueue(queue)),
          broker.oldest?.(queue),
        ]);
        const order = paused.get(queue);
        const known = namesOnSqs(engine, queue).flatMap((name) => ages?.get(name) ?? []);
        // CloudWatch goes on with the last age for some minutes when a queue is empty.
        const age =
          sentAt !== undefined
            ? Math.max(0, (clock.now() - sentAt) / 1000)
            : size.ready > 0 && known.length > 0
              ? Math.max(...known)
              : undefined;
        return {
          queue,
          ...size,
          deadLetters: dead.ready + dead.delayed + dead.inFlight,
          ...(age !== undefined && { oldest: age }),
          ...(order !== undefined && { paused: order }),
        };
      };
      return lookAt(engine, names, stateOf);
    },
    async active() {
      const rows = await workers();
      const all: Record<string, readonly TaskInHand[]> = Object.create(null);
      for (const [worker, tasks] of await running()) all[worker] = tasks;
      // Who says itself what it runs knows best.
      for (const { name, active } of rows) all[name] = active;
      return all;
    },
    reserved: () => byWorker(({ reserved }) => reserved),
    async waiting() {
      const found: WaitingTask[] = [];
      if (!engine.config.journal) return found;
      /** What was told of a task last is what it does now. */
      const seen = new Set<string | undefined>();
      const range = { failures: false, from: clock.now() - WAITING_MS, to: Number.POSITIVE_INFINITY };
      for await (const page of (await engine.journal()).read(range)) {
        for (const { kind, id, task = "", queue = "", time, limit = "", until = time } of page) {
          const isOfTask = kind === "task" || kind === "running" || kind === "waiting" || kind === "deadLetter";
          if (!isOfTask || id === undefined || seen.has(id)) continue;
          seen.add(id);
          if (kind === "waiting") found.push({ id, task, queue, limit, since: time, until });
        }
        if (found.length >= MOST_WAITING) break;
      }
      return found.sort((a, b) => a.until - b.until).slice(0, MOST_WAITING);
    },
    async scheduled() {
      return Object.fromEntries((await inspect.queues()).map(({ queue, delayed }) => [queue, delayed]));
    },
    registered: () => byWorker(({ registered }) => registered),
    stats: () => byWorker((worker) => worker),
    ping: () => byWorker(({ seen }) => ({ ok: "pong", seen: Math.max(0, (clock.now() - seen) / 1000) }) as const),
    async conf() {
      const { config } = engine;
      return { ...config, brokerUrl: maskUrl(config.brokerUrl), resultBackend: maskUrl(config.resultBackend) };
    },
  };
  return inspect;
}
