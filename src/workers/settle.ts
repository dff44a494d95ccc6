/** An outcome is made durable: its row first, then what follows from it, then hooks and signals, and what may happen to the message. */
import type { Engine } from "../engine.ts";
import { isLasting, LovageError, PayloadTooLarge } from "../errors.ts";
import { holdsLong } from "../protocol/long-text.ts";
import { attemptOf, sentOf } from "../protocol/message.ts";
import type { MetaCodec } from "../protocol/meta.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import type { Row } from "../results/backend.ts";
import { isOutcomeOf, isRepeatable, type Outcome as Recorded } from "../results/record.ts";
import { FAILURE } from "../states.ts";
import { followJob, outsideRow } from "./attempt.ts";
import { conclude, type Conclusion, factsOf, ranTask, settledBy } from "./conclude.ts";
import { type Job, jobAgain, together, type WorkerContext } from "./context.ts";
import { deadLetter } from "./dead-letter.ts";
import { DELETE, DELETED, type Disposition, LEAVE } from "./disposition.ts";
import { keepPlace, returnTo } from "./held-place.ts";
import { dropAdded } from "./join.ts";
import { type Ran, runAfter } from "./listeners.ts";
import { keptPlace } from "./next.ts";
import { attemptEntry, isKept } from "./note.ts";
import { withPatience } from "./patience.ts";
import { fieldsOf, hasEndSignals, nameOf, reportEnd } from "./report.ts";
import type { RunEnd } from "./run.ts";
import { repeating } from "./sender.ts";
import { hasHooks, type Outcome, type Traced } from "./trace.ts";

/**
 * Makes an outcome durable: the row first, then what follows from it, and where these are one unit the message is deleted in
 * it too; then the hooks. `ran` is absent where nothing ran.
 */
export async function settle(context: WorkerContext, job: Job, traced: Traced, ran?: Ran): Promise<RunEnd> {
  const { engine, log } = context;
  const { delivery, message, claimed } = job;
  const { outcome } = traced;
  const abandoned = outcome.type === "failure" && outcome.abandoned;
  const now = engine.clock.now();
  if (claimed !== undefined && claimed.runs > 1) await dropAdded(context, message, traced.added);
  const hasAfter = hasEndSignals(engine) || (ran !== undefined && hasHooks(job.task));
  const follow = async ({ steps, codec, conclusion, recorded }: Stored) => {
    const kept = await followJob(
      steps,
      claimed === undefined && recorded.type === "written" ? jobAgain(job, recorded) : job,
      settledBy(conclusion),
      codec.keep && { ...steps, codec },
    );
    const isGone = kept === undefined && (await remove(steps, job, conclusion));
    if (isGone && !hasAfter) ran?.settling(steps.unit);
    return { kept, isGone };
  };
  let stored: Stored;
  /** Of what was stored; there is none where that was refused. */
  let following!: ReturnType<typeof follow>;
  try {
    // Handed back, it would run once more. Where its unit cannot be committed, nothing was done of what that was answered.
    stored = await withPatience(context, async () => {
      const stored = await storeAsFits(engine, message.id, outcome, (codec, isKeeping) =>
        store(context, job, traced, ran, now, codec, isKeeping),
      );
      if (stored.recorded.type === "refused") return stored;
      following = follow(stored);
      await following.catch(() => {});
      await stored.steps.unit?.committed;
      return stored;
    });
  } catch (error) {
    const isSaid = outcome.type === "failure" && Object(outcome.error).name === (error as Error).name;
    if (!isLasting(error) || isSaid) throw error;
    // It is too large, or cannot be written, at any other try too: that is how the task ended, and no failure of the system.
    const failure: Outcome = { type: "failure", error, expected: false, abandoned };
    return settle(context, job, { ...traced, outcome: failure }, ran);
  }
  const { conclusion, recorded } = stored;
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
  // Hooks are of the outcome, which is stored: whoever meets the message again sends what follows, and runs none.
  reportEnd(context, job, traced, conclusion);
  const inTime = !hasAfter || (await runAfter(context, job, traced, conclusion, ran));
  const { kept, isGone } = await following;
  const disposition = isGone ? DELETED : kept ? keepPlace(context, kept) : await dispose(context, job, conclusion);
  return { disposition, abandoned: abandoned || !inTime, ran: ranTask(outcome, conclusion) };
}

/** What was answered when an outcome was stored. */
interface Stored {
  /** In whose unit, where there is one, what follows is done too. */
  readonly steps: WorkerContext;
  /** How the result was written. */
  readonly codec: MetaCodec;
  readonly conclusion: Conclusion;
  readonly recorded: Recorded;
}

/** Stores an outcome in one form. `isKeeping`: with its message, where it failed. */
async function store(
  context: WorkerContext,
  job: Job,
  traced: Traced,
  ran: Ran | undefined,
  now: number,
  codec: MetaCodec,
  isKeeping: boolean,
): Promise<Stored> {
  const { engine } = context;
  const { key, message, source, claimed } = job;
  const { outcome, children, runtime } = traced;
  const facts = factsOf(context, job, children);
  const concluded = conclude(engine, isKeeping ? facts : { ...facts, keep: undefined }, outcome, codec);
  const conclusion = concluded instanceof Promise ? await concluded : concluded;
  const ended = {
    outcome,
    conclusion,
    began: ran?.began,
    runtime,
    runs: claimed?.runs ?? 1,
    unkept: engine.config.keepFailed && conclusion.status === FAILURE && !isRepeatable(conclusion.command),
  };
  const entry = isKept(engine) ? attemptEntry(context, job, ended) : undefined;
  const begun = together(context);
  const steps = begun instanceof Promise ? await begun : begun;
  const unclaimed = claimed === undefined;
  const recorded = await steps.apply({
    type: "final",
    key,
    now,
    ttl: engine.ttl(),
    ...conclusion.command,
    unclaimed,
    entry,
    ...(unclaimed && source.redrive !== undefined && { redrive: source.redrive }),
    ...(unclaimed && { sent: sentOf(message) }),
  });
  return { steps, codec, conclusion, recorded };
}

type Store = (codec: MetaCodec, isKeeping: boolean) => Promise<Stored>;

/** Stores an outcome as it is, or where no row has room for that in a smaller form. */
async function storeAsFits(engine: Engine, id: string, outcome: Outcome, store: Store): Promise<Stored> {
  const { codec, config } = engine;
  const outside = async () => {
    // An error is Celery's own form of one, which a pointer is not.
    const pointing = outcome.type === "success" ? await outsideRow(engine, id) : undefined;
    return pointing && store(pointing, false);
  };
  // What no row will take is not made a text to find out.
  const isLong = outcome.type === "success" && holdsLong(outcome.value);
  const long = isLong ? await outside() : undefined;
  if (long !== undefined) return long;
  /** Each is tried where all before it were too large; `undefined`: it is not for this outcome. */
  const ways: readonly (() => MaybePromise<Stored | undefined>)[] = [
    () => store(codec, true),
    () => (outcome.type === "failure" && config.keepFailed ? store(codec, false) : undefined),
    // Celery reads it from 5.7 on only, but no reader would get more of a result that was not stored.
    () => (codec.compression === undefined ? store({ ...codec, compression: "gzip" }, false) : undefined),
    outside,
  ];
  let tooLarge: unknown;
  for (const way of ways) {
    try {
      const stored = await way();
      if (stored !== undefined) return stored;
    } catch (error) {
      if (!(error instanceof PayloadTooLarge)) throw error;
      tooLarge = error;
    }
  }
  throw tooLarge;
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
