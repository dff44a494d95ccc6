/** How the values of settings are read and checked. Each says what was given and what is allowed. */
import { type BeatEntry, scheduleEntries } from "../beat/schedule.ts";
import { maskUrl } from "../brief.ts";
import { isFifo } from "../brokers/broker.ts";
import type { PublishRetryPolicy } from "../brokers/outbox.ts";
import type { Bands } from "../brokers/queue-name.ts";
import type { Route, RoutePair, RouterFunction, TaskRouter } from "../brokers/routes.ts";
import type {
  BrokerTransportOptions,
  PredefinedQueue,
  Compression,
  ParsedQueue,
  MetricsChoice,
  WorkerPool,
  QueueWorker,
  ResultBackendTransportOptions,
  TaskAnnotations,
} from "./config.ts";
import { isRequestHandler, type RequestHandler } from "../request-handler.ts";
import { checkZone } from "../beat/zone.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { PLACEHOLDER } from "../placeholder.ts";
import * as known from "./hints.ts";
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
} from "../parse.ts";
import { compressionName } from "../protocol/compression.ts";
import { type SerializerName, serializerName } from "../protocol/serializers.ts";
import { type AnnotationOptions, checkAnnotation, checkBeatOptions, MAX_TIME_LIMIT_S } from "../tasks/options.ts";

/** Defined by who bundles for AWS, as `lovage/cdk` does. */
declare const LOVAGE_BUNDLE: "aws";

const NONE: Hints = {};

/** No name is new to the app in a function's bundle, which was made when it was deployed: they stay out. */
const hints: Record<keyof typeof known, Hints> =
  typeof LOVAGE_BUNDLE === "undefined"
    ? known
    : {
        QUEUE_HINTS: NONE,
        ROUTE_HINTS: NONE,
        BROKER_HINTS: NONE,
        PREDEFINED_QUEUE_HINTS: NONE,
        KEYPREFIX_HINTS: NONE,
      };

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

export function url(
  schemes: readonly string[],
  isRegistered: (scheme: string) => boolean,
  forms: string,
): Parse<string> {
  return (value, at) => {
    const given = name(value, at);
    const { scheme } = parseUrl(given);
    if (schemes.includes(scheme) || isRegistered(scheme)) return given;
    // Not shown whole: a URL can hold a password.
    const shown = scheme ? `one that begins with ${scheme}://` : "a text that is no URL";
    const token = typeof LOVAGE_BUNDLE === "undefined" ? PLACEHOLDER.exec(given)?.[0] : undefined;
    throw new ImproperlyConfigured(at, `must be ${forms} (given: ${token ?? shown})`);
  };
}

export const serializer: Parse<SerializerName> = (value, at) => {
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

export const serializers: Parse<readonly SerializerName[]> = (value, at) => {
  const list = names(value, at);
  if (list.length === 0) return fail(at, "a list of at least one serializer", value);
  return Object.freeze([...new Set(list.map((element) => serializer(element, at)))]);
};

export const compression: Parse<Compression> = (value, at) => {
  const found = typeof value === "string" ? compressionName(value) : undefined;
  return found ?? fail(at, "gzip, brotli or zstd, which are what JavaScript platforms can write", value);
};

export const metrics: Parse<MetricsChoice> = (value, at) =>
  value === "queue" || value === "task" || value === false ? value : fail(at, '"queue", "task" or false', value);

/** As Celery has it: names that mean the same here. */
const POOLS: Readonly<Record<string, WorkerPool>> = {
  async: "async",
  processes: "processes",
  threads: "threads",
  solo: "solo",
  prefork: "processes",
  gevent: "async",
  eventlet: "async",
};

export const workerPool: Parse<WorkerPool> = (value, at) =>
  (typeof value === "string" && Object.hasOwn(POOLS, value) ? POOLS[value] : undefined) ??
  fail(at, `one of ${Object.keys(POOLS).join(", ")}`, value);

export const timezone: Parse<string> = (value, at) => checkZone(name(value, at), at);

const UNITS: Readonly<Record<string, number>> = { weeks: 604_800, days: 86_400, hours: 3600, minutes: 60, seconds: 1 };

/** Seconds of a number or of `{ days: 1, hours: 2 }`. */
export const duration: Parse<number> = (value, at) => {
  if (!isPlain(value)) return seconds({ min: 0 })(value, at);
  const parts = Object.entries(value).filter(([, amount]) => amount !== undefined);
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
  // A function that runs has its environment already.
  if (typeof LOVAGE_BUNDLE === "undefined") checkEnvironment(given, at);
  return Object.freeze(given);
};

/**
 * The environment variables that an app reads, by the setting that each is. A deployment sets them for its own, and says them
 * in outputs ({@link outputOf}), from which `lovage env` makes a shell's.
 */
export const ENVIRONMENT = {
  LOVAGE_BROKER_URL: "brokerUrl",
  LOVAGE_RESULT_BACKEND: "resultBackend",
  LOVAGE_BEAT_FUNCTION: "beatFunction",
  LOVAGE_PAYLOAD_STORE: "payloadStore",
} as const;

/** What the output is called that says a variable: `LovageBrokerUrl`. */
export function outputOf(variable: keyof typeof ENVIRONMENT): string {
  const setting = ENVIRONMENT[variable];
  return `Lovage${setting.charAt(0).toUpperCase()}${setting.slice(1)}`;
}

/** Lambda's limit of names and values together, in bytes. */
export const MAX_ENVIRONMENT = 4096;
/** What Lambda sets and lets nobody else set. */
const LAMBDAS =
  /^(AWS_((DEFAULT_)?REGION|EXECUTION_ENV|ACCESS_KEY(_ID)?|SECRET_ACCESS_KEY|SESSION_TOKEN|LAMBDA_(FUNCTION|INIT|LOG|RUNTIME)_\w+)|LAMBDA_(TASK_ROOT|RUNTIME_DIR))$/;

/** Refuses what no function of Lambda takes as its environment. Throws `ImproperlyConfigured`. */
export function checkEnvironment(variables: Readonly<Record<string, string>>, at: string): void {
  for (const key of Object.keys(variables)) {
    const refused = (why: string) => new ImproperlyConfigured(`${at}.${key}`, why);
    if (Object.hasOwn(ENVIRONMENT, key)) throw refused("is set by the deployment, and may not be given another value");
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

/** As far as it can be told without a request: what is wrong is not to be found out by the first text that is too large. */
const PAYLOAD_STORE =
  /^$|^s3:\/\/([^@/?]*@)?[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[\w./-]*)?(\?((region|endpoint)=[^&]*(&|$))*)?$|^file:\/\/[^/]*\/|^memory:\/\/[\w-]*$/;

export const payloadStore: Parse<string> = (value, at) =>
  typeof value === "string" && PAYLOAD_STORE.test(value)
    ? value
    : fail(
        at,
        's3://bucket/prefix (after "?" region and endpoint), file:///folder, memory://name, or "" for none',
        typeof value === "string" ? maskUrl(value) : value,
      );

const WORKERS = ["function", "container", "none"] as const satisfies readonly QueueWorker[];

const queueWorker: Parse<QueueWorker> = (value, at) =>
  WORKERS.find((worker) => worker === value) ?? fail(at, `one of ${WORKERS.map(show).join(", ")}`, value);

const MAX_BANDS = 10;
const MAX_WEIGHT = 1000;

/** `[0, 5, 9]`, of which each weighs twice as much as the one before, or `{ 0: 1, 5: 2, 9: 7 }`. */
const bands: Parse<Bands> = (value, at) => {
  const isList = Array.isArray(value);
  const given: readonly (readonly [unknown, unknown])[] = isList
    ? value.map((priority: unknown) => [priority, 1] as const)
    : Object.entries(object(value, at)).map(
        ([key, weight]) => [/^\d+$/.test(key) ? Number(key) : key, weight] as const,
      );
  const read = given
    .map(([priority, weight]) => ({
      priority: integer(0, 255)(priority, isList ? at : `${at} (a priority)`),
      weight: integer(1, MAX_WEIGHT)(weight, `${at}.${String(priority)}`),
    }))
    .sort((a, b) => a.priority - b.priority);
  if (read.length < 2 || read.length > MAX_BANDS || new Set(read.map(({ priority }) => priority)).size < read.length)
    return fail(at, `two to ${MAX_BANDS} priorities, each another one, such as [0, 5, 9]`, value);
  return Object.freeze(read.map((band, rank) => (isList ? { ...band, weight: 2 ** rank } : band)));
};

const queueShape = shape<ParsedQueue>(
  {
    exchange: text,
    routingKey: name,
    timeLimit: seconds({ over: 0, max: MAX_TIME_LIMIT_S }),
    worker: queueWorker,
    memorySize: integer(128, 10_240),
    batchSize: integer(1, 10_000),
    maxBatchingWindow: integer(0, 300),
    maxConcurrency: integer(2, 1000),
    reservedConcurrency: integer(0),
    environment,
    priorities: bands,
  },
  {},
  hints.QUEUE_HINTS,
);

/** What no FIFO queue has. */
function checkFifo({ batchSize = 1, maxBatchingWindow, priorities }: ParsedQueue, at: string): void {
  if (batchSize > 10) fail(`${at}.batchSize`, "at most 10 on a FIFO queue", batchSize);
  if (maxBatchingWindow) {
    throw new ImproperlyConfigured(
      `${at}.maxBatchingWindow`,
      "AWS has no batching window for FIFO queues; leave it out",
    );
  }
  if (priorities !== undefined) {
    throw new ImproperlyConfigured(
      `${at}.priorities`,
      "a FIFO queue keeps the order of its messages, and priority would break it; leave them out",
    );
  }
}

export const queues: Parse<Readonly<Record<string, ParsedQueue>>> = (value, at) => {
  const entries: readonly (readonly [string, unknown])[] = Array.isArray(value)
    ? value.map((queue: unknown, i) => {
        if (typeof queue === "string") return [queue, {}] as const;
        const { name: queueName, ...options } = object(queue, `${at}[${i}]`);
        return [name(queueName, `${at}[${i}].name`), options] as const;
      })
    : Object.entries(object(value, at));
  if (entries.length === 0)
    return fail(at, "at least one queue; leave the setting out for the default queue alone", value);
  const result: Record<string, ParsedQueue> = Object.create(null);
  for (const [queueName, options] of entries) {
    if (Object.hasOwn(result, queueName))
      throw new ImproperlyConfigured(at, `names the queue ${JSON.stringify(queueName)} twice`);
    const queue = queueShape(options ?? {}, `${at}.${queueName}`);
    // Those of a function were checked when it was deployed.
    if (typeof LOVAGE_BUNDLE === "undefined" && isFifo(queueName)) checkFifo(queue, `${at}.${queueName}`);
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
  hints.ROUTE_HINTS,
);

/** A route as an object. Read at the start where it stands in the config, and at each call where a function returns it. */
const parseRoute: Parse<Route> = (value, at) => {
  if (typeof value === "string") return Object.freeze({ queue: name(value, at) });
  if (!isPlain(value)) return fail(at, "a queue's name, or an object of options such as { queue }", value);
  const { exchangeType, ...route } = value;
  if (exchangeType !== undefined && exchangeType !== "direct") {
    throw new ImproperlyConfigured(
      `${at}.exchangeType`,
      `${show(exchangeType)} is refused: ${hints.QUEUE_HINTS["exchangeType"] ?? "SQS has no exchanges of other types"}`,
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
          `must be a router; put pairs of a pattern and a route into a list of their own inside the list of routers: [[["media.*", "media"]]] (given: ${show(value)})`,
        );
      }
      return [pair[0], parseRoute(pair[1], `${at}[${i}]`)];
    }),
  );
};

export const routes: Parse<readonly TaskRouter[]> = (value, at) =>
  Object.freeze(
    Array.isArray(value) ? value.map((element: unknown, i) => router(element, `${at}[${i}]`)) : [router(value, at)],
  );

export const annotations: Parse<TaskAnnotations> = (value, at) => {
  const result: Record<string, AnnotationOptions> = Object.create(null);
  for (const [i, map] of (Array.isArray(value) ? (value as readonly unknown[]) : [value]).entries()) {
    const here = Array.isArray(value) ? `${at}[${i}]` : at;
    for (const [task, options] of Object.entries(object(map, here))) {
      if (task !== "*" && task.includes("*")) {
        throw new ImproperlyConfigured(
          `${here}[${JSON.stringify(task)}]`,
          'matches no task: a key must be the name of a task, or "*" for all tasks',
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
export const beatSchedule: Parse<Readonly<Record<string, BeatEntry>>> = (value, at) => {
  const entries = value as Readonly<Record<string, BeatEntry>>;
  // Those of a function were checked when it was deployed; beat's reads them once more.
  if (typeof LOVAGE_BUNDLE !== "undefined") return Object.freeze({ ...entries });
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
export const MAX_JOURNAL_SECONDS = 366 * 86_400;

export const BROKER_OPTIONS: BrokerTransportOptions = {
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
  requestHandler: undefined,
};

const predefinedQueue = shape<PredefinedQueue>(
  { url: (value, at) => (URL.canParse(text(value, at)) ? text(value, at) : fail(at, "a queue's URL", value)) },
  {},
  hints.PREDEFINED_QUEUE_HINTS,
);

const predefinedQueues: Parse<Readonly<Record<string, PredefinedQueue>>> = (value, at) =>
  Object.freeze(
    Object.fromEntries(
      Object.entries(object(value, at)).map(([queueName, queue]) => {
        const where = `${at}[${JSON.stringify(queueName)}]`;
        const { url }: Partial<PredefinedQueue> = predefinedQueue(queue, where);
        if (url === undefined) return fail(`${where}.url`, "a queue's URL", url);
        const isOrdered = isFifo(queueName);
        if (typeof LOVAGE_BUNDLE === "undefined" && isFifo(new URL(url).pathname) !== isOrdered)
          return fail(
            `${where}.url`,
            `the URL of a ${isOrdered ? "FIFO" : "standard"} queue, as its name says: both end in .fifo, or neither does`,
            url,
          );
        return [queueName, Object.freeze({ url })];
      }),
    ),
  );

const requestHandler: Parse<RequestHandler> = (value, at) =>
  isRequestHandler(value) ? value : fail(at, "an object with handle(), as the AWS SDK's clients take it", value);

export const brokerTransportOptions = shape<BrokerTransportOptions>(
  {
    visibilityTimeout: seconds({ over: 0, max: 43_200 }),
    maxDelay: seconds({ over: 0, max: Number.POSITIVE_INFINITY }),
    region: name,
    queueNamePrefix: text,
    // A request that does not wait is followed by another at once: a worker would do nothing else.
    waitTimeSeconds: seconds({ over: 0, max: 20 }),
    predefinedQueues,
    schedulerRoleArn: name,
    schedulerGroup: name,
    schedulerKeyArn: name,
    schedulerMinDelay: integer(75),
    requestHandler,
  },
  BROKER_OPTIONS,
  hints.BROKER_HINTS,
);

export const resultBackendTransportOptions = shape<ResultBackendTransportOptions>(
  // Celery puts the sign in, and a reader that leaves it out finds no row.
  { globalKeyprefix: (value, at) => text(value, at).replace(/[^:_.-]$/, "$&_"), requestHandler },
  { globalKeyprefix: "", requestHandler: undefined },
  hints.KEYPREFIX_HINTS,
);

export const PUBLISH_RETRY: PublishRetryPolicy = { maxRetries: 3, intervalStart: 0, intervalStep: 0.2, intervalMax: 1 };
