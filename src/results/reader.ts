/** How results are read: one look at the backend serves everybody in the process who waits for one. */
import { type Clock, elapsedOf } from "../clock.ts";
import { TaskRevokedError, TimeoutError } from "../errors.ts";
import { dataToError, exceptionToData } from "../protocol/exceptions.ts";
import {
  decodeGroupMeta,
  decodeRow,
  decodeStatus,
  encodeGroupMeta,
  encodeMeta,
  type Meta,
  type MetaCodec,
  pendingMeta,
  type ResultTuple,
  withResult,
} from "../protocol/meta.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import { formatTime, parseTime } from "../protocol/time.ts";
import { holdsException, isPropagated, isReady, PENDING, RETRY, REVOKED } from "../states.ts";
import { type Wait, waitList } from "../wait.ts";
import { AsyncResult, type GetOptions, type StreamOptions, type WatchOptions } from "./async-result.ts";
import { type Backend, groupKey, type Row, taskKey } from "./backend.ts";
import { GroupResult } from "./group-result.ts";
import type { Command, Outcome } from "./record.ts";
import { type Chunk, createPace, StreamReader } from "./stream.ts";

/** How a task goes to its queue: by the queue's name, or as the app routes a task of this name. */
export interface Way {
  /** The task's name. */
  readonly task?: string;
  /** The queue, where it is known or the call says it. */
  readonly queue?: string;
}

export interface ResultReader {
  /** What the row of a task says, PENDING where there is none. Its result may be kept elsewhere: see {@link whole}. */
  meta(id: string): Promise<Meta>;
  /** What the rows of several say, in one read. */
  metas(ids: readonly string[]): Promise<readonly Meta[]>;
  /** The same with its result, wherever it is kept. */
  whole(meta: Meta): Meta | Promise<Meta>;
  /**
   * Waits until a task has its outcome. Throws `TimeoutError`, which names the queues where they are known, or the signal's reason.
   *
   * @param ways How the task goes to its queue, then how those before it do; asked only when time is over.
   */
  wait(id: string, options: GetOptions, ways?: () => readonly Way[]): Promise<Meta>;
  /** The metas of a task as they change, until it has ended. */
  watch(id: string, options: WatchOptions): AsyncGenerator<Meta, void>;
  /** What a task writes, until it has ended. Throws what the task threw. */
  stream(
    id: string,
    options: Omit<StreamOptions, "onRestart"> & { readonly run?: string },
  ): AsyncGenerator<Chunk, void>;
  /** The result as a value, or as an error where the state says that it is one. */
  value(meta: Meta): unknown;
  dateDone(meta: Meta): Date | null;
  /** The results of what this task sent. */
  children(meta: Meta): (AsyncResult | GroupResult)[];
  /** The result that Celery writes as a tuple: of a task, or of a group. */
  fromTuple(tuple: ResultTuple, parent?: AsyncResult | GroupResult | null): AsyncResult | GroupResult;
  /** A group that was saved; `null` where none was. */
  group(id: string): Promise<GroupResult | null>;
  saveGroup(tuple: ResultTuple): Promise<void>;
  forgetGroup(id: string): Promise<void>;
  /** Resolves to whether anything was stored of it. */
  forget(id: string): Promise<boolean>;
  /**
   * Resolves to the state in which it had ended already, which stays; else to `undefined`.
   *
   * @param by Who revokes it, as the journal is told.
   */
  revoke(id: string, terminate: boolean, by?: string): Promise<string | undefined>;
}

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

export interface ReaderContext {
  readonly backend: () => Promise<Backend>;
  readonly clock: Clock;
  /** The time, later each time it is asked. */
  readonly moment: () => number;
  readonly codec: MetaCodec;
  /** `ttl` for a row that is written now, in whole seconds since the epoch. */
  readonly ttl: () => number | undefined;
  /** Readers take rows older than so many seconds for absent: the setting `resultExpires`. */
  readonly expires: number | undefined;
  /**
   * The same error, with what else is known. Never rejects. Absent: nothing else is.
   *
   * @param ways See {@link ResultReader.wait}.
   */
  readonly explained?: (error: TimeoutError, ways: (() => readonly Way[]) | undefined) => Promise<TimeoutError>;
  /** Which redrive it is that waits of a task that has failed and is to run again; `undefined`: none does. */
  readonly waitingRedrive: (id: string, row: Row | undefined) => Promise<number | undefined>;
  /** What changes something is done by a task only while it runs. */
  readonly withinRun: <T>(call: string, work: () => Promise<T>) => Promise<T>;
}

export function createReader(context: ReaderContext): ResultReader {
  const { clock, withinRun } = context;
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

  function toMeta(id: string, row: Row | undefined): MaybePromise<Meta> {
    return isShown(row) ? decodeRow(row.result, context.codec) : pendingMeta(id);
  }

  const whole = (meta: Meta) => withResult(meta, context.codec);

  const isShown = (row: Row | undefined): row is Row =>
    row !== undefined &&
    row.hidden !== true &&
    (context.expires === undefined || row.timestamp + context.expires > clock.now() / 1000);

  async function meta(id: string): Promise<Meta> {
    const backend = await context.backend();
    const [row] = await backend.read([taskKey(id)]);
    return toMeta(id, row);
  }

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

  /** Looks again and again, as often as something may have changed, until `look` says that it was the last time. */
  async function* looks(
    id: string,
    { timeout, signal }: WatchOptions,
    state: () => string,
    look: (backend: Backend) => Promise<{ readonly found: boolean; readonly isLast: boolean }>,
  ): AsyncGenerator<void, void> {
    const backend = await context.backend();
    const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : elapsed() + timeout * 1000;
    const pace = createPace(clock);
    for (;;) {
      signal?.throwIfAborted();
      pace.begin(backend);
      try {
        const { found, isLast } = await look(backend);
        yield;
        if (isLast) return;
        if (elapsed() >= deadline) throw new TimeoutError(id, timeout ?? 0, state());
        await pace.rest(found, signal);
      } finally {
        pace.end();
      }
    }
  }

  async function* watch(id: string, options: WatchOptions): AsyncGenerator<Meta, void> {
    let meta: Meta = pendingMeta(id);
    let seen = "";
    let isNew = false;
    const look = async (backend: Backend) => {
      const [row] = await backend.read([taskKey(id)], { consistent: true });
      meta = await toMeta(id, row);
      const now = JSON.stringify([meta.status, String(row?.result)]);
      isNew = now !== seen;
      seen = now;
      return { found: isNew, isLast: isReady(meta.status) || row?.done === true };
    };
    for await (const _ of looks(id, options, () => meta.status, look)) if (isNew) yield whole(meta);
  }

  async function* stream(
    id: string,
    { from = 0, run, ...options }: Parameters<ResultReader["stream"]>[1],
  ): AsyncGenerator<Chunk, void> {
    const parts = new StreamReader(id, { run, offset: from });
    let meta: Meta = pendingMeta(id);
    let chunks: readonly Chunk[] = [];
    const look = async (backend: Backend) => {
      // The row first: what was written before its outcome is there when that is.
      const [row] = await backend.read([taskKey(id)], { consistent: true });
      meta = await toMeta(id, row);
      chunks = await parts.read(backend);
      return { found: chunks.length > 0, isLast: isReady(meta.status) || row?.done === true };
    };
    for await (const _ of looks(id, options, () => meta.status, look)) yield* chunks;
    if (isPropagated(meta.status)) throw reader.value(await whole(meta));
  }

  async function metas(ids: readonly string[]): Promise<readonly Meta[]> {
    const rows = await (await context.backend()).read(ids.map(taskKey));
    return Promise.all(ids.map((id, index) => toMeta(id, rows[index])));
  }

  const forget = (key: string) =>
    withinRun("forget()", async () => {
      const outcome = await applyOne({ type: "forget", key, now: clock.now(), at: context.moment() });
      return outcome.type === "written";
    });

  const reader: ResultReader = {
    meta,
    metas,
    whole,
    wait,
    watch,
    stream,
    value: (found) => (holdsException(found.status) ? toError(found) : found.result),
    dateDone: (found) => (found.dateDone === null ? null : new Date(parseTime(found.dateDone))),
    children: (found) => childTuples(found.children).map((tuple) => reader.fromTuple(tuple)),
    fromTuple([[id], members], parent = null) {
      if (members === null) return new AsyncResult(reader, id, parent);
      return new GroupResult(
        reader,
        id,
        { length: members.length, at: (index) => reader.fromTuple(members[index] as ResultTuple) },
        parent,
      );
    },
    async group(id) {
      const [row] = await (await context.backend()).read([groupKey(id)]);
      if (row === undefined || row.hidden === true) return null;
      return reader.fromTuple(await decodeGroupMeta(row.result, context.codec)) as GroupResult;
    },
    saveGroup: (tuple) =>
      withinRun("save()", async () => {
        const result = await encodeGroupMeta(tuple, context.codec);
        await applyOne({ type: "store", key: groupKey(tuple[0][0]), now: clock.now(), ttl: context.ttl(), result });
      }),
    async forgetGroup(id) {
      await forget(groupKey(id));
    },
    forget: (id) => forget(taskKey(id)),
    revoke: (id, terminate, by) =>
      withinRun("revoke()", async () => {
        // Its stack would be the caller's; Celery stores none.
        const { data } = exceptionToData(new TaskRevokedError(terminate ? "terminated" : "revoked"));
        const dateDone = formatTime(clock.now());
        const result = await encodeMeta({ ...pendingMeta(id), status: REVOKED, result: data, dateDone }, context.codec);
        const now = clock.now();
        const entry = {
          time: now,
          kind: "revoke",
          id,
          state: REVOKED,
          ...(terminate && { terminate }),
          ...(by !== undefined && { by }),
        } as const;
        const command = {
          type: "revoke",
          key: taskKey(id),
          now,
          ttl: context.ttl(),
          terminate,
          result,
          entry,
        } as const;
        let outcome = await applyOne(command);
        if (outcome.type === "refused") {
          const redrive = await context.waitingRedrive(id, outcome.row);
          if (redrive !== undefined) outcome = await applyOne({ ...command, redrive });
        }
        if (outcome.type !== "refused") return undefined;
        return isShown(outcome.row) ? decodeStatus(outcome.row.result, context.codec) : PENDING;
      }),
  };
  return reader;

  async function applyOne(command: Command): Promise<Outcome> {
    const backend = await context.backend();
    const [outcome] = (await backend.apply([command])) as [Outcome | Error];
    if (outcome instanceof Error) throw outcome;
    return outcome;
  }
}

/** The error that a meta holds; `null` for a retry without a reason. */
function toError(meta: Meta): Error | null {
  return meta.result === null && meta.status === RETRY ? null : dataToError(meta.result, meta.traceback, meta.taskId);
}

/** Children as tuples, whatever way a Celery or a program of its own wrote them. */
function childTuples(children: unknown): ResultTuple[] {
  if (!Array.isArray(children)) return [];
  return children.flatMap((child: unknown): ResultTuple[] => {
    if (!Array.isArray(child)) return typeof child === "string" ? [[[child, null], null]] : [];
    const [head, members] = child as [unknown, unknown];
    const id: unknown = Array.isArray(head) ? head[0] : head;
    if (typeof id !== "string") return [];
    return [[[id, null], Array.isArray(members) ? childTuples(members) : null]];
  });
}
