/**
 * What is done with a delivery, whoever fetched it, step by step: read → due → admitted by its limits → claim, then run → settle (`run.ts`), and then
 * what may happen to the message. The poller, a Lambda function and tests differ only in how they fetch and acknowledge.
 *
 * Where broker and backend are one store, steps that follow each other are one unit (`unit.ts`): the message is taken and its
 * row claimed, and its outcome is stored, what follows is sent, and the message is deleted. They are the same steps.
 */
import type { Lovage } from "../app.ts";
import { type Delivery, isFifo } from "../brokers/broker.ts";
import { loadLimited } from "#on-demand";
import {
  DecodeError,
  ImproperlyConfigured,
  isLasting,
  LimitKeyError,
  LovageError,
  OperationalError,
  TimeLimitExceeded,
  WorkerLostError,
  WorkerShutdown,
} from "../errors.ts";
import { Engine } from "../engine.ts";
import { OTHER_COPY } from "../other-copy.ts";
import { memberHash } from "../canvas/join-rows.ts";
import { decodeEnvelope, peekEnvelope, salvageMessage } from "../protocol/envelope.ts";
import {
  atAttempt,
  type Checkpoint,
  CHECKPOINT_HEADER,
  checkpointOf,
  createMessage,
  type Message,
} from "../protocol/message.ts";
import { encodeMeta } from "../protocol/meta.ts";
import { whenReady } from "../protocol/serializers.ts";
import { parseTime } from "../protocol/time.ts";
import { type Again, type Claim, type Final, LEASE_MARGIN_MS, type Outcome as Recorded } from "../results/record.ts";
import { joinKey, type Payload, type Row, taskKey } from "../results/backend.ts";
import { PENDING, STARTED } from "../states.ts";
import { pack } from "../tasks/publish.ts";
import { conclude, describe, type Facts, factsOf, isHidden, waitingMeta } from "./conclude.ts";
import { isLimited } from "../tasks/limits.ts";
import { withoutLimits } from "../tasks/send-call.ts";
import type { Unit } from "../unit.ts";
import {
  claimOf,
  comesNoMore,
  createContext,
  createJob,
  type Job,
  jobAgain,
  type WorkerContext,
  type WorkerOptions,
} from "./context.ts";
import { builtinTask } from "./builtins.ts";
import { deadLetter, failedMeta, isOurFate, type Known, storedFate, storeFate } from "./dead-letter.ts";
import { DELETE, type Disposition, HAND_BACK, type HandBack, handBack, LEAVE, withinLimits } from "./disposition.ts";
import { follow, isAlone } from "./follow.ts";
import { carriedPlace, keepPlace, returnTo } from "./held-place.ts";
import { count } from "./join.ts";
import { hasFate, keptPlace, nextOf, retryDue } from "./next.ts";
import { repeating } from "./sender.ts";
import { attemptEntry, deadLetterEntry, isKept, runningEntry } from "./note.ts";
import { withPatience } from "./patience.ts";
import { fieldsOf, nameOf, reportDeaths, reportReceived, stackOf } from "./report.ts";
import { announce, type Claimed, followJob, type RunEnd, runJob, terminated, verdict, type Watch } from "./run.ts";
import { Stop } from "./stop.ts";

export type { WorkerOptions } from "./context.ts";
export type { Disposition } from "./disposition.ts";
export type { RunEnd, Watch } from "./run.ts";

/** A task nobody knows is handed back so often before it becomes a dead letter: a deploy may be rolling out. */
const UNKNOWN_TASK_TRIES = 3;
/** Before the broker's last delivery a worker ends a task so many deliveries early: a function may die in those. */
const RECEIVES_LEFT = 10;
/** SQS gives a message out so often at most (`maxReceiveCount`). The last time it is buried here, so that its row says why. */
const MOST_RECEIVES = 1_000;
/** Claims that are remembered because they could not be given up. */
const MAX_UNRELEASED = 10_000;
/** So many of them are given up at a time. */
const MAX_RELEASES = 100;
/** From so many runs on, the first among them, a task is a suspect. */
const SUSPECT_RUNS = 3;
/**
 * From the receive after so many on it is counted who dies of a message while it is read and claimed, or while what follows from
 * its outcome is sent: no row of its task tells of that. A message that comes for the first times costs nothing for it.
 */
export const UNCOUNTED_RECEIVES = 20;
/** A longer message, in characters, is not kept of a run that blocks its process beyond its time limit. */
const MAX_TOLD_BODY = 65_536;
/** The claim of another owner is looked at again after this at the earliest. */
const RUNNING_MIN_MS = 1_000;
/** From so many receives on, the message of a run that goes on elsewhere is sent anew, before anybody counts them against it. */
const RENEWED_RECEIVES = 10;
/** On a FIFO queue, where it must keep its place, it comes back after so much longer each time, in milliseconds … */
const KEPT_STEP_MS = 60_000;
/** … up to this: with 1,000 receives that is longer than SQS keeps a message. */
const KEPT_MAX_MS = 3_600_000;

/** A run that has taken so long, in milliseconds, is told of while it goes on, so that what runs now can be listed. */
export const LONG_RUN_MS = 5_000;

/** A delivery that is to be run. */
export interface Run {
  /** The delivery. */
  readonly delivery: Delivery;
  /** The message, decoded. */
  readonly message: Message;
  /** The row's key and its owner: what keeps the claim alive. `undefined` where the task does not claim. */
  readonly claim: { readonly key: string; readonly owner: string } | undefined;
  /** Seconds that it may take; `null`: no limit. */
  readonly timeLimit: number | null;
  /** How many workers died while they ran it. */
  readonly deaths: number;
  /**
   * It must run alone, so that no other task dies with it: two workers died while they ran it, or one more death would be its last.
   */
  readonly suspect: boolean;
  /** Its outcome is known without a run: it was revoked, has expired, or too many workers died while they ran it. */
  readonly decided: boolean;
  /** What stores that it did not end within so many seconds; `undefined` where that cannot be said as JSON, or it does not claim. */
  overrun(seconds: number): Promise<Omit<Final, "now" | "ttl"> | undefined>;
  /**
   * Runs it to its end. Never throws.
   *
   * @param watch Is told when {@link timeLimit} is over, and how long hooks may take.
   * @param settling Is called where nothing is left to do but to make the end durable: another may begin when that is done.
   */
  execute(watch?: Watch, settling?: () => void): Promise<RunEnd>;
  /** Tells the journal that it runs, once it has done so for {@link LONG_RUN_MS}. To be called now and then. Never throws. */
  noteRunning(): Promise<void>;
  /** The task's `signal` aborts: revoked with `terminate`. */
  terminate(): void;
  /** The task's `signal` aborts, as its worker stops. Where it ends by throwing, {@link execute} hands it back. */
  abort(): void;
  /** The row of its result, as it is where the task waits. */
  waiting(): Promise<Payload>;
  /**
   * Gives it up without an outcome, and aborts it: another worker takes it at once, and no death is counted, unless `died`
   * says that this was one. What {@link execute} then says of its message is to leave it.
   */
  release(died?: boolean): Promise<Disposition>;
}

/** What becomes of a delivery: it is settled as it stands, or it is to run. */
export type Admission = { readonly disposition: Disposition } | { readonly run: Run };

/** The steps that handle a delivery, for code that fetches messages. */
export interface Worker {
  /**
   * Reads a message and claims its task. Never throws.
   *
   * @param unit In which it is taken. The admission comes when that is durable.
   */
  admit(delivery: Delivery, unit?: Unit): Promise<Admission>;
  /**
   * Reads a message, and gives what then claims its task; neither throws. Where several are read before the first is claimed, a
   * process that dies of reading one costs none of them a death.
   */
  read(delivery: Delivery): Promise<() => Promise<Admission>>;
  /**
   * What becomes of a message that was not done: the same, within what the broker can do, or a dead letter whose row says why,
   * where the broker would soon make it one without a word. Never throws.
   */
  handBack(delivery: Delivery, disposition: Disposition): Promise<Disposition>;
  /** So many workers died before they could claim its task, or after its outcome: it becomes a dead letter, unread. Never throws. */
  giveUp(delivery: Delivery, deaths: number): Promise<Disposition>;
  /**
   * Tries once more to give up what could not be given up while its store was out of reach: a death that another worker has
   * counted for it meanwhile is taken back. To be called now and then. Never throws.
   */
  releaseLate(): Promise<void>;
  /** Whether calls are to wait until their batch is full: with `true` nothing more comes, and what was gathered begins. */
  hurry(isHurried: boolean): void;
  /**
   * Says that a call is on its way to a batch, or is so no more. In a worker that is told, batches begin as soon as none is.
   */
  comes(delivery: Delivery, isComing: boolean): void;
}

/** Makes the steps that handle a delivery, for one app. It fetches nothing: `startWorker` puts a poller around it, and a Lambda handler an invocation. */
export function createWorker(app: Lovage, options: WorkerOptions): Worker {
  // Each copy of the package has errors and a task's context of its own: one would not know what the other's tasks throw.
  if (!(app.engine instanceof Engine)) throw new ImproperlyConfigured("app", OTHER_COPY);
  const context = createContext(app, options);
  return {
    async admit(delivery, unit) {
      const steps = context.within(unit);
      const admission = await guard(steps, delivery, async () => {
        const reading = await readOnce(steps, delivery);
        return "claim" in reading ? await reading.claim() : reading;
      });
      try {
        await unit?.committed;
      } catch {
        // It was not taken: it is in its queue, as it was.
        return { disposition: LEAVE };
      }
      return admission;
    },
    async read(delivery) {
      const reading = await guard(context, delivery, () => readOnce(context, delivery));
      return async () => ("claim" in reading ? guard(context, delivery, reading.claim) : reading);
    },
    async handBack(delivery, disposition) {
      if (disposition.type !== "handBack") return disposition;
      return (await guard(context, delivery, () => endInTime(context, delivery, disposition))).disposition;
    },
    async giveUp(delivery, deaths) {
      return (await guard(context, delivery, () => giveUp(context, delivery, deaths))).disposition;
    },
    releaseLate: () => releaseLate(context),
    hurry(isHurried) {
      const { batches } = context;
      batches.isHurried = isHurried;
      if (isHurried) for (const { full } of batches.open.values()) full();
    },
    comes(delivery, isComing) {
      const { batches } = context;
      batches.coming ??= new Set();
      if (isComing) batches.coming.add(delivery);
      else comesNoMore(batches, delivery);
    },
  };
}

/** Runs a step whose failure is the system's: the message is handed back, and nobody waits for its full visibility. */
async function guard<T extends Reading | Admission | RunEnd>(
  context: WorkerContext,
  delivery: Delivery,
  step: () => Promise<T>,
  giveUp?: () => Promise<void>,
): Promise<T | { readonly disposition: Disposition }> {
  const { log, engine } = context;
  try {
    const ended = await step();
    if ("disposition" in ended && ended.disposition.type === "delete") await leave(context, delivery);
    return ended;
  } catch (error) {
    await giveUp?.();
    const foreseen = error instanceof OperationalError;
    log(
      "error",
      `Message ${delivery.messageId} of ${delivery.queue} is handed back: ${foreseen ? error.message : stackOf(error)}`,
      {
        queue: delivery.queue,
        error: stackOf(error),
      },
    );
    return { disposition: handBack(delivery, engine.platform.random) };
  }
}

/** A message that goes for another, and is done, takes that one along when the task has ended: what is behind it can be had. */
async function leave({ engine, read }: WorkerContext, delivery: Delivery): Promise<void> {
  const place = carriedPlace(delivery);
  if (place === undefined) return;
  const { id = "" } = peekEnvelope(delivery.body);
  const [row] = await read([taskKey(id)]);
  if (row !== undefined && keptPlace(delivery.queue, row) !== undefined) return;
  const [failed] = await (await engine.broker()).delete([{ ...delivery, receipt: place.receipt }]);
  if (failed !== undefined) throw failed;
}

/** What is known of a message when it was read: its end, or what claims its task. */
type Reading = { readonly disposition: Disposition } | { readonly claim: () => Promise<Admission> };

const readOnce = (context: WorkerContext, delivery: Delivery): Promise<Reading> =>
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
  if (recorded.type === "running") return { disposition: hidden(recorded.until, now()) };
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
 * A message that will not run: where its id can be read, its row says why; who waits for it is told, as far as that can be
 * read too; then it becomes a dead letter.
 */
async function bury(
  context: WorkerContext,
  delivery: Delivery,
  { id, task, message }: Known & { readonly message: Message | undefined },
  error: Error,
  whileRunning?: Disposition,
): Promise<Disposition> {
  const { engine, log } = context;
  const entry = isKept(engine) ? deadLetterEntry(context, delivery.queue, { id, task, message }, error) : undefined;
  if (id) {
    const meta = failedMeta(engine, id, error);
    const recorded = await storeFate(context, id, meta, entry);
    if (whileRunning !== undefined && recorded.type === "refused" && recorded.row?.done !== true) return whileRunning;
    // Its outcome is another's, or it runs: what follows from it is not ours to send.
    if (message !== undefined && isOurFate(recorded)) {
      const row =
        recorded.type === "refused" && recorded.row ? recorded.row : { result: await encodeMeta(meta, engine.codec) };
      const { again, redrive }: Again = recorded.type === "written" ? recorded : (row as Row);
      const source = { queue: delivery.queue, again, redrive };
      await follow(repeating(context), message, source, row).catch((failure: unknown) => {
        if (!isLasting(failure)) throw failure;
        log(
          "error",
          `What follows from ${nameOf(message)} could not be sent: ${stackOf(failure)}`,
          fieldsOf(message, delivery.queue),
        );
      });
    }
  }
  // Where there is no id there is no row that it could be told with.
  else if (entry !== undefined) await context.note(entry);
  return deadLetter(context, delivery, { id, task }, error);
}

/** Ends a task whose message was handed back as often as its broker allows. */
async function endInTime(
  context: WorkerContext,
  delivery: Delivery,
  disposition: HandBack,
): Promise<{ readonly disposition: Disposition }> {
  const { limits } = await context.engine.broker();
  const { maxReceives = Number.POSITIVE_INFINITY } = limits;
  if (delivery.receiveCount <= maxReceives - RECEIVES_LEFT) return { disposition: withinLimits(disposition, limits) };
  const { id, task } = peekEnvelope(delivery.body);
  const message = await salvageMessage(delivery.body);
  const error = new OperationalError(
    `the message was handed out ${delivery.receiveCount} times in ${formatSpan(context.engine.clock.now() - delivery.sentAt)} and came back each time; the log of its workers says why. \`lovage dlq redrive\` tries again`,
    { retryable: false },
  );
  return { disposition: await bury(context, delivery, { id, task, message }, error, disposition) };
}

const formatSpan = (ms: number): string => `${Math.max(0, Math.round(ms / 60_000))} minutes`;

/** Of a message that is too dangerous to be decoded no more is read than its name and its id. */
function buryUnread(context: WorkerContext, delivery: Delivery, error: Error): Promise<Disposition> {
  const { id, task } = peekEnvelope(delivery.body);
  return bury(context, delivery, { id, task, message: undefined }, error);
}

/** So many workers died of a message while nobody could charge it to a run. */
async function giveUp(
  context: WorkerContext,
  delivery: Delivery,
  deaths: number,
): Promise<{ readonly disposition: Disposition }> {
  const error = new WorkerLostError(`${deaths} workers died of this message, before or after its task ran`);
  return { disposition: await buryUnread(context, delivery, error) };
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
    return await admitByLimits(context, job, (admitted) => claim(context, admitted));
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

async function claim(context: WorkerContext, job: Job): Promise<Admission> {
  const { engine, log } = context;
  const alone = context.within(undefined);
  const { delivery, message, owner } = job;
  if (job.options.claim === false) {
    return { run: prepare(alone, job, undefined) };
  }
  const facts = factsOf(context, job, []);
  const started = startedMeta(context, job, facts);
  const asked: Claim = {
    ...claimOf(context, job),
    // What is hidden stays so: an outcome that may yet be shown is claimed in the open, without a state to show.
    hidden: isHidden(facts, true),
    result: started instanceof Promise ? await started : started,
    next: nextOf(job.source),
  };
  const { key } = asked;
  let recorded: Recorded;
  try {
    recorded = await context.apply(asked);
  } catch (error) {
    // Where its unit failed, nothing was done.
    await context.unit?.committed;
    // It may have been applied, and its answer lost. Nothing began, so nobody is to count a death.
    await patiently(context, { key, owner }, async () => {
      await alone.apply({
        type: "release",
        key,
        owner,
        now: engine.clock.now(),
        result: await waitingMeta(context, job),
      });
    });
    throw error;
  }
  switch (recorded.type) {
    case "claimed":
      return {
        run: prepare(alone, jobAgain(job, recorded), {
          key,
          owner,
          runs: recorded.runs,
          revoked: recorded.revoked,
        }),
      };
    case "settled": {
      const kept = await followJob(context, jobAgain(job, recorded.row), recorded.row, repeating(context));
      // Whoever stored that may have died before the dead letter was sent. Two are better than none.
      if (recorded.row.buried && !hasFate(recorded.row)) {
        const why = await storedFate(engine, message.id, recorded.row.result);
        return { disposition: await deadLetter(context, delivery, { id: message.id, task: message.task }, why) };
      }
      // Who frees what the task would have used waits for this: nobody has run it, so nobody else can tell.
      if (wasRevoked(recorded.row)) {
        const reason = recorded.row.revoked === "terminate" ? "terminated" : "revoked";
        log("info", `Discarding revoked task: ${nameOf(message)} (${reason})`, fieldsOf(message, delivery.queue));
        const { request } = job;
        await engine.emitter.emit("taskRevoked", { task: message.task, taskId: message.id, request, reason });
        return { disposition: DELETE };
      }
      log(
        "info",
        `Task ${nameOf(message)} was settled before; what follows from it was sent again`,
        fieldsOf(message, delivery.queue),
      );
      return { disposition: kept === undefined ? DELETE : await keepPlace(context, kept) };
    }
    case "superseded": {
      const kept = job.source.goesFor ? undefined : keptPlace(delivery.queue, recorded.row);
      if (kept !== undefined) return { disposition: returnTo(context, delivery, kept) };
      const other = await joinEarlier(context, job, recorded.row);
      if (other !== undefined) return { disposition: other };
      log("info", `Discarding a duplicate of ${nameOf(message)}`, fieldsOf(message, delivery.queue));
      return { disposition: DELETE };
    }
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

const hidden = (until: number, now: number) =>
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
  const { visibility: rest } = hidden(until, now);
  const { maxReceives, maxDelaySeconds } = (await engine.broker()).limits;
  const more = receiveCount - RENEWED_RECEIVES;
  if (maxReceives === undefined || more < 0) return hidden(until, now);
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

function prepare(context: WorkerContext, job: Job, claimed: Claimed | undefined): Run {
  const stop = new Stop();
  const { delivery, message, request } = job;
  let began: number | undefined;
  let isNoted = false;
  const { maxDeliveries } = context.engine.config;
  const runs = claimed?.runs ?? 1;
  let isReleased = false;
  const free = async (result?: Payload, died?: boolean) => {
    if (claimed === undefined) return;
    const { key, owner } = claimed;
    await context.apply({ type: "release", key, owner, now: context.engine.clock.now(), result, died });
  };
  return {
    delivery,
    message,
    claim: claimed,
    timeLimit: request.timeLimit,
    deaths: runs - 1,
    suspect: runs > 1 && runs >= Math.min(maxDeliveries, SUSPECT_RUNS),
    decided: verdict(context, job, claimed) !== undefined,
    async execute(watch, settling) {
      began = context.engine.clock.now();
      reportReceived(context, job);
      if (runs > 1) reportDeaths(context, job, runs - 1);
      const told = announce(context, job, "taskReceived", {}, watch);
      if (told !== undefined) await told;
      const run = () => runJob(context, job, claimed, stop, watch, settling);
      const ended = await guard(context, delivery, run, async () => {
        // A system failed, and nobody died: whoever takes it next is not to count a death.
        if (claimed !== undefined) await patiently(context, claimed, free);
      });
      return { abandoned: false, ...ended, ...(isReleased && { disposition: LEAVE }) };
    },
    async overrun(seconds) {
      if (claimed === undefined) return undefined;
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
      const ended = { outcome, conclusion, began: engine.clock.now(), runtime: seconds, runs: claimed.runs };
      const entry = isKept(engine) ? attemptEntry(context, job, ended) : undefined;
      return { type: "final", key: claimed.key, ...command, entry };
    },
    async noteRunning() {
      const { clock } = context.engine;
      if (isNoted || began === undefined || clock.now() - began < LONG_RUN_MS || !isKept(context.engine)) return;
      isNoted = true;
      await context.note(runningEntry(context, job, began));
    },
    terminate: () => stop.stop(terminated()),
    abort: () => stop.stop(new WorkerShutdown()),
    waiting: async () => waitingMeta(context, job),
    async release(died) {
      isReleased = true;
      stop.stop(new WorkerShutdown());
      // It waits again, and whoever looks is to see so.
      await free(await waitingMeta(context, job), died);
      return HAND_BACK;
    },
  };
}

/**
 * Gives a claim up. What kept the outcome from being stored may keep this from it too, so it is tried again; where even
 * that does not help, the next one here who takes the message is the same owner, and {@link releaseLate} goes on trying.
 */
async function patiently(
  context: WorkerContext,
  { key, owner }: { readonly key: string; readonly owner: string },
  free: () => Promise<void>,
): Promise<void> {
  const { unreleased } = context;
  await withPatience(context, free).catch(() => {
    // A table that is gone for long must not fill the memory.
    if (unreleased.size >= MAX_UNRELEASED) unreleased.clear();
    unreleased.set(key, owner);
  });
}

/** Elsewhere such a claim looks like a death once its lease has ended, until its owner is heard of. */
async function releaseLate({ engine, unreleased, apply }: WorkerContext): Promise<void> {
  const late = [...unreleased].slice(0, MAX_RELEASES);
  await Promise.all(
    late.map(([key, owner]) => {
      // Who takes it meanwhile is another owner: this one is about to let go.
      unreleased.delete(key);
      return apply({ type: "release", key, owner, now: engine.clock.now() }).catch(() => {
        unreleased.set(key, unreleased.get(key) ?? owner);
      });
    }),
  );
}
