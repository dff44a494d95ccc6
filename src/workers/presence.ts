/** A long-lived worker says that it is there, and reads what it is to obey: see `control/rows.ts`. */
import { hostname as machineName } from "node:os";
import { clip } from "../brief.ts";
import {
  BEAT_MS,
  dropWorker,
  isSameDay,
  type Orders,
  readOrders,
  type TaskInHand,
  type WorkerInfo,
  writeWorker,
} from "../control/rows.ts";
import type { Engine } from "../engine.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import type { Hand, InHand } from "./in-hand.ts";
import type { Log } from "./log.ts";

/** It writes every so many beats: reading is what has to be fast, and costs a tenth. */
const BEATS_A_WRITE = 2;
/** What goes wrong with it is told so often at most, in milliseconds. */
const WARN_MS = 60_000;

/** What the worker knows of itself at the moment. */
type Presence = Pick<WorkerInfo, "done" | "active" | "reserved" | "running" | "waiting">;

/** Others are shown so many tasks that run, and as many that wait: a row of all would be dear. */
const MOST_SHOWN = 25;
/** Characters of a name or an id that they are shown. */
const MOST_NAME = 255;
/** A longer body is not looked into for that, in characters. */
const MOST_PEEKED = 65_536;

/** What others are shown of a worker with this in hand, of which so much is not begun. */
export function presenceOf(hand: Hand, waiting: readonly InHand[]): Presence {
  const active = hand.runs.slice(0, MOST_SHOWN).map(
    ({ run: { message, delivery }, began }): TaskInHand => ({
      ...shown(message.id, message.task),
      queue: delivery.queue,
      started: began,
    }),
  );
  const reserved = waiting.slice(0, MOST_SHOWN).map(({ delivery: { body, queue } }): TaskInHand => {
    const { id = "", task = "" } = body.length <= MOST_PEEKED ? peekEnvelope(body) : {};
    return { ...shown(id, task), queue };
  });
  return { done: hand.done, active, reserved, running: hand.runs.length, waiting: waiting.length };
}

const shown = (id: string, task: string) => ({ id: clip(id, MOST_NAME), task: clip(task, MOST_NAME) });

export interface PresenceOptions {
  readonly engine: Engine;
  readonly log: Log;
  readonly worker: Pick<WorkerInfo, "name" | "queues" | "concurrency">;
  readonly now: () => Presence;
  /** Is told what the worker is to obey, at each beat. */
  readonly obey: (orders: Orders) => void;
}

/** Starts it. Resolves when the first orders are there, or could not be had: a worker runs without. Returns what ends it. */
export async function startPresence(options: PresenceOptions): Promise<() => Promise<void>> {
  const { engine, log, worker, now, obey } = options;
  const { clock } = engine;
  const since = clock.now();
  const stopping = new AbortController();
  const version = engine.platform.env["LOVAGE_APP_VERSION"];
  let listed: number | undefined;
  let warned = Number.NEGATIVE_INFINITY;

  const info = (): WorkerInfo => ({
    ...worker,
    pid: process.pid,
    host: machineName(),
    since,
    seen: clock.now(),
    ...(version && { version }),
    ...now(),
    registered: [...engine.tasks.keys()].sort(),
  });

  /** Nothing depends on it: what goes wrong is told, and the worker runs on. */
  async function trying(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (clock.now() < warned + WARN_MS) return;
      warned = clock.now();
      log("warning", `The worker cannot be seen or steered, and runs on: ${String(error)}`);
    }
  }

  const read = () =>
    trying(async () => {
      const orders = await readOrders(await engine.backend(), { ...worker, since });
      if (!stopping.signal.aborted) obey(orders);
    });
  const write = () =>
    trying(async () => {
      const told = info();
      await writeWorker(await engine.backend(), told, listed !== undefined && isSameDay(listed, told.seen));
      listed = told.seen;
    });

  async function beat(): Promise<void> {
    for (let beats = 0; !stopping.signal.aborted; beats++) {
      if (beats % BEATS_A_WRITE === 0) await write();
      await clock.sleep(BEAT_MS, stopping.signal);
      if (!stopping.signal.aborted) await read();
    }
  }

  await read();
  const beating = beat();
  return async () => {
    stopping.abort();
    await beating;
    await trying(async () => dropWorker(await engine.backend(), info()));
  };
}
