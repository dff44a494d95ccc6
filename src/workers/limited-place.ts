/** A job takes one of the places of its task, and gives it back; who waits for one is woken by whoever leaves. */
import { isFifo, type Outgoing } from "../brokers/broker.ts";
import { askPlace, keptFor, leavePlace, type PlaceAnswer, type PlaceAsk } from "../limits/places.ts";
import type { LimitStore } from "../limits/store.ts";
import { taskKey } from "../results/backend.ts";
import { isRunBy, LEASE_MARGIN_MS } from "../results/record.ts";
import type { Job, WorkerContext } from "./context.ts";
import type { Disposition } from "./disposition.ts";
import { packed, wait, type Waits } from "./limited-wait.ts";
import { nameOf, stackOf } from "./report.ts";

/** A longer message, in characters, cannot be woken: it comes back by itself. */
const MOST_PARKED = 65_536;

/** A message that can be woken is kept so long beyond the time at which it comes back by itself, in milliseconds. */
const PARKED_MS = 15_000;

/** In place of a message that was to be woken and was not there yet. */
const CALLED = "called";

/** A place that cannot be given back is tried again after so long, and twice as long each time … */
const LEAVE_RETRY_MS = 200;
/** … so often. Then its lease ends it. */
const LEAVE_TRIES = 5;

type Admitted = Extract<PlaceAnswer, { readonly type: "admitted" | "wait" }>;

export async function takePlace(
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

export async function waitForPlace(
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

/** Gives the place of an owner back, and wakes who is the next. Never throws: what keeps it from that ends with the lease. */
export async function leaveSoon(
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
