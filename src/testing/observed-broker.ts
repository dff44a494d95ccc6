import type { Broker } from "../brokers/broker.ts";

/** Told of each instant at which a queue may have something new to hand out, in milliseconds since the epoch. */
export type Observe = (instant: number) => void;

/** A broker laid around another, which tells when what is delayed or hidden can be had. */
export function observedBroker(broker: Broker, now: () => number, observe: Observe): Broker {
  const inSoMany = (ms: number) => {
    if (ms > 0) observe(Math.ceil(now() + ms));
  };
  return {
    ...broker,
    async send(entries, unit) {
      const settled = await broker.send(entries, unit);
      for (const { delaySeconds = 0 } of entries) inSoMany(delaySeconds * 1000);
      return settled;
    },
    async receive(queue, options) {
      const deliveries = await broker.receive(queue, options);
      if (deliveries.length > 0) inSoMany(options.visibility ?? 0);
      return deliveries;
    },
    async changeVisibility(entries) {
      const settled = await broker.changeVisibility(entries);
      for (const { visibility } of entries) inSoMany(visibility);
      return settled;
    },
  };
}
