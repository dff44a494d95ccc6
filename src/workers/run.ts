/** A claimed delivery, from its first line of user code to what may happen to its message. */
import { isFifo } from "../brokers/broker.ts";
import { LovageError, PayloadTooLarge, TaskRevokedError, WorkerLostError } from "../errors.ts";
import { encodeMeta, type MetaCodec } from "../protocol/meta.ts";
import { parseTime } from "../protocol/time.ts";
import { type Row, taskKey } from "../results/backend.ts";
import { type Conclusion, conclude, describe, factsOf } from "./conclude.ts";
import type { Job, WorkerContext } from "./context.ts";
import { deadLetter } from "./dead-letter.ts";
import { DELETE, type Disposition, handBack, LEAVE } from "./disposition.ts";
import { follow } from "./follow.ts";
import { dropAdded } from "./join.ts";
import { fieldsOf, nameOf, reportEnd, signalEnd, stackOf } from "./report.ts";
import { type Attempt, type Outcome, runHooks, trace, type Traced } from "./trace.ts";

/** What the claim said; `undefined` for a task that does not claim. */
export interface Claimed {
  readonly key: string;
  readonly owner: string;
  /** 1 at first, and one more for each worker that died of it. */
  readonly runs: number;
  readonly revoked: Row["revoked"];
}

export interface RunEnd {
  readonly disposition: Disposition;
  /** The run was given up at its time limit and its code may still be running: the process should make room for a fresh one. */
  readonly abandoned: boolean;
}

/** Runs a job to its end. Throws only where the system failed. */
export async function runJob(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  abort: AbortSignal,
): Promise<RunEnd> {
  const { engine } = context;
  const { message, task, request, options } = job;
  const attempt: Attempt = {
    task,
    options,
    message,
    request,
    clock: engine.clock,
    random: engine.platform.random,
    abort,
    deadline: context.deadline?.() ?? Number.POSITIVE_INFINITY,
    sender: context,
    updateState: (state, meta) => updateState(context, job, claimed, state, meta),
  };
  const decided = verdict(context, job, claimed);
  if (decided !== undefined) {
    const traced: Traced = { outcome: decided, children: [], added: 0, runtime: 0 };
    return { disposition: await settle(context, job, claimed, traced, undefined), abandoned: false };
  }
  await engine.emitter.emit("taskPrerun", { task: message.task, taskId: message.id, request, args: message.args });
  const traced = await trace(attempt);
  const abandoned = traced.outcome.type === "failure" && traced.outcome.abandoned;
  return { disposition: await settle(context, job, claimed, traced, attempt), abandoned };
}

/** What makes a task end without being run, if anything does. */
function verdict({ engine }: WorkerContext, { message }: Job, claimed: Claimed | undefined): Outcome | undefined {
  const { runs, revoked } = claimed ?? { runs: 1, revoked: undefined };
  if (revoked !== undefined) return { type: "revoked", reason: revoked === "terminate" ? "terminated" : "revoked" };
  if (message.expires !== null && parseTime(message.expires) < engine.clock.now())
    return { type: "revoked", reason: "expired" };
  const { maxDeliveries } = engine.config;
  if (runs <= maxDeliveries) return undefined;
  const error = new WorkerLostError(
    `${runs - 1} workers died while they ran ${message.task}[${message.id}]; maxDeliveries is ${maxDeliveries}`,
  );
  return { type: "failure", error, expected: false, abandoned: false };
}

/** Makes an outcome durable: the row first, then what follows from it, then the hooks. `attempt` is absent where nothing ran. */
async function settle(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  traced: Traced,
  attempt: Attempt | undefined,
): Promise<Disposition> {
  const { engine, log, apply } = context;
  const { delivery, message, owner } = job;
  const { outcome } = traced;
  const key = taskKey(message.id);
  const now = engine.clock.now();
  if (outcome.type === "reject" && outcome.error.requeue) {
    if (claimed !== undefined) await apply({ type: "release", key, owner, now });
    log(
      "info",
      `Task ${nameOf(message)} rejected its message, which is handed back: ${outcome.error.reason}`,
      fieldsOf(message),
    );
    return handBack(delivery, engine.platform.random);
  }
  if (claimed !== undefined && claimed.runs > 1) await dropAdded(context, message, traced.added);
  const store = async (codec: MetaCodec) => {
    const conclusion = await conclude(engine, factsOf(context, job, traced.children), outcome, codec);
    const unclaimed = claimed === undefined;
    return {
      conclusion,
      recorded: await apply({ type: "final", key, now, ttl: engine.ttl(), ...conclusion.command, unclaimed }),
    };
  };
  let stored: Awaited<ReturnType<typeof store>>;
  try {
    stored = await store(engine.codec).catch((error: unknown) => {
      if (!(error instanceof PayloadTooLarge) || engine.codec.compression !== undefined) throw error;
      // Celery reads it from 5.7 on only, but no reader would get more of a result that was not stored.
      return store({ ...engine.codec, compression: "gzip" });
    });
  } catch (error) {
    const isSaid = outcome.type === "failure" && outcome.error instanceof PayloadTooLarge;
    if (!(error instanceof PayloadTooLarge) || isSaid) throw error;
    // No other try would make it smaller: that is how the task ended, and no failure of the system.
    const failure: Outcome = { type: "failure", error, expected: false, abandoned: false };
    return settle(context, job, claimed, { ...traced, outcome: failure }, attempt);
  }
  const { conclusion, recorded } = stored;
  const { command } = conclusion;
  if (recorded.type === "refused") {
    log(
      "warning",
      `Task ${nameOf(message)} was taken over by another worker: this run changes nothing`,
      fieldsOf(message),
    );
    return LEAVE;
  }
  await follow(context, message, delivery.queue, {
    result: command.result ?? "",
    ...(command.next === undefined ? {} : { next: command.next }),
  });
  reportEnd(context, job, traced, conclusion);
  if (attempt !== undefined) {
    await runHooks(attempt, outcome, conclusion, (hook, error) => {
      log("error", `${hook} of ${nameOf(message)} threw, and the outcome stays: ${stackOf(error)}`, {
        ...fieldsOf(message),
        error: stackOf(error),
      });
    });
  }
  await signalEnd(context, job, traced, conclusion);
  return dispose(context, job, outcome, conclusion);
}

async function dispose(
  context: WorkerContext,
  { delivery, message }: Job,
  outcome: Outcome,
  { command, error }: Conclusion,
): Promise<Disposition> {
  if (command.buried) {
    const reason = error instanceof Error ? error : new LovageError(String(error));
    return deadLetter(context, delivery, { id: message.id, task: message.task }, reason);
  }
  if (outcome.type === "retry" && isFifo(delivery.queue)) {
    const { eta } = outcome.change;
    return {
      type: "handBack",
      visibility: eta === null ? 0 : Math.max(0, parseTime(eta) - context.engine.clock.now()),
    };
  }
  return DELETE;
}

async function updateState(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  state: string,
  meta: unknown,
): Promise<void> {
  const { engine, apply } = context;
  const described = describe(engine, factsOf(context, job, []), state, meta, null);
  const address = {
    key: taskKey(job.message.id),
    now: engine.clock.now(),
    ttl: engine.ttl(),
    result: await encodeMeta({ ...described, dateDone: null }, engine.codec),
  };
  await apply(claimed === undefined ? { type: "store", ...address } : { type: "update", owner: job.owner, ...address });
}

/** The reason with which a run aborts that was revoked with `terminate`. */
export const terminated = (): TaskRevokedError => new TaskRevokedError("terminated");
