/** Priority through the public API: on brokers that have it, and by bands (`priorities`) on one that has none, as SQS. */
import { Lovage, registerBroker } from "lovage";
import { testApp } from "lovage/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import * as memory from "../../src/brokers/memory.ts";
import { testFunction, toRecord } from "../lambda/function.ts";

/** As SQS: it carries a priority, and hands out what came first. */
registerBroker("carries", async () => ({
  open: (url, context) => {
    const broker = memory.open(url.replace("carries", "memory"), context);
    return {
      ...broker,
      limits: { ...broker.limits, priority: false, maxDelaySeconds: 900, maxReceive: 10 },
      send: (entries) => broker.send(entries.map(({ priority: _, due: __, ...entry }) => entry)),
    };
  },
}));

let homes = 0;
const kinds = [
  ["memory, with bands", "memory", true],
  ["a broker that only carries it, with bands", "carries", true],
  ["memory, without bands", "memory", false],
] as const;

function start(scheme: string, hasBands: boolean) {
  const app = new Lovage("shop", { taskQueues: { celery: hasBands ? { priorities: [0, 5, 9] } : {} } });
  const ran: string[] = [];
  const home = `${scheme}://priority-${++homes}`;
  const config = { brokerUrl: home, resultBackend: home.replace(/^\w+/, "memory") };
  return { app, ran, config };
}

describe.each(kinds)("on %s", (_, scheme, hasBands) => {
  test("what is higher runs first, whatever was called first", async () => {
    const { app, ran, config } = start(scheme, hasBands);
    const work = app.task("shop.work", (name: string) => void ran.push(name));
    await using t = testApp(app, { config });
    await work.applyAsync(["low"], { priority: 0 });
    await work.delay("none");
    await work.applyAsync(["high"], { priority: 9 });
    await work.applyAsync(["middle"], { priority: 5 });
    await t.drain();
    expect(ran).toEqual(["high", "middle", "low", "none"]);
  });

  test("a retry, a delay, a follow-up and a failed task that is retried by hand keep their priority", async () => {
    const { app, ran, config } = start(scheme, hasBands);
    let isBroken = true;
    const fill = app.task("shop.fill", () => void ran.push("fill"));
    const flaky = app.task("shop.flaky", { bind: true }, (self) => {
      if (self.request.retries === 0) throw self.retry({ countdown: 1 });
      ran.push("flaky");
    });
    const broken = app.task("shop.broken", () => {
      if (isBroken) throw new Error("no");
      ran.push("broken");
    });
    await using t = testApp(app, { config });
    const fillUp = async () => {
      for (let at = 0; at < 3; at++) await fill.delay();
    };
    await flaky.applyAsync([], { priority: 9 });
    const failed = await broken.applyAsync([], { priority: 9 });
    await t.drain();
    // A second later all four are ready at the same time.
    for (let at = 0; at < 3; at++) await fill.applyAsync([], { countdown: 1 });
    await t.advance(1000);
    expect(ran).toEqual(["flaky", "fill", "fill", "fill"]);
    isBroken = false;
    ran.length = 0;
    await fillUp();
    await app.control.retry(failed.id);
    await t.drain();
    expect(ran).toEqual(["broken", "fill", "fill", "fill"]);
  });

  test("queues are counted and purged as one", async () => {
    const { app, config } = start(scheme, hasBands);
    const work = app.task("shop.work", (_: number) => null);
    await using _t = testApp(app, { config });
    for (const priority of [0, 5, 9]) await work.applyAsync([1], { priority });
    const [queue, ...others] = await app.control.inspect().queues();
    expect(queue).toMatchObject({ queue: "celery", ready: 3, deadLetters: 0 });
    expect(others).toEqual([]);
    expect(await app.control.purge("celery")).toBe(3);
  });

  test("a dead letter is the queue's, whatever its band, and goes back where it was", async () => {
    const { app, ran, config } = start(scheme, hasBands);
    const fill = app.task("shop.fill", () => void ran.push("fill"));
    await using t = testApp(app, { config });
    await app.sendTask("shop.later", [], { priority: 9 });
    // Until nobody waits any more for a worker that knows it.
    await t.advance({ minutes: 10 });
    expect(await t.deadLetters()).toHaveLength(1);
    for await (const letter of app.control.deadLetters.list())
      expect(letter).toMatchObject({ queue: "celery", task: "shop.later" });
    app.task("shop.later", () => void ran.push("later"));
    await fill.delay();
    await app.control.deadLetters.redrive();
    await t.drain();
    expect(ran).toEqual(["later", "fill"]);
  });
});

test("without bands a broker that has no priority carries it, and a task sees it", async () => {
  const { app, ran, config } = start("carries", false);
  const work = app.task(
    "shop.work",
    { bind: true },
    (self) => void ran.push(String(self.request.deliveryInfo.priority)),
  );
  await using t = testApp(app, { config });
  await work.applyAsync([], { priority: 0 });
  await work.applyAsync([], { priority: 9 });
  await t.drain();
  expect(ran).toEqual(["0", "9"]);
});

test("a function is given the messages of each band, and answers for the one queue", async () => {
  const { app, ran, config } = start("carries", true);
  const work = app.task("shop.work", (name: string) => {
    if (name === "odd") throw new Error("odd");
    ran.push(name);
  });
  const fn = testFunction(app, { config });
  await work.applyAsync(["high"], { priority: 9 });
  const [delivery] = await fn.receive();
  expect(delivery).toMatchObject({ queue: "celery", band: "celery-priority-9" });
  const record = toRecord({ ...(delivery as NonNullable<typeof delivery>), queue: "celery-priority-9" });
  expect(await fn.handle({ Records: [record] })).toEqual({ batchItemFailures: [] });
  expect(ran).toEqual(["high"]);
  expect(fn.lines.some(({ queue }) => queue === "celery-priority-9")).toBe(false);
  onTestFinished(() => fn.close());
});

test.each<[string, Record<string, object>, string]>([
  ["one band", { celery: { priorities: [0] } }, "taskQueues.celery.priorities: must be two to 10 priorities"],
  ["the same twice", { celery: { priorities: [0, 5, 5] } }, "each another one"],
  ["eleven", { celery: { priorities: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] } }, "two to 10"],
  ["a fraction", { celery: { priorities: [0, 2.5] } }, "a whole number from 0 to 255 (given: 2.5)"],
  ["one that is too high", { celery: { priorities: [0, 256] } }, "a whole number from 0 to 255 (given: 256)"],
  ["no list", { celery: { priorities: 9 } }, "taskQueues.celery.priorities: must be an object (given: 9)"],
  ["a weight of nothing", { celery: { priorities: { 0: 1, 9: 0 } } }, "taskQueues.celery.priorities.9"],
  ["a priority that is a name", { celery: { priorities: { low: 1, 9: 2 } } }, 'given: "low"'],
  ["a FIFO queue", { "a.fifo": { priorities: [0, 9] }, celery: {} }, "a FIFO queue keeps the order"],
  [
    "the name of a queue that there is",
    { celery: { priorities: [0, 9] }, "celery.priority.9": {} },
    'there is one declared of that name: rename "celery.priority.9"',
  ],
  ["a name that is too long by it", { [`q${"x".repeat(70)}`]: { priorities: [0, 9] }, celery: {} }, "is too long"],
])("bands are refused at the declaration: %s", (_, taskQueues, message) => {
  expect(() => new Lovage("shop", { taskQueues })).toThrow(message);
});
