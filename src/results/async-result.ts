/** The result of a task that is, was or will be run somewhere. */
import { FAILURE, isPropagated, isReady, SUCCESS } from "../states.ts";
import { EncodeError } from "../errors.ts";
import type { Meta } from "../protocol/meta.ts";
import { type GroupResult, waitForAll } from "./group-result.ts";
import { checkGetOptions, checkRevokeOptions, checkStreamOptions, checkWatchOptions } from "./get-options.ts";
import type { ResultReader, Way } from "./reader.ts";
import type { Chunk } from "./stream.ts";

/** How `get()` waits for a result. */
export interface GetOptions {
  /** Seconds to wait; then `TimeoutError` is thrown. Default: without end. */
  readonly timeout?: number | undefined;
  /** Seconds between two looks at the backend. Default: short at first, longer as the task ages, up to 1 s. */
  readonly interval?: number | undefined;
  /** Throw what the task threw. Default true; with `false` the error is returned. */
  readonly propagate?: boolean | undefined;
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** `false` lets a task wait for another one, whose queue other workers serve. Default true: within a task `RuntimeError` is thrown, as in Celery. */
  readonly disableSyncSubtasks?: boolean | undefined;
}

/** From where, and for how long, `stream()` reads. */
export interface StreamOptions {
  /** How many chunks to leave out: those that were seen before. Default 0. */
  readonly from?: number | undefined;
  /** Seconds until the task has ended; then `TimeoutError` is thrown. Default: without end. */
  readonly timeout?: number | undefined;
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called when the task has begun again, after a retry or a death. The next chunk is then the first of the new run. */
  readonly onRestart?: (() => void) | undefined;
}

/** For how long `watch()` looks. */
export interface WatchOptions extends Pick<StreamOptions, "timeout" | "signal"> {}

/** What is seen of a task at some moment. */
export interface WatchedState {
  /** The state. */
  readonly state: string;
  /** The value or the error of a task that has ended, the meta of a state of your own, else `null`. */
  readonly info: unknown;
}

export interface RevokeOptions {
  /** Abort the `signal` of a task that runs already. Default false. */
  readonly terminate?: boolean | undefined;
}

/** One object for all calls of `get` without options: there is nothing to check. */
const NO_OPTIONS: GetOptions = {};

/**
 * What `delay` and `app.result(id)` give: the id of a task, and methods that read its result. Every method that reads the result
 * backend returns a promise. An outcome that was read is kept. It has no `then`: awaiting it does not wait for the task.
 */
export class AsyncResult<T = unknown> {
  /** The task's id. */
  readonly id: string;
  /** The result of the step before it, in a chain that was started here. */
  readonly parent: AsyncResult | GroupResult | null;
  readonly #reader: ResultReader;
  /** The task was sent with `ignoreResult`: nothing will ever be readable. */
  readonly #ignored: boolean;
  /** The outcome, once it was seen: it never changes. Without its result where that is kept elsewhere and nobody has asked for it. */
  #outcome: Meta | undefined;

  /** How it goes to its queue, as far as that is known. */
  readonly #way: Way;

  constructor(
    reader: ResultReader,
    id: string,
    parent: AsyncResult | GroupResult | null = null,
    ignored = false,
    way: Way = {},
  ) {
    this.#reader = reader;
    this.#way = way;
    this.#ignored = ignored;
    this.id = id;
    this.parent = parent;
  }

  async #meta(): Promise<Meta> {
    if (this.#outcome !== undefined) return this.#outcome;
    return this.#keep(await this.#reader.meta(this.id));
  }

  async #whole(): Promise<Meta> {
    return this.#keep(await this.#reader.whole(await this.#meta()));
  }

  #keep(meta: Meta): Meta {
    if (isReady(meta.status)) this.#outcome = meta;
    return meta;
  }

  /** The task's state; PENDING when nothing is known of the id, as in Celery. */
  async state(): Promise<string> {
    return (await this.#meta()).status;
  }

  /** The same as {@link state}. */
  status(): Promise<string> {
    return this.state();
  }

  /** Whether the task has its outcome. */
  async ready(): Promise<boolean> {
    return isReady(await this.state());
  }

  /** Whether the task ended as SUCCESS. */
  async successful(): Promise<boolean> {
    return (await this.state()) === SUCCESS;
  }

  /** Whether the task ended as FAILURE. */
  async failed(): Promise<boolean> {
    return (await this.state()) === FAILURE;
  }

  /** What is stored now, without waiting: the value, the error of a task that failed, the meta of a state of your own, or `null`. */
  async result(): Promise<T | Error | null> {
    return this.#reader.value(await this.#whole()) as T | Error | null;
  }

  /** The same as {@link result}: Celery's name for the meta of a state of your own. */
  info(): Promise<T | Error | null> {
    return this.result();
  }

  /** The stack, or Python's traceback, of a task that failed. */
  async traceback(): Promise<string | null> {
    return (await this.#meta()).traceback;
  }

  /** When the task ended; `null` as long as it has not. */
  async dateDone(): Promise<Date | null> {
    return this.#reader.dateDone(await this.#meta());
  }

  /** The results of what this task sent: of tasks, and of groups. Those that follow it are among them, but for a chord's body. */
  async children(): Promise<(AsyncResult | GroupResult)[]> {
    return this.#reader.children(await this.#meta());
  }

  /**
   * Waits for this task, then for what it sent, and so on, and gives each result with its value. Throws what a task threw,
   * and what `get` throws.
   */
  async *collect(options: GetOptions = {}): AsyncGenerator<[result: AsyncResult | GroupResult, value: unknown], void> {
    const seen = new Set<string>();
    const left: (AsyncResult | GroupResult)[] = [this];
    for (let result = left.shift(); result !== undefined; result = left.shift()) {
      // A task that was run again after a retry is a child of itself, in Python's rows.
      if (seen.has(result.id)) continue;
      seen.add(result.id);
      yield [result, await result.get(options)];
      left.push(...(result instanceof AsyncResult ? await result.children() : result.results));
    }
  }

  /**
   * Waits for the outcome and returns the value. If the task was sent with `ignoreResult`, it returns `null` at once, as in Celery.
   * @throws TimeoutError when `timeout` passes; `TaskError`, or an error of Lovage's own, when the task failed;
   * `ImproperlyConfigured` for an option that does not exist or is out of its range.
   */
  async get(given: GetOptions = NO_OPTIONS): Promise<T> {
    const options = given === NO_OPTIONS ? given : checkGetOptions(given);
    if (this.#ignored) return null as T; // What `ignoreResult` leaves of any value.
    const meta = this.#outcome === undefined ? this.#keep(await this.#wait(options)) : await this.#whole();
    const value = this.#reader.value(meta);
    if (isPropagated(meta.status) && options.propagate !== false) throw value;
    return value as T;
  }

  /**
   * What the task writes by `self.write`, while it runs and for a day after: each chunk once, in order. Ends when the task has
   * ended well. Throws what `get` throws, when the task failed, and at the end of what it wrote.
   *
   * ```ts
   * for await (const text of result.stream()) process.stdout.write(String(text));
   * ```
   */
  async *stream<C = unknown>(given: StreamOptions = {}): AsyncGenerator<C, void> {
    const { onRestart, ...options } = checkStreamOptions(given);
    let run: string | undefined;
    for await (const chunk of this.#reader.stream(this.id, options)) {
      if (run !== undefined && chunk.run !== run) onRestart?.();
      run = chunk.run;
      yield chunk.value as C;
    }
  }

  /** The same as `stream()`, with the offset and the run of each chunk: for programs that pass a stream on, as `lovage/web` does. */
  chunks(
    options: Pick<StreamOptions, "from" | "timeout" | "signal"> & { readonly run?: string | undefined } = {},
  ): AsyncGenerator<Chunk, void> {
    return this.#reader.stream(this.id, options);
  }

  /** The task's states as they change, the present one first and its outcome last: what `updateState` stores, too. */
  async *watch(given: WatchOptions = {}): AsyncGenerator<WatchedState, void> {
    const options = checkWatchOptions(given);
    for await (const meta of this.#reader.watch(this.id, options)) {
      this.#keep(meta);
      yield { state: meta.status, info: this.#reader.value(meta) };
    }
  }

  #wait(options: GetOptions): Promise<Meta> {
    if (this.parent === null) return this.#reader.wait(this.id, options, () => [this.#way]);
    return waitForAll(this.#reader, [this], options, this.parent).then(([meta]) => meta as Meta);
  }

  /** @internal How it goes to its queue. */
  way(): Way {
    return this.#way;
  }

  /**
   * Removes the result for all readers, and those of the steps before it. A task that has not run yet still runs. Its id is free
   * then: a task that is sent later with this `taskId` is another task.
   */
  async forget(): Promise<void> {
    this.#outcome = undefined;
    await this.parent?.forget();
    await this.#reader.forget(this.id);
  }

  /**
   * Keeps the task from starting, also a failed one that waits to run again. One that runs already goes on, or with `terminate`
   * finds its `signal` aborted. After its outcome nothing changes.
   */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    await this.#reader.revoke(this.id, checkRevokeOptions(options).terminate ?? false);
  }

  /** The id, as Celery's `str(result)`. */
  toString(): string {
    return this.id;
  }

  /** A result is not data: pass its id. */
  toJSON(): never {
    throw new EncodeError("", `is the result of task ${this.id}, which cannot be sent itself; send its id`);
  }
}
