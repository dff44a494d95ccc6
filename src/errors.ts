/**
 * Every error that Lovage makes. What a task of yours throws is not among them: it travels as data, and `get()`
 * throws it again as a {@link TaskError} whose `name` is the type it had in the worker.
 */
import { notKnownAtSynth, PLACEHOLDER } from "./placeholder.ts";
import { isSafeBuiltin } from "./python-builtins.ts";

/** Defined by who bundles for AWS, as `lovage/cdk` does. */
declare const LOVAGE_BUNDLE: "aws";

/** The root of the family: `catch (error) { if (error instanceof LovageError) … }`. */
export class LovageError extends Error {
  /** The class's own name. What minifies a bundle must keep it: `keepNames` of esbuild, `keep_classnames` of terser. */
  override readonly name: string;
  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    // In the constructor: in a field's initializer `new.target` is undefined.
    this.name = new.target.name;
  }
}

// ── what a task throws to steer its own run ──────────────────────────────────────────────────────────────────────────

/** How {@link Retry} was asked for. */
export interface RetryRequest {
  /** Arguments of the next attempt; the present ones when absent. */
  readonly args?: readonly unknown[];
  /** Keyword arguments of the next attempt. Default: those of this one. */
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Seconds until the next attempt. */
  readonly countdown?: number;
  /** When the next attempt is due. */
  readonly eta?: Date;
  /** What made the retry necessary; thrown in the end when the retries are used up. */
  readonly exc?: unknown;
  /** `null`: without end. */
  readonly maxRetries?: number | null;
  /** Options of the next message, such as `queue`, `priority` or `expires`. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/** Thrown by `self.retry()`: asks for another attempt. It is not a failure and is not logged as one. */
export class Retry extends LovageError {
  /** What was asked for. */
  readonly request: RetryRequest;
  constructor(message = "the task asked to be run again", request: RetryRequest = {}) {
    super(message, request.exc === undefined ? undefined : { cause: request.exc });
    this.request = request;
  }
}

/** Thrown by a task: end without storing an outcome. The state last stored stays; hooks and follow-ups do not run. */
export class Ignore extends LovageError {
  constructor(reason = "the task chose to store no result") {
    super(reason);
  }
}

/** Thrown by a task: refuse the message. `requeue: true` hands it back to the queue; otherwise it becomes a dead letter and the task FAILURE. */
export class Reject extends LovageError {
  /** Why, as it stands in the dead letter and in the row. */
  readonly reason: string;
  /** `true`: the message goes back to its queue. `false`: it becomes a dead letter. */
  readonly requeue: boolean;
  constructor(
    reason = "the task rejected its message",
    options: { readonly requeue?: boolean | undefined; readonly cause?: unknown } = {},
  ) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.requeue = options.requeue ?? false;
  }
}

/** The task asked for more retries than it may have (`maxRetries`, 3 by default). */
export class MaxRetriesExceededError extends LovageError {}

/** The soft time limit passed: the reason with which the task's `signal` aborts. A task may catch it to clean up. */
export class SoftTimeLimitExceeded extends LovageError {
  /** The limit, in seconds. */
  readonly seconds: number;
  constructor(seconds: number) {
    super(`the soft time limit of ${seconds} s passed`);
    this.seconds = seconds;
  }
}

/** The hard time limit, or the function's deadline, passed before the task ended: its outcome is FAILURE with this. */
export class TimeLimitExceeded extends LovageError {
  /** The limit, in seconds. */
  readonly seconds: number;
  constructor(seconds: number) {
    super(`the time limit of ${seconds} s passed`);
    this.seconds = seconds;
  }
}

/** The reason with which the `signal` of a running task aborts when it is revoked with `terminate`; and what `get()` throws of a revoked task. */
export class TaskRevokedError extends LovageError {
  constructor(reason: "revoked" | "expired" | "terminated" | (string & {}) = "revoked") {
    super(reason);
  }
}

/** Thrown by `get()` within a task. The task would keep its place in the worker while it waits for another task. If all tasks did so, no worker could run the tasks that they wait for. */
export class RuntimeError extends LovageError {
  /** The task that waits. */
  readonly taskId: string;
  constructor(taskId: string, awaited: string) {
    super(
      `never call get() within a task: ${taskId} would keep its place while it waits for ${awaited}, which can stop the worker for good; use a chain, a chord or a callback, or pass { disableSyncSubtasks: false } if other workers run that`,
    );
    this.taskId = taskId;
  }
}

/** The reason with which the `signal` of a running task aborts when its worker stops. If the task throws anything after that, another worker runs it again. */
export class WorkerShutdown extends LovageError {
  constructor() {
    super("the worker stops; the task is handed back, and runs again on another one");
  }
}

/** A task called `process.exit()`. In a worker's own process this ends the task, as a throw does, and not the other tasks. The name is Python's. */
export class SystemExit extends LovageError {
  /** What it was called with. */
  readonly code: string | number | null | undefined;
  constructor(code?: string | number | null) {
    super(
      `process.exit(${code ?? ""}) was called, which would end the worker and its other tasks; throw an error instead`,
    );
    this.code = code;
  }
}

/** The worker died while it ran the task, as often as `maxDeliveries` says. */
export class WorkerLostError extends LovageError {}

/** A batch function gave no result for a call, or no list at all. */
export class BatchResultError extends LovageError {}

/** A member of a chord failed, so its body cannot run. */
export class ChordError extends LovageError {}

// ── what a caller meets ──────────────────────────────────────────────────────────────────────────────────────────────

/** Where a task was sent, as far as this process knows. */
export interface Whereabouts {
  /** The broker's URL, with the password masked and the file named. */
  readonly broker: string;
  /** Its queue. `undefined`: all that is known of the task is its id. */
  readonly queue: string | undefined;
  /** The queues of what has to end before it: steps before it in a chain, the header of a chord. Ten at most. */
  readonly before: readonly string[];
  /**
   * The long-lived workers that serve any of these queues, or any at all where none is known, and have said so in the last
   * 30 s. Lambda functions do not say it. `undefined`: nobody could be asked within a second.
   */
  readonly workers: readonly string[] | undefined;
  /** Those of the queues that no such worker serves. `undefined`: nobody could be asked. */
  readonly unserved: readonly string[] | undefined;
  /** Those of the queues that are paused: no task of them begins. `undefined`: nobody could be asked. */
  readonly paused: readonly string[] | undefined;
}

/** `get({ timeout })` stopped waiting. The task itself goes on. */
export class TimeoutError extends LovageError {
  /** The task whose result was waited for. */
  readonly taskId: string;
  /** What was waited for, in seconds. */
  readonly timeout: number;
  /** The state that the task had then. */
  readonly state: string;
  /** Where it was sent, and who works there. */
  readonly where: Whereabouts | undefined;
  constructor(
    taskId: string,
    timeout: number,
    state: string,
    where?: Whereabouts,
    why = "; give get() a longer timeout, or see whether a worker serves its queue",
  ) {
    super(`task ${taskId} had no result after ${timeout} s (its state is ${state})${why}`);
    this.taskId = taskId;
    this.timeout = timeout;
    this.state = state;
    this.where = where;
  }
}

/** What a task threw, as `get()` throws it again. `name` is the type that the error had in the worker, and `stack` ends with its stack there. */
export class TaskError extends LovageError {
  /** The name of the error's type where it was thrown, such as `ValueError`. */
  override readonly name: string;
  /** The task that failed. */
  readonly taskId: string;
  /** Celery's `exc_type`: the class's name. */
  readonly excType: string;
  /** Celery's `exc_module`: the Python module of the class, or `null`. */
  readonly excModule: string | null;
  /** Celery's `exc_message`: the arguments of the exception. */
  readonly excMessage: readonly unknown[];
  /** The stack, or Python's traceback, of the place where it was thrown. */
  readonly traceback: string | null;
  constructor(facts: {
    readonly taskId: string;
    readonly excType: string;
    readonly excModule: string | null;
    readonly excMessage: readonly unknown[];
    readonly traceback: string | null;
    readonly message: string;
  }) {
    super(facts.message);
    this.name = facts.excType;
    this.taskId = facts.taskId;
    this.excType = facts.excType;
    this.excModule = facts.excModule;
    this.excMessage = facts.excMessage;
    this.traceback = facts.traceback;
    if (facts.traceback) this.stack = `${facts.excType}: ${facts.message}\n${facts.traceback}`;
  }
}

/**
 * What a task throws to fail with an exception of Python's, which `except ValueError` of a Python caller catches:
 * `throw new PythonError("builtins", "ValueError", ["no such order"])`. The caller must have imported the module; otherwise it
 * gets a plain exception of that name. The constructor throws `ImproperlyConfigured` if module or type is not a Python name, and if
 * the type in `builtins` is not an ordinary exception, such as `SystemExit`.
 */
export class PythonError extends TaskError {
  /**
   * @param module The module of the class: `"builtins"`, `"requests.exceptions"`.
   * @param type The name of the class: `"ValueError"`.
   * @param args What its constructor is called with in Python. Default: nothing.
   */
  constructor(module: string, type: string, args: readonly unknown[] = [], options: ErrorOptions = {}) {
    if (!PYTHON_MODULE.test(module)) throw new ImproperlyConfigured("module", "must be the name of a Python module");
    if (!PYTHON_NAME.test(type)) throw new ImproperlyConfigured("type", "must be the name of a Python class");
    if (module === "builtins" && !isSafeBuiltin(type))
      throw new ImproperlyConfigured(
        "type",
        `${type} of Python's builtins is not an exception that a task may throw; use another, such as ValueError`,
      );
    super({
      taskId: "",
      excType: type,
      excModule: module,
      excMessage: args,
      traceback: null,
      message: args.map(shownArgument).join(", "),
    });
    if (options.cause !== undefined) this.cause = options.cause;
  }
}

/** Of an exception's argument, for its message alone: making the error must not fail with another. */
function shownArgument(argument: unknown): string {
  if (typeof argument === "string" || typeof argument === "bigint") return String(argument);
  try {
    return JSON.stringify(argument, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  } catch {
    return Object.prototype.toString.call(argument);
  }
}

const PYTHON_NAME = /^[\p{ID_Start}_]\p{ID_Continue}*$/u;
const PYTHON_MODULE = /^[\p{ID_Start}_]\p{ID_Continue}*(?:\.[\p{ID_Start}_]\p{ID_Continue}*)*$/u;

/** No task of this name is registered with the app. */
export class NotRegistered extends LovageError {
  /** The name that is not known. */
  readonly task: string;
  constructor(task: string, hint = "") {
    super(`no task is registered as ${JSON.stringify(task)}${hint && `; ${hint}`}`);
    this.task = task;
  }
}

/** A task of this name is registered already, or the name is Celery's own (`celery.*`). */
export class AlreadyRegistered extends LovageError {
  /** The name that is taken. */
  readonly task: string;
  constructor(task: string, why: string) {
    super(`the task name ${JSON.stringify(task)} cannot be used: ${why}`);
    this.task = task;
  }
}

/** A setting, an option or a URL has a value that is not allowed. The message says what was given and what is allowed. */
export class ImproperlyConfigured extends LovageError {
  /** The setting or option at fault, such as `taskRoutes` or `countdown`. */
  readonly setting: string;
  constructor(setting: string, message: string, options?: ErrorOptions) {
    // An app that is made in a stack has such a value refused by whatever check comes first, as a number out of its range.
    const isPlaceholder = typeof LOVAGE_BUNDLE === "undefined" && PLACEHOLDER.test(message);
    super(`${setting}: ${isPlaceholder ? notKnownAtSynth(message) : message}`, options);
    this.setting = setting;
  }
}

/**
 * The function of a limit's key threw (`cause`), or gave something that is not a text. A call is then not sent. A message that
 * came from elsewhere becomes a dead letter, because it must not run without its limit.
 */
export class LimitKeyError extends LovageError {
  /** The task whose limit it is. */
  readonly task: string;
  /** `rateLimit`, `concurrency`, `unique`, `debounce` or `throttle`. */
  readonly option: string;
  constructor(task: string, option: string, cause: unknown, given?: unknown) {
    const why =
      cause === undefined
        ? `gave ${given === null ? "null" : typeof given} (${String(given).slice(0, 100)}), which is not a text; make a text of it, as with String(…)`
        : `threw: ${cause instanceof Error ? cause.message : String(cause)}`;
    super(`the key of ${option} of the task ${task} ${why}`, cause === undefined ? undefined : { cause });
    this.task = task;
    this.option = option;
  }
}

/** The call is for a queue that is not declared, and `taskCreateMissingQueues` is off. */
export class QueueNotFound extends LovageError {
  /** The name that is not declared. */
  readonly queue: string;
  constructor(
    queue: string,
    known: readonly string[],
    options?: ErrorOptions & { readonly remedy?: string | undefined },
  ) {
    super(
      `there is no queue ${JSON.stringify(queue)}; ${options?.remedy ?? `declare it in taskQueues (known: ${known.join(", ") || "none"})`}`,
      options,
    );
    this.queue = queue;
  }
}

/** No long-lived worker of this name has said in the last half minute that it is there. */
export class WorkerNotFound extends LovageError {
  /** The name that was asked for. */
  readonly worker: string;
  constructor(worker: string, hint: string) {
    super(`there is no worker ${JSON.stringify(worker)}${hint}`);
    this.worker = worker;
  }
}

/** The input of a task does not match its schema. Nothing was sent, or the task was not run. */
export class ValidationError extends LovageError {
  /** The task whose input it is. */
  readonly task: string;
  /** What the schema library found, path and message. */
  readonly issues: readonly { readonly path: string; readonly message: string }[];
  constructor(task: string, issues: readonly { readonly path: string; readonly message: string }[], given?: number) {
    super(
      `the arguments of ${task}${given === undefined ? "" : ` (${given} given)`} do not match its schema: ${issues.map((i) => (i.path ? `${i.path}: ${i.message}` : i.message)).join("; ")}`,
    );
    this.task = task;
    this.issues = issues;
  }
}

/** The task has ended: its context (`self`) can do nothing more. Nor can anything that it does after it was given up at its time limit. */
export class ContextSettledError extends LovageError {
  /** The task that has ended. */
  readonly taskId: string;
  constructor(taskId: string, call: string) {
    super(`${call} was called after task ${taskId} had ended; await what a task starts before it returns`);
    this.taskId = taskId;
  }
}

/** The generator of a group's members threw, or sending one of them failed. The members before it are sent already. `cause` is what was thrown. */
export class GroupInterrupted extends LovageError {
  /** The id of the group, of which a part is sent. */
  readonly groupId: string;
  /** How many members the broker has accepted at least. */
  readonly sent: number;
  constructor(groupId: string, sent: number, cause: unknown) {
    const why = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    super(
      `the group ${groupId} stopped after ${sent} members were sent: ${why}; these members run, but a chord's body does not`,
      { cause },
    );
    this.groupId = groupId;
    this.sent = sent;
  }
}

/** `app.sendMany` ended early: the list or generator of the calls threw, a call could not be sent, or `onSent` threw. `cause` is what was thrown. */
export class SendInterrupted extends LovageError {
  /** How many calls were taken from the list or generator. Each of them is sent or in `failed`; the calls after them were never taken. */
  readonly taken: number;
  /** How many calls the broker has accepted. */
  readonly sent: number;
  /** The calls that were not sent, in order, each with its id and the reason. Empty if `onFailed` was given, which was called for each of them. */
  readonly failed: readonly { readonly index: number; readonly call: unknown; readonly error: unknown }[];
  constructor({ taken, sent, failed }: Pick<SendInterrupted, "taken" | "sent" | "failed">, cause: unknown) {
    const why = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    super(
      `sending stopped after ${taken} calls, of which ${sent} are sent: ${why}; the calls in failed can be sent again`,
      { cause },
    );
    this.taken = taken;
    this.sent = sent;
    this.failed = failed;
  }
}

/** `app.control.retry`: the task cannot be run again by its id. Nothing was sent. */
export class CannotRetry extends LovageError {
  /** The task that was to be run again. */
  readonly taskId: string;
  /** `succeeded`, `running`, `waiting` (for its turn, or its next attempt), `asked` (it is to run again already, and waits), `revoked`, `unknown`, `deadLetter` (or a task before it failed, and it has not run), or `notKept`. */
  readonly reason: string;
  constructor(taskId: string, reason: string, why: string) {
    super(`the task ${taskId} cannot be run again: ${why}`);
    this.taskId = taskId;
    this.reason = reason;
  }
}

// ── what travels ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A value cannot be carried by the serializer. Nothing was sent, or, for a result, FAILURE is stored. */
export class EncodeError extends LovageError {
  /** Where the value stands, such as `args[0].callback`. */
  readonly path: string;
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`${path || "the value"} ${reason}`, options);
    this.path = path;
  }
}

/** A message or a stored result cannot be read. The message becomes a dead letter, unchanged. */
export class DecodeError extends LovageError {}

/** The content type is not one of `acceptContent`, or never accepted (pickle). */
export class ContentDisallowed extends DecodeError {
  /** The content type that was refused. */
  readonly contentType: string;
  constructor(contentType: string, why: string) {
    super(`content of type ${contentType} is refused: ${why}`);
    this.contentType = contentType;
  }
}

/** A message or a result is larger than its queue or its row takes. Nothing was sent or stored. */
export class PayloadTooLarge extends LovageError {
  /** In bytes. */
  readonly size: number;
  /** In bytes. */
  readonly limit: number;
  constructor(what: string, size: number, limit: number, options?: ErrorOptions) {
    super(
      `${what} has ${size} bytes and the limit is ${limit}; set payloadStore, which keeps such data elsewhere, or pass a reference (a key, a URL) instead`,
      options,
    );
    this.size = size;
    this.limit = limit;
  }
}

/** A message or a result that was kept in the payload store, because it was too large for its place, is not there any more. */
export class PayloadLost extends DecodeError {
  /** The bucket, or the folder, that it was kept in. */
  readonly bucket: string;
  /** Its key there. */
  readonly key: string;
  constructor(bucket: string, key: string) {
    super(
      `the large text ${key} is not in ${bucket} any more: it was deleted, or it expired; check the bucket's lifecycle rules (payloadStore)`,
    );
    this.bucket = bucket;
    this.key = key;
  }
}

// ── systems ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A broker or backend could not do what it was asked: locked, full, throttled, denied, not reachable. `cause` has the driver's own error. */
export class OperationalError extends LovageError {
  /**
   * Whether another try can help, later or once somebody has put right a network, a right, a key or a clock. `false` only if the
   * request itself is refused. On `true` a worker hands the message back.
   */
  readonly retryable: boolean;
  constructor(message: string, options: ErrorOptions & { readonly retryable: boolean }) {
    super(message, options);
    this.retryable = options.retryable;
  }
}

/**
 * Whether no other try can do better: what was to be written is too large, cannot be written or is refused, or there is no
 * such queue. Everything else, known or not, is a fault of the system's and passes.
 */
export const isLasting = (error: unknown): boolean =>
  error instanceof OperationalError
    ? !error.retryable
    : error instanceof PayloadTooLarge ||
      error instanceof QueueNotFound ||
      error instanceof EncodeError ||
      error instanceof ValidationError ||
      error instanceof ImproperlyConfigured ||
      error instanceof NotRegistered;
