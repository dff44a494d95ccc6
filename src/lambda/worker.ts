/** The worker as a Lambda function behind an SQS event source: an event is a batch of deliveries, the answer says which of them come back. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Lovage } from "../app.ts";
import { inParallel } from "../aws/connection.ts";
import { type Delivery, isFifo } from "../brokers/broker.ts";
import { bandQueues, translateQueueName } from "../brokers/queue-name.ts";
import { checkApp } from "../check-app.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import { parseTime } from "../protocol/time.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { applyOne } from "../results/backend.ts";
import { LEASE_MARGIN_MS } from "../results/record.ts";
import { hasRun } from "../states.ts";
import { type FaultWatcher, interceptFaults, reportFault } from "../workers/faults.ts";
import type { Batches } from "../workers/batch.ts";
import { HAND_BACK, LEAVE } from "../workers/disposition.ts";
import type { Request } from "../tasks/context.ts";
import { batchOf, batchSizes } from "../tasks/batch.ts";
import { fieldsOf, nameOf } from "../workers/report.ts";
import { type Admission, createWorker, type Disposition, type Run } from "../workers/worker.ts";
import { runTime, VISIBILITY_MARGIN_S } from "./deadline.ts";
import { createLambdaLog } from "./log.ts";
import { createMetrics, type Metric, type Metrics } from "./metrics.ts";

/** What an SQS event source gives a function, as far as it matters here. */
export interface SqsEvent {
  /** The messages of the invocation. */
  readonly Records: readonly SqsRecord[];
}

/** A message as Lambda hands it over. */
export interface SqsRecord {
  /** SQS's id of the message. */
  readonly messageId: string;
  /** What this one receive is deleted or extended by. */
  readonly receiptHandle: string;
  /** The text of the message. */
  readonly body: string;
  /** What SQS says of the message. */
  readonly attributes: {
    readonly ApproximateReceiveCount: string;
    readonly SentTimestamp: string;
    readonly MessageGroupId?: string | undefined;
    readonly MessageDeduplicationId?: string | undefined;
  };
  /** Attributes of the message, by name. */
  readonly messageAttributes: Readonly<Record<string, { readonly stringValue?: string | undefined }>>;
  /** The ARN of its queue. */
  readonly eventSourceARN: string;
}

/** What a function knows of its invocation. */
export interface LambdaContext {
  /** The id of the invocation. */
  readonly awsRequestId: string;
  /** Milliseconds until Lambda ends the function. */
  getRemainingTimeInMillis(): number;
}

/** The records that SQS keeps; it deletes all others. The event source needs `ReportBatchItemFailures`. */
export interface BatchResponse {
  /** The messages that SQS is to give out again, by their ids. */
  readonly batchItemFailures: { readonly itemIdentifier: string }[];
}

/** Defined by who bundles for AWS, as `lovage/cdk` does. */
declare const LOVAGE_BUNDLE: "aws";
/** Whether a task of the app that is bundled gathers calls: few do. */
declare const LOVAGE_BATCHES: boolean;

/** How a function works on its messages. */
export interface HandlerOptions {
  /** Takes log lines and metrics. Default: standard output, which Lambda takes to CloudWatch. */
  readonly write?: ((line: string) => void) | undefined;
}

/** Tasks that run at a time in one invocation, unless `workerConcurrency` says: SQS's batch where nothing else was asked for. */
const CONCURRENCY = 10;
/** What is left of an invocation after it has begun, and claimed quickly, at least. */
const MOST_OF_IT = 0.9;
/** A run is looked after every so often, in milliseconds, from this age on: whether it was revoked with `terminate`. */
const HEARTBEAT_MS = 10_000;
/** What a dead function had in hand is taken up by others within so long, in milliseconds. */
const TAKEN_UP_MS = 60_000;
/** For so long a batch is kept, in milliseconds, each time that it is: five heartbeats. */
const KEPT_MS = 50_000;

const NONE: Omit<Invocation, "batches"> = { requestId: "", end: 0, deadline: 0, kept: 0 };

const SHORTENED =
  "The bundler has shortened the names of classes, by which results tell the errors of tasks: have it keep them (--keep-names of esbuild), or minify nothing";

interface Invocation {
  /** Its id. */
  readonly requestId: string;
  /** When Lambda ends the function, in milliseconds since the epoch. */
  readonly end: number;
  /** When the tasks must have ended. */
  readonly deadline: number;
  /** It waits for its own calls alone, and answers for no others. */
  readonly batches: Batches;
  /** Until when others leave its batch alone: its end, or the last heartbeat and {@link KEPT_MS}. */
  kept: number;
}

/**
 * Makes the handler of a worker's function: `export const handler = createWorkerHandler(app);`
 *
 * Records run side by side, as many as `workerConcurrency` says (10 by default, 1 with `workerPool: "solo"`); those of a FIFO group one after the
 * other, and the first that is not done sends the rest of its group back. A run that goes past the function's timeout
 * ends as FAILURE `TimeLimitExceeded` before Lambda can kill it, and what was not begun until then is handed back. A task
 * that a function died of before runs first and alone; the rest of its batch is handed back at once.
 *
 * An event of a plugin that keeps functions warm, or of a schedule, does nothing. Rejects with `ImproperlyConfigured` for
 * an event that does not come from SQS, and for a context that is none of Lambda's.
 */
export function createWorkerHandler(
  app: Lovage,
  options: HandlerOptions = {},
): (event: SqsEvent, context: LambdaContext) => Promise<BatchResponse> {
  if (typeof LOVAGE_BUNDLE === "undefined") checkApp(app);
  const { engine } = app;
  const { clock, platform } = engine;
  const write = options.write ?? writeLine;
  const level = platform.env["AWS_LAMBDA_LOG_LEVEL"];
  /** Several run at a time in one process where Lambda manages instances, and each has an end of its own. */
  const invocations = new AsyncLocalStorage<Invocation>();
  const current = () => invocations.getStore() ?? NONE;
  const log = createLambdaLog({ now: clock.now, write, level, requestId: () => current().requestId });
  const { metrics: choice } = app.config;
  const metrics = choice === false ? undefined : createMetrics(choice, (task) => app.tasks.has(task), level);
  const lease = () => Math.min(current().end, current().kept - LEASE_MARGIN_MS);

  const worker = createWorker(app, {
    hostname: `celery@${platform.env["AWS_LAMBDA_FUNCTION_NAME"] ?? "lambda"}`,
    log,
    lease,
    deadline: () => current().deadline,
    batches: () => (invocations.getStore() as Invocation).batches,
    pid: process.pid,
  });

  if (typeof LOVAGE_BUNDLE === "undefined" && ImproperlyConfigured.name !== "ImproperlyConfigured")
    log("warning", SHORTENED);
  if (metrics !== undefined) tellMetrics(metrics);
  function tellMetrics(metrics: Metrics): void {
    // What runs in its caller came from no queue.
    const add = (metric: Metric, { queue, isEager }: Request, task: string, value?: number): void => {
      if (!isEager) metrics.add(metric, sqsName(queue), task, value);
    };
    app.on("taskSuccess", ({ task, request }) => add("Succeeded", request, task));
    app.on("taskFailure", ({ task, request }) => add("Failed", request, task));
    app.on("taskRetry", ({ task, request }) => add("Retried", request, task));
    app.on("taskRejected", ({ task, queue }) => metrics.add("DeadLettered", sqsName(queue), task));
    app.on("taskPostrun", ({ task, request, state, runtime }) => {
      if (hasRun(state, runtime)) add("RunTime", request, task, Math.round(runtime * 1000));
    });
  }

  const prefix = () => app.config.brokerTransportOptions.queueNamePrefix;
  const sqsName = remember((queue) => translateQueueName(prefix(), queue));
  const queueOf = remember((arn) => queueBehind(app, arn));

  let isWatching = false;

  return async (event, context) => {
    // Where it is Lambda that calls: its runtime listened before this module was loaded.
    if (!isWatching && platform.env["AWS_LAMBDA_RUNTIME_API"] !== undefined) {
      isWatching = true;
      const ofTask: FaultWatcher["ofTask"] = (kind, error, scope) => reportFault(log, kind, error, scope);
      interceptFaults({ app, ownsProcess: true, ofTask });
    }
    // On Lambda it is.
    if (
      typeof LOVAGE_BUNDLE === "undefined" &&
      typeof (context as Partial<LambdaContext> | undefined)?.getRemainingTimeInMillis !== "function"
    )
      throw new ImproperlyConfigured(
        "context",
        "is none of Lambda's: a worker's function is called with an event and { awsRequestId, getRemainingTimeInMillis() }",
      );
    const started = clock.now();
    const remaining = context.getRemainingTimeInMillis();
    const invocation = {
      requestId: context.awsRequestId,
      end: started + remaining,
      deadline: started + runTime(remaining),
      kept: Number.POSITIVE_INFINITY,
      batches: { open: new Map(), isHurried: false, coming: undefined },
    };
    return invocations.run(invocation, handle, event, started);
  };

  async function handle(event: SqsEvent, started: number): Promise<BatchResponse> {
    if (isWarmUp(event)) {
      log("info", "Called to be kept warm, and not by a queue: there is nothing to do");
      return { batchItemFailures: [] };
    }
    const records = recordsOf(event);

    const dispositions = new Map<Delivery, Disposition>();
    const failures: { readonly itemIdentifier: string }[] = [];
    const deliveries: Delivery[] = [];
    for (const record of records) {
      const queue = queueOf(record.eventSourceARN);
      if (queue !== undefined) {
        deliveries.push(toDelivery(record, queue, started));
        continue;
      }
      // Its own queue's redrive policy takes care of it: nothing of this app could even name that queue.
      failures.push({ itemIdentifier: record.messageId });
      log(
        "error",
        `Message ${record.messageId} is of ${record.eventSourceARN}, whose name does not begin with this app's prefix ${JSON.stringify(prefix())}: it is left there; remove the event source mapping, or correct queue_name_prefix`,
      );
    }

    await Promise.all([runBatch(deliveries, dispositions, started), worker.releaseLate()]);
    await giveBack(
      deliveries.filter((delivery) => dispositions.get(delivery)?.type !== "leave"),
      dispositions,
    );
    for (const delivery of deliveries) {
      if (dispositions.get(delivery)?.type !== "delete") failures.push({ itemIdentifier: delivery.messageId });
    }
    for (const line of metrics?.flush(clock.now()) ?? []) write(line);
    return { batchItemFailures: failures };
  }

  async function runBatch(
    deliveries: readonly Delivery[],
    dispositions: Map<Delivery, Disposition>,
    started: number,
  ): Promise<void> {
    const { deadline } = current();
    const running = new Map<Run, number>();
    /** Read and claimed before anything runs. */
    const admitted = new Map<Delivery, Admission>();
    const { workerPool, workerConcurrency = CONCURRENCY } = app.config;
    const concurrency = workerPool === "solo" ? 1 : workerConcurrency;

    /**
     * Whether a run gets the time that it may take, or all but all that this function has. One cut short because others ran
     * before it, or its claim was slow, would fail for no fault of its own.
     */
    function hasTime(run: Run): boolean {
      if (run.decided) return true;
      const all = deadline - started;
      const wanted = run.timeLimit === null ? all / 2 : Math.min(run.timeLimit * 1000, all * MOST_OF_IT);
      return deadline - clock.now() >= wanted;
    }

    async function execute(run: Run): Promise<Disposition> {
      const { message, delivery } = run;
      if (!hasTime(run)) return giveUp(run);
      const now = clock.now();
      const due = Math.max(delivery.sentAt, message.eta === null ? 0 : parseTime(message.eta));
      if (!run.decided) metrics?.add("QueueToStart", sqsName(delivery.queue), message.task, Math.max(0, now - due));
      running.set(run, now);
      // A run that was abandoned may go on in here until Lambda freezes the process; its context refuses everything by then.
      const { disposition } = await run.execute();
      running.delete(run);
      return disposition;
    }

    async function work(delivery: Delivery, isAlone: boolean): Promise<Disposition> {
      const admission = admitted.get(delivery) ?? (await worker.admit(delivery));
      const run = "run" in admission ? admission.run : undefined;
      // Others run beside it, or have run: it comes back, and is then the first.
      if (run !== undefined && isSuspect(run) && !isAlone) return release(run);
      metrics?.add("Received", sqsName(delivery.queue), run?.message.task ?? peekEnvelope(delivery.body).task);
      return "run" in admission ? execute(admission.run) : admission.disposition;
    }

    /** One after the other, up to the first that is not done. */
    async function runLane(lane: readonly Delivery[], through = work): Promise<void> {
      for (const delivery of lane) {
        if (clock.now() >= deadline) return;
        const disposition = await through(delivery, false);
        dispositions.set(delivery, disposition);
        if (disposition.type !== "delete") return;
      }
    }

    /** What a function died of runs first and alone: nothing that it could take along, nothing that takes its time. */
    async function runSuspect(suspect: Delivery): Promise<void> {
      await inParallel([...admitted], concurrency, async ([delivery, admission]) => {
        if (delivery === suspect) return;
        const isRun = "run" in admission;
        // A verdict needs no run: it is stored here and now.
        if (!isRun || admission.run.decided) dispositions.set(delivery, await work(delivery, false));
        else dispositions.set(delivery, await release(admission.run));
      });
      // First, since a heartbeat that is under way would hide again what is handed back.
      await watch.keepToEnd(suspect, claimOf(admitted.get(suspect)));
      // At once, and not when this invocation ends: others have room for them.
      await giveBack(
        deliveries.filter((delivery) => delivery !== suspect),
        dispositions,
      );
      // Nor is there anything that a batch would wait for.
      worker.hurry(true);
      dispositions.set(suspect, await work(suspect, true));
      worker.hurry(false);
    }

    // What was handed back most often goes first, so that each gets its turn.
    const lanes = [...lanesOf(deliveries)].sort(([a], [b]) => (b?.receiveCount ?? 0) - (a?.receiveCount ?? 0));
    const watch = await startWatch(deliveries, dispositions, running);
    // Nobody died of what comes for the first time; and nothing is claimed here that would not be run at once.
    const again = lanes
      .slice(0, concurrency)
      .flatMap(([head]) => (head !== undefined && head.receiveCount > 1 && started < deadline ? [head] : []));
    const claims: (() => Promise<void>)[] = [];
    await inParallel(again, concurrency, async (delivery) => {
      const claim = await worker.read(delivery);
      claims.push(async () => void admitted.set(delivery, await claim()));
    });
    await inParallel(claims, concurrency, (claim) => claim());
    const suspect = again.find((delivery) => {
      const admission = admitted.get(delivery);
      return admission !== undefined && "run" in admission && isSuspect(admission.run);
    });
    if (suspect !== undefined) await runSuspect(suspect);
    else if ((typeof LOVAGE_BATCHES === "undefined" || LOVAGE_BATCHES) && batchSizes(app.tasks) > 0) {
      // All messages of an invocation are here, so a batch begins when the last of its calls has come to it.
      const workGathered: typeof work = async (delivery, isAlone) => {
        worker.comes(delivery, true);
        const disposition = await work(delivery, isAlone);
        worker.comes(delivery, false);
        return disposition;
      };
      // Calls that are gathered have to be there together, and take no place from what runs.
      const gathered: (readonly Delivery[])[] = [];
      const others: (readonly Delivery[])[] = [];
      for (const lane of lanes) {
        const task = app.tasks.get(peekEnvelope(lane[0]?.body ?? "").task ?? "");
        (task !== undefined && batchOf(task) !== undefined ? gathered : others).push(lane);
      }
      await Promise.all([
        inParallel(gathered, gathered.length, (lane) => runLane(lane, workGathered)),
        inParallel(others, concurrency, (lane) => runLane(lane)),
      ]);
    } else await inParallel(lanes, concurrency, (lane) => runLane(lane));
    await watch.stop();
  }

  /** Hands back what is not done. What was handed back before is somebody else's by now, and left alone. */
  async function giveBack(deliveries: readonly Delivery[], dispositions: Map<Delivery, Disposition>): Promise<void> {
    const back: { readonly delivery: Delivery; readonly visibility: number }[] = [];
    for (const delivery of deliveries) {
      const disposition = await worker.handBack(delivery, dispositions.get(delivery) ?? HAND_BACK);
      dispositions.set(delivery, disposition.type === "handBack" ? LEAVE : disposition);
      if (disposition.type === "handBack") back.push({ delivery, visibility: disposition.visibility });
    }
    await hide(back);
  }

  async function giveUp(run: Run): Promise<Disposition> {
    const { message, delivery } = run;
    log(
      "info",
      `Task ${nameOf(message)} is handed back: too little of the function's time is left for it`,
      fieldsOf(message, delivery.queue),
    );
    return release(run);
  }

  async function release(run: Run): Promise<Disposition> {
    const { message, delivery } = run;
    try {
      return await run.release();
    } catch (error) {
      log(
        "warning",
        `The claim on ${nameOf(message)} could not be released and ends with the function: ${String(error)}`,
        fieldsOf(message, delivery.queue),
      );
      return HAND_BACK;
    }
  }

  /** SQS would otherwise keep what failed hidden for the whole of the queue's visibility timeout. */
  async function hide(entries: readonly { readonly delivery: Delivery; readonly visibility: number }[]): Promise<void> {
    if (entries.length === 0) return;
    const failed = (error: unknown) =>
      log("warning", `A message that is handed back stays hidden for its queue's visibility timeout: ${String(error)}`);
    try {
      const broker = await engine.broker();
      const settled = await broker.changeVisibility(entries);
      for (const error of settled) if (error !== undefined) failed(error);
    } catch (error) {
      failed(error);
    }
  }

  /** For how long a message may stay hidden after the end of the function that has it, in milliseconds. */
  function hiddenBeyond(queue: string): number {
    const window = app.config.taskQueues[queue]?.maxBatchingWindow ?? 0;
    return (window + VISIBILITY_MARGIN_S) * 1000;
  }

  /**
   * Asks the rows of long runs now and then whether the task was revoked with `terminate`. Where a dead function would keep
   * its neighbours from others for longer than {@link TAKEN_UP_MS}, it keeps the batch as well: for a short time, again and
   * again. A batch of one has no neighbours, and is kept to the function's end, as is one that ends soon: they cost nothing.
   */
  async function startWatch(
    deliveries: readonly Delivery[],
    dispositions: ReadonlyMap<Delivery, Disposition>,
    running: ReadonlyMap<Run, number>,
  ): Promise<Watch> {
    const stopping = new AbortController();
    const invocation = current();
    const hidden = invocation.end - clock.now() + hiddenBeyond(deliveries[0]?.queue ?? "");
    let keeping: unknown;
    let isKept = deliveries.length > 1 && hidden > TAKEN_UP_MS;

    async function keep(): Promise<void> {
      const now = clock.now();
      if (now > invocation.kept) {
        log(
          "warning",
          `The event loop was blocked for more than ${KEPT_MS / 1000} s, and others may have taken over what ran: tasks that do so belong on a queue with batchSize 1`,
        );
      }
      invocation.kept = now + KEPT_MS;
      // Those done are kept too: SQS deletes them when the function answers.
      await hold(
        deliveries.filter((delivery) => dispositions.get(delivery)?.type !== "leave"),
        KEPT_MS,
      );
    }

    async function hold(held: readonly Delivery[], visibility: number): Promise<void> {
      const broker = await engine.broker();
      const settled = await broker.changeVisibility(held.map((delivery) => ({ delivery, visibility })));
      for (const error of settled) if (error !== undefined) throw error;
    }

    async function look(): Promise<void> {
      const now = clock.now();
      const long = [...running].flatMap(([run, began]) =>
        run.claim !== undefined && now - began >= HEARTBEAT_MS ? [{ run, claim: run.claim }] : [],
      );
      if (long.length === 0) return;
      const backend = await engine.backend();
      const outcomes = await backend.apply(
        long.map(({ claim }) => ({ type: "extend", ...claim, now, lease: lease() })),
      );
      for (const [index, outcome] of outcomes.entries()) {
        if (!(outcome instanceof Error) && outcome.type === "written" && outcome.revoked === "terminate")
          long[index]?.run.terminate();
      }
    }

    const trying = (keeping: Promise<unknown>) =>
      keeping.catch((error: unknown) =>
        log("warning", `What this function has in hand could not be kept for longer: ${String(error)}`),
      );
    if (isKept) await trying(keep());
    const watching = (async () => {
      for (;;) {
        await clock.sleep(HEARTBEAT_MS, stopping.signal);
        if (stopping.signal.aborted) return;
        if (isKept) keeping = trying(keep());
        await Promise.all([
          ...[...running.keys()].map((run) => run.noteRunning()),
          keeping,
          look().catch((error: unknown) =>
            log("warning", `Whether a running task was revoked could not be seen: ${String(error)}`),
          ),
        ]);
      }
    })();
    return {
      async keepToEnd(delivery, claim) {
        if (!isKept) return;
        isKept = false;
        await keeping;
        invocation.kept = Number.POSITIVE_INFINITY;
        const now = clock.now();
        const extend = async () => {
          if (claim === undefined) return;
          await applyOne(engine.backend(), { type: "extend", ...claim, now, lease: lease() });
        };
        await trying(Promise.all([hold([delivery], invocation.end - now + LEASE_MARGIN_MS), extend()]));
      },
      async stop() {
        // With a reason, so that none is made up: an error with a stack for every batch.
        stopping.abort("ended");
        await watching;
      },
    };
  }
}

interface Watch {
  /** From now on it is the only one in hand: it is kept to the function's end, also where it blocks the event loop until then. */
  keepToEnd(delivery: Delivery, claim: Run["claim"]): Promise<void>;
  stop(): Promise<void>;
}

/** A function died while it ran, of it or of a neighbour. In a process of their own there are no neighbours to take along. */
const isSuspect = (run: Run): boolean => run.deaths > 0 && !run.decided;

const claimOf = (admission: Admission | undefined): Run["claim"] =>
  admission !== undefined && "run" in admission ? admission.run.claim : undefined;

/** Asks once for each name: a function serves few queues, and many records. */
function remember<T>(find: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>();
  return (name) => {
    if (!known.has(name)) known.set(name, find(name));
    return known.get(name) as T;
  };
}

/** Called for no message: by a plugin that keeps functions warm, or by a schedule that somebody made for that. */
export function isWarmUp(event: unknown): boolean {
  const { source, warmer }: { readonly source?: unknown; readonly warmer?: unknown } =
    typeof event === "object" && event !== null ? event : {};
  return source === "serverless-plugin-warmup" || source === "aws.events" || warmer === true;
}

/** The records of an event. Throws `ImproperlyConfigured` where it is none of SQS. */
function recordsOf(event: unknown): readonly SqsRecord[] {
  const records = typeof event === "object" && event !== null && "Records" in event ? event.Records : undefined;
  if (Array.isArray(records) && records.every(isRecord)) return records as readonly SqsRecord[];
  throw new ImproperlyConfigured(
    "event",
    `is none of an SQS event source, whose records have ${NEEDED.join(", ")}: a worker's function was given ${JSON.stringify(event)?.slice(0, 200)}; remove whatever else calls it, or make that call a task with delay()`,
  );
}

const NEEDED = ["messageId", "receiptHandle", "body", "eventSourceARN"];
const isRecord = (record: Readonly<Record<string, unknown>> | null): boolean =>
  NEEDED.every((name) => typeof record?.[name] === "string");

/** The queue of an event source, by the name that the app gives it; nothing where it is none that this app could name. */
function queueBehind(app: Lovage, arn: string): Pick<Delivery, "queue" | "band"> | undefined {
  const { taskQueues, brokerTransportOptions } = app.config;
  const prefix = brokerTransportOptions.queueNamePrefix;
  const name = arn.slice(arn.lastIndexOf(":") + 1);
  const translated = translateQueueName(prefix, "");
  if (!name.startsWith(translated)) return undefined;
  for (const { name: queue, priorities } of Object.values(taskQueues)) {
    const band = bandQueues(queue, priorities).find((one) => translateQueueName(prefix, one) === name);
    if (band !== undefined) return { queue, ...(band !== queue && { band }) };
  }
  // A queue that is not declared is served too, under the name that it has on SQS.
  return { queue: name.slice(translated.length) };
}

/** A record as the broker would have handed it out. */
function toDelivery(record: SqsRecord, from: Pick<Delivery, "queue" | "band">, now: number): Delivery {
  // An event that was written by hand may be without them.
  const { attributes, messageAttributes }: { readonly [Name in keyof SqsRecord]?: SqsRecord[Name] | null } = record;
  const {
    MessageGroupId,
    MessageDeduplicationId,
    ApproximateReceiveCount = "1",
    SentTimestamp = String(now),
  }: Partial<SqsRecord["attributes"]> = attributes ?? {};
  return {
    ...from,
    body: record.body,
    messageId: record.messageId,
    receipt: record.receiptHandle,
    receiveCount: Number(ApproximateReceiveCount),
    sentAt: Number(SentTimestamp),
    ...(MessageGroupId !== undefined && { groupId: MessageGroupId }),
    ...(MessageDeduplicationId !== undefined && { deduplicationId: MessageDeduplicationId }),
    attributes: Object.fromEntries(
      Object.entries(messageAttributes ?? {}).flatMap(([key, { stringValue }]) =>
        stringValue === undefined ? [] : [[key, stringValue]],
      ),
    ),
  };
}

/** What has to run in order: a FIFO group. Anything else is a lane of its own. */
function lanesOf(deliveries: readonly Delivery[]): Iterable<readonly Delivery[]> {
  return Map.groupBy(deliveries, (delivery) =>
    isFifo(delivery.queue) ? `${delivery.queue}\n${delivery.groupId ?? ""}` : delivery,
  ).values();
}

export const writeLine = (line: string): void => void process.stdout.write(`${line}\n`);
