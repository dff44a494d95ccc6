/** A run while it goes on: what its task reaches of it, by `self` and by the async context, and what it leaves open. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { SignatureLike } from "../canvas/signature.ts";
import { datedCanvas } from "../canvas/dated.ts";
import { checkCanvas, formOf, tasksOf } from "../canvas/shape.ts";
import { signatureData } from "../canvas/wire-options.ts";
import { isFifo } from "../brokers/broker.ts";
import { elapsedOf } from "../clock.ts";
import { ContextSettledError, Ignore, ImproperlyConfigured, LovageError, Retry } from "../errors.ts";
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
import { parseTime } from "../protocol/time.ts";
import { stringifyValue } from "../protocol/values.ts";
import {
  type RetryOptions,
  type RunningTask,
  type RunScope,
  type TaskContext,
  useScopeStorage,
} from "../tasks/context.ts";
import { AsyncResult } from "../results/async-result.ts";
import type { StreamWriter } from "../results/stream.ts";
import { bindTask } from "../tasks/direct.ts";
import { loggerOf, type Say, sayer } from "../tasks/logger.ts";
import { checkCallOptions } from "../tasks/options.ts";
import { addToChord, type Member } from "./join.ts";
import { fieldsOf, nameOf } from "./report.ts";
import { DEFAULT_MAX_RETRIES, DEFAULT_RETRY_DELAY_S, exhausted, mayRetry } from "./retry.ts";
import type { Stop } from "./stop.ts";
import type { Attempt } from "./trace.ts";

/** The longest time that `rateLimited()` takes, in seconds: a day. */
const MAX_RETRY_AFTER_S = 86_400;

export const storage = new AsyncLocalStorage<RunScope>();
useScopeStorage(storage);

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
export class Replaced extends LovageError {
  readonly signature: SignatureData;
  constructor(signature: SignatureData) {
    super("the task was replaced");
    this.signature = signature;
  }
}

/** Thrown to a call that expired while it waited for others. */
export class Expired extends LovageError {
  constructor() {
    super("the task expired while it waited for its batch");
  }
}

/** Thrown by `self.checkpoint()`. */
export class Checkpointed extends LovageError {
  readonly checkpoint: Checkpoint;
  constructor(checkpoint: Checkpoint) {
    super("the task goes on from a checkpoint");
    this.checkpoint = checkpoint;
  }
}

/** Thrown by `self.rateLimited()`. */
export class RateLimitedError extends LovageError {
  readonly retryAfter: number;
  constructor(retryAfter: number) {
    super("the task was told that it comes too often");
    this.retryAfter = retryAfter;
  }
}

/** A promise that knows whether somebody has looked at it: by `await`, `then`, `catch`, or by `Promise.all` and its like. */
class Sending<T> extends Promise<T> {
  wasLookedAt = false;

  /** What is made of it is a promise like any other. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // `await` asks for it too: only a promise of Node's own class is awaited past it.
  // biome-ignore lint/suspicious/noThenProperty: it is the promise's own.
  override then<A = T, B = never>(...handlers: Parameters<typeof Promise.prototype.then<A, B>>): Promise<A | B> {
    this.wasLookedAt = true;
    return super.then(...handlers) as Promise<A | B>;
  }

  /** Its error is told otherwise where nobody looks at it. */
  quietly(): this {
    super.then(undefined, ignore);
    return this;
  }
}

/** A run while it goes on, and what it leaves open. Made for each run, so it holds no more than it has to. */
export class Scope implements RunScope {
  readonly message: Message;
  readonly children: ResultTuple[] = [];
  /** Members added to its chord so far. */
  added = 0;
  /** What `retry()` said that it would allow, if it was asked: it holds for an automatic retry of the same attempt too. */
  retriesAllowed: number | null | undefined;
  #isOpen = true;
  hasEnded = false;
  readonly fail: (error: unknown) => void;
  readonly #attempt: Attempt;
  readonly #limits: ScopeLimits;
  readonly #begins: (() => void) | undefined;
  #self: RunningTask | undefined;
  /** Does not reject: what failed is in the next list. */
  #pending: Set<Promise<void>> | undefined;
  #failed: { readonly sending: Sending<unknown>; readonly error: unknown }[] | undefined;
  #isDraining = false;
  #written: StreamWriter | undefined;

  /** @param fail Ends the run with what was thrown where nobody could catch it. */
  constructor(attempt: Attempt, limits: ScopeLimits, fail: (error: unknown) => void = ignore, begins?: () => void) {
    this.message = attempt.message;
    this.fail = fail;
    this.#attempt = attempt;
    this.#limits = limits;
    this.#begins = begins;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get parent(): Message | undefined {
    return this.message;
  }

  get fields(): Readonly<Record<string, unknown>> {
    return fieldsOf(this.message, this.#attempt.request.queue);
  }

  get isEager(): boolean {
    return this.#attempt.request.isEager;
  }

  runs(id: string): boolean {
    return this.message.id === id;
  }

  /** Made when it is asked for: most tasks never do. */
  get self(): RunningTask {
    this.#self ??= bindTask(this.#attempt.task, this.context(this.#attempt, this.#limits));
    return this.#self;
  }

  protected context(attempt: Attempt, limits: ScopeLimits): TaskContext {
    return contextOf(this, attempt, limits);
  }

  /** Made where a task writes: most do not. */
  get say(): Say {
    return (...line) => sayer(this.#attempt.log, nameOf(this.message), this.fields)(...line);
  }

  assertOpen(call: string): void {
    if (!this.isOpen) throw new ContextSettledError(this.message.id, call);
  }

  track<T>(work: Promise<T>): Promise<T> {
    if (!this.isOpen) return work;
    const sending = (Sending.resolve(work) as Sending<T>).quietly();
    this.#pending ??= new Set();
    const all = this.#pending;
    const entry = work.then(
      () => void all.delete(entry),
      (error: unknown) => {
        all.delete(entry);
        // Who has looked at it by now has the error. Only what the task's end waits for is its error in any case.
        if (!this.#isDraining && sending.wasLookedAt) return;
        this.#failed ??= [];
        this.#failed.push({ sending, error });
      },
    );
    all.add(entry);
    return sending;
  }

  /** What the task writes bit by bit. */
  stream(): StreamWriter {
    this.#written ??= this.#attempt.stream();
    return this.#written;
  }

  /**
   * Waits for all that was sent and not awaited. Throws the first error of it, also one that came before and that the task has
   * not looked at. `undefined`: there is nothing to wait for.
   */
  drain(): Promise<void> | undefined {
    return this.#pending === undefined && this.#written === undefined ? undefined : this.#drain();
  }

  /** The same for a run that has thrown. No end is stored while something that it sends is under way: nobody would send it again. */
  drainAfter(error: unknown): Promise<void> | undefined {
    const sent = this.drain();
    return endsWell(error) ? sent : sent?.catch(() => {});
  }

  async #drain(): Promise<void> {
    this.#failed = this.#failed?.filter(({ sending }) => !sending.wasLookedAt);
    this.#isDraining = true;
    // Tasks may send from what they started and did not await: look again until nothing is left.
    while (this.#pending !== undefined && this.#pending.size > 0) await Promise.all(this.#pending);
    this.#isDraining = false;
    await this.#written?.end();
    const first = this.#failed?.[0];
    this.#failed = undefined;
    if (first !== undefined) throw first.error;
  }

  /** What it waited for is there: its time limits count from now on. Throws where it has expired meanwhile. */
  begin(): void {
    if (isExpired(this.message, this.#attempt.clock.now())) throw new Expired();
    this.#limits.restart();
    this.#begins?.();
  }

  /** @param hasEnded It ended by itself, and was not given up while its code was at work. */
  close(hasEnded: boolean): void {
    this.#isOpen = false;
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
export interface ScopeLimits {
  /** What the task's signal is made of: it is stopped at the soft limit, and when the run is told to stop. */
  readonly stop: Stop;
  /** When its time began, as {@link elapsedOf} has it. */
  readonly since: number;
  /** Its time begins now: until here it waited for others. */
  restart(): void;
}

export function maxRetriesOfCall({ headers }: Message): number | null | undefined {
  const { max_retries: own } = headers;
  return own === null || typeof own === "number" ? own : undefined;
}

export function maxRetriesOf({ message, options }: Attempt): number | null {
  const own = maxRetriesOfCall(message);
  if (own !== undefined) return own;
  return options.maxRetries === undefined ? DEFAULT_MAX_RETRIES : options.maxRetries;
}

/** No failure by itself: one that a send brings goes before it, as if the task had awaited that. */
const endsWell = (error: unknown): boolean =>
  error instanceof Retry ||
  error instanceof Ignore ||
  error instanceof Replaced ||
  error instanceof RateLimitedError ||
  error instanceof Checkpointed;
