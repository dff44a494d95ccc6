/** The limits of a task, and whose they are in a call. */
import { LimitKeyError } from "../errors.ts";
import {
  type ConcurrencyLimit,
  type LimitKey,
  readConcurrency,
  readRateLimit,
  type Throttle,
} from "../limits/declare.ts";
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

/** Whether a delivery of the task has to ask before it runs. */
export const isLimited = (options: TaskOptions): boolean =>
  options.rateLimit !== undefined || options.concurrency !== undefined || isUnique(options);

/** Whether a call of the task has to ask before it is sent. */
export const isUnique = ({ unique, debounce, throttle }: TaskOptions): boolean =>
  unique !== undefined || debounce !== undefined || throttle !== undefined;

/** Whether the declaration says when a call of the task starts. */
export function isDebounced(
  engine: { declared(name: string): Task | undefined; optionsOf(task: Task): TaskOptions },
  name: string,
): boolean {
  const task = engine.declared(name);
  return task !== undefined && engine.optionsOf(task).debounce !== undefined;
}

/** What `unique`, `debounce` and `throttle` come to. */
export interface Uniqueness {
  readonly option: "unique" | "debounce" | "throttle";
  readonly key: LimitKey;
  /** For so long another call is the same, in milliseconds; absent: until it starts, or ends. */
  readonly ms?: number;
  /** The task says itself when it is unique no more: when it starts, or ends. */
  readonly isHeld: boolean;
  readonly until?: "start" | "end";
  /** A later call's arguments count. */
  readonly replaces: boolean;
  readonly debounce?: { readonly wait: number; readonly max: number };
}

/** Of debounced calls the first waits so many times as long at most as one does. */
const MOST_DEBOUNCED = 10;

/** Of a task that is unique. */
export function uniquenessOf({ unique, debounce, throttle }: TaskOptions): Uniqueness {
  if (debounce !== undefined) {
    const wait = debounce.wait * 1000;
    const max = debounce.max === undefined ? MOST_DEBOUNCED * wait : debounce.max * 1000;
    return {
      option: "debounce",
      key: debounce.key,
      isHeld: true,
      until: "start",
      replaces: true,
      debounce: { wait, max },
    };
  }
  if (unique === undefined) {
    const { key, wait } = throttle as Throttle;
    return { option: "throttle", key, ms: wait * 1000, isHeld: false, replaces: false };
  }
  const { key, for: time, onConflict } = unique;
  if (typeof time === "number") return { option: "unique", key, ms: time * 1000, isHeld: false, replaces: false };
  return {
    option: "unique",
    key,
    isHeld: true,
    until: time === "waiting" ? "start" : "end",
    replaces: onConflict === "replace",
  };
}

/** Whether any task of an app has limits, or some of them. */
export const isAnyLimited = (
  engine: { allDeclared(): readonly Task[]; optionsOf(task: Task): TaskOptions },
  is: (options: TaskOptions) => boolean = isLimited,
): boolean => engine.allDeclared().some((task) => is(engine.optionsOf(task)));

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
