/** A job asks the rate of its task. */
import type { Engine } from "../engine.ts";
import { type askRate, holdRate, type Rate, type RateAnswer, type RateAsk, rateText } from "../limits/rate.ts";
import { limitRow, rateInForce, type RateOrder, readRateOrder } from "../limits/rows.ts";
import type { LimitStore } from "../limits/store.ts";
import { errbackArguments } from "../tasks/errback.ts";
import { keyOfCall, limitsOf } from "../tasks/limits.ts";
import type { Job, WorkerContext } from "./context.ts";
import type { Disposition } from "./disposition.ts";
import { wait } from "./limited-wait.ts";

/** Where a broker's delays are of whole seconds, who comes at its time waits the rest of one here. */
const PATIENCE_MS = 1_000;
/** An order of `app.control.rateLimit` is seen after so long at the latest, in milliseconds. */
const ORDER_SEEN_MS = 5_000;

interface Seen {
  readonly order: RateOrder | undefined;
  readonly at: number;
}

/** What a process knows of limits. */
interface Known {
  readonly orders: Map<string, Seen>;
  /** By so much this machine's clock is behind the fastest one that rows tell of, in milliseconds. */
  behind: number;
}

const known = new WeakMap<LimitStore, Known>();

function knownOf(store: LimitStore): Known {
  const there = known.get(store) ?? { orders: new Map(), behind: 0 };
  known.set(store, there);
  return there;
}

/** The rate in force for a job, with the moment that it was set at, so that what was told before is told anew. */
export async function rateOf(engine: Engine, store: LimitStore, task: string, declared: Rate): Promise<[Rate, string]> {
  const { orders } = knownOf(store);
  const now = engine.clock.now();
  let seen = orders.get(task);
  if (seen === undefined || Math.abs(now - seen.at) >= ORDER_SEEN_MS) {
    seen = { order: await readRateOrder(store, task), at: now };
    orders.set(task, seen);
  }
  const rate = rateInForce(declared, seen.order);
  return [rate, `${rateText(rate)}@${seen.order?.at ?? 0}`];
}

export const patienceOf = async (engine: Engine): Promise<number> =>
  Number.isFinite((await engine.broker()).limits.maxDelaySeconds) ? PATIENCE_MS : 0;

/** What its keys are made of. */
export const callOf = ({ message: { headers, args, kwargs } }: Job) => ({
  args: errbackArguments(headers, args),
  kwargs,
});

/** Asks by a clock that is not behind the one that others have asked by. */
export async function askRateOf(
  engine: Engine,
  store: LimitStore,
  row: string,
  ask: Omit<RateAsk, "now">,
  decision: typeof askRate,
): Promise<RateAnswer> {
  const process = knownOf(store);
  let now = 0;
  const answer = await store.decide(row, (state) => {
    // When it is decided, which may be long after it was asked, and again: others were quicker.
    now = engine.clock.now();
    return decision(state, { ...ask, now: now + process.behind });
  });
  process.behind = Math.max(process.behind, answer.clock - now);
  return answer;
}

export function waitForRate(
  context: WorkerContext,
  job: Job,
  { at, clock }: RateAnswer,
  rate: string,
): Promise<Disposition> {
  return wait(context, job, { until: context.engine.clock.now() + at - clock, told: { at, rate } }, "rateLimit");
}

/** Of a run that was told that it comes too often: nothing of its key starts for so many seconds, and it is sent anew for after that. */
export async function waitOutRate(context: WorkerContext, job: Job, retryAfter: number): Promise<Disposition> {
  const { engine } = context;
  const { message, task, options } = job;
  const declared = limitsOf(options).rate;
  // `self.rateLimited()` throws where there is none.
  if (declared === undefined) return { type: "handBack", visibility: retryAfter * 1000 };
  const store = await engine.limits();
  const [rate, text] = await rateOf(engine, store, message.task, declared.rate);
  const row = await limitRow("rate", message.task, await keyOfCall(task, "rateLimit", declared.key, callOf(job)));
  const ask = { rate, text, patience: 0 };
  const answer = await askRateOf(engine, store, row, ask, (state, asked) => holdRate(state, asked, retryAfter * 1000));
  return waitForRate(context, job, answer, text);
}
