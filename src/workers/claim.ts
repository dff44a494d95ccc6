/** A delivery claims the row of its task. Where it cannot, what another one has made of that row says what becomes of it. */
import { isFifo } from "../brokers/broker.ts";
import { LovageError } from "../errors.ts";
import { atAttempt } from "../protocol/message.ts";
import { encodeMeta } from "../protocol/meta.ts";
import { parseTime } from "../protocol/time.ts";
import type { Row } from "../results/backend.ts";
import { type Claim, LEASE_MARGIN_MS, type Outcome as Recorded } from "../results/record.ts";
import { PENDING, STARTED } from "../states.ts";
import { pack } from "../tasks/publish.ts";
import { followJob } from "./attempt.ts";
import { describe, type Facts, factsOf, isHidden, releaseToWait } from "./conclude.ts";
import { claimOf, type Job, jobAgain, type WorkerContext } from "./context.ts";
import { deadLetter, storedFate } from "./dead-letter.ts";
import { DELETE, type Disposition } from "./disposition.ts";
import { isAlone } from "./follow.ts";
import { keepPlace, returnTo } from "./held-place.ts";
import { hasFate, keptPlace, nextOf, retryDue } from "./next.ts";
import { fieldsOf, nameOf } from "./report.ts";
import { prepare } from "./run.ts";
import { repeating } from "./sender.ts";
import { patiently } from "./unreleased.ts";
import type { Admission } from "./worker.ts";

/** The claim of another owner is looked at again after this at the earliest. */
const RUNNING_MIN_MS = 1_000;
/** From so many receives on, the message of a run that goes on elsewhere is sent anew, before anybody counts them against it. */
const RENEWED_RECEIVES = 10;
/** On a FIFO queue, where it must keep its place, it comes back after so much longer each time, in milliseconds … */
const KEPT_STEP_MS = 60_000;
/** … up to this: with 1,000 receives that is longer than SQS keeps a message. */
const KEPT_MAX_MS = 3_600_000;

/** Says what becomes of a job that may run now. */
export async function claim(context: WorkerContext, job: Job): Promise<Admission> {
  const alone = context.within(undefined);
  if (job.options.claim === false) return { run: prepare(alone, job) };
  const facts = factsOf(context, job, []);
  const started = startedMeta(context, job, facts);
  const asked: Claim = {
    ...claimOf(context, job),
    // What is hidden stays so: an outcome that may yet be shown is claimed in the open, without a state to show.
    hidden: isHidden(facts, true),
    result: started instanceof Promise ? await started : started,
    next: nextOf(job.source),
  };
  let recorded: Recorded;
  try {
    recorded = await context.apply(asked);
  } catch (error) {
    // Where its unit failed, nothing was done.
    await context.unit?.committed;
    // It may have been applied, and its answer lost. Nothing began, so nobody is to count a death.
    await patiently(context, asked, () => releaseToWait(alone, job));
    throw error;
  }
  switch (recorded.type) {
    case "claimed":
      return { run: prepare(alone, { ...jobAgain(job, recorded), claimed: recorded }) };
    case "settled":
      return { disposition: await followAgain(context, job, recorded.row) };
    case "superseded":
      return { disposition: await giveWay(context, job, recorded.row) };
    case "running":
      return { disposition: await keepForRun(context, job, recorded.until) };
    case "written":
    case "refused":
    case "joined":
      throw new LovageError(`a claim was answered by ${recorded.type}`);
    default:
      return recorded satisfies never;
  }
}

/** The attempt has its outcome, and what follows from that is sent again. */
async function followAgain(context: WorkerContext, job: Job, row: Row): Promise<Disposition> {
  const { engine, log } = context;
  const { delivery, message, request } = job;
  const { id, task } = message;
  const kept = await followJob(context, jobAgain(job, row), row, repeating(context));
  // Whoever stored that may have died before the dead letter was sent. Two are better than none.
  if (row.buried && !hasFate(row))
    return deadLetter(context, delivery, { id, task }, await storedFate(engine, id, row.result));
  // Who frees what the task would have used waits for this: nobody has run it, so nobody else can tell.
  if (wasRevoked(row)) {
    const reason = row.revoked === "terminate" ? "terminated" : "revoked";
    log("info", `Discarding revoked task: ${nameOf(message)} (${reason})`, fieldsOf(message, delivery.queue));
    await engine.emitter.emit("taskRevoked", { task, taskId: id, request, reason });
    return DELETE;
  }
  log(
    "info",
    `Task ${nameOf(message)} was settled before; what follows from it was sent again`,
    fieldsOf(message, delivery.queue),
  );
  return kept === undefined ? DELETE : keepPlace(context, kept);
}

/** The task is over, or a later attempt of it is known. */
async function giveWay(context: WorkerContext, job: Job, row: Row): Promise<Disposition> {
  const { delivery, message, source } = job;
  const kept = source.goesFor ? undefined : keptPlace(delivery.queue, row);
  if (kept !== undefined) return returnTo(context, delivery, kept);
  const other = await joinEarlier(context, job, row);
  if (other !== undefined) return other;
  context.log("info", `Discarding a duplicate of ${nameOf(message)}`, fieldsOf(message, delivery.queue));
  return DELETE;
}

/** Until the claim of another owner is over. */
export const hideUntil = (until: number, now: number) =>
  ({ type: "handBack", visibility: Math.max(RUNNING_MIN_MS, until - now) }) as const;

/**
 * The task runs elsewhere: its message stays in the queue, for the case that its worker dies, and is hidden until that would be
 * seen. So it is with a run for which a broker hides nothing any more: SQS does so for twelve hours from a receive. Each look costs a
 * receive, of which a broker grants so many, and keeps a message for so long: it is sent anew in time, and is then as good as new.
 */
async function keepForRun({ engine, log }: WorkerContext, job: Job, until: number): Promise<Disposition> {
  const { delivery, message } = job;
  const { queue, body, attributes, receiveCount } = delivery;
  const now = engine.clock.now();
  const { visibility: rest } = hideUntil(until, now);
  const { maxReceives, maxDelaySeconds } = (await engine.broker()).limits;
  const more = receiveCount - RENEWED_RECEIVES;
  if (maxReceives === undefined || more < 0) return hideUntil(until, now);
  if (isFifo(queue))
    return { type: "handBack", visibility: Math.max(rest, Math.min(more * KEPT_STEP_MS, KEPT_MAX_MS)) };
  const at = now + Math.min(rest, maxDelaySeconds * 1000);
  const { due: _, ...entry } = await pack(engine, { message, queue, body, attributes, at });
  await engine.outbox.send(entry);
  log("debug", `Sent ${nameOf(message)} anew, which runs elsewhere`, fieldsOf(message, queue));
  return DELETE;
}

/**
 * A later attempt is known, of another message perhaps: a task may be a member of two chords by one id of its caller's. What
 * waits for this message is told when the task has ended, with the ids that follow from its last attempt.
 */
async function joinEarlier(context: WorkerContext, job: Job, row: Row): Promise<Disposition | undefined> {
  const { message } = job;
  if (isAlone(message) || row.attempt === undefined || isFifo(job.delivery.queue)) return undefined;
  if (row.done === true) {
    const again = jobAgain(job, row);
    const last = { ...again, message: atAttempt(again.message, row.attempt) };
    await followJob(context, last, row, repeating(context));
    return undefined;
  }
  const now = context.engine.clock.now();
  const due = retryDue(row);
  const until = Math.max((row.lease ?? 0) + LEASE_MARGIN_MS, due === null ? 0 : parseTime(due));
  // What takes the task's place may take as long as it likes, and has no lease.
  const atLeast = Math.min(job.delivery.receiveCount ** 2 * RUNNING_MIN_MS, KEPT_MAX_MS);
  return { type: "handBack", visibility: Math.max(atLeast, until - now) };
}

/** It was revoked while nobody ran it. */
const wasRevoked = ({ attempt, revoked, done }: Row): boolean =>
  attempt === undefined && done === true && revoked !== undefined;

function startedMeta(context: WorkerContext, job: Job, facts: Facts) {
  const { engine, pid = 0, hostname } = context;
  const tracked = !job.request.ignoreResult && (job.options.trackStarted ?? engine.config.taskTrackStarted);
  const [state, result] = tracked ? [STARTED, { pid, hostname }] : [PENDING, null];
  return encodeMeta(describe(engine, facts, state, result, null), engine.codec);
}
