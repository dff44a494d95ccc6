/** Limits: how often a task starts, and how many of it run at a time, over all workers together. */
import { randomBytes } from "node:crypto";
import { Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import type { Outgoing } from "../../src/brokers/broker.ts";
import { ImproperlyConfigured, LimitKeyError } from "../../src/errors.ts";
import { envelope } from "./envelopes.ts";
import { everywhere, stores } from "./stores.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** The most instants that lie in any window of a length, which ends before the same instant of the next one. */
function mostWithin(at: readonly number[], length: number): number {
  const sorted = [...at].sort((a, b) => a - b);
  return Math.max(0, ...sorted.map((from) => sorted.filter((time) => time >= from && time < from + length).length));
}

test.each(stores)("on %s a message that comes back when its task has run takes nobody's start", async (_, start) => {
  const app = new Lovage("tasks");
  const at: number[] = [];
  let now = () => 0;
  const push = app.task("crm.push", { rateLimit: "1/h" }, () => void at.push(now()));
  let lost = 0;
  const t = start(app, {
    // The worker goes on as if it had been deleted.
    broker: (broker) => ({
      ...broker,
      store: undefined,
      delete: async (deliveries, unit) =>
        lost++ === 0 ? deliveries.map(() => undefined) : broker.delete(deliveries, unit),
    }),
  });
  now = t.clock.now;
  const began = now();
  await push.delay();
  await t.advance({ minutes: 50 });
  const result = await push.delay();
  await t.advance({ hours: 1 });
  expect(await result.state()).toBe("SUCCESS");
  expect(at.map((time) => Math.round((time - began) / HOUR))).toEqual([0, 1]);
});

describe.each(everywhere)("a rate, on %s", (_, start) => {
  function makeApp(rateLimit: object | string | number) {
    const app = new Lovage("tasks");
    const at: number[] = [];
    const order: unknown[] = [];
    let now = () => 0;
    const push = app.task("crm.push", { rateLimit } as object, (n: number, customer = "") => {
      at.push(now());
      order.push(n);
      return customer;
    });
    const begin = () => {
      const t = start(app);
      now = t.clock.now;
      return t;
    };
    return { app, push, at, order, begin };
  }

  test("is kept over a pile, of which each task starts once", async () => {
    const { push, at, order, begin } = makeApp("100/m");
    const t = begin();
    for (let n = 0; n < 150; n++) await push.delay(n);
    // A second copy of a message may use up a start.
    await t.advance(5 * MINUTE);
    expect(at).toHaveLength(150);
    expect(mostWithin(at, MINUTE)).toBeLessThanOrEqual(101);
    expect(order.toSorted()).toEqual(Array.from({ length: 150 }, (_, n) => n).toSorted());
  });

  test("is kept for each key by itself, and a key that waits holds up no other", async () => {
    const { push, at, begin } = makeApp({ limit: "1/m", key: (_: number, customer: string) => customer });
    const t = begin();
    const began = t.clock.now();
    for (let n = 0; n < 5; n++) await push.delay(n, "noisy");
    await push.delay(5, "quiet");
    await t.drain();
    expect(at).toEqual([began, began]);
    await t.advance(20 * MINUTE);
    expect(at).toHaveLength(6);
  });
});

describe.each(stores)("a rate, seen closely, on %s", (_, start) => {
  function makeApp(options: object, fn?: (n: number) => unknown) {
    const app = new Lovage("tasks");
    const at: number[] = [];
    const order: number[] = [];
    const deliveries: number[] = [];
    let now = () => 0;
    const push = app.task("crm.push", { ...options, bind: true }, async (self, n: number) => {
      at.push(now());
      order.push(n);
      deliveries.push(self.request.deliveries);
      expect(self.request.retries).toBe(0);
      await fn?.(n);
      return n;
    });
    const begin = () => {
      const t = start(app, { concurrency: 10 });
      now = t.clock.now;
      return t;
    };
    return { app, push, at, order, deliveries, begin };
  }

  test("of one key first come first served, without a retry or a second receive", async () => {
    const { push, at, order, deliveries, begin } = makeApp({ rateLimit: "60/m" });
    const t = begin();
    const began = t.clock.now();
    const results = await Promise.all(Array.from({ length: 30 }, (_, n) => push.delay(n)));
    expect(await results[29]?.status()).toBe("PENDING");
    await t.advance(29_000);
    expect(order).toEqual(Array.from({ length: 30 }, (_, n) => n));
    expect(at).toEqual(Array.from({ length: 30 }, (_, n) => began + n * 1000));
    expect(new Set(deliveries)).toEqual(new Set([1]));
  });

  test("is used to the full where rows are slow and many ask: what a worker waits for a row is no difference of clocks", async () => {
    const { app, push, at, begin } = makeApp({ rateLimit: "60/m" });
    const t = begin();
    const store = await app.engine.limits();
    let asks = 0;
    app.engine.limits = async () => ({
      ...store,
      async decide(key, decision) {
        // Others were quicker, again and again.
        if (++asks % 3 === 0) await t.clock.sleep(4_000);
        return store.decide(key, decision);
      },
    });
    for (let n = 0; n < 20; n++) await push.delay(n);
    await t.advance(28_000);
    expect(at).toHaveLength(20);
  });

  test("lets a burst go together, and no more in a period than limit and burst", async () => {
    const { push, at, begin } = makeApp({ rateLimit: { limit: "60/m", burst: 10 } });
    const t = begin();
    for (let n = 0; n < 100; n++) await push.delay(n);
    await t.drain();
    expect(at).toHaveLength(10);
    await t.advance(2 * MINUTE);
    expect(at).toHaveLength(100);
    expect(mostWithin(at, MINUTE)).toBeLessThanOrEqual(70);
  });

  test("holds when all come back together after an hour without workers", async () => {
    const { push, at, begin } = makeApp({ rateLimit: "10/m" });
    const t = begin();
    for (let n = 0; n < 30; n++) await push.delay(n);
    await t.advance(1000);
    t.clock.moveTo(t.clock.now() + HOUR);
    await t.advance(10 * MINUTE);
    expect(at).toHaveLength(30);
    expect(mostWithin(at, MINUTE)).toBeLessThanOrEqual(11);
  });

  test("is changed while tasks wait, and given back to the declaration", async () => {
    const { app, push, at, begin } = makeApp({ rateLimit: "1/h" });
    const t = begin();
    for (let n = 0; n < 5; n++) await push.delay(n);
    await t.advance(MINUTE);
    expect(at).toHaveLength(1);
    await app.control.rateLimit("crm.push", "60/m");
    await t.advance(2 * MINUTE);
    expect(at).toHaveLength(5);
    await app.control.rateLimit("crm.push", null);
    for (let n = 5; n < 8; n++) await push.delay(n);
    await t.advance(10 * MINUTE);
    expect(at).toHaveLength(6);
  });

  test("is held by a task that was told 429, which costs it no retry", async () => {
    const app = new Lovage("tasks");
    const at: (readonly [number, number, number])[] = [];
    let now = () => 0;
    const push = app.task("crm.push", { rateLimit: "60/m", bind: true, maxRetries: 0 }, (self, n: number) => {
      at.push([n, now(), self.request.retries]);
      if (at.length === 1) self.rateLimited({ retryAfter: 30 });
      return n;
    });
    const t = start(app);
    now = t.clock.now;
    const began = now();
    const first = await push.delay(1);
    await t.drain();
    await push.delay(2);
    expect(await first.status()).toBe("PENDING");
    await t.advance(29_999);
    expect(at).toHaveLength(1);
    await t.advance(2_000);
    expect(at).toEqual([
      [1, began, 0],
      [1, began + 30_000, 0],
      [2, began + 31_000, 0],
    ]);
    expect(await first.get()).toBe(1);
  });

  test("lets a task that expires while it waits end then, and one that is revoked not run", async () => {
    const { push, at, begin } = makeApp({ rateLimit: "1/h" });
    const t = begin();
    await push.delay(0);
    const expiring = await push.applyAsync([1], { expires: 60 });
    const revoked = await push.delay(2);
    await t.advance(1_000);
    await revoked.revoke();
    expect(await revoked.status()).toBe("REVOKED");
    await t.advance(MINUTE);
    expect(await expiring.status()).toBe("REVOKED");
    await t.advance(5 * HOUR);
    expect(at).toHaveLength(1);
  });

  test("is asked twice for a task, whatever the backlog", async () => {
    const { app, push, at, begin } = makeApp({ rateLimit: "600/m" });
    const t = begin();
    let asks = 0;
    const store = await app.engine.limits();
    const counted: typeof store = {
      ...store,
      decide(key, decision) {
        asks++;
        return store.decide(key, decision);
      },
    };
    app.engine.limits = async () => counted;
    for (let n = 0; n < 400; n++) await push.delay(n);
    await t.advance(MINUTE);
    expect(at).toHaveLength(400);
    // And a look, every five seconds, at whether the rate was changed.
    expect(asks).toBeLessThanOrEqual(2 * 400 + 40);
  });

  test("is no reason to run without it, or to fail, where its row cannot be had", async () => {
    const { app, push, at, begin } = makeApp({ rateLimit: "60/m" });
    const t = begin();
    const { limits } = app.engine;
    app.engine.limits = async () => {
      throw new Error("the table is away");
    };
    const result = await push.delay(1);
    await t.advance(MINUTE);
    expect(at).toEqual([]);
    expect(await result.status()).toBe("PENDING");
    app.engine.limits = limits;
    await t.advance(10 * MINUTE);
    expect(await result.get()).toBe(1);
  });
});

describe.each(stores)("concurrency, on %s", (_, start) => {
  function makeApp(concurrency: unknown) {
    const app = new Lovage("tasks");
    let running = 0;
    let most = 0;
    let ended = 0;
    let clock = { sleep: async (_: number) => {}, now: () => 0 };
    const work = app.task("tasks.work", { concurrency } as object, async (seconds: number, key = "") => {
      most = Math.max(most, ++running);
      await clock.sleep(seconds * 1000);
      running--;
      ended++;
      return key;
    });
    const begin = () => {
      const t = start(app, { concurrency: 20 });
      clock = t.clock;
      return t;
    };
    return { app, work, begin, most: () => most, ended: () => ended };
  }

  test("is never exceeded, and who leaves wakes the next", async () => {
    const { work, begin, most, ended } = makeApp(3);
    const t = begin();
    for (let n = 0; n < 12; n++) await work.delay(10);
    await t.advance(41_000);
    expect([most(), ended()]).toEqual([3, 12]);
    // Copies that were woken leave others behind, which find all done.
    await t.advance(5 * MINUTE);
    expect(ended()).toBe(12);
  });

  test("is handed on without a gap, however many wait", async () => {
    const { work, begin, most, ended } = makeApp(2);
    const t = begin();
    for (let n = 0; n < 130; n++) await work.delay(1);
    await t.advance(66_000);
    expect([most(), ended()]).toEqual([2, 130]);
  });

  test("is handed on past all who wait no more", async () => {
    const { work, begin, ended } = makeApp(1);
    const t = begin();
    await work.delay(200);
    for (let n = 0; n < 30; n++) await work.applyAsync([1], { expires: 20 });
    const revoked = await Promise.all(Array.from({ length: 30 }, () => work.delay(1)));
    for (let n = 0; n < 3; n++) await work.delay(1);
    await t.advance(190_000);
    for (const one of revoked) await one.revoke();
    await t.advance(9_000);
    expect(ended()).toBe(0);
    for (let seconds = 0; seconds < 8; seconds++) await t.advance(1_000);
    expect(ended()).toBe(4);
  });

  test("wakes who has a ticket and has not left its message yet", async () => {
    const { app, work, begin, ended } = makeApp(1);
    const t = begin();
    const store = await app.engine.limits();
    app.engine.limits = async () => ({
      ...store,
      async decide(key, decision) {
        // It is written when the place is free already.
        if (key.startsWith("parked-") && ended() === 0) await t.clock.sleep(12_000);
        return store.decide(key, decision);
      },
    });
    await work.delay(10);
    await work.delay(1);
    await t.advance(15_000);
    expect(ended()).toBe(2);
  });

  test("of each key by itself", async () => {
    const { work, begin, most, ended } = makeApp({ limit: 1, key: (_: number, key: string) => key });
    const t = begin();
    for (const key of ["a", "b", "a", "b"]) await work.delay(10, key);
    await t.advance(21_000);
    expect([most(), ended()]).toEqual([2, 4]);
  });

  test("is freed by the lease of a worker that died", async () => {
    const { work, begin, ended } = makeApp(1);
    const t = begin();
    await work.delay(10);
    await t.advance(1_000);
    t.crash();
    await work.delay(10);
    await t.advance(2 * HOUR);
    expect(ended()).toBe(2);
  });
});

describe.each(stores)("a message that has hardly room to say that it waits, on %s", (_, start) => {
  const mib = 1024 * 1024;

  test.each([
    ["as many attributes of its sender's as SQS takes", { count: 10, body: 0 }],
    ["a megabyte, with attributes of its sender's", { count: 5, body: mib - 520 }],
    ["a megabyte that leaves no room at all", { count: 0, body: mib }],
  ])("%s: it runs once, in its turn", async (__, { count, body }) => {
    const app = new Lovage("tasks", { payloadStore: "" });
    let running = 0;
    const most: number[] = [];
    let clock = { sleep: async (_: number) => {} };
    app.task("tasks.work", { concurrency: 1, rateLimit: "1/s" }, async (_: string) => {
      most.push(++running);
      await clock.sleep(10_000);
      running--;
    });
    const t = start(app, { concurrency: 5 });
    clock = t.clock;
    const broker = await app.engine.broker();
    const ids = ["a", "b", "c"];
    const attributes = Object.fromEntries(Array.from({ length: count }, (_, at) => [`theirs${at}`, "x".repeat(90)]));
    for (const id of ids) {
      const bare = envelope({ task: "tasks.work", id, args: ["@"] });
      // What no compression makes smaller.
      const fill = randomBytes(mib)
        .toString("base64")
        .slice(0, Math.max(0, body - bare.length));
      const text = bare.replace("@", `@${fill}`);
      expect(await broker.send([{ queue: "celery", body: text, attributes }])).toEqual([undefined]);
    }
    for (let seconds = 0; seconds < 300; seconds += 10) await t.advance(10_000);
    expect(most).toEqual([1, 1, 1]);
    expect(t.log.filter(({ line }) => line.includes("handed back"))).toEqual([]);
    expect(await broker.size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("its sender's attributes go along as far as there is room", async () => {
    const app = new Lovage("tasks");
    app.task("tasks.work", { rateLimit: "1/m" }, () => {});
    const sent: Outgoing[] = [];
    const t = start(app, {
      broker: (broker) => ({
        ...broker,
        send(entries, unit) {
          sent.push(...entries);
          return broker.send(entries, unit);
        },
      }),
    });
    const broker = await app.engine.broker();
    const attributes = Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`theirs${at}`, String(at)]));
    for (const id of ["a", "b"])
      await broker.send([{ queue: "celery", body: envelope({ task: "tasks.work", id }), attributes }]);
    sent.length = 0;
    await t.advance(30_000);
    expect(sent.map((entry) => Object.keys(entry.attributes ?? {}).sort())).toEqual([
      [...Object.keys(attributes).slice(0, 9), "waits"],
    ]);
  });
});

describe.each(stores)("what a task waits for, on %s", (_, start) => {
  test("is told with until when, while it reads PENDING, and no longer than it waits", async () => {
    const app = new Lovage("tasks");
    const push = app.task("crm.push", { rateLimit: "1/m" }, (n: number) => n);
    const mail = app.task(
      "mail.send",
      { debounce: { key: (to: string) => to, wait: 30, max: 300 } },
      (to: string) => to,
    );
    const t = start(app);
    const began = t.clock.now();
    const results = [await push.delay(0), await push.delay(1), await push.delay(2)];
    await t.drain();
    const waiting = () => app.control.inspect().waiting();
    expect(await waiting()).toMatchObject(
      [1, 2].map((n) => ({ id: results[n]?.id, task: "crm.push", queue: "celery", limit: "rateLimit", since: began })),
    );
    const [first, second] = await waiting();
    expect((first?.until ?? 0) - began).toBeGreaterThanOrEqual(MINUTE);
    expect((first?.until ?? 0) - began).toBeLessThan(MINUTE + 1000);
    expect((second?.until ?? 0) - began).toBeGreaterThanOrEqual(2 * MINUTE);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["SUCCESS", "PENDING", "PENDING"]);
    expect((await app.workflow(results[1]?.id as string)).tasks).toMatchObject([
      { task: "crm.push", state: "PENDING" },
    ]);

    await mail.delay("anna");
    await t.advance(10_000);
    await mail.delay("anna");
    await t.advance(25_000);
    expect(await waiting()).toContainEqual(expect.objectContaining({ task: "mail.send", limit: "debounce" }));

    await t.advance(5 * MINUTE);
    expect(await waiting()).toEqual([]);
    expect(await results[2]?.state()).toBe("SUCCESS");
  });

  test("is said of a place too, and of nobody where no journal is kept", async () => {
    const app = new Lovage("tasks");
    const { promise, resolve } = Promise.withResolvers<void>();
    const work = app.task("reports.build", { concurrency: 1 }, () => promise);
    const t = start(app, { concurrency: 2 });
    await work.delay();
    await work.delay();
    await t.advance(1000);
    expect(await app.control.inspect().waiting()).toMatchObject([{ task: "reports.build", limit: "concurrency" }]);
    resolve();
    await t.advance(2 * MINUTE);
    expect(await app.control.inspect().waiting()).toEqual([]);

    const silent = new Lovage("silent", { journal: false });
    const push = silent.task("crm.push", { rateLimit: "1/m" }, (n: number) => n);
    const s = start(silent, { config: { journal: false } });
    for (let n = 0; n < 2; n++) await push.delay(n);
    await s.drain();
    expect(await silent.control.inspect().waiting()).toEqual([]);
  });
});

describe("what cannot be a limit", () => {
  test.each<[object, RegExp]>([
    [{ rateLimit: "10/x" }, /rateLimit.*"100\/m"/],
    [{ rateLimit: "-1/s" }, /rateLimit/],
    [{ rateLimit: 1.5 }, /rateLimit/],
    [{ rateLimit: 0 }, /rateLimit/],
    [{ rateLimit: { limit: "1/s", burst: 0 } }, /rateLimit\.burst/],
    [{ rateLimit: { limit: "1/s", key: "id" } }, /rateLimit\.key.*function/],
    [{ rateLimit: { burst: 3 } }, /rateLimit\.limit/],
    [{ concurrency: 0 }, /concurrency/],
    [{ concurrency: { key: () => "" } }, /concurrency\.limit/],
    [{ rateLimit: "1/s", queue: "orders.fifo" }, /FIFO queue orders\.fifo/],
    [{ concurrency: 1, claim: false }, /concurrency.*claim: false/],
  ])("%j is refused where it is declared", (options, message) => {
    const declare = () => new Lovage("tasks").task("tasks.limited", options, () => {});
    expect(declare).toThrow(ImproperlyConfigured);
    expect(declare).toThrow(message);
  });

  test.each<[string, (...args: unknown[]) => unknown, RegExp]>([
    ["throws", (customer) => (customer as { id: string }).id, /rateLimit of the task crm\.push threw/],
    ["gives no text", () => 7, /rateLimit of the task crm\.push gave number \(7\)/],
  ])("a key that %s is told at the call, and nothing is sent", async (_, key, message) => {
    const [[, start] = []] = stores;
    const app = new Lovage("tasks");
    const push = app.task("crm.push", { rateLimit: { limit: 1, key } as never }, (_: unknown) => {});
    const t = start?.(app);
    const error = await push.delay(undefined).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(LimitKeyError);
    expect(String(error)).toMatch(message);
    expect(await t?.drain()).toEqual([]);
  });

  test("a call to a FIFO queue is refused", async () => {
    const [[, start] = []] = stores;
    const app = new Lovage("tasks");
    const push = app.task("crm.push", { rateLimit: 1 }, () => {});
    start?.(app);
    await expect(push.applyAsync([], { queue: "a.fifo" })).rejects.toThrow(/FIFO queue a\.fifo/);
  });
});
