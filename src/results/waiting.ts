/** Waiting for outcomes: one loop looks at the backend for everybody in the process who waits. */
import { type Clock, elapsedOf } from "../clock.ts";
import { TimeoutError } from "../errors.ts";
import type { Meta } from "../protocol/meta.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import { isReady, PENDING } from "../states.ts";
import { type Wait, waitList } from "../wait.ts";
import type { GetOptions } from "./async-result.ts";
import { type Backend, type Row, taskKey } from "./backend.ts";
import type { ResultReader, Way } from "./reader.ts";

/** The first look after the first one comes so soon, where the backend cannot tell of changes … */
const FIRST_INTERVAL_MS = 20;
/** … each next one a quarter later than the one before … */
const INTERVAL_GROWTH = 1.25;
/** … up to this. */
const LAST_INTERVAL_MS = 1000;
/** Who is due so soon is looked at with those who are due. */
const TOGETHER_MS = 15;
/** Where the backend does tell, a look that found nothing is repeated after this all the same. */
const SAFETY_INTERVAL_MS = 1000;
/**
 * Tasks end in about the order in which they were sent: of many that are waited for, so many are looked at first, and others
 * only where half of those have ended, or a look at all is due. Where the backend tells of changes, it is from `least` to `told`
 * of them; where it cannot, as many as DynamoDB reads in one request, and twice as many each time, as looks take their time.
 */
const LOOK_AT = { least: 25, told: 200, polled: 100 };
const MOST_AT_ONCE = 3200;

/** Why an alarm is not waited for. Without a reason of ours, each would make an error with a stack. */
const OVER = "over";

/** Between two looks passes so many times what a look took. */
const REST = 4;
/** … where it took longer than this. */
const LONG_LOOK_MS = 1.5;

/** One of perhaps tens of thousands: what it does not need it does not have. */
interface Waiter {
  readonly id: string;
  readonly resolve: (meta: Meta) => void;
  readonly reject: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
  /** Ends the wait when the signal says so. */
  onAbort: (() => void) | undefined;
  readonly ways: (() => readonly Way[]) | undefined;
  readonly fixed: number | undefined;
  /** Seconds, for the error. */
  readonly timeout: number;
  /** When to give up, as {@link elapsedOf} the clock counts it. */
  readonly deadline: number;
  interval: number;
  /** When to be looked at, counted in the same way. */
  next: number;
  /** The state last seen, for the message of a time-out. */
  state: string;
}

/** Who is looked at. */
interface Due {
  /** Their own time has come. */
  readonly urgent: readonly Waiter[];
  readonly others: readonly Waiter[] | ReadonlySet<Waiter>;
}

/** When a waiter is to be looked at whatever else is: it gives up, or has an interval of its own. */
const ownTime = ({ deadline, fixed, next }: Waiter): number =>
  fixed === undefined ? deadline : Math.min(deadline, next);

/** What a wait needs of the reader. */
export interface WaitingContext {
  readonly backend: () => Promise<Backend>;
  readonly clock: Clock;
  /** What the row of a task says. */
  readonly toMeta: (id: string, row: Row | undefined) => MaybePromise<Meta>;
  /** The same with its result, wherever it is kept. */
  readonly whole: (meta: Meta) => MaybePromise<Meta>;
  /**
   * The same error, with what else is known. Never rejects. Absent: nothing else is.
   *
   * @param ways See {@link ResultReader.wait}.
   */
  readonly explained?: (error: TimeoutError, ways: (() => readonly Way[]) | undefined) => Promise<TimeoutError>;
}

/** Makes the one {@link ResultReader.wait} of a reader. */
export function createWaiting(context: WaitingContext): ResultReader["wait"] {
  const { clock, toMeta, whole } = context;
  const waiters = new Set<Waiter>();
  /** What is waited for is counted by this: a clock that is set must neither end a wait nor keep it from looking. */
  const elapsed = () => elapsedOf(clock);
  /** The loop's rest between two looks. */
  let rest: Wait | undefined;
  let looking = false;
  /** When the loop looks at the latest, as {@link elapsed} counts: one timer does for many looks. */
  let alarm: { readonly at: number; readonly off: AbortController } | undefined;
  /** Until the next look at those that were passed over, in milliseconds. Short while tasks end. */
  let pace = FIRST_INTERVAL_MS;
  /** Where the backend tells of changes, so many are looked at first: twice as many as had ended at the last look. */
  let told: number = LOOK_AT.told;
  /** Nobody's own time comes before this, as {@link elapsed} counts. */
  let soonest = Number.POSITIVE_INFINITY;

  function wait(id: string, options: GetOptions, ways?: () => readonly Way[]): Promise<Meta> {
    return new Promise<Meta>((resolve, reject) => {
      const { timeout, interval, signal } = options;
      if (signal?.aborted) return reject(signal.reason);
      const now = elapsed();
      const waiter: Waiter = {
        id,
        resolve,
        reject,
        signal,
        onAbort: undefined,
        ways,
        fixed: interval === undefined ? undefined : Math.max(0, interval) * 1000,
        timeout: timeout ?? Number.POSITIVE_INFINITY,
        deadline: timeout === undefined ? Number.POSITIVE_INFINITY : now + timeout * 1000,
        interval: FIRST_INTERVAL_MS,
        next: now,
        state: PENDING,
      };
      if (signal !== undefined) {
        waiter.onAbort = () => give(waiter, undefined, signal.reason);
        signal.addEventListener("abort", waiter.onAbort);
      }
      waiters.add(waiter);
      soonest = Math.min(soonest, ownTime(waiter));
      pace = FIRST_INTERVAL_MS;
      if (looking) rest?.end();
      else void look();
    });
  }

  /** Ends a wait: with an outcome, or with an error. */
  function give(waiter: Waiter, meta: Meta | undefined, error?: unknown): void {
    waiters.delete(waiter);
    if (waiter.onAbort !== undefined) waiter.signal?.removeEventListener("abort", waiter.onAbort);
    if (meta === undefined) waiter.reject(error);
    else waiter.resolve(meta);
  }

  function giveUp(waiter: Waiter): void {
    const error = new TimeoutError(waiter.id, waiter.timeout, waiter.state);
    if (context.explained === undefined) return give(waiter, undefined, error);
    waiters.delete(waiter);
    void context.explained(error, waiter.ways).then((explained) => give(waiter, undefined, explained));
  }

  /** The one loop that looks for all who wait. It ends with the last of them. */
  async function look(): Promise<void> {
    looking = true;
    try {
      const backend = await context.backend();
      const isTold = backend.changed !== undefined;
      let all = elapsed() + (isTold ? 0 : SAFETY_INTERVAL_MS);
      while (waiters.size > 0) {
        // Asked for before the rows are read: a change in between is not missed.
        rest = backend.changed?.() ?? waitList().begin();
        const began = elapsed();
        const isFull = began >= all;
        if (isFull) all = began + SAFETY_INTERVAL_MS;
        const due = dueAt(began, isTold);
        await lookAt(backend, due, isFull, isTold);
        const now = elapsed();
        // Nobody gives up what has not been looked for: who came while the rows were read, or was passed over.
        for (const waiter of due.urgent) {
          if (waiter.deadline <= began && waiters.has(waiter)) giveUp(waiter);
        }
        if (waiters.size === 0) break;
        wakeAt(now, isTold);
        await rest.over;
        // With many waiting, a look takes its time: no more than a fifth of it all is spent looking.
        if (isTold && now - began > LONG_LOOK_MS) await clock.sleep(REST * (now - began));
      }
    } catch (error) {
      for (const waiter of [...waiters]) give(waiter, undefined, error);
    } finally {
      looking = false;
      rest?.end();
      rest = undefined;
      alarm?.off.abort(OVER);
      alarm = undefined;
    }
  }

  /** Who is to be looked at: those whose own time has come, and others. */
  function dueAt(now: number, isTold: boolean): Due {
    const urgent: Waiter[] = [];
    if (soonest <= now) {
      soonest = Number.POSITIVE_INFINITY;
      for (const waiter of waiters) {
        const own = ownTime(waiter);
        if (own <= now) urgent.push(waiter);
        else soonest = Math.min(soonest, own);
      }
    }
    // Nearly always, and with tens of thousands that wait: no list is made of them.
    if (isTold && urgent.length === 0) return { urgent, others: waiters };
    const chosen = new Set(urgent);
    const others = [...waiters].filter((waiter) => !chosen.has(waiter) && (isTold || waiter.next <= now + TOGETHER_MS));
    return { urgent, others };
  }

  /** Reads from the front until few of those read have ended, or all where it `isFull`. */
  async function lookAt(backend: Backend, { urgent, others }: Due, isFull: boolean, isTold: boolean): Promise<void> {
    const further = others.values();
    let ended = 0;
    // Who comes meanwhile has the next look.
    let left = waiters.size;
    let size = Math.max(isTold ? told : LOOK_AT.polled, urgent.length);
    for (let some = [...urgent, ...further.take(size - urgent.length)]; some.length > 0; ) {
      const found = await read(backend, some);
      ended += found;
      left -= some.length;
      if (found < size / 2 && !isFull) break;
      if (!isTold) size = Math.min(MOST_AT_ONCE, Math.max(LOOK_AT.polled, size * 2));
      some = [...further.take(Math.min(size, left))];
    }
    told = Math.min(LOOK_AT.told, Math.max(LOOK_AT.least, 2 * ended));
    pace = ended > 0 ? FIRST_INTERVAL_MS : Math.min(LAST_INTERVAL_MS, pace * INTERVAL_GROWTH);
    if (isTold) return;
    const next = elapsed() + pace;
    for (const waiter of further) if (waiter.fixed === undefined) waiter.next = next;
  }

  /** Reads the rows of some who wait, and settles those that are done. How many there were. */
  async function read(backend: Backend, due: readonly Waiter[]): Promise<number> {
    let found = 0;
    const rows = await backend.read(due.map((waiter) => taskKey(waiter.id)));
    const now = elapsed();
    const tell = (waiter: Waiter, meta: Meta) => {
      waiter.state = meta.status;
      if (isReady(meta.status)) {
        found++;
        return give(waiter, meta);
      }
      waiter.next = now + (waiter.fixed ?? waiter.interval);
      soonest = Math.min(soonest, ownTime(waiter));
      waiter.interval = Math.min(LAST_INTERVAL_MS, waiter.interval * INTERVAL_GROWTH);
    };
    const reading: Promise<void>[] = [];
    due.forEach((waiter, index) => {
      try {
        const meta = whenReady(toMeta(waiter.id, rows[index]), (row) => (isReady(row.status) ? whole(row) : row));
        if (meta instanceof Promise)
          reading.push(meta.then((read) => tell(waiter, read)).catch((error) => give(waiter, undefined, error)));
        else tell(waiter, meta);
      } catch (error) {
        give(waiter, undefined, error);
      }
    });
    await Promise.all(reading);
    return found;
  }

  /** Has the rest end when the next look is due. An alarm of an earlier look that comes before that will do: then one is set anew. */
  function wakeAt(now: number, isTold: boolean): void {
    let at = Math.min(now + SAFETY_INTERVAL_MS, soonest);
    if (!isTold) for (const waiter of waiters) at = Math.min(at, waiter.next);
    if (alarm !== undefined && alarm.at <= at) return;
    alarm?.off.abort(OVER);
    const set = { at, off: new AbortController() };
    alarm = set;
    void clock.sleep(Math.max(0, at - now), set.off.signal).then(() => {
      if (alarm !== set) return;
      alarm = undefined;
      rest?.end();
    });
  }

  return wait;
}
