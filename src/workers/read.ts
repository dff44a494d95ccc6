/** The first steps of a delivery: it is read, waits until it is due, and its limits admit it. */
import { loadLimited } from "#on-demand";
import { type Delivery, isFifo } from "../brokers/broker.ts";
import { memberHash } from "../canvas/join-rows.ts";
import type { Engine } from "../engine.ts";
import { DecodeError, LimitKeyError, WorkerLostError } from "../errors.ts";
import { decodeEnvelope, peekEnvelope, salvageMessage } from "../protocol/envelope.ts";
import { type Checkpoint, CHECKPOINT_HEADER, checkpointOf, createMessage, type Message } from "../protocol/message.ts";
import { whenReady } from "../protocol/serializers.ts";
import { parseTime } from "../protocol/time.ts";
import { joinKey } from "../results/backend.ts";
import { isLimited } from "../tasks/limits.ts";
import { pack } from "../tasks/publish.ts";
import { withoutLimits } from "../tasks/send-call.ts";
import { builtinTask } from "./builtins.ts";
import { bury, buryUnread, giveUp } from "./bury.ts";
import { claim, hideUntil } from "./claim.ts";
import { createJob, type Job, type WorkerContext } from "./context.ts";
import { DELETE, type Disposition } from "./disposition.ts";
import { count } from "./join.ts";
import { fieldsOf, nameOf } from "./report.ts";
import { patiently } from "./unreleased.ts";
import type { Admission } from "./worker.ts";

/** A task nobody knows is handed back so often before it becomes a dead letter: a deploy may be rolling out. */
const UNKNOWN_TASK_TRIES = 3;
/** SQS gives a message out so often at most (`maxReceiveCount`). The last time it is buried here, so that its row says why. */
const MOST_RECEIVES = 1_000;
/**
 * From the receive after so many on it is counted who dies of a message while it is read and claimed, or while what follows from
 * its outcome is sent: no row of its task tells of that. A message that comes for the first times costs nothing for it.
 */
export const UNCOUNTED_RECEIVES = 20;

/** What is known of a message when it was read: its end, or what claims its task. */
export type Reading = { readonly disposition: Disposition } | { readonly claim: () => Promise<Admission> };

export const readOnce = (context: WorkerContext, delivery: Delivery): Promise<Reading> =>
  delivery.receiveCount > UNCOUNTED_RECEIVES ? readCounted(context, delivery) : read(context, delivery);

/**
 * Writes down that it is read until its task is claimed, or what follows from it is sent. Who has written that and is not heard of
 * again has died of it: after `maxDeliveries` such deaths it becomes a dead letter, unread.
 */
async function readCounted(taken: WorkerContext, delivery: Delivery): Promise<Reading> {
  // If the process dies, what is written is to stay.
  await taken.unit?.committed;
  const context = taken.within(undefined);
  const { engine } = context;
  const { now } = engine.clock;
  const key = joinKey(`reading-${delivery.queue}-${delivery.messageId}`);
  const owner = engine.platform.uuid();
  const own = { key, owner, now: now(), ttl: engine.ttl(), lease: taken.lease() };
  const recorded = await context.apply({ type: "claim", ...own, attempt: 0, result: "", hidden: true });
  // Whether another reader died of it is known when its lease is over.
  if (recorded.type === "running") return { disposition: hideUntil(recorded.until, now()) };
  const deaths = recorded.type === "claimed" ? recorded.runs - 1 : 0;
  if (deaths >= engine.config.maxDeliveries) return giveUp(context, delivery, deaths);
  const survive = () =>
    patiently(context, own, async () => void (await context.apply({ type: "release", key, owner, now: now() })));
  let reading: Reading | undefined;
  try {
    reading = await read(context, delivery);
  } finally {
    if (reading === undefined || !("claim" in reading)) await survive();
  }
  if (!("claim" in reading)) return reading;
  const { claim } = reading;
  return { claim: () => claim().finally(survive) };
}

async function read(context: WorkerContext, delivery: Delivery): Promise<Reading> {
  const { engine } = context;
  if (delivery.receiveCount >= MOST_RECEIVES) {
    const error = new WorkerLostError(
      `the message was received ${delivery.receiveCount} times, as often as a queue gives one out, and has not ended; the workers' logs say why`,
    );
    return { disposition: await buryUnread(context, delivery, error) };
  }
  let message: Message;
  try {
    const { acceptContent: accept } = engine.config;
    const decoded = whenReady(engine.messageText(delivery.body), (text) => decodeEnvelope(text, { accept }));
    message = decoded instanceof Promise ? await decoded : decoded;
    if (checkpointOf(message)?.kept) message = await withCheckpoint(engine, message);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const { id, task } = peekEnvelope(delivery.body);
    const message = await salvageMessage(delivery.body);
    return { disposition: await bury(context, delivery, { id, task, message }, error) };
  }
  const task = engine.task(message.task) ?? builtinTask(context.app, message.task);
  if (task === undefined) return { disposition: await refuseUnknown(context, delivery, message) };
  const job = createJob(context, delivery, message, task);
  if (message.eta !== null) {
    const disposition = await park(context, job, parseTime(message.eta));
    if (disposition !== undefined) return { disposition };
  }
  return { claim: () => (isLimited(job.options) ? admitLimited(context, job) : claim(context, job)) };
}

/** The message with the state of its checkpoint, which is kept elsewhere. Throws as {@link Engine.wholeText} does. */
async function withCheckpoint(engine: Engine, message: Message): Promise<Message> {
  const { count = 0, text = "" } = checkpointOf(message) ?? {};
  const checkpoint: Checkpoint = { count, text: await engine.wholeText(text) };
  return createMessage({ ...message, headers: { ...message.headers, [CHECKPOINT_HEADER]: checkpoint } });
}

/**
 * Puts the message back, for a worker that a deploy is about to bring. That is counted in a row of its own: how often it was
 * received says nothing of it, as a busy table, a worker that stops, and what is before it in a FIFO group hand messages back too.
 */
async function refuseUnknown(context: WorkerContext, delivery: Delivery, message: Message): Promise<Disposition> {
  const { app, engine, log } = context;
  const { id, task } = message;
  const { queue, messageId } = delivery;
  const { members: tries } = await count(
    context,
    `unregistered-${queue}-${messageId}-${id}`,
    memberHash(engine.platform.uuid()),
  );
  if (tries > UNKNOWN_TASK_TRIES) return bury(context, delivery, { id, task, message }, app.notRegistered(task));
  log(
    "warning",
    `Received unregistered task ${nameOf(message)}: handed back (${tries} of ${UNKNOWN_TASK_TRIES})`,
    fieldsOf(message, queue),
  );
  return { type: "handBack", visibility: (await engine.broker()).limits.rolloutSeconds * 1000 };
}

/** A task that has limits is claimed once they admit it; until then it waits. */
async function admitLimited(taken: WorkerContext, job: Job): Promise<Admission> {
  const { delivery, message } = job;
  // Rows of limits are no part of the unit in which it was taken: that is to be durable before anything is asked of them.
  await taken.unit?.committed;
  const context = taken.within(undefined);
  const { admitByLimits } = await loadLimited();
  if (admitByLimits === undefined) throw withoutLimits("rateLimit", `${message.task} must not run`);
  try {
    return await admitByLimits(context, job);
  } catch (error) {
    // Where the arguments of the last call are gone, nobody can tell them any more.
    if (!(error instanceof LimitKeyError || error instanceof DecodeError)) throw error;
    const { id, task } = message;
    return { disposition: await bury(context, delivery, { id, task, message }, error) };
  }
}

/** A message that came before its time goes back into the queue for the rest of it. `undefined`: it is due. */
async function park(
  { engine, log, unit }: WorkerContext,
  { delivery, message }: Job,
  eta: number,
): Promise<Disposition | undefined> {
  const wait = eta - engine.clock.now();
  if (wait <= 0) return undefined;
  if (isFifo(delivery.queue)) return { type: "handBack", visibility: wait };
  // The body as it came: parking changes nothing that a Python worker or a retry would see. A pointer is renewed.
  const { queue, body, attributes } = delivery;
  await engine.outbox.send(await pack(engine, { message, queue, body, attributes }), undefined, unit);
  log("debug", `Parked ${nameOf(message)} until ${message.eta}`, fieldsOf(message, delivery.queue));
  return DELETE;
}
