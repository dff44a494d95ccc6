/** A task called in place, as a plain function: `add.run(1, 2)`. */
import { LovageError, Retry } from "../errors.ts";
import { createMessage } from "../protocol/message.ts";
import type { RunningTask, TaskContext } from "./context.ts";
import { getTaskLogger } from "./logger.ts";
import { createRequest } from "./request.ts";
import type { Task } from "./task.ts";

/** What a task's function gets: the bound task first, where the task is bound. Only then is `self` looked at. */
export function callTask(task: Task, scope: { readonly self: RunningTask }, args: readonly unknown[]): unknown {
  const fn = task.fn as (...given: unknown[]) => unknown;
  return task.options.bind === true ? fn(scope.self, ...args) : fn(...args);
}

/**
 * The running task: the task itself, with a context laid over it. What a base class keeps in its fields is kept on the
 * task, from run to run, as in Celery; and its methods run on the task, so that they reach private fields too.
 */
export function bindTask(task: Task, context: TaskContext): RunningTask {
  const self: unknown = new Proxy(task, {
    get(_, name) {
      if (Object.hasOwn(context, name)) return Reflect.get(context, name);
      const value: unknown = Reflect.get(task, name, task);
      return typeof value === "function" && !Object.hasOwn(task, name) ? value.bind(task) : value;
    },
    set: (_, name, value) => Reflect.set(task, name, value, task),
    has: (_, name) => Object.hasOwn(context, name) || Reflect.has(task, name),
  });
  return self as RunningTask;
}

/** Calls a task's function with no message behind it: there is nothing to retry, to store or to replace. */
export function callInPlace(task: Task, args: readonly unknown[]): unknown {
  const message = createMessage({ id: "", task: task.name, args });
  const refuse = (call: string) =>
    new LovageError(`${call} needs a message; ${task.name} was called as a function, use delay() or apply()`);
  const context: TaskContext = {
    app: task.app,
    name: task.name,
    request: createRequest(message, {
      queue: "",
      hostname: "",
      deliveries: 0,
      timeLimit: null,
      softTimeLimit: null,
      ignoreResult: true,
      calledDirectly: true,
    }),
    signal: new AbortController().signal,
    log: getTaskLogger(),
    retry(options) {
      // As in Celery: with nobody to run it again, the reason itself is thrown.
      throw options?.exc ?? new Retry(`${task.name} was called in place and cannot be run again`, {});
    },
    remaining: () => Number.POSITIVE_INFINITY,
    checkpoint() {
      throw refuse("checkpoint()");
    },
    rateLimited() {
      throw refuse("rateLimited()");
    },
    updateState: async () => {
      throw refuse("updateState()");
    },
    write: async () => {
      throw refuse("write()");
    },
    replace() {
      throw refuse("replace()");
    },
    addToChord: async () => {
      throw refuse("addToChord()");
    },
  };
  return callTask(task, { self: bindTask(task, context) }, args);
}
