/** Those who are told of a run beside it, hooks and handlers of signals, and for how long a run waits for them. */
import type { Signals } from "../signals.ts";
import type { Conclusion } from "./conclude.ts";
import type { Job, WorkerContext } from "./context.ts";
import { fieldsOf, nameOf, signalEnd, stackOf } from "./report.ts";
import type { Settling, Watch } from "./run.ts";
import { type Attempt, runHooks, type Traced } from "./trace.ts";

/** Hooks and handlers after a run may take what is left of its time limit, and so long at least, in milliseconds. */
const AFTER_MIN_MS = 10_000;

/** A run, for what comes after it. */
export interface Ran {
  readonly attempt: Attempt;
  /** Milliseconds since the epoch. */
  readonly began: number;
  readonly watch: Watch;
  readonly settling: Settling;
}

/**
 * Tells those who listen that a task was received, or begins. They have as long as the task may take, and the task waits so
 * long: what takes longer is not waited for.
 */
export const announce = <N extends "taskReceived" | "taskPrerun">(
  context: WorkerContext,
  job: Job,
  signal: N,
  facts: Omit<Signals[N], "task" | "taskId" | "request">,
  watch?: Watch,
): Promise<void> | undefined =>
  context.engine.emitter.has(signal) ? announceNow(context, job, signal, facts, watch) : undefined;

async function announceNow<N extends "taskReceived" | "taskPrerun">(
  context: WorkerContext,
  { message, request, delivery }: Job,
  signal: N,
  facts: Omit<Signals[N], "task" | "taskId" | "request">,
  watch?: Watch,
): Promise<void> {
  const { engine, log } = context;
  const told = { task: message.task, taskId: message.id, request, ...facts } as Signals[N];
  const now = engine.clock.now();
  const end = now + (request.timeLimit ?? Number.POSITIVE_INFINITY) * 1000;
  const work = Promise.resolve(engine.emitter.emit(signal, told));
  if (await endsBy(context, Math.min(end, context.deadline()), work, watch)) return;
  log(
    "error",
    `A handler of ${signal} did not end within ${Math.round(engine.clock.now() - now) / 1000} s; ${nameOf(message)} does not wait for it`,
    fieldsOf(message, delivery.queue),
  );
}

/**
 * Hooks and signals: what a user does about a stored outcome. Whether it ended in time: one that never ends would keep
 * its message, and its place in the worker, for ever.
 */
export async function runAfter(
  context: WorkerContext,
  job: Job,
  traced: Traced,
  conclusion: Conclusion,
  ran: Ran | undefined,
): Promise<boolean> {
  const { engine, log } = context;
  const { message, request, delivery } = job;
  const { clock } = engine;
  const after = async () => {
    if (ran !== undefined) {
      await runHooks(ran.attempt, traced.outcome, conclusion, (hook, error) => {
        log("error", `${hook} of ${nameOf(message)} threw, and the outcome stays: ${stackOf(error)}`, {
          ...fieldsOf(message, delivery.queue),
          error: stackOf(error),
        });
      });
    }
    await signalEnd(engine, job, traced, conclusion);
  };
  const now = clock.now();
  const end = afterEnd(context, ran?.began ?? now, request.timeLimit, now);
  const inTime = await endsBy(context, end, after(), ran?.watch);
  if (!inTime) {
    const seconds = (end - now) / 1000;
    log(
      "error",
      `Hooks or signal handlers of ${nameOf(message)} did not end within ${seconds} s and are given up; the outcome stays`,
      fieldsOf(message, delivery.queue),
    );
  }
  return inTime;
}

/** Until when hooks may run, in milliseconds since the epoch: on Lambda no later than halfway from the last run to the function's end. */
function afterEnd(context: WorkerContext, began: number, timeLimit: number | null, now: number): number {
  const own = timeLimit === null ? Number.POSITIVE_INFINITY : began + timeLimit * 1000;
  const deadline = context.deadline();
  const end = Math.max(Math.min(own, deadline), now + AFTER_MIN_MS);
  return deadline === Number.POSITIVE_INFINITY ? end : Math.max(now, Math.min(end, (deadline + context.lease()) / 2));
}

/** Whether what users do about a task ends in time, which is in milliseconds since the epoch. */
async function endsBy(
  { engine: { clock } }: WorkerContext,
  end: number,
  work: Promise<void>,
  watch: Watch = () => {},
): Promise<boolean> {
  if (end === Number.POSITIVE_INFINITY) {
    await work;
    return true;
  }
  let isOver = false;
  const ending = work.finally(() => {
    isOver = true;
  });
  // Where nobody does anything that waits, it is over by then, and needs no timer.
  for (let hops = 0; hops < 10 && !isOver; hops++) await undefined;
  if (!isOver) {
    watch(end);
    const stop = new AbortController();
    await Promise.race([ending, clock.sleep(end - clock.now(), stop.signal)]);
    stop.abort("ended");
    watch(Number.POSITIVE_INFINITY);
  }
  if (isOver) await ending;
  return isOver;
}
