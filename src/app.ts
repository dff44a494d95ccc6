/// <reference lib="esnext.disposable" preserve="true" />
/** The app: what a user makes first and everything hangs on. It wires; it decides nothing. */
import { type Eager, loadEager } from "#on-demand";
import type { Around } from "./around.ts";
import type { Incomplete, Step } from "./canvas/fit.ts";
import { type SendManyOptions, type SentCalls, sendMany } from "./canvas/send-many.ts";
import { dated, datedCanvas } from "./canvas/dated.ts";
import { childOf, openStream, sendCanvas, toResult } from "./canvas/send.ts";
import { checkCanvas, checkDepth, withMembers, withOptions } from "./canvas/shape.ts";
import { type Applied, type Misfit, type OpenStream, Signature, type SignatureApplier } from "./canvas/signature.ts";
import { toWireOptions } from "./canvas/wire-options.ts";
import { readWorkflow } from "./canvas/workflow.ts";
import type { Config, ConfigInput } from "./config/config.ts";
import { configFromObject } from "./config/config-object.ts";
import { type Control, createControl } from "./control/control.ts";
import { Engine, type Platform } from "./engine.ts";
import { AlreadyRegistered, ImproperlyConfigured, NotRegistered } from "./errors.ts";
import { createJournal, type Journal } from "./journal/journal.ts";
import type { Workflow } from "./journal/workflow.ts";
import { nearest } from "./nearest.ts";
import type { Given } from "./parse.ts";
import type { SignatureData } from "./protocol/message.ts";
import { AsyncResult } from "./results/async-result.ts";
import type { GroupResult } from "./results/group-result.ts";
import type { SignalHandler, SignalName } from "./signals.ts";
import { RuntimeSchedule } from "./tasks/beat.ts";
import {
  type BatchCall,
  type BatchFunction,
  type BatchOptions,
  type BatchResult,
  type BatchResults,
  callAlone,
  checkBatch,
  setBatch,
} from "./tasks/batch.ts";
import { currentScope, type RunningTask, tracked } from "./tasks/context.ts";
import {
  type CallOptions,
  checkCall,
  checkSignature,
  checkRefOptions,
  checkTaskName,
  checkTaskOptions,
  type TaskClass,
  type TaskOptions,
  type TaskRefOptions,
  type TaskSchema,
  withRefOptions,
} from "./tasks/options.ts";
import { checkLimits } from "./tasks/publish.ts";
import { sendCall } from "./tasks/send-call.ts";
import type { SchemaInput, SchemaOutput } from "./tasks/schema.ts";
import { Task, type TaskFunction, type TaskRef } from "./tasks/task.ts";
import type { Wire } from "./tasks/wire.ts";

/** Defined by who bundles an app that does without `configFromObject` (esbuild's `--define:LOVAGE_OWN_NAMES=true`): it is left out. */
declare const LOVAGE_OWN_NAMES: unknown;

/** Whether a task of the app that is bundled gathers calls: few do. */
declare const LOVAGE_BATCHES: boolean;

/** Whether a bundle has what reads the journal: it is written in any case, and few functions look. */
declare const LOVAGE_JOURNAL: boolean;

/**
 * The task that a function becomes. The function is taken as a whole, by a type without parameters: one with them would
 * give its own to a parameter with a default, `(x: number, y = 2)`, in place of the default's.
 */
type TaskOf<F> = F extends (...args: infer P extends readonly unknown[]) => infer R ? Task<P, Wire<Awaited<R>>> : never;

/**
 * An app: a name, a configuration, tasks.
 *
 * ```ts
 * export const app = new Lovage("tasks", { timezone: "Asia/Shanghai" });
 * export const add = app.task("tasks.add", (x: number, y: number) => x + y);
 * ```
 * Making one does no I/O and reads no credentials: broker and backend open at the first use.
 */
export class Lovage implements SignatureApplier {
  /** The app's name, as `new Lovage(name)` gave it. */
  readonly name: string;
  /** What the app runs on. For workers, beat and tools; it may change in any version. */
  readonly engine: Engine;

  /** Entries put at run time, beside those of `beatSchedule`. */
  readonly beat: RuntimeSchedule = new RuntimeSchedule(this);

  /** What has happened: attempts that ended, failures, and how long everything took. */
  readonly journal: Journal =
    typeof LOVAGE_JOURNAL === "undefined" || LOVAGE_JOURNAL
      ? createJournal(
          () => this.engine.journal(),
          () => this.engine.clock.now(),
        )
      : { find: unread, failures: async () => unread(), summary: async () => unread() };

  /** An operator's questions and actions: what there is, and how it is steered. */
  readonly control: Control;

  /** Throws `ImproperlyConfigured` for a setting that does not exist or is out of its range. */
  constructor(name: string, config: ConfigInput = {}, platform: Given<Platform> = {}) {
    if (typeof name !== "string" || name === "") throw new ImproperlyConfigured("name", "an app needs a name");
    this.name = name;
    // From JavaScript, `null` may stand for none.
    this.engine = new Engine(config ?? {}, platform ?? {});
    this.control = createControl(this.engine, name);
  }

  /** The settings in force. */
  get config(): Config {
    return this.engine.config;
  }

  /** The registered tasks by name. */
  get tasks(): ReadonlyMap<string, Task> {
    return this.engine.tasks;
  }

  /**
   * Takes settings from an object or module: our names, Celery's new ones (`beat_schedule`) or its old ones
   * (`CELERYBEAT_SCHEDULE`). They come over those given before. Throws `ImproperlyConfigured`.
   */
  configFromObject(source: object, options?: { readonly namespace?: string | undefined }): this {
    if (this.engine.isOpen)
      throw new ImproperlyConfigured(
        "configFromObject",
        "the app is in use already; configure it before the first call",
      );
    if (typeof LOVAGE_OWN_NAMES === "undefined") {
      this.engine.configure(configFromObject(source, options));
      this.engine.hasForeignNames = true;
    } else {
      throw new ImproperlyConfigured(
        "configFromObject",
        'is left out of this bundle, as the app did not call it when it was deployed; call it there too, or say bundling: { define: { LOVAGE_OWN_NAMES: "undefined" } }',
      );
    }
    return this;
  }

  /** Makes a function a task. Its types flow into `delay` and out of `get`. */
  task<F extends CallableFunction>(name: string, fn: F): TaskOf<F>;
  /** A task with a schema: its input is what callers give, its output what the function gets. */
  task<S extends TaskSchema, R, B extends TaskClass = typeof Task>(
    name: string,
    options: TaskOptions & { readonly schema: S; readonly bind: true; readonly base?: B | undefined },
    fn: (self: RunningTask<InstanceType<B>>, ...args: SchemaOutput<S>) => R,
  ): Task<SchemaInput<S>, Wire<Awaited<R>>> & MembersOf<B>;
  task<S extends TaskSchema, R, B extends TaskClass = typeof Task>(
    name: string,
    options: TaskOptions & { readonly schema: S; readonly bind?: false | undefined; readonly base?: B | undefined },
    fn: (...args: SchemaOutput<S>) => R,
  ): Task<SchemaInput<S>, Wire<Awaited<R>>> & MembersOf<B>;
  /** A bound task: the running task is the first argument. */
  task<P extends readonly unknown[], R, B extends TaskClass = typeof Task>(
    name: string,
    options: TaskOptions & { readonly bind: true; readonly base?: B | undefined; readonly schema?: undefined },
    fn: (self: RunningTask<InstanceType<B>>, ...args: P) => R,
  ): Task<P, Wire<Awaited<R>>> & MembersOf<B>;
  task<F extends CallableFunction, B extends TaskClass = typeof Task>(
    name: string,
    options: TaskOptions & {
      readonly bind?: false | undefined;
      readonly base?: B | undefined;
      readonly schema?: undefined;
    },
    fn: F,
  ): TaskOf<F> & MembersOf<B>;
  task(name: string, optionsOrFn: TaskOptions | TaskFunction | null | undefined, given?: TaskFunction): Task {
    const [options, fn] = typeof optionsOrFn === "function" ? [{}, optionsOrFn] : [optionsOrFn ?? {}, given];
    checkTaskName(name);
    if (typeof fn !== "function")
      throw new ImproperlyConfigured("task", `task ${name} needs a function, as the last argument`);
    if (fn === optionsOrFn && given !== undefined)
      throw new ImproperlyConfigured(
        "task",
        `task ${name} has its options before the function: task(name, options, fn)`,
      );
    if (name.startsWith("celery.")) throw new AlreadyRegistered(name, "names that begin with celery. are Celery's own");
    if (this.engine.tasks.has(name)) throw new AlreadyRegistered(name, "another task of this app has it");
    checkTaskOptions(name, options);
    const ref = this.engine.refs.get(name)?.options;
    const whole = ref === undefined ? options : withRefOptions(name, ref, options);
    if (ref !== undefined) checkTaskOptions(name, whole);
    const Class = options.base ?? Task;
    if (Class !== Task && !(Class.prototype instanceof Task))
      throw new ImproperlyConfigured("base", `the base of task ${name} must be a class that extends Task`);
    const task = new Class(this, name, whole, fn);
    this.engine.tasks.set(name, task);
    return task;
  }

  /**
   * A task whose calls are handed to its function some at a time: up to `size` that come within `wait` seconds. Each call keeps its
   * own id, result, retries and place in a workflow. The function gives a list with a result, or an error, for each call; what it
   * throws is thrown for all of them.
   *
   * ```ts
   * export const index = app.batchTask("search.index", { size: 100, wait: 2 }, (calls: readonly BatchCall<[id: string]>[]) =>
   *   engine.bulk(calls.map(({ args: [id] }) => id)),
   * );
   * ```
   */
  batchTask<P extends readonly unknown[], R>(
    name: string,
    options: Omit<TaskOptions, "bind" | "base"> & BatchOptions,
    fn: (calls: readonly BatchCall<P>[]) => BatchResults<R> | Promise<BatchResults<R>>,
  ): Task<P, Wire<BatchResult<R>>> {
    if (typeof LOVAGE_BATCHES === "undefined" || LOVAGE_BATCHES) {
      const { size, wait, ...rest } = options ?? {};
      const batch = checkBatch({ size, wait });
      if (typeof fn !== "function")
        throw new ImproperlyConfigured("task", `task ${name} needs a function, as the last argument`);
      // A schema's output is what each call has as its arguments. Which they are is what the caller's type says of them.
      const given = fn as unknown as BatchFunction;
      const task = this.task(
        name,
        { ...rest, bind: true } as TaskOptions & { readonly bind: true; readonly schema?: undefined },
        callAlone(name, given),
      ) as unknown as Task;
      setBatch(task, batch, given);
      return task as unknown as Task<P, Wire<BatchResult<R>>>;
    }
    throw new ImproperlyConfigured(
      "batchTask",
      `no task had a batch when this bundle was deployed; deploy it again with ${name}, or its taskRef with size and wait`,
    );
  }

  /** A task by its name and its schema: what calls take is what the schema takes. */
  taskRef<S extends TaskSchema>(
    name: string,
    options: TaskRefOptions & { readonly schema: S },
  ): TaskRef<Task<SchemaInput<S>, unknown>>;
  /**
   * A task by its name, for code that must not load the module that declares the task. Only the task's type is imported.
   *
   * ```ts
   * import type { add } from "./tasks.ts";
   * const sum = await app.taskRef<typeof add>("tasks.add").delay(1, 2); // an AsyncResult<number>
   * ```
   * That the name belongs to the type is not checked. What the declaration says (`queue`, `schema`, `timeLimit`, `rateLimit` …)
   * stays where it is: say it here instead, and callers, entries of beat and a deployment know it without the task's code. A
   * task that is declared later, with this app, has the options too.
   * @throws ImproperlyConfigured for options that are wrong, and if they are given twice.
   */
  taskRef<T extends Task = Task>(name: string, options?: TaskRefOptions): TaskRef<T>;
  taskRef(name: string, options?: TaskRefOptions): unknown {
    checkTaskName(name);
    const { size, wait, ...own } = options ?? {};
    checkRefOptions(name, own);
    const task = new Task(this, name, own, () => {
      throw this.notRegistered(name);
    });
    const hasBatch = size !== undefined || wait !== undefined;
    if ((typeof LOVAGE_BATCHES === "undefined" || LOVAGE_BATCHES) && hasBatch)
      setBatch(task, checkBatch({ size, wait } as BatchOptions));
    // A name may be asked for in many places; one of them says what it is.
    if (options === undefined) {
      if (!this.engine.refs.has(name)) this.engine.refs.set(name, task);
      return task;
    }
    if (this.engine.tasks.has(name) || Object.keys(this.engine.refs.get(name)?.options ?? {}).length > 0)
      throw new ImproperlyConfigured(
        "taskRef",
        `the options of ${name} were given before; give them once, and before the task`,
      );
    this.engine.refs.set(name, task);
    return task;
  }

  /** Sends a task by its name, registered here or not: `app.sendTask("tasks.add", [1, 2], { queue: "math" })`. */
  sendTask<R = unknown>(
    name: string,
    args: readonly unknown[] = [],
    options: CallOptions = {},
  ): Promise<AsyncResult<R>> {
    return tracked(this.#send<R>(name, args, options ?? {}));
  }

  async #send<R>(name: string, args: readonly unknown[], options: CallOptions): Promise<AsyncResult<R>> {
    checkCall(name, args, options);
    if (this.config.taskAlwaysEager) return this.applyEagerly<R>(name, args, options);
    const scope = currentScope();
    scope?.assertOpen(`sending ${name}`);
    checkLimits(this.engine, name, options);
    const { id, sent } = await sendCall(this.engine, name, args, dated(options, this.engine.moment));
    if (sent === undefined) return new AsyncResult<R>(this.engine.reader, id, null);
    scope?.children.push([[id, null], null]);
    return new AsyncResult<R>(this.engine.reader, id, null, sent.message.ignoreResult === true, {
      queue: sent.queue,
    });
  }

  /**
   * Sends any number of calls, as a list or a generator (sync or async) gives them: some hundreds are under way at a time,
   * and none is kept. Resolves when the broker has all of them.
   *
   * ```ts
   * const { sent } = await app.sendMany(users().map((user) => greet.s(user.id)));
   * ```
   * It ends at the first call that cannot be sent. With `onFailed` it goes on, and calls that with each of them.
   * @throws SendInterrupted which says of every call that was taken whether it is sent; `ImproperlyConfigured`.
   */
  sendMany<S extends Step>(
    calls: (Iterable<S> | AsyncIterable<S>) & ([Incomplete<S>] extends [never] ? unknown : Misfit<Incomplete<S>>),
    options: SendManyOptions<S> = {},
  ): Promise<SentCalls> {
    return tracked(this.#sendMany<S>(calls, options));
  }

  async #sendMany<S extends Step>(
    calls: Iterable<S> | AsyncIterable<S>,
    options: SendManyOptions<S>,
  ): Promise<SentCalls> {
    const scope = currentScope();
    const send = async (call: Step): Promise<Applied> => {
      scope?.assertOpen(`sending ${call.task}`);
      // A task has as its children what it sends one by one: these may be without number.
      if (this.config.taskAlwaysEager) return this.applySignatureEagerly(call.toJSON(), [], {});
      return toResult(
        this.engine.reader,
        await sendCanvas(this.engine, datedCanvas(call.toJSON(), this.engine.moment), {}, sendCall),
      );
    };
    return sendMany(calls, options, send, this.engine.uuid);
  }

  /** Runs a task here and now; see `Task.apply`. Throws `NotRegistered`. */
  async applyEagerly<R = unknown>(
    name: string,
    args: readonly unknown[] = [],
    given: CallOptions = {},
  ): Promise<AsyncResult<R>> {
    const options = given ?? {};
    checkCall(name, args, options);
    currentScope()?.assertOpen(`running ${name}`);
    const task = this.engine.tasks.get(name);
    if (task === undefined) throw this.notRegistered(name);
    return (await (await eager(name)).applyEagerly(this, task, args, options)) as AsyncResult<R>;
  }

  /** A signature of a task by its name, or from Celery's JSON of one. */
  signature(
    task: string | SignatureData,
    args: readonly unknown[] = [],
    options: CallOptions & { readonly immutable?: boolean | undefined } = {},
  ): Signature {
    if (typeof task !== "string") return new Signature(this, checkCanvas(task));
    const given = options ?? {};
    checkSignature(task, args, given);
    const { immutable = false, kwargs = {}, ...rest } = given;
    return new Signature(this, { task, args, kwargs, options: toWireOptions(rest), subtask_type: null, immutable });
  }

  /** Sends a signature. Arguments given here come before its own, and options given here replace its own. */
  applySignature(signature: SignatureData, args: readonly unknown[], options: CallOptions): Promise<Applied> {
    return tracked(this.#sendCanvas(signature, args, options ?? {}));
  }

  async #sendCanvas(signature: SignatureData, args: readonly unknown[], options: CallOptions): Promise<Applied> {
    checkCall(signature.task, args, options);
    if (this.config.taskAlwaysEager) return this.applySignatureEagerly(signature, args, options);
    const scope = currentScope();
    scope?.assertOpen(`sending ${signature.task}`);
    const { kwargs = {}, ...given } = options;
    const whole = datedCanvas(withOptions(signature, toWireOptions(given)), this.engine.moment);
    const node = await sendCanvas(this.engine, whole, { args, kwargs }, sendCall);
    scope?.children.push(childOf(node));
    return toResult(this.engine.reader, node);
  }

  /** Runs a signature at once, in this process. */
  async applySignatureEagerly(
    signature: SignatureData,
    args: readonly unknown[],
    options: CallOptions,
  ): Promise<Applied> {
    checkCall(signature.task, args, options);
    checkDepth(signature);
    currentScope()?.assertOpen(`running ${signature.task}`);
    return (await eager(signature.task)).applyCanvasEagerly(this, signature, args, options);
  }

  /** Begins a group, or a chord, whose members come one by one. */
  openStream(signature: SignatureData, args: readonly unknown[], options: CallOptions): OpenStream {
    checkCall(signature.task, args, options);
    const { kwargs = {}, ...given } = options;
    const { moment } = this.engine;
    const whole = datedCanvas(withOptions(signature, toWireOptions(given)), moment);
    if (!this.config.taskAlwaysEager) {
      const scope = currentScope();
      scope?.assertOpen(`sending ${signature.task}`);
      const stream = openStream(this.engine, whole, { args, kwargs }, async (group, body) =>
        (await eager(signature.task)).completeStreamed(this.engine, group, body),
      );
      return {
        ...stream,
        async send(members) {
          scope?.assertOpen(`sending ${signature.task}`);
          await stream.send(members.map((member) => datedCanvas(member, moment)));
        },
      };
    }
    const members: SignatureData[] = [];
    return {
      groupId: "",
      send: async (more) => void members.push(...more),
      end: () => this.applySignatureEagerly(withMembers(whole, members), args, { kwargs }),
    };
  }

  /** The result of a task that was sent anywhere, by its id. An id that nobody knows is PENDING. */
  result<R = unknown>(id: string): AsyncResult<R> {
    if (typeof id !== "string" || id === "") throw new ImproperlyConfigured("id", "must be the id of a task");
    return new AsyncResult<R>(this.engine.reader, id);
  }

  /** A group that was saved, by `GroupResult.save()` here or in Python; `null` if there is none. */
  groupResult(id: string): Promise<GroupResult | null> {
    if (typeof id !== "string" || id === "") throw new ImproperlyConfigured("id", "must be the id of a group");
    return this.engine.reader.group(id);
  }

  /**
   * All tasks of the workflow that a task belongs to, by the id of any of them, such as the one that a chain returns. Of a group: its
   * members and what comes after them. For each it has the tasks that it follows, its state and its times. It is made from the journal
   * and the rows that are still there. Throws `ImproperlyConfigured` if no journal is kept.
   */
  async workflow(id: string): Promise<Workflow> {
    return typeof LOVAGE_JOURNAL === "undefined" || LOVAGE_JOURNAL ? readWorkflow(this.engine, id) : unread();
  }

  /** Listens to a signal. Returns the function that stops listening. */
  on<N extends SignalName>(name: N, handler: SignalHandler<N>): () => void {
    return this.engine.emitter.on(name, handler);
  }

  /**
   * Puts steps around the sending of messages and the running of tasks, for example for tracing. Steps that were added first are
   * the outermost. Returns a function that removes them.
   */
  around(steps: Around): () => void {
    this.engine.arounds.add(steps);
    return () => this.engine.arounds.delete(steps);
  }

  /**
   * Closes the connections that are open. Workers that `startWorker` runs for the app are stopped before that, as by their `stop()`. The
   * app can be used again afterwards: it opens the connections again. Called by a task that such a worker runs, or by a handler of a
   * signal of that task, it does nothing.
   */
  close(): Promise<void> {
    return this.engine.close();
  }

  /** `await using app = new Lovage(…)` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The error for a name that is not registered, with the nearest one that is. */
  notRegistered(name: string): NotRegistered {
    const guess = nearest(name, this.engine.tasks.keys());
    return new NotRegistered(
      name,
      guess === undefined
        ? `registered: ${[...this.engine.tasks.keys()].join(", ") || "none"}`
        : `did you mean ${guess}?`,
    );
  }
}

/** What runs tasks in their caller. It is left out of bundles for browsers and the edge, see `browser` in package.json. */
async function eager(name: string): Promise<Eager> {
  const { applyEagerly, applyCanvasEagerly, completeStreamed } = await loadEager();
  if (applyEagerly === undefined || applyCanvasEagerly === undefined || completeStreamed === undefined)
    throw new ImproperlyConfigured(
      "taskAlwaysEager",
      `${name} cannot run here: tasks run in Node, and this bundle was not made for it; send it with delay()`,
    );
  return { applyEagerly, applyCanvasEagerly, completeStreamed };
}

/** In place of what reads the journal, in a bundle without it. */
function unread(): never {
  throw new ImproperlyConfigured(
    "journal",
    "what reads it is left out of functions of TaskQueues; set bundling: { journal: true }, and give the function grantInspect",
  );
}

/** Members that a base class adds to the tasks made with it. */
type MembersOf<B extends TaskClass> = Omit<InstanceType<B>, keyof Task>;
