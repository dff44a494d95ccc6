/**
 * Where a poller has tasks run other than in its own event loop, as the poller sees it: in the places of a pool, and what
 * workers have died of in a process of its own. Who starts those processes and threads gives it these.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { Engine } from "../engine.ts";
import { applyOne } from "../results/backend.ts";
import type { BatchOptions } from "../tasks/batch.ts";
import { HAND_BACK } from "./disposition.ts";
import type { InHand, RunInHand } from "./in-hand.ts";
import type { PlacedEnd, PlacedRun } from "./place.ts";
import type { Run } from "./worker.ts";

/** Where tasks are run in places of their own, so many as the worker's concurrency: processes or threads. */
export interface Pool {
  /** What each is called, in words: `process` or `thread`. */
  readonly kind: string;
  /**
   * Runs a delivery in the next place that is free. Calls of one batch come to the same place.
   *
   * @param batch Its task gathers calls.
   */
  run(id: number, delivery: Delivery, watch: PlaceWatch, batch?: Batch): Promise<PoolEnd>;
  /** Tells the place where it runs that its `signal` is to abort. */
  tell(id: number, what: "terminate" | "abort"): void;
  /** No more calls come for the batches that are gathered. */
  hurry(): void;
  /** Ends the place where it runs, now. */
  kill(id: number): void;
}

/** The calls of a task that come to one place. */
export interface Batch extends BatchOptions {
  readonly task: string;
}

/** Is told of a run in a place. */
export interface PlaceWatch {
  began(run: PlacedRun): void;
  held(deadline: number, overrun: Awaited<ReturnType<Run["overrun"]>>): void;
}

export type PoolEnd =
  | PlacedEnd
  /** Its place died of it, or was killed by {@link Pool.kill}. */
  | { readonly type: "died" | "killed"; readonly claim: Run["claim"] };

/** What a process that is kept for it does for the worker. */
export interface Apart {
  /** Runs a delivery in a process of its own. `taken` is called when that process has it in hand. */
  run(delivery: Delivery, taken: () => void): Promise<ApartEnd>;
}

export type ApartEnd =
  /** It has said itself what may happen to the message. */
  | { readonly type: "ended" }
  /** It was told to stop, or never began. */
  | { readonly type: "stopped" }
  /** `undefined`: before it had claimed the task, or after its outcome. */
  | { readonly type: "died"; readonly claim: Run["claim"] };

/** A run in a place, handled from outside. */
export interface RunInPlace extends RunInHand {
  /** It was given up, and its message with it. */
  readonly isReleased: boolean;
}

/** Makes what the poller handles it by, of what its place has said. */
export function runInPlace(engine: Engine, pool: Pool, { id, delivery }: InHand, placed: PlacedRun): RunInPlace {
  const { claim, message, decided, waiting } = placed;
  let isReleased = false;
  return {
    delivery,
    claim,
    message,
    decided,
    get isReleased() {
      return isReleased;
    },
    // Its place does so.
    noteRunning: async () => {},
    terminate: () => pool.tell(id, "terminate"),
    abort: () => pool.tell(id, "abort"),
    async release() {
      isReleased = true;
      pool.kill(id);
      if (claim === undefined) return HAND_BACK;
      const { key, owner } = claim;
      const now = engine.clock.now();
      await applyOne(engine.backend(), { type: "release", key, owner, now, result: waiting });
      return HAND_BACK;
    },
  };
}
