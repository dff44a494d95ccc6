/**
 * The only place where a user's code runs: the task and its hooks. Running a task gives an outcome; it never throws.
 */
import { type Clock, elapsedOf } from "../clock.ts";
import {
  Ignore,
  Reject,
  Retry,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  TimeLimitExceeded,
  WorkerShutdown,
} from "../errors.ts";
import type { Checkpoint, Message, SignatureData } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import { expiresOf } from "../tasks/publish.ts";
import { formatTime } from "../protocol/time.ts";
import { FAILURE, SUCCESS } from "../states.ts";
import type { Request, RetryOptions, RunScope } from "../tasks/context.ts";
import type { StreamWriter } from "../results/stream.ts";
import { batchOf, waitOf } from "../tasks/batch.ts";
import { callTask } from "../tasks/direct.ts";
import type { TaskOptions } from "../tasks/options.ts";
import { errbackArguments } from "../tasks/errback.ts";
import { argumentsOfRetry } from "../tasks/params.ts";
import { resolveInput } from "../tasks/schema.ts";
import { Task } from "../tasks/task.ts";
import { BuiltinTask } from "./builtins.ts";
import type { Log } from "./log.ts";
import { autoretryCountdown, DEFAULT_RETRY_DELAY_S, exhausted, isAutoretried, mayRetry, retryTime } from "./retry.ts";
import type { Sender } from "./sender.ts";
import type { Stop } from "./stop.ts";
import { type Gathering, gather } from "./batch.ts";
import {
  Checkpointed,
  Expired,
  maxRetriesOf,
  maxRetriesOfCall,
  RateLimitedError,
  Replaced,
  Scope,
  type ScopeLimits,
  storage,
} from "./scope.ts";

/** Whether a task of the app that is bundled gathers calls. */
declare const LOVAGE_BATCHES: boolean;

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
  /** Of a task that gathers calls: where they are gathered; absent: it is not waited for others. */
  readonly gathering?: Gathering;
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
async function runCode(attempt: Attempt, scope: Scope): Promise<unknown> {
  const { task, message } = attempt;
  let value: unknown;
  try {
    if (task.beforeStart !== NO_HOOKS.beforeStart) await task.beforeStart(message.id, message.args, message.kwargs);
    // A task of Celery's takes keyword arguments from its request.
    const input =
      task instanceof BuiltinTask
        ? message.args
        : resolveInput(task, errbackArguments(message.headers, message.args), message.kwargs);
    const args = input instanceof Promise ? await input : input;
    value =
      (typeof LOVAGE_BATCHES === "undefined" || LOVAGE_BATCHES) && batchOf(task) !== undefined
        ? gather(attempt, scope, args)
        : callTask(task, scope, args);
    if (typeof value === "object" || typeof value === "function") value = await value;
  } catch (error) {
    await scope.drainAfter(error);
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

/** Of what runs after the task. */
const unlimited = ({ abort, clock }: Attempt): ScopeLimits => ({
  stop: abort,
  since: elapsedOf(clock),
  restart() {},
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
