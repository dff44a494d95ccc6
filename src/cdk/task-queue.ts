/** One queue of an app: the SQS queue, its dead letters, and who works on it: a function, containers, or nobody of the stack's. */
import { Duration, RemovalPolicy } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import type * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import type { NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";
import type { RetentionDays } from "aws-cdk-lib/aws-logs";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { deadLetterQueue, isFifo, MAX_RECEIVES } from "../brokers/broker.ts";
import { type Bands, bandQueues, checkQueueName, translateQueueName } from "../brokers/queue-name.ts";
import type { QueueConfig, QueueWorker } from "../config/config.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { MAX_FUNCTION_TIMEOUT_S, TIMEOUT_MARGIN_S, VISIBILITY_MARGIN_S } from "../lambda/deadline.ts";
import { checkEnvironment } from "../config/values.ts";
import { type Metric, NAMESPACE } from "../lambda/metrics.ts";
import { batchOf } from "../tasks/batch.ts";
import { MAX_TIME_LIMIT_S } from "../tasks/options.ts";
import { routed } from "../tasks/publish.ts";
import { alarm, sum } from "./alarms.ts";
import { type ContainerOptions, ContainerWorker } from "./container-worker.ts";
import { grantKey, grantOn, queueEncryption, type Target } from "./grants.ts";
import { checkRange, INVOCATIONS_OF_POLLER, LIMITS, MAX_BATCH_WITHOUT_WINDOW } from "./limits.ts";
import { checkLiteral } from "./names.ts";
import { type FunctionOptions, taskFunction, type TaskBundling } from "./task-function.ts";

/** What the deployment of a queue may be told beyond its declaration in `taskQueues`; what both name, this decides. */
export interface TaskQueueOptions extends FunctionOptions {
  /** Messages that one invocation gets at most: 1 to 10,000, on a FIFO queue to 10; above 10 with a batching window. @default - `batchSize` of the queue, or 10 */
  readonly batchSize?: number | undefined;
  /** How long to wait until a batch is full, 0 to 300 seconds; not on a FIFO queue. @default - `maxBatchingWindow` of the queue, or no wait */
  readonly maxBatchingWindow?: Duration | undefined;
  /** Invocations at a time at most, 2 to 1,000. @default - `maxConcurrency` of the queue, or 5: a new AWS account has 10 in all */
  readonly maxConcurrency?: number | undefined;
  /**
   * Event pollers that are kept for the queue (Lambda's provisioned mode), instead of `maxConcurrency`: they cost by the
   * hour, add 1,000 invocations a minute where the others add 300, and each runs ten at a time. At least 2, the minimum
   * up to 200, the maximum up to 2,000. @default - none: Lambda polls as much as it sees fit, up to `maxConcurrency`
   */
  readonly provisionedPollers?: { readonly minimum: number; readonly maximum: number } | undefined;
  /**
   * A FIFO queue's limits count for each message group instead of for the whole queue (SQS's high throughput mode), and a
   * deduplication id within its group alone. @default false
   */
  readonly highThroughput?: boolean | undefined;
  /** Concurrency of the account that is kept for this function, not below what `maxConcurrency` or the pollers may use. @default - `reservedConcurrency` of the queue, or none */
  readonly reservedConcurrency?: number | undefined;
  /** How long SQS keeps a message that nobody handles, a minute to 14 days; dead letters are kept for 14 days always. @default Duration.days(7) */
  readonly retentionPeriod?: Duration | undefined;
  /** Queues that its tasks may send to beside their own, by their names in the app; `"all"`: every one. @default - `sendsTo` of `TaskQueues` */
  readonly sendsTo?: readonly string[] | "all" | undefined;
  /** @default - a key of SQS's own */
  readonly encryptionKey?: kms.IKey | undefined;
  /** From this age of its oldest message on a queue raises its alarm: a second or more, and less than `retentionPeriod`. @default - 15 minutes, or half of a shorter `retentionPeriod` */
  readonly oldestMessageAge?: Duration | undefined;
  /** From this share of failures on, in percent of the tasks that ended within five minutes, ten at least, a queue raises its alarm: 1 to 100. @default - no such alarm */
  readonly failedPercent?: number | undefined;
  /** The module of this queue's worker, so that a bundle has the code of its own tasks alone. @default - `entry` of `TaskQueues` */
  readonly entry?: string | undefined;
  /** Where the declaration says `worker: "container"`: its image, size and number. @default - `container` of `TaskQueues` */
  readonly container?: ContainerOptions | undefined;
  /** Bundling of this queue's function. @default - `bundling` of `TaskQueues` */
  readonly bundling?: TaskBundling | undefined;
}

/** What one queue is made of. */
export interface TaskQueueProps extends TaskQueueOptions {
  /** The app that the queue belongs to. */
  readonly app: Lovage;
  /** The queue's declaration in `taskQueues`. */
  readonly queue: QueueConfig;
  /** Put before the names of the queues. */
  readonly prefix: string;
  /** How long the function's log is kept. */
  readonly logRetention: RetentionDays;
  /** What becomes of the queues when the stack is deleted. */
  readonly removalPolicy: RemovalPolicy;
  /** Whether the queues refuse requests without TLS. */
  readonly enforceSSL: boolean;
  /** Bundling of its function, over Lovage's own (`bundlingFor`). */
  readonly bundling?: TaskBundling | undefined;
  /** Whether the deployment has EventBridge Scheduler: its client is bundled then. */
  readonly longDelays?: boolean | undefined;
  /** Whether the deployment keeps large texts: what does so is bundled then. */
  readonly payloads?: boolean | undefined;
}

/** Seconds that a task may run where nothing says more. */
const DEFAULT_TIME_LIMIT_S = 60;
const DEFAULT_BATCH_SIZE = 10;
/** An account may have no more than ten invocations at a time in all, as new ones have: a queue takes half of that. */
const DEFAULT_MAX_CONCURRENCY = 5;
const RETENTION = Duration.days(7);
/** A message that is moved keeps its age. */
const DEAD_LETTER_RETENTION = Duration.days(14);
const OLDEST_MESSAGE_AGE_S = 15 * 60;
const FIVE_MINUTES = Duration.minutes(5);
/** Of fewer tasks that ended, one failure would be a large share. */
const FEWEST_TASKS = 10;

/** A queue, as a grantee: `table.grantReadData(taskQueues.queue("media"))` gives its tasks a table of yours. */
export class TaskQueue extends Construct implements iam.IGrantable {
  /** Where it has bands (`priorities`), the lowest: what is sent by its name alone. */
  readonly queue: sqs.Queue;
  /** All that it is on SQS: its bands, the lowest first, or `queue` alone. */
  readonly queues: readonly sqs.Queue[];
  /** @internal Their names, without the prefix. */
  readonly bandNames: readonly string[];
  /** One for all bands. */
  readonly deadLetterQueue: sqs.Queue;
  /** Who works on it. */
  readonly worker: QueueWorker;
  /** What has the function fetch, from each of `queues`, where `worker` is `function`: `app.control.pause()` disables them. */
  readonly mappings: readonly lambda.EventSourceMapping[];
  /** The service of its containers, where `worker` is `container`. */
  readonly service: ecs.FargateService | undefined;
  /** The role of the function or of the containers. With `worker: "none"` there is none: `grantWork` gives yours its rights. */
  readonly grantPrincipal: iam.IPrincipal;
  /**
   * On dead letters and the age of the oldest message; where containers are the worker on messages that wait while none of them runs;
   * where a function is on its errors and throttles, and with `failedPercent` on the share of tasks that fail.
   */
  readonly alarms: readonly cloudwatch.Alarm[];
  readonly #function: NodejsFunction | undefined;
  readonly #containers: ContainerWorker | undefined;
  readonly #key: kms.IKey | undefined;

  constructor(scope: Construct, id: string, props: TaskQueueProps) {
    super(scope, id);
    const settings = settingsOf(props);
    const environment = { ...props.queue.environment, ...props.environment };
    checkEnvironment(environment, `taskQueues.${props.queue.name}.environment`);
    const { queueName, timeout } = settings;
    const common = {
      ...(isFifo(queueName) ? { fifo: true } : {}),
      enforceSSL: props.enforceSSL,
      ...queueEncryption(props.encryptionKey),
    };
    this.deadLetterQueue = new sqs.Queue(this, "DeadLetters", {
      ...common,
      queueName: deadLetterQueue(queueName),
      retentionPeriod: DEAD_LETTER_RETENTION,
      removalPolicy: props.removalPolicy,
    });
    const { priorities } = props.queue;
    this.bandNames = bandQueues(props.queue.name, priorities);
    // What is made once for the queue and again for each higher band has the band's priority in its id.
    const idOf = (id: string, rank: number) => (rank === 0 ? id : `${id}-${priorities?.[rank]?.priority}`);
    const queueSettings: sqs.QueueProps = {
      ...common,
      ...(props.highThroughput === true
        ? {
            deduplicationScope: sqs.DeduplicationScope.MESSAGE_GROUP,
            fifoThroughputLimit: sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
          }
        : {}),
      // A poller says itself how long it hides a message, and says so anew while it runs.
      ...(timeout === undefined
        ? { visibilityTimeout: Duration.seconds(Math.ceil(props.app.config.brokerTransportOptions.visibilityTimeout)) }
        : { visibilityTimeout: Duration.seconds(settings.maxBatchingWindow + timeout + VISIBILITY_MARGIN_S) }),
      retentionPeriod: props.retentionPeriod ?? RETENTION,
      deadLetterQueue: { queue: this.deadLetterQueue, maxReceiveCount: MAX_RECEIVES },
      removalPolicy: RemovalPolicy.DESTROY,
    };
    this.queues = this.bandNames.map(
      (name, rank) =>
        new sqs.Queue(this, idOf("Queue", rank), {
          ...queueSettings,
          queueName: translateQueueName(props.prefix, name),
        }),
    );
    this.queue = this.queues[0] as sqs.Queue;
    this.worker = settings.worker;
    this.#key = props.encryptionKey;
    if (timeout !== undefined) {
      const target = this.#addFunction(props, settings, timeout, environment);
      this.#function = target;
      this.mappings = this.queues.map((queue, rank) =>
        this.#map(idOf("Messages", rank), target, queue, settings, rank),
      );
    } else this.mappings = [];
    if (this.worker === "container") {
      this.#containers = new ContainerWorker(this, "Containers", {
        ...containerOf(props),
        queueName: props.queue.name,
        queues: this.queues,
        environment,
        hasMetrics: props.app.config.metrics !== false,
        architecture: props.architecture,
        vpc: props.vpc,
        vpcSubnets: props.vpcSubnets,
        securityGroups: props.securityGroups,
        logRetention: props.logRetention,
        encryptionKey: props.encryptionKey,
      });
    }
    this.service = this.#containers?.service;
    const principal = (this.#function ?? this.#containers)?.grantPrincipal;
    this.grantPrincipal = principal ?? new iam.UnknownPrincipal({ resource: this });
    if (principal !== undefined) this.grantConsume(this);
    const outcomes = (metricName: Metric) =>
      new cloudwatch.Metric({
        namespace: NAMESPACE,
        metricName,
        dimensionsMap: { QueueName: this.queue.queueName },
        ...sum(FIVE_MINUTES),
      });
    const highest = { period: Duration.minutes(1), statistic: "Maximum" };
    const alarms = [
      alarm(this, "DeadLettersAlarm", {
        description: `Messages of ${queueName} became dead letters: look at their attributes for the reason`,
        metric: this.deadLetterQueue.metricApproximateNumberOfMessagesVisible(highest),
        threshold: 1,
      }),
      ...this.queues.map((queue, rank) =>
        alarm(this, idOf("OldestMessageAlarm", rank), {
          description: `The oldest message of ${queueName}${rank === 0 ? "" : `, priority ${priorities?.[rank]?.priority} and higher,`} waits for too long: its workers fail, or there are too few of them`,
          metric: queue.metricApproximateAgeOfOldestMessage(highest),
          threshold: settings.oldestMessageAge,
          periods: 3,
        }),
      ),
    ];
    const { service } = this;
    if (service !== undefined) {
      alarms.push(
        alarm(this, "NoContainersAlarm", {
          description: `Messages of ${queueName} wait and no container of its worker runs: its image does not start, or there is no room for it; the events of the service say why`,
          metric: new cloudwatch.MathExpression({
            // What each container says of itself is counted: without one there is no number.
            expression: `IF(${this.queues.map((_, rank) => `waiting${rank}`).join(" + ")} > 0 AND FILL(containers, 0) < 1, 1, 0)`,
            label: "messages wait and nothing runs",
            period: FIVE_MINUTES,
            usingMetrics: {
              containers: service.metricCpuUtilization({ statistic: "SampleCount", period: FIVE_MINUTES }),
              ...Object.fromEntries(
                this.queues.map((queue, rank) => [
                  `waiting${rank}`,
                  queue.metricApproximateNumberOfMessagesVisible({ ...highest, period: FIVE_MINUTES }),
                ]),
              ),
            },
          }),
          threshold: 1,
          periods: 3,
        }),
      );
    }
    if (this.#function !== undefined) {
      alarms.push(
        alarm(this, "ErrorsAlarm", {
          description: `The function of ${queueName} died or timed out: tasks that fail do not make it`,
          metric: this.#function.metricErrors(sum(FIVE_MINUTES)),
          threshold: 1,
        }),
        alarm(this, "ThrottlesAlarm", {
          description: `The function of ${queueName} is throttled: the account has too little concurrency for it`,
          metric: this.#function.metricThrottles(sum(FIVE_MINUTES)),
          threshold: 1,
          periods: 3,
        }),
      );
    }
    // What share is too many the app alone knows; and emulators take no alarm on what is computed of metrics.
    if (props.failedPercent !== undefined) {
      alarms.push(
        alarm(this, "FailedAlarm", {
          description: `Of the tasks of ${queueName} that ended, too many failed`,
          metric: new cloudwatch.MathExpression({
            expression: `IF(failed + succeeded >= ${FEWEST_TASKS}, 100 * failed / (failed + succeeded), 0)`,
            label: "failed (%)",
            period: FIVE_MINUTES,
            usingMetrics: { failed: outcomes("Failed"), succeeded: outcomes("Succeeded") },
          }),
          threshold: props.failedPercent,
        }),
      );
    }
    this.alarms = alarms;
  }

  /** The function that works on it. Throws `ImproperlyConfigured` where something else does: see `worker`. */
  get function(): NodejsFunction {
    if (this.#function !== undefined) return this.#function;
    throw new ImproperlyConfigured(
      `the queue ${this.node.id.replace("Queue-", "")}`,
      `has no function: its worker is ${JSON.stringify(this.worker)}. Rights are given to the queue itself, as in table.grantReadData(taskQueues.queue(…))`,
    );
  }

  /** Sets an environment variable of whoever works on it. Does nothing where that is nobody of the stack's. */
  addEnvironment(name: string, value: string): void {
    this.#function?.addEnvironment(name, value);
    this.#containers?.addEnvironment(name, value);
  }

  /** @internal What rights on it are given on. */
  get targets(): readonly Target[] {
    return this.queues.map((queue) => ({ resource: queue, arn: queue.queueArn, name: `the queue ${queue.queueName}` }));
  }

  /** Lets someone take messages of this queue, and move what cannot be handled to its dead letters. */
  grantConsume(grantee: iam.IGrantable): void {
    grantOn(this.targets, grantee, [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ChangeMessageVisibility",
    ]);
    const dead = { resource: this.deadLetterQueue, arn: this.deadLetterQueue.queueArn, name: "its dead letters" };
    grantOn([dead], grantee, ["sqs:SendMessage", "sqs:GetQueueUrl"]);
    // What is moved to the dead letters is put there.
    grantKey(this.#key, "put", grantee);
  }

  #addFunction(
    props: TaskQueueProps,
    settings: QueueSettings,
    timeout: number,
    environment: Readonly<Record<string, string>>,
  ): NodejsFunction {
    const { entry, queue } = props;
    if (entry === undefined) {
      throw new ImproperlyConfigured(
        "entry",
        `is needed, as a function works on the queue ${queue.name}: the module that exports createWorkerHandler(app)`,
      );
    }
    return taskFunction(this, "Worker", {
      ...props,
      entry,
      maker: "createWorkerHandler",
      ...(settings.memorySize === undefined ? {} : { memorySize: settings.memorySize }),
      environment,
      timeout: Duration.seconds(timeout),
      reservedConcurrency: settings.reservedConcurrency,
    });
  }

  #map(
    id: string,
    target: NodejsFunction,
    queue: sqs.Queue,
    settings: QueueSettings,
    rank: number,
  ): lambda.EventSourceMapping {
    const { pollers } = settings;
    const of = (shares: readonly number[]) => shares[rank] as number;
    return new lambda.EventSourceMapping(this, id, {
      target,
      eventSourceArn: queue.queueArn,
      batchSize: settings.batchSize,
      ...(pollers === undefined
        ? { maxConcurrency: of(settings.maxConcurrency) }
        : { provisionedPollerConfig: { minimumPollers: of(pollers.minimum), maximumPollers: of(pollers.maximum) } }),
      reportBatchItemFailures: true,
      ...(settings.maxBatchingWindow === 0 ? {} : { maxBatchingWindow: Duration.seconds(settings.maxBatchingWindow) }),
    });
  }
}

/** Declaration and options made one, and checked. Throws `ImproperlyConfigured`. */
function settingsOf(props: TaskQueueProps) {
  const { queue, prefix } = props;
  const setting = (name: string) => `taskQueues.${queue.name}.${name}`;
  const queueName = checkQueueName("taskQueues", prefix, queue.name, true);
  const fifo = isFifo(queueName);
  const worker = queue.worker ?? "function";
  const limit = timeLimitOf(props.app, queue);
  const longest = MAX_FUNCTION_TIMEOUT_S - TIMEOUT_MARGIN_S;
  if (worker === "function" && limit.seconds > longest) {
    throw new ImproperlyConfigured(
      limit.setting,
      `must be at most ${longest} seconds on Lambda, whose functions end after ${MAX_FUNCTION_TIMEOUT_S} (${TIMEOUT_MARGIN_S} are kept for storing the outcome); given: ${limit.seconds}. Containers run tasks of up to ${MAX_TIME_LIMIT_S}: set worker: "container" in taskQueues.${queue.name}, and give its image (container) to TaskQueues`,
    );
  }
  for (const name of ["retentionPeriod", "oldestMessageAge", "maxBatchingWindow"] as const)
    checkLiteral(setting(name), props[name]);
  const retention = (props.retentionPeriod ?? RETENTION).toSeconds();
  checkRange(setting("retentionPeriod"), retention, LIMITS.retentionPeriod);
  const oldestMessageAge =
    props.oldestMessageAge?.toSeconds() ?? Math.min(OLDEST_MESSAGE_AGE_S, Math.floor(retention / 2));
  checkRange(setting("oldestMessageAge"), oldestMessageAge, {
    min: 1,
    max: retention - 1,
    unit: `seconds, as no message is older than ${retention} (retentionPeriod)`,
  });
  if (fifo && limit.seconds > retention) {
    throw new ImproperlyConfigured(
      limit.setting,
      `must be at most ${retention} seconds on ${queueName}, whose messages are kept for so long (retentionPeriod, up to 14 days): on a FIFO queue the message of a run keeps its place until that ends; given: ${limit.seconds}`,
    );
  }
  const memorySize = props.memorySize ?? queue.memorySize;
  checkRange(setting("memorySize"), memorySize, LIMITS.memorySize);
  const batch = batchOn(props.app, queue.name);
  const batchSize = props.batchSize ?? queue.batchSize ?? (fifo ? undefined : batch?.size) ?? DEFAULT_BATCH_SIZE;
  checkRange(setting("batchSize"), batchSize, fifo ? LIMITS.fifoBatchSize : LIMITS.batchSize);
  const maxBatchingWindow =
    props.maxBatchingWindow?.toSeconds() ?? queue.maxBatchingWindow ?? (fifo ? 0 : (batch?.window ?? 0));
  checkRange(setting("maxBatchingWindow"), maxBatchingWindow, LIMITS.maxBatchingWindow);
  if (fifo && maxBatchingWindow > 0) {
    throw new ImproperlyConfigured(setting("maxBatchingWindow"), `is not for FIFO queues; given: ${maxBatchingWindow}`);
  }
  if (batchSize > MAX_BATCH_WITHOUT_WINDOW && maxBatchingWindow === 0) {
    throw new ImproperlyConfigured(
      setting("batchSize"),
      `may be above ${MAX_BATCH_WITHOUT_WINDOW} only with a maxBatchingWindow of at least a second; given: ${batchSize}`,
    );
  }
  const { priorities } = queue;
  /** What a queue's bands have of a number, each by its weight and no less than AWS takes; without bands it is the queue's alone. */
  const share = (name: string, total: number, least: number): readonly number[] => {
    if (priorities === undefined) return [total];
    if (total >= least * priorities.length) return sharesOf(total, priorities, least);
    throw new ImproperlyConfigured(
      setting(name),
      `must be at least ${least * priorities.length}, as it is shared by ${priorities.length} bands (priorities) and AWS takes no less than ${least} for each; given: ${total}`,
    );
  };
  const pollers = props.provisionedPollers;
  const bound = props.maxConcurrency ?? queue.maxConcurrency;
  if (pollers !== undefined && bound !== undefined) {
    throw new ImproperlyConfigured(
      setting("provisionedPollers"),
      `and maxConcurrency, which is ${bound}, cannot both be given: leave one out; ${INVOCATIONS_OF_POLLER} invocations run at a time for each poller`,
    );
  }
  checkRange(setting("provisionedPollers.minimum"), pollers?.minimum, LIMITS.minimumPollers);
  checkRange(setting("provisionedPollers.maximum"), pollers?.maximum, LIMITS.maximumPollers);
  if (pollers !== undefined && pollers.maximum < pollers.minimum) {
    throw new ImproperlyConfigured(
      setting("provisionedPollers.maximum"),
      `must not be below the minimum, which is ${pollers.minimum}; given: ${pollers.maximum}`,
    );
  }
  if (props.highThroughput === true && !fifo) {
    throw new ImproperlyConfigured(setting("highThroughput"), "is for FIFO queues; a standard queue has no such limit");
  }
  const least = LIMITS.maxConcurrency.min * (priorities?.length ?? 1);
  const maxConcurrency = bound ?? Math.max(DEFAULT_MAX_CONCURRENCY, least);
  checkRange(setting("maxConcurrency"), maxConcurrency, LIMITS.maxConcurrency);
  const most = pollers === undefined ? maxConcurrency : pollers.maximum * INVOCATIONS_OF_POLLER;
  const reservedConcurrency = props.reservedConcurrency ?? queue.reservedConcurrency;
  checkRange(setting("reservedConcurrency"), reservedConcurrency, LIMITS.reservedConcurrency);
  if (reservedConcurrency !== undefined && reservedConcurrency < most) {
    throw new ImproperlyConfigured(
      setting("reservedConcurrency"),
      pollers === undefined
        ? `must not be below maxConcurrency, which is ${most}: what is fetched beyond it would be throttled; given: ${reservedConcurrency}`
        : `must not be below what ${pollers.maximum} pollers run at a time, which is ${most}: what is fetched beyond it would be throttled; given: ${reservedConcurrency}`,
    );
  }
  checkRange(setting("failedPercent"), props.failedPercent, LIMITS.failedPercent);
  if (props.failedPercent !== undefined && props.app.config.metrics === false) {
    throw new ImproperlyConfigured(
      setting("failedPercent"),
      `needs the metrics of the queue, which the app has turned off: set metrics: "queue", or leave failedPercent out`,
    );
  }
  return {
    queueName,
    worker,
    /** Of the function, in seconds, where there is one. */
    timeout: worker === "function" ? Math.ceil(limit.seconds) + TIMEOUT_MARGIN_S : undefined,
    memorySize,
    batchSize,
    maxBatchingWindow,
    /** Of each band, or of the queue. */
    maxConcurrency: share("maxConcurrency", maxConcurrency, LIMITS.maxConcurrency.min),
    /** Likewise. */
    pollers: pollers && {
      minimum: share("provisionedPollers.minimum", pollers.minimum, LIMITS.minimumPollers.min),
      maximum: share("provisionedPollers.maximum", pollers.maximum, LIMITS.maximumPollers.min),
    },
    reservedConcurrency,
    oldestMessageAge,
  };
}

type QueueSettings = ReturnType<typeof settingsOf>;

/** Whole shares that add up to the total: each has the least, and one more goes to whom the most is missing. */
function sharesOf(total: number, bands: Bands, least: number): readonly number[] {
  const weights = bands.reduce((sum, { weight }) => sum + weight, 0);
  const wanted = bands.map(({ weight }) => (total * weight) / weights);
  const shares = bands.map(() => least);
  for (let left = total - least * bands.length; left > 0; left--) {
    const missing = wanted.map((share, rank) => share - (shares[rank] as number));
    const rank = missing.lastIndexOf(Math.max(...missing));
    shares[rank] = (shares[rank] as number) + 1;
  }
  return shares;
}

/** What the tasks of a queue that gather calls want of it: a batch as large as the largest, and a window as long as the longest. */
function batchOn({ engine, config }: Lovage, queue: string) {
  const batches = engine.allDeclared().flatMap((task) => {
    const { queue: own = config.taskDefaultQueue } = engine.optionsOf(task);
    return own === queue ? (batchOf(task) ?? []) : [];
  });
  if (batches.length === 0) return undefined;
  const window = Math.max(1, ...batches.map(({ wait }) => Math.ceil(wait)));
  return { size: Math.max(...batches.map(({ size }) => size)), window };
}

/** What only a function has, by the names of the declaration and of the deployment's options. */
const FUNCTIONS_OWN = [
  "memorySize",
  "batchSize",
  "maxBatchingWindow",
  "maxConcurrency",
  "reservedConcurrency",
  "provisionedPollers",
  "logLevel",
  "ephemeralStorageSize",
  "layers",
  "tracing",
  "entry",
  "bundling",
  "depsLockFilePath",
  "projectRoot",
] as const satisfies readonly (keyof TaskQueueOptions)[];

/** What functions and containers have, and nobody else: metrics too are written by workers of the deployment. */
const WORKERS_OWN = [
  "environment",
  "architecture",
  "vpc",
  "vpcSubnets",
  "securityGroups",
  "failedPercent",
] as const satisfies readonly (keyof TaskQueueOptions)[];

/**
 * Nothing that is said of a queue is left aside in silence. What is said of all queues is for those that have it.
 *
 * @param cluster Of its containers, where it has any.
 */
export function refuseOthersOwn(queue: QueueConfig, options: TaskQueueOptions, cluster?: ecs.ICluster): void {
  const { worker = "function" } = queue;
  const declared: Readonly<Record<string, unknown>> = { ...queue };
  const refuse = (names: readonly (keyof TaskQueueOptions)[], whose: string, instead: string) => {
    for (const name of names)
      if ((options[name] ?? declared[name]) !== undefined)
        throw new ImproperlyConfigured(
          `${options[name] === undefined ? "taskQueues" : "queues"}.${queue.name}.${name}`,
          `is only for ${whose}, and the worker of this queue is ${JSON.stringify(worker)}: ${instead}`,
        );
  };
  if (worker !== "container") refuse(["container"], "containers", 'leave it out, or declare worker: "container"');
  if (worker === "container")
    refuse(
      FUNCTIONS_OWN,
      "a function",
      "leave it out; the size and the number of containers are given in container (cpu, memoryLimitMiB, maxTasks …)",
    );
  if (worker === "container" && options.vpc !== undefined && (cluster?.vpc ?? options.vpc) !== options.vpc)
    throw new ImproperlyConfigured(
      `queues.${queue.name}.vpc`,
      "is not that of container.cluster, whose VPC is taken: leave one of them out",
    );
  if (worker === "none") {
    refuse(FUNCTIONS_OWN, "a function", "leave it out");
    refuse(WORKERS_OWN, "a function or containers", "leave it out");
  }
}

function containerOf({ container, queue }: TaskQueueProps): ContainerOptions {
  if (container !== undefined) return container;
  throw new ImproperlyConfigured(
    `queues.${queue.name}.container`,
    'is needed, because its worker is "container": give { image: ecs.ContainerImage.fromAsset(…) } there, or as container of TaskQueues for all such queues',
  );
}

/** The longest time that a task of the queue may run, and where it is said. */
function timeLimitOf(app: Lovage, queue: QueueConfig): { readonly seconds: number; readonly setting: string } {
  const limits = [
    queue.timeLimit === undefined
      ? { seconds: app.config.taskTimeLimit ?? DEFAULT_TIME_LIMIT_S, setting: "taskTimeLimit" }
      : { seconds: queue.timeLimit, setting: `taskQueues.${queue.name}.timeLimit` },
  ];
  for (const task of app.engine.allDeclared()) {
    const { timeLimit } = app.engine.optionsOf(task);
    if (timeLimit !== undefined && routed(app.engine, task.name, [], {}, {}).queue === queue.name) {
      limits.push({ seconds: timeLimit, setting: `timeLimit of ${task.name}` });
    }
  }
  return limits.reduce((longest, limit) => (limit.seconds > longest.seconds ? limit : longest));
}
