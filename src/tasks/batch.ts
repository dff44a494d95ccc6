/**
 * Batches: calls of one task that are handed to one run of its function. Each call is claimed, ends and is followed by itself;
 * only the function is called once for all that are gathered in this process.
 */
import { BatchResultError } from "../errors.ts";
import { integer, type Parse, seconds } from "../parse.ts";
import { currentScope, type Request, type RunningTask } from "./context.ts";
import type { Task } from "./task.ts";

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

/** What a batch function gives: for each call, at its place, a result, or an error that is this one's. */
export type BatchResults<R> = readonly (R | Error)[];

/** How calls are gathered for one run of a batch task. */
export interface BatchOptions {
  /** So many calls at most: 1 to 10,000. */
  readonly size: number;
  /** So many seconds after the first call it starts with what there is: 0 to 300. On Lambda what one invocation brings is a batch. */
  readonly wait: number;
}

const parseSize: Parse<number> = integer(1, 10_000);
const parseWait: Parse<number> = seconds({ min: 0, max: 300 });

/** On Lambda the event source has waited; calls of one invocation come to their start within so long, in milliseconds. */
const LAMBDA_WAIT_MS = 200;

const batches = new WeakMap<Task, BatchOptions>();

/** How a task gathers; `undefined`: it does not. */
export const batchOf = (task: Task): BatchOptions | undefined => batches.get(task);

/** Milliseconds that a call of the task may wait until its batch is full, which are none of its own time. */
export const waitOf = (task: Task): number => (batches.get(task)?.wait ?? 0) * 1000;

/** The largest batch of any task of an app; 0: there is none. */
export const largestBatch = (tasks: ReadonlyMap<string, Task>): number =>
  Math.max(0, ...[...tasks.values()].map((task) => batchOf(task)?.size ?? 0));

export const setBatch = (task: Task, options: BatchOptions): void => void batches.set(task, options);

/** Throws `ImproperlyConfigured`. */
export const checkBatch = ({ size, wait }: BatchOptions): BatchOptions => ({
  size: parseSize(size, "size"),
  wait: parseWait(wait, "wait"),
});

interface Gathered {
  readonly call: BatchCall;
  /** Its time begins with the batch. Throws where it has expired. */
  begin(): void;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type BatchFunction = (calls: readonly BatchCall[]) => unknown;

/** The function of a task that gathers. */
export function gathering(name: string, { size, wait }: BatchOptions, fn: BatchFunction) {
  let open: { readonly calls: Gathered[]; full(): void } | undefined;

  /** In the context of the first call: what the function sends is that one's. */
  async function begin(self: RunningTask): Promise<void> {
    const calls: Gathered[] = [];
    const { promise, resolve: full } = Promise.withResolvers<void>();
    const batch = { calls, full };
    open = batch;
    const { clock, platform } = self.app.engine;
    const isLambda = platform.env["AWS_LAMBDA_FUNCTION_NAME"] !== undefined;
    const stop = new AbortController();
    const ms = isLambda ? Math.min(LAMBDA_WAIT_MS, wait * 1000) : wait * 1000;
    await Promise.race([promise, clock.sleep(ms, stop.signal)]);
    stop.abort("full");
    if (open === batch) open = undefined;
    await run(calls);
  }

  async function run(gathered: readonly Gathered[]): Promise<void> {
    // Who was told to stop meanwhile, or has expired, is no part of it.
    const calls = gathered.filter(({ call, begin, reject }) => {
      try {
        call.signal.throwIfAborted();
        begin();
        return true;
      } catch (error) {
        reject(error);
        return false;
      }
    });
    if (calls.length === 0) return;
    try {
      const results: unknown = await fn(calls.map(({ call }) => call));
      if (!Array.isArray(results))
        throw new BatchResultError(`${name} gave no list: a batch function gives a result, or an error, for each call`);
      for (const [at, { resolve, reject }] of calls.entries()) {
        if (at >= results.length)
          reject(
            new BatchResultError(
              `${name} gave ${results.length} results for ${calls.length} calls, and none for this one`,
            ),
          );
        else if (results[at] instanceof Error) reject(results[at]);
        else resolve(results[at]);
      }
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
  }

  return (self: RunningTask, ...args: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const { request, signal } = self;
      const scope = request.calledDirectly ? undefined : currentScope();
      const call: BatchCall = { id: request.id, args, request, signal };
      const gathered: Gathered = { call, begin: () => scope?.begin(), resolve, reject };
      if (request.isEager || request.calledDirectly) return void run([gathered]);
      if (open === undefined) void begin(self);
      const batch = open as NonNullable<typeof open>;
      batch.calls.push(gathered);
      if (batch.calls.length < size) return;
      open = undefined;
      batch.full();
    });
}
