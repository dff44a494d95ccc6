/** The worker as a Lambda function behind an SQS event source: an event is a batch of deliveries, the answer says which of them come back. */
import type { Lovage } from "../app.ts";
import { inParallel } from "../aws/connection.ts";
import { type Delivery, isFifo } from "../brokers/broker.ts";
import { translateQueueName } from "../brokers/queue-name.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import { parseTime } from "../protocol/time.ts";
import { createWorker, type Disposition, type Run } from "../workers/worker.ts";
import { runTime } from "./deadline.ts";
import { createLambdaLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";

/** What an SQS event source gives a function, as far as it matters here. */
export interface SqsEvent {
  readonly Records: readonly SqsRecord[];
}

export interface SqsRecord {
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
  readonly attributes: {
    readonly ApproximateReceiveCount: string;
    readonly SentTimestamp: string;
    readonly MessageGroupId?: string;
    readonly MessageDeduplicationId?: string;
  };
  readonly messageAttributes: Readonly<Record<string, { readonly stringValue?: string }>>;
  readonly eventSourceARN: string;
}

/** What a function knows of its invocation. */
export interface LambdaContext {
  readonly awsRequestId: string;
  getRemainingTimeInMillis(): number;
}

/** The records that SQS keeps; it deletes all others. The event source needs `ReportBatchItemFailures`. */
export interface BatchResponse {
  readonly batchItemFailures: { readonly itemIdentifier: string }[];
}

export interface HandlerOptions {
  /** Takes log lines and metrics. Default: standard output, which Lambda takes to CloudWatch. */
  readonly write?: (line: string) => void;
}

/** Tasks that run at a time in one invocation, unless `workerConcurrency` says: SQS's batch where nothing else was asked for. */
const CONCURRENCY = 10;
/** What is left of an invocation after it has begun, and claimed quickly, at least. */
const MOST_OF_IT = 0.9;
/** A run is looked after every so often, in milliseconds, from this age on: whether it was revoked with `terminate`. */
const HEARTBEAT_MS = 10_000;

const HAND_BACK: Disposition = { type: "handBack", visibility: 0 };

interface Invocation {
  /** When Lambda ends the function, in milliseconds since the epoch. */
  readonly end: number;
  /** When the tasks must have ended. */
  readonly deadline: number;
}

/**
 * Makes the handler of a worker's function: `export const handler = createWorkerHandler(app);`
 *
 * Records run side by side, as many as `workerConcurrency` says (10 by default); those of a FIFO group one after the
 * other, and the first that is not done sends the rest of its group back. A run that goes past the function's timeout
 * ends as FAILURE `TimeLimitExceeded` before Lambda can kill it, and what was not begun until then is handed back.
 */
export function createWorkerHandler(
  app: Lovage,
  options: HandlerOptions = {},
): (event: SqsEvent, context: LambdaContext) => Promise<BatchResponse> {
  const { engine } = app;
  const { clock, platform } = engine;
  const write = options.write ?? writeLine;
  const level = platform.env["AWS_LAMBDA_LOG_LEVEL"];
  const { log, begin } = createLambdaLog({ now: clock.now, write, level });
  const metrics = createMetrics((task) => app.tasks.has(task), level);
  let invocation: Invocation = { end: 0, deadline: 0 };

  const worker = createWorker(app, {
    hostname: `celery@${platform.env["AWS_LAMBDA_FUNCTION_NAME"] ?? "lambda"}`,
    log,
    lease: () => invocation.end,
    deadline: () => invocation.deadline,
    pid: process.pid,
  });

  app.on("taskSuccess", ({ task, request }) => metrics.add("Succeeded", sqsName(request.queue), task));
  app.on("taskFailure", ({ task, request }) => metrics.add("Failed", sqsName(request.queue), task));
  app.on("taskRetry", ({ task, request }) => metrics.add("Retried", sqsName(request.queue), task));
  app.on("taskRejected", ({ task, queue }) => metrics.add("DeadLettered", sqsName(queue), task));
  app.on("taskPostrun", ({ task, request, runtime }) =>
    metrics.add("RunTime", sqsName(request.queue), task, Math.round(runtime * 1000)),
  );

  const prefix = () => app.config.brokerTransportOptions.queueNamePrefix;
  const sqsName = remember((queue) => translateQueueName(prefix(), queue));
  const queueOf = remember((arn) => queueBehind(app, arn));

  return async (event, context) => {
    const started = clock.now();
    const remaining = context.getRemainingTimeInMillis();
    invocation = { end: started + remaining, deadline: started + runTime(remaining) };
    begin(context.awsRequestId);

    const dispositions = new Map<Delivery, Disposition>();
    const failures: { readonly itemIdentifier: string }[] = [];
    const deliveries: Delivery[] = [];
    for (const record of event.Records) {
      const queue = queueOf(record.eventSourceARN);
      if (queue !== undefined) {
        deliveries.push(toDelivery(record, queue));
        continue;
      }
      // Its own queue's redrive policy takes care of it: nothing of this app could even name that queue.
      failures.push({ itemIdentifier: record.messageId });
      log(
        "error",
        `Message ${record.messageId} is of ${record.eventSourceARN}, whose name does not begin with this app's prefix ${JSON.stringify(prefix())}: it is left there; remove the event source mapping, or correct queue_name_prefix`,
      );
    }

    await runBatch(deliveries, dispositions, started);
    const returned = deliveries.flatMap((delivery) => {
      const disposition = dispositions.get(delivery) ?? HAND_BACK;
      return disposition.type === "delete" ? [] : [{ delivery, disposition }];
    });
    for (const { delivery } of returned) failures.push({ itemIdentifier: delivery.messageId });
    await hide(
      returned.flatMap(({ delivery, disposition }) =>
        disposition.type === "handBack" ? [{ delivery, visibility: disposition.visibility }] : [],
      ),
    );
    for (const line of metrics.flush(clock.now())) write(line);
    return { batchItemFailures: failures };
  };

  async function runBatch(
    deliveries: readonly Delivery[],
    dispositions: Map<Delivery, Disposition>,
    started: number,
  ): Promise<void> {
    const { deadline } = invocation;
    const running = new Map<Run, number>();
    const postponed: (readonly Delivery[])[] = [];

    /**
     * Whether a run gets the time that it may take. One cut short because others ran before it, or because its claim was slow,
     * would fail for no fault of its own. One that may take longer than the function itself has to do with what there is.
     */
    function hasTime(run: Run): boolean {
      if (run.decided) return true;
      const whole = deadline - started;
      const wanted = run.timeLimit === null ? whole / 2 : Math.min(run.timeLimit * 1000, whole * MOST_OF_IT);
      return deadline - clock.now() >= wanted;
    }

    async function execute(run: Run): Promise<Disposition> {
      const { message, delivery } = run;
      if (!hasTime(run)) return giveUp(run);
      const now = clock.now();
      const due = Math.max(delivery.sentAt, message.eta === null ? 0 : parseTime(message.eta));
      metrics.add("QueueToStart", sqsName(delivery.queue), message.task, Math.max(0, now - due));
      running.set(run, now);
      // A run that was abandoned may go on in here until Lambda freezes the process; its context refuses everything by then.
      const { disposition } = await run.execute();
      running.delete(run);
      return disposition;
    }

    /** One after the other, up to the first that is not done. */
    async function runLane(lane: readonly Delivery[], alone: boolean): Promise<void> {
      for (const [index, delivery] of lane.entries()) {
        if (clock.now() >= deadline) return;
        const admission = await worker.admit(delivery);
        const run = "run" in admission ? admission.run : undefined;
        if (run?.suspect && !alone) {
          // Its claim is given up until it can be alone: if the process dies before that, it did not die of this one.
          await release(run);
          postponed.push(lane.slice(index));
          return;
        }
        metrics.add("Received", sqsName(delivery.queue), run?.message.task ?? peekEnvelope(delivery.body).task);
        const disposition = "run" in admission ? await execute(admission.run) : admission.disposition;
        dispositions.set(delivery, disposition);
        if (disposition.type !== "delete") return;
      }
    }

    const watch = startWatch(running);
    await inParallel([...lanesOf(deliveries)], app.config.workerConcurrency ?? CONCURRENCY, (lane) =>
      runLane(lane, false),
    );
    for (const lane of postponed) await runLane(lane, true);
    await watch.stop();
  }

  async function giveUp(run: Run): Promise<Disposition> {
    const { id, task } = run.message;
    log("info", `Task ${task}[${id}] is handed back: too little of the function's time is left for it`, { task, id });
    return release(run);
  }

  async function release(run: Run): Promise<Disposition> {
    const { id, task } = run.message;
    try {
      return await run.release();
    } catch (error) {
      log("warning", `The claim on ${task}[${id}] could not be released and ends with the function: ${String(error)}`, {
        task,
        id,
      });
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
      const longest = broker.limits.maxVisibilitySeconds * 1000 - (invocation.end - clock.now());
      const settled = await broker.changeVisibility(
        entries.map(({ delivery, visibility }) => ({ delivery, visibility: Math.min(visibility, longest) })),
      );
      for (const error of settled) if (error !== undefined) failed(error);
    } catch (error) {
      failed(error);
    }
  }

  /** Asks the rows of long runs now and then whether the task was revoked with `terminate`. Short runs cost nothing. */
  function startWatch(running: ReadonlyMap<Run, number>): { stop(): Promise<void> } {
    const stopping = new AbortController();
    const watching = (async () => {
      for (;;) {
        await clock.sleep(HEARTBEAT_MS, stopping.signal);
        if (stopping.signal.aborted) return;
        const now = clock.now();
        await Promise.all([...running.keys()].map((run) => run.noteRunning()));
        const long = [...running].flatMap(([run, began]) =>
          run.claim !== undefined && now - began >= HEARTBEAT_MS ? [{ run, claim: run.claim }] : [],
        );
        if (long.length === 0) continue;
        try {
          const backend = await engine.backend();
          const outcomes = await backend.apply(
            long.map(({ claim }) => ({ type: "extend", ...claim, now, lease: invocation.end })),
          );
          for (const [index, outcome] of outcomes.entries()) {
            if (!(outcome instanceof Error) && outcome.type === "written" && outcome.revoked === "terminate")
              long[index]?.run.terminate();
          }
        } catch (error) {
          log("warning", `Whether a running task was revoked could not be seen: ${String(error)}`);
        }
      }
    })();
    return {
      async stop() {
        // With a reason, so that none is made up: an error with a stack for every batch.
        stopping.abort("ended");
        await watching;
      },
    };
  }
}

/** Asks once for each name: a function serves few queues, and many records. */
function remember<T>(find: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>();
  return (name) => {
    if (!known.has(name)) known.set(name, find(name));
    return known.get(name) as T;
  };
}

/** The queue of an event source, by the name that the app gives it; nothing where it is none that this app could name. */
function queueBehind(app: Lovage, arn: string): string | undefined {
  const { taskQueues, brokerTransportOptions } = app.config;
  const prefix = brokerTransportOptions.queueNamePrefix;
  const name = arn.slice(arn.lastIndexOf(":") + 1);
  const translated = translateQueueName(prefix, "");
  if (!name.startsWith(translated)) return undefined;
  const declared = Object.keys(taskQueues).find((queue) => translateQueueName(prefix, queue) === name);
  // A queue that is not declared is served too, under the name that it has on SQS.
  return declared ?? name.slice(translated.length);
}

/** A record as the broker would have handed it out. */
function toDelivery(record: SqsRecord, queue: string): Delivery {
  const { MessageGroupId, MessageDeduplicationId, ApproximateReceiveCount, SentTimestamp } = record.attributes;
  return {
    queue,
    body: record.body,
    messageId: record.messageId,
    receipt: record.receiptHandle,
    receiveCount: Number(ApproximateReceiveCount),
    sentAt: Number(SentTimestamp),
    ...(MessageGroupId !== undefined && { groupId: MessageGroupId }),
    ...(MessageDeduplicationId !== undefined && { deduplicationId: MessageDeduplicationId }),
    attributes: Object.fromEntries(
      Object.entries(record.messageAttributes).flatMap(([key, { stringValue }]) =>
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
