/**
 * The configuration of an app: what users write ({@link ConfigInput}) and what the rest of Lovage reads
 * ({@link Config}). Every setting is one row of the table in `live.ts`; a name that is not in it is an error, and
 * so is a setting of Celery's that would change nothing here.
 */
import type { RequestHandler } from "../request-handler.ts";
import type { BeatEntry, Duration } from "../beat/schedule.ts";
import type { PublishRetryPolicy } from "../brokers/outbox.ts";
import { type Bands, bandQueues, checkQueueName } from "../brokers/queue-name.ts";
import type { RouterFunction, RouteValue, TaskRouter } from "../brokers/routes.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { isBackendScheme } from "../open.ts";
import { camelCase, type Given, show } from "../parse.ts";
import type { SerializerName } from "../protocol/serializers.ts";
import type { AcceptedInput } from "./refused.ts";
import { LIVE } from "./live.ts";
import { IS_BUNDLE, isFixed, refuse, SETTING_NAMES, snakeCase } from "./names.ts";
import { ENVIRONMENT, brokerTransportOptions as parseBrokerOptions, parseUrl } from "./values.ts";
import type { AnnotationOptions } from "../tasks/options.ts";

/** Is there in a function's bundle alone. */
declare const LOVAGE_BUNDLE: "aws";

/** How bodies or results are compressed. `gzip` is Celery's, which holds a zlib stream. */
export type Compression = "gzip" | "brotli" | "zstd";

/** A queue of `taskQueues`: how messages get there, and what the AWS construct makes of it. */
export interface QueueInput {
  /** The direct exchange that the queue is bound to. Default: `taskDefaultExchange`. */
  readonly exchange?: string | undefined;
  /** The routing key that the queue is bound by. Default: the queue's name. */
  readonly routingKey?: string | undefined;
  /** Seconds that a task of this queue may run, over 0 to 1,209,600 (14 days); on AWS the function's timeout follows from it. Default: `taskTimeLimit`, or if there is none, on Lambda 60. */
  readonly timeLimit?: number | undefined;
  /**
   * What runs the queue's tasks, once it is deployed: a Lambda `function`, a `container` on Fargate (for tasks of more than 15
   * minutes, programs such as ffmpeg, or steady load), or `none`: nothing in the stack, but workers of yours elsewhere. What
   * the other options say of invocations, memory and batches is for a function. Default: `function`.
   */
  readonly worker?: QueueWorker | undefined;
  /** Memory of the function in MB, 128 to 10,240. Default 512. */
  readonly memorySize?: number | undefined;
  /** Messages that one invocation gets at most, 1 to 10,000; 1 to 10 on a FIFO queue. Default 10, or the `size` of the queue's batch tasks. */
  readonly batchSize?: number | undefined;
  /** Seconds to wait until a batch is full, 0 to 300; not on a FIFO queue. Default 0, or what the `wait` of the queue's batch tasks is in whole seconds. */
  readonly maxBatchingWindow?: number | undefined;
  /** Invocations that run at a time at most, 2 to 1,000. Default 5. */
  readonly maxConcurrency?: number | undefined;
  /** Concurrency of the account that is kept for the function. Default: none. */
  readonly reservedConcurrency?: number | undefined;
  /** Environment variables of the function. Default: none of your own. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /**
   * Makes SQS use priorities, which are 0 to 255; a higher number goes first. `[0, 5, 9]` makes three SQS queues of the queue, its
   * bands: for priorities below 5, from 5 on, and from 9 on. Each band gets twice as much of `maxConcurrency` as the next lower
   * one. An object gives other weights, whole numbers from 1 to 1,000: `{ 0: 1, 5: 2, 9: 7 }`. Two to ten bands; not on a FIFO
   * queue. SQLite and memory use each priority by itself, with bands and without. Default: none; then SQS only carries a priority.
   */
  readonly priorities?: readonly number[] | Readonly<Record<number, number>> | undefined;
}

/** Which metrics functions write: those of each queue, those of each task in it too, or none. */
export type MetricsChoice = "queue" | "task" | false;

/** Where a worker runs tasks. */
export type WorkerPool = "async" | "processes" | "threads" | "solo";

/** Where a queue is worked on. */
export type QueueWorker = "function" | "container" | "none";

/** A declared queue, with its binding filled in. */
export interface QueueConfig extends Omit<QueueInput, "exchange" | "routingKey" | "priorities"> {
  /** The queue's name in the app. */
  readonly name: string;
  /** The lowest first. */
  readonly priorities?: Bands;
  /** `""`: the anonymous exchange, which reaches a queue by its name. */
  readonly exchange: string;
  /** The key that binds it to its exchange. */
  readonly routingKey: string;
}

/** One router, or a list of routers, of which the first that gives a route decides. Put pairs into a list of their own inside the outer one: `[[["media.*", "media"]]]`. */
export type TaskRoutes = Readonly<Record<string, RouteValue>> | RouterFunction | readonly TaskRouter[];

/** Options of tasks, by task name, or `"*"` for all of them; the name's own come before those of `"*"`. They replace what the task's declaration says. */
export type TaskAnnotations = Readonly<Record<string, AnnotationOptions>>;

/** A queue on SQS whose URL is known. */
export type PredefinedQueue = {
  /** `https://sqs.eu-west-1.amazonaws.com/123456789012/prod-media`. */
  readonly url: string;
};

/** Settings of the broker beyond its URL. */
export type BrokerTransportOptions = {
  /** Seconds that a message stays hidden from others each time the poller takes or extends it. */
  readonly visibilityTimeout: number;
  /** Seconds of the longest single delay, where the broker allows it; a longer one is made of several. */
  readonly maxDelay: number;
  /** AWS region; `undefined`: as the AWS SDK finds it. */
  readonly region: string | undefined;
  /** Put before the name of every queue. */
  readonly queueNamePrefix: string;
  /** Seconds that one request waits for a message. */
  readonly waitTimeSeconds: number;
  /** URLs of queues by their names on SQS, prefix included. Those that are named are not looked up. */
  readonly predefinedQueues: Readonly<Record<string, PredefinedQueue>>;
  /**
   * The role by which EventBridge Scheduler sends what was delayed to a queue, `{queue}` standing for the queue's name on
   * SQS; `undefined`: long delays are made of several.
   */
  readonly schedulerRoleArn: string | undefined;
  /** The group of Scheduler's entries. */
  readonly schedulerGroup: string;
  /** The key of KMS that Scheduler's entries are encrypted with; `undefined`: one of AWS's own. */
  readonly schedulerKeyArn: string | undefined;
  /** Seconds of the shortest delay that Scheduler keeps. */
  readonly schedulerMinDelay: number;
  /** What carries requests to SQS, EventBridge, Scheduler and S3; `undefined`: the clients' own. */
  readonly requestHandler: RequestHandler | undefined;
};

/** Settings of the result backend beyond its URL. */
export type ResultBackendTransportOptions = {
  /** Put before the key of every row; resolved, it ends in `:`, `_`, `-` or `.`, as Celery adds a `_` where it does not. */
  readonly globalKeyprefix: string;
  /** What carries requests to DynamoDB; `undefined`: the client's own. */
  readonly requestHandler: RequestHandler | undefined;
};

/**
 * The settings of an app, all optional. Names and meanings are Celery's, in camelCase; a setting of Celery's that is
 * not here is refused with the reason. `undefined` and `null` count as not given.
 */
export interface ConfigInput extends AcceptedInput {
  /** `sqlite://` (default, in `.lovage/` of the project's folder), `sqlite:///path`, `memory://`, or `sqs://[region]?queue_name_prefix=…`. `LOVAGE_BROKER_URL` overrides it. */
  readonly brokerUrl?: string | undefined;
  /** `true`: an app without a broker's URL throws at its first use, instead of using the embedded file. Default `false`. */
  readonly brokerUrlRequired?: boolean | undefined;
  /** `sqlite://`, `sqlite:///path`, `memory://`, or `dynamodb://[region]/table`. Default: the broker's URL, if that is SQLite or memory; required with SQS. `LOVAGE_RESULT_BACKEND` overrides it. */
  readonly resultBackend?: string | undefined;
  /**
   * Where a message or a result goes that is too large for its place, compressed too: `s3://bucket/prefix`, `file:///folder`,
   * `memory://name`; `""`: nowhere, so that it is refused. Default: a folder beside the file of a SQLite broker, else
   * nowhere. `LOVAGE_PAYLOAD_STORE` overrides it.
   */
  readonly payloadStore?: string | undefined;
  /** Options of the broker: see `BrokerTransportOptions`. */
  readonly brokerTransportOptions?: Given<BrokerTransportOptions> | undefined;
  /** Options of the result backend: see `ResultBackendTransportOptions`. */
  readonly resultBackendTransportOptions?: Given<ResultBackendTransportOptions> | undefined;
  /** IANA name of the time zone of schedules. Default `"UTC"`. */
  readonly timezone?: string | undefined;
  /** Serializers, by name or MIME type, that a worker takes. Default: JSON and `taskSerializer`. Pickle is never taken: it runs code. */
  readonly acceptContent?: readonly string[] | undefined;
  /** Serializers, by name or MIME type, whose results are read; `resultSerializer` must be among them. Default: `acceptContent` and `resultSerializer`. */
  readonly resultAcceptContent?: readonly string[] | undefined;
  /** What writes messages: `json`, `msgpack` or `yaml`. Default `"json"`. */
  readonly taskSerializer?: string | undefined;
  /** What writes results: `json`, `msgpack` or `yaml`. Default `"json"`. */
  readonly resultSerializer?: string | undefined;
  /** How messages are compressed: `gzip` (or `zlib`), `brotli`, or `zstd`. Default: none. */
  readonly taskCompression?: string | undefined;
  /** How results are compressed: `gzip` (or `zlib`), `brotli`, or `zstd`, which Celery reads from 5.7 on. Default: none. */
  readonly resultCompression?: string | undefined;
  /** How long results can be read, in seconds or parts (`{ days: 1 }`); 0: for ever. Default: a day. */
  readonly resultExpires?: number | Duration | undefined;
  /** Whether a journal of what has happened is kept, which `app.journal` reads. Default `true`. */
  readonly journal?: boolean | undefined;
  /** How long an entry of the journal is kept, in seconds or parts (`{ days: 7 }`): a minute to 366 days. Default: 7 days. */
  readonly journalExpires?: number | Duration | undefined;
  /** Whether the message of a task that failed is kept with its result, so that `app.control.retry` can run it again. Default true. */
  readonly keepFailed?: boolean | undefined;
  /** Which metrics for CloudWatch functions on Lambda write, and workers with `--cloudwatch-metrics`: those of each queue (`"queue"`), those of each task too (`"task"`), or none (`false`). Default `"queue"`. */
  readonly metrics?: MetricsChoice | undefined;
  /** Whether name, arguments, worker, queue and retries are stored with a result. Default `false`. */
  readonly resultExtended?: boolean | undefined;
  /** Queue of tasks that no route and no option sends elsewhere. Default `"celery"`. */
  readonly taskDefaultQueue?: string | undefined;
  /** Exchange of queues that name none. Default `""`, the anonymous one. */
  readonly taskDefaultExchange?: string | undefined;
  /** Routing key that binds the default queue where its declaration names none. Default: the queue's name. */
  readonly taskDefaultRoutingKey?: string | undefined;
  /** 0 to 255, the higher the sooner. SQLite and memory use it, and SQS if the queue has `priorities`; otherwise the message only carries it. Default: none. */
  readonly taskDefaultPriority?: number | undefined;
  /** The queues that workers serve and the AWS construct makes. Default: the default queue alone. */
  readonly taskQueues?:
    | Readonly<Record<string, QueueInput>>
    | readonly (string | (QueueInput & { readonly name: string }))[]
    | undefined;
  /** Where tasks go: `{ pattern: route }`, a function, or a list of both. Default: every task goes to `taskDefaultQueue`. */
  readonly taskRoutes?: TaskRoutes | undefined;
  /** `false`: a call for a queue that `taskQueues` does not name throws `QueueNotFound`. Default `true`. */
  readonly taskCreateMissingQueues?: boolean | undefined;
  /** Default of the task option `ignoreResult`. Default `false`. */
  readonly taskIgnoreResult?: boolean | undefined;
  /** Stores failures also where results are ignored. Default `false`. */
  readonly taskStoreErrorsEvenIfIgnored?: boolean | undefined;
  /** Shows STARTED while a task runs. Default `true`, as the worker writes the row at that point anyway. */
  readonly taskTrackStarted?: boolean | undefined;
  /** Seconds after which a run ends as FAILURE `TimeLimitExceeded`. Default: none; on AWS, the function's deadline. */
  readonly taskTimeLimit?: number | undefined;
  /** Seconds after which a task's `signal` aborts. Below `taskTimeLimit`. Default: none. */
  readonly taskSoftTimeLimit?: number | undefined;
  /** Whether a call runs the task at once, in the caller's process. For tests. Default `false`. */
  readonly taskAlwaysEager?: boolean | undefined;
  /** Whether a call throws if a task that runs in the caller's process fails. Default `false`: it gives a failed result. */
  readonly taskEagerPropagates?: boolean | undefined;
  /** Whether the result of a task that runs in the caller's process is stored. Default `false`. */
  readonly taskStoreEagerResult?: boolean | undefined;
  /** A call without a priority takes that of the task that makes it. Default `false`. */
  readonly taskInheritParentPriority?: boolean | undefined;
  /** Whether `linkError` of a chord is given to the tasks of its header too. Default `false`. */
  readonly taskAllowErrorCbOnChordHeader?: boolean | undefined;
  /** Whether a send that fails with a passing error is tried again. Default `true`. */
  readonly taskPublishRetry?: boolean | undefined;
  /** How such a send is tried again. Default: 3 retries, at once, after 0.2 s and after 0.4 s. */
  readonly taskPublishRetryPolicy?: Given<PublishRetryPolicy> | undefined;
  /** Task options by the task's name, or by `"*"` for all tasks. They replace what the declaration says. Default: none. */
  readonly taskAnnotations?: TaskAnnotations | readonly TaskAnnotations[] | undefined;
  /** How many times a task's worker may die until the task is given up as FAILURE `WorkerLostError`, 1 to 100. Default 3. */
  readonly maxDeliveries?: number | undefined;
  /** What beat sends, by a name of its own. Default: nothing. */
  readonly beatSchedule?: Readonly<Record<string, BeatEntry>> | undefined;
  /** ARN of the beat function, for entries put at run time on AWS. `LOVAGE_BEAT_FUNCTION` overrides it. */
  readonly beatFunction?: string | undefined;
  /**
   * Where `lovage worker` runs tasks: `"async"`, in one event loop; `"processes"` (also Celery's `"prefork"`) or `"threads"`, each in one
   * of its own; `"solo"`, one at a time. `"gevent"` and `"eventlet"` are `"async"`. Default `"async"`.
   */
  readonly workerPool?: WorkerPool | "prefork" | "gevent" | "eventlet" | undefined;
  /** Tasks that a worker runs at a time: in one process, or in so many processes or threads. Default, also `"auto"`: the number of CPUs; for an invocation on Lambda 10. */
  readonly workerConcurrency?: number | "auto" | undefined;
  /** How many messages a worker may hold, as a multiple of its concurrency; 1 to 1,000. Default 4. */
  readonly workerPrefetchMultiplier?: number | undefined;
  /**
   * Modules that the command loads with the app's, as that would `import` them. The entry of a function, and a program that calls
   * `startWorker`, import them themselves. Default: none.
   */
  readonly imports?: readonly string[] | string | undefined;
  /** Further modules, as `imports` names them: those of both are loaded. Default: none. */
  readonly include?: readonly string[] | string | undefined;
  /** Number of tasks after which a worker's process is replaced by a new one, from 1. Default: no limit. */
  readonly workerMaxTasksPerChild?: number | undefined;
  /** KiB of memory, from 1. A process that runs tasks and has more of it is replaced by a new one, once no task runs in it. Default: no limit. */
  readonly workerMaxMemoryPerChild?: number | undefined;
  /** Seconds that running tasks have to end when their worker is told to stop, 0 to 86,400. Then their `signal`s abort, and tasks that do not end are handed back. 0: without end. Default 20. */
  readonly workerSoftShutdownTimeout?: number | undefined;
}

/** The settings in force: everything checked, everything filled in. Made by {@link resolveConfig}. */
export interface Config {
  readonly brokerUrl: string;
  readonly brokerUrlRequired: boolean;
  readonly resultBackend: string;
  /** `undefined`: beside the file of a SQLite broker. `""`: nowhere. */
  readonly payloadStore: string | undefined;
  readonly brokerTransportOptions: BrokerTransportOptions;
  readonly resultBackendTransportOptions: ResultBackendTransportOptions;
  readonly timezone: string;
  readonly acceptContent: readonly SerializerName[];
  readonly resultAcceptContent: readonly SerializerName[];
  readonly taskSerializer: SerializerName;
  readonly resultSerializer: SerializerName;
  readonly taskCompression: Compression | undefined;
  readonly resultCompression: Compression | undefined;
  /** Seconds; `Infinity`: for ever. */
  readonly resultExpires: number;
  readonly journal: boolean;
  /** Seconds. */
  readonly journalExpires: number;
  readonly keepFailed: boolean;
  readonly metrics: MetricsChoice;
  readonly resultExtended: boolean;
  readonly taskDefaultQueue: string;
  readonly taskDefaultExchange: string;
  readonly taskDefaultRoutingKey: string;
  readonly taskDefaultPriority: number | undefined;
  /** By name, in the order given. Never empty. */
  readonly taskQueues: Readonly<Record<string, QueueConfig>>;
  readonly taskRoutes: readonly TaskRouter[];
  readonly taskCreateMissingQueues: boolean;
  readonly taskIgnoreResult: boolean;
  readonly taskStoreErrorsEvenIfIgnored: boolean;
  readonly taskTrackStarted: boolean;
  /** Seconds. */
  readonly taskTimeLimit: number | undefined;
  /** Seconds. */
  readonly taskSoftTimeLimit: number | undefined;
  readonly taskAlwaysEager: boolean;
  readonly taskEagerPropagates: boolean;
  readonly taskStoreEagerResult: boolean;
  readonly taskInheritParentPriority: boolean;
  readonly taskAllowErrorCbOnChordHeader: boolean;
  readonly taskPublishRetry: boolean;
  readonly taskPublishRetryPolicy: PublishRetryPolicy;
  readonly taskAnnotations: TaskAnnotations;
  readonly maxDeliveries: number;
  readonly beatSchedule: Readonly<Record<string, BeatEntry>>;
  readonly beatFunction: string | undefined;
  readonly workerPool: WorkerPool;
  /** `undefined`: the number of CPUs, which the worker asks for; for an invocation on Lambda 10. */
  readonly workerConcurrency: number | undefined;
  readonly workerPrefetchMultiplier: number;
  readonly imports: readonly string[];
  readonly include: readonly string[];
  readonly workerMaxTasksPerChild: number | undefined;
  /** KiB. */
  readonly workerMaxMemoryPerChild: number | undefined;
  /** Seconds that a worker which is told to stop gives to what runs, before `signal`s abort. 0: without end. Default 20. */
  readonly workerSoftShutdownTimeout: number;
}

/** A queue as it was written, its bands read. */
export type ParsedQueue = Omit<QueueInput, "priorities"> & Pick<QueueConfig, "priorities">;

/**
 * What the table makes of each setting by itself: a {@link Config} in which the settings that depend on others may
 * still be open.
 */
export interface ParsedConfig
  extends Omit<
    Config,
    | "resultBackend"
    | "acceptContent"
    | "resultAcceptContent"
    | "taskDefaultRoutingKey"
    | "taskQueues"
    | "brokerTransportOptions"
  > {
  readonly resultBackend: string | undefined;
  readonly acceptContent: readonly SerializerName[] | undefined;
  readonly resultAcceptContent: readonly SerializerName[] | undefined;
  readonly taskDefaultRoutingKey: string | undefined;
  readonly taskQueues: Readonly<Record<string, ParsedQueue>> | undefined;
  readonly brokerTransportOptions: BrokerTransportOptions;
}

/**
 * Checks the settings and fills in what is not given. Does no I/O. Throws `ImproperlyConfigured` that names the
 * setting, what was given and what is allowed.
 *
 * @param env The environment, whose variables (`LOVAGE_BROKER_URL` …) come before the input, unless empty.
 */
export function resolveConfig(input: ConfigInput = {}, env: Readonly<Record<string, string | undefined>> = {}): Config {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new ImproperlyConfigured("config", `must be an object of settings (given: ${show(input)})`);
  }
  for (const [name, value] of Object.entries(input)) checkName(name, value);

  const given: Record<string, unknown> = { ...input };
  /** Where a value came from, for errors. */
  const source: Record<string, string> = {};
  for (const [variable, name] of Object.entries(ENVIRONMENT)) {
    if (!env[variable]) continue;
    given[name] = env[variable];
    source[name] = variable;
  }
  const parsed = Object.fromEntries(
    Object.entries(LIVE).map(([name, setting]) => {
      const value = given[name];
      return [
        name,
        value === undefined || value === null ? setting.default : setting.parse(value, source[name] ?? name),
      ];
    }),
    // Each row's `parse` returns the type that its name has in ParsedConfig: the table is typed so.
  ) as unknown as ParsedConfig;

  if (
    parsed.taskTimeLimit !== undefined &&
    parsed.taskSoftTimeLimit !== undefined &&
    parsed.taskSoftTimeLimit >= parsed.taskTimeLimit
  ) {
    throw new ImproperlyConfigured(
      "taskSoftTimeLimit",
      `must be below taskTimeLimit (${parsed.taskTimeLimit} s), or it never comes into force (given: ${parsed.taskSoftTimeLimit})`,
    );
  }
  const brokerTransportOptions = fromUrl(parsed.brokerUrl, parsed.brokerTransportOptions);
  return Object.freeze({
    ...parsed,
    brokerTransportOptions,
    resultBackend: parsed.resultBackend ?? backendBeside(parsed.brokerUrl),
    ...acceptance(parsed),
    taskDefaultRoutingKey: parsed.taskDefaultRoutingKey ?? parsed.taskDefaultQueue,
    taskQueues: bindQueues(parsed, brokerTransportOptions.queueNamePrefix),
  });
}

function checkName(name: string, value: unknown): void {
  if (IS_BUNDLE || Object.hasOwn(LIVE, name)) return;
  if (isFixed(name)) return refuse(name, value, name);
  const camel = camelCase(name);
  if (camel !== name && SETTING_NAMES.has(camel) && snakeCase(camel) === name) {
    throw new ImproperlyConfigured(name, `is called ${camel} here; app.configFromObject() takes Celery's own names`);
  }
  // Arguments of Python's `Celery()`, whose settings have longer names.
  const ofCelery = { broker: "brokerUrl", backend: "resultBackend" }[name];
  throw new ImproperlyConfigured(
    name,
    ofCelery === undefined ? `is not a setting${didYouMean(name, SETTING_NAMES)}` : `is called ${ofCelery} here`,
  );
}

/** What an app writes it reads, unless it is told otherwise; results that it could not read back are refused. */
function acceptance(parsed: ParsedConfig): Pick<Config, "acceptContent" | "resultAcceptContent"> {
  const { taskSerializer, resultSerializer } = parsed;
  const acceptContent = parsed.acceptContent ?? [...new Set(["json" as const, taskSerializer])];
  const resultAcceptContent = parsed.resultAcceptContent ?? [...new Set([...acceptContent, resultSerializer])];
  if (!resultAcceptContent.includes(resultSerializer)) {
    throw new ImproperlyConfigured(
      "resultAcceptContent",
      `must have resultSerializer (${resultSerializer}) in it, or no result can be read (given: ${resultAcceptContent.join(", ")})`,
    );
  }
  return { acceptContent: Object.freeze(acceptContent), resultAcceptContent: Object.freeze(resultAcceptContent) };
}

/** What the broker's URL says of the options comes before them, and has to be as they are. */
function fromUrl(brokerUrl: string, options: BrokerTransportOptions): BrokerTransportOptions {
  const { scheme, host, parameters } = parseUrl(brokerUrl);
  if (scheme !== "sqs") return options;
  const said: Record<string, unknown> = { ...options };
  // What is no region is an endpoint: `sqs://127.0.0.1:4566`.
  if (/^[a-z]{2}(-[a-z]+)+-\d+$/.test(host)) said["region"] = host;
  for (const [name, text] of parameters) {
    const key = camelCase(name);
    // Others are the broker's own.
    if (!Object.hasOwn(options, key)) continue;
    said[key] = typeof options[key as keyof BrokerTransportOptions] === "number" ? Number(text || Number.NaN) : text;
  }
  return parseBrokerOptions(said, "brokerUrl");
}

/** SQLite and memory keep results beside messages. Beside SQS no default would be right: a file in a Lambda function is gone with it. */
function backendBeside(brokerUrl: string): string {
  const { scheme } = parseUrl(brokerUrl);
  if (scheme === "sqlite" || scheme === "memory" || isBackendScheme(scheme)) return brokerUrl;
  throw new ImproperlyConfigured(
    "resultBackend",
    scheme === "sqs"
      ? 'has to be given beside an SQS broker, such as "dynamodb://eu-west-1/celery"'
      : `has to be given: there is no result backend of ${scheme}://`,
  );
}

function bindQueues(parsed: ParsedConfig, prefix: string): Readonly<Record<string, QueueConfig>> {
  const { taskDefaultQueue, taskDefaultExchange, taskDefaultRoutingKey } = parsed;
  checkQueueName("taskDefaultQueue", prefix, taskDefaultQueue, true);
  // A queue may have any name, and who asks for one that is not declared is to find none, whatever every object has.
  const queues: Record<string, QueueConfig> = Object.create(null);
  const names = new Map<string, string>();
  const bindings = new Map<string, string>();
  for (const [name, options] of Object.entries(parsed.taskQueues ?? { [taskDefaultQueue]: {} })) {
    const translated = checkQueueName("taskQueues", prefix, name, true);
    const twin = names.get(translated);
    if (twin !== undefined) {
      throw new ImproperlyConfigured(
        "taskQueues",
        `the queues ${JSON.stringify(twin)} and ${JSON.stringify(name)} are both ${translated} on SQS`,
      );
    }
    names.set(translated, name);
    const exchange = options.exchange ?? taskDefaultExchange;
    const routingKey = options.routingKey ?? (name === taskDefaultQueue ? taskDefaultRoutingKey : undefined) ?? name;
    if (exchange === "" && routingKey !== name) {
      throw new ImproperlyConfigured(
        `taskQueues.${name}`,
        `the anonymous exchange reaches a queue by its name alone; give an exchange beside the routing key ${JSON.stringify(routingKey)}`,
      );
    }
    const binding = JSON.stringify([exchange, routingKey]);
    const sharer = bindings.get(binding);
    if (sharer !== undefined) {
      throw new ImproperlyConfigured(
        "taskQueues",
        `${JSON.stringify(sharer)} and ${JSON.stringify(name)} have the same exchange ${JSON.stringify(exchange)} and routing key ${JSON.stringify(routingKey)}; a message goes to one queue`,
      );
    }
    bindings.set(binding, name);
    queues[name] = Object.freeze({ ...options, name, exchange, routingKey });
  }
  // Those of a function were checked when it was deployed.
  if (typeof LOVAGE_BUNDLE === "undefined") checkBands(Object.values(queues), names, prefix);
  return Object.freeze(queues);
}

/** Refuses bands of priorities that have the name of a queue. `names`: of the declared queues, by those on SQS. */
function checkBands(
  queues: readonly Pick<QueueConfig, "name" | "priorities">[],
  names: ReadonlyMap<string, string>,
  prefix: string,
): void {
  for (const { name, priorities } of queues) {
    for (const band of bandQueues(name, priorities).slice(1)) {
      const setting = `taskQueues.${name}.priorities`;
      const twin = names.get(checkQueueName(setting, prefix, band, false));
      if (twin === undefined) continue;
      throw new ImproperlyConfigured(
        setting,
        `makes a queue ${JSON.stringify(band)}, and there is one declared of that name: rename ${JSON.stringify(twin)}`,
      );
    }
  }
}
