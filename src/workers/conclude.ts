/**
 * From an outcome to the row that is stored of it. What follows from the row is in `follow.ts`.
 */
import type { RanTask } from "../around.ts";
import type { Engine } from "../engine.ts";
import { EncodeError, TaskRevokedError, WorkerLostError } from "../errors.ts";
import { exceptionToData } from "../protocol/exceptions.ts";
import { attemptOf, type Message } from "../protocol/message.ts";
import { encodeMeta, type Meta, type MetaCodec, type ResultTuple } from "../protocol/meta.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import { formatTime } from "../protocol/time.ts";
import { writeKept } from "../results/kept.ts";
import type { Final } from "../results/record.ts";
import { FAILURE, PENDING, RETRY, REVOKED, SUCCESS } from "../states.ts";
import type { Job, WorkerContext } from "./context.ts";
import { type Settled, type Source, successorTuples } from "./follow.ts";
import { type Next, nextOf } from "./next.ts";
import type { Outcome } from "./trace.ts";

/** The facts of a run that its row tells. */
export interface Facts {
  readonly message: Message;
  readonly hostname: string;
  readonly owner: string;
  readonly children: readonly ResultTuple[];
  readonly ignoreResult: boolean;
  readonly storeErrorsEvenIfIgnored: boolean;
  readonly source: Source;
  /** What a failure keeps of its message: `Row.kept`. */
  readonly keep?: (() => string) | undefined;
}

export function factsOf(
  { engine, hostname }: WorkerContext,
  { delivery, message, owner, request, options, source }: Job,
  children: readonly ResultTuple[],
): Facts {
  return {
    message,
    hostname,
    owner,
    children,
    ignoreResult: request.ignoreResult,
    storeErrorsEvenIfIgnored: options.storeErrorsEvenIfIgnored ?? engine.config.taskStoreErrorsEvenIfIgnored,
    source,
    ...(engine.config.keepFailed && {
      keep: () => writeKept({ ...delivery, groupId: source.place?.group ?? delivery.groupId }),
    }),
  };
}

/** Whether readers are shown nothing of a run. A chord's member is always readable: its result is what the body is given. */
export const isHidden = ({ ignoreResult, message, storeErrorsEvenIfIgnored }: Facts, failed: boolean): boolean =>
  ignoreResult && message.chord === null && !(failed && storeErrorsEvenIfIgnored);

/** What the row of an outcome says. */
export interface Conclusion {
  /** `undefined`: no state of its own, as for `Ignore`. */
  readonly status: string | undefined;
  readonly error: unknown;
  readonly traceback: string | null;
  readonly command: Omit<Final, "key" | "now" | "ttl" | "type">;
}

/** An end, as those are told who lay something around a run. */
export const ranTask = (outcome: Outcome, { status, error }: Conclusion): RanTask => ({
  state: status ?? "IGNORED",
  error: error ?? undefined,
  expected: outcome.type === "failure" && outcome.expected,
});

/**
 * The row of an outcome. A result that cannot be stored makes the outcome a failure that says so. `codec` is how the
 * result is written.
 */
export function conclude(
  engine: Engine,
  facts: Facts,
  outcome: Outcome,
  codec: MetaCodec = engine.codec,
): MaybePromise<Conclusion> {
  const instead = (error: unknown): MaybePromise<Conclusion> => {
    if (!(error instanceof EncodeError) || outcome.type === "failure") throw error;
    return concludeAs(engine, facts, { type: "failure", error, expected: false, abandoned: false }, codec);
  };
  try {
    const conclusion = concludeAs(engine, facts, outcome, codec);
    return conclusion instanceof Promise ? conclusion.catch(instead) : conclusion;
  } catch (error) {
    return instead(error);
  }
}

function concludeAs(engine: Engine, facts: Facts, outcome: Outcome, codec: MetaCodec): MaybePromise<Conclusion> {
  const store = (status: string, value: unknown, ending: Ending) => stored(engine, facts, codec, status, value, ending);
  switch (outcome.type) {
    case "success":
      return store(SUCCESS, outcome.value, { done: true });
    case "failure":
      // What killed workers is kept among the dead letters, to be looked into.
      return outcome.error instanceof WorkerLostError
        ? store(FAILURE, outcome.error, { done: true, buried: true })
        : store(FAILURE, outcome.error, { done: true, kept: facts.keep?.() });
    case "revoked":
      return store(REVOKED, new TaskRevokedError(outcome.reason), { done: true });
    case "reject":
      return store(FAILURE, outcome.error, { done: true, buried: true });
    case "retry":
      return store(RETRY, outcome.reason, { done: false, next: { retry: outcome.change } });
    case "checkpoint":
      return unstored(facts, { done: false, next: { retry: outcome.change } });
    case "ignore":
      return unstored(facts, { done: true, next: { ignored: true } });
    case "replace":
      return unstored(facts, { done: false, next: { replace: outcome.signature } });
    default:
      return outcome satisfies never;
  }
}

type Ending = Pick<Final, "done" | "buried" | "kept"> & { readonly next?: Next };

const base = (facts: Facts, { next, ...ending }: Ending): Conclusion["command"] => ({
  attempt: attemptOf(facts.message),
  owner: facts.owner,
  hidden: facts.ignoreResult,
  next: nextOf(facts.source, next),
  ...ending,
});

/** The state last stored stays, as if the run had not been. */
const unstored = (facts: Facts, ending: Ending): Conclusion => ({
  status: undefined,
  error: null,
  traceback: null,
  command: base(facts, ending),
});

/** `value`: the result, or else the error. */
function stored(
  engine: Engine,
  facts: Facts,
  codec: MetaCodec,
  status: string,
  value: unknown,
  ending: Ending,
): MaybePromise<Conclusion> {
  const failed = status !== SUCCESS;
  const { data, traceback } = failed ? exceptionToData(value) : { data: value, traceback: null };
  // A revoked task has no stack worth reading; Celery stores none.
  const shown = status === REVOKED ? null : traceback;
  const meta = describe(engine, facts, status, data, shown);
  return whenReady(encodeMeta(meta, codec), (result) => ({
    status,
    error: failed ? value : null,
    traceback: shown,
    command: { ...base(facts, ending), result, hidden: isHidden(facts, failed) },
  }));
}

/** The part of a row that its follow-ups are derived from. */
export const settledBy = ({ command: { result = "", next } }: Conclusion): Settled =>
  next === undefined ? { result } : { result, next };

/** The meta of a task in a state. */
export function describe(
  engine: Engine,
  facts: Facts,
  status: string,
  result: unknown,
  traceback: string | null,
): Meta {
  const { message } = facts;
  return {
    status,
    result,
    traceback,
    children: [...facts.children, ...(status === SUCCESS ? successorTuples(message) : [])],
    dateDone: formatTime(engine.clock.now()),
    taskId: message.id,
    groupId: message.group ?? undefined,
    parentId: message.parentId ?? undefined,
    extended: engine.config.resultExtended
      ? {
          name: message.task,
          args: message.args,
          kwargs: message.kwargs,
          worker: facts.hostname,
          retries: message.retries,
          queue: facts.source.queue,
          stampedHeaders: message.stampedHeaders ?? undefined,
          stamps: message.stamps,
        }
      : undefined,
  };
}

/** What is read of a task that waits (again). */
export const waitingMeta = (context: WorkerContext, job: Job) =>
  encodeMeta(describe(context.engine, factsOf(context, job, []), PENDING, null, null), context.engine.codec);

/**
 * Gives the claim of a job up: it ended without an outcome, and whoever looks is to see that it waits. The next claim counts no
 * death unless it `died`.
 */
export async function releaseToWait(context: WorkerContext, job: Job, died?: boolean): Promise<void> {
  const { key, owner } = job;
  const result = await waitingMeta(context, job);
  await context.apply({ type: "release", key, owner, now: context.engine.clock.now(), result, died });
}
