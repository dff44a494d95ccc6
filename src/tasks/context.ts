/** What a running task sees of itself. */
import type { Lovage } from "../app.ts";
import type { SignatureLike } from "../canvas/signature.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { RuntimeError } from "../errors.ts";
import type { DeliveryInfo, Message, SignatureData } from "../protocol/message.ts";
import type { Say, TaskLogger } from "./logger.ts";
import type { CallOptions } from "./options.ts";

/** The message that a task runs for: Celery's `self.request`, in camelCase. */
export interface Request {
  /** The task's id. */
  readonly id: string;
  /** The task's name. */
  readonly task: string;
  /** The arguments, by position. */
  readonly args: readonly unknown[];
  /** The arguments by name. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Retries before this attempt: 0 in the first. */
  readonly retries: number;
  /** Text in ISO 8601, as in the message. */
  readonly eta: string | null;
  /** When the task expires, in ISO 8601; `null`: never. */
  readonly expires: string | null;
  /** The id of the first task of the workflow; its own where it is the first. */
  readonly rootId: string;
  /** The id of the task that called it. */
  readonly parentId: string | null;
  /** The id of the group that the task is a member of. */
  readonly group: string | null;
  /** Its place in the group, from 0. */
  readonly groupIndex: number | null;
  /** The body of the chord that the task is in the header of. */
  readonly chord: SignatureData | null;
  /** The steps of the chain that follow, the next one last, as Celery keeps them. */
  readonly chain: readonly SignatureData[];
  /** Signatures that are called with the result: `link`. */
  readonly callbacks: readonly SignatureData[];
  /** Signatures that are called when the task fails: `linkError`. */
  readonly errbacks: readonly SignatureData[];
  /** Both limits of the message, in Celery's order. */
  readonly timelimit: readonly [hard: number | null, soft: number | null];
  /** Seconds that this run may take, of call, task, queue or app; `null`: no limit. */
  readonly timeLimit: number | null;
  /** Seconds until the task's `signal` aborts; `null`: no limit. */
  readonly softTimeLimit: number | null;
  /** Whether the caller has no interest in the result. */
  readonly ignoreResult: boolean;
  /** Headers of the caller's own. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** The properties of the message, as AMQP has them. */
  readonly properties: Readonly<Record<string, unknown>>;
  /** The exchange and key that the message came by, its priority, and whether it was given out before. */
  readonly deliveryInfo: DeliveryInfo & { readonly priority: number | null; readonly redelivered: boolean };
  /** Celery's id for replies: the task's id. */
  readonly correlationId: string | null;
  /** Celery's queue for replies. It is carried, and nothing is sent there. */
  readonly replyTo: string | null;
  /** The worker's name. */
  readonly hostname: string;
  /** Who sent it: `gen<pid>@<host>`, as Celery writes it. */
  readonly origin: string | null;
  /** The name that logs show in place of the task's own. */
  readonly shadow: string | null;
  /** The language of the caller: `js`, or Python's `py`. */
  readonly lang: string;
  /** What logs and tools show in place of the arguments; `null`: they make it themselves. */
  readonly argsrepr: string | null;
  /** What logs and tools show in place of the keyword arguments; `null`: they make it themselves. */
  readonly kwargsrepr: string | null;
  /** How many times the task was replaced (`self.replace`). */
  readonly replacedTaskNesting: number;
  /** The names of the stamps that canvases put on it. */
  readonly stampedHeaders: readonly string[] | null;
  /** The stamps, by name. */
  readonly stamps: Readonly<Record<string, unknown>>;
  /** The queue it came from. */
  readonly queue: string;
  /** Whether it runs in its caller's process, by `apply` or `taskAlwaysEager`. */
  readonly isEager: boolean;
  /** Whether it was called as a plain function, by `add.run(…)`. Then there is no message, and a retry throws. */
  readonly calledDirectly: boolean;
  /** Times in the message are in UTC, always. */
  readonly utc: true;
  /** How often the broker handed the message out: 1 at first. */
  readonly deliveries: number;
  /** What the task gave to `self.checkpoint()` last, in this attempt or one before; `undefined`: there was none, and it starts from its beginning. */
  readonly checkpoint: unknown;
}

/** Options of `self.retry()`. */
export interface RetryOptions
  extends Pick<CallOptions, "countdown" | "eta" | "kwargs" | "queue" | "priority" | "headers"> {
  /** Arguments of the next attempt. Default: the present ones. */
  readonly args?: readonly unknown[] | undefined;
  /** Why. Thrown in the end, when no retry is left. */
  readonly exc?: unknown | undefined;
  /** Retries allowed, for this decision. `null`: without end. */
  readonly maxRetries?: number | null | undefined;
  /** Seconds from now, or an instant, in place of the message's own. */
  readonly expires?: number | Date | string | undefined;
}

/** What a bound task can do while it runs. */
export interface TaskContext {
  /** The app that runs the task. */
  readonly app: Lovage;
  /** The task's name. */
  readonly name: string;
  /** What is known of this attempt. */
  readonly request: Request;
  /** Aborts at the soft time limit, when the task is revoked with `terminate`, and when the run is given up. */
  readonly signal: AbortSignal;
  /** Writes lines of the task's own into the worker's log; each carries the task's id. */
  readonly log: TaskLogger;
  /** Asks for another attempt by throwing `Retry`; throws `exc`, or `MaxRetriesExceededError`, when none is left. */
  retry(options?: RetryOptions): never;
  /**
   * For a task with a `rateLimit` that a service answered with 429: ends this run, holds the key of its rate for so many
   * seconds, and runs it again after that. It costs no retry. Throws.
   */
  rateLimited(options: { readonly retryAfter: number }): never;
  /** Stores a state of your own, with any JSON as its meta, for readers of the result. */
  updateState(update: { readonly state: string; readonly meta?: unknown }): Promise<void>;
  /**
   * Writes a chunk of what the task produces, for those who read it while it runs (`result.stream()`): a text, or what JSON can
   * hold. Chunks are stored together, five times a second at most. Resolves when there is room for more; need not be
   * awaited. It is apart from the result, which is what the task returns. Throws `EncodeError` for what cannot be written,
   * `PayloadTooLarge` for a chunk beyond a third of a row (133 KB on DynamoDB).
   */
  write(chunk: unknown): Promise<void>;
  /**
   * Seconds until this run is ended from outside: by its time limit, or by the deadline of the function. `Infinity` where
   * nothing ends it.
   */
  remaining(): number;
  /**
   * Ends this run, and has the task go on in another one, at once and as the same attempt: no retry is used up. There
   * `request.checkpoint` is what was given here: where it is, in whatever a result may hold. As often as needed, up to 65,535 times.
   * To be called before {@link remaining} is 0, or when `signal` aborts. Throws.
   */
  checkpoint(state: unknown): never;
  /** Ends this run by sending another task under the same id; its result becomes this one's. Throws. */
  replace(signature: SignatureLike): never;
  /** Adds a task, or a canvas, to the chord that this task is a member of. Its result comes after those of the header. Throws if the task is in no chord. */
  addToChord(signature: SignatureLike): Promise<AsyncResult>;
}

/** A task while it runs: the task itself and its context. */
export type RunningTask<T = object> = T & TaskContext;

/** What the engine keeps of a running task beside what the task sees. */
export interface RunScope {
  readonly self: TaskContext;
  /** Of a batch: one that has its task's name, and in place of an id how many calls it has. */
  readonly message: Message;
  /** Whose children are sent here; `undefined`: a batch has none, as they would be of one of its calls. */
  readonly parent: Message | undefined;
  /** Facts that every line about it carries. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly isEager: boolean;
  /** Whether it runs the task of that id. */
  runs(id: string): boolean;
  /** Takes the lines that the task writes. */
  readonly say: Say;
  /** Sends that the task does not await are awaited for it before it counts as ended. Gives the promise back. */
  track<T>(sending: Promise<T>): Promise<T>;
  /** The results of what the task sent, for `children`. */
  readonly children: ResultTuple[];
  /** Throws `ContextSettledError` once the run is over. */
  assertOpen(call: string): void;
  /** Whether the run is not over. */
  readonly isOpen: boolean;
  /** Ends the run with an error that was thrown where nobody could catch it. */
  fail(error: unknown): void;
  /** The run has ended by itself. What still happens in its async context is no part of it: a timer, or a pool, that it made for all. */
  readonly hasEnded: boolean;
}

/** Where the running task is looked up: async local storage, on platforms that run tasks. */
interface ScopeStorage {
  getStore(): RunScope | undefined;
}

let storage: ScopeStorage | undefined;

/** Told by the worker when it loads, so that apps which only send do not need Node's async hooks. */
export function useScopeStorage(found: ScopeStorage): void {
  storage = found;
}

/** The run that this async context began in, if any: it may have ended long ago. */
export const originScope = (): RunScope | undefined => storage?.getStore();

/**
 * The engine's view of the task that is running here, if one is; also of one that was given up at its limit, whose code may
 * still be at work.
 */
export function currentScope(): RunScope | undefined {
  const scope = originScope();
  return scope?.hasEnded ? undefined : scope;
}

/** Within a task the run answers for what it sends, awaited or not. Gives the promise back. */
export const tracked = <T>(sending: Promise<T>): Promise<T> => currentScope()?.track(sending) ?? sending;

/** Does something that is awaited for the task that runs here. Throws `ContextSettledError` where that was given up. */
export function withinRun<T>(call: string, work: () => Promise<T>): Promise<T> {
  const scope = currentScope();
  if (scope === undefined) return work();
  const doing = async () => {
    scope.assertOpen(call);
    return work();
  };
  return scope.track(doing());
}

/** Throws in a task that runs in a worker: it would wait for another one. In its caller, or when it has ended, it holds nobody's place. */
export function assertMayWait(awaited: string): void {
  const scope = currentScope();
  if (scope?.isOpen && !scope.isEager) throw new RuntimeError(scope.message.id, awaited);
}

/** The task that is running here, as `bind: true` would give it; `undefined` outside of a task. */
export const currentTask = (): RunningTask | undefined => currentScope()?.self;
