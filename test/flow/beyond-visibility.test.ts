/** A run that goes on for longer than a queue service hides a message: SQS does so for twelve hours from when it was received. */
import { currentTask, Lovage } from "lovage";
import { expect, test } from "vitest";
import { type Broker, type Delivery, deadLetterQueue } from "../../src/brokers/broker.ts";
import { inMemory } from "./stores.ts";

const LIMIT_S = 43_200;
/** SQS's is 1,000, which takes as many looks. */
const MOST_RECEIVES = 40;

/** What SQS does with a message that is held for long: no longer than so many hours, and it gives it out so often. */
function likeSqs(broker: Broker, now: () => number) {
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
      const isBeyond = ({ delivery, visibility }: (typeof entries)[number]) =>
        now() + visibility > (received.get(delivery.receipt) ?? now()) + LIMIT_S * 1000;
      await broker.changeVisibility(entries.filter((entry) => !isBeyond(entry)));
      return entries.map((entry) =>
        isBeyond(entry) ? new Error(`Total VisibilityTimeout is beyond the limit [${LIMIT_S} seconds]`) : undefined,
      );
    },
  };
  return { wrapped, receives };
}

/** A task that ends when it is told to, on a queue of a service like SQS. */
function begin(queue: string) {
  const app = new Lovage("studio");
  const seen: unknown[] = [];
  let finish: (frames: number) => void = () => {};
  const told: number[] = [];
  const tell = app.task("studio.tell", (frames: number) => void told.push(frames));
  const encode = app.task("studio.encode", { queue }, () => {
    seen.push(currentTask()?.request.retries);
    return new Promise<number>((resolve) => {
      finish = resolve;
    });
  });
  let service: ReturnType<typeof likeSqs> | undefined;
  const t = inMemory(app, {
    concurrency: 2,
    config: { brokerTransportOptions: { visibilityTimeout: 120 }, taskQueues: { celery: {}, [queue]: {} } },
    broker(broker) {
      service = likeSqs(broker, () => t.clock.now());
      return service.wrapped;
    },
  });
  const ofVideo = () => service?.receives.filter((delivery) => delivery.queue === queue) ?? [];
  return { app, t, encode, tell, seen, told, ofVideo, finish: (frames: number) => finish(frames) };
}

test.each(["video", "video.fifo"])("it ends once, as the attempt that it began as, from %s", async (queue) => {
  const { app, t, encode, tell, seen, told, ofVideo, finish } = begin(queue);
  const result = await encode.applyAsync([], { link: tell.s() });
  await t.advance({ hours: 11 });
  expect(ofVideo()).toHaveLength(1);
  // More looks than the service grants to one message.
  await t.advance({ hours: 4 });
  expect(ofVideo().length).toBeGreaterThan(MOST_RECEIVES / 4);
  finish(54_000);
  await t.advance({ hours: 2 });
  expect(await result.get()).toBe(54_000);
  expect(seen).toEqual([0]);
  expect(told).toEqual([54_000]);
  expect(await t.deadLetters()).toEqual([]);
  expect(await (await app.engine.broker()).size(queue)).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
});

test.each(["video", "video.fifo"])("if its worker dies then, another takes it over, from %s", async (queue) => {
  const { t, encode, seen, finish } = begin(queue);
  const result = await encode.delay();
  await t.advance({ hours: 13 });
  t.crash();
  await t.advance({ hours: 1 });
  finish(1);
  await t.advance({ hours: 1 });
  expect(await result.get()).toBe(1);
  expect(seen).toEqual([0, 0]);
  expect(await t.deadLetters()).toEqual([]);
});

test("what is behind it on a FIFO queue waits for it", async () => {
  const { t, encode, seen, finish } = begin("video.fifo");
  const first = await encode.delay();
  const second = await encode.delay();
  await t.advance({ hours: 14 });
  expect(seen).toHaveLength(1);
  finish(1);
  await t.advance({ hours: 2 });
  expect(await first.get()).toBe(1);
  finish(2);
  await t.advance({ hours: 1 });
  expect(await second.get()).toBe(2);
});
