/**
 * What becomes of a message whose process or thread died with it, while its poller lives on: the death is written down at once,
 * in the row of its task. Where that had no claim it is counted here, and too many make the message a dead letter.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { Engine } from "../engine.ts";
import type { Command } from "../results/record.ts";
import { type Disposition, HAND_BACK } from "./disposition.ts";
import type { Log } from "./log.ts";
import type { Run, Worker } from "./worker.ts";

export interface Deaths {
  /**
   * Something died with a message. Never throws.
   *
   * @param claim That it did not give up; `undefined`: it had not claimed the task, or the outcome was stored.
   */
  died(delivery: Delivery, claim: Run["claim"]): Promise<Disposition>;
  /** A message came to its end. */
  survived(delivery: Delivery): void;
}

export interface DeathsOptions {
  readonly engine: Engine;
  readonly worker: Pick<Worker, "giveUp">;
  readonly log: Log;
}

/** Counts for one worker. */
export function createDeaths({ engine, worker, log }: DeathsOptions): Deaths {
  /** So many deaths of messages, by their ids, that had no claim. */
  const unclaimed = new Map<string, number>();
  return {
    async died(delivery, claim) {
      if (claim !== undefined) {
        const { key, owner } = claim;
        const died: Command = { type: "release", key, owner, now: engine.clock.now(), died: true };
        const [told] = await (await engine.backend()).apply([died]).catch((error: unknown) => [error as Error]);
        // Without that the lease ends by itself, and is counted then.
        if (told instanceof Error) log("warning", `A death could not be written down: ${told.message}`);
        else if (told?.type === "written") return HAND_BACK;
      }
      const deaths = (unclaimed.get(delivery.messageId) ?? 0) + 1;
      unclaimed.set(delivery.messageId, deaths);
      if (deaths < engine.config.maxDeliveries) return HAND_BACK;
      unclaimed.delete(delivery.messageId);
      return worker.giveUp(delivery, deaths);
    },
    survived: ({ messageId }) => void unclaimed.delete(messageId),
  };
}
