/**
 * What leaves the process: calls made in the same turn of the event loop share the broker's requests, and each caller is
 * told of its own message.
 */
import type { Clock } from "../clock.ts";
import { OperationalError } from "../errors.ts";
import { shareTurn } from "../turn.ts";
import type { Unit } from "../unit.ts";
import type { Broker, Outgoing, Settled } from "./broker.ts";

/** How a send that fails with a passing error is tried again. */
export interface PublishRetryPolicy {
  /** Tries after the first; `null`: without end. */
  readonly maxRetries: number | null;
  /** Seconds before the first retry. */
  readonly intervalStart: number;
  /** Seconds that each further wait is longer. */
  readonly intervalStep: number;
  /** Seconds of the longest wait. */
  readonly intervalMax: number;
}

export interface Outbox {
  /** Resolves when the broker has accepted the text; rejects with why it did not. `unit`: see {@link Broker.send}. */
  send(entry: Outgoing, retries?: PublishRetryPolicy, unit?: Unit): Promise<void>;
}

/** Turns whose texts are on their way at a time. A burst of calls, each in a turn of its own, would be a request each. */
const MOST_TURNS = 16;

export function createOutbox(open: () => Promise<Broker>, clock: Clock): Outbox {
  const sendOne = shareTurn<Item, undefined>(async (items) => sendAll(await open(), items), MOST_TURNS);
  return {
    async send(entry, retries, unit) {
      for (let tries = 0; ; tries++) {
        try {
          return await sendOne({ entry, unit });
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

interface Item {
  readonly entry: Outgoing;
  readonly unit: Unit | undefined;
}

/** A request for each unit, and one for what is in none. */
async function sendAll(broker: Broker, items: readonly Item[]): Promise<Settled> {
  const units = [...new Set(items.map(({ unit }) => unit))];
  const [unit] = units;
  if (units.length === 1)
    return broker.send(
      items.map(({ entry }) => entry),
      unit,
    );
  const answers = await Promise.all(
    units.map(async (one) => {
      const own = items.flatMap(({ unit }, index) => (unit === one ? [index] : []));
      const settled = await sendAll(
        broker,
        own.map((index) => items[index] as Item),
      ).catch((error: Error) => own.map(() => error));
      return own.map((index, at) => [index, settled[at]] as const);
    }),
  );
  const settled = new Map(answers.flat());
  return items.map((_, index) => settled.get(index));
}
