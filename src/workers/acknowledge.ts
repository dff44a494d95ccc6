/**
 * How a long-lived worker acknowledges: what may happen to a message is done beside the tasks that come next, and messages
 * share requests. As many acknowledgements are under way as tasks may run, and no more.
 */
import { type Broker, type Delivery, isFifo } from "../brokers/broker.ts";
import type { Clock } from "../clock.ts";
import { shareTurn } from "../turn.ts";
import type { Disposition } from "./disposition.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { Log } from "./log.ts";
import type { Worker } from "./worker.ts";

/** A message that is done with waits so long, in milliseconds, for others to be deleted with … */
const DELETE_MS = 50;
/** … or until there are so many: SQS takes ten in a request. */
const DELETE_BATCH = 10;

export interface Acknowledgements {
  /** Does with a message what may happen to it. Never throws: where it cannot be done, the message comes back by itself. */
  dispose(delivery: Delivery, disposition: Disposition): Promise<void>;
  /** The same, and holds up nothing but the worker's end. */
  disposeBeside(delivery: Delivery, disposition: Disposition): void;
  /** Whether as many as may be are under way beside all else: a message that is being acknowledged is still out of its queue. */
  isCrowded(): boolean;
  /** Resolves when one of them is done. */
  oneLess(): Promise<void>;
  /** Resolves when all that are under way beside all else are done. */
  ended(): Promise<unknown>;
}

export interface AcknowledgementsOptions {
  readonly broker: Broker;
  readonly worker: Pick<Worker, "handBack">;
  readonly clock: Clock;
  readonly log: Log;
  readonly concurrency: number;
  /** {@link Heartbeat.dropped} */
  readonly dropped: Heartbeat["dropped"];
  /** The worker stops: nothing waits for others to be deleted with. */
  readonly stopping: AbortSignal;
}

/** Makes them for one worker. */
export function createAcknowledgements(options: AcknowledgementsOptions): Acknowledgements {
  const { broker, worker, clock, log, concurrency, dropped, stopping } = options;
  const removeNow = shareTurn<Delivery, undefined>(
    (deliveries) => broker.delete(deliveries) as Promise<(undefined | Error)[]>,
  );
  const hide = shareTurn<{ delivery: Delivery; visibility: number }, undefined>(
    (entries) => broker.changeVisibility(entries) as Promise<(undefined | Error)[]>,
  );
  /** Deletes that wait for others to share a request with; each resolves when it may go. */
  let done: (() => void)[] = [];
  /** Those under way beside all else. */
  const leaving = new Set<Promise<void>>();
  /** Those that wait for one of them to be done. */
  const crowded: (() => void)[] = [];

  function removeDone(waiting = done): void {
    // They have gone already, and others wait now.
    if (waiting !== done) return;
    done = [];
    for (const go of waiting) go();
  }

  async function remove(delivery: Delivery): Promise<void> {
    // On a FIFO queue the next of its group waits for it.
    if (!stopping.aborted && !isFifo(delivery.queue)) {
      await new Promise<void>((go) => {
        const waiting = done;
        if (waiting.push(go) === Math.min(DELETE_BATCH, concurrency)) removeDone();
        else if (waiting.length === 1) void clock.sleep(DELETE_MS, stopping).then(() => removeDone(waiting));
      });
    }
    await removeNow(delivery);
  }

  async function dispose(delivery: Delivery, given: Disposition): Promise<void> {
    const disposition = await worker.handBack(delivery, given);
    try {
      switch (disposition.type) {
        case "delete":
          if (!disposition.done) await remove(delivery);
          break;
        case "handBack":
          await dropped();
          await hide({ delivery, visibility: disposition.visibility });
          break;
        case "leave":
          break;
        default:
          disposition satisfies never;
      }
    } catch (error) {
      // The message comes back by itself, and meets the row of what was done.
      log("warning", `Message ${delivery.messageId} of ${delivery.queue} could not be acknowledged: ${String(error)}`);
    }
  }

  return {
    dispose,
    disposeBeside(delivery, disposition) {
      const left = dispose(delivery, disposition).finally(() => {
        leaving.delete(left);
        crowded.shift()?.();
      });
      leaving.add(left);
    },
    isCrowded: () => leaving.size >= concurrency,
    oneLess: () => new Promise((go) => crowded.push(go)),
    ended: () => Promise.all(leaving),
  };
}
