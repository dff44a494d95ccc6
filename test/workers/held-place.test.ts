/** Retries on a FIFO queue: their group waits for them, and none of it uses up receives. */
import { Lovage, Reject } from "lovage";
import { hostileBroker } from "lovage/testing";
import { describe, expect, test } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import { stores } from "../flow/stores.ts";

const queue = "orders.fifo";
const makeApp = () => new Lovage("shop", { taskQueues: { celery: {}, [queue]: {} }, taskDefaultQueue: queue });

/** The most often that any text of the queue was handed out, and what it was. */
function counting() {
  const most = new Map<string, number>();
  const wrap = (broker: Broker): Broker => ({
    ...broker,
    async receive(from, options) {
      const deliveries = await broker.receive(from, options);
      for (const { body, receiveCount } of deliveries) {
        const { id } = JSON.parse(body).headers;
        most.set(id, Math.max(receiveCount, most.get(id) ?? 0));
      }
      return deliveries;
    },
  });
  return { most, wrap };
}

describe.each(stores)("on %s", (_, start) => {
  test.each([0, 30, 90_000])("forty retries, %i s apart, are two receives of each message", async (countdown) => {
    const app = makeApp();
    const ran: string[] = [];
    const head = app.task("head", { bind: true, maxRetries: 40 }, (self) => {
      ran.push(`head ${self.request.retries}`);
      return self.request.retries < 40 ? self.retry({ countdown }) : "done";
    });
    const next = app.task("next", (n: number) => void ran.push(`next ${n}`));
    const { most, wrap } = counting();
    const t = start(app, { broker: wrap, config: { resultExpires: 90 * 86_400 } });
    const first = await head.applyAsync([], { MessageGroupId: "g", taskId: "head" });
    for (const n of [1, 2]) await next.applyAsync([n], { MessageGroupId: "g", taskId: `next ${n}` });
    await next.applyAsync([3], { MessageGroupId: "other" });
    // The longest of all waits is far beyond the twelve hours of SQS, and a place is kept for an hour at a time.
    await t.advance({ days: 45 });
    expect(await first.get()).toBe("done");
    expect(ran.filter((what) => what !== "next 3")).toEqual([
      ...Array.from({ length: 41 }, (_, n) => `head ${n}`),
      "next 1",
      "next 2",
    ]);
    expect(ran.indexOf("next 3")).toBeLessThan(3);
    if (countdown < 1000) expect(Math.max(...most.values())).toBeLessThanOrEqual(2);
    expect(await (await app.engine.broker()).size(queue)).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
    expect(await t.deadLetters()).toEqual([]);
  });

  test("each attempt has the arguments and the limits of the one before it, and the group's name", async () => {
    const app = makeApp();
    const seen: unknown[] = [];
    const task = app.task("task", { bind: true }, (self, n: number) => {
      const { retries, properties } = self.request as typeof self.request & { readonly properties?: unknown };
      seen.push([n, retries, properties]);
      return retries < 2 ? self.retry({ countdown: 5, args: [n + 1] }) : n;
    });
    const t = start(app);
    const result = await task.applyAsync([1], { MessageGroupId: "g", MessageDeduplicationId: "once" });
    await t.advance({ hours: 1 });
    expect(await result.get()).toBe(3);
    expect(seen.map((entry) => (entry as unknown[]).slice(0, 2))).toEqual([
      [1, 0],
      [2, 1],
      [3, 2],
    ]);
  });

  test("a task that does not claim is retried there too", async () => {
    const app = makeApp();
    const task = app.task("task", { bind: true, claim: false }, (self) =>
      self.request.retries < 2 ? self.retry({ countdown: 5 }) : self.request.retries,
    );
    const next = app.task("next", () => "next");
    const t = start(app);
    const results = [await task.delay(), await next.delay()];
    await t.advance({ hours: 1 });
    expect(await Promise.all(results.map((result) => result.get()))).toEqual([2, "next"]);
  });

  test.each(["fails", "rejects", "ignores", "leaves", "is replaced", "is revoked", "expires"])(
    "the group goes on when a retry %s",
    async (how) => {
      const app = makeApp();
      const other = app.task("other", () => "other");
      const task = app.task("task", { bind: true, throws: [RangeError] }, (self) => {
        if (self.request.retries === 0) return self.retry({ countdown: 60, ...(how === "expires" && { expires: 30 }) });
        if (how === "rejects") throw new Reject("no");
        if (how === "leaves" && self.request.retries === 1) return self.retry({ queue: "celery", countdown: 36_000 });
        if (how === "is replaced") return self.replace(other.s());
        if (how === "fails") throw new RangeError("no");
        return "done";
      });
      const next = app.task("next", () => "next");
      const t = start(app, { config: { resultExpires: 90 * 86_400 } });
      const first = await task.applyAsync([], { MessageGroupId: "g" });
      const second = await next.applyAsync([], { MessageGroupId: "g" });
      await t.advance({ seconds: 10 });
      expect(await second.state()).toBe("PENDING");
      if (how === "is revoked") await first.revoke();
      await t.advance({ minutes: 5 });
      expect(await second.state()).toBe("SUCCESS");
      const letters = await t.deadLetters();
      expect(letters.length).toBe(how === "rejects" ? 1 : 0);
      await t.advance({ hours: 20 });
      expect(await first.state()).toBe(
        { fails: "FAILURE", rejects: "FAILURE", "is revoked": "REVOKED", expires: "REVOKED" }[how] ?? "SUCCESS",
      );
      const { ready, delayed, inFlight } = await (await app.engine.broker()).size(queue);
      expect(ready + delayed + inFlight).toBe(0);
    },
  );

  test("a place that could not be kept, or was lost, costs receives, and no order", async () => {
    const app = makeApp();
    const ran: string[] = [];
    const head = app.task("head", { bind: true, maxRetries: null }, (self) => {
      ran.push(`head ${self.request.retries}`);
      return self.request.retries < 3 ? self.retry({ countdown: 600 }) : "done";
    });
    const next = app.task("next", () => void ran.push("next"));
    let isLost = true;
    const t = start(app, {
      broker: (broker) => ({
        ...broker,
        changeVisibility: async (entries) =>
          broker.changeVisibility(
            // As SQS does where what is asked for is more than it allows.
            entries.filter(({ visibility }) => visibility < 3_600_000 || !isLost),
          ),
      }),
    });
    await head.applyAsync([], { MessageGroupId: "g" });
    await next.applyAsync([], { MessageGroupId: "g" });
    await t.advance({ minutes: 15 });
    isLost = false;
    await t.advance({ hours: 3 });
    expect(ran).toEqual(["head 0", "head 1", "head 2", "head 3", "next"]);
  });

  test("a retry that is too large for its queue is a failure, and the group goes on", async () => {
    const app = makeApp();
    const head = app.task("head", { bind: true }, (self, _: unknown) =>
      self.retry({ countdown: 1, args: ["x".repeat(5000)] }),
    );
    const next = app.task("next", () => "next");
    const t = start(app, {
      broker: (broker) => ({
        ...broker,
        send: async (entries) =>
          Promise.all(
            entries.map(async (entry) =>
              entry.body.length > 4000
                ? new (await import("lovage")).PayloadTooLarge("the message", entry.body.length, 4000)
                : (await broker.send([entry]))[0],
            ),
          ),
      }),
    });
    const first = await head.delay("");
    const second = await next.delay();
    await t.advance({ minutes: 5 });
    expect(await first.state()).toBe("FAILURE");
    expect(await second.state()).toBe("SUCCESS");
  });
});

test("what sends the dead letter of a retry back puts it into its own group", async () => {
  const app = makeApp();
  const task = app.task("task", { bind: true }, (self) => {
    if (self.request.retries === 0) return self.retry({ countdown: 60 });
    throw new Reject("no");
  });
  const { inMemory } = await import("../flow/stores.ts");
  const t = inMemory(app, {
    broker: (broker) =>
      hostileBroker(broker, 1, { duplicate: 0, stale: 0.3, loseDelete: 0, delay: 0, throttle: 0, loseReply: 0 }),
  });
  await task.applyAsync([], { MessageGroupId: "g" });
  await t.advance({ minutes: 5 });
  const broker = await app.engine.broker();
  const [letter] = await broker.receive("orders-dlq.fifo", { max: 1, wait: 0, visibility: 0 });
  expect(letter).toMatchObject({
    groupId: "g",
    attributes: expect.not.objectContaining({ heldReceipt: expect.anything() }),
  });
});
