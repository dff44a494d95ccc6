/** The run of a claimed delivery: whether it is to run at all, and from its first line of user code to its outcome. */
import { type RanTask, runSteps, surround } from "../around.ts";
import type { Engine } from "../engine.ts";
import { TaskRevokedError, TimeLimitExceeded, WorkerLostError, WorkerShutdown } from "../errors.ts";
import { isExpired } from "../protocol/message.ts";
import { isRunBy } from "../results/record.ts";
import { waitOf } from "../tasks/batch.ts";
import type { Unit } from "../unit.ts";
import { attemptAt } from "./attempt.ts";
import { conclude, factsOf, releaseToWait, waitingMeta } from "./conclude.ts";
import type { Job, WorkerContext } from "./context.ts";
import { type Disposition, HAND_BACK, handBack, LEAVE } from "./disposition.ts";
import { guard } from "./guard.ts";
import { announce } from "./listeners.ts";
import { attemptEntry, isKept, runningEntry } from "./note.ts";
import { fieldsOf, nameOf, reportDeaths, reportReceived } from "./report.ts";
import { settle } from "./settle.ts";
import { Stop } from "./stop.ts";
import { type Attempt, type Outcome, trace } from "./trace.ts";
import { patiently } from "./unreleased.ts";
import type { Run } from "./worker.ts";

/** Is there in a function's bundle alone: what a function runs is its own until its invocation is over. */
declare const LOVAGE_BUNDLE: "aws";

/** How a run ended. */
export interface RunEnd {
  /** What its host does with the message. */
  readonly disposition: Disposition;
  /** The run was given up at its time limit and its code may still be running: the process should make room for a fresh one. */
  readonly abandoned: boolean;
  /** A service told it that it comes too often: the key of its rate is to be held for so many seconds. */
  readonly retryAfter?: number;
  /** How the task ended; absent where it did not run, or is to be run again. */
  readonly ran?: RanTask;
}

/** Is told, just before it begins, until when the user's code that runs next may take, in milliseconds since the epoch; `Infinity`: none runs, or without a limit. */
export type Watch = (deadline: number) => void;

/**
 * Is called where nothing is left to do but to make the end durable: another may begin when that is done. With a unit it is not done where
 * that is not committed, and is tried again.
 */
export type Settling = (unit: Unit | undefined) => void;

/** From so many runs on, the first among them, a task is a suspect. */
const SUSPECT_RUNS = 3;

/** A longer message, in characters, is not kept of a run that blocks its process beyond its time limit. */
const MAX_TOLD_BODY = 65_536;
/** A run that has taken so long, in milliseconds, is told of while it goes on, so that what runs now can be listed. */
export const LONG_RUN_MS = 5_000;

/** What its host runs a job by, from outside. */
export function prepare(context: WorkerContext, job: Job): Run {
  const stop = new Stop();
  const { delivery, message, key, owner, request, claimed } = job;
  const claim = claimed && { key, owner };
  let began: number | undefined;
  let isNoted = false;
  const { maxDeliveries } = context.engine.config;
  const runs = claimed?.runs ?? 1;
  let isReleased = false;
  return {
    delivery,
    message,
    claim,
    timeLimit: request.timeLimit,
    deaths: runs - 1,
    suspect: runs > 1 && runs >= Math.min(maxDeliveries, SUSPECT_RUNS),
    decided: verdict(context, job) !== undefined,
    async execute(watch, settling) {
      began = context.engine.clock.now();
      reportReceived(context, job);
      if (runs > 1) reportDeaths(context, job, runs - 1);
      const told = announce(context, job, "taskReceived", {}, watch);
      if (told !== undefined) await told;
      const ended = await guard(context, delivery, async () => {
        try {
          return await runJob(context, job, stop, watch, settling);
        } catch (error) {
          // A system failed, and nobody died: whoever takes it next is not to count a death.
          if (claim !== undefined) await patiently(context, claim, () => releaseToWait(context, job));
          throw error;
        }
      });
      return { abandoned: false, ...ended, ...(isReleased && { disposition: LEAVE }) };
    },
    async overrun(seconds) {
      if (claim === undefined) return undefined;
      const outcome = {
        type: "failure",
        error: new TimeLimitExceeded(seconds),
        expected: false,
        abandoned: true,
      } as const;
      const { engine } = context;
      const facts = factsOf(context, job, []);
      // It is told to a thread for every run, few of which end so.
      const isKeepable = delivery.body.length <= MAX_TOLD_BODY;
      const conclusion = await conclude(engine, isKeepable ? facts : { ...facts, keep: undefined }, outcome);
      const { command } = conclusion;
      // It is told to a thread as JSON.
      if (typeof command.result !== "string") return undefined;
      const ended = { outcome, conclusion, began: engine.clock.now(), runtime: seconds, runs };
      const entry = isKept(engine) ? attemptEntry(context, job, ended) : undefined;
      return { type: "final", key: claim.key, ...command, entry };
    },
    async noteRunning() {
      const { engine } = context;
      if (isNoted || began === undefined || engine.clock.now() - began < LONG_RUN_MS || !isKept(engine)) return;
      isNoted = true;
      // Its process may have stood still while another worker ended the task, and what is told last of a task is what it does.
      if (typeof LOVAGE_BUNDLE === "undefined" && claim !== undefined && !(await isStillRun(engine, claim))) return;
      if (!stop.isOver) await context.note(runningEntry(context, job, began));
    },
    terminate: () => stop.stop(new TaskRevokedError("terminated")),
    abort: () => stop.stop(new WorkerShutdown()),
    waiting: async () => waitingMeta(context, job),
    async release(died) {
      isReleased = true;
      stop.stop(new WorkerShutdown());
      if (claim !== undefined) await releaseToWait(context, job, died);
      return HAND_BACK;
    },
  };
}

/** Whether the row has it so. Where that cannot be seen, nothing is told. */
async function isStillRun(engine: Engine, { key, owner }: { readonly key: string; readonly owner: string }) {
  try {
    const [row] = await (await engine.backend()).read([key], { consistent: true });
    return row !== undefined && isRunBy(row, { owner });
  } catch {
    return false;
  }
}

/** Runs a job to its end. Throws only where the system failed. */
async function runJob(
  context: WorkerContext,
  job: Job,
  stop: Stop,
  watch: Watch = () => {},
  settling: Settling = () => {},
): Promise<RunEnd> {
  const { engine } = context;
  const decided = verdict(context, job);
  if (decided !== undefined) return settle(context, job, { outcome: decided, children: [], added: 0, runtime: 0 });
  // What it calls its outside is what it is outside of the steps around it.
  const attempt = attemptAt(context, job, stop);
  const steps = runSteps(engine.arounds, job.request);
  const work = () => attemptJob(context, job, attempt, watch, settling);
  return steps.length === 0 ? work() : surround(steps, work, ({ ran = HANDED_BACK }) => ran, engine.reportAround);
}

const HANDED_BACK: RanTask = { state: undefined, error: undefined, expected: false };

/** From the first line of user code to the outcome. */
async function attemptJob(
  context: WorkerContext,
  job: Job,
  attempt: Attempt,
  watch: Watch,
  settling: Settling,
): Promise<RunEnd> {
  const { engine } = context;
  const { message, request } = job;
  const told = announce(context, job, "taskPrerun", { args: message.args }, watch);
  if (told !== undefined) await told;
  // A claim or a handler that was slow has not used up the task's own time.
  const began = engine.clock.now();
  const until = (from: number) =>
    watch(request.timeLimit === null ? Number.POSITIVE_INFINITY : from + request.timeLimit * 1000);
  until(began + waitOf(job.task));
  const { outcome, ...traced } = await trace(attempt, () => until(engine.clock.now()));
  attempt.abort.isOver = true;
  // Storing takes as long as it takes.
  watch(Number.POSITIVE_INFINITY);
  // Without an outcome it is run again.
  if (outcome.type === "released") {
    await letGo(context, job, "its worker stops");
    return { disposition: HAND_BACK, abandoned: false };
  }
  if (outcome.type === "rateLimited") {
    await letGo(context, job, "it comes too often");
    const { retryAfter } = outcome;
    return { disposition: { type: "handBack", visibility: retryAfter * 1000 }, abandoned: false, retryAfter };
  }
  if (outcome.type === "reject" && outcome.error.requeue) {
    await letGo(context, job, `it rejected its message: ${outcome.error.reason}`);
    return { disposition: handBack(job.delivery, engine.platform.random), abandoned: false };
  }
  const ended = outcome.type === "checkpoint" ? await keepCheckpoint(context, job, outcome) : outcome;
  return settle(context, job, { ...traced, outcome: ended }, { attempt, began, watch, settling });
}

/** A longer state of a checkpoint, in characters, is kept outside row and message where there is a store for it. */
const MAX_CHECKPOINT = 65_536;

async function keepCheckpoint(
  { engine }: WorkerContext,
  { message }: Job,
  outcome: Extract<Outcome, { readonly type: "checkpoint" }>,
): Promise<Outcome> {
  const { checkpoint } = outcome.change;
  const payloads = checkpoint.text.length > MAX_CHECKPOINT ? await engine.payloads() : undefined;
  if (payloads === undefined) return outcome;
  const text = await payloads.put(checkpoint.text, message.id, engine.rowDays());
  return { type: "checkpoint", change: { eta: null, checkpoint: { ...checkpoint, text, kept: true } } };
}

/** The run ended without an outcome: the message is anybody's, and whoever looks sees that it waits. */
async function letGo(context: WorkerContext, job: Job, why: string): Promise<void> {
  const { message, delivery } = job;
  if (job.claimed !== undefined) await releaseToWait(context, job);
  context.log("info", `Task ${nameOf(message)} is handed back: ${why}`, fieldsOf(message, delivery.queue));
}

const FIRST_RUN = { runs: 1, revoked: undefined } as const;

/** What makes a task end without being run, if anything does. */
function verdict({ engine }: WorkerContext, { message, claimed }: Job): Outcome | undefined {
  const { runs, revoked } = claimed ?? FIRST_RUN;
  if (revoked !== undefined) return { type: "revoked", reason: revoked === "terminate" ? "terminated" : "revoked" };
  if (isExpired(message, engine.clock.now())) return { type: "revoked", reason: "expired" };
  const { maxDeliveries } = engine.config;
  if (runs <= maxDeliveries) return undefined;
  const error = new WorkerLostError(
    `${runs - 1 === 1 ? "a worker" : `${runs - 1} workers`} died while it ran ${message.task}[${message.id}]; maxDeliveries is ${maxDeliveries}`,
  );
  return { type: "failure", error, expected: false, abandoned: false };
}
