/**
 * Priority on a service that has none: a queue of which the app declares `priorities` is several queues there, its bands. What is
 * sent goes to the band of its priority; who receives empties the higher bands first, as kombu does on Redis. The rest of
 * Lovage knows the one queue.
 */
import {
  type Broker,
  deadLetterQueue,
  type Delivery,
  type Outgoing,
  type QueueSize,
  type ReceiveOptions,
} from "./broker.ts";
import { type Band, type Bands, bandQueues, translateQueueName } from "./queue-name.ts";

/** Of so many receives of a queue one begins with a lower band, so that none waits for ever while higher ones have work. */
const TURNS = 8;

/** The place of the band that takes a priority: the highest that is not above it, or the lowest of all. */
const bandOf = (bands: readonly Band[], priority: number): number =>
  Math.max(
    0,
    bands.findLastIndex((band) => band.priority <= priority),
  );

/**
 * Has queues with bands served by a broker that acts upon no priority.
 *
 * @param queues What bands there are, by the queue's name.
 */
export function withBands(broker: Broker, queues: ReadonlyMap<string, Bands>): Broker {
  const namesOf = (queue: string): readonly string[] => {
    const bands = queues.get(queue);
    return bands === undefined ? [queue] : bandQueues(queue, bands);
  };
  /** A service lists its queues by the names that it has for them. */
  const listed = new Set(
    [...queues.keys()].flatMap((queue) => namesOf(queue).slice(1)).map((name) => translateQueueName("", name)),
  );
  /** How often each queue was asked. */
  const turns = new Map<string, number>();
  /** Whose bands were all empty when they were asked last: they are asked to wait at once. */
  const idle = new Set<string>();

  const inBand = (entry: Outgoing): Outgoing => {
    const bands = queues.get(entry.queue);
    if (bands === undefined) return entry;
    const name = bandQueues(entry.queue, bands)[bandOf(bands, entry.priority ?? 0)];
    return name === undefined || name === entry.queue
      ? entry
      : { ...entry, queue: name, deadLetters: deadLetterQueue(entry.queue) };
  };
  const fromBand = (delivery: Delivery): Delivery => ({ ...delivery, queue: delivery.band ?? delivery.queue });

  async function takeFrom(queue: string, name: string, options: ReceiveOptions): Promise<readonly Delivery[]> {
    const { taken: _, ...asked } = options;
    const deliveries = await broker.receive(name, asked);
    return name === queue ? deliveries : deliveries.map((delivery) => ({ ...delivery, queue, band: name }));
  }

  /** The highest first; now and then one of the others comes before it, each in turn. */
  function orderOf(queue: string): readonly string[] {
    const names = namesOf(queue).toReversed();
    const turn = (turns.get(queue) ?? 0) + 1;
    turns.set(queue, turn);
    if (turn % TURNS !== 0) return names;
    const first = names[names.length - 1 - ((turn / TURNS - 1) % (names.length - 1))] as string;
    return [first, ...names.filter((name) => name !== first)];
  }

  async function receive(queue: string, options: ReceiveOptions): Promise<readonly Delivery[]> {
    const names = orderOf(queue);
    const { max, wait, signal } = options;
    if (wait === 0 || !idle.has(queue)) {
      const taken: Delivery[] = [];
      try {
        for (const name of names) {
          if (signal?.aborted === true) break;
          const most = Math.min(max - taken.length, broker.limits.maxReceive ?? max);
          const some = await takeFrom(queue, name, { ...options, max: max - taken.length, wait: 0 });
          taken.push(...some);
          // It may have more: the lower ones wait until it has not.
          if (some.length >= most) break;
        }
      } catch (error) {
        // What was handed out already is hidden from everybody else.
        if (taken.length === 0) throw error;
      }
      if (taken.length > 0 || wait === 0) return taken;
    }
    const found = await waitForAny(queue, names, options);
    if (found.length === 0) idle.add(queue);
    else idle.delete(queue);
    return found;
  }

  /** Asks all bands to wait. Of what came at the same time the higher comes first, and what is too much goes back. */
  async function waitForAny(
    queue: string,
    names: readonly string[],
    options: ReceiveOptions,
  ): Promise<readonly Delivery[]> {
    const found = new AbortController();
    const signal = options.signal === undefined ? found.signal : AbortSignal.any([options.signal, found.signal]);
    const settled = await Promise.allSettled(
      names.map(async (name) => {
        const some = await takeFrom(queue, name, { ...options, signal });
        if (some.length > 0) found.abort("one has something");
        return some;
      }),
    );
    const taken = settled.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    const failed = settled.find((one) => one.status === "rejected");
    if (taken.length === 0 && failed !== undefined) throw failed.reason;
    const tooMany = taken.slice(options.max);
    if (tooMany.length > 0)
      await broker.changeVisibility(tooMany.map((delivery) => ({ delivery: fromBand(delivery), visibility: 0 })));
    return taken.slice(0, options.max);
  }

  const { maxBytes, oldest } = broker;
  return {
    limits: broker.limits,
    send: (entries, unit) => broker.send(entries.map(inBand), unit),
    receive: (queue, options) => (queues.has(queue) ? receive(queue, options) : broker.receive(queue, options)),
    delete: (deliveries, unit) => broker.delete(deliveries.map(fromBand), unit),
    changeVisibility: (entries) =>
      broker.changeVisibility(
        entries.map(({ delivery, visibility }) => ({ delivery: fromBand(delivery), visibility })),
      ),
    async queues() {
      return (await broker.queues()).filter((name) => !listed.has(name));
    },
    async size(queue) {
      const sizes = await Promise.all(namesOf(queue).map((name) => broker.size(name)));
      const sum = (of: (size: QueueSize) => number) => sizes.reduce((all, size) => all + of(size), 0);
      return {
        ready: sum(({ ready }) => ready),
        delayed: sum(({ delayed }) => delayed),
        inFlight: sum(({ inFlight }) => inFlight),
      };
    },
    ...(maxBytes === undefined ? {} : { maxBytes: (queue: string) => maxBytes.call(broker, queue) }),
    ...(oldest === undefined
      ? {}
      : {
          async oldest(queue: string) {
            const ages = await Promise.all(namesOf(queue).map((name) => oldest.call(broker, name)));
            const known = ages.filter((age) => age !== undefined);
            return known.length === 0 ? undefined : Math.min(...known);
          },
        }),
    async purge(queue) {
      const counts = await Promise.all(namesOf(queue).map((name) => broker.purge(name)));
      return counts.some((count) => count === undefined)
        ? undefined
        : counts.reduce<number>((all, count) => all + (count ?? 0), 0);
    },
    close: () => broker.close(),
  };
}
