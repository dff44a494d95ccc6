/**
 * Errors as data, in Celery's form, both ways. What is written here is read by Python, where an unlucky pair of class
 * and module makes every reader of the row throw, or ends its process.
 */
import {
  AlreadyRegistered,
  ChordError,
  ContentDisallowed,
  DecodeError,
  EncodeError,
  Ignore,
  ImproperlyConfigured,
  MaxRetriesExceededError,
  NotRegistered,
  OperationalError,
  QueueNotFound,
  Reject,
  Retry,
  SoftTimeLimitExceeded,
  TaskError,
  TaskRevokedError,
  TimeLimitExceeded,
  TimeoutError,
  WorkerLostError,
} from "../errors.ts";
import { brief } from "../brief.ts";
import { isSafeBuiltin } from "../python-builtins.ts";
import { stringifyValue } from "./values.ts";

/** An exception as Celery stores it. */
export interface ExceptionData {
  /** The class's name. */
  readonly exc_type: string;
  /** What its constructor is called with. */
  readonly exc_message: readonly unknown[];
  /** The Python module of the class; `null` or one that is not loaded: Python makes a class of that name on the spot. */
  readonly exc_module: string | null;
}

/** A module that no Python process has loaded: readers get a class of the error's name, derived from `Exception`. */
const NO_MODULE = "lovage";

/** Our classes and the Python modules of their namesakes. */
const PYTHON_MODULES: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  ...[
    Ignore,
    Reject,
    Retry,
    MaxRetriesExceededError,
    TaskRevokedError,
    ChordError,
    NotRegistered,
    AlreadyRegistered,
    TimeoutError,
    ImproperlyConfigured,
    QueueNotFound,
  ].map((type) => [type, "celery.exceptions"] as const),
  ...[SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError].map((type) => [type, "billiard.exceptions"] as const),
  ...[EncodeError, DecodeError, ContentDisallowed, OperationalError].map((type) => [type, "kombu.exceptions"] as const),
]);

/** JavaScript's own errors that are Python's too, by name and by what a single text argument means. */
const BUILTINS: ReadonlySet<string> = new Set(["TypeError", "SyntaxError"]);

/**
 * Anything thrown, as Celery's data and a traceback. Never throws. An error's name is its `name` where one was given,
 * else its class's. Python readers get `builtins.TypeError` and the like, Celery's own classes for ours, and for all
 * others a plain exception of that name. The traceback has the stack and those of the causes and reasons. What is long keeps its
 * beginning and its end: up to 10,000 characters of a message, 30,000 of a traceback.
 */
export function exceptionToData(error: unknown): { readonly data: ExceptionData; readonly traceback: string } {
  const data = safely(() => describe(error), { exc_type: "Error", exc_message: [UNREADABLE], exc_module: NO_MODULE });
  return {
    data,
    traceback: safely(() => shorten(tracebackOf(error), MAX_TRACEBACK_LENGTH), `${data.exc_type}: ${UNREADABLE}`),
  };
}

/** `TypeError: x is not a function`, whatever was thrown: by the name that is stored, for `class OutOfStock extends Error {}` has the `name` of `Error`. Never throws. */
export function errorLine(error: unknown): string {
  const { exc_type } = exceptionToData(error).data;
  return isErrorSafely(error) ? `${exc_type}: ${errorMessage(error)}` : brief(error, 1024);
}

const isErrorSafely = (value: unknown): boolean => safely(() => isError(value), false);

/** The message of an error with the reasons that it stands for, or the text of what else was thrown; shortened. Never throws. */
export const errorMessage = (error: unknown): string =>
  safely(() => shorten(isError(error) ? messageWithReasons(error) : text(error), MAX_MESSAGE_LENGTH), UNREADABLE);

/** The stack and those of the causes, as they are stored. Never throws. */
export const errorStack = (error: unknown): string => exceptionToData(error).traceback;

const UNREADABLE = "a value was thrown whose properties cannot be read";

/** A getter, a `toString` or a `toJSON` of the user's may throw. */
function safely<T>(read: () => T, instead: T): T {
  try {
    return read();
  } catch {
    return instead;
  }
}

/** What is stored of an error is read by people, and has to fit beside the rest of a row: on DynamoDB, into 400 KB. */
const MAX_MESSAGE_LENGTH = 10_000;
const MAX_TRACEBACK_LENGTH = 30_000;
/** How many arguments of an exception are kept. */
const MAX_ARGUMENTS = 20;

/** The beginning and the end of a text that is too long, with how much is missing between them. */
function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  const half = Math.floor((length - 60) / 2);
  return `${text.slice(0, half).toWellFormed()} … [${text.length - 2 * half} characters left out] … ${text.slice(-half).toWellFormed()}`;
}

function describe(error: unknown): ExceptionData {
  if (!isError(error)) return { exc_type: "Error", exc_message: [carried(error)], exc_module: NO_MODULE };
  if (error instanceof TaskError) {
    const module = error.excModule === "builtins" && !isSafeBuiltin(error.excType) ? NO_MODULE : error.excModule;
    return { exc_type: typeName(error.excType), exc_message: argumentsKept(error.excMessage), exc_module: module };
  }
  const module = PYTHON_MODULES.get(error.constructor);
  const type = typeName(nameOf(error));
  return {
    exc_type: type,
    exc_message: argumentsOf(error),
    exc_module: module ?? (BUILTINS.has(type) ? "builtins" : NO_MODULE),
  };
}

/** Also those of another realm, and what `DOMException` makes. */
const isError = (value: unknown): value is Error =>
  value instanceof Error ||
  Object.prototype.toString.call(value) === "[object Error]" ||
  Object.prototype.toString.call(value) === "[object DOMException]";

function nameOf(error: Error): string {
  for (
    let holder: unknown = error;
    typeof holder === "object" && holder !== null;
    holder = Object.getPrototypeOf(holder)
  ) {
    if (!Object.hasOwn(holder, "name")) continue;
    const { name } = error;
    // `class Odd extends TypeError {}` inherits TypeError's name: the class's own says more.
    const inherited = holder !== error && Object.hasOwn(holder, "constructor") && holder.constructor.name === name;
    return inherited ? error.constructor.name : String(name);
  }
  return error.constructor.name;
}

/** A name that Python can make a class of: no NUL, no half surrogate pairs, not empty. */
function typeName(name: string): string {
  return name.toWellFormed().replaceAll("\0", "").slice(0, 200) || "Error";
}

/** What the namesake's constructor takes in Python, so that the reader can build it again. */
function argumentsOf(error: Error): readonly unknown[] {
  if (error instanceof NotRegistered) return [error.task];
  if (error instanceof TimeLimitExceeded || error instanceof SoftTimeLimitExceeded) return [error.seconds];
  return [
    shorten(
      safely(() => messageWithReasons(error), UNREADABLE),
      MAX_MESSAGE_LENGTH,
    ),
  ];
}

/** Those that have a message of their own say in it why they failed; an `AggregateError`, as of a refused connection, has none at times. */
function messageWithReasons(error: Error): string {
  const reasons = reasonsOf(error).map(([, reason]) => safely(() => shorten(lineOf(reason), 1000), UNREADABLE));
  return [String(error.message), reasons.slice(0, MAX_REASONS).join("; ")].filter((part) => part !== "").join(": ");
}

const lineOf = (reason: unknown): string =>
  isError(reason) ? `${nameOf(reason)}: ${String(reason.message)}` : text(reason);

/** The errors that one error stands for, each with what it is there. */
function reasonsOf(error: Error): readonly (readonly [place: string, reason: unknown])[] {
  // Also those of another realm, and of libraries that stand in for them.
  const {
    errors,
    error: last,
    suppressed,
  } = error as {
    readonly errors?: unknown;
    readonly error?: unknown;
    readonly suppressed?: unknown;
  };
  const name = nameOf(error);
  if (name === "SuppressedError")
    return [
      ["error", last],
      ["suppressed", suppressed],
    ];
  return Array.isArray(errors) && (name === "AggregateError" || errors.every(isError))
    ? errors.map((reason, index) => [`errors ${index}`, reason] as const)
    : [];
}

const argumentsKept = (given: readonly unknown[]): readonly unknown[] =>
  given.slice(0, MAX_ARGUMENTS).map((argument) => safely(() => carried(argument), UNREADABLE));

/** The value itself where it can travel and is short, else as text, as Celery does with `repr`. */
function carried(value: unknown): unknown {
  if (value === undefined) return "undefined";
  if (typeof value === "string") return shorten(value, MAX_MESSAGE_LENGTH);
  try {
    // Looked at first: no more is written out than is kept.
    const short = brief(value, MAX_MESSAGE_LENGTH);
    return short.length < MAX_MESSAGE_LENGTH && stringifyValue(value, "", 4).length <= MAX_MESSAGE_LENGTH
      ? value
      : short;
  } catch {
    return shorten(String(value), MAX_MESSAGE_LENGTH);
  }
}

/** How many causes and reasons a traceback tells of. */
const MAX_REASONS = 10;

function tracebackOf(error: unknown): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  const tell = (place: string, next: unknown): void => {
    if (seen.has(next) || parts.length > MAX_REASONS) return;
    seen.add(next);
    parts.push(shorten(`${place}${safely(() => stackOf(next), UNREADABLE)}`, MAX_MESSAGE_LENGTH));
    if (!isErrorSafely(next)) return;
    const known = next as Error; // just asked
    const { cause } = safely(() => ({ cause: known.cause }), { cause: undefined });
    if (cause !== undefined && cause !== null) tell("[cause]: ", cause);
    for (const [name, reason] of safely(() => reasonsOf(known), [])) tell(`[${name}]: `, reason);
  };
  tell("", error);
  return parts.join("\n");
}

function stackOf(error: unknown): string {
  if (!isError(error)) return `thrown: ${text(error)}`;
  if (typeof error.stack === "string" && error.stack !== "") return error.stack;
  return `${nameOf(error)}: ${String(error.message)}`;
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "object" && value !== null ? brief(value, MAX_MESSAGE_LENGTH) : String(value);
}

type Rebuild = (message: string, first: unknown) => Error;

/** How many seconds a limit was; `NaN` where Python did not say. */
const seconds = (first: unknown): number => (typeof first === "number" ? first : Number.NaN);

/** The errors that mean the same whoever stored them. */
const OURS: Readonly<Record<string, Rebuild>> = {
  MaxRetriesExceededError: (message) => new MaxRetriesExceededError(message),
  TaskRevokedError: (message) => new TaskRevokedError(message),
  ChordError: (message) => new ChordError(message),
  NotRegistered: (_, first) => new NotRegistered(String(first)),
  // Python's second argument is `requeue`.
  Reject: (_, first) => new Reject(safeText(first ?? "")),
  Retry: (message) => new Retry(message),
  SoftTimeLimitExceeded: (_, first) => new SoftTimeLimitExceeded(seconds(first)),
  TimeLimitExceeded: (_, first) => new TimeLimitExceeded(seconds(first)),
  WorkerLostError: (message) => new WorkerLostError(message),
};

/**
 * The error that stored data stands for: one of our classes for Celery's own limits and refusals, else a `TaskError`.
 * Data that is not of Celery's form gives a `TaskError` that shows what was stored. Never throws.
 */
export function dataToError(data: unknown, traceback: string | null, taskId: string): Error {
  const facts = exceptionFacts(data);
  if (facts === undefined) {
    const stored = `the task failed, and its stored error is not of Celery's form: ${safeText(data)}`;
    return new TaskError({ taskId, excType: "Error", excModule: null, excMessage: [data], traceback, message: stored });
  }
  const { excType: type, excModule, excMessage } = facts;
  const message = excMessage.map(safeText).join(", ");
  const rebuild =
    Object.hasOwn(OURS, type) && /^(celery|billiard)\.exceptions$/.test(excModule ?? "") ? OURS[type] : undefined;
  if (!rebuild) return new TaskError({ taskId, excType: type, excModule, excMessage, traceback, message });

  const error = rebuild(message, excMessage[0]);
  // A limit in seconds has a sentence of its own; without one, what Python said stays.
  if ("seconds" in error && Number.isNaN(error.seconds)) error.message = message || "the time limit passed";
  if (traceback) error.stack = `${error.name}: ${error.message}\n${traceback}`;
  return error;
}

/** Stored data in one line, much as Python's `repr` shows an exception: `ValueError("no", 7)`. Never throws. */
export function exceptionLine(data: unknown): string {
  const { excType, excMessage } = exceptionFacts(data) ?? { excType: "undefined", excMessage: [] };
  return `${excType}(${excMessage.map((argument) => brief(argument, MAX_MESSAGE_LENGTH)).join(", ")})`;
}

type ExceptionFacts = Pick<TaskError, "excType" | "excModule" | "excMessage">;

/** What stored data says of an exception; `undefined`: it is not of Celery's form. */
function exceptionFacts(data: unknown): ExceptionFacts | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const {
    exc_type: excType,
    exc_module: module,
    exc_message: given,
  } = data as Partial<Record<keyof ExceptionData, unknown>>;
  if (typeof excType !== "string" || excType === "") return undefined;
  const excModule = typeof module === "string" ? module : null;
  const excMessage: readonly unknown[] = Array.isArray(given) ? given : given === undefined ? [] : [given];
  const facts = { excType, excModule, excMessage };
  return (excType === WRAPPER && unwrapped(facts)) || facts;
}

/** Celery stores this class in place of one that pickle cannot copy, as of many whose constructor takes more than one argument. */
const WRAPPER = "UnpickleableExceptionWrapper";

/**
 * What is in the wrapper: module, name, arguments, and the `repr` of the exception. Where JSON cannot carry one of the arguments,
 * such as a response, Celery writes the `repr` of their tuple.
 */
function unwrapped({ excModule: holder, excMessage }: ExceptionFacts): ExceptionFacts | undefined {
  const [excModule, excType, given] = excMessage;
  const args = typeof given === "string" ? [given.replace(/^\((.*?),?\)$/s, "$1")] : given;
  const isWhole = typeof excModule === "string" && typeof excType === "string" && excType !== "" && Array.isArray(args);
  return isWhole && holder === "celery.utils.serialization" ? { excType, excModule, excMessage: args } : undefined;
}

function safeText(value: unknown): string {
  try {
    return text(value).slice(0, 10_000);
  } catch {
    return "a value that cannot be shown";
  }
}
