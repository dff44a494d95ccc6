/** A queue service with the limits of SQS: for how long it hides, how often it gives out, how far ahead it takes a message. */
import { type Broker, type Delivery, deadLetterQueue } from "../../src/brokers/broker.ts";

const LIMIT_S = 43_200;
/** SQS's is 1,000, which takes as many looks. */
export const MOST_RECEIVES = 40;

/** What SQS does with a message that is held for long: no longer than so many hours, and it gives it out so often. */
export function likeSqs(broker: Broker, now: () => number) {
  const received = new Map<string, number>();
  const receives: Delivery[] = [];
  const wrapped: Broker = {
    ...broker,
    // SQS is no store of rows.
    store: undefined,
    limits: { ...broker.limits, maxVisibilitySeconds: LIMIT_S, maxReceives: MOST_RECEIVES, maxDelaySeconds: 900 },
    async receive(queue, options) {
      const deliveries = await broker.receive(queue, options);
      for (const delivery of deliveries) {
        received.set(delivery.receipt, now());
        receives.push(delivery);
      }
      const spent = deliveries.filter(({ receiveCount }) => receiveCount > MOST_RECEIVES);
      await broker.send(spent.map((delivery) => ({ ...delivery, queue: deadLetterQueue(queue) })));
      await broker.delete(spent);
      return deliveries.filter((delivery) => !spent.includes(delivery));
    },
    async changeVisibility(entries) {
      // Between the two a moment passes, which a virtual clock has not.
      const isBeyond = ({ delivery, visibility }: (typeof entries)[number]) =>
        now() + visibility >= (received.get(delivery.receipt) ?? now()) + LIMIT_S * 1000;
      await broker.changeVisibility(entries.filter((entry) => !isBeyond(entry)));
      return entries.map((entry) =>
        isBeyond(entry) ? new Error(`Total VisibilityTimeout is beyond the limit [${LIMIT_S} seconds]`) : undefined,
      );
    },
  };
  return { wrapped, receives };
}
