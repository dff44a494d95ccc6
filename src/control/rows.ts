/**
 * The rows by which an app is steered and its long-lived workers are seen: small, plain, in the result backend. A worker
 * writes its own with its heartbeat and reads what it is to obey; nobody asks it anything.
 */
import { payloadText } from "../protocol/serializers.ts";
import type { Backend, Row } from "../results/backend.ts";
import { addedTo, type Command, isRepeatable } from "../results/record.ts";

/** A worker says so often that it is there, in milliseconds, and reads what it is to obey. */
export const BEAT_MS = 5_000;
/** One that has said nothing for so long is gone. */
const GONE_MS = 30_000;

const DAY_MS = 86_400_000;
/** The key of such a row. */
export const controlKey = (name: string): string => `lovage-control-${name}`;

const pauseKey = (queue: string): string => controlKey(`pause-${queue}`);
const orderKey = (worker: string): string => controlKey(`order-${worker}`);
const workerKey = (worker: string): string => controlKey(`worker-${worker}`);
/** That a failed task was asked for again, or its dead letter sent back, and that the message waits. */
export const askedKey = (id: string): string => controlKey(`retry-${id}`);
/** The names of the workers that there were on a day: a list that only grows, made by `join`. */
const rosterKey = (day: number): string => controlKey(`workers-${day}`);
const dayOf = (now: number): number => Math.floor(now / DAY_MS);

/** A task that a worker runs or has fetched. */
export interface TaskInHand {
  /** The task's id. */
  readonly id: string;
  /** The task's name. */
  readonly task: string;
  /** The queue that it came from. */
  readonly queue: string;
  /** When it was begun, in milliseconds since the epoch. */
  readonly started?: number;
}

/** What a long-lived worker says of itself. */
export interface WorkerInfo {
  /** Its name: `-n` of the command line. */
  readonly name: string;
  /** Its process on that machine. */
  readonly pid: number;
  /** The machine that it runs on. */
  readonly host: string;
  /** The queues that it fetches from. */
  readonly queues: readonly string[];
  /** How many tasks it runs at a time. */
  readonly concurrency: number;
  /** When it began, in milliseconds since the epoch. */
  readonly since: number;
  /** When it last said that it lives, in milliseconds since the epoch. */
  readonly seen: number;
  /** Tasks that ended in it. */
  readonly done: number;
  /** The version of the app, where `LOVAGE_APP_VERSION` says it. */
  readonly version?: string;
  /** What it runs, the oldest first: 25 at most. */
  readonly active: readonly TaskInHand[];
  /** What it has fetched and not begun: 25 at most. */
  readonly reserved: readonly TaskInHand[];
  /** How many tasks it runs, also beyond those of `active`. */
  readonly running: number;
  /** How many it has fetched and not begun, also beyond those of `reserved`. */
  readonly waiting: number;
  /** The names of the tasks that it can run. */
  readonly registered: readonly string[];
}

/** Who paused a queue, or told a worker to stop, and when. */
export interface Order {
  /** When the order was given, in milliseconds since the epoch. */
  readonly at: number;
  /** Who gave it. */
  readonly by: string;
}

interface Paused extends Partial<Order> {
  readonly paused: boolean;
}

function parsed<T>(row: Row | undefined): T | undefined {
  if (row === undefined) return undefined;
  try {
    return JSON.parse(payloadText(row.result)) as T;
  } catch {
    return undefined;
  }
}

const stored = (key: string, value: object, now: number, days: number | undefined): Command => ({
  type: "store",
  key,
  now,
  ttl: days === undefined ? undefined : Math.ceil((now + days * DAY_MS) / 1000),
  result: JSON.stringify(value),
});

async function apply(backend: Backend, commands: readonly Command[]): Promise<void> {
  for (const outcome of await backend.apply(commands)) if (outcome instanceof Error) throw outcome;
}

/** Which of these queues are paused, and by whom. */
export async function readPaused(backend: Backend, queues: readonly string[]): Promise<ReadonlyMap<string, Order>> {
  const rows = await backend.read(queues.map(pauseKey), { consistent: true });
  return new Map(queues.flatMap((queue, at) => pausedEntry(queue, rows[at])));
}

function pausedEntry(queue: string, row: Row | undefined): readonly (readonly [string, Order])[] {
  const { paused, at = 0, by = "" } = parsed<Paused>(row) ?? { paused: false };
  return paused ? [[queue, { at, by }]] : [];
}

export const writePaused = (backend: Backend, queue: string, paused: boolean, by: string, at: number): Promise<void> =>
  apply(backend, [stored(pauseKey(queue), { paused, at, by } satisfies Paused, at, undefined)]);

export const writeShutdown = (backend: Backend, worker: string, by: string, at: number): Promise<void> =>
  apply(backend, [stored(orderKey(worker), { at, by } satisfies Order, at, 1)]);

/** What was asked for again so long ago, in milliseconds, and has not begun, may be asked for anew: its message may have been purged. */
const ASKED_MS = 3_600_000;
/** So long it can be revoked: SQS keeps no message for longer than 14 days. */
const ASKED_DAYS = 15;

/** A failed task that is asked for again, and the redrive that this is. */
export interface Asked {
  readonly id: string;
  readonly redrive: number;
}

export const nextRedrive = ({ redrive = 0 }: Row): number => redrive + 1;

/** What somebody has asked of a failed task. */
export interface AskedBefore {
  /** The redrive that was asked for and has not begun; `undefined`: none. */
  readonly redrive: number | undefined;
  /** That was a short time ago: it waits in its queue. */
  readonly isWaiting: boolean;
  /** How often it was asked for. */
  readonly times: number;
}

/** The redrive that was asked for, where it is this one at least: one before it has begun already. */
function freshRedrive(row: Row | undefined, next: number): number | undefined {
  const { redrive = 0 } = parsed<{ readonly redrive: number }>(row) ?? {};
  return redrive >= next ? redrive : undefined;
}

/** What has been asked of these. */
export async function readAsked(
  backend: Backend,
  asked: readonly Asked[],
  now: number,
): Promise<readonly AskedBefore[]> {
  const rows = await backend.read(
    asked.map(({ id }) => askedKey(id)),
    { consistent: true },
  );
  return asked.map(({ redrive: next }, at) => {
    const row = rows[at];
    const redrive = freshRedrive(row, next);
    return {
      redrive,
      isWaiting: redrive !== undefined && now < (row?.timestamp ?? 0) * 1000 + ASKED_MS,
      times: row?.attempt ?? 0,
    };
  });
}

/** Which redrive it is that waits of a task that has failed and was asked for, or sent back, already; `undefined`: none does. */
export async function waitingRedrive(backend: Backend, id: string, row: Row | undefined): Promise<number | undefined> {
  if (row === undefined || !isRepeatable(row)) return undefined;
  const [asked] = await backend.read([askedKey(id)], { consistent: true });
  return freshRedrive(asked, nextRedrive(row));
}

/**
 * Notes who was asked for, each as the outcome of the next attempt, which is stored once. Which were: the others were asked for by
 * somebody else at the same time. What cannot be noted was sent all the same.
 */
export async function writeAsked(
  backend: Backend,
  asked: readonly (Asked & { readonly before: AskedBefore })[],
  owner: string,
  now: number,
): Promise<readonly boolean[]> {
  const outcomes = await backend.apply(
    asked.map(({ id, redrive, before }) => ({
      type: "final",
      key: askedKey(id),
      now,
      // Where rows are kept for ever it stays, so nothing may rest on its end.
      ttl: Math.ceil((now + ASKED_DAYS * DAY_MS) / 1000),
      attempt: before.times + 1,
      owner,
      result: JSON.stringify({ redrive }),
      done: false,
      hidden: true,
      unclaimed: true,
    })),
  );
  return outcomes.map((outcome) => outcome instanceof Error || outcome.type === "written");
}

/** Notes that a dead letter was sent back. */
export const writeRedriven = (backend: Backend, { id, redrive }: Asked, now: number): Promise<void> =>
  apply(backend, [stored(askedKey(id), { redrive }, now, ASKED_DAYS)]);

/** What a worker has to obey. */
export interface Orders {
  readonly paused: ReadonlySet<string>;
  /** It was told to stop since it began. */
  readonly shutdown: Order | undefined;
}

export async function readOrders(
  backend: Backend,
  { name, queues, since }: Pick<WorkerInfo, "name" | "queues" | "since">,
): Promise<Orders> {
  const [own, ...rows] = await backend.read([orderKey(name), ...queues.map(pauseKey)], { consistent: true });
  const order = parsed<Order>(own);
  return {
    paused: new Set(queues.filter((queue, at) => pausedEntry(queue, rows[at]).length > 0)),
    shutdown: order !== undefined && order.at >= since ? order : undefined,
  };
}

/** Says that a worker is there. `isListed`: it stands in the list of this day already. */
export async function writeWorker(backend: Backend, worker: WorkerInfo, isListed: boolean): Promise<void> {
  const { name, seen: now } = worker;
  const listed: Command = {
    type: "join",
    key: rosterKey(dayOf(now)),
    now,
    ttl: Math.ceil((now + 3 * DAY_MS) / 1000),
    added: name,
  };
  await apply(backend, [...(isListed ? [] : [listed]), stored(workerKey(name), worker, now, 1)]);
}

/** Whether a day's list has to be told again. */
export const isSameDay = (one: number, other: number): boolean => dayOf(one) === dayOf(other);

/** It has ended: nobody need wait until it is taken for gone. */
export const dropWorker = (backend: Backend, worker: WorkerInfo): Promise<void> =>
  apply(backend, [stored(workerKey(worker.name), { ...worker, seen: 0 } satisfies WorkerInfo, worker.seen, 1)]);

/** The workers that are there, by name. */
export async function readWorkers(backend: Backend, now: number): Promise<readonly WorkerInfo[]> {
  const days = [dayOf(now), dayOf(now - GONE_MS)];
  const rosters = await backend.read([...new Set(days)].map(rosterKey), { consistent: true });
  const names = [...new Set(rosters.flatMap((row) => (row === undefined ? [] : addedTo(row))))];
  if (names.length === 0) return [];
  const rows = await backend.read(names.map(workerKey), { consistent: true });
  return rows
    .flatMap((row) => parsed<WorkerInfo>(row) ?? [])
    .filter(({ seen }) => seen > now - GONE_MS)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
