/**
 * A queue service's time made virtual: what is hidden or delayed comes back when a clock passes, and nobody waits. The
 * service keeps the messages, hides them, hands them out and deletes them; it is only told sooner that a time is over.
 */
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import type { VirtualClock } from "lovage/testing";

/** As long as the service can, in milliseconds: nothing becomes visible by itself meanwhile. */
const LONG_MS = 43_200_000;
/** The attribute that says until when a message is delayed. */
const DUE = "dueAt";

interface ByClock extends Broker {
  /** When the next message of these queues that is hidden or delayed comes back, in milliseconds since the epoch. */
  nextDue(queues: readonly string[]): number | undefined;
}

/** All workers of one set of queues share one. */
export function byClock(broker: Broker, clock: VirtualClock): ByClock {
  const held = new Map<string, { readonly delivery: Delivery; due: number }>();
  /** How often a message was only handed out to be told that it is not due. */
  const vain = new Map<string, number>();

  /** Hands back what has been hidden for long enough. */
  async function release(queue: string): Promise<void> {
    const over = [...held.values()].filter(({ delivery, due }) => delivery.queue === queue && due <= clock.now());
    for (const { delivery } of over) held.delete(delivery.messageId);
    await broker.changeVisibility(over.map(({ delivery }) => ({ delivery, visibility: 0 })));
  }

  const isHeld = ({ messageId, receipt }: Delivery) => held.get(messageId)?.delivery.receipt === receipt;

  return {
    ...broker,
    nextDue(queues) {
      const dues = [...held.values()].flatMap(({ delivery, due }) => (queues.includes(delivery.queue) ? [due] : []));
      return dues.length === 0 ? undefined : Math.min(...dues);
    },
    send: (entries) =>
      broker.send(
        entries.map(({ delaySeconds = 0, ...entry }) =>
          delaySeconds === 0
            ? entry
            : { ...entry, attributes: { ...entry.attributes, [DUE]: String(clock.now() + delaySeconds * 1000) } },
        ),
      ),
    async receive(queue, { max, visibility = 30_000 }) {
      await release(queue);
      for (;;) {
        const found = await broker.receive(queue, { max, wait: 0, visibility: LONG_MS });
        const ready = found.flatMap((delivery) => {
          const { [DUE]: due, ...attributes } = delivery.attributes;
          const { messageId, receiveCount } = delivery;
          if (Number(due ?? 0) > clock.now()) {
            held.set(messageId, { delivery, due: Number(due) });
            vain.set(messageId, (vain.get(messageId) ?? 0) + 1);
            return [];
          }
          held.set(messageId, { delivery, due: clock.now() + visibility });
          return [{ ...delivery, attributes, receiveCount: receiveCount - (vain.get(messageId) ?? 0) }];
        });
        if (ready.length > 0 || found.length === 0) return ready;
      }
    },
    async delete(deliveries) {
      for (const delivery of deliveries) if (isHeld(delivery)) held.delete(delivery.messageId);
      return broker.delete(deliveries);
    },
    async changeVisibility(entries) {
      for (const { delivery, visibility } of entries) {
        if (!isHeld(delivery)) continue;
        if (visibility === 0) held.delete(delivery.messageId);
        else held.set(delivery.messageId, { delivery, due: clock.now() + visibility });
      }
      return broker.changeVisibility(
        entries.map(({ delivery, visibility }) => ({ delivery, visibility: visibility === 0 ? 0 : LONG_MS })),
      );
    },
  };
}
