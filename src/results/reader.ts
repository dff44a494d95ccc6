/** How results are read. */
import { elapsedOf } from "../clock.ts";
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
import type { MaybePromise } from "../protocol/serializers.ts";
import { formatTime, parseTime } from "../protocol/time.ts";
import { holdsException, isPropagated, isReady, PENDING, RETRY, REVOKED } from "../states.ts";
import { AsyncResult, type GetOptions, type StreamOptions, type WatchOptions } from "./async-result.ts";
import { applyOne, type Backend, groupKey, type Row, taskKey } from "./backend.ts";
import { GroupResult } from "./group-result.ts";
import type { Command, Outcome } from "./record.ts";
import { type Chunk, createPace, StreamReader } from "./stream.ts";
import { createWaiting, type WaitingContext } from "./waiting.ts";

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

export interface ReaderContext extends Omit<WaitingContext, "toMeta" | "whole"> {
  /** The time, later each time it is asked. */
  readonly moment: () => number;
  readonly codec: MetaCodec;
  /** `ttl` for a row that is written now, in whole seconds since the epoch. */
  readonly ttl: () => number | undefined;
  /** Readers take rows older than so many seconds for absent: the setting `resultExpires`. */
  readonly expires: number | undefined;
  /** Which redrive it is that waits of a task that has failed and is to run again; `undefined`: none does. */
  readonly waitingRedrive: (id: string, row: Row | undefined) => Promise<number | undefined>;
  /** What changes something is done by a task only while it runs. */
  readonly withinRun: <T>(call: string, work: () => Promise<T>) => Promise<T>;
}

export function createReader(context: ReaderContext): ResultReader {
  const { clock, withinRun } = context;
  const elapsed = () => elapsedOf(clock);

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
      const outcome = await apply({ type: "forget", key, now: clock.now(), at: context.moment() });
      return outcome.type === "written";
    });

  const reader: ResultReader = {
    meta,
    metas,
    whole,
    wait: createWaiting({ ...context, toMeta, whole }),
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
        await apply({ type: "store", key: groupKey(tuple[0][0]), now: clock.now(), ttl: context.ttl(), result });
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
        let outcome = await apply(command);
        if (outcome.type === "refused") {
          const redrive = await context.waitingRedrive(id, outcome.row);
          if (redrive !== undefined) outcome = await apply({ ...command, redrive });
        }
        if (outcome.type !== "refused") return undefined;
        return isShown(outcome.row) ? decodeStatus(outcome.row.result, context.codec) : PENDING;
      }),
  };
  return reader;

  function apply(command: Command): Promise<Outcome> {
    return applyOne(context.backend(), command);
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
