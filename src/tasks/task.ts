/** A task: a function with a name, and the ways to call it. */
import type { Lovage } from "../app.ts";
import type { FirstArgs, GroupOf, Keepable, Missing } from "../canvas/fit.ts";
import { chunksOf } from "../canvas/shape.ts";
import { Signature } from "../canvas/signature.ts";
import { toWireOptions } from "../canvas/wire-options.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { callInPlace } from "./direct.ts";
import { type CallOptions, checkSignature, type Hooks, type TaskOptions } from "./options.ts";
import { checkByParams } from "./params.ts";
import type { SendableArgs } from "./wire.ts";

type Kwargs = Readonly<Record<string, unknown>>;

/** What a task runs. The running task comes first where it is bound. */
export type TaskFunction = (...args: never[]) => unknown;

/**
 * A task of an app, made by `app.task(name, fn)`. `P` are its parameters, `R` is what its result's reader gets.
 * Extend it and pass the class as `base` to give tasks hooks and members of their own.
 */
export class Task<P extends readonly unknown[] = readonly unknown[], R = unknown> implements Hooks {
  /** The app that it was declared with. */
  readonly app: Lovage;
  /** The name in messages: `tasks.add`. */
  readonly name: string;
  /** Its options, with what `taskAnnotations` says of it. */
  readonly options: TaskOptions;
  /** The function as it was given. */
  readonly fn: TaskFunction;

  constructor(app: Lovage, name: string, options: TaskOptions, fn: TaskFunction) {
    this.app = app;
    this.name = name;
    this.options = options;
    this.fn = fn;
    // Hooks given as options replace the class's methods.
    for (const hook of ["beforeStart", "onSuccess", "onRetry", "onFailure", "afterReturn"] as const) {
      const given = options[hook];
      if (given !== undefined) Object.defineProperty(this, hook, { value: given, configurable: true, writable: true });
    }
  }

  /** Sends the task: `await add.delay(1, 2)`. Resolves when the broker has accepted it. */
  delay(...args: SendableArgs<P>): Promise<AsyncResult<R>> {
    return this.applyAsync(args);
  }

  /**
   * Sends the task with arguments of both kinds: `add.applyAsync([1], { kwargs: { y: 2 } })`, where it declares `params`.
   * Rejects with `TypeError` if they do not fit these.
   */
  applyAsync(
    args: FirstArgs<SendableArgs<P>>,
    options: CallOptions & { readonly kwargs: Kwargs },
  ): Promise<AsyncResult<R>>;
  /**
   * Sends the task with options: `add.applyAsync([1, 2], { countdown: 20 })`. Without arguments, `kwargs` carries them.
   * Rejects with `TypeError` where the task declares `params` and these arguments do not fit them.
   */
  applyAsync(args?: Readonly<SendableArgs<P>> | readonly [], options?: CallOptions): Promise<AsyncResult<R>>;
  applyAsync(args: readonly unknown[] = [], options: CallOptions = {}): Promise<AsyncResult<R>> {
    try {
      checkByParams(this as unknown as Task, args, options?.kwargs);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.app.sendTask<R>(this.name, args, options);
  }

  /** The same as `applyAsync` with `kwargs`, at once in this process. */
  apply(args: FirstArgs<SendableArgs<P>>, options: CallOptions & { readonly kwargs: Kwargs }): Promise<AsyncResult<R>>;
  /** Runs the task at once in this process, with its retries and hooks, without broker or backend. The result has the same methods. */
  apply(args?: Readonly<SendableArgs<P>> | readonly [], options?: CallOptions): Promise<AsyncResult<R>>;
  apply(args: readonly unknown[] = [], options: CallOptions = {}): Promise<AsyncResult<R>> {
    return this.app.applyEagerly<R>(this.name, args, options);
  }

  /** Calls the function directly, as a plain function. */
  run(...args: P): unknown {
    // With which types is nobody's matter there.
    return callInPlace(this as unknown as Task, args);
  }

  /** A signature with some or all of its arguments. If it is called with a result, as a step of a chain, the result comes before them. */
  s<K extends Keepable<SendableArgs<P>>>(...args: K): Signature<Missing<SendableArgs<P>, K>, R> {
    return this.signature(args);
  }

  /** An immutable signature: a result that it is called with is not passed on, and any further argument is dropped. */
  si(...args: SendableArgs<P>): Signature<readonly unknown[], R> {
    return this.signature(args, { immutable: true });
  }

  /** One task that calls this one for each item, one after the other, and gives the list of results. */
  map(items: Iterable<FirstOf<SendableArgs<P>>>): Signature<readonly unknown[], R[]> {
    return this.#items("celery.map", { it: [...items] });
  }

  /** The same for lists of arguments. */
  starmap(items: Iterable<Readonly<SendableArgs<P>>>): Signature<readonly unknown[], R[]> {
    return this.#items("celery.starmap", { it: [...items] });
  }

  /**
   * A group of tasks that call this one for up to `size` lists of arguments each; every one gives a list of results.
   * Throws `ImproperlyConfigured` for a size that is not a whole number of 1 or more.
   */
  chunks(items: Iterable<Readonly<SendableArgs<P>>>, size: number): GroupOf<readonly unknown[], R[][]> {
    const { task, kwargs } = this.#items("celery.chunks", { it: [...items], n: size }).toJSON();
    return new Signature(
      this.app,
      chunksOf({ task, kwargs, args: [], options: {}, subtask_type: null, immutable: true }),
    );
  }

  #items(task: string, kwargs: Kwargs): Signature<readonly unknown[], R[]> {
    const inner = this.signature().toJSON();
    return new Signature(this.app, {
      task,
      args: [],
      kwargs: { task: inner, ...kwargs },
      options: {},
      subtask_type: null,
      immutable: true,
    });
  }

  /** A signature from a list of arguments, with options. */
  signature<A extends readonly unknown[] = readonly unknown[]>(
    args: readonly unknown[] = [],
    options: CallOptions & { readonly immutable?: boolean | undefined } = {},
  ): Signature<A, R> {
    const given = options ?? {};
    checkSignature(this.name, args, given);
    const { immutable = false, kwargs = {}, ...rest } = given;
    return new Signature<A, R>(this.app, {
      task: this.name,
      args,
      kwargs,
      options: toWireOptions(rest),
      subtask_type: null,
      immutable,
    });
  }

  /** Before the task runs. What it throws is the task's outcome. */
  beforeStart(_taskId: string, _args: readonly unknown[], _kwargs: Kwargs): void | Promise<void> {}
  /** After SUCCESS is stored. */
  onSuccess(_retval: unknown, _taskId: string, _args: readonly unknown[], _kwargs: Kwargs): void | Promise<void> {}
  /** After RETRY is stored. `einfo` is the stack. */
  onRetry(
    _exc: unknown,
    _taskId: string,
    _args: readonly unknown[],
    _kwargs: Kwargs,
    _einfo: string | null,
  ): void | Promise<void> {}
  /** After FAILURE is stored. `einfo` is the stack. */
  onFailure(
    _exc: unknown,
    _taskId: string,
    _args: readonly unknown[],
    _kwargs: Kwargs,
    _einfo: string | null,
  ): void | Promise<void> {}
  /** After `onSuccess` or `onFailure`; not after a retry. */
  afterReturn(
    _status: string,
    _retval: unknown,
    _taskId: string,
    _args: readonly unknown[],
    _kwargs: Kwargs,
    _einfo: string | null,
  ): void | Promise<void> {}
}

type FirstOf<P extends readonly unknown[]> = P extends readonly [infer First, ...unknown[]] ? First : P[number];

/** The ways to send a task that is declared elsewhere; made by `app.taskRef<typeof add>("tasks.add")`. */
export type TaskRef<T extends Task = Task> =
  T extends Task<infer P, infer R>
    ? Pick<Task<P, R>, "name" | "delay" | "applyAsync" | "s" | "si" | "signature" | "map" | "starmap" | "chunks">
    : never;
