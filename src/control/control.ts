/** What `app.control` is: an operator's questions and actions. What does them is loaded at the first. */
import type { Engine } from "../engine.ts";
import type { JournalSpan } from "../journal/query.ts";
import type { Inspect } from "./inspect.ts";
import { loadControl } from "./load.ts";

/** Who does it: the journal keeps the name. */
export interface Acting {
  /** A name. Default: the caller's ARN on AWS, else the user of the operating system. */
  readonly by?: string | undefined;
}

/** Who changes tasks, or only asks what would be changed. */
export interface ChangeTasks extends Acting {
  /** Change nothing, and only say what would be done and what refused. Default false. */
  readonly dryRun?: boolean | undefined;
}

/** How tasks are revoked. */
export interface RevokeTasks extends ChangeTasks {
  /** Abort the `signal` of a run that is under way, too. Default false. */
  readonly terminate?: boolean | undefined;
}

/** What became of the tasks that were to be revoked or forgotten. */
export interface ChangedTasks {
  /** It was done to so many; with `dryRun`, would be. */
  readonly count: number;
  /** Those that stay as they are, and why. */
  readonly failed: readonly { readonly id: string; readonly reason: string }[];
}

/** Which failed tasks are meant: those that match all that is given. A list means one of these. */
export interface RetryFailed extends JournalSpan, Acting {
  /** A task's name, or a pattern such as `media.*`. */
  readonly task?: string | readonly string[] | undefined;
  /** The name of the error's class, or a part of its message, in upper or lower case. */
  readonly error?: string | undefined;
  /** A part of the id, the task's name, the arguments or the error as the journal shows them, in upper or lower case. */
  readonly text?: string | undefined;
  /** Only those of these queues. Default: all. */
  readonly queue?: string | readonly string[] | undefined;
  /** So many at most, the latest first. Default: all. */
  readonly limit?: number | undefined;
  /** Only count. Default false. */
  readonly dryRun?: boolean | undefined;
  /** Is told how many were sent so far. */
  readonly progress?: ((count: number) => void) | undefined;
}

/** Why a task cannot be run again by its id. */
export type RetryRefusal =
  | "succeeded"
  | "running"
  | "waiting"
  | "asked"
  | "revoked"
  | "unknown"
  | "deadLetter"
  | "notKept";

/** What became of the failed tasks that were meant. */
export interface RetriedFailures {
  /** Tasks that were sent again; with `dryRun`, that would be. */
  readonly count: number;
  /** How many tasks these were of each name. */
  readonly tasks: Readonly<Record<string, number>>;
  /** Failures of the journal that match and were left out, by the reason. */
  readonly skipped: Readonly<Partial<Record<RetryRefusal, number>>>;
}

/** A dead letter, as it is shown. */
export interface ShownLetter {
  /** The queue that it came from. */
  readonly queue: string;
  /** The broker's id of the message. */
  readonly message: string;
  /** The task's name; `undefined` where the message cannot be read. */
  readonly task: string | undefined;
  /** The task's id; `undefined` where the message cannot be read. */
  readonly id: string | undefined;
  /** The error, where one led to it. */
  readonly error: string | undefined;
  /** Why it became one. */
  readonly reason: string | undefined;
  /** How often it was given out. */
  readonly deliveries: number | undefined;
  /** When the message was sent. */
  readonly sentAt: Date | undefined;
  /** When it became a dead letter. */
  readonly deadAt: Date | undefined;
  /** The text of the message. */
  readonly body: string;
}

/** Which dead letters are meant: those that match all that is given, by when they became dead letters. A list means one of these. */
export interface LettersOf extends JournalSpan {
  /** Queues that they came from. Default: all that have any. */
  readonly queue?: string | readonly string[] | undefined;
  /** A task's name, or a pattern such as `media.*`. */
  readonly task?: string | readonly string[] | undefined;
  /** A part of the reason or of the error's name, in upper or lower case. */
  readonly error?: string | undefined;
  /** The id of the task, or the broker's of the message. */
  readonly id?: string | readonly string[] | undefined;
  /** So many at most. Default: all. */
  readonly limit?: number | undefined;
}

/** Which dead letters are changed, and who does it. */
export interface ChangeLetters extends LettersOf, Acting {
  /** Only count. Default false. */
  readonly dryRun?: boolean | undefined;
  /** Called with each dead letter that was handled. */
  readonly each?: ((letter: ShownLetter) => void) | undefined;
  /** Stops after the current dead letter. Returns what was done until then. */
  readonly signal?: AbortSignal | undefined;
}

/** Which dead letters are sent back, and with what changed. */
export interface RedriveLetters extends ChangeLetters {
  /** Arguments in place of those of the letter. Default: its own. */
  readonly args?: readonly unknown[] | undefined;
  /** Keyword arguments in place of those of the letter. Default: its own. */
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** What became of the dead letters that were meant. */
export interface ChangedLetters {
  /** So many were sent back or deleted; with `dryRun`, would be. */
  readonly count: number;
  /** Those that it could not be done to. They stay. */
  readonly failed: readonly { readonly letter: ShownLetter; readonly error: unknown }[];
}

/** What is asked of dead letters, in the words of `lovage dlq`. */
export interface DeadLetters {
  /**
   * Those that match, each once. Meanwhile they are hidden from others who look.
   * @throws QueueNotFound for a queue that is neither declared nor there, as `redrive` and `delete` do.
   */
  list(filter?: LettersOf): AsyncIterableIterator<ShownLetter>;
  /** Sends those that match back to their queues. */
  redrive(filter?: RedriveLetters): Promise<ChangedLetters>;
  /** Deletes those that match, for ever. */
  delete(filter?: ChangeLetters): Promise<ChangedLetters>;
}

/** Steers an app: `app.control`. Every action is an entry of kind `control` in the journal, with who and when. */
export interface Control {
  /**
   * Keeps tasks from starting, or with `terminate` from going on. An id of which nothing is stored is revoked too: its message may
   * wait, or still come. A failed task that waits to run again, by {@link retry} or as a dead letter that was sent back here, is revoked
   * for good. A task that has ended otherwise stays as it is, and is told of in `failed`.
   */
  revoke(ids: string | readonly string[], options?: RevokeTasks): Promise<ChangedTasks>;
  /**
   * Runs a failed task again, under its own id: once for each time it is asked for, and once where two ask at the same
   * time. What waits for it, such as a chord that has failed for it, goes on when it succeeds.
   * @throws CannotRetry which says why: it succeeded, runs, was asked for already and waits, was never seen, or its message was
   * not kept. It is run no further time then.
   */
  retry(id: string, options?: ChangeTasks): Promise<void>;
  /** The same for all failures in the journal that match and whose tasks have not ended otherwise since. */
  retryFailed(filter?: RetryFailed): Promise<RetriedFailures>;
  /**
   * Readers see nothing of a task any more, and `retry` does not find it. One that waits to run, also again, still runs. What is sent
   * under its id later is another task. An id of which nothing is stored is told of in `failed`.
   */
  forget(ids: string | readonly string[], options?: ChangeTasks): Promise<ChangedTasks>;
  /**
   * Changes the rate of a task that declares a `rateLimit`, for all workers, within seconds: `"10/m"`; `null` gives it back to
   * the declaration. Its burst and key stay. What waits was told its time under the old rate: it looks within a minute, on SQS
   * within fifteen, and none starts too soon. Throws `ImproperlyConfigured` for a task without a `rateLimit`.
   */
  rateLimit(task: string, rate: number | string | null, options?: Acting): Promise<void>;
  /** Deletes all messages of a queue, for ever. Returns how many, or `undefined` where the broker does not say. */
  purge(queue: string, options?: Acting): Promise<number | undefined>;
  /** What is done with dead letters. */
  readonly deadLetters: DeadLetters;
  /**
   * Nothing more of a queue is begun; what runs, runs on. It lasts until {@link resume}, over restarts and deploys. On AWS
   * the event source mapping of its function is disabled (`lambda:UpdateEventSourceMapping`), which takes up to a minute.
   */
  pause(queue: string, options?: Acting): Promise<void>;
  /** Lets workers fetch from a paused queue again. A queue that is not paused stays as it is. */
  resume(queue: string, options?: Acting): Promise<void>;
  /** Stops a long-lived worker as SIGTERM does. A supervisor that keeps its process running may start another one. Throws if there is no worker of that name. */
  shutdown(worker: string, options?: Acting): Promise<void>;
  /** What there is, in Celery's words. */
  inspect(): Inspect;
}

export function createControl(engine: Engine, app: string): Control {
  const open = async () => (await loadControl()).createOperations(engine, app);
  return {
    revoke: async (ids, options) => (await open()).revoke(ids, options),
    retry: async (id, options) => (await open()).retry(id, options),
    retryFailed: async (filter) => (await open()).retryFailed(filter),
    forget: async (ids, options) => (await open()).forget(ids, options),
    rateLimit: async (task, rate, options) => (await open()).rateLimit(task, rate, options),
    purge: async (queue, options) => (await open()).purge(queue, options),
    deadLetters: {
      async *list(filter) {
        yield* (await open()).deadLetters.list(filter);
      },
      redrive: async (filter) => (await open()).deadLetters.redrive(filter),
      delete: async (filter) => (await open()).deadLetters.delete(filter),
    },
    pause: async (queue, options) => (await open()).pause(queue, options),
    resume: async (queue, options) => (await open()).resume(queue, options),
    shutdown: async (worker, options) => (await open()).shutdown(worker, options),
    inspect: () => ({
      queues: async (options) => (await open()).inspect().queues(options),
      functions: async (options) => (await open()).inspect().functions(options),
      active: async () => (await open()).inspect().active(),
      reserved: async () => (await open()).inspect().reserved(),
      waiting: async () => (await open()).inspect().waiting(),
      scheduled: async () => (await open()).inspect().scheduled(),
      registered: async () => (await open()).inspect().registered(),
      stats: async () => (await open()).inspect().stats(),
      ping: async () => (await open()).inspect().ping(),
      conf: async () => (await open()).inspect().conf(),
    }),
  };
}
