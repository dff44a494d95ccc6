/**
 * What a long-lived worker has in hand: each message from when it is taken until it may be acknowledged, and meanwhile the run
 * of its task, if it has begun. The heartbeat keeps all of it, and what that finds out about a run is acted on here.
 */
import { type Delivery, isFifo } from "../brokers/broker.ts";
import type { Clock } from "../clock.ts";
import type { Unit } from "../unit.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { type Finding, type Holding, monotonic, NO_RECEIPT } from "./holding.ts";
import type { Log } from "./log.ts";
import type { PlacedRun } from "./place.ts";
import type { Pool } from "./pool.ts";
import { nameOf } from "./report.ts";
import type { Run } from "./worker.ts";

/** What runs has so long, in milliseconds, to end by itself once its `signal` aborts. */
export const ABORTED_MS = 5_000;

/** A message in hand. */
export interface InHand {
  /** By which the heartbeat and a pool know it. */
  readonly id: number;
  /** The latest of its message: see {@link Hand.renew}. */
  delivery: Delivery;
  /** What the heartbeat keeps of it. */
  kept: Omit<Holding, "id" | "delivery">;
  /** Its FIFO group, of which one message at a time is worked on; `undefined` on other queues. */
  readonly group: string | undefined;
  /** In which it is taken, until that is over: it may yet turn out not to have been taken. */
  unit: Unit | undefined;
  /** Its end is being made durable, and leaves nothing else to do. */
  isSettling: boolean;
  /** Its run, while that goes on. */
  running: Running | undefined;
}

/** What the poller knows of a run, wherever it runs. */
export type RunInHand = Pick<
  Run,
  "delivery" | "claim" | "decided" | "noteRunning" | "terminate" | "abort" | "release"
> & {
  readonly message: PlacedRun["message"];
};

/** A run that goes on. */
interface Running {
  readonly held: InHand;
  readonly run: RunInHand;
  /** When it began, in milliseconds since the epoch. */
  readonly began: number;
  /** Another worker has taken it over. */
  isLost: boolean;
  /** It was told to end, as it was revoked. */
  isTerminated: boolean;
}

export interface Hand {
  /** How many messages are in it. */
  readonly size: number;
  /** How many runs have ended. */
  readonly done: number;
  /** The runs that go on, the oldest first. */
  readonly runs: readonly Running[];
  take(delivery: Delivery, unit: Unit | undefined): InHand;
  /**
   * Whether a message that came is in hand already. It could not be hidden in time (the machine slept, the queue was out of reach), or
   * the clock was set: what runs of it goes on, and this delivery is what it is kept and acknowledged by. Not so where another
   * worker has taken its run over.
   */
  renew(delivery: Delivery): boolean;
  /** It is in hand again, after all. */
  hold(held: InHand): void;
  /** The message is not in hand any more. What runs of it is, until {@link end}. */
  forget(held: InHand): void;
  /** Its run begins. */
  begin(held: InHand, run: RunInHand): void;
  /**
   * Has the heartbeat keep its run as well.
   *
   * @param end When it must have ended, in milliseconds since the epoch.
   * @param overrun Stores that it has not.
   */
  keep(held: InHand, claim: Run["claim"], end: number, overrun?: Awaited<ReturnType<Run["overrun"]>>): void;
  /** Its run has ended. */
  end(held: InHand): void;
  /** What the heartbeat found out. */
  found(finding: Finding): void;
}

export interface HandOptions {
  readonly heartbeat: Pick<Heartbeat, "hold" | "drop">;
  readonly clock: Clock;
  readonly log: Log;
  /** Where the tasks run; `undefined`: in this process. */
  readonly pool: Pool | undefined;
  /** Aborts when the worker has ended. */
  readonly over: AbortSignal;
}

/** Makes that of one worker, with nothing in it. */
export function createHand({ heartbeat, clock, log, pool, over }: HandOptions): Hand {
  /**
   * Lists, and no `Map`. Where much comes and goes, V8 copies a `Map` or a `Set` to a new table again and again, and each old table
   * points to the next. Once a garbage collection has moved a table to the old generation, all later ones are kept until that is
   * collected as a whole, and all that was in them: some 4 KB of each task.
   */
  const messages: InHand[] = [];
  const runs: Running[] = [];
  let nextId = 0;
  let done = 0;

  /** A task that its `signal` does not end is ended with its place. */
  async function endTerminated(pool: Pool, id: number): Promise<void> {
    await clock.sleep(ABORTED_MS, over);
    const running = runs.find(({ held }) => held.id === id);
    if (running === undefined) return;
    log("warning", `Task ${nameOf(running.run.message)} is revoked and does not end: its ${pool.kind} is ended`);
    pool.kill(id);
  }

  /** What another worker has taken over is that one's to keep: here it only has to end in time. */
  function keep(held: InHand, kept: InHand["kept"]): void {
    held.kept = kept;
    const { id } = held;
    const delivery = slim(held.delivery);
    if (held.running?.isLost)
      heartbeat.hold({ id, ...kept, claim: undefined, delivery: { ...delivery, receipt: NO_RECEIPT } });
    else heartbeat.hold({ id, ...kept, delivery });
  }

  function add(held: InHand): void {
    messages.push(held);
    keep(held, held.kept);
  }

  return {
    get size() {
      return messages.length;
    },
    get done() {
      return done;
    },
    runs,
    take(delivery, unit) {
      const held: InHand = {
        id: nextId++,
        delivery,
        kept: UNCLAIMED,
        group: groupOf(delivery),
        unit,
        isSettling: false,
        running: undefined,
      };
      add(held);
      return held;
    },
    hold: add,
    renew(delivery) {
      const { queue, messageId, receiveCount } = delivery;
      // Most come for the first time.
      if (receiveCount === 1) return false;
      const held = messages.find(
        ({ delivery, running }) => delivery.messageId === messageId && delivery.queue === queue && !running?.isLost,
      );
      if (held === undefined) return false;
      held.delivery = delivery;
      keep(held, held.kept);
      return true;
    },
    forget(held) {
      const index = messages.indexOf(held);
      if (index === -1) return;
      messages.splice(index, 1);
      heartbeat.drop(held.id);
    },
    begin(held, run) {
      held.running = { held, run, began: clock.now(), isLost: false, isTerminated: false };
      runs.push(held.running);
    },
    keep(held, claim, end, overrun) {
      // A clock that is set must not end it.
      const deadline = end === Number.POSITIVE_INFINITY ? end : monotonic() + end - clock.now();
      keep(held, { claim, deadline, overrun });
    },
    end(held) {
      done++;
      if (held.running === undefined) return;
      runs.splice(runs.indexOf(held.running), 1);
      held.running = undefined;
    },
    found({ id, finding }) {
      const running = runs.find(({ held }) => held.id === id);
      // It ended while the beat was under way.
      if (running === undefined) return;
      const { held, run, isLost, isTerminated } = running;
      if (finding === "terminate") {
        run.terminate();
        if (pool !== undefined && !isTerminated) void endTerminated(pool, id);
        running.isTerminated = true;
      } else if (finding === "overrun") {
        const what = pool === undefined ? "this process" : `its ${pool.kind}`;
        const end = pool === undefined ? "and cannot be stopped" : "which is ended";
        log("error", `${nameOf(run.message)} blocks ${what} beyond its time limit, ${end}`);
        pool?.kill(id);
      } else if (!isLost) {
        running.isLost = true;
        keep(held, held.kept);
        log("warning", `Task ${nameOf(run.message)} was taken over by another worker`);
      }
    },
  };
}

const UNCLAIMED = { claim: undefined, deadline: Number.POSITIVE_INFINITY } as const;

const groupOf = ({ queue, groupId = "" }: Delivery): string | undefined =>
  isFifo(queue) ? `${queue}\n${groupId}` : undefined;

const slim = ({ queue, receipt, messageId }: Delivery): Pick<Delivery, "queue" | "receipt" | "messageId"> => ({
  queue,
  receipt,
  messageId,
});
