/** What a worker does with a message that it gets although it has it. */
import { expect, test } from "vitest";
import type { Delivery } from "../../src/brokers/broker.ts";
import { systemClock } from "../../src/clock.ts";
import { createHand, type RunInHand } from "../../src/workers/in-hand.ts";
import type { Holding } from "../../src/workers/holding.ts";

const delivery = (receipt: "first" | "again" | "once more", queue = "celery"): Delivery => ({
  queue,
  receipt,
  messageId: "1",
  body: "",
  receiveCount: receipt === "first" ? 1 : 2,
  sentAt: 0,
  attributes: {},
});

/** No step of these is asked for. */
const run = { message: { id: "id", task: "task" } } as unknown as RunInHand;
const claim = { key: "key", owner: "owner" };

function setUp() {
  const kept = new Map<number, Holding>();
  const hand = createHand({
    heartbeat: { hold: (holding) => void kept.set(holding.id, holding), drop: (id) => void kept.delete(id) },
    clock: systemClock,
    log: () => {},
    pool: undefined,
    over: new AbortController().signal,
  });
  return { hand, kept };
}

test("a message that comes again while it is in hand is kept, and acknowledged, by its latest receipt", () => {
  const { hand, kept } = setUp();
  const held = hand.take(delivery("first"), undefined);
  hand.begin(held, run);
  hand.keep(held, claim, Number.POSITIVE_INFINITY);
  expect(hand.renew(delivery("again"))).toBe(true);
  expect(held.delivery.receipt).toBe("again");
  expect([...kept.values()]).toMatchObject([{ delivery: { receipt: "again" }, claim }]);
  expect(hand.size).toBe(1);
  // Ids are of one queue.
  expect(hand.renew(delivery("again", "another"))).toBe(false);
  hand.end(held);
  hand.forget(held);
  expect(hand.renew(delivery("once more"))).toBe(false);
  expect(kept.size).toBe(0);
});

test("what another worker has taken over may come again, and is kept by whoever has it then", () => {
  const { hand, kept } = setUp();
  const lost = hand.take(delivery("first"), undefined);
  hand.begin(lost, run);
  hand.keep(lost, claim, Number.POSITIVE_INFINITY);
  hand.renew(delivery("again"));
  hand.found({ id: lost.id, finding: "lost" });
  expect(kept.get(lost.id)).toMatchObject({ delivery: { receipt: "" }, claim: undefined });
  // The deadline of what goes on is still kept.
  hand.keep(lost, claim, Date.now() + 60_000);
  expect(kept.get(lost.id)).toMatchObject({
    delivery: { receipt: "" },
    claim: undefined,
    deadline: expect.any(Number),
  });
  expect(hand.renew(delivery("once more"))).toBe(false);
  const held = hand.take(delivery("once more"), undefined);
  hand.end(lost);
  hand.forget(lost);
  expect([...kept.values()]).toMatchObject([{ id: held.id, delivery: { receipt: "once more" } }]);
  expect(hand.renew(delivery("again"))).toBe(true);
});
