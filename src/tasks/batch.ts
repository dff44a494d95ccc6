/** Batches, as they are declared: calls of one task that are handed to one run of its function. `workers/batch.ts` gathers them. */
import { BatchResultError } from "../errors.ts";
import { integer, seconds } from "../parse.ts";
import type { Request, RunningTask } from "./context.ts";
import type { Task } from "./task.ts";

/** Whether a task of the app that is bundled gathers calls: few do. */
declare const LOVAGE_BATCHES: boolean;

/** One call of a batch. */
export interface BatchCall<P extends readonly unknown[] = readonly unknown[]> {
  /** The task id of this one call. */
  readonly id: string;
  /** The arguments of this one call. */
  readonly args: P;
  /** As the bound task of this one call would see it. */
  readonly request: Request;
  /** Aborts when this one call is to stop. */
  readonly signal: AbortSignal;
}

/**
 * What a batch function gives: for each call, at its place, a result, or an error that is this one's. `new Retry("busy", { countdown: 30 })`
 * has this one tried again; `Ignore` and `Reject` are of this one too.
 */
export type BatchResults<R> = readonly (R | Error)[];

/** What the reader of a call gets: without the errors among what the function gives. An object of a name and a message is none of them. */
export type BatchResult<R> = R extends Error ? ("stack" extends keyof R ? never : R) : R;

/** How calls are gathered for one run of a batch task. */
export interface BatchOptions {
  /** So many calls at most: 1 to 10,000. */
  readonly size: number;
  /** So many seconds after the first call it starts with what there is: 0 to 300. On Lambda what one invocation brings is a batch. */
  readonly wait: number;
}

/** What a batch function is given, and gives. */
export type BatchFunction = (calls: readonly BatchCall[]) => unknown;

interface Declared {
  readonly options: BatchOptions;
  /** `undefined`: its code is elsewhere. */
  readonly fn: BatchFunction | undefined;
}

const batches = /* @__PURE__ */ new WeakMap<Task, Declared>();

const batchIn = (task: Task): Declared | undefined =>
  typeof LOVAGE_BATCHES === "undefined" || LOVAGE_BATCHES ? batches.get(task) : undefined;

/** How a task gathers; `undefined`: it does not. */
export const batchOf = (task: Task): BatchOptions | undefined => batchIn(task)?.options;

/** Milliseconds that a call of the task may wait until its batch is full, which are none of its own time. */
export const waitOf = (task: Task): number => (batchOf(task)?.wait ?? 0) * 1000;

/** The function of a task that gathers. */
export const batchFunction = (task: Task): BatchFunction | undefined => batchIn(task)?.fn;

/** Whether any task of an app gathers calls. */
export const isAnyBatch = (engine: { allDeclared(): readonly Task[] }): boolean =>
  engine.allDeclared().some((task) => batchOf(task) !== undefined);

/** So many calls make a full batch of each task of an app; 0: none gathers. */
export const batchSizes = (tasks: ReadonlyMap<string, Task>): number =>
  [...tasks.values()].reduce((sum, task) => sum + (batchOf(task)?.size ?? 0), 0);

export const setBatch = (task: Task, options: BatchOptions, fn?: BatchFunction): void =>
  void batches.set(task, { options, fn });

/** Throws `ImproperlyConfigured`. */
export const checkBatch = ({ size, wait }: BatchOptions): BatchOptions => ({
  size: integer(1, 10_000)(size, "size"),
  wait: seconds({ min: 0, max: 300 })(wait, "wait"),
});

/** What the function of a batch gave for each of so many calls: a result, or what is thrown for that one. */
export async function entriesOf(name: string, count: number, given: unknown): Promise<readonly BatchEntry[]> {
  if (!Array.isArray(given))
    throw new BatchResultError(`${name} gave no list: a batch function gives a result, or an error, for each call`);
  const results = await Promise.allSettled(given);
  const few = () =>
    new BatchResultError(`${name} gave ${results.length} results for ${count} calls, and none for this one`);
  return Array.from({ length: count }, (_, at): BatchEntry => {
    const result = results[at];
    if (result === undefined) return { error: few() };
    if (result.status === "rejected") return { error: result.reason };
    return result.value instanceof Error ? { error: result.value } : { value: result.value };
  });
}

export type BatchEntry = { readonly value: unknown } | { readonly error: unknown };

/** A call of a batch task in place, as a plain function: a batch of one. */
export const callAlone =
  (name: string, fn: BatchFunction) =>
  async (self: RunningTask, ...args: readonly unknown[]): Promise<unknown> => {
    const { request, signal } = self;
    const [entry] = await entriesOf(name, 1, await fn([{ id: request.id, args, request, signal }]));
    if (entry !== undefined && "error" in entry) throw entry.error;
    return entry?.value;
  };
