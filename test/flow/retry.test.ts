import { randomBytes } from "node:crypto";
import { Lovage, MaxRetriesExceededError, Retry } from "lovage";
import { describe, expect, test } from "vitest";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { envelope, signature } from "./envelopes.ts";
import { inMemory, everywhere, stores } from "./stores.ts";
import { refused, throttleBackend } from "./throttle.ts";

class Busy extends Error {}
class Gone extends Busy {}

describe.each(everywhere)("on %s", (_, start) => {
  test("retry runs the task again after its countdown, under the same id", async () => {
    const app = new Lovage("tasks");
    const flaky = app.task("tasks.flaky", { bind: true }, (self) => {
      if (self.request.retries < 1) self.retry({ countdown: 60, exc: new Busy("later") });
      return "done";
    });
    const t = start(app);
    const result = await flaky.delay();
    expect(await t.drain()).toMatchObject([{ state: "RETRY", retries: 0 }]);
    expect(await result.state()).toBe("RETRY");
    expect(await result.result()).toMatchObject({ name: "Busy", message: "later" });
    expect(await t.advance({ seconds: 59 })).toEqual([]);
    expect(await t.advance({ seconds: 1 })).toMatchObject([{ state: "SUCCESS", retries: 1, id: result.id }]);
    expect(await result.get()).toBe("done");
  });

  test("three retries are allowed by default; the fourth throws the reason", async () => {
    const app = new Lovage("tasks");
    const runs: number[] = [];
    const flaky = app.task("tasks.flaky", { bind: true }, (self) => {
      runs.push(self.request.retries);
      self.retry({ countdown: 1, exc: new Busy("still") });
    });
    const t = start(app);
    const result = await flaky.delay();
    await t.advance({ minutes: 1 });
    expect(runs).toEqual([0, 1, 2, 3]);
    await expect(result.get()).rejects.toMatchObject({ name: "Busy", message: "still" });
  });

  test("without a reason, MaxRetriesExceededError is thrown in the end", async () => {
    const app = new Lovage("tasks");
    const flaky = app.task("tasks.flaky", { bind: true, maxRetries: 1 }, (self) => self.retry({ countdown: 1 }));
    const t = start(app);
    const result = await flaky.delay();
    await t.advance({ minutes: 1 });
    await expect(result.get()).rejects.toThrow(MaxRetriesExceededError);
  });

  test("a retry takes new arguments, keywords, headers and queue with it", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const flaky = app.task("tasks.flaky", { bind: true, params: ["n", "note?"] }, (self, n: number, note?: string) => {
      const { queue, headers, retries } = self.request;
      seen.push([n, note, queue, headers.step, retries]);
      if (n > 0)
        self.retry({ args: [n - 1], kwargs: { note: "less" }, headers: { step: n }, queue: "slow", countdown: 1 });
    });
    const t = start(app);
    await flaky.delay(2);
    await t.advance({ minutes: 1 });
    expect(seen).toEqual([
      [2, undefined, "celery", undefined, 0],
      [1, "less", "slow", 2, 1],
      [0, "less", "slow", 1, 2],
    ]);
  });

  test("no fault of broker or backend uses one up", async () => {
    const app = new Lovage("tasks");
    const seen = new Set<number>();
    const flaky = app.task("tasks.flaky", { bind: true, maxRetries: 2 }, (self) => {
      seen.add(self.request.retries);
      if (self.request.retries < 2) self.retry({ countdown: 1 });
      return self.request.deliveries;
    });
    const random = seededRandom(7);
    let faults = 0;
    const strikes = () => random() < 0.6 && --faults >= 0;
    const t = start(app, {
      broker: (broker) => ({
        ...broker,
        send: async (entries) => (strikes() ? entries.map(() => refused) : broker.send(entries)),
      }),
    });
    const result = await flaky.delay();
    throttleBackend(await app.engine.backend(), strikes);
    faults = 40;
    await t.advance({ hours: 12 });
    expect([[...seen], await result.state()]).toEqual([[0, 1, 2], "SUCCESS"]);
    expect(faults).toBeLessThan(30);
  });

  test("a retry may leave a FIFO queue, and its group goes on", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const flaky = app.task("tasks.flaky", { bind: true }, (self, n: number) => {
      const { queue, retries } = self.request;
      seen.push([n, queue, retries]);
      if (n === 1 && retries === 0) self.retry({ countdown: 10 });
      if (n === 1 && retries === 1) self.retry({ queue: "slow", countdown: 3600 });
    });
    const t = start(app);
    const results = [];
    for (const n of [1, 2]) results.push(await flaky.applyAsync([n], { queue: "orders.fifo" }));
    await t.advance({ hours: 2 });
    expect(seen).toEqual([
      [1, "orders.fifo", 0],
      [1, "orders.fifo", 1],
      [2, "orders.fifo", 0],
      [1, "slow", 2],
    ]);
    for (const result of results) expect(await result.state()).toBe("SUCCESS");
    expect(await (await app.engine.broker()).size("orders.fifo")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("a retry that leaves a FIFO queue is sent again where its worker died before it could", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const flaky = app.task("tasks.flaky", { bind: true }, (self) => {
      const { queue, retries } = self.request;
      seen.push([queue, retries]);
      if (retries === 0) self.retry({ countdown: 10 });
      if (retries === 1) self.retry({ queue: "slow", countdown: 0 });
    });
    let isDead = false;
    const t = start(app, {
      broker: (broker) => ({ ...broker, send: (entries) => (isDead ? new Promise(() => {}) : broker.send(entries)) }),
    });
    const result = await flaky.applyAsync([], { queue: "orders.fifo" });
    isDead = true;
    await t.advance({ minutes: 1 });
    expect(await result.state()).toBe("RETRY");
    t.crash();
    isDead = false;
    await t.advance({ hours: 1 });
    expect(seen).toEqual([
      ["orders.fifo", 0],
      ["orders.fifo", 1],
      ["slow", 2],
    ]);
    expect(await result.state()).toBe("SUCCESS");
  });

  test("autoretryFor runs the task again by itself, and not for the exceptions to it", async () => {
    const app = new Lovage("tasks");
    const errors = [new Busy("one"), new Busy("two"), new Gone("gone")];
    const flaky = app.task(
      "tasks.flaky",
      { autoretryFor: [Busy], dontAutoretryFor: [Gone], retryKwargs: { countdown: 10 } },
      () => {
        throw errors.shift();
      },
    );
    const t = start(app);
    const result = await flaky.delay();
    expect((await t.advance({ minutes: 1 })).map(({ state }) => state)).toEqual(["RETRY", "RETRY", "FAILURE"]);
    await expect(result.get()).rejects.toMatchObject({ name: "Gone" });
  });
});

describe.each(stores)("in the queues themselves, on %s", (_, start) => {
  test("all else is kept from one attempt to the next, of a message from anywhere", async () => {
    const app = new Lovage("tasks");
    app.task("tasks.flaky", { bind: true, params: ["n", "note"] }, (self) => {
      const change = self.request.retries === 1 ? { args: [9], kwargs: { note: "new" } } : {};
      self.retry({ ...change, countdown: 3600, maxRetries: null });
    });
    const t = start(app);
    const foreign = JSON.parse(
      envelope({
        task: "tasks.flaky",
        id: "id",
        args: [1],
        kwargs: { note: "old" },
        headers: {
          root_id: "root",
          parent_id: "parent",
          group: "group",
          group_index: 3,
          shadow: "shown",
          timelimit: [100, 50],
          expires: "2027-01-01T00:00:00+00:00",
          retries: 1,
          argsrepr: "(1,)",
          kwargsrepr: "{'note': 'old'}",
          origin: "gen1@host",
          ignore_result: true,
          replaced_task_nesting: 2,
          stamped_headers: ["stamp"],
          stamps: { stamp: ["value"] },
          mine: "own",
        },
        embed: {
          callbacks: [signature("tasks.callback", [])],
          errbacks: [signature("tasks.errback", [])],
          chain: [signature("tasks.next", [])],
          chord: signature("tasks.body", []),
        },
      }),
    );
    foreign.properties = { ...foreign.properties, MessageGroupId: "tenant", reply_to: "reply", priority: 5 };
    foreign.properties.delivery_info.priority = 5;
    const accept = { accept: ["json"] };
    const first = await decodeEnvelope(JSON.stringify(foreign), accept);
    await t.put(JSON.stringify(foreign));
    await t.drain();
    const broker = await app.engine.broker();
    const due = async () => {
      t.clock.moveTo(t.clock.now() + 3_600_000);
      const [delivery] = await broker.receive("celery", { max: 1, wait: 0, visibility: 0 });
      expect(delivery?.groupId).toBe("tenant");
      return decodeEnvelope(delivery?.body ?? "", accept);
    };
    const second = await due();
    expect(second).toEqual({
      ...first,
      args: [9],
      kwargs: { note: "new" },
      // What they said of the arguments is no longer true.
      argsrepr: null,
      kwargsrepr: null,
      retries: 2,
      eta: "2026-01-01T01:00:00+00:00",
    });
    await t.drain();
    expect(await due()).toEqual({ ...second, retries: 3, eta: "2026-01-01T02:00:00+00:00" });
  });
});

test("without a countdown a retry waits for three minutes, or defaultRetryDelay", async () => {
  const app = new Lovage("tasks");
  const runs: string[] = [];
  const plain = app.task("tasks.plain", { bind: true }, (self) => {
    runs.push("plain");
    if (self.request.retries === 0) self.retry();
  });
  const own = app.task("tasks.own", { bind: true, defaultRetryDelay: 30 }, (self) => {
    runs.push("own");
    if (self.request.retries === 0) self.retry();
  });
  const t = inMemory(app);
  await plain.delay();
  await own.delay();
  await t.advance({ seconds: 30 });
  expect(runs).toEqual(["plain", "own", "own"]);
  await t.advance({ seconds: 149.9 });
  expect(runs).toHaveLength(3);
  await t.advance({ seconds: 0.1 });
  expect(runs).toHaveLength(4);
});

test("backoff doubles up to its maximum", async () => {
  const app = new Lovage("tasks");
  const times: number[] = [];
  const options = { autoretryFor: [Busy], retryBackoff: 2, retryBackoffMax: 10, retryJitter: false, maxRetries: 5 };
  const flaky = app.task("tasks.flaky", options, () => {
    times.push((t.clock.now() - Date.UTC(2026, 0, 1)) / 1000);
    throw new Busy();
  });
  const t = inMemory(app);
  await flaky.delay();
  await t.advance({ minutes: 5 });
  expect(times).toEqual([0, 2, 6, 14, 24, 34]);
});

test("jitter draws whole seconds from 0 to the backoff, the same for the same seed", async () => {
  const countdowns = async (seed: number) => {
    const app = new Lovage("tasks");
    const times: number[] = [];
    const flaky = app.task("tasks.flaky", { autoretryFor: [Busy], retryBackoff: 100, maxRetries: 4 }, () => {
      times.push(t.clock.now() / 1000);
      throw new Busy();
    });
    const t = inMemory(app, { seed });
    await flaky.delay();
    await t.advance({ hours: 2 });
    return times.slice(1).map((time, index) => time - (times[index] ?? 0));
  };
  const [first, again, other] = [await countdowns(1), await countdowns(1), await countdowns(2)];
  expect(first).toEqual(again);
  expect(first).not.toEqual(other);
  for (const [index, countdown] of first.entries()) {
    expect(Number.isInteger(countdown)).toBe(true);
    expect(countdown).toBeLessThanOrEqual(100 * 2 ** index);
  }
});

test("maxRetries: null goes on without end; a retry of its own number decides for itself", async () => {
  const app = new Lovage("tasks");
  const endless = app.task("tasks.endless", { bind: true, maxRetries: null }, (self) => {
    if (self.request.retries < 20) self.retry({ countdown: 1 });
    return self.request.retries;
  });
  const own = app.task("tasks.own", { bind: true, maxRetries: 0 }, (self) => {
    if (self.request.retries < 5) self.retry({ countdown: 1, maxRetries: 5 });
    return self.request.retries;
  });
  const t = inMemory(app);
  const results = [await endless.delay(), await own.delay()];
  await t.advance({ minutes: 1 });
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([20, 5]);
});

test("retryKwargs: maxRetries null goes on without end as well", async () => {
  const app = new Lovage("tasks");
  let runs = 0;
  const options = { autoretryFor: [Busy], retryKwargs: { maxRetries: null, countdown: 1 } };
  const flaky = app.task("tasks.flaky", options, () => {
    if (++runs < 20) throw new Busy("still");
    return runs;
  });
  const t = inMemory(app);
  const result = await flaky.delay();
  await t.advance({ minutes: 1 });
  expect(await result.get()).toBe(20);
});

test("the number that retry() was given holds for the automatic retry of what it throws in the end", async () => {
  const app = new Lovage("tasks");
  let runs = 0;
  const flaky = app.task("tasks.flaky", { bind: true, autoretryFor: [Busy], maxRetries: 5 }, (self) => {
    runs++;
    self.retry({ maxRetries: 1, countdown: 1, exc: new Busy("still") });
  });
  const t = inMemory(app);
  const result = await flaky.delay();
  await t.advance({ hours: 1 });
  expect([runs, await result.state()]).toEqual([2, "FAILURE"]);
});

test("a retry that is to wait before it goes to a FIFO queue is refused where it is asked", async () => {
  const app = new Lovage("tasks");
  const flaky = app.task("tasks.flaky", { bind: true }, (self, countdown: number) => {
    if (self.request.queue === "celery") self.retry({ queue: "orders.fifo", countdown });
    return self.request.queue;
  });
  const t = inMemory(app);
  const [late, atOnce] = [await flaky.delay(5), await flaky.delay(0)];
  await t.advance({ minutes: 1 });
  await expect(late.get()).rejects.toThrow("the FIFO queue orders.fifo takes no delay of a single message");
  expect(await atOnce.get()).toBe("orders.fifo");
});

test("a retry waits until an instant, and expires by its own time", async () => {
  const app = new Lovage("tasks");
  const eta = new Date(Date.UTC(2026, 0, 1, 1));
  const dated = app.task("tasks.dated", { bind: true }, (self) => {
    if (self.request.retries === 0) self.retry({ eta });
    return "ran";
  });
  const stale = app.task("tasks.stale", { bind: true }, (self) => {
    if (self.request.retries === 0) self.retry({ countdown: 60, expires: 30 });
    return "ran";
  });
  const t = inMemory(app);
  const [first, second] = [await dated.delay(), await stale.delay()];
  await t.advance({ minutes: 59 });
  expect([await first.state(), await second.state()]).toEqual(["RETRY", "REVOKED"]);
  await t.advance({ minutes: 1 });
  expect(await first.get()).toBe("ran");
});

test("a retry that is refused by the queue does not vanish", async () => {
  const app = new Lovage("tasks");
  const grow = app.task("tasks.grow", { bind: true }, (self, _text: string) => {
    self.retry({ args: [randomBytes(2_000_000).toString("hex")], countdown: 0 });
  });
  const t = inMemory(app);
  const result = await grow.delay("x");
  await t.advance({ hours: 1 });
  await expect(result.get()).rejects.toMatchObject({ name: "PayloadTooLarge" });
});

test.each([
  ["arguments that cannot travel", { args: [() => 1] }, "EncodeError"],
  ["a countdown that is no number", { countdown: "soon" }, "ImproperlyConfigured"],
  ["an option that does not exist", { count_down: 0 }, "ImproperlyConfigured"],
  ["a queue that cannot be", { queue: "bad name!" }, "ImproperlyConfigured"],
])("a retry with %s fails at once", async (_, options, name) => {
  const app = new Lovage("tasks");
  const wrong = app.task("tasks.wrong", { bind: true }, (self) => self.retry(options as object));
  const t = inMemory(app);
  const result = await wrong.delay();
  expect(await t.drain()).toMatchObject([{ state: "FAILURE" }]);
  await expect(result.get()).rejects.toMatchObject({ name });
});

test("a Retry that was thrown by hand with a time that cannot be is a failure", async () => {
  const app = new Lovage("tasks");
  const wrong = app.task("tasks.wrong", () => {
    throw new Retry("again", { countdown: Number.NaN });
  });
  const t = inMemory(app);
  const result = await wrong.delay();
  expect(await t.drain()).toMatchObject([{ state: "FAILURE" }]);
  await expect(result.get()).rejects.toThrow();
});

test("a time without an offset is UTC, whatever the zone of the process", async () => {
  const zone = process.env["TZ"];
  process.env["TZ"] = "Australia/Melbourne";
  try {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const later = app.task("tasks.later", { bind: true }, (self) => {
      if (self.request.retries === 0) self.retry({ eta: "2026-07-01T14:00:00" });
      seen.push(self.request.eta, new Date(t.clock.now()).toISOString());
    });
    const t = inMemory(app, { now: new Date("2026-07-01T12:00:00Z") });
    await later.delay();
    await t.advance({ days: 1 });
    expect(seen).toEqual(["2026-07-01T14:00:00+00:00", "2026-07-01T14:00:00.000Z"]);
  } finally {
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
  }
});
