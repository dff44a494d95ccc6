/** A claimed delivery, from its first line of user code to what may happen to its message. */
import { type RanTask, runSteps, surround } from "../around.ts";
import { isLasting, LovageError, PayloadTooLarge, TaskRevokedError, WorkerLostError } from "../errors.ts";
import type { Engine } from "../engine.ts";
import { holdsLong, type LongText } from "../protocol/long-text.ts";
import { encodeMeta, type MetaCodec } from "../protocol/meta.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import { attemptOf, isExpired, sentOf } from "../protocol/message.ts";
import { type Row, taskKey } from "../results/backend.ts";
import { isOutcomeOf, isRepeatable } from "../results/record.ts";
import { AsyncLocalStorage } from "node:async_hooks";
import { batchOf, waitOf } from "../tasks/batch.ts";
import { createStream } from "../results/stream.ts";
import type { Signals } from "../signals.ts";
import { FAILURE } from "../states.ts";
import { type Conclusion, conclude, describe, factsOf, ranTask, waitingMeta } from "./conclude.ts";
import { comesNoMore, type Job, jobAgain, together, type WorkerContext } from "./context.ts";
import { deadLetter } from "./dead-letter.ts";
import { DELETE, type Disposition, DELETED, HAND_BACK, handBack, LEAVE } from "./disposition.ts";
import { follow, isAlone, type Settled } from "./follow.ts";
import { withPatience } from "./patience.ts";
import { type Kept, keepPlace, returnTo } from "./held-place.ts";
import { dropAdded } from "./join.ts";
import { keptPlace } from "./next.ts";
import { repeating, type Sender } from "./sender.ts";
import { attemptEntry, isKept } from "./note.ts";
import { fieldsOf, hasEndSignals, nameOf, reportEnd, signalEnd, stackOf } from "./report.ts";
import { Stop } from "./stop.ts";
import { afterRun, type Attempt, hasHooks, type Outcome, runHooks, trace, type Traced } from "./trace.ts";

/** What the claim said; `undefined` for a task that does not claim. */
export interface Claimed {
  readonly key: string;
  readonly owner: string;
  /** 1 at first, and one more for each worker that died of it. */
  readonly runs: number;
  readonly revoked: Row["revoked"];
}

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

/** A run, for what comes after it. */
interface Ran {
  readonly attempt: Attempt;
  /** Milliseconds since the epoch. */
  readonly began: number;
  readonly watch: Watch;
  readonly settling: () => void;
}

/** Hooks and handlers after a run may take what is left of its time limit, and so long at least, in milliseconds. */
const AFTER_MIN_MS = 10_000;

/** Runs a job to its end. Throws only where the system failed. */
export async function runJob(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  abort: Stop,
  watch: Watch = () => {},
  settling: () => void = () => {},
): Promise<RunEnd> {
  const { engine } = context;
  const { request } = job;
  const attempt = attemptAt(context, job, claimed, abort);
  const decided = verdict(context, job, claimed);
  if (decided !== undefined) {
    const traced: Traced = { outcome: decided, children: [], added: 0, runtime: 0 };
    return settle(context, job, claimed, traced, undefined);
  }
  const steps = runSteps(engine.arounds, request);
  const work = () => attemptJob(context, job, claimed, attempt, watch, settling);
  return steps.length === 0 ? work() : surround(steps, work, ({ ran = HANDED_BACK }) => ran, engine.reportAround);
}

const HANDED_BACK: RanTask = { state: undefined, error: undefined, expected: false };

/** From the first line of user code to the outcome. */
async function attemptJob(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  attempt: Attempt,
  watch: Watch,
  settling: () => void,
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
  // Storing takes as long as it takes.
  watch(Number.POSITIVE_INFINITY);
  if (outcome.type === "released") return { disposition: await letGo(context, job, claimed), abandoned: false };
  if (outcome.type === "rateLimited") {
    await letGo(context, job, claimed, "it comes too often");
    const { retryAfter } = outcome;
    return { disposition: { type: "handBack", visibility: retryAfter * 1000 }, abandoned: false, retryAfter };
  }
  const ended = outcome.type === "checkpoint" ? await keepCheckpoint(context, job, outcome) : outcome;
  return settle(context, job, claimed, { ...traced, outcome: ended }, { attempt, began, watch, settling });
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

const attemptAt = (
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  abort: Stop = new Stop(),
): Attempt => ({
  task: job.task,
  options: job.options,
  message: job.message,
  request: job.request,
  clock: context.engine.clock,
  random: context.engine.platform.random,
  abort,
  deadline: context.deadline?.() ?? Number.POSITIVE_INFINITY,
  sender: context,
  log: context.log,
  updateState: (state, meta) => updateState(context, job, claimed, state, meta),
  stream: () =>
    createStream({
      backend: () => context.engine.backend(),
      clock: context.engine.clock,
      id: job.message.id,
      run: context.engine.uuid(),
    }),
  ...(batchOf(job.task) !== undefined && {
    gathering: {
      batches: context.batches,
      outside: AsyncLocalStorage.snapshot(),
      arrived: () => comesNoMore(context.batches, job.delivery),
    },
  }),
});

/** Sends what follows from a job's row, as the job's part where anybody asks whose it is. */
export function followJob(
  context: WorkerContext,
  job: Job,
  row: Settled,
  sender: Sender = context,
): MaybePromise<Kept | undefined> {
  if (row.next === undefined && isAlone(job.message)) return undefined;
  const send = () => follow(sender, job.message, job.source, row);
  return asksWhose(context.engine) ? afterRun(attemptAt(context, job, undefined), send) : send();
}

/** Whether it makes a difference which task it is that something is sent for. */
export const asksWhose = ({ emitter, config }: WorkerContext["engine"]): boolean =>
  config.taskInheritParentPriority || emitter.has("beforeTaskPublish") || emitter.has("afterTaskPublish");

/** The run ended without an outcome: the message is anybody's, and whoever looks sees that it waits. */
async function letGo(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  why = "its worker stops",
): Promise<Disposition> {
  const { message, delivery } = job;
  if (claimed !== undefined) {
    const { key, owner } = claimed;
    const result = await waitingMeta(context, job);
    await context.apply({ type: "release", key, owner, now: context.engine.clock.now(), result });
  }
  context.log("info", `Task ${nameOf(message)} is handed back: ${why}`, fieldsOf(message, delivery.queue));
  return HAND_BACK;
}

/** What makes a task end without being run, if anything does. */
export function verdict(
  { engine }: WorkerContext,
  { message }: Pick<Job, "message">,
  claimed: Claimed | undefined,
): Outcome | undefined {
  const { runs, revoked } = claimed ?? { runs: 1, revoked: undefined };
  if (revoked !== undefined) return { type: "revoked", reason: revoked === "terminate" ? "terminated" : "revoked" };
  if (isExpired(message, engine.clock.now())) return { type: "revoked", reason: "expired" };
  const { maxDeliveries } = engine.config;
  if (runs <= maxDeliveries) return undefined;
  const error = new WorkerLostError(
    `${runs - 1 === 1 ? "a worker" : `${runs - 1} workers`} died while it ran ${message.task}[${message.id}]; maxDeliveries is ${maxDeliveries}`,
  );
  return { type: "failure", error, expected: false, abandoned: false };
}

/**
 * Makes an outcome durable: the row first, then what follows from it, and where these are one unit the message is deleted in
 * it too; then the hooks. `ran` is absent where nothing ran.
 */
async function settle(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  traced: Traced,
  ran: Ran | undefined,
): Promise<RunEnd> {
  const { engine, log, apply } = context;
  const { delivery, message, owner } = job;
  const { outcome } = traced;
  const abandoned = outcome.type === "failure" && outcome.abandoned;
  const key = taskKey(message.id);
  const now = engine.clock.now();
  if (outcome.type === "reject" && outcome.error.requeue) {
    if (claimed !== undefined) await apply({ type: "release", key, owner, now });
    log(
      "info",
      `Task ${nameOf(message)} rejected its message, which is handed back: ${outcome.error.reason}`,
      fieldsOf(message, delivery.queue),
    );
    return { disposition: handBack(delivery, engine.platform.random), abandoned };
  }
  if (claimed !== undefined && claimed.runs > 1) await dropAdded(context, message, traced.added);
  const store = async (codec: MetaCodec, isKeeping = true) => {
    const facts = factsOf(context, job, traced.children);
    const concluded = conclude(engine, isKeeping ? facts : { ...facts, keep: undefined }, outcome, codec);
    const conclusion = concluded instanceof Promise ? await concluded : concluded;
    const unclaimed = claimed === undefined;
    const { config } = engine;
    const ended = {
      outcome,
      conclusion,
      began: ran?.began,
      runtime: traced.runtime,
      runs: claimed?.runs ?? 1,
      unkept: config.keepFailed && conclusion.status === FAILURE && !isRepeatable(conclusion.command),
    };
    const entry = isKept(engine) ? attemptEntry(context, job, ended) : undefined;
    const begun = together(context);
    const steps = begun instanceof Promise ? await begun : begun;
    return {
      steps,
      codec,
      conclusion,
      recorded: await steps.apply({
        type: "final",
        key,
        now,
        ttl: engine.ttl(),
        ...conclusion.command,
        unclaimed,
        entry,
        ...(unclaimed && job.source.redrive !== undefined && { redrive: job.source.redrive }),
        ...(unclaimed && { sent: sentOf(job.message) }),
      }),
    };
  };
  type Stored = Awaited<ReturnType<typeof store>>;
  async function storeOutside(): Promise<Stored | undefined> {
    // An error is Celery's own form of one, which a pointer is not.
    const codec = outcome.type === "success" ? await outsideRow(engine, message.id) : undefined;
    return codec && store(codec, false);
  }
  async function storeSmaller(error: unknown): Promise<Stored> {
    /** Each is tried where all before it were too large; `undefined`: it is not for this outcome. */
    const smaller: readonly (() => MaybePromise<Stored | undefined>)[] = [
      () => (outcome.type === "failure" && engine.config.keepFailed ? store(engine.codec, false) : undefined),
      // Celery reads it from 5.7 on only, but no reader would get more of a result that was not stored.
      () =>
        engine.codec.compression === undefined ? store({ ...engine.codec, compression: "gzip" }, false) : undefined,
      storeOutside,
    ];
    let tooLarge = error;
    for (const way of smaller) {
      if (!(tooLarge instanceof PayloadTooLarge)) break;
      try {
        const stored = await way();
        if (stored !== undefined) return stored;
      } catch (again) {
        tooLarge = again;
      }
    }
    throw tooLarge;
  }
  let stored: Stored;
  try {
    // What no row will take is not made a text to find out.
    const isLong = outcome.type === "success" && holdsLong(outcome.value);
    // Handed back, it would run once more.
    stored = await withPatience(
      context,
      async () => (isLong ? await storeOutside() : undefined) ?? (await store(engine.codec).catch(storeSmaller)),
    );
  } catch (error) {
    const isSaid = outcome.type === "failure" && Object(outcome.error).name === (error as Error).name;
    if (!isLasting(error) || isSaid) throw error;
    // It is too large, or cannot be written, at any other try too: that is how the task ended, and no failure of the system.
    const failure: Outcome = { type: "failure", error, expected: false, abandoned };
    return settle(context, job, claimed, { ...traced, outcome: failure }, ran);
  }
  const { steps, codec, conclusion, recorded } = stored;
  const { command } = conclusion;
  if (recorded.type === "refused") {
    const { row } = recorded;
    if (claimed === undefined && row !== undefined) return { disposition: await yieldTo(context, job, row), abandoned };
    log(
      "warning",
      `Task ${nameOf(message)} was taken over by another worker: this run changes nothing`,
      fieldsOf(message, delivery.queue),
    );
    return { disposition: LEAVE, abandoned };
  }
  const settled = { result: command.result ?? "", ...(command.next === undefined ? {} : { next: command.next }) };
  let kept: Kept | undefined;
  let isGone = false;
  let inTime = true;
  const hasAfter = hasEndSignals(engine) || (ran !== undefined && hasHooks(job.task));
  try {
    const following = followJob(
      steps,
      claimed === undefined && recorded.type === "written" ? jobAgain(job, recorded) : job,
      settled,
      codec.keep && { ...steps, codec },
    );
    kept = following instanceof Promise ? await following : following;
    isGone = kept === undefined && (await remove(steps, job, conclusion));
    if (isGone && !hasAfter) ran?.settling();
  } finally {
    await steps.unit?.committed;
    // Hooks are of the outcome, which is stored: whoever meets the message again sends what follows, and runs none.
    reportEnd(context, job, traced, conclusion);
    if (hasAfter) inTime = await runAfter(context, job, traced, conclusion, ran);
  }
  const after = () => (kept === undefined ? dispose(context, job, conclusion) : keepPlace(context, kept));
  const disposition = isGone ? DELETED : await after();
  return { disposition, abandoned: abandoned || !inTime, ran: ranTask(outcome, conclusion) };
}

/** A task that does not claim has run although its outcome was there: that one stays, and what follows from it is sent again. */
async function yieldTo(context: WorkerContext, job: Job, row: Row): Promise<Disposition> {
  const { delivery, message } = job;
  const kept = isOutcomeOf(row, attemptOf(message))
    ? await followJob(context, jobAgain(job, row), row, repeating(context))
    : job.source.goesFor
      ? undefined
      : keptPlace(delivery.queue, row);
  context.log(
    "info",
    `Task ${nameOf(message)} had its outcome before: this run changes nothing`,
    fieldsOf(message, delivery.queue),
  );
  return kept === undefined ? DELETE : returnTo(context, delivery, kept);
}

/**
 * Hooks and signals: what a user does about a stored outcome. Whether it ended in time: one that never ends would keep
 * its message, and its place in the worker, for ever.
 */
async function runAfter(
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
    await signalEnd(context, job, traced, conclusion);
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
  const deadline = context.deadline?.() ?? Number.POSITIVE_INFINITY;
  const work = Promise.resolve(engine.emitter.emit(signal, told));
  if (await endsBy(context, Math.min(end, deadline), work, watch)) return;
  log(
    "error",
    `A handler of ${signal} did not end within ${Math.round(engine.clock.now() - now) / 1000} s; ${nameOf(message)} does not wait for it`,
    fieldsOf(message, delivery.queue),
  );
}

/** Until when hooks may run, in milliseconds since the epoch: on Lambda no later than halfway from the last run to the function's end. */
function afterEnd(context: WorkerContext, began: number, timeLimit: number | null, now: number): number {
  const own = timeLimit === null ? Number.POSITIVE_INFINITY : began + timeLimit * 1000;
  const deadline = context.deadline?.() ?? Number.POSITIVE_INFINITY;
  const end = Math.max(Math.min(own, deadline), now + AFTER_MIN_MS);
  return deadline === Number.POSITIVE_INFINITY ? end : Math.max(now, Math.min(end, (deadline + context.lease()) / 2));
}

/** Deletes the message in the unit of its outcome. `false`: there is none, or more is to be done before it may go. */
async function remove({ engine, unit }: WorkerContext, { delivery, source }: Job, { command }: Conclusion) {
  if (unit === undefined || command.buried || source.goesFor) return false;
  const [failed] = await whenReady(engine.brokerAtOnce(), (broker) => broker.delete([delivery], unit));
  return failed === undefined;
}

async function dispose(
  context: WorkerContext,
  { delivery, message }: Job,
  { command, error }: Conclusion,
): Promise<Disposition> {
  if (!command.buried) return DELETE;
  const reason = error instanceof Error ? error : new LovageError(String(error));
  return deadLetter(context, delivery, { id: message.id, task: message.task }, reason);
}

async function updateState(
  context: WorkerContext,
  job: Job,
  claimed: Claimed | undefined,
  state: string,
  meta: unknown,
): Promise<void> {
  const { engine, apply } = context;
  const { id } = job.message;
  const described = describe(engine, factsOf(context, job, []), state, meta, null);
  const store = async (codec: MetaCodec) => {
    const result = await encodeMeta({ ...described, dateDone: null }, codec);
    const address = { key: taskKey(id), now: engine.clock.now(), ttl: engine.ttl(), result };
    await apply(
      claimed === undefined ? { type: "store", ...address } : { type: "update", owner: job.owner, ...address },
    );
  };
  const outside = holdsLong(meta) ? await outsideRow(engine, id) : undefined;
  if (outside !== undefined) return store(outside);
  try {
    await store(engine.codec);
  } catch (error) {
    const smaller = error instanceof PayloadTooLarge ? await outsideRow(engine, id) : undefined;
    if (smaller === undefined) throw error;
    await store(smaller);
  }
}

/**
 * How the result of a row is written that is kept elsewhere, and read by who has just written it, who need not ask for it again;
 * `undefined`: there is nothing that keeps it.
 */
async function outsideRow(engine: Engine, id: string): Promise<MetaCodec | undefined> {
  const payloads = await engine.payloads();
  if (payloads === undefined) return undefined;
  const days = engine.rowDays();
  const { codec } = engine;
  let own: string;
  let given: string | LongText;
  return {
    ...codec,
    async keep(text) {
      given = text;
      own = await payloads.put(text, id, days);
      return own;
    },
    async fetch(pointer) {
      if (pointer !== own && codec.fetch) return codec.fetch(pointer);
      return typeof given === "string" ? { text: given, restored: (value) => value } : { ...given, text: given.marked };
    },
  };
}

/** The reason with which a run aborts that was revoked with `terminate`. */
export const terminated = (): TaskRevokedError => new TaskRevokedError("terminated");
