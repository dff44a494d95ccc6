/** A run that goes on for longer than a queue service hides a message: SQS does so for twelve hours from when it was received. */
import { currentTask, Lovage, type TaskContext } from "lovage";
import { expect, test } from "vitest";
import { envelope } from "./envelopes.ts";
import { likeSqs, MOST_RECEIVES } from "./like-sqs.ts";
import { inMemory } from "./stores.ts";

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

test("a message that came to a FIFO queue days before it is due waits there", async () => {
  const { app, t, ofVideo } = begin("video.fifo");
  const ran: number[] = [];
  app.task("studio.show", () => void ran.push(t.clock.now()));
  const eta = new Date(t.clock.now() + 3 * 86_400_000).toISOString();
  await t.put(envelope({ task: "studio.show", id: "far", headers: { eta } }), "video.fifo");
  await t.advance({ hours: 80 });
  expect(ran).toEqual([Date.parse(eta)]);
  expect(ofVideo().length).toBeLessThan(20);
  expect(await t.deadLetters()).toEqual([]);
});

test("a copy of an attempt before that of a task which something takes the place of waits for it, and does it no harm", async () => {
  const app = new Lovage("studio");
  const told: number[] = [];
  const tell = app.task("studio.tell", (n: number) => void told.push(n));
  const later = app.task("studio.later", (n: number) => n);
  const work = app.task("studio.work", { bind: true }, (self: TaskContext) =>
    self.request.retries === 0 ? self.retry({ countdown: 0 }) : self.replace(later.si(7).set({ countdown: 2 * 3600 })),
  );
  let service: ReturnType<typeof likeSqs> | undefined;
  let sends = 0;
  const t = inMemory(app, {
    broker(broker) {
      service = likeSqs(broker, () => t.clock.now());
      return {
        ...service.wrapped,
        async send(entries) {
          if (sends++ === 0) await broker.send(entries.map((entry) => ({ ...entry, delaySeconds: 60 })));
          return broker.send(entries);
        },
      };
    },
  });
  const result = await work.applyAsync([], { link: tell.s() });
  await t.advance({ hours: 4 });
  expect(await result.get()).toBe(7);
  expect(told).toEqual([7]);
  expect(await t.deadLetters()).toEqual([]);
  expect(Math.max(...(service?.receives ?? []).map(({ receiveCount }) => receiveCount))).toBeLessThan(MOST_RECEIVES);
});
