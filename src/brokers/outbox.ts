/**
 * What leaves the process: calls made in the same turn of the event loop share the broker's requests, and each caller is
 * told of its own message.
 */
import type { Clock } from "../clock.ts";
import { OperationalError } from "../errors.ts";
import { shareTurn } from "../turn.ts";
import type { Broker, Outgoing } from "./broker.ts";

/** How a send that failed for a passing reason is tried again; in seconds. Celery's `task_publish_retry_policy`. */
export interface SendRetries {
  /** Tries after the first; `null`: without end. */
  readonly maxRetries: number | null;
  readonly intervalStart: number;
  readonly intervalStep: number;
  readonly intervalMax: number;
}

export interface Outbox {
  /** Resolves when the broker has accepted the text; rejects with why it did not. */
  send(entry: Outgoing, retries?: SendRetries): Promise<void>;
}

/** Turns whose texts are on their way at a time. A burst of calls, each in a turn of its own, would be a request each. */
const MOST_TURNS = 16;

export function createOutbox(open: () => Promise<Broker>, clock: Clock): Outbox {
  const sendOne = shareTurn<Outgoing, undefined>(async (entries) => (await open()).send(entries), MOST_TURNS);
  return {
    async send(entry, retries) {
      for (let tries = 0; ; tries++) {
        try {
          return await sendOne(entry);
        } catch (error) {
          const passing = error instanceof OperationalError && error.retryable;
          if (!passing || retries === undefined) throw error;
          if (retries.maxRetries !== null && tries >= retries.maxRetries) throw error;
          await clock.sleep(1000 * Math.min(retries.intervalMax, retries.intervalStart + retries.intervalStep * tries));
        }
      }
    },
  };
}
