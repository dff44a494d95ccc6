/** The limits of a task, and whose they are in a call. */
import { LimitKeyError } from "../errors.ts";
import { type ConcurrencyLimit, type LimitKey, readConcurrency, readRateLimit } from "../limits/declare.ts";
import type { Rate } from "../limits/rate.ts";
import type { TaskOptions } from "./options.ts";
import { resolveInput } from "./schema.ts";
import type { Task } from "./task.ts";

export interface TaskLimits {
  readonly rate: { readonly rate: Rate; readonly key: LimitKey | undefined } | undefined;
  readonly concurrency: ConcurrencyLimit | undefined;
}

/** Options in force are made once for each task and configuration. */
const read = new WeakMap<TaskOptions, TaskLimits>();

export const isLimited = ({ rateLimit, concurrency }: TaskOptions): boolean =>
  rateLimit !== undefined || concurrency !== undefined;

/** Whether any task of an app has limits. */
export const isAnyLimited = (engine: {
  readonly tasks: ReadonlyMap<string, Task>;
  optionsOf(task: Task): TaskOptions;
}): boolean => [...engine.tasks.values()].some((task) => isLimited(engine.optionsOf(task)));

export function limitsOf(options: TaskOptions): TaskLimits {
  let limits = read.get(options);
  if (limits === undefined) {
    const { rateLimit, concurrency } = options;
    limits = {
      rate: rateLimit === undefined ? undefined : readRateLimit(rateLimit, "rateLimit"),
      concurrency: concurrency === undefined ? undefined : readConcurrency(concurrency, "concurrency"),
    };
    read.set(options, limits);
  }
  return limits;
}

/**
 * What a key function says of a call; `undefined` where there is none. Throws `LimitKeyError`.
 *
 * @param option Whose function it is, for the error.
 */
export async function keyOfCall(
  task: Task,
  option: string,
  key: LimitKey | undefined,
  { args, kwargs }: { readonly args: readonly unknown[]; readonly kwargs: Readonly<Record<string, unknown>> },
): Promise<string | undefined> {
  if (key === undefined) return undefined;
  let given: unknown;
  try {
    given = key(...(await resolveInput(task, args, kwargs)));
  } catch (cause) {
    throw new LimitKeyError(task.name, option, cause);
  }
  if (typeof given === "string") return given;
  throw new LimitKeyError(task.name, option, undefined, given);
}

/** Throws `LimitKeyError` for a call whose keys cannot be told: nothing of it is to be sent. */
export async function checkKeys(
  task: Task,
  options: TaskOptions,
  call: { readonly args: readonly unknown[]; readonly kwargs: Readonly<Record<string, unknown>> },
): Promise<void> {
  const { rate, concurrency } = limitsOf(options);
  await keyOfCall(task, "rateLimit", rate?.key, call);
  await keyOfCall(task, "concurrency", concurrency?.key, call);
}
