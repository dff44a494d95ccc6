/**
 * The step of a delivery whose task has limits: it is admitted, or it waits. Who waits is sent anew for its own time, and
 * the message that came is deleted: neither a receive nor a retry counts it.
 */
import { isFifo, type Outgoing } from "../brokers/broker.ts";
import type { Engine } from "../engine.ts";
import { PayloadTooLarge } from "../errors.ts";
import { askPlace, keptFor, leavePlace, type PlaceAnswer, type PlaceAsk } from "../limits/places.ts";
import type { ConcurrencyLimit, LimitKey } from "../limits/declare.ts";
import { askRate, holdRate, type Rate, type RateAnswer, type RateAsk, rateText } from "../limits/rate.ts";
import { limitRow, rateInForce, type RateOrder, readRateOrder } from "../limits/rows.ts";
import type { LimitStore } from "../limits/store.ts";
import { beginUnique, endUnique, seeUnique, tellBegun } from "../limits/unique.ts";
import { createMessage, isExpired, UNIQUE_HEADER } from "../protocol/message.ts";
import { formatTime, parseTime } from "../protocol/time.ts";
import { parseValue } from "../protocol/values.ts";
import { RETRY } from "../states.ts";
import { taskKey } from "../results/backend.ts";
import { type Claim, decide, isEnded, isRunBy, LEASE_MARGIN_MS } from "../results/record.ts";
import { errbackArguments } from "../tasks/errback.ts";
import { isUnique, keyOfCall, limitsOf, type Uniqueness, uniquenessOf } from "../tasks/limits.ts";
import { pack } from "../tasks/publish.ts";
import { claimOf, type Job, type WorkerContext } from "./context.ts";
import { DELETE, type Disposition } from "./disposition.ts";
import { isKept, waitingEntry } from "./note.ts";
import { fieldsOf, nameOf, stackOf } from "./report.ts";
import type { Admission, Run } from "./worker.ts";

/** Where a broker's delays are of whole seconds, who comes at its time waits the rest of one here. */
const PATIENCE_MS = 1_000;
/** An order of `app.control.rateLimit` is seen after so long at the latest, in milliseconds. */
const ORDER_SEEN_MS = 5_000;
/** Where nothing bounds a delay, who waits looks so often whether its rate has changed, in milliseconds. */
const LOOK_MS = 60_000;
/** A longer message, in characters, cannot be woken: it comes back by itself. */
const MOST_PARKED = 65_536;
/** A message that can be woken is kept so long beyond the time at which it comes back by itself, in milliseconds. */
const PARKED_MS = 15_000;
/** In place of a message that was to be woken and was not there yet. */
const CALLED = "called";
/** Arguments that were replaced are kept for so long, in milliseconds: longer than a queue keeps a message. */
const CALL_MS = 15 * 86_400_000;
/** The state of who is told that a run has ended and stored none. */
const IGNORED = "IGNORED";
/** A place that cannot be given back is tried again after so long, and twice as long each time … */
const LEAVE_RETRY_MS = 200;
/** … so often. Then its lease ends it. */
const LEAVE_TRIES = 5;

/** The option of a declaration that a task waits for. */
type LimitName = "rateLimit" | "concurrency" | "debounce";

/** What a message carries that has waited: the text attribute `waits`, as JSON. */
interface Waits {
  /** Until when, in milliseconds since the epoch, by the clock of who sent it; 0: it was woken. */
  readonly until: number;
  /** What it was told by the row of its rate. */
  readonly told?: { readonly at: number; readonly rate: string };
  /** Its turn among those who wait for a place. */
  readonly ticket?: number;
}

function waitsOf({ attributes: { waits } }: Job["delivery"]): Waits | undefined {
  if (waits === undefined) return undefined;
  try {
    return JSON.parse(waits) as Waits;
  } catch {
    return undefined;
  }
}

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
async function rateOf(engine: Engine, store: LimitStore, task: string, declared: Rate): Promise<[Rate, string]> {
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

/**
 * Has a job claimed once its limits admit it, and gives back what it was given when its run is over. Throws where the rows of
 * limits cannot be read or written: the message is handed back, and nothing runs without its limits.
 */
export async function admitByLimits(
  context: WorkerContext,
  job: Job,
  claimJob: (job: Job) => Promise<Admission>,
): Promise<Admission> {
  const row = job.message.headers[UNIQUE_HEADER];
  if (typeof row !== "string" || !isUnique(job.options)) return admitOne(context, job, () => claimJob(job));
  const unique: UniqueJob = { row, store: await context.engine.limits(), ...uniquenessOf(job.options) };
  const early = await waitForCalls(context, job, unique);
  if (early !== undefined) return { disposition: early };
  // One that is unique until it starts has begun.
  if (unique.until === "start") return admitAsCalled(context, job, unique, claimJob);
  const admission = await admitOne(context, job, () => claimJob(job));
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
async function admitAsCalled(
  context: WorkerContext,
  job: Job,
  unique: UniqueJob,
  claimJob: (job: Job) => Promise<Admission>,
): Promise<Admission> {
  const { rate, concurrency } = limitsOf(job.options);
  const isKeyed = rate?.key !== undefined || concurrency?.key !== undefined;
  if (!unique.replaces || !isKeyed)
    return admitOne(context, job, async () => claimJob(await beginAs(context, job, unique)));
  const asked = await lastCall(context, job, unique);
  let begun = asked;
  const admission = await admitOne(context, asked, async () => {
    begun = await beginAs(context, job, unique);
    return (await hasSameKeys(asked, begun)) ? claimJob(begun) : ANEW;
  });
  // Once it has begun no call changes it any more.
  return admission === ANEW ? admitOne(context, begun, () => claimJob(begun)) : admission;
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

async function admitOne(context: WorkerContext, job: Job, claim: () => Promise<Admission>): Promise<Admission> {
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
    return claim();
  }
  const store = await engine.limits();
  const rate = limits.rate && (await rateOf(engine, store, job.message.task, limits.rate.rate));
  if (waits !== undefined) {
    const isEarly = waits.until > now && (rate === undefined || waits.told?.rate === rate[1]);
    if (isEarly) return { disposition: await wait(context, job, waits) };
    // Its row says whether it was revoked, or has run from another copy of its message.
    if (await isOver(context, job)) {
      await passOn();
      return claimOnly(claim);
    }
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
    const admission = await claim();
    if ("run" in admission) return { run: limited(context, job, admission.run, leave) };
    await leave();
    return admission;
  } catch (error) {
    await leave();
    throw error;
  }
}

const callOf = ({ message: { headers, args, kwargs } }: Job) => ({ args: errbackArguments(headers, args), kwargs });

const patienceOf = async (engine: Engine): Promise<number> =>
  Number.isFinite((await engine.broker()).limits.maxDelaySeconds) ? PATIENCE_MS : 0;

/** Whether a claim would not be given. */
async function isOver(context: WorkerContext, job: Job): Promise<boolean> {
  if (job.options.claim === false) return false;
  const asked: Claim = { ...claimOf(context, job), hidden: false, result: "" };
  const [row] = await context.read([asked.key]);
  if (row === undefined) return false;
  return decide(row, asked).outcome.type !== "claimed";
}

/** Has a job claimed that is over: who ran it, or revoked it, is to be told so. */
async function claimOnly(claim: () => Promise<Admission>): Promise<Admission> {
  const admission = await claim();
  // It is not over after all: then it has to ask.
  if ("run" in admission && !admission.run.decided) return { disposition: await admission.run.release() };
  return admission;
}

// ── uniqueness ───────────────────────────────────────────────────────────────────────────────────────────────────────

interface UniqueJob extends Uniqueness {
  readonly row: string;
  readonly store: LimitStore;
}

/** Further calls may have put a debounced one off: then it waits. */
async function waitForCalls(context: WorkerContext, job: Job, { row, store, debounce }: UniqueJob) {
  if (debounce === undefined) return undefined;
  const seen = await store.decide(row, (state) => seeUnique(state, job.message.id));
  if (seen === undefined || seen.due <= context.engine.clock.now()) return undefined;
  return wait(context, job, { until: seen.due }, "debounce");
}

/** Where the arguments of the last call are kept, from when the row is gone until the task has ended. */
const callRow = (job: Job): string => `call-${job.message.id}`;

/** The job with the arguments of the last call so far. */
async function lastCall(context: WorkerContext, job: Job, { row, store }: UniqueJob): Promise<Job> {
  const seen = await store.decide(row, (state) => seeUnique(state, job.message.id));
  const call = seen === undefined ? await keptCall(job, store) : seen.call;
  return call === undefined ? job : withCall(context, job, call);
}

/** What a message that had begun before was to run with. A later attempt has arguments of its own. */
const keptCall = async (job: Job, store: LimitStore): Promise<string | undefined> =>
  job.message.retries > 0 ? undefined : store.decide(callRow(job), (state) => ({ answer: state }));

/** The job as it starts: with the arguments of the last call, and unique no more. */
async function beginAs(context: WorkerContext, job: Job, { row, store, replaces }: UniqueJob): Promise<Job> {
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
const ending = (context: WorkerContext, run: Run, job: Job, unique: UniqueJob): Run => ({
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

async function hasEnded(context: WorkerContext, job: Job): Promise<boolean> {
  const [row] = await context.read([taskKey(job.message.id)]);
  return row !== undefined && isEnded(row);
}

/** Never throws: the row ends by itself, and a caller looks whether its task has ended. */
async function free({ log }: WorkerContext, job: Job, { row, store }: UniqueJob): Promise<void> {
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

// ── a rate ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Asks by a clock that is not behind the one that others have asked by. */
async function askRateOf(
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

function waitForRate(context: WorkerContext, job: Job, { at, clock }: RateAnswer, rate: string): Promise<Disposition> {
  return wait(context, job, { until: context.engine.clock.now() + at - clock, told: { at, rate } }, "rateLimit");
}

/** Of a run that was told that it comes too often: nothing of its key starts for so many seconds, and it is sent anew for after that. */
async function waitOutRate(context: WorkerContext, job: Job, retryAfter: number): Promise<Disposition> {
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

// ── a place ──────────────────────────────────────────────────────────────────────────────────────────────────────────

type Admitted = Extract<PlaceAnswer, { readonly type: "admitted" | "wait" }>;

async function takePlace(
  context: WorkerContext,
  store: LimitStore,
  job: Job,
  row: string,
  limit: number,
  ticket: number | undefined,
): Promise<Admitted> {
  const { engine, lease } = context;
  const { owner, message } = job;
  const asked: PlaceAsk = {
    now: engine.clock.now(),
    limit,
    owner,
    id: message.id,
    canBeWoken: canBeWoken(job),
    lease: lease(),
    ticket,
  };
  const ask = (more: Partial<PlaceAsk>) => store.decide(row, (state) => askPlace(state, { ...asked, ...more }));
  /** Who has come by itself is not to be woken. */
  const settled = async (answer: Admitted): Promise<Admitted> => {
    if (answer.type === "admitted" && answer.uncalled !== undefined)
      await store.decide(parkedRow(row, answer.uncalled), () => ({ write: null, answer: undefined }));
    return answer;
  };
  const first = await ask({});
  const answer = first.type === "stale" ? await ask({ ticket: undefined }) : first;
  if (answer.type === "admitted" || answer.type === "wait") return settled(answer);
  const lapsed = answer.type === "lapsed" ? answer.holders : [];
  const rows = await context.read(lapsed.map(({ id }) => taskKey(id)));
  const known = new Map(
    lapsed.map(({ owner }, at) => {
      const there = rows[at];
      return [owner, there !== undefined && isRunBy(there, { owner }) ? there.lease : undefined] as const;
    }),
  );
  const again = await ask({ ticket: first.type === "stale" ? undefined : ticket, known });
  return again.type === "admitted" || again.type === "wait"
    ? settled(again)
    : { type: "wait", ms: LEASE_MARGIN_MS, ticket: undefined };
}

/** Where the message waits by which a ticket is woken. */
const parkedRow = (row: string, ticket: number): string => `parked-${row}-${ticket}`;

/** What is larger comes back by itself alone. */
const canBeWoken = ({ delivery: { body, queue } }: Job): boolean => body.length <= MOST_PARKED && !isFifo(queue);

async function waitForPlace(
  context: WorkerContext,
  store: LimitStore,
  job: Job,
  row: string,
  { ms, ticket }: Extract<PlaceAnswer, { readonly type: "wait" }>,
  before: Waits | undefined,
): Promise<Disposition> {
  const { engine } = context;
  const { clock, random } = { clock: engine.clock, random: engine.platform.random };
  // Those who have no ticket come back one after the other.
  const until = Math.round(clock.now() + ms * (ticket === undefined ? 1 + random() : 1));
  const waits: Waits = {
    until,
    ...(ticket !== undefined && { ticket }),
    ...(before?.told !== undefined && { told: before.told }),
  };
  // Whoever leaves a place sends it again from here.
  if (ticket !== undefined) {
    const called: Waits = { ...waits, until: 0 };
    const { delaySeconds: _, due: __, ...woken } = await packed(engine, job, 0, called);
    const parked = { state: JSON.stringify(woken), expires: until + PARKED_MS };
    const isCalled = await store.decide(parkedRow(row, ticket), (state) =>
      state === CALLED ? { write: null, answer: true } : { write: parked, answer: false },
    );
    // A place is kept for it already.
    if (isCalled) return wait(context, job, called);
  }
  return wait(context, job, waits, "concurrency");
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

/** Gives the place of an owner back, and wakes who is the next. Never throws: what keeps it from that ends with the lease. */
async function leaveSoon(
  { engine, log }: WorkerContext,
  store: LimitStore,
  job: Job,
  row: string,
  owner: string,
): Promise<void> {
  const { clock } = engine;
  let leaving = owner;
  for (let tries = 1; ; tries++) {
    try {
      for (;;) {
        const { wake, isYoung } = await store.decide(row, (state) => leavePlace(state, leaving, clock.now()));
        if (wake === undefined) return;
        const parked = await store.decide(parkedRow(row, wake), (state) => {
          if (state !== undefined) return { write: null, answer: state };
          // Who has that ticket may not have left its message yet: then it is told so when it does.
          return { answer: undefined, ...(isYoung && { write: { state: CALLED, expires: clock.now() + PARKED_MS } }) };
        });
        if (parked !== undefined && parked !== CALLED) await engine.outbox.send(JSON.parse(parked) as Outgoing);
        if (parked !== undefined || isYoung) return;
        // It waits no more: it has expired, say.
        leaving = keptFor(wake);
      }
    } catch (error) {
      if (tries === LEAVE_TRIES) {
        log(
          "warning",
          `The place of ${nameOf(job.message)} could not be given back, and ends with its lease: ${stackOf(error)}`,
        );
        return;
      }
      await clock.sleep(LEAVE_RETRY_MS * 2 ** tries);
    }
  }
}

// ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Sends a message anew for its own time, and has the one that came deleted. `why`: it is told that it waits, and for what. */
async function wait(context: WorkerContext, job: Job, waits: Waits, why?: LimitName): Promise<Disposition> {
  const { engine, log } = context;
  const { delivery, message } = job;
  const { queue } = delivery;
  const now = engine.clock.now();
  // What expires meanwhile is to end then, and not later.
  const expires = message.expires === null ? Number.POSITIVE_INFINITY : parseTime(message.expires) + 1;
  const until = Math.min(waits.until, expires);
  const stay: Disposition = { type: "handBack", visibility: until - now };
  // A FIFO queue takes no delay of a message: the declaration refuses one, and a call; this one came from elsewhere.
  if (isFifo(queue)) return stay;
  try {
    await engine.outbox.send(await packed(engine, job, Math.max(0, until - now), { ...waits, until }));
  } catch (error) {
    // It fills a message, and leaves no room to say that it waits.
    if (error instanceof PayloadTooLarge) return stay;
    throw error;
  }
  if (why === undefined) return DELETE;
  log("debug", `${nameOf(message)} waits for its ${why} until ${formatTime(until)}`, fieldsOf(message, queue));
  if (isKept(engine)) await context.note(waitingEntry(context, job, why, until));
  return DELETE;
}

/** The message as it came, to be had after so many milliseconds. */
async function packed(engine: Engine, { message, delivery }: Job, ms: number, waits: Waits): Promise<Outgoing> {
  const { queue, body } = delivery;
  const attributes = { ...delivery.attributes, waits: JSON.stringify(waits) };
  const { limits } = await engine.broker();
  // What looks now and then sees that its rate was changed.
  const longest = Number.isFinite(limits.maxDelaySeconds) ? ms : Math.min(ms, LOOK_MS);
  return pack(engine, { message, queue, body, attributes, at: engine.clock.now() + longest });
}
