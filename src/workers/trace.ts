/**
 * The only place where a user's code runs: the task and its hooks. Running a task gives an outcome; it never throws.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { SignatureLike } from "../canvas/signature.ts";
import { datedCanvas } from "../canvas/dated.ts";
import { checkCanvas, formOf, tasksOf } from "../canvas/shape.ts";
import { signatureData } from "../canvas/wire-options.ts";
import { isFifo } from "../brokers/broker.ts";
import { type Clock, elapsedOf } from "../clock.ts";
import {
  ContextSettledError,
  Ignore,
  ImproperlyConfigured,
  LovageError,
  Reject,
  Retry,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  TimeLimitExceeded,
  WorkerShutdown,
} from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import {
  type Checkpoint,
  checkpointOf,
  isExpired,
  lineOf,
  MAX_CHECKPOINTS,
  type Message,
  type SignatureData,
} from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import { expiresOf } from "../tasks/publish.ts";
import { formatTime, parseTime } from "../protocol/time.ts";
import { stringifyValue } from "../protocol/values.ts";
import { FAILURE, SUCCESS } from "../states.ts";
import {
  type Request,
  type RetryOptions,
  type RunningTask,
  type RunScope,
  type TaskContext,
  useScopeStorage,
} from "../tasks/context.ts";
import { AsyncResult } from "../results/async-result.ts";
import type { StreamWriter } from "../results/stream.ts";
import { waitOf } from "../tasks/batch.ts";
import { bindTask, callTask } from "../tasks/direct.ts";
import { loggerOf, type Say, sayer } from "../tasks/logger.ts";
import { checkCallOptions, type TaskOptions } from "../tasks/options.ts";
import { errbackArguments } from "../tasks/errback.ts";
import { argumentsOfRetry } from "../tasks/params.ts";
import { resolveInput } from "../tasks/schema.ts";
import { Task } from "../tasks/task.ts";
import { BuiltinTask } from "./builtins.ts";
import { addToChord, type Member, type Sender } from "./join.ts";
import type { Log } from "./log.ts";
import { fieldsOf, nameOf } from "./report.ts";
import {
  autoretryCountdown,
  DEFAULT_MAX_RETRIES,
  DEFAULT_RETRY_DELAY_S,
  exhausted,
  isAutoretried,
  mayRetry,
  retryTime,
} from "./retry.ts";
import type { Stop } from "./stop.ts";

/** The longest time that `rateLimited()` takes, in seconds: a day. */
const MAX_RETRY_AFTER_S = 86_400;

const storage = new AsyncLocalStorage<RunScope>();
useScopeStorage(storage);

/** What the next attempt has in place of what this one had. */
export interface RetryChange {
  /** In ISO 8601; `null`: at once. */
  readonly eta: string | null;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly queue?: string;
  readonly priority?: number;
  readonly expires?: string | null;
  /** It is no retry: the same attempt goes on from here. */
  readonly checkpoint?: Checkpoint;
}

/** How a run ended. */
export type Outcome =
  | { readonly type: "success"; readonly value: unknown }
  /** `abandoned`: its time was over and its code may still be running. */
  | { readonly type: "failure"; readonly error: unknown; readonly expected: boolean; readonly abandoned: boolean }
  | { readonly type: "retry"; readonly reason: unknown; readonly change: RetryChange }
  | { readonly type: "revoked"; readonly reason: "revoked" | "expired" | "terminated" }
  /** It goes on later, as the same attempt. */
  | { readonly type: "checkpoint"; readonly change: RetryChange & { readonly checkpoint: Checkpoint } }
  | { readonly type: "ignore" }
  | { readonly type: "reject"; readonly error: Reject }
  | { readonly type: "replace"; readonly signature: SignatureData };

/** It ended because its worker stops: that is no outcome. */
export interface Released {
  readonly type: "released";
}

/** A service told it that it comes too often. That is no outcome either: it runs again, in so many seconds at the earliest. */
export interface RateLimited {
  readonly type: "rateLimited";
  readonly retryAfter: number;
}

/** How a run ends that is to be run again, as if it had not begun. */
type Unended = Released | RateLimited;

/** One attempt, and everything it needs. */
export interface Attempt {
  readonly task: Task;
  readonly options: TaskOptions;
  readonly message: Message;
  readonly request: Request;
  readonly clock: Clock;
  readonly random: () => number;
  /** When the run must have ended, in milliseconds since the epoch, whatever its limits say: the function's deadline. */
  readonly deadline: number;
  /** Is stopped with `TaskRevokedError` when the task is revoked with `terminate`, and with `WorkerShutdown` when its worker stops. */
  readonly abort: Stop;
  /** Takes what the task writes. */
  readonly log: Log;
  /** Sends on what the task adds to its chord. */
  readonly sender: Sender;
  updateState(state: string, meta: unknown): Promise<void>;
  /** Makes what keeps the chunks that the task writes, if it does. */
  stream(): StreamWriter;
}

export interface Traced<O = Outcome> {
  readonly outcome: O;
  /** The results of what it sent. */
  readonly children: readonly ResultTuple[];
  /** How many members it added to its chord. */
  readonly added: number;
  /** Seconds. */
  readonly runtime: number;
}

/** In Celery's words. Throws `ImproperlyConfigured` for what cannot take a task's place. */
function checkReplacement(signature: SignatureData): SignatureData {
  if (formOf(signature) === "chain" && tasksOf(signature).length === 0)
    throw new ImproperlyConfigured("replace", "Cannot replace with an empty chain; return the value instead");
  if ((signature.options["chord"] ?? null) !== null)
    throw new ImproperlyConfigured(
      "replace",
      "A signature replacing a task must not be part of a chord: the task's own place in its chord is handed on",
    );
  return signature;
}

/** Thrown by `self.replace()`. */
class Replaced extends LovageError {
  readonly signature: SignatureData;
  constructor(signature: SignatureData) {
    super("the task was replaced");
    this.signature = signature;
  }
}

/** Thrown to a call that expired while it waited for others. */
class Expired extends LovageError {
  constructor() {
    super("the task expired while it waited for its batch");
  }
}

/** Thrown by `self.checkpoint()`. */
class Checkpointed extends LovageError {
  readonly checkpoint: Checkpoint;
  constructor(checkpoint: Checkpoint) {
    super("the task goes on from a checkpoint");
    this.checkpoint = checkpoint;
  }
}

/** Thrown by `self.rateLimited()`. */
class RateLimitedError extends LovageError {
  readonly retryAfter: number;
  constructor(retryAfter: number) {
    super("the task was told that it comes too often");
    this.retryAfter = retryAfter;
  }
}

/**
 * Runs one attempt and says how it ended. Never throws: what the task throws is an outcome too.
 *
 * @param begins Is told when its time begins, of a task that waited for others: see {@link RunScope.begin}.
 */
export async function trace(attempt: Attempt, begins?: () => void): Promise<Traced<Outcome | Unended>> {
  const { clock } = attempt;
  const { promise: ended, resolve: end } = Promise.withResolvers<Outcome | Unended>();
  const limits = new Limits(attempt, end);
  let hasEnded = false;
  const judged = (error: unknown) => judgeSafely(attempt, error, scope.retriesAllowed, limits.stop);
  const scope = new Scope(
    attempt,
    limits,
    (error) => {
      const outcome = judged(error);
      // Its code may wait for ever for what was thrown past it.
      end(outcome.type === "failure" ? { ...outcome, abandoned: true } : outcome);
    },
    begins,
  );
  storage.run(scope, runCode, attempt, scope).then(
    (value) => {
      hasEnded = true;
      end({ type: "success", value });
    },
    (error: unknown) => {
      hasEnded = true;
      end(judged(error));
    },
  );
  // The first of them: a limit, what was thrown where nobody could catch it, or the run itself.
  const outcome = await ended;
  limits.end();
  scope.close(hasEnded);
  const runtime = (elapsedOf(clock) - limits.since) / 1000;
  return { outcome: limits.inTime(outcome), children: scope.children, added: scope.added, runtime };
}

/** The task's own code, and what it has sent and not awaited. */
async function runCode({ task, message }: Attempt, scope: Scope): Promise<unknown> {
  let value: unknown;
  try {
    if (task.beforeStart !== NO_HOOKS.beforeStart) await task.beforeStart(message.id, message.args, message.kwargs);
    // A task of Celery's takes keyword arguments from its request.
    const input =
      task instanceof BuiltinTask
        ? message.args
        : resolveInput(task, errbackArguments(message.headers, message.args), message.kwargs);
    value = callTask(task, scope, input instanceof Promise ? await input : input);
    if (typeof value === "object" || typeof value === "function") value = await value;
  } catch (error) {
    // No end is stored while something that this attempt sends is under way: nobody would send it again.
    const sent = scope.drain();
    await (endsWell(error) ? sent : sent?.catch(() => {}));
    throw error;
  }
  const sent = scope.drain();
  if (sent !== undefined) await sent;
  return value;
}

/** Does something for a run that has ended, as its part: who is told of a message that is sent there sees whose follow-up it is. */
export async function afterRun<T>(attempt: Attempt, work: () => Promise<T>): Promise<T> {
  const scope = new Scope(attempt, unlimited(attempt));
  try {
    return await storage.run(scope, work);
  } finally {
    scope.close(true);
  }
}

/** What a task has that nobody wrote a hook for. */
const NO_HOOKS: Pick<Task, "beforeStart" | "onSuccess" | "onFailure" | "onRetry" | "afterReturn"> = Task.prototype;

/** Whether somebody wrote a hook for it. */
export const hasHooks = (task: Task): boolean =>
  task.onSuccess !== NO_HOOKS.onSuccess ||
  task.onFailure !== NO_HOOKS.onFailure ||
  task.onRetry !== NO_HOOKS.onRetry ||
  task.afterReturn !== NO_HOOKS.afterReturn;

/** Runs the hooks that a stored outcome calls for, in Celery's order. What a hook throws is told to `report` and changes nothing. */
export async function runHooks(
  attempt: Attempt,
  outcome: Outcome,
  {
    status,
    error,
    traceback: einfo,
  }: { readonly status: string | undefined; readonly error: unknown; readonly traceback: string | null },
  report: (hook: string, error: unknown) => void,
): Promise<void> {
  const { task, message } = attempt;
  const { id, args, kwargs } = message;
  const scope = new Scope(attempt, unlimited(attempt));
  const call = async (hook: keyof typeof NO_HOOKS, run: () => void | Promise<void>) => {
    if (task[hook] === NO_HOOKS[hook]) return;
    try {
      await storage.run(scope, async () => run());
      await scope.drain();
    } catch (thrown) {
      report(hook, thrown);
    }
  };
  if (outcome.type === "success" && status !== FAILURE) {
    await call("onSuccess", () => task.onSuccess(outcome.value, id, args, kwargs));
    await call("afterReturn", () => task.afterReturn(SUCCESS, outcome.value, id, args, kwargs, null));
  } else if (status === FAILURE) {
    await call("onFailure", () => task.onFailure(error, id, args, kwargs, einfo));
    await call("afterReturn", () => task.afterReturn(FAILURE, error, id, args, kwargs, einfo));
  } else if (outcome.type === "retry") {
    await call("onRetry", () => task.onRetry(outcome.reason, id, args, kwargs, einfo));
  }
  scope.close(true);
}

/** No failure by itself: one that a send brings goes before it, as if the task had awaited that. */
const endsWell = (error: unknown): boolean =>
  error instanceof Retry ||
  error instanceof Ignore ||
  error instanceof Replaced ||
  error instanceof RateLimitedError ||
  error instanceof Checkpointed;

/** A retry that asks for what cannot be is a failure like any other throw. */
function judgeSafely(
  attempt: Attempt,
  error: unknown,
  allowed: number | null | undefined,
  stop: Stop,
): Outcome | Unended {
  try {
    return judge(attempt, error, allowed, stop);
  } catch (wrong) {
    return { type: "failure", error: wrong, expected: false, abandoned: false };
  }
}

function judge(attempt: Attempt, error: unknown, allowed: number | null | undefined, stop: Stop): Outcome | Unended {
  const { options, message, clock, random } = attempt;
  if (error instanceof Ignore) return { type: "ignore" };
  if (error instanceof Reject) return { type: "reject", error };
  if (error instanceof Replaced) return { type: "replace", signature: error.signature };
  if (error instanceof RateLimitedError) return { type: "rateLimited", retryAfter: error.retryAfter };
  // Also where its worker stops, or its soft limit is over: that is what it is for.
  if (error instanceof Checkpointed && !(stop.reason instanceof TaskRevokedError))
    return { type: "checkpoint", change: { eta: null, checkpoint: error.checkpoint } };
  // The worker told it to stop, and it stopped: another one takes it, and no retry is used up.
  if (stop.reason instanceof WorkerShutdown) return { type: "released" };
  if (error instanceof Expired) return { type: "revoked", reason: "expired" };
  if (error instanceof Retry) return decideRetry(attempt, error);
  // Told to stop, it stopped: whatever it threw on the way out.
  if (stop.reason instanceof TaskRevokedError) return { type: "revoked", reason: "terminated" };
  if (isAutoretried(error, options)) {
    // What this one call, or this one attempt, says goes before what is said of all of the task's.
    const own = allowed === undefined ? maxRetriesOfCall(message) : allowed;
    const automatic = own === undefined ? options.retryKwargs?.maxRetries : own;
    const maxRetries = automatic === undefined ? maxRetriesOf(attempt) : automatic;
    if (mayRetry(message.retries, maxRetries)) {
      const countdown = autoretryCountdown(message.retries, options, random);
      return {
        type: "retry",
        reason: error,
        change: { eta: countdown === 0 ? null : formatTime(clock.now() + countdown * 1000) },
      };
    }
  }
  return failure(error, options);
}

function failure(error: unknown, options: TaskOptions): Outcome {
  const expected = options.throws?.some((Class) => error instanceof Class) ?? false;
  return { type: "failure", error, expected, abandoned: false };
}

function maxRetriesOfCall({ headers }: Message): number | null | undefined {
  const { max_retries: own } = headers;
  return own === null || typeof own === "number" ? own : undefined;
}

function maxRetriesOf({ message, options }: Attempt): number | null {
  const own = maxRetriesOfCall(message);
  if (own !== undefined) return own;
  return options.maxRetries === undefined ? DEFAULT_MAX_RETRIES : options.maxRetries;
}

function decideRetry(attempt: Attempt, retry: Retry): Outcome {
  const { message, options, clock } = attempt;
  const { request } = retry;
  const maxRetries = request.maxRetries === undefined ? maxRetriesOf(attempt) : request.maxRetries;
  if (!mayRetry(message.retries, maxRetries))
    return failure(exhausted(message.task, message.id, message.retries, request.exc), options);
  const now = clock.now();
  const due = retryTime(retry, options.defaultRetryDelay ?? DEFAULT_RETRY_DELAY_S, now);
  const { args, kwargs } = argumentsOfRetry(attempt.task, message, request);
  const { queue, priority, headers, expires } = (request.options ?? {}) as Pick<
    RetryOptions,
    "queue" | "priority" | "headers" | "expires"
  >;
  return {
    type: "retry",
    reason: request.exc ?? retry,
    change: {
      eta: due <= now ? null : formatTime(due),
      ...(args === undefined ? {} : { args }),
      ...(kwargs === undefined ? {} : { kwargs }),
      ...(queue === undefined ? {} : { queue }),
      ...(priority === undefined ? {} : { priority }),
      ...(headers === undefined ? {} : { headers }),
      ...(expires === undefined ? {} : { expires: expiresOf(expires, now) }),
    },
  };
}

/** A run while it goes on, and what it leaves open. Made for each run, so it holds no more than it has to. */
class Scope implements RunScope {
  readonly message: Message;
  readonly children: ResultTuple[] = [];
  /** Members added to its chord so far. */
  added = 0;
  /** What `retry()` said that it would allow, if it was asked: it holds for an automatic retry of the same attempt too. */
  retriesAllowed: number | null | undefined;
  isOpen = true;
  hasEnded = false;
  readonly fail: (error: unknown) => void;
  readonly #attempt: Attempt;
  readonly #limits: ScopeLimits;
  readonly #begins: (() => void) | undefined;
  #self: RunningTask | undefined;
  #pending: Set<Promise<unknown>> | undefined;
  #written: StreamWriter | undefined;

  /** @param fail Ends the run with what was thrown where nobody could catch it. */
  constructor(attempt: Attempt, limits: ScopeLimits, fail: (error: unknown) => void = ignore, begins?: () => void) {
    this.message = attempt.message;
    this.fail = fail;
    this.#attempt = attempt;
    this.#limits = limits;
    this.#begins = begins;
  }

  /** Made when it is asked for: most tasks never do. */
  get self(): RunningTask {
    this.#self ??= bindTask(this.#attempt.task, contextOf(this, this.#attempt, this.#limits));
    return this.#self;
  }

  /** Made where a task writes: most do not. */
  get say(): Say {
    const { log, request } = this.#attempt;
    return (...line) => sayer(log, nameOf(this.message), fieldsOf(this.message, request.queue))(...line);
  }

  assertOpen(call: string): void {
    if (!this.isOpen) throw new ContextSettledError(this.message.id, call);
  }

  track<T>(work: Promise<T>): Promise<T> {
    if (!this.isOpen) return work;
    this.#pending ??= new Set();
    const all = this.#pending;
    const entry = work.finally(() => all.delete(entry));
    // Awaited in drain(); until then a rejection is not one that nobody looks at.
    entry.catch(() => {});
    all.add(entry);
    return work;
  }

  /** What the task writes bit by bit. */
  stream(): StreamWriter {
    this.#written ??= this.#attempt.stream();
    return this.#written;
  }

  /** Waits for all that was sent and not awaited. Throws the first error of it. `undefined`: there is nothing to wait for. */
  drain(): Promise<void> | undefined {
    return this.#pending === undefined && this.#written === undefined ? undefined : this.#drain();
  }

  async #drain(): Promise<void> {
    // Tasks may send from what they started and did not await: look again until nothing is left.
    let failed: PromiseRejectedResult | undefined;
    while (this.#pending !== undefined && this.#pending.size > 0)
      failed ??= (await Promise.allSettled(this.#pending)).find((end) => end.status === "rejected");
    await this.#written?.end();
    if (failed !== undefined) throw failed.reason;
  }

  begin(): void {
    if (isExpired(this.message, this.#attempt.clock.now())) throw new Expired();
    this.#limits.restart();
    this.#begins?.();
  }

  /** @param hasEnded It ended by itself, and was not given up while its code was at work. */
  close(hasEnded: boolean): void {
    this.isOpen = false;
    this.hasEnded = hasEnded;
  }
}

function ignore(): void {}

/** What the task reaches by `self`. */
function contextOf(scope: Scope, attempt: Attempt, limits: ScopeLimits): TaskContext {
  const { task, request, clock, message } = attempt;
  return {
    app: task.app,
    name: task.name,
    request,
    get signal() {
      return limits.stop.signal;
    },
    get log() {
      return loggerOf(scope.say);
    },
    retry(options = {}) {
      scope.assertOpen("retry()");
      checkRetry(attempt, options);
      const { args, kwargs, countdown, eta, exc, maxRetries, queue, priority, headers, expires } = options;
      if (maxRetries !== undefined) scope.retriesAllowed = maxRetries;
      const allowed = maxRetries === undefined ? maxRetriesOf(attempt) : maxRetries;
      if (!mayRetry(message.retries, allowed)) throw exhausted(message.task, message.id, message.retries, exc);
      throw new Retry(undefined, {
        ...(args === undefined ? {} : { args }),
        ...(kwargs === undefined ? {} : { kwargs }),
        ...(countdown === undefined ? {} : { countdown }),
        ...(eta === undefined ? {} : { eta: typeof eta === "string" ? new Date(parseTime(eta)) : eta }),
        ...(exc === undefined ? {} : { exc }),
        maxRetries: allowed,
        options: { queue, priority, headers, expires },
      });
    },
    remaining() {
      const limit = request.timeLimit === null ? Number.POSITIVE_INFINITY : request.timeLimit * 1000;
      const left = Math.min(attempt.deadline - clock.now(), limit - (elapsedOf(clock) - limits.since));
      return Math.max(0, left / 1000);
    },
    checkpoint(state) {
      scope.assertOpen("checkpoint()");
      const { count = 0 } = checkpointOf(message) ?? {};
      if (count >= MAX_CHECKPOINTS)
        throw new LovageError(
          `a task can call checkpoint() at most ${MAX_CHECKPOINTS} times; send the rest as another task`,
        );
      throw new Checkpointed({ count: count + 1, text: stringifyValue(state ?? null) });
    },
    rateLimited(options) {
      scope.assertOpen("rateLimited()");
      const retryAfter: unknown = (options as { readonly retryAfter?: unknown } | undefined)?.retryAfter;
      if (attempt.options.rateLimit === undefined)
        throw new ImproperlyConfigured(
          "rateLimit",
          `rateLimited() pauses the task's rateLimit, and ${task.name} declares none; declare one, or use self.retry({ countdown })`,
        );
      if (request.isEager)
        throw new LovageError(
          `${task.name} was told that it comes too often, and runs in its caller, where nothing waits`,
        );
      if (typeof retryAfter !== "number" || !(retryAfter >= 0 && retryAfter <= MAX_RETRY_AFTER_S))
        throw new ImproperlyConfigured(
          "retryAfter",
          `rateLimited() takes { retryAfter }, a number of seconds from 0 to ${MAX_RETRY_AFTER_S}; given: ${String(retryAfter)}`,
        );
      throw new RateLimitedError(retryAfter);
    },
    updateState(update) {
      return scope.track(
        (async () => {
          scope.assertOpen("updateState()");
          const { state, meta = null } = update;
          if (typeof state !== "string" || state === "")
            throw new ImproperlyConfigured(
              "state",
              `updateState() takes { state, meta }, where state is text; given: ${String(state)}`,
            );
          await attempt.updateState(state, meta);
        })(),
      );
    },
    write(chunk) {
      return scope.track(
        (async () => {
          scope.assertOpen("write()");
          await scope.stream().write(chunk);
        })(),
      );
    },
    replace(signature: SignatureLike) {
      scope.assertOpen("replace()");
      const canvas = datedCanvas(checkReplacement(checkCanvas(signatureData(signature))), task.app.engine.moment);
      throw new Replaced(canvas);
    },
    addToChord(signature: SignatureLike) {
      return scope.track(
        (async () => {
          scope.assertOpen("addToChord()");
          const { chord, group } = message;
          if (chord === null || group === null)
            throw new LovageError(
              `addToChord() needs a chord: Current task is not member of any chord (${message.task})`,
            );
          const { id, groupIndex: index } = message;
          const member: Member = { id, rootId: request.rootId, group, index, body: chord };
          const canvas = datedCanvas(checkCanvas(signatureData(signature)), task.app.engine.moment);
          const addedId = await addToChord(attempt.sender, member, lineOf(message), scope.added++, canvas);
          return new AsyncResult(task.app.engine.reader, addedId);
        })(),
      );
    },
  };
}

const RETRY_OPTIONS = [
  "args",
  "kwargs",
  "countdown",
  "eta",
  "exc",
  "maxRetries",
  "queue",
  "priority",
  "headers",
  "expires",
] as const satisfies readonly (keyof RetryOptions)[];

/** What a retry asks for is checked where it is asked: later there would be nobody to tell. */
function checkRetry({ message, task, request, options: declared }: Attempt, options: RetryOptions): void {
  for (const name of Object.keys(options)) {
    if (!(RETRY_OPTIONS as readonly string[]).includes(name))
      throw new ImproperlyConfigured(
        name,
        `retry() has no such option${didYouMean(name, RETRY_OPTIONS)}; known: ${RETRY_OPTIONS.join(", ")}`,
      );
  }
  const { args, exc: _, ...call } = options;
  if (args !== undefined && !Array.isArray(args))
    throw new ImproperlyConfigured("args", "retry() takes the arguments as a list");
  checkCallOptions(message.task, call);
  if (call.queue !== undefined) {
    task.app.engine.router(message.task, [], {}, { queue: call.queue });
    const delay = call.eta ?? call.countdown ?? declared.defaultRetryDelay ?? DEFAULT_RETRY_DELAY_S;
    if (isFifo(call.queue) && call.queue !== request.queue && delay !== 0)
      throw new ImproperlyConfigured(
        "countdown",
        `the FIFO queue ${call.queue} takes no delay of a single message; retry with countdown: 0, or on a standard queue`,
      );
  }
  stringifyValue(args ?? [], "args");
  stringifyValue(call.kwargs ?? {}, "kwargs");
  stringifyValue(call.headers ?? {}, "headers");
}

/** What a scope has of the limits of its run. */
interface ScopeLimits {
  /** What the task's signal is made of: it is stopped at the soft limit, and when the run is told to stop. */
  readonly stop: Stop;
  /** When its time began, as {@link elapsedOf} has it. */
  readonly since: number;
  /** Its time begins now: until here it waited for others. */
  restart(): void;
}

/** Of what runs after the task. */
const unlimited = ({ abort, clock }: Attempt): ScopeLimits => ({
  stop: abort,
  since: elapsedOf(clock),
  restart: ignore,
});

class Limits implements ScopeLimits {
  readonly stop: Stop;
  since = 0;
  readonly #attempt: Attempt;
  readonly #expire: (outcome: Outcome) => void;
  #timers: AbortController | undefined;
  /** In milliseconds from `since`. */
  #hard = Number.POSITIVE_INFINITY;

  /** @param expire Is told the outcome, at the hard limit. */
  constructor(attempt: Attempt, expire: (outcome: Outcome) => void) {
    this.stop = attempt.abort.follower();
    this.#attempt = attempt;
    this.#expire = expire;
    this.#begin(waitOf(attempt.task));
  }

  /** @param more Milliseconds that are not the task's own. */
  #begin(more: number): void {
    const { request, clock, deadline } = this.#attempt;
    this.since = elapsedOf(clock);
    const { softTimeLimit: soft, timeLimit } = request;
    if (soft !== null) this.#after(soft * 1000 + more, () => this.stop.stop(new SoftTimeLimitExceeded(soft)));
    const limit = timeLimit === null ? Number.POSITIVE_INFINITY : timeLimit * 1000 + more;
    const hard = deadline === Number.POSITIVE_INFINITY ? limit : Math.max(0, Math.min(limit, deadline - clock.now()));
    this.#hard = hard;
    if (hard === Number.POSITIVE_INFINITY) return;
    this.#after(hard, () => {
      const error = new TimeLimitExceeded(hard / 1000);
      this.stop.stop(error);
      this.#expire({ type: "failure", error, expected: false, abandoned: true });
    });
  }

  /** Calls back after so many milliseconds, unless the run has ended by then. */
  #after(ms: number, then: () => void): void {
    this.#timers ??= new AbortController();
    const { signal } = this.#timers;
    void this.#attempt.clock.sleep(ms, signal).then(() => {
      if (!signal.aborted) then();
    });
  }

  restart(): void {
    this.#timers?.abort("it begins now");
    this.#timers = undefined;
    this.#begin(0);
  }

  /** The outcome, unless the run blocked the event loop beyond its hard limit and only now let the timer fire. */
  inTime<O extends Outcome | Unended>(outcome: O): O | Outcome {
    const hard = this.#hard;
    return hard !== Number.POSITIVE_INFINITY &&
      elapsedOf(this.#attempt.clock) - this.since > hard &&
      outcome.type !== "failure" &&
      outcome.type !== "released" &&
      outcome.type !== "rateLimited"
      ? { type: "failure", error: new TimeLimitExceeded(hard / 1000), expected: false, abandoned: false }
      : outcome;
  }

  end(): void {
    this.#attempt.abort.leave();
    // With a reason, so that none is made up: an error with a stack for every run.
    this.#timers?.abort("ended");
  }
}
