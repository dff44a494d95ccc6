/**
 * The table of settings: ours, and every one of Celery 5.7's. {@link LIVE} are the settings that do something; {@link FIXED}
 * those of Celery's that have one value here, or none, and why. The reference page is made from it; what each of the first
 * means, and Celery's defaults, are said in `scripts/setting-meanings.ts`, which no bundle has to carry.
 */
import { type BeatEntry, scheduleEntries } from "./beat/schedule.ts";
import { isFifo } from "./brokers/broker.ts";
import type { Route, RoutePair, RouterFunction, TaskRouter } from "./brokers/routes.ts";
import type {
  BrokerTransportOptions,
  PredefinedQueue,
  Compression,
  ParsedConfig,
  PublishRetryPolicy,
  QueueInput,
  ResultBackendTransportOptions,
  TaskAnnotations,
} from "./config.ts";
import { checkZone } from "./beat/zone.ts";
import { ImproperlyConfigured } from "./errors.ts";
import { isBackendScheme, isBrokerScheme } from "./open.ts";
import {
  boolean,
  fail,
  type Hints,
  integer,
  isPlain,
  name,
  names,
  object,
  type Parse,
  reasonOf,
  seconds,
  shape,
  show,
  text,
  unknownKey,
} from "./parse.ts";
import { compressionName } from "./protocol/compression.ts";
import { type SerializerName, serializerName } from "./protocol/serializers.ts";
import { type AnnotationOptions, checkAnnotation, checkBeatOptions, retryPolicy } from "./tasks/options.ts";

// ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** `taskTimeLimit` → `task_time_limit`: Celery's name of a setting that it has. */
export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The first word of a setting and how its old name begins, where that is not the new name in capitals. */
const OLD_PREFIXES: Readonly<Record<string, string>> = { task: "CELERY_", worker: "CELERYD_", beat: "CELERYBEAT_" };
const OLD_WITH_CELERY = new Set(
  "accept imports include timezone cache couchbase arangodb mongodb event redis result elasticsearch security".split(
    " ",
  ),
);

/** Celery's old name of a setting (`CELERY_ROUTES`), or `undefined` where Celery does not have the setting. */
export function oldName(name: string): string | undefined {
  const setting = LIVE[name as keyof typeof LIVE] ?? FIXED[name as keyof typeof FIXED];
  if (setting === undefined || ("parse" in setting && setting.celery !== true)) return undefined;
  if (setting.old !== undefined) return setting.old;
  const [space = "", ...rest] = snakeCase(name).toUpperCase().split("_");
  const prefix = OLD_PREFIXES[space.toLowerCase()];
  if (prefix !== undefined) return prefix + rest.join("_");
  return (OLD_WITH_CELERY.has(space.toLowerCase()) ? "CELERY_" : "") + [space, ...rest].join("_");
}

// ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Scheme, host and parameters of a URL. `URL` itself refuses `sqs://key:secret@`, which has credentials and no host. */
export function parseUrl(url: string): {
  readonly scheme: string;
  readonly host: string;
  readonly parameters: URLSearchParams;
} {
  const [, scheme = "", authority = "", query = ""] = /^([\w+.-]+):\/\/([^/?#]*)[^?#]*(\?[^#]*)?/.exec(url) ?? [];
  return {
    scheme: scheme.toLowerCase(),
    host: authority.slice(authority.lastIndexOf("@") + 1),
    parameters: new URLSearchParams(query),
  };
}

function url(schemes: readonly string[], isRegistered: (scheme: string) => boolean, forms: string): Parse<string> {
  return (value, at) => {
    const given = name(value, at);
    const { scheme } = parseUrl(given);
    if (schemes.includes(scheme) || isRegistered(scheme)) return given;
    // Not shown whole: a URL can hold a password.
    throw new ImproperlyConfigured(
      at,
      `must be ${forms} (given: ${scheme ? `one that begins with ${scheme}://` : "a text that is no URL"})`,
    );
  };
}

const serializer: Parse<SerializerName> = (value, at) => {
  const found = typeof value === "string" ? serializerName(value) : undefined;
  if (found !== undefined) return found;
  if (value === "pickle" || value === "application/x-python-serialize") {
    throw new ImproperlyConfigured(
      at,
      "pickle is never written or read, as reading it runs code; use json, msgpack or yaml",
    );
  }
  return fail(at, "json, msgpack or yaml", value);
};

const serializers: Parse<readonly SerializerName[]> = (value, at) => {
  const list = names(value, at);
  if (list.length === 0) return fail(at, "a list of at least one serializer", value);
  return Object.freeze([...new Set(list.map((element) => serializer(element, at)))]);
};

const compression: Parse<Compression> = (value, at) => {
  const found = typeof value === "string" ? compressionName(value) : undefined;
  return found ?? fail(at, "gzip, brotli or zstd, which are what JavaScript platforms can write", value);
};

const timezone: Parse<string> = (value, at) => checkZone(name(value, at), at);

const UNITS: Readonly<Record<string, number>> = { weeks: 604_800, days: 86_400, hours: 3600, minutes: 60, seconds: 1 };

/** Seconds of a number or of `{ days: 1, hours: 2 }`. */
export const duration: Parse<number> = (value, at) => {
  if (!isPlain(value)) return seconds({ min: 0 })(value, at);
  const parts = Object.entries(value);
  if (parts.length === 0) return fail(at, `a number of seconds, or parts (${Object.keys(UNITS).join(", ")})`, value);
  return parts.reduce((sum, [unit, amount]) => {
    const factor = Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined;
    if (factor === undefined) throw unknownKey(`${at}.${unit}`, unit, Object.keys(UNITS), {});
    return (
      sum +
      factor * (typeof amount === "number" && amount >= 0 ? amount : fail(`${at}.${unit}`, "a number from 0", amount))
    );
  }, 0);
};

const environment: Parse<Readonly<Record<string, string>>> = (value, at) => {
  const given = Object.fromEntries(
    Object.entries(object(value, at)).map(([key, inner]) => [key, text(inner, `${at}.${key}`)]),
  );
  checkEnvironment(given, at);
  return Object.freeze(given);
};

/** Lambda's limit of names and values together, in bytes. */
const MAX_ENVIRONMENT = 4096;
/** What the deployment sets, and what Lambda sets and lets nobody else set. */
const OURS = ["LOVAGE_BROKER_URL", "LOVAGE_RESULT_BACKEND", "LOVAGE_BEAT_FUNCTION"];
const LAMBDAS =
  /^(AWS_((DEFAULT_)?REGION|EXECUTION_ENV|ACCESS_KEY(_ID)?|SECRET_ACCESS_KEY|SESSION_TOKEN|LAMBDA_(FUNCTION|INIT|LOG|RUNTIME)_\w+)|LAMBDA_(TASK_ROOT|RUNTIME_DIR))$/;

/** Refuses what no function of Lambda takes as its environment. Throws `ImproperlyConfigured`. */
export function checkEnvironment(variables: Readonly<Record<string, string>>, at: string): void {
  for (const key of Object.keys(variables)) {
    const refused = (why: string) => new ImproperlyConfigured(`${at}.${key}`, why);
    if (OURS.includes(key)) throw refused("is set by the deployment, and may not be given another value");
    if (LAMBDAS.test(key)) throw refused("is set by Lambda, which takes no other value");
    if (!/^[A-Za-z]\w+$/.test(key)) {
      throw refused(
        `is not a name that Lambda takes: at least two letters, digits and "_", beginning with a letter; given: ${show(key)}`,
      );
    }
  }
  const bytes = new TextEncoder().encode(Object.entries(variables).flat().join("")).length;
  if (bytes <= MAX_ENVIRONMENT) return;
  throw new ImproperlyConfigured(
    at,
    `must have at most ${MAX_ENVIRONMENT} bytes, names and values together, on Lambda; given: ${bytes}`,
  );
}

const QUEUE_HINTS: Hints = {
  exchangeType: 'only exchanges of the type "direct" exist; SQS has neither topics nor bindings by pattern',
  bindingKey: "write routingKey",
  queueArguments: "they are RabbitMQ's; priorities, TTL and the like are not set at the queue",
  durable: "queues are always durable",
  autoDelete: "queues are never deleted by a worker",
};

const queueShape = shape<QueueInput>(
  {
    exchange: text,
    routingKey: name,
    timeLimit: seconds({ over: 0, max: 43_200 }),
    memorySize: integer(128, 10_240),
    batchSize: integer(1, 10_000),
    maxBatchingWindow: integer(0, 300),
    maxConcurrency: integer(2, 1000),
    reservedConcurrency: integer(0),
    environment,
  },
  {},
  QUEUE_HINTS,
);

const queues: Parse<Readonly<Record<string, QueueInput>>> = (value, at) => {
  const entries: readonly (readonly [string, unknown])[] = Array.isArray(value)
    ? value.map((queue: unknown, i) => {
        if (typeof queue === "string") return [queue, {}] as const;
        const { name: queueName, ...options } = object(queue, `${at}[${i}]`);
        return [name(queueName, `${at}[${i}].name`), options] as const;
      })
    : Object.entries(object(value, at));
  if (entries.length === 0)
    return fail(at, "at least one queue; leave the setting out for the default queue alone", value);
  const result: Record<string, QueueInput> = {};
  for (const [queueName, options] of entries) {
    if (Object.hasOwn(result, queueName))
      throw new ImproperlyConfigured(at, `names the queue ${JSON.stringify(queueName)} twice`);
    const queue = queueShape(options ?? {}, `${at}.${queueName}`);
    if (isFifo(queueName) && (queue.batchSize ?? 1) > 10)
      fail(`${at}.${queueName}.batchSize`, "at most 10 on a FIFO queue", queue.batchSize);
    if (isFifo(queueName) && queue.maxBatchingWindow) {
      throw new ImproperlyConfigured(
        `${at}.${queueName}.maxBatchingWindow`,
        "AWS has no batching window for FIFO queues; leave it out",
      );
    }
    result[queueName] = queue;
  }
  return Object.freeze(result);
};

const routeShape = shape<Route>(
  {
    queue: name,
    exchange: text,
    routingKey: name,
    priority: integer(0, 255),
    serializer,
    compression,
    expires: seconds({ min: 0 }),
    ignoreResult: boolean,
    MessageGroupId: name,
    tenant: name,
  },
  {},
  { deliveryMode: "messages are always persistent", timeLimit: "give it to the queue (taskQueues) or the task" },
);

/** A route as an object. Read at the start where it stands in the config, and at each call where a function returns it. */
const parseRoute: Parse<Route> = (value, at) => {
  if (typeof value === "string") return Object.freeze({ queue: name(value, at) });
  if (!isPlain(value)) return fail(at, "a queue's name, or an object of options such as { queue }", value);
  const { exchangeType, ...route } = value;
  if (exchangeType !== undefined && exchangeType !== "direct") {
    throw new ImproperlyConfigured(
      `${at}.exchangeType`,
      `${show(exchangeType)} is refused: ${QUEUE_HINTS.exchangeType}`,
    );
  }
  return routeShape(route, at);
};

const router: Parse<TaskRouter> = (value, at) => {
  if (typeof value === "function") {
    const decide = value as RouterFunction;
    return (task, ...call) => {
      const route = decide(task, ...call);
      return route === undefined || route === null ? undefined : parseRoute(route, `${at} (for ${task})`);
    };
  }
  if (isPlain(value)) {
    return Object.freeze(
      Object.fromEntries(
        Object.entries(value).map(([pattern, route]) => [
          pattern,
          parseRoute(route, `${at}[${JSON.stringify(pattern)}]`),
        ]),
      ),
    );
  }
  if (typeof value === "string") {
    throw new ImproperlyConfigured(
      at,
      `a router is not found by its name here; give the function itself (given: ${show(value)})`,
    );
  }
  if (!Array.isArray(value)) return fail(at, "an object of patterns and routes, a list of pairs, or a function", value);
  return Object.freeze(
    value.map((pair: unknown, i): RoutePair => {
      if (!Array.isArray(pair) || pair.length !== 2 || !(typeof pair[0] === "string" || pair[0] instanceof RegExp)) {
        throw new ImproperlyConfigured(
          at,
          `must be a router; pairs of a pattern and a route stand in a list of their own inside the list of routers: [[["media.*", "media"]]] (given: ${show(value)})`,
        );
      }
      return [pair[0], parseRoute(pair[1], `${at}[${i}]`)];
    }),
  );
};

const routes: Parse<readonly TaskRouter[]> = (value, at) =>
  Object.freeze(
    Array.isArray(value) ? value.map((element: unknown, i) => router(element, `${at}[${i}]`)) : [router(value, at)],
  );

const annotations: Parse<TaskAnnotations> = (value, at) => {
  const result: Record<string, AnnotationOptions> = {};
  for (const [i, map] of (Array.isArray(value) ? (value as readonly unknown[]) : [value]).entries()) {
    const here = Array.isArray(value) ? `${at}[${i}]` : at;
    for (const [task, options] of Object.entries(object(map, here))) {
      if (task !== "*" && task.includes("*")) {
        throw new ImproperlyConfigured(
          `${here}[${JSON.stringify(task)}]`,
          'is never met: a key is the name of a task, or "*" for all of them',
        );
      }
      const place = `${here}[${JSON.stringify(task)}]`;
      const said: object = object(options, place);
      checkAnnotation(said, place);
      // As in Celery, the first map that knows a task decides.
      if (!Object.hasOwn(result, task)) result[task] = said;
    }
  }
  return Object.freeze(result);
};

/** The entries as they were written: whoever runs them reads them with `scheduleEntries`, which checks them here. */
const beatSchedule: Parse<Readonly<Record<string, BeatEntry>>> = (value, at) => {
  const entries = value as Readonly<Record<string, BeatEntry>>;
  try {
    for (const { name: entry, task, options } of scheduleEntries(entries))
      checkBeatOptions(task, options, `beatSchedule[${JSON.stringify(entry)}].options`);
  } catch (error) {
    if (!(error instanceof ImproperlyConfigured) || at === "beatSchedule") throw error;
    // The setting was written in another of its spellings.
    throw new ImproperlyConfigured(error.setting.replace(/^beatSchedule/, at), reasonOf(error), { cause: error });
  }
  return Object.freeze({ ...entries });
};

/** Who asks for all that is kept has a table looked through day by day. */
const MAX_JOURNAL_SECONDS = 366 * 86_400;

const BROKER_OPTIONS: BrokerTransportOptions = {
  visibilityTimeout: 30,
  maxDelay: Number.POSITIVE_INFINITY,
  region: undefined,
  queueNamePrefix: "",
  waitTimeSeconds: 10,
  predefinedQueues: Object.freeze({}),
  schedulerRoleArn: undefined,
  schedulerGroup: "default",
  schedulerKeyArn: undefined,
  schedulerMinDelay: 3600,
};

const ONE_ACCOUNT = "all queues are spoken to with the same credentials; access is given by IAM";
const BACKOFF_OF_TASKS = "how long a retry waits is said by the task (retryBackoff)";

const predefinedQueue = shape<PredefinedQueue>(
  { url: (value, at) => (URL.canParse(text(value, at)) ? text(value, at) : fail(at, "a queue's URL", value)) },
  {},
  {
    accessKeyId: ONE_ACCOUNT,
    secretAccessKey: ONE_ACCOUNT,
    sessionToken: ONE_ACCOUNT,
    region: "all queues are in the region of brokerUrl",
    backoffPolicy: BACKOFF_OF_TASKS,
    backoffTasks: BACKOFF_OF_TASKS,
  },
);

const predefinedQueues: Parse<Readonly<Record<string, PredefinedQueue>>> = (value, at) =>
  Object.freeze(
    Object.fromEntries(
      Object.entries(object(value, at)).map(([queueName, queue]) => {
        const where = `${at}[${JSON.stringify(queueName)}]`;
        const { url }: Partial<PredefinedQueue> = predefinedQueue(queue, where);
        return [queueName, Object.freeze({ url: url ?? fail(`${where}.url`, "a queue's URL", url) })];
      }),
    ),
  );

const brokerTransportOptions = shape<BrokerTransportOptions>(
  {
    visibilityTimeout: seconds({ over: 0, max: 43_200 }),
    maxDelay: seconds({ over: 0, max: Number.POSITIVE_INFINITY }),
    region: name,
    queueNamePrefix: text,
    waitTimeSeconds: seconds({ min: 0, max: 20 }),
    predefinedQueues,
    schedulerRoleArn: name,
    schedulerGroup: name,
    schedulerKeyArn: name,
    schedulerMinDelay: integer(75),
  },
  BROKER_OPTIONS,
  {
    pollingInterval: "the poller asks again as soon as a request has ended; waitTimeSeconds is what to set",
    sqsBase64Encoding: "messages are read in either form and written as JSON, which every kombu since 5.1 reads",
    bodyEncoding: "messages are read in either form; base64 is written where compression needs it",
    isSecure: "the endpoint is that of AWS_ENDPOINT_URL, scheme included",
    sqsCreationAttributes: "queues are made by the AWS construct, not by workers; set attributes there",
    queueTags: "queues are made by the AWS construct, not by workers; set tags there",
    clientConfig: "the AWS SDK reads its own configuration from the environment (AWS_MAX_ATTEMPTS, AWS_RETRY_MODE …)",
    fetchMessageAttributes: "all attributes that are needed are fetched",
    stsRoleArn: "the AWS SDK assumes roles by itself, as its profile or AWS_ROLE_ARN says",
    supportsFanout: "there is no fanout; send to each queue",
    predefinedExchanges: "there is no fanout; send to each queue",
    deadletterQueue: "each queue has its own, named <queue>-dlq",
    globalKeyprefix: "it is Redis's; set queueNamePrefix",
  },
);

const KEYPREFIX_HINTS: Hints = {
  resultChordOrdered: "results of a chord always come in the order of its header",
  retryPolicy: "the AWS SDK tries again by itself (AWS_MAX_ATTEMPTS)",
};

const resultBackendTransportOptions = shape<ResultBackendTransportOptions>(
  // Celery puts the sign in, and a reader that leaves it out finds no row.
  { globalKeyprefix: (value, at) => text(value, at).replace(/[^:_.-]$/, "$&_") },
  { globalKeyprefix: "" },
  KEYPREFIX_HINTS,
);

const PUBLISH_RETRY: PublishRetryPolicy = { maxRetries: 3, intervalStart: 0, intervalStep: 0.2, intervalMax: 1 };

// ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A setting that does something. */
export interface LiveSetting<T> {
  /** Celery has it too. */
  readonly celery?: true;
  /** Celery's old name, where {@link oldName} cannot derive it. */
  readonly old?: string;
  readonly default: T;
  readonly parse: Parse<T>;
}

export const LIVE: { readonly [K in keyof ParsedConfig]: LiveSetting<ParsedConfig[K]> } = {
  brokerUrl: {
    celery: true,
    default: "sqlite://",
    parse: url(["sqlite", "memory", "sqs"], isBrokerScheme, "sqlite://, sqlite:///path, memory://, or sqs://[region]"),
  },
  resultBackend: {
    celery: true,
    default: undefined,
    parse: url(
      ["sqlite", "memory", "dynamodb"],
      isBackendScheme,
      "sqlite://, sqlite:///path, memory://, or dynamodb://[region]/table",
    ),
  },
  brokerTransportOptions: {
    celery: true,
    default: Object.freeze(BROKER_OPTIONS),
    parse: brokerTransportOptions,
  },
  resultBackendTransportOptions: {
    celery: true,
    default: Object.freeze({ globalKeyprefix: "" }),
    parse: resultBackendTransportOptions,
  },
  timezone: {
    celery: true,
    default: "UTC",
    parse: timezone,
  },
  acceptContent: {
    celery: true,
    default: undefined,
    parse: serializers,
  },
  resultAcceptContent: {
    celery: true,
    old: "RESULT_ACCEPT_CONTENT",
    default: undefined,
    parse: serializers,
  },
  taskSerializer: {
    celery: true,
    old: "CELERY_TASK_SERIALIZER",
    default: "json",
    parse: serializer,
  },
  resultSerializer: {
    celery: true,
    default: "json",
    parse: serializer,
  },
  taskCompression: {
    celery: true,
    old: "CELERY_MESSAGE_COMPRESSION",
    default: undefined,
    parse: compression,
  },
  resultCompression: {
    celery: true,
    default: undefined,
    parse: compression,
  },
  resultExpires: {
    celery: true,
    old: "CELERY_TASK_RESULT_EXPIRES",
    default: 86_400,
    parse: (value, at) => duration(value, at) || Infinity,
  },
  journal: {
    default: true,
    parse: boolean,
  },
  journalExpires: {
    default: 604_800,
    parse: (value, at) => seconds({ min: 60, max: MAX_JOURNAL_SECONDS })(duration(value, at), at),
  },
  keepFailed: {
    default: true,
    parse: boolean,
  },
  resultExtended: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskDefaultQueue: {
    celery: true,
    default: "celery",
    parse: name,
  },
  taskDefaultExchange: {
    celery: true,
    default: "",
    parse: text,
  },
  taskDefaultRoutingKey: {
    celery: true,
    default: undefined,
    parse: name,
  },
  taskDefaultPriority: {
    celery: true,
    default: undefined,
    parse: integer(0, 255),
  },
  taskQueues: {
    celery: true,
    old: "CELERY_QUEUES",
    default: undefined,
    parse: queues,
  },
  taskRoutes: {
    celery: true,
    old: "CELERY_ROUTES",
    default: Object.freeze([]),
    parse: routes,
  },
  taskCreateMissingQueues: {
    celery: true,
    default: true,
    parse: boolean,
  },
  taskIgnoreResult: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskStoreErrorsEvenIfIgnored: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskTrackStarted: {
    celery: true,
    default: true,
    parse: boolean,
  },
  taskTimeLimit: {
    celery: true,
    old: "CELERYD_TASK_TIME_LIMIT",
    default: undefined,
    parse: seconds({ over: 0 }),
  },
  taskSoftTimeLimit: {
    celery: true,
    old: "CELERYD_TASK_SOFT_TIME_LIMIT",
    default: undefined,
    parse: seconds({ over: 0 }),
  },
  taskAlwaysEager: { celery: true, default: false, parse: boolean },
  taskEagerPropagates: {
    celery: true,
    old: "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    default: false,
    parse: boolean,
  },
  taskStoreEagerResult: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskInheritParentPriority: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskAllowErrorCbOnChordHeader: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskPublishRetry: {
    celery: true,
    old: "CELERY_TASK_PUBLISH_RETRY",
    default: true,
    parse: boolean,
  },
  taskPublishRetryPolicy: {
    celery: true,
    old: "CELERY_TASK_PUBLISH_RETRY_POLICY",
    default: Object.freeze(PUBLISH_RETRY),
    parse: retryPolicy(PUBLISH_RETRY),
  },
  taskAnnotations: {
    celery: true,
    default: Object.freeze({}),
    parse: annotations,
  },
  maxDeliveries: {
    default: 3,
    parse: integer(1, 100),
  },
  beatSchedule: {
    celery: true,
    default: Object.freeze({}),
    parse: beatSchedule,
  },
  beatFunction: {
    default: undefined,
    parse: name,
  },
  workerConcurrency: {
    celery: true,
    default: undefined,
    parse: (value, at) => (value === "auto" ? undefined : integer(1, 10_000)(value, at)),
  },
  workerPrefetchMultiplier: {
    celery: true,
    default: 4,
    parse: integer(1, 1000),
  },
  imports: {
    celery: true,
    default: Object.freeze([]),
    parse: names,
  },
  include: { celery: true, default: Object.freeze([]), parse: names },
  workerMaxTasksPerChild: {
    celery: true,
    default: undefined,
    parse: integer(1),
  },
  workerSoftShutdownTimeout: {
    celery: true,
    default: 20,
    parse: seconds({ max: 86_400 }),
  },
};

/** A setting of Celery's that has one value here, or none. */
export interface FixedSetting {
  readonly old?: string;
  /** The values that say what happens anyway; any other is refused. */
  readonly accepts: readonly unknown[];
  /** Why, and what to do instead: the sentence with which it is refused. */
  readonly instead: string;
}

/** Settings of a group that share their reason, by what follows the group's name. */
function group<G extends string, N extends string>(
  prefix: G,
  members: readonly N[],
  instead: string,
): {
  readonly [K in N as `${G}${K}`]: {
    readonly accepts: readonly [];
    readonly instead: string;
  };
} {
  return Object.fromEntries(
    members.map((member) => [prefix + member, { accepts: [], instead }]),
    // The keys are prefix and member, which is what the type says and `fromEntries` cannot.
  ) as never;
}

const NO_SUCH_BACKEND =
  "there is no such result backend here; results are kept in DynamoDB, SQLite or memory (resultBackend)";
const NO_EVENTS = "workers send no events; follow tasks by their results and by the worker's logs and metrics";
const NO_REMOTE_CONTROL =
  "SQS has no broadcast, so there is no remote control; revoke() works by the task's row, and workers are stopped by their process or deployment";
const NO_POOL = "tasks run in the event loop of the worker's process; set workerConcurrency";
const NO_CONNECTION =
  "no connection is kept open: SQLite and memory are in the process itself, and AWS is reached over HTTPS by its SDK, which pools, times out and repeats requests (AWS_MAX_ATTEMPTS, AWS_RETRY_MODE)";
const NO_BROKER_PARTS = "everything about the broker stands in brokerUrl";
const NO_LOGGING =
  "the worker writes one line of log a step, on standard output, as its --loglevel and --log-format say, and leaves the console alone";
const NO_AMQP = "it is RabbitMQ's; SQS and SQLite queues have one kind";
const NO_SIGNING = "messages are not signed; access to the queues is what IAM gives";
const NO_RESULT_EXCHANGE = "it belongs to the rpc backend; results are rows here (resultBackend)";
const ACKS = "a message is acknowledged after the outcome is stored, whatever the outcome; throw Reject to refuse one";
const SHUTDOWN =
  "an idle worker that is told to stop has nothing to wait for; what is to come later waits in the queue";

export const FIXED = {
  enableUtc: {
    accepts: [true],
    instead: "times in messages are always UTC; timezone is the zone of schedules",
  },

  taskAcksLate: {
    accepts: [true],
    instead:
      "a message is acknowledged after the outcome is stored, or a crash would lose the task; a task that must not run twice checks that by itself",
  },
  taskAcksOnFailureOrTimeout: { accepts: [true], instead: ACKS },
  taskAcksOnFailure: { accepts: [true], instead: ACKS },
  taskAcksOnTimeout: { accepts: [true], instead: ACKS },
  taskRejectOnWorkerLost: {
    accepts: [true],
    instead: "a task whose worker died runs again, as often as maxDeliveries allows",
  },
  taskRetryOnWorkerLost: {
    accepts: [],
    instead: "a death is not counted as a retry; maxDeliveries says how many there may be",
  },
  taskCreateMissingQueueType: { accepts: ["classic"], instead: NO_AMQP },
  taskCreateMissingQueueExchangeType: {
    accepts: ["direct"],
    instead: "only direct exchanges exist; SQS has neither topics nor fanout",
  },
  taskDefaultQueueType: { accepts: ["classic"], instead: NO_AMQP },
  taskDefaultExchangeType: {
    accepts: ["direct"],
    instead: "only direct exchanges exist; SQS has neither topics nor fanout",
  },
  taskDefaultDeliveryMode: { accepts: [2, "persistent"], instead: "messages are always persistent" },
  taskDefaultRateLimit: {
    accepts: [],
    instead:
      "no worker knows what the others do, so a rate cannot be kept; bound what runs at a time by the queue's maxConcurrency, or workerConcurrency",
  },
  taskProtocol: {
    old: "CELERY_TASK_PROTOCOL",
    accepts: [2],
    instead: "messages are written in protocol 2; both are read",
  },
  taskQueueMaxPriority: {
    accepts: [],
    instead:
      "queues need no preparation for priorities: SQS has none, SQLite and memory take 0 to 255; on SQS use a queue for each priority",
  },
  taskRemoteTracebacks: {
    accepts: [true],
    instead: "an error that get() throws always has the stack of the place where it was thrown",
  },
  taskReprMaxlevels: {
    accepts: [],
    instead: "argsrepr and kwargsrepr have a fixed depth; a call can give its own",
  },
  taskSendSentEvent: { old: "CELERY_SEND_TASK_SENT_EVENT", accepts: [false], instead: NO_EVENTS },

  resultCacheMax: {
    old: "CELERY_MAX_CACHED_RESULTS",
    accepts: [-1],
    instead: "results are not cached in the process; an AsyncResult keeps what it has read once the task has ended",
  },
  resultExchange: { accepts: [], instead: NO_RESULT_EXCHANGE },
  resultExchangeType: { accepts: [], instead: NO_RESULT_EXCHANGE },
  resultPersistent: { accepts: [], instead: NO_RESULT_EXCHANGE },
  resultChordExpires: {
    accepts: [],
    instead: "the row of a chord expires like any other (resultExpires)",
  },
  resultFailureExpires: {
    accepts: [],
    instead: "failures are kept as long as other results (resultExpires)",
  },
  resultChordRetryInterval: {
    accepts: [],
    instead: "a chord is counted in its row and its body sent by the last member; nobody polls",
  },
  resultChordJoinTimeout: {
    accepts: [],
    instead: "a chord's body is sent when all results are stored; nothing is waited for",
  },
  resultBackendAlwaysRetry: {
    accepts: [],
    instead: "passing errors are tried again by the AWS SDK, and then the message is handed back to the queue",
  },
  ...group("resultBackend", ["MaxSleepBetweenRetriesMs", "BaseSleepBetweenRetriesMs", "MaxRetries"], NO_CONNECTION),

  ...group(
    "beat",
    ["Scheduler", "ScheduleFilename"],
    "beat keeps no state: which runs are due follows from the schedule and the time alone",
  ),
  beatSyncEvery: { accepts: [0], instead: "beat keeps no state that would have to be written" },
  beatMaxLoopInterval: {
    accepts: [0],
    instead: "beat sleeps until the next run is due; there is no interval to set",
  },
  beatCronStartingDeadline: {
    accepts: [],
    instead:
      "runs that were missed are not made up for; to drop one that starts late, give its entry options: { expires: seconds }",
  },
  beatEnableRemoteControl: { accepts: [false], instead: NO_REMOTE_CONTROL },
  beatRemoteControlMaxTickAge: { accepts: [], instead: NO_REMOTE_CONTROL },

  ...group("broker", ["ReadUrl", "WriteUrl"], "one URL serves both ways: brokerUrl"),
  ...group("broker", ["Transport", "Host", "Port", "User", "Password", "Vhost"], NO_BROKER_PARTS),
  ...group(
    "broker",
    [
      "ConnectionTimeout",
      "ConnectionMaxRetries",
      "FailoverStrategy",
      "Heartbeat",
      "HeartbeatCheckrate",
      "PoolLimit",
      "PoolAcquireTimeout",
    ],
    NO_CONNECTION,
  ),
  brokerConnectionRetry: { accepts: [true], instead: NO_CONNECTION },
  brokerConnectionRetryOnStartup: { accepts: [true], instead: NO_CONNECTION },
  brokerChannelErrorRetry: { accepts: [], instead: NO_CONNECTION },
  brokerLoginMethod: { accepts: [], instead: "credentials are found by the AWS SDK" },
  brokerUseSsl: {
    accepts: [],
    instead: "AWS is always reached over TLS; an emulator as AWS_ENDPOINT_URL says",
  },
  brokerNativeDelayedDeliveryQueueType: { accepts: [], instead: NO_AMQP },

  workerDeduplicateSuccessfulTasks: {
    accepts: [true],
    instead: "a task's row keeps it from running twice; the task option claim: false leaves that out",
  },
  workerDirect: {
    old: "CELERY_WORKER_DIRECT",
    accepts: [false],
    instead: "workers have no queues of their own; declare one in taskQueues and let one worker serve it",
  },
  workerDisableRateLimits: {
    old: "CELERY_DISABLE_RATE_LIMITS",
    accepts: [true],
    instead: "there are no rate limits; bound what runs at a time by the queue's maxConcurrency, or workerConcurrency",
  },
  workerEnableRemoteControl: {
    old: "CELERY_ENABLE_REMOTE_CONTROL",
    accepts: [false],
    instead: NO_REMOTE_CONTROL,
  },
  workerStateDb: { accepts: [], instead: "what is revoked stands in the tasks' rows, not in a worker" },
  workerSendTaskEvents: { old: "CELERY_SEND_EVENTS", accepts: [false], instead: NO_EVENTS },
  workerHijackRootLogger: { accepts: [false], instead: NO_LOGGING },
  workerRedirectStdouts: { old: "CELERY_REDIRECT_STDOUTS", accepts: [false], instead: NO_LOGGING },
  workerRedirectStdoutsLevel: {
    old: "CELERY_REDIRECT_STDOUTS_LEVEL",
    accepts: [],
    instead: NO_LOGGING,
  },
  ...group("worker", ["LogColor", "LogDatefmt", "LogFormat", "TaskLogDatefmt", "TaskLogFormat"], NO_LOGGING),
  ...group(
    "worker",
    ["Pool", "PoolPutlocks", "PoolRestarts", "PoolStartMethod", "ProcAliveTimeout", "Autoscaler"],
    NO_POOL,
  ),
  workerAgent: { accepts: [], instead: "the worker is not made of replaceable parts" },
  workerConsumer: {
    accepts: [],
    instead: "the worker is not made of replaceable parts",
  },
  workerTimer: { accepts: [], instead: "the worker is not made of replaceable parts" },
  workerTimerPrecision: {
    accepts: [],
    instead: "delayed messages wait in the queue, not in a timer of the worker",
  },
  workerEtaTaskLimit: {
    accepts: [],
    instead: "delayed messages wait in the queue, not in the worker's memory",
  },
  workerLostWait: {
    old: "CELERYD_WORKER_LOST_WAIT",
    accepts: [],
    instead: "a dead worker is noticed when its lease ends (brokerTransportOptions.visibilityTimeout)",
  },
  workerMaxMemoryPerChild: {
    accepts: [],
    instead: "set workerMaxTasksPerChild, Node's --max-old-space-size, or the queue's memorySize on AWS",
  },
  workerDisablePrefetch: { accepts: [], instead: "set workerPrefetchMultiplier: 1" },
  workerEnablePrefetchCountReduction: {
    accepts: [],
    instead: "there is no connection that could be lost and take messages along",
  },
  workerCancelLongRunningTasksOnConnectionLoss: {
    accepts: [],
    instead: "there is no connection that could be lost; a run whose lease went to another worker stores nothing",
  },
  workerEnableSoftShutdownOnIdle: { accepts: [false], instead: SHUTDOWN },
  workerDetectQuorumQueues: { accepts: [], instead: NO_AMQP },

  ...group("control", ["QueueTtl", "QueueExpires", "QueueExclusive", "QueueDurable", "Exchange"], NO_REMOTE_CONTROL),
  ...group(
    "event",
    ["QueueExpires", "QueueTtl", "QueuePrefix", "QueueExclusive", "QueueDurable", "Serializer", "Exchange"],
    NO_EVENTS,
  ),
  ...group("security", ["Certificate", "CertStore", "Key", "KeyPassword", "Digest"], NO_SIGNING),

  // Read by Celery's DynamoDB backend, though not in Celery's own table of defaults.
  dynamodbEndpointUrl: {
    accepts: [],
    instead: "set AWS_ENDPOINT_URL, or AWS_ENDPOINT_URL_DYNAMODB, in the environment",
  },

  ...group("cache", ["Backend", "BackendOptions"], NO_SUCH_BACKEND),
  ...group(
    "cassandra",
    [
      "EntryTtl",
      "Keyspace",
      "Port",
      "ReadConsistency",
      "Servers",
      "BundlePath",
      "Table",
      "WriteConsistency",
      "AuthProvider",
      "AuthKwargs",
      "Options",
    ],
    NO_SUCH_BACKEND,
  ),
  ...group("s3", ["AccessKeyId", "SecretAccessKey", "Bucket", "BasePath", "EndpointUrl", "Region"], NO_SUCH_BACKEND),
  ...group(
    "azureblockblob",
    [
      "ContainerName",
      "RetryInitialBackoffSec",
      "RetryIncrementBase",
      "RetryMaxAttempts",
      "BasePath",
      "ConnectionTimeout",
      "ReadTimeout",
    ],
    NO_SUCH_BACKEND,
  ),
  ...group("gcs", ["Bucket", "Project", "BasePath", "Ttl"], NO_SUCH_BACKEND),
  ...group("couchbase", ["BackendSettings"], NO_SUCH_BACKEND),
  ...group("arangodb", ["BackendSettings"], NO_SUCH_BACKEND),
  ...group("mongodb", ["BackendSettings"], NO_SUCH_BACKEND),
  ...group(
    "cosmosdbsql",
    ["DatabaseName", "CollectionName", "ConsistencyLevel", "MaxRetryAttempts", "MaxRetryWaitTime"],
    NO_SUCH_BACKEND,
  ),
  ...group(
    "redis",
    [
      "BackendUseSsl",
      "Db",
      "Host",
      "MaxConnections",
      "Username",
      "Password",
      "Port",
      "SocketTimeout",
      "SocketConnectTimeout",
      "RetryOnTimeout",
      "SocketKeepalive",
    ],
    NO_SUCH_BACKEND,
  ),
  ...group("elasticsearch", ["RetryOnTimeout", "MaxRetries", "Timeout", "SaveMetaAsText"], NO_SUCH_BACKEND),
  databaseUrl: { old: "CELERY_RESULT_DBURI", accepts: [], instead: NO_SUCH_BACKEND },
  databaseEngineOptions: {
    old: "CELERY_RESULT_ENGINE_OPTIONS",
    accepts: [],
    instead: NO_SUCH_BACKEND,
  },
  databaseShortLivedSessions: {
    old: "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    accepts: [],
    instead: NO_SUCH_BACKEND,
  },
  databaseTableNames: { old: "CELERY_RESULT_DB_TABLENAMES", accepts: [], instead: NO_SUCH_BACKEND },
  ...group("database", ["EngineCallback", "TableSchemas", "CreateTablesAtSetup"], NO_SUCH_BACKEND),
} as const satisfies Readonly<Record<string, FixedSetting>>;

/** Settings of Celery's that may be written down with the one value that is true here anyway. */
export type AcceptedInput = {
  readonly [K in keyof typeof FIXED as (typeof FIXED)[K]["accepts"] extends readonly []
    ? never
    : K]?: (typeof FIXED)[K]["accepts"][number];
};

/** Every name in camelCase, of live and of fixed settings. */
export const SETTING_NAMES: ReadonlySet<string> = new Set([...Object.keys(LIVE), ...Object.keys(FIXED)]);

/** Whether it is a setting of Celery's that has one value here, or none. */
export const isFixed = (setting: string): setting is keyof typeof FIXED => Object.hasOwn(FIXED, setting);

/**
 * Throws the reason for which a setting is refused, unless it is not given or says what happens anyway.
 *
 * @param spelling The setting's name as the user wrote it.
 */
export function refuse(setting: keyof typeof FIXED, value: unknown, spelling: string): void {
  const { accepts, instead }: FixedSetting = FIXED[setting];
  if (value === undefined || value === null || accepts.includes(value)) return;
  const refused =
    accepts.length === 0
      ? "has no meaning here"
      : `is always ${accepts.map(show).join(" or ")} here, and ${show(value)} was given`;
  throw new ImproperlyConfigured(spelling, `${refused}: ${instead}`);
}
