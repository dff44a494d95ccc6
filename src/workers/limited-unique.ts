/** A job whose task is unique: it runs with the arguments of the last call, and frees its key when it is over. */
import type { LimitStore } from "../limits/store.ts";
import { beginUnique, endUnique, seeUnique, tellBegun } from "../limits/unique.ts";
import { createMessage } from "../protocol/message.ts";
import { parseValue } from "../protocol/values.ts";
import { isEnded } from "../results/record.ts";
import { RETRY } from "../states.ts";
import type { Uniqueness } from "../tasks/limits.ts";
import type { Job, WorkerContext } from "./context.ts";
import { wait } from "./limited-wait.ts";
import { nameOf, stackOf } from "./report.ts";
import type { Run } from "./worker.ts";

/** Arguments that were replaced are kept for so long, in milliseconds: longer than a queue keeps a message. */
const CALL_MS = 15 * 86_400_000;
/** The state of who is told that a run has ended and stored none. */
const IGNORED = "IGNORED";

export interface UniqueJob extends Uniqueness {
  readonly row: string;
  readonly store: LimitStore;
}

/** Further calls may have put a debounced one off: then it waits. */
export async function waitForCalls(context: WorkerContext, job: Job, { row, store, debounce }: UniqueJob) {
  if (debounce === undefined) return undefined;
  const seen = await store.decide(row, (state) => seeUnique(state, job.message.id));
  if (seen === undefined || seen.due <= context.engine.clock.now()) return undefined;
  return wait(context, job, { until: seen.due }, "debounce");
}

/** Where the arguments of the last call are kept, from when the row is gone until the task has ended. */
const callRow = (job: Job): string => `call-${job.message.id}`;

/** The job with the arguments of the last call so far. */
export async function lastCall(context: WorkerContext, job: Job, { row, store }: UniqueJob): Promise<Job> {
  const seen = await store.decide(row, (state) => seeUnique(state, job.message.id));
  const call = seen === undefined ? await keptCall(job, store) : seen.call;
  return call === undefined ? job : withCall(context, job, call);
}

/** What a message that had begun before was to run with. A later attempt has arguments of its own. */
const keptCall = async (job: Job, store: LimitStore): Promise<string | undefined> =>
  job.message.retries > 0 ? undefined : store.decide(callRow(job), (state) => ({ answer: state }));

/** The job as it starts: with the arguments of the last call, and unique no more. */
export async function beginAs(context: WorkerContext, job: Job, { row, store, replaces }: UniqueJob): Promise<Job> {
  const { engine } = context;
  const { id } = job.message;
  for (;;) {
    const seen = await store.decide(row, (state) => seeUnique(state, id));
    if (seen === undefined) break;
    const { call, calls } = seen;
    // If it dies now, what takes it up finds them here.
    if (call !== undefined)
      await store.decide(callRow(job), () => ({
        write: { state: call, expires: engine.clock.now() + CALL_MS },
        answer: undefined,
      }));
    if (!(await store.decide(row, (state) => beginUnique(state, id, calls)))) continue;
    return call === undefined ? job : withCall(context, job, call);
  }
  const call = replaces ? await keptCall(job, store) : undefined;
  return call === undefined ? job : withCall(context, job, call);
}

async function withCall({ engine }: WorkerContext, job: Job, call: string): Promise<Job> {
  const { args, kwargs } = parseValue(await engine.wholeText(call)) as Pick<Job["message"], "args" | "kwargs">;
  return { ...job, message: createMessage({ ...job.message, args, kwargs, argsrepr: null, kwargsrepr: null }) };
}

/** When it is over, for good, it is unique no more. */
export const ending = (context: WorkerContext, run: Run, job: Job, unique: UniqueJob): Run => ({
  ...run,
  async execute(...given) {
    const ended = await run.execute(...given);
    const state = ended.ran?.state;
    if (state === undefined || state === RETRY) return ended;
    // Without a state it ignores its outcome, goes on from a checkpoint, or something else took its place.
    const goesOn = state === IGNORED && !(await hasEnded(context, job).catch(() => false));
    await (goesOn ? goOn(context, job, unique) : free(context, job, unique));
    return ended;
  },
});

export async function hasEnded({ read }: WorkerContext, { key }: Job): Promise<boolean> {
  const [row] = await read([key]);
  return row !== undefined && isEnded(row);
}

/** Never throws: the row ends by itself, and a caller looks whether its task has ended. */
export async function free({ log }: WorkerContext, job: Job, { row, store }: UniqueJob): Promise<void> {
  await store
    .decide(row, (state) => endUnique(state, job.message.id))
    .catch((error: unknown) =>
      log("warning", `The key of ${nameOf(job.message)} could not be given back: ${stackOf(error)}`),
    );
}

/** What takes its place does not know of the key: a caller sees by the result that all is over. Never throws. */
async function goOn({ log }: WorkerContext, job: Job, { row, store }: UniqueJob): Promise<void> {
  await store
    .decide(row, (state) => tellBegun(state, job.message.id))
    .catch((error: unknown) =>
      log("warning", `It could not be noted that ${nameOf(job.message)} goes on: ${stackOf(error)}`),
    );
}
