/** What can be said of a task at its declaration and of one call of it: names, ranges, and the check of both. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { isFifo } from "../brokers/broker.ts";
import { checkQueueName } from "../brokers/queue-name.ts";
import { checkCanvas } from "../canvas/shape.ts";
import type { SignatureLike } from "../canvas/signature.ts";
import type { PublishRetryPolicy } from "../brokers/outbox.ts";
import { ImproperlyConfigured } from "../errors.ts";
import {
  type LimitOptions,
  readConcurrency,
  readDebounce,
  readRateLimit,
  readThrottle,
  readUnique,
} from "../limits/declare.ts";
import { nearest } from "../nearest.ts";
import {
  camelCase,
  type Given,
  integer as parseInteger,
  type Parse,
  reasonOf,
  seconds as parseSeconds,
  shape,
  show,
} from "../parse.ts";
import { compressionName } from "../protocol/compression.ts";
import type { SerializerName } from "../protocol/serializers.ts";
import { isPythonTime, parseTime } from "../protocol/time.ts";
import { wrongParams } from "./params.ts";
import type { BatchOptions } from "./batch.ts";
import type { Task } from "./task.ts";

/** The class of an error: `autoretryFor: [FetchError]`. */
export type ErrorClass = abstract new (...args: never[]) => unknown;

/** A class that extends {@link Task}. */
export type TaskClass<T extends Task = Task> = new (...args: ConstructorParameters<typeof Task>) => T;

/** What may stand both in a declaration and in a call; the call's wins. */
export interface DeliveryOptions {
  /** The queue to send to, whatever the routes say. */
  readonly queue?: string | undefined;
  /** With `routingKey`: the direct exchange whose binding names the queue. */
  readonly exchange?: string | undefined;
  /** With `exchange`: the key by which the queue is found. One of the two alone names a queue only where no other one has it, and is else left aside, as in Celery. */
  readonly routingKey?: string | undefined;
  /** 0 to 255. SQLite and memory deliver the higher first, SQS where the queue has `priorities`; else SQS only carries it. */
  readonly priority?: number | undefined;
  /** Default: the setting `taskSerializer`. */
  readonly serializer?: SerializerName | undefined;
  /** Default: the setting `taskCompression`. */
  readonly compression?: string | undefined;
  /** When the task expires: seconds from the call, or an instant. If it has not started by then, it ends as REVOKED. */
  readonly expires?: number | Date | string | undefined;
  /** `true`: the result is not stored, so it cannot be read later. Default: the setting `taskIgnoreResult`. */
  readonly ignoreResult?: boolean | undefined;
  /** Seconds after which the run is given up: FAILURE `TimeLimitExceeded`. Default: the queue's, then `taskTimeLimit`. */
  readonly timeLimit?: number | undefined;
  /** Seconds after which the task's `signal` aborts with `SoftTimeLimitExceeded`. Default: `taskSoftTimeLimit`. */
  readonly softTimeLimit?: number | undefined;
  /** Retries allowed after the first attempt; `null`: without end. Default 3, as in Celery. */
  readonly maxRetries?: number | null | undefined;
}

/** Options of one call: `add.applyAsync([1, 2], { countdown: 20 })`. */
export interface CallOptions extends DeliveryOptions {
  /** Keyword arguments, for a task that names its parameters (Python's do). */
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Seconds from now until the task may start; 0 or more. Not together with `eta`. */
  readonly countdown?: number | undefined;
  /** When the task may start: an instant, or text in ISO 8601 (without an offset: UTC). */
  readonly eta?: Date | string | undefined;
  /** The task's id: any text, 1 to 255 characters (UTF-16 code units, without halves of surrogate pairs). A second task of the same id does not run. Default: a new UUID. */
  readonly taskId?: string | undefined;
  /** Headers of your own: the task finds them in `request.headers`. */
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** A name to log in place of the task's own. */
  readonly shadow?: string | undefined;
  /** What logs and tools show in place of the arguments, such as `"<secret>"`. Default: the arguments, shortened. */
  readonly argsrepr?: string | undefined;
  /** What logs and tools show in place of the keyword arguments. Default: these, shortened. */
  readonly kwargsrepr?: string | undefined;
  /** Called with the result when the task succeeds. */
  readonly link?: SignatureLike | readonly SignatureLike[] | undefined;
  /** Called when the task fails: with its id, or with (request, exception, traceback), see `errback` of a declaration. */
  readonly linkError?: SignatureLike | readonly SignatureLike[] | undefined;
  /** Whether a send that fails for a passing reason is tried again. Default: the setting `taskPublishRetry`. */
  readonly retry?: boolean | undefined;
  /** How it is tried again. Default: the setting `taskPublishRetryPolicy`. */
  readonly retryPolicy?: RetryPolicy | undefined;
  /** FIFO queues: the group whose order is kept. */
  readonly MessageGroupId?: string | undefined;
  /** FIFO queues: of two messages with the same id within five minutes the second is dropped. */
  readonly MessageDeduplicationId?: string | undefined;
  /** Standard queues: whose message it is. Tenants take turns, on SQS, on SQLite and in memory: a tenant with thousands of messages does not delay a tenant with one. */
  readonly tenant?: string | undefined;
}

/** Celery's publish retry policy, in seconds. */
export interface RetryPolicy {
  /** Tries after the first; `null`: without end. Default 3. */
  readonly maxRetries?: number | null | undefined;
  /** Wait before the second try. Default 0. */
  readonly intervalStart?: number | undefined;
  /** Seconds by which each further wait is longer. Default 0.2. */
  readonly intervalStep?: number | undefined;
  /** The longest wait. Default 1. */
  readonly intervalMax?: number | undefined;
}

/** Options of automatic retries. */
export interface RetryKwargs {
  /** Seconds. */
  readonly countdown?: number | undefined;
  readonly maxRetries?: number | null | undefined;
}

/** A schema of any Standard Schema library: of the argument list where it is a tuple, else of the one argument. */
export type TaskSchema = StandardSchemaV1;

/** The hooks, in the order Celery calls them. */
export interface Hooks {
  /** Before the task runs. What it throws is the task's outcome. */
  beforeStart(
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
  ): void | Promise<void>;
  /** After the result is stored. */
  onSuccess(
    retval: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
  ): void | Promise<void>;
  /** After RETRY is stored. `einfo` is the stack. */
  onRetry(
    exc: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    einfo: string | null,
  ): void | Promise<void>;
  /** After FAILURE is stored. */
  onFailure(
    exc: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    einfo: string | null,
  ): void | Promise<void>;
  /** After `onSuccess` or `onFailure`; not after a retry. */
  afterReturn(
    status: string,
    retval: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    einfo: string | null,
  ): void | Promise<void>;
}

/** Options of a declaration: `app.task("tasks.add", { maxRetries: 5 }, fn)`. */
export interface TaskOptions extends DeliveryOptions, LimitOptions, Given<Hooks> {
  /** Gives the running task as the first argument, typed. Must be the literal `true`. */
  readonly bind?: boolean | undefined;
  /** A class that extends {@link Task}: its hooks are the task's, its members are on the bound task. */
  readonly base?: TaskClass | undefined;
  /**
   * The parameters by name and in their order, as Python's signature has them: keyword arguments find their place, and too
   * few or too many are a `TypeError`. What has a default in the function, or is written `"y?"`, may be left out;
   * behind a default that is written so, what is given by keyword alone and is not written so is required.
   * `"...args"` takes all further arguments: one by one where it is the last, else as a list at its place. `"**kwargs"`, as
   * the last, takes all further keyword arguments as an object. Those after `"*"` or `"...args"` are given by keyword alone,
   * those before `"/"` by position alone. Default: any number of arguments, and no keywords.
   */
  readonly params?: readonly string[] | undefined;
  /**
   * What the task gets as a `linkError`: with `true` (request, exception, traceback), with `false` the failed task's id alone.
   * Default, as in Celery: the three where its function takes more than one argument beside the signature's own; the id
   * alone where it is bound.
   */
  readonly errback?: boolean | undefined;
  /** Checked before the task is sent, and again before it runs; its output is what the function gets. */
  readonly schema?: TaskSchema | undefined;
  /** Store FAILURE although results are ignored. Default: `taskStoreErrorsEvenIfIgnored`. */
  readonly storeErrorsEvenIfIgnored?: boolean | undefined;
  /** Show STARTED while the task runs. Default: `taskTrackStarted`. */
  readonly trackStarted?: boolean | undefined;
  /** Seconds until a retry without a countdown of its own. Default 180, as in Celery. */
  readonly defaultRetryDelay?: number | undefined;
  /** Errors after which the task is retried automatically. */
  readonly autoretryFor?: readonly ErrorClass[] | undefined;
  /** Exceptions to `autoretryFor`. */
  readonly dontAutoretryFor?: readonly ErrorClass[] | undefined;
  /** Countdown (seconds) and `maxRetries` of automatic retries. */
  readonly retryKwargs?: RetryKwargs | undefined;
  /** Exponential backoff of automatic retries: `true` starts at 1 s, a number at so many. Default: none. */
  readonly retryBackoff?: boolean | number | undefined;
  /** The longest backoff in seconds. Default 600. */
  readonly retryBackoffMax?: number | undefined;
  /** Draw the backoff from 0 to its value, so that tasks do not come back together. Default true. */
  readonly retryJitter?: boolean | undefined;
  /** Errors that are expected: logged without a stack. */
  readonly throws?: readonly ErrorClass[] | undefined;
  /** Claim the task in the result backend before it runs, so that a duplicate does not run. Default true. */
  readonly claim?: boolean | undefined;
}

/**
 * What `taskRef` can say of a task whose code is not there: all but what belongs to its function. `size` and `wait`, both or
 * neither, are those of a `batchTask`.
 */
export type TaskRefOptions = Omit<TaskOptions, keyof Hooks | "bind" | "base" | "errback"> & Given<BatchOptions>;

/** What `taskAnnotations` can say of a task. What a declaration says of its function and hooks is read there alone. */
export type AnnotationOptions = Omit<TaskOptions, keyof Hooks | "bind" | "base" | "params" | "errback" | "schema">;

/** Defined by who bundles for AWS, as `lovage/cdk` does. */
declare const LOVAGE_BUNDLE: "aws";
/** Whether a task of the app that is bundled has limits. */
declare const LOVAGE_LIMITS: boolean;

/** Says what is wrong with a value, or throws `ImproperlyConfigured` that names the part of it at fault; `at` is the option's name. */
type Check = (value: unknown, at: string) => string | undefined;

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const text: Check = (value) =>
  typeof value === "string" && value !== "" ? undefined : "must be a text that is not empty";
const flag: Check = (value) => (typeof value === "boolean" ? undefined : "must be true or false");
const record: Check = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? undefined : "must be an object";
const hook: Check = (value) => (typeof value === "function" ? undefined : "must be a function");
const seconds =
  (min: number, max: number, name: string): Check =>
  (value) =>
    isNumber(value) && value >= min && value <= max ? undefined : `must be a number of seconds from ${min} to ${name}`;
const integer =
  (min: number, max: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `must be a whole number from ${min} to ${max}`;
const orNull =
  (check: Check): Check =>
  (value) => {
    const wrong = value === null ? undefined : check(value, "");
    return wrong && `${wrong}, or null`;
  };
const parsed =
  (parse: Parse<unknown>): Check =>
  (value, at) => {
    parse(value, at);
    return undefined;
  };
const instant: Check = (value) =>
  isInstant(value) ? undefined : "must be a Date, or text in ISO 8601 such as 2030-01-02T03:04:05+00:00";
/** Arrow functions and the like have no prototype: nothing is an instance of them. */
const isClass = (value: unknown): boolean =>
  typeof value === "function" && typeof value.prototype === "object" && value.prototype !== null;
const errorClasses: Check = (value) => {
  if (!Array.isArray(value)) return "must be a list of error classes";
  const other = value.findIndex((item) => !isClass(item));
  return other === -1 ? undefined : `must be a list of error classes, and [${other}] is none`;
};
const queue: Check = (value, at) => {
  const wrong = text(value, at);
  if (wrong === undefined) checkQueueName(at, "", value as string, false);
  return wrong;
};
const links: Check = (value) => {
  for (const link of Array.isArray(value) ? (value as unknown[]) : [value]) {
    if (isSignature(link)) continue;
    try {
      checkCanvas(link);
    } catch (error) {
      if (!(error instanceof ImproperlyConfigured)) throw error;
      return `must be a signature such as add.s(1), its JSON, or a list of them (${error.message})`;
    }
  }
  return undefined;
};

/** Not asked for its JSON: that would use up members that a generator gives. */
const isSignature = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  "toJSON" in value &&
  typeof value.toJSON === "function" &&
  "task" in value &&
  typeof value.task === "string";

function isInstant(value: unknown): boolean {
  try {
    const time = value instanceof Date ? value.getTime() : typeof value === "string" ? parseTime(value) : Number.NaN;
    return isPythonTime(time);
  } catch {
    return false;
  }
}

/** A hundred years: beyond it a number of seconds is a slip, most often milliseconds or a timestamp. */
const CENTURY_S = 100 * 365 * 86_400;
/** In seconds: SQS keeps a message for 14 days, and a row is kept for 15 at least. */
export const MAX_TIME_LIMIT_S = 14 * 86_400;
const timeLimit = seconds(0.001, MAX_TIME_LIMIT_S, `${MAX_TIME_LIMIT_S} (14 days)`);
const retries = orNull(integer(0, 2 ** 31 - 1));
const parseRetries: Parse<number | null> = (value, at) => (value === null ? null : parseInteger(0)(value, at));

const retryKwargs = shape<RetryKwargs>(
  { countdown: parseSeconds({ min: 0, max: CENTURY_S }), maxRetries: parseRetries },
  {},
);

/** Checks a retry policy, of the setting `taskPublishRetryPolicy` or of a call, and fills it up with `defaults`. */
export const retryPolicy = <T extends RetryPolicy>(defaults: T): Parse<T> =>
  shape<PublishRetryPolicy>(
    {
      maxRetries: parseRetries,
      intervalStart: parseSeconds({ min: 0 }),
      intervalStep: parseSeconds({ min: 0 }),
      intervalMax: parseSeconds({ min: 0 }),
    },
    defaults as Partial<PublishRetryPolicy>,
    {
      retryErrors: "only errors that can pass are tried again",
      errback: "give the call a try of your own around it",
    },
    // Of the keys of `defaults` none is lost, and no other is required.
  ) as Parse<unknown> as Parse<T>;

const DELIVERY_CHECKS: Record<keyof DeliveryOptions, Check> = {
  queue,
  exchange: (value) => (typeof value === "string" ? undefined : "must be text"),
  routingKey: text,
  priority: integer(0, 255),
  serializer: (value) =>
    value === "json" || value === "msgpack" || value === "yaml"
      ? undefined
      : value === "pickle"
        ? "pickle runs code of whoever wrote the message; use json, msgpack or yaml"
        : "must be json, msgpack or yaml",
  compression: (value) =>
    typeof value === "string" && compressionName(value) !== undefined
      ? undefined
      : "must be gzip, brotli or zstd, which are what JavaScript platforms can write",
  expires: (value, at) =>
    isNumber(value)
      ? seconds(0, CENTURY_S, "a hundred years")(value, at)
      : instant(value, at)?.replace("must be", "must be seconds from now,"),
  ignoreResult: flag,
  timeLimit,
  softTimeLimit: timeLimit,
  maxRetries: retries,
};

/** Half of a character: no UTF-8 has it, so that stores would keep another id than the one that was given. */
const HALF = /\p{Cs}/u;

const CALL_CHECKS: Record<keyof CallOptions, Check> = {
  ...DELIVERY_CHECKS,
  kwargs: record,
  countdown: seconds(0, CENTURY_S, "a hundred years"),
  eta: instant,
  taskId: (value) =>
    typeof value === "string" && value.length >= 1 && value.length <= 255 && !HALF.test(value)
      ? undefined
      : "must be text of 1 to 255 characters, with no half of a surrogate pair",
  headers: record,
  shadow: text,
  argsrepr: (value) => (typeof value === "string" ? undefined : "must be text"),
  kwargsrepr: (value) => (typeof value === "string" ? undefined : "must be text"),
  link: links,
  linkError: links,
  retry: flag,
  retryPolicy: parsed(retryPolicy({})),
  MessageGroupId: text,
  MessageDeduplicationId: text,
  tenant: text,
};

const TASK_CHECKS: Record<keyof TaskOptions, Check> = {
  ...DELIVERY_CHECKS,
  beforeStart: hook,
  onSuccess: hook,
  onRetry: hook,
  onFailure: hook,
  afterReturn: hook,
  bind: flag,
  base: (value) => (typeof value === "function" ? undefined : "must be a class that extends Task"),
  params: wrongParams,
  errback: flag,
  schema: (value) =>
    (typeof value === "object" || typeof value === "function") && value !== null && "~standard" in value
      ? undefined
      : "must be a schema of a Standard Schema library (zod, valibot, arktype …)",
  storeErrorsEvenIfIgnored: flag,
  trackStarted: flag,
  defaultRetryDelay: seconds(0, CENTURY_S, "a hundred years"),
  autoretryFor: errorClasses,
  dontAutoretryFor: errorClasses,
  retryKwargs: parsed(retryKwargs),
  retryBackoff: (value) =>
    typeof value === "boolean" || (isNumber(value) && value > 0)
      ? undefined
      : "must be true, false, or a number of seconds over 0",
  retryBackoffMax: seconds(0, CENTURY_S, "a hundred years"),
  retryJitter: flag,
  throws: errorClasses,
  claim: flag,
  ...limitChecks(),
};

/** A bundle for an app without limits refuses what has some where it is sent or run. */
function limitChecks(): Record<keyof LimitOptions, Check> {
  if (typeof LOVAGE_LIMITS === "undefined" || LOVAGE_LIMITS)
    return {
      rateLimit: parsed(readRateLimit),
      concurrency: parsed(readConcurrency),
      unique: parsed(readUnique),
      debounce: parsed(readDebounce),
      throttle: parsed(readThrottle),
    };
  const any: Check = () => undefined;
  return { rateLimit: any, concurrency: any, unique: any, debounce: any, throttle: any };
}

/** Options of Celery that mean nothing here: why, and what to do. */
const REFUSED: Readonly<Record<string, string>> = {
  rateLimit: "a rate belongs to a task, not to a call: give it where the task is declared",
  concurrency: "a limit belongs to a task, not to a call: give it where the task is declared",
  acksLate: "a message is acknowledged after its outcome is stored; leave it out",
  acksOnFailureOrTimeout: "the message of a failed task is acknowledged; throw Reject for a dead letter",
  rejectOnWorkerLost: "a task whose worker died runs again, up to maxDeliveries; leave it out",
  typing: "types are checked by TypeScript, and by `schema`; leave it out",
  pydantic: "use `schema` with any Standard Schema library",
  resultSerializer: "set resultSerializer of the app: readers must know it",
  sendEvents: "there are no events; listen with app.on()",
  producer: "connections are made and shared by the app; leave it out",
  connection: "connections are made and shared by the app; leave it out",
  router: "routes are a setting of the app: taskRoutes",
  deliveryMode: "messages are always durable; leave it out",
  replyTo: "results are read from the result backend; leave it out",
  timeout: "use timeLimit or softTimeLimit (seconds)",
  delay: "use countdown (seconds) or eta",
};

const HOOK = "belongs to the declaration; give the task a base class, or listen with app.on()";

/** What a declaration alone can say: why an annotation cannot. */
const DECLARED: Readonly<Record<Exclude<keyof TaskOptions, keyof AnnotationOptions>, string>> = {
  beforeStart: HOOK,
  onSuccess: HOOK,
  onRetry: HOOK,
  onFailure: HOOK,
  afterReturn: HOOK,
  bind: "belongs to the function; give it where the task is declared",
  base: "belongs to the function; give it where the task is declared",
  params: "belongs to the function; give it where the task is declared",
  errback: "belongs to the function; give it where the task is declared",
  schema: "belongs to the function; give it where the task is declared",
};

/** What beat says of each message itself. */
const OF_BEAT: Readonly<Record<string, string>> = {
  kwargs: "give it in the entry itself, beside args",
  taskId: "each run has an id of its own, made of its slot; leave it out",
};

/** Where options were given, for errors: what comes before an option's name, and whose options they are. */
interface Place {
  readonly prefix: string;
  readonly of: string;
  /** Reasons for which options that exist are refused here. */
  readonly refused?: Readonly<Record<string, string>>;
}

function check({ prefix, of, refused = {} }: Place, options: object, checks: Readonly<Record<string, Check>>): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new ImproperlyConfigured(
      prefix.slice(0, -1) || "options",
      `the options of ${of} must be an object; given: ${show(options)}`,
    );
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const at = prefix + name;
    if (Object.hasOwn(refused, name)) throw new ImproperlyConfigured(at, refused[name] as string);
    const test = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (test === undefined)
      throw new ImproperlyConfigured(at, `${of} has no such option; ${unknownHint(name, checks)}`);
    const wrong = failing(test, value, at, of);
    if (wrong !== undefined) throw new ImproperlyConfigured(at, `${of}: ${wrong}; given: ${show(value)}`);
  }
  const { timeLimit, softTimeLimit } = options as DeliveryOptions;
  if (timeLimit !== undefined && softTimeLimit !== undefined && softTimeLimit >= timeLimit) {
    throw new ImproperlyConfigured(
      `${prefix}softTimeLimit`,
      `${of}: must be below timeLimit (${timeLimit} s), or it never comes into force; given: ${softTimeLimit}`,
    );
  }
}

/** What a check says, or what it throws with the place named. */
function failing(test: Check, value: unknown, at: string, of: string): string | undefined {
  try {
    return test(value, at);
  } catch (error) {
    if (!(error instanceof ImproperlyConfigured)) throw error;
    throw new ImproperlyConfigured(error.setting, `${of}: ${reasonOf(error)}`, { cause: error });
  }
}

function unknownHint(name: string, checks: Readonly<Record<string, Check>>): string {
  const camel = camelCase(name);
  if (camel !== name && Object.hasOwn(checks, camel)) return `it is called ${camel} here`;
  // What a function carries was called before it was deployed: there it is enough that no such option exists.
  if (typeof LOVAGE_BUNDLE === "undefined" && Object.hasOwn(REFUSED, camel)) return REFUSED[camel] as string;
  const guess = nearest(name, Object.keys(checks));
  return guess === undefined ? `known: ${Object.keys(checks).join(", ")}` : `did you mean ${guess}?`;
}

/**
 * Throws `ImproperlyConfigured` for what cannot be a task's name: it stands in logs and in headers, so that it has 1 to
 * 255 characters, no line break or other control character, and no half of a surrogate pair.
 */
export function checkTaskName(name: unknown): asserts name is string {
  if (typeof name === "string" && name.length >= 1 && name.length <= 255 && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(name))
    return;
  throw new ImproperlyConfigured(
    "task",
    `a task's name must be text of 1 to 255 characters without line breaks and control characters; given: ${show(name)}`,
  );
}

/** Throws `ImproperlyConfigured` for an option that does not exist or is out of its range. */
export function checkTaskOptions(task: string, options: object): void {
  check({ prefix: "", of: `task ${task}` }, options, TASK_CHECKS);
  checkWaiting(task, options);
}

/** Throws `ImproperlyConfigured` for an option that does not exist, is out of its range, or belongs to the task's function. */
export function checkRefOptions(task: string, options: object): void {
  const { params: _, schema: __, ...refused } = DECLARED;
  check({ prefix: "", of: `the taskRef of ${task}`, refused }, options, TASK_CHECKS);
  checkWaiting(task, options);
}

/**
 * The options of a task's declaration, together with those of its `taskRef`: what is said there need not be said again. Throws
 * `ImproperlyConfigured` where the two differ, as callers and the deployment may know the one alone.
 */
export function withRefOptions<T extends object>(task: string, ref: TaskRefOptions, options: T): T {
  for (const [name, value] of Object.entries(options)) {
    const said: unknown = ref[name as keyof TaskRefOptions];
    if (said === undefined || value === undefined || Object.is(said, value)) continue;
    throw new ImproperlyConfigured(
      name,
      `task ${task}: its taskRef has ${show(said)}, and its declaration ${show(value)}; give it in one of the two`,
    );
  }
  return { ...ref, ...options };
}

/** Throws `ImproperlyConfigured` for limits that a task's other options leave no way to keep. */
function checkWaiting(task: string, options: TaskOptions): void {
  const { rateLimit, concurrency, queue, claim } = options;
  const uniques = (["unique", "debounce", "throttle"] as const).filter((name) => options[name] !== undefined);
  const [first, second] = uniques;
  if (second !== undefined)
    throw new ImproperlyConfigured(second, `task ${task}: cannot have it and ${first}; leave one of the two out`);
  if (first !== undefined && claim === false)
    throw new ImproperlyConfigured(
      first,
      `task ${task}: needs the claim, and claim: false turns it off; leave one of the two out`,
    );
  if (first === "debounce" && queue !== undefined && isFifo(queue))
    throw new ImproperlyConfigured(
      first,
      `task ${task}: the FIFO queue ${queue} takes no delay of a single message; give the task a standard queue`,
    );
  if (rateLimit === undefined && concurrency === undefined) return;
  const at = rateLimit === undefined ? "concurrency" : "rateLimit";
  if (queue !== undefined && isFifo(queue))
    throw new ImproperlyConfigured(
      at,
      `task ${task}: a message of the FIFO queue ${queue} cannot wait by itself, as what is behind it would wait too; give the task a standard queue`,
    );
  if (concurrency !== undefined && claim === false)
    throw new ImproperlyConfigured(
      "concurrency",
      `task ${task}: needs the claim, and claim: false turns it off; leave one of the two out`,
    );
}

/** The same for what an annotation says of tasks; `at` is what errors call it. */
export function checkAnnotation(options: object, at: string): asserts options is AnnotationOptions {
  check({ prefix: `${at}.`, of: "an annotation", refused: DECLARED }, options, TASK_CHECKS);
}

/** Throws `ImproperlyConfigured` for an option that does not exist or is out of its range. */
export function checkCallOptions(task: string, options: CallOptions): void {
  checkCallAt({ prefix: "", of: `a call of ${task}` }, options);
}

/** The check that every call passes first: name, arguments and options. */
export function checkCall(name: string, args: unknown, options: CallOptions): void {
  checkTaskName(name);
  if (!Array.isArray(args))
    throw new ImproperlyConfigured("args", `the arguments of ${name} must be a list; given: ${show(args)}`);
  checkCallOptions(name, options);
}

/** The same for what a signature is made of, which may be said to be immutable. */
export function checkSignature(
  name: string,
  args: unknown,
  options: CallOptions & { readonly immutable?: boolean | undefined },
): void {
  if (typeof options !== "object") return checkCall(name, args, options);
  const { immutable, ...call } = options;
  checkCall(name, args, call);
  const wrong = immutable === undefined ? undefined : flag(immutable, "immutable");
  if (wrong !== undefined) throw new ImproperlyConfigured("immutable", `${wrong}; given: ${show(immutable)}`);
}

/** The same for the options of an entry of beat's; `at` is what errors call them. */
export function checkBeatOptions(task: string, options: CallOptions, at: string): void {
  checkCallAt({ prefix: `${at}.`, of: `a call of ${task}`, refused: OF_BEAT }, options);
}

function checkCallAt(place: Place, options: CallOptions): void {
  check(place, options, CALL_CHECKS);
  if (options.countdown !== undefined && options.eta !== undefined)
    throw new ImproperlyConfigured(`${place.prefix}countdown`, `${place.of} can have countdown or eta, not both`);
}
