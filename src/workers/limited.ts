/**
 * The step of a delivery whose task has limits: it is admitted, or it waits. Who waits is sent anew for its own time, and
 * the message that came is deleted: neither a receive nor a retry counts it.
 */
import { keptFor } from "../limits/places.ts";
import type { ConcurrencyLimit, LimitKey } from "../limits/declare.ts";
import { askRate } from "../limits/rate.ts";
import { limitRow } from "../limits/rows.ts";
import { isExpired, UNIQUE_HEADER } from "../protocol/message.ts";
import { type Claim, decide } from "../results/record.ts";
import { isUnique, keyOfCall, limitsOf, uniquenessOf } from "../tasks/limits.ts";
import { claim } from "./claim.ts";
import { claimOf, type Job, type WorkerContext } from "./context.ts";
import { DELETE } from "./disposition.ts";
import { leaveSoon, takePlace, waitForPlace } from "./limited-place.ts";
import { askRateOf, callOf, patienceOf, rateOf, waitForRate, waitOutRate } from "./limited-rate.ts";
import { beginAs, ending, free, hasEnded, lastCall, type UniqueJob, waitForCalls } from "./limited-unique.ts";
import { type LimitName, wait, waitsOf } from "./limited-wait.ts";
import { nameOf, stackOf } from "./report.ts";
import type { Admission, Run } from "./worker.ts";

/**
 * Has a job claimed once its limits admit it, and gives back what it was given when its run is over. Throws where the rows of
 * limits cannot be read or written: the message is handed back, and nothing runs without its limits.
 */
export async function admitByLimits(context: WorkerContext, job: Job): Promise<Admission> {
  const row = job.message.headers[UNIQUE_HEADER];
  if (typeof row !== "string" || !isUnique(job.options)) return admitOne(context, job);
  const unique: UniqueJob = { row, store: await context.engine.limits(), ...uniquenessOf(job.options) };
  const early = await waitForCalls(context, job, unique);
  if (early !== undefined) return { disposition: early };
  // One that is unique until it starts has begun.
  if (unique.until === "start") return admitAsCalled(context, job, unique);
  const admission = await admitOne(context, job);
  if ("run" in admission) return { run: ending(context, admission.run, job, unique) };
  if (admission.disposition.type === "delete" && (await hasEnded(context, job))) await free(context, job, unique);
  return admission;
}

/** Says that a job is to ask its limits anew. */
const ANEW: Admission = { disposition: DELETE };

/**
 * It runs with the arguments of the last call, and so it is the limits of these that admit it. Where a call that comes while it
 * asks has another key, it asks once more, as the one that it begins as then.
 */
async function admitAsCalled(context: WorkerContext, job: Job, unique: UniqueJob): Promise<Admission> {
  const { rate, concurrency } = limitsOf(job.options);
  const isKeyed = rate?.key !== undefined || concurrency?.key !== undefined;
  if (!unique.replaces || !isKeyed)
    return admitOne(context, job, async () => claim(context, await beginAs(context, job, unique)));
  const asked = await lastCall(context, job, unique);
  let begun = asked;
  const admission = await admitOne(context, asked, async () => {
    begun = await beginAs(context, job, unique);
    return (await hasSameKeys(asked, begun)) ? claim(context, begun) : ANEW;
  });
  // Once it has begun no call changes it any more.
  return admission === ANEW ? admitOne(context, begun) : admission;
}

async function hasSameKeys(one: Job, other: Job): Promise<boolean> {
  const { rate, concurrency } = limitsOf(one.options);
  const keysOf = async (job: Job) => [
    await keyOfCall(job.task, "rateLimit", rate?.key, callOf(job)),
    await keyOfCall(job.task, "concurrency", concurrency?.key, callOf(job)),
  ];
  const [ofOther, ofOne] = [await keysOf(other), await keysOf(one)];
  return ofOne.every((key, at) => key === ofOther[at]);
}

async function admitOne(context: WorkerContext, job: Job, claimJob = () => claim(context, job)): Promise<Admission> {
  const { engine } = context;
  const limits = limitsOf(job.options);
  const waits = waitsOf(job.delivery);
  const now = engine.clock.now();
  const key = (option: LimitName, of: LimitKey | undefined) => keyOfCall(job.task, option, of, callOf(job));
  const placesOf = async ({ key: of }: ConcurrencyLimit) =>
    limitRow("places", job.message.task, await key("concurrency", of));
  /** Who was woken and does not run has the next one woken. */
  const passOn = async (): Promise<void> => {
    if (limits.concurrency === undefined || waits?.until !== 0 || waits.ticket === undefined) return;
    await leaveSoon(context, await engine.limits(), job, await placesOf(limits.concurrency), keptFor(waits.ticket));
  };
  // What is not to run needs no leave to.
  if (isExpired(job.message, now)) {
    await passOn();
    return claimJob();
  }
  const store = await engine.limits();
  const rate = limits.rate && (await rateOf(engine, store, job.message.task, limits.rate.rate));
  if (waits !== undefined && waits.until > now && (rate === undefined || waits.told?.rate === rate[1]))
    return { disposition: await wait(context, job, waits) };
  // Its row says whether it was revoked, or has run from another copy of its message, or from this one, which came back.
  if ((waits !== undefined || job.delivery.receiveCount > 1) && (await isOver(context, job))) {
    await passOn();
    return claimOnly(claimJob);
  }
  let leave = async (): Promise<void> => {};
  if (limits.concurrency !== undefined) {
    const row = await placesOf(limits.concurrency);
    const answer = await takePlace(context, store, job, row, limits.concurrency.limit, waits?.ticket);
    if (answer.type === "wait") return { disposition: await waitForPlace(context, store, job, row, answer, waits) };
    leave = () => leaveSoon(context, store, job, row, job.owner);
  }
  try {
    if (limits.rate !== undefined && rate !== undefined) {
      const row = await limitRow("rate", job.message.task, await key("rateLimit", limits.rate.key));
      const ask = { rate: rate[0], text: rate[1], told: waits?.told, patience: await patienceOf(engine) };
      const answer = await askRateOf(engine, store, row, ask, askRate);
      if (!answer.admitted) {
        await leave();
        return { disposition: await waitForRate(context, job, answer, rate[1]) };
      }
      if (answer.at > answer.clock) await engine.clock.sleep(answer.at - answer.clock);
    }
    const admission = await claimJob();
    if ("run" in admission) return { run: limited(context, job, admission.run, leave) };
    await leave();
    return admission;
  } catch (error) {
    await leave();
    throw error;
  }
}

/** Whether a claim would not be given. */
async function isOver(context: WorkerContext, job: Job): Promise<boolean> {
  if (job.options.claim === false) return false;
  const asked: Claim = { ...claimOf(context, job), hidden: false, result: "" };
  const [row] = await context.read([asked.key]);
  if (row === undefined) return false;
  return decide(row, asked).outcome.type !== "claimed";
}

/** Has a job claimed that is over: who ran it, or revoked it, is to be told so. */
async function claimOnly(claimJob: () => Promise<Admission>): Promise<Admission> {
  const admission = await claimJob();
  // It is not over after all: then it has to ask.
  if ("run" in admission && !admission.run.decided) return { disposition: await admission.run.release() };
  return admission;
}

/** A place is given back when the run is over, however it ends; and what a service said of a rate is obeyed. */
function limited(context: WorkerContext, job: Job, run: Run, leave: () => Promise<void>): Run {
  return {
    ...run,
    async execute(...given) {
      const ended = await run.execute(...given);
      await leave();
      if (ended.retryAfter === undefined) return ended;
      try {
        return { ...ended, disposition: await waitOutRate(context, job, ended.retryAfter) };
      } catch (error) {
        context.log("warning", `The rate of ${nameOf(job.message)} could not be held: ${stackOf(error)}`);
        return ended;
      }
    },
    async release(died) {
      try {
        return await run.release(died);
      } finally {
        await leave();
      }
    },
  };
}
