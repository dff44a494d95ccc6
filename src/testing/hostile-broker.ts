import { type Broker, type Delivery, isFifo, type Settled } from "../brokers/broker.ts";
import { OperationalError } from "../errors.ts";
import { defined, type Given } from "../parse.ts";
import { seededRandom } from "./random.ts";

/** How often a fault strikes, from 0 (never) to 1. */
export interface Faults {
  /** A text is put into the queue twice. Default 0.1. */
  readonly duplicate: number;
  /** A text comes up to a minute late. Default 0.1. */
  readonly delay: number;
  /** A request is refused as if the service were throttled, for one entry or as a whole; nothing was done. Default 0.1. */
  readonly throttle: number;
  /** A send is done and answered by an error: its reply was lost. Default 0.05. */
  readonly loseReply: number;
  /** A deletion is answered as done and is not: the text comes again. Default 0.1. */
  readonly loseDelete: number;
  /** A text is handed out to somebody else as well, at once: the first receipt is stale from then on. Default 0.1. */
  readonly stale: number;
}

const DEFAULTS: Faults = { duplicate: 0.1, delay: 0.1, throttle: 0.1, loseReply: 0.05, loseDelete: 0.1, stale: 0.1 };
const LATEST_S = 60;

/**
 * A broker laid around another that does whatever a queue service may: it duplicates, reorders, delays and throttles,
 * loses replies and acknowledgements, and hands out stale receipts. The same seed makes the same faults, and every
 * error that it makes names the seed. Queues that keep an order (FIFO) keep it: no service breaks that promise.
 */
export function hostileBroker(broker: Broker, seed: number, faults: Given<Faults> = {}): Broker {
  const random = seededRandom(seed);
  const rates: Faults = { ...DEFAULTS, ...defined(faults) };
  const strikes = (fault: keyof Faults) => random() < rates[fault];
  const fail = (what: string) => new OperationalError(`the hostile broker ${what} (seed ${seed})`, { retryable: true });

  /** Sorted by a number drawn for each: any order can come of it. */
  const shuffled = <T>(items: readonly T[]): readonly T[] =>
    items
      .map((item) => ({ item, place: random() }))
      .sort((a, b) => a.place - b.place)
      .map(({ item }) => item);

  /** Does to some entries what is asked, and tells the others that they were throttled. */
  async function some<T>(entries: readonly T[], act: (chosen: readonly T[]) => Promise<Settled>): Promise<Settled> {
    const throttled = entries.map(() => strikes("throttle"));
    const answers = await act(entries.filter((_, index) => !throttled[index]));
    let next = 0;
    return throttled.map((refused) => (refused ? fail("throttled a request") : answers[next++]));
  }

  return {
    limits: broker.limits,

    send: (entries) =>
      some(entries, async (chosen) => {
        const late = chosen.map((entry) =>
          strikes("delay") && !isFifo(entry.queue)
            ? {
                ...entry,
                delaySeconds: Math.min(broker.limits.maxDelaySeconds, (entry.delaySeconds ?? 0) + random() * LATEST_S),
              }
            : entry,
        );
        const answers = await broker.send(late);
        const twice = late.filter(
          (entry, index) => answers[index] === undefined && !isFifo(entry.queue) && strikes("duplicate"),
        );
        if (twice.length > 0) await broker.send(shuffled(twice));
        return answers.map((answer) => answer ?? (strikes("loseReply") ? fail("lost the reply to a send") : undefined));
      }),

    async receive(queue, options) {
      if (strikes("throttle")) throw fail("throttled a receive");
      const deliveries = await broker.receive(queue, options);
      if (isFifo(queue)) return deliveries;
      const stale: readonly Delivery[] = deliveries.filter(() => strikes("stale"));
      if (stale.length > 0) await broker.changeVisibility(stale.map((delivery) => ({ delivery, visibility: 0 })));
      return shuffled(deliveries);
    },

    delete: (deliveries) =>
      some(deliveries, async (chosen) => {
        const kept = chosen.map((delivery) => !isFifo(delivery.queue) && strikes("loseDelete"));
        const answers = await broker.delete(chosen.filter((_, index) => !kept[index]));
        let next = 0;
        return kept.map((lost) => (lost ? undefined : answers[next++]));
      }),

    changeVisibility: (entries) => some(entries, (chosen) => broker.changeVisibility(chosen)),
    queues: () => broker.queues(),
    size: (queue) => broker.size(queue),
    purge: (queue) => broker.purge(queue),
    close: () => broker.close(),
  };
}
