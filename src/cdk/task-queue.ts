/** One queue of an app: the SQS queue, its dead letters, and the function that serves it. */
import { Duration, RemovalPolicy } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import type { NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";
import type { RetentionDays } from "aws-cdk-lib/aws-logs";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { deadLetterQueue, isFifo, MAX_RECEIVES } from "../brokers/broker.ts";
import { checkQueueName } from "../brokers/queue-name.ts";
import type { QueueConfig } from "../config/config.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { MAX_FUNCTION_TIMEOUT_S, TIMEOUT_MARGIN_S, VISIBILITY_MARGIN_S } from "../lambda/deadline.ts";
import { checkEnvironment } from "../config/values.ts";
import { type Metric, NAMESPACE } from "../lambda/metrics.ts";
import { alarm, sum } from "./alarms.ts";
import { grantKey, queueEncryption } from "./grants.ts";
import { checkRange, INVOCATIONS_OF_POLLER, LIMITS, MAX_BATCH_WITHOUT_WINDOW } from "./limits.ts";
import { type FunctionOptions, taskFunction, type TaskBundling } from "./task-function.ts";

/** What the deployment of a queue may be told beyond its declaration in `taskQueues`; what both name, this decides. */
export interface TaskQueueOptions extends FunctionOptions {
  /** Messages that one invocation gets at most: 1 to 10,000, on a FIFO queue to 10; above 10 with a batching window. @default - `batchSize` of the queue, or 10 */
  readonly batchSize?: number;
  /** How long to wait until a batch is full, 0 to 300 seconds; not on a FIFO queue. @default - `maxBatchingWindow` of the queue, or no wait */
  readonly maxBatchingWindow?: Duration;
  /** Invocations at a time at most, 2 to 1,000. @default - `maxConcurrency` of the queue, or 5: a new AWS account has 10 in all */
  readonly maxConcurrency?: number;
  /**
   * Event pollers that are kept for the queue (Lambda's provisioned mode), instead of `maxConcurrency`: they cost by the
   * hour, add 1,000 invocations a minute where the others add 300, and each runs ten at a time. At least 2, the minimum
   * up to 200, the maximum up to 2,000. @default - none: Lambda polls as much as it sees fit, up to `maxConcurrency`
   */
  readonly provisionedPollers?: { readonly minimum: number; readonly maximum: number };
  /**
   * A FIFO queue's limits count for each message group instead of for the whole queue (SQS's high throughput mode), and a
   * deduplication id within its group alone. @default false
   */
  readonly highThroughput?: boolean;
  /** Concurrency of the account that is kept for this function, not below what `maxConcurrency` or the pollers may use. @default - `reservedConcurrency` of the queue, or none */
  readonly reservedConcurrency?: number;
  /** How long SQS keeps a message that nobody handles, a minute to 14 days; dead letters are kept for 14 days always. @default Duration.days(7) */
  readonly retentionPeriod?: Duration;
  /** Queues that its tasks may send to beside their own, by their names in the app; `"all"`: every one. @default - `sendsTo` of `TaskQueues` */
  readonly sendsTo?: readonly string[] | "all";
  /** @default - a key of SQS's own */
  readonly encryptionKey?: kms.IKey;
  /** From this age of its oldest message on a queue raises its alarm. @default Duration.minutes(15) */
  readonly oldestMessageAge?: Duration;
  /** From this share of failures on, in percent of the tasks that ended within five minutes, ten at least, a queue raises its alarm: 1 to 100. @default - no such alarm */
  readonly failedPercent?: number;
  /** The module of this queue's worker, so that a bundle has the code of its own tasks alone. @default - `entry` of `TaskQueues` */
  readonly entry?: string;
  /** Bundling of this queue's function. @default - `bundling` of `TaskQueues` */
  readonly bundling?: TaskBundling;
}

export interface TaskQueueProps extends TaskQueueOptions {
  readonly app: Lovage;
  readonly queue: QueueConfig;
  readonly prefix: string;
  readonly entry: string;
  readonly logRetention: RetentionDays;
  readonly removalPolicy: RemovalPolicy;
  readonly enforceSSL: boolean;
  readonly bundling?: TaskBundling | undefined;
  /** Whether the deployment has EventBridge Scheduler: its client is bundled then. */
  readonly longDelays?: boolean;
}

/** Seconds that a task may run where nothing says more. */
const DEFAULT_TIME_LIMIT_S = 60;
const DEFAULT_BATCH_SIZE = 10;
/** An account may have no more than ten invocations at a time in all, as new ones have: a queue takes half of that. */
const DEFAULT_MAX_CONCURRENCY = 5;
const RETENTION = Duration.days(7);
/** A message that is moved keeps its age. */
const DEAD_LETTER_RETENTION = Duration.days(14);
const OLDEST_MESSAGE_AGE = Duration.minutes(15);
const FIVE_MINUTES = Duration.minutes(5);
/** Of fewer tasks that ended, one failure would be a large share. */
const FEWEST_TASKS = 10;

/** A queue, as a grantee: `table.grantReadData(taskQueues.queue("media"))` gives its tasks a table of yours. */
export class TaskQueue extends Construct implements iam.IGrantable {
  readonly queue: sqs.Queue;
  readonly deadLetterQueue: sqs.Queue;
  readonly function: NodejsFunction;
  readonly grantPrincipal: iam.IPrincipal;
  /** On dead letters, the age of the oldest message, errors and throttles of the function, and with `failedPercent` the share of tasks that fail. */
  readonly alarms: readonly cloudwatch.Alarm[];

  constructor(scope: Construct, id: string, props: TaskQueueProps) {
    super(scope, id);
    const settings = settingsOf(props);
    const environment = { ...props.queue.environment, ...props.environment };
    checkEnvironment(environment, `taskQueues.${props.queue.name}.environment`);
    const { queueName, timeout, pollers } = settings;
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
    this.queue = new sqs.Queue(this, "Queue", {
      ...common,
      ...(props.highThroughput === true
        ? {
            deduplicationScope: sqs.DeduplicationScope.MESSAGE_GROUP,
            fifoThroughputLimit: sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
          }
        : {}),
      queueName,
      visibilityTimeout: Duration.seconds(settings.maxBatchingWindow + timeout + VISIBILITY_MARGIN_S),
      retentionPeriod: props.retentionPeriod ?? RETENTION,
      deadLetterQueue: { queue: this.deadLetterQueue, maxReceiveCount: MAX_RECEIVES },
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.function = taskFunction(this, "Worker", {
      ...props,
      ...(settings.memorySize === undefined ? {} : { memorySize: settings.memorySize }),
      environment,
      timeout: Duration.seconds(timeout),
      reservedConcurrency: settings.reservedConcurrency,
    });
    this.grantPrincipal = this.function.grantPrincipal;
    this.function.addToRolePolicy(
      new iam.PolicyStatement({
        actions: ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
        resources: [this.queue.queueArn],
      }),
    );
    this.function.addToRolePolicy(
      new iam.PolicyStatement({
        actions: ["sqs:SendMessage", "sqs:GetQueueUrl"],
        resources: [this.deadLetterQueue.queueArn],
      }),
    );
    if (props.encryptionKey !== undefined) grantKey(props.encryptionKey, this.function);
    new lambda.EventSourceMapping(this, "Messages", {
      target: this.function,
      eventSourceArn: this.queue.queueArn,
      batchSize: settings.batchSize,
      ...(pollers === undefined
        ? { maxConcurrency: settings.maxConcurrency }
        : { provisionedPollerConfig: { minimumPollers: pollers.minimum, maximumPollers: pollers.maximum } }),
      reportBatchItemFailures: true,
      ...(settings.maxBatchingWindow === 0 ? {} : { maxBatchingWindow: Duration.seconds(settings.maxBatchingWindow) }),
    });
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
      alarm(this, "OldestMessageAlarm", {
        description: `The oldest message of ${queueName} waits for too long: its workers fail, or there are too few of them`,
        metric: this.queue.metricApproximateAgeOfOldestMessage(highest),
        threshold: (props.oldestMessageAge ?? OLDEST_MESSAGE_AGE).toSeconds(),
        periods: 3,
      }),
      alarm(this, "ErrorsAlarm", {
        description: `The function of ${queueName} died or timed out: tasks that fail do not make it`,
        metric: this.function.metricErrors(sum(FIVE_MINUTES)),
        threshold: 1,
      }),
      alarm(this, "ThrottlesAlarm", {
        description: `The function of ${queueName} is throttled: the account has too little concurrency for it`,
        metric: this.function.metricThrottles(sum(FIVE_MINUTES)),
        threshold: 1,
        periods: 3,
      }),
    ];
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
}

/** Declaration and options made one, and checked. Throws `ImproperlyConfigured`. */
function settingsOf(props: TaskQueueProps) {
  const { queue, prefix } = props;
  const setting = (name: string) => `taskQueues.${queue.name}.${name}`;
  const queueName = checkQueueName("taskQueues", prefix, queue.name, true);
  const fifo = isFifo(queueName);
  const limit = timeLimitOf(props.app, queue);
  const longest = MAX_FUNCTION_TIMEOUT_S - TIMEOUT_MARGIN_S;
  if (limit.seconds > longest) {
    throw new ImproperlyConfigured(
      limit.setting,
      `must be at most ${longest} seconds on Lambda, whose functions end after ${MAX_FUNCTION_TIMEOUT_S} (${TIMEOUT_MARGIN_S} are kept for storing the outcome); given: ${limit.seconds}. Longer tasks run under \`lovage worker\`, on Fargate for example`,
    );
  }
  const memorySize = props.memorySize ?? queue.memorySize;
  checkRange(setting("memorySize"), memorySize, LIMITS.memorySize);
  const batchSize = props.batchSize ?? queue.batchSize ?? DEFAULT_BATCH_SIZE;
  checkRange(setting("batchSize"), batchSize, fifo ? LIMITS.fifoBatchSize : LIMITS.batchSize);
  const maxBatchingWindow = props.maxBatchingWindow?.toSeconds() ?? queue.maxBatchingWindow ?? 0;
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
  const pollers = props.provisionedPollers;
  const bound = props.maxConcurrency ?? queue.maxConcurrency;
  if (pollers !== undefined && bound !== undefined) {
    throw new ImproperlyConfigured(
      setting("provisionedPollers"),
      `is instead of maxConcurrency, which is ${bound}: take one away; ${INVOCATIONS_OF_POLLER} invocations run at a time for each poller`,
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
  const maxConcurrency = bound ?? DEFAULT_MAX_CONCURRENCY;
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
  checkRange(setting("retentionPeriod"), props.retentionPeriod?.toSeconds(), LIMITS.retentionPeriod);
  return {
    queueName,
    timeout: Math.ceil(limit.seconds) + TIMEOUT_MARGIN_S,
    memorySize,
    batchSize,
    maxBatchingWindow,
    maxConcurrency,
    pollers,
    reservedConcurrency,
  };
}

/** The longest time that a task of the queue may run, and where it is said. */
function timeLimitOf(app: Lovage, queue: QueueConfig): { readonly seconds: number; readonly setting: string } {
  const limits = [
    queue.timeLimit === undefined
      ? { seconds: app.config.taskTimeLimit ?? DEFAULT_TIME_LIMIT_S, setting: "taskTimeLimit" }
      : { seconds: queue.timeLimit, setting: `taskQueues.${queue.name}.timeLimit` },
  ];
  for (const task of app.tasks.values()) {
    const { timeLimit } = app.engine.optionsOf(task);
    if (
      timeLimit !== undefined &&
      app.engine.router(task.name, [], {}, app.engine.optionsOf(task), task).queue === queue.name
    ) {
      limits.push({ seconds: timeLimit, setting: `timeLimit of ${task.name}` });
    }
  }
  return limits.reduce((longest, limit) => (limit.seconds > longest.seconds ? limit : longest));
}
