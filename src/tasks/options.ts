/** What can be said of a task at its declaration and of one call of it: names, ranges, and the check of both. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { SignatureLike } from "../canvas/signature.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { SerializerName } from "../protocol/serializers.ts";
import type { Task } from "./task.ts";

/** The class of an error: `autoretryFor: [FetchError]`. */
export type ErrorClass = abstract new (...args: never[]) => unknown;

/** A class that extends {@link Task}. */
export type TaskClass<T extends Task = Task> = new (...args: ConstructorParameters<typeof Task>) => T;

/** What may stand both in a declaration and in a call; the call's wins. */
export interface DeliveryOptions {
  /** The queue to send to, past the routes. */
  readonly queue?: string;
  /** With `routingKey`: the direct exchange whose binding names the queue. */
  readonly exchange?: string;
  readonly routingKey?: string;
  /** 0 to 255. SQLite and memory deliver the higher first; SQS only carries it. */
  readonly priority?: number;
  /** Default: the setting `taskSerializer`. */
  readonly serializer?: SerializerName;
  /** Default: the setting `taskCompression`. */
  readonly compression?: string;
  /** From when on the task must not start any more: seconds from the call, or an instant. It then ends as REVOKED. */
  readonly expires?: number | Date | string;
  /** The result is of no interest: nothing can be read of it later. Default: the setting `taskIgnoreResult`. */
  readonly ignoreResult?: boolean;
  /** Seconds after which the run is given up: FAILURE `TimeLimitExceeded`. Default: the queue's, then `taskTimeLimit`. */
  readonly timeLimit?: number;
  /** Seconds after which the task's `signal` aborts with `SoftTimeLimitExceeded`. Default: `taskSoftTimeLimit`. */
  readonly softTimeLimit?: number;
  /** Retries allowed after the first attempt; `null`: without end. Default 3, as in Celery. */
  readonly maxRetries?: number | null;
}

/** Options of one call: `add.applyAsync([1, 2], { countdown: 20 })`. */
export interface CallOptions extends DeliveryOptions {
  /** Keyword arguments, for a task that names its parameters (Python's do). */
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Seconds from now until the task may start; 0 or more. Not together with `eta`. */
  readonly countdown?: number;
  /** When the task may start: an instant, or text in ISO 8601 (without an offset: UTC). */
  readonly eta?: Date | string;
  /** The task's id: any text, 1 to 255 characters. A second task of the same id does not run. Default: a new UUID. */
  readonly taskId?: string;
  /** Headers of your own: the task finds them in `request.headers`. */
  readonly headers?: Readonly<Record<string, unknown>>;
  /** A name to log in place of the task's own. */
  readonly shadow?: string;
  /** Called with the result when the task succeeds. */
  readonly link?: SignatureLike | readonly SignatureLike[];
  /** Called with the task's id when it fails. */
  readonly linkError?: SignatureLike | readonly SignatureLike[];
  /** Whether a send that fails for a passing reason is tried again. Default: the setting `taskPublishRetry`. */
  readonly retry?: boolean;
  /** How it is tried again. Default: the setting `taskPublishRetryPolicy`. */
  readonly retryPolicy?: RetryPolicy;
  /** FIFO queues: the group whose order is kept. */
  readonly MessageGroupId?: string;
  /** FIFO queues: of two messages with the same id within five minutes the second is dropped. */
  readonly MessageDeduplicationId?: string;
  /** Standard queues: whose message it is. SQS then shares the queue fairly between tenants. */
  readonly tenant?: string;
}

/** Celery's publish retry policy, in seconds. */
export interface RetryPolicy {
  readonly maxRetries?: number | null;
  readonly intervalStart?: number;
  readonly intervalStep?: number;
  readonly intervalMax?: number;
}

/** A schema of any Standard Schema library: of the argument list where it is a tuple, else of the one argument. */
export type TaskSchema = StandardSchemaV1;

/** The hooks, in the order Celery calls them. */
export interface Hooks {
  /** Before the task runs. What it throws is the task's outcome. */
  beforeStart?(
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
  ): void | Promise<void>;
  /** After the result is stored. */
  onSuccess?(
    retval: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
  ): void | Promise<void>;
  /** After RETRY is stored. `einfo` is the stack. */
  onRetry?(
    exc: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    einfo: string | null,
  ): void | Promise<void>;
  /** After FAILURE is stored. */
  onFailure?(
    exc: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    einfo: string | null,
  ): void | Promise<void>;
  /** After `onSuccess` or `onFailure`; not after a retry. */
  afterReturn?(
    status: string,
    retval: unknown,
    taskId: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    einfo: string | null,
  ): void | Promise<void>;
}

/** Options of a declaration: `app.task("tasks.add", { maxRetries: 5 }, fn)`. */
export interface TaskOptions extends DeliveryOptions, Hooks {
  /** Gives the running task as the first argument, typed. Must be the literal `true`. */
  readonly bind?: boolean;
  /** A class that extends {@link Task}: its hooks are the task's, its members are on the bound task. */
  readonly base?: TaskClass;
  /** Names of the parameters, so that keyword arguments find their place. */
  readonly params?: readonly string[];
  /** Checked before the task is sent, and again before it runs; its output is what the function gets. */
  readonly schema?: TaskSchema;
  /** Store FAILURE although results are ignored. Default: `taskStoreErrorsEvenIfIgnored`. */
  readonly storeErrorsEvenIfIgnored?: boolean;
  /** Show STARTED while the task runs. Default: `taskTrackStarted`. */
  readonly trackStarted?: boolean;
  /** Seconds until a retry without a countdown of its own. Default 180, as in Celery. */
  readonly defaultRetryDelay?: number;
  /** Errors upon which the task is run again by itself. */
  readonly autoretryFor?: readonly ErrorClass[];
  /** Exceptions to `autoretryFor`. */
  readonly dontAutoretryFor?: readonly ErrorClass[];
  /** Countdown (seconds) and `maxRetries` of automatic retries. */
  readonly retryKwargs?: { readonly countdown?: number; readonly maxRetries?: number | null };
  /** Exponential backoff of automatic retries: `true` starts at 1 s, a number at so many. Default: none. */
  readonly retryBackoff?: boolean | number;
  /** The longest backoff in seconds. Default 600. */
  readonly retryBackoffMax?: number;
  /** Draw the backoff from 0 to its value, so that tasks do not come back together. Default true. */
  readonly retryJitter?: boolean;
  /** Errors that are expected: logged without a stack. */
  readonly throws?: readonly ErrorClass[];
  /** Claim the task in the result backend before it runs, so that a duplicate does not run. Default true. */
  readonly claim?: boolean;
}

type Check = (value: unknown) => string | undefined;

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
    const wrong = value === null ? undefined : check(value);
    return wrong && `${wrong}, or null`;
  };
const instant: Check = (value) => {
  const time = value instanceof Date ? value.getTime() : typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? "must be a Date, or text in ISO 8601" : undefined;
};
const errorClasses: Check = (value) =>
  Array.isArray(value) && value.every((item) => typeof item === "function")
    ? undefined
    : "must be a list of error classes";

/** A hundred years: beyond it a number of seconds is a slip, most often milliseconds or a timestamp. */
const CENTURY_S = 100 * 365 * 86_400;
/** AWS's longest run of a Lambda function is 900 s; a long-lived worker is held by SQS's visibility of 12 hours. */
const MAX_TIME_LIMIT_S = 43_200;
const timeLimit = seconds(0.001, MAX_TIME_LIMIT_S, `${MAX_TIME_LIMIT_S} (12 hours)`);
const retries = orNull(integer(0, 2 ** 31 - 1));

const DELIVERY_CHECKS: Record<keyof DeliveryOptions, Check> = {
  queue: text,
  exchange: (value) => (typeof value === "string" ? undefined : "must be text"),
  routingKey: text,
  priority: integer(0, 255),
  serializer: (value) =>
    value === "json" || value === "msgpack" || value === "yaml"
      ? undefined
      : value === "pickle"
        ? "pickle runs code of whoever wrote the message, and only Python reads it; use json, msgpack or yaml"
        : "must be json, msgpack or yaml",
  compression: text,
  expires: (value) =>
    isNumber(value)
      ? seconds(0, CENTURY_S, "a hundred years")(value)
      : instant(value) && "must be seconds from now, a Date, or text in ISO 8601",
  ignoreResult: flag,
  timeLimit,
  softTimeLimit: timeLimit,
  maxRetries: retries,
};

const CALL_CHECKS: Record<keyof CallOptions, Check> = {
  ...DELIVERY_CHECKS,
  kwargs: record,
  countdown: seconds(0, CENTURY_S, "a hundred years"),
  eta: instant,
  taskId: (value) =>
    typeof value === "string" && value.length >= 1 && value.length <= 255
      ? undefined
      : "must be text of 1 to 255 characters",
  headers: record,
  shadow: text,
  link: (value) => (typeof value === "object" && value !== null ? undefined : "must be a signature, or a list of them"),
  linkError: (value) =>
    typeof value === "object" && value !== null ? undefined : "must be a signature, or a list of them",
  retry: flag,
  retryPolicy: record,
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
  params: (value) =>
    Array.isArray(value) && value.every((name) => typeof name === "string")
      ? undefined
      : "must be a list of parameter names",
  schema: (value) =>
    typeof value === "object" || typeof value === "function"
      ? "~standard" in (value as object)
        ? undefined
        : "must be a schema of a Standard Schema library (zod, valibot, arktype …)"
      : "must be a schema of a Standard Schema library (zod, valibot, arktype …)",
  storeErrorsEvenIfIgnored: flag,
  trackStarted: flag,
  defaultRetryDelay: seconds(0, CENTURY_S, "a hundred years"),
  autoretryFor: errorClasses,
  dontAutoretryFor: errorClasses,
  retryKwargs: record,
  retryBackoff: (value) =>
    typeof value === "boolean" || (isNumber(value) && value > 0)
      ? undefined
      : "must be true, false, or a number of seconds over 0",
  retryBackoffMax: seconds(0, CENTURY_S, "a hundred years"),
  retryJitter: flag,
  throws: errorClasses,
  claim: flag,
};

/** Options of Celery that mean nothing here: why, and what to do. */
const REFUSED: Readonly<Record<string, string>> = {
  rateLimit:
    "a rate per worker has no meaning where workers come and go; limit the queue's concurrency (maxConcurrency in taskQueues, or -c)",
  acksLate: "a message is always acknowledged after its outcome is stored; leave it out",
  acksOnFailureOrTimeout: "a failed task is an outcome and its message is always acknowledged; throw Reject to keep it",
  rejectOnWorkerLost: "a task whose worker died always runs again, up to the setting maxDeliveries; leave it out",
  typing: "types are checked by TypeScript, and by `schema`; leave it out",
  pydantic: "use `schema` with any Standard Schema library",
  resultSerializer: "it is a setting of the app, since readers must know it: resultSerializer",
  sendEvents: "there are no events; listen with app.on()",
  producer: "connections are made and shared by the app; leave it out",
  connection: "connections are made and shared by the app; leave it out",
  router: "routes are a setting of the app: taskRoutes",
  deliveryMode: "messages are always durable; leave it out",
  replyTo: "results are read from the result backend; leave it out",
  timeout: "use timeLimit or softTimeLimit (seconds)",
  delay: "use countdown (seconds) or eta",
};

function check(where: string, options: object, checks: Readonly<Record<string, Check>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const test = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (test === undefined) {
      const refused = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
      const guess = nearest(name, Object.keys(checks));
      const hint =
        refused || (guess === undefined ? `known: ${Object.keys(checks).join(", ")}` : `did you mean ${guess}?`);
      throw new ImproperlyConfigured(name, `${where} has no such option; ${hint}`);
    }
    const wrong = test(value);
    if (wrong !== undefined) throw new ImproperlyConfigured(name, `${where}: ${wrong}; given: ${show(value)}`);
  }
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object" && value !== null)
    return value instanceof Date ? String(value) : Object.prototype.toString.call(value);
  return String(value);
}

/** Throws `ImproperlyConfigured` for an option that does not exist or is out of its range. */
export function checkTaskOptions(task: string, options: object): void {
  check(`task ${task}`, options, TASK_CHECKS);
}

/** Throws `ImproperlyConfigured` for an option that does not exist or is out of its range. */
export function checkCallOptions(task: string, options: CallOptions): void {
  check(`a call of ${task}`, options, CALL_CHECKS);
  if (options.countdown !== undefined && options.eta !== undefined)
    throw new ImproperlyConfigured("countdown", `a call of ${task} can have countdown or eta, not both`);
}
