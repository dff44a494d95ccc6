/** Batches: calls of one task that are handed to one run of its function. */
import { AsyncLocalStorage } from "node:async_hooks";
import {
  type AsyncResult,
  type BatchCall,
  BatchResultError,
  type CallOptions,
  chain,
  chord,
  ContextSettledError,
  currentTask,
  getTaskLogger,
  Ignore,
  Lovage,
  OperationalError,
  Reject,
  Retry,
  type RunningTask,
} from "lovage";
import { testApp } from "lovage/testing";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import type { Message } from "../../src/protocol/message.ts";
import { inMemory, stores } from "./stores.ts";

describe.each(stores)("a batch, on %s", (_, start) => {
  function makeApp(fn?: (ids: readonly number[]) => readonly unknown[], options: object = {}) {
    const app = new Lovage("tasks");
    const batches: number[][] = [];
    const index = app.batchTask(
      "search.index",
      { size: 5, wait: 2, defaultRetryDelay: 10, ...options },
      (calls: readonly BatchCall<[n: number]>[]) => {
        const ids = calls.map(({ args: [n] }) => n);
        batches.push(ids);
        return (fn?.(ids) ?? ids.map((n) => n * 10)) as number[];
      },
    );
    const add = app.task("tasks.add", (a: number, b: number) => a + b);
    const total = app.task("tasks.total", (all: readonly number[]) => all.reduce((sum, n) => sum + n, 0));
    return { app, index, add, total, batches, begin: () => start(app, { concurrency: 20 }) };
  }

  test("has at most so many calls, starts after so many seconds, and each call has its own result", async () => {
    const { index, batches, begin } = makeApp();
    const t = begin();
    const results = await Promise.all([0, 1, 2, 3, 4, 5, 6].map((n) => index.delay(n)));
    await t.advance(1_999);
    expect(batches).toEqual([[0, 1, 2, 3, 4]]);
    await t.advance(2);
    expect(batches).toEqual([
      [0, 1, 2, 3, 4],
      [5, 6],
    ]);
    expect(await Promise.all(results.map((result) => result.get()))).toEqual([0, 10, 20, 30, 40, 50, 60]);
  });

  test("an error is of its call alone, which is tried again by itself", async () => {
    class Busy extends Error {}
    let fails = 1;
    const { index, batches, begin } = makeApp(
      (ids) => ids.map((n) => (n === 2 && fails-- > 0 ? new Busy("busy") : n)),
      { autoretryFor: [Busy], retryKwargs: { countdown: 10 } },
    );
    const t = begin();
    const results = await Promise.all([1, 2, 3].map((n) => index.delay(n)));
    await t.advance(5_000);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["SUCCESS", "RETRY", "SUCCESS"]);
    await t.advance(20_000);
    expect(batches).toEqual([[1, 2, 3], [2]]);
    expect(await results[1]?.get()).toBe(2);
  });

  test("what the function throws is thrown for all", async () => {
    const { index, begin } = makeApp(() => {
      throw new RangeError("no index");
    });
    const t = begin();
    const results = await Promise.all([1, 2].map((n) => index.delay(n)));
    await t.advance(5_000);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["FAILURE", "FAILURE"]);
  });

  test("too few results are an error of the calls that lost theirs; one too many is nobody's", async () => {
    const few = makeApp((ids) => ids.slice(0, 2));
    const t = few.begin();
    const results = await Promise.all([1, 2, 3].map((n) => few.index.delay(n)));
    await t.advance(5_000);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["SUCCESS", "SUCCESS", "FAILURE"]);
    await expect(results[2]?.get()).rejects.toMatchObject({ name: BatchResultError.name });
    const many = makeApp((ids) => [...ids, 7]);
    const other = many.begin();
    const one = await many.index.delay(1);
    await other.advance(5_000);
    expect(await one.get()).toBe(1);
  });

  test("each call has its place in a chain and in a chord", async () => {
    const { index, add, total, begin } = makeApp();
    const t = begin();
    const chained = await chain(index.s(1), add.s(5)).delay();
    const joined = await chord([index.s(2), index.s(3)], total.s()).delay();
    await t.advance(10_000);
    expect(await chained.get()).toBe(15);
    expect(await joined.get()).toBe(50);
  });

  test("a call that expires, or is revoked, is in no batch", async () => {
    const { index, batches, begin } = makeApp();
    const t = begin();
    const late = await index.applyAsync([1], { countdown: 10, expires: 5 });
    const revoked = await index.applyAsync([2], { countdown: 10 });
    await revoked.revoke();
    await index.applyAsync([3], { countdown: 10 });
    await t.advance(20_000);
    expect(batches).toEqual([[3]]);
    expect([await late.state(), await revoked.state()]).toEqual(["REVOKED", "REVOKED"]);
  });
});

describe("in a batch", () => {
  /** What the function of a batch of two calls throws, or gives, where it does this. */
  async function within(work: (calls: readonly BatchCall<[n: number]>[]) => unknown, first: CallOptions = {}) {
    const app = new Lovage("tasks", { taskInheritParentPriority: true });
    let said: unknown;
    const both = app.batchTask(
      "tasks.both",
      { size: 2, wait: 5, rateLimit: "10/s" },
      async (calls: readonly BatchCall<[n: number]>[]) => {
        try {
          said = await work(calls);
        } catch (error) {
          said = error;
        }
        return calls.map(({ args: [n] }) => n);
      },
    );
    const add = app.task("tasks.add", (a: number, b: number) => a + b);
    const t = inMemory(app, { concurrency: 20 });
    const results = [await both.applyAsync([1], first), await both.delay(2)];
    await t.advance(20_000);
    return { app, add, t, results, said: () => said };
  }

  test.each<[string, () => unknown]>([
    ["request", () => currentTask()?.request.id],
    ["retry()", () => currentTask()?.retry({ args: [7] })],
    ["rateLimited()", () => currentTask()?.rateLimited({ retryAfter: 1 })],
    ["checkpoint()", () => currentTask()?.checkpoint(1)],
    ["replace()", () => currentTask()?.replace({ toJSON: () => ({}) } as never)],
    ["updateState()", () => currentTask()?.updateState({ state: "PROGRESS" })],
    ["write()", () => currentTask()?.write("text")],
    ["addToChord()", () => currentTask()?.addToChord({ toJSON: () => ({}) } as never)],
  ])("%s is of one call, and refused", async (what, work) => {
    const { said, results } = await within(work);
    expect(String(said())).toContain(
      `LovageError: ${what} is of one call, and tasks.both runs here for all calls of a batch; `,
    );
    expect(await Promise.all(results.map((result) => result.get()))).toEqual([1, 2]);
  });

  test("what is of all calls is there: app, name, log, the time that is left of the shortest limit, and get() is refused", async () => {
    const { said, t, app } = await within(
      async () => {
        const self = currentTask();
        self?.log.info("from self");
        getTaskLogger("shop").info("from a module");
        const get = await self?.app.result("other").get().catch(String);
        return [self?.name, self?.app, self?.remaining(), self?.signal.aborted, get];
      },
      { timeLimit: 7 },
    );
    expect(said()).toEqual(["tasks.both", app, 7, false, expect.stringMatching(/RuntimeError: never call get\(\)/)]);
    const lines = t.log.filter(({ line }) => line.includes("from "));
    expect(lines.map(({ line }) => line)).toEqual([
      "tasks.both[a batch of 2]: from self",
      "tasks.both[a batch of 2]: from a module",
    ]);
    for (const { fields } of lines) {
      expect(fields).toMatchObject({ task: "tasks.both", calls: 2 });
      expect(fields).not.toHaveProperty("id");
    }
  });

  test("what is sent is nobody's child, and inherits no priority", async () => {
    const sent: Message[] = [];
    const { results } = await within(
      () => {
        const { app } = currentTask() as RunningTask;
        app.around({
          async send({ message }, next) {
            sent.push(message);
            await next();
          },
        });
        return app.sendTask("tasks.add", [1, 2]);
      },
      { priority: 9 },
    );
    expect(sent).toMatchObject([{ task: "tasks.add", parentId: null, priority: null }]);
    expect(sent[0]?.rootId).toBe(sent[0]?.id);
    expect(await Promise.all(results.map((result) => result.children()))).toEqual([[], []]);
  });

  test.each<[string, CallOptions, string]>([
    ["its time limit", { timeLimit: 1 }, "FAILURE"],
    ["a termination", {}, "REVOKED"],
  ])("the end of the first call by %s leaves the others their sends", async (_, options, state) => {
    const app = new Lovage("tasks");
    const add = app.task("tasks.add", (a: number, b: number) => a + b);
    let sum: AsyncResult<number> | undefined;
    const both = app.batchTask("tasks.both", { size: 2, wait: 1 }, async (calls: readonly BatchCall<[n: number]>[]) => {
      await app.engine.clock.sleep(1_200_000);
      sum = await add.delay(1, 2);
      return calls.map(({ args: [n] }) => n);
    });
    const t = inMemory(app, { concurrency: 20, config: { brokerTransportOptions: { visibilityTimeout: 600 } } });
    const results = [await both.applyAsync([1], options), await both.delay(2)];
    await t.advance(1_000);
    if (state === "REVOKED") await results[0]?.revoke({ terminate: true });
    await t.advance({ hours: 1 });
    expect(await Promise.all(results.map((result) => result.state()))).toEqual([
      state === "REVOKED" ? "SUCCESS" : state,
      "SUCCESS",
    ]);
    expect(await sum?.get()).toBe(3);
  });

  test("when all of its calls were given up, nothing can be sent", async () => {
    const app = new Lovage("tasks");
    let sent: unknown;
    const slow = app.batchTask("tasks.slow", { size: 2, wait: 1, timeLimit: 1 }, async (calls) => {
      await app.engine.clock.sleep(5_000);
      sent = await app.sendTask("tasks.add", [1, 2]).catch((error: unknown) => error);
      return calls.map(() => null);
    });
    const t = inMemory(app);
    await Promise.all([slow.delay(), slow.delay()]);
    await t.advance(10_000);
    expect(sent).toBeInstanceOf(ContextSettledError);
    expect(String(sent)).toContain("a batch of 2");
  });

  test("what is sent and not awaited is awaited, and where it fails all calls fail", async () => {
    const app = new Lovage("tasks");
    const both = app.batchTask("tasks.both", { size: 2, wait: 1 }, (calls: readonly BatchCall<[queue: string]>[]) => {
      void app.sendTask("tasks.add", [1, 2], { queue: calls[0]?.args[0] ?? "" });
      return calls.map(() => "done");
    });
    /** A send takes ten seconds, or fails after as long. */
    const slow = (broker: Broker): Broker => ({
      ...broker,
      async send(outgoing) {
        if (outgoing.every(({ queue }) => queue === "celery")) return broker.send(outgoing);
        await app.engine.clock.sleep(10_000);
        if (outgoing.every(({ queue }) => queue === "other")) return broker.send(outgoing);
        throw new OperationalError("refused", { retryable: false });
      },
    });
    const t = inMemory(app, { broker: slow });
    const good = await Promise.all([both.delay("other"), both.delay("other")]);
    await t.advance(5_000);
    expect(await Promise.all(good.map((result) => result.state()))).toEqual(["STARTED", "STARTED"]);
    await t.advance(10_000);
    expect(await Promise.all(good.map((result) => result.get()))).toEqual(["done", "done"]);
    const bad = await Promise.all([both.delay("bad"), both.delay("bad")]);
    await t.advance(20_000);
    for (const result of bad) await expect(result.get()).rejects.toThrow(/refused/);
  });

  test("steps that were laid around the first call's run are not around the batch", async () => {
    const span = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const app = new Lovage("tasks");
    app.around({ run: ({ request }, next) => span.run(request.id, async () => void (await next())) });
    const both = app.batchTask("tasks.both", { size: 2, wait: 1 }, (calls) => {
      seen.push(span.getStore());
      return calls.map(() => null);
    });
    const t = inMemory(app);
    await Promise.all([both.delay(), both.delay()]);
    await t.advance(2_000);
    expect(seen).toEqual([undefined]);
  });
});

describe("each call of a batch", () => {
  test("is tried again, ignored or rejected by what stands at its place", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const mixed = app.batchTask("tasks.mixed", { size: 4, wait: 1 }, (calls: readonly BatchCall<[n: number]>[]) => {
      seen.push(calls.map(({ args: [n], request: { retries } }) => [n, retries]));
      return calls.map(({ args: [n], request: { retries } }) => {
        if (n === 1 && retries === 0) return new Retry("busy", { countdown: 30 });
        if (n === 2) return new Ignore();
        if (n === 3) return new Reject("no");
        return n;
      });
    });
    const t = inMemory(app, { concurrency: 20 });
    const results = await Promise.all([0, 1, 2, 3].map((n) => mixed.delay(n)));
    await t.advance(2_000);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual([
      "SUCCESS",
      "RETRY",
      "STARTED",
      "FAILURE",
    ]);
    await t.advance(60_000);
    expect(await results[1]?.get()).toBe(1);
    expect(seen).toEqual([
      [
        [0, 0],
        [1, 0],
        [2, 0],
        [3, 0],
      ],
      [[1, 1]],
    ]);
    expect(await t.deadLetters()).toHaveLength(1);
  });

  test("may have a promise at its place, which is its own", async () => {
    const app = new Lovage("tasks");
    const halves = app.batchTask("tasks.halves", { size: 2, wait: 1 }, (calls: readonly BatchCall<[n: number]>[]) =>
      calls.map(async ({ args: [n] }) => {
        if (n % 2 > 0) throw new RangeError(`${n} is odd`);
        return n / 2;
      }),
    );
    const t = inMemory(app);
    const results = await Promise.all([halves.delay(3), halves.delay(4)]);
    await t.advance(2_000);
    expect(await results[1]?.get()).toBe(2);
    await expect(results[0]?.get()).rejects.toThrow("3 is odd");
  });

  test("leaves at once when it is terminated while it waits", async () => {
    const app = new Lovage("tasks");
    const sizes: number[] = [];
    const both = app.batchTask("tasks.both", { size: 3, wait: 300 }, (calls) => {
      sizes.push(calls.length);
      return calls.map(() => null);
    });
    const t = inMemory(app, { concurrency: 20, config: { brokerTransportOptions: { visibilityTimeout: 30 } } });
    const [one] = await Promise.all([both.delay(), both.delay()]);
    await t.advance(1_000);
    await one.revoke({ terminate: true });
    await t.advance(60_000);
    expect(await one.state()).toBe("REVOKED");
    await t.advance(300_000);
    expect(sizes).toEqual([1]);
  });
});

describe("under test", () => {
  const makeApp = () => {
    const app = new Lovage("tasks");
    const sizes: number[] = [];
    const both = app.batchTask("tasks.both", { size: 10, wait: 60 }, (calls: readonly BatchCall<[n: number]>[]) => {
      sizes.push(calls.length);
      return calls.map(({ args: [n] }) => n);
    });
    return { app, both, sizes };
  };

  test("drain() gathers what is ready, and does not wait for more", async () => {
    const { app, both, sizes } = makeApp();
    const t = inMemory(app);
    const results = await Promise.all([1, 2, 3].map((n) => both.delay(n)));
    expect(await t.drain()).toHaveLength(3);
    expect(await Promise.all(results.map((result) => result.get()))).toEqual([1, 2, 3]);
    expect(sizes).toEqual([3]);
  });

  test("a batch that gathers when a test ends, or its worker dies, takes in no call of the next", async () => {
    const { app, both, sizes } = makeApp();
    const before = testApp(app);
    await both.delay(1);
    await before.advance(1_000);
    await before.close();
    const t = inMemory(app);
    const two = await both.delay(2);
    await t.advance(1_000);
    t.crash();
    await t.advance({ hours: 3 });
    expect(await two.get()).toBe(2);
    // What the dead worker had begun goes on, and is nobody's.
    expect(sizes).toEqual([1, 1]);
  });
});

test("a long-lived worker gathers beyond what it runs at a time", async () => {
  const url = `memory://batch-${Math.random()}`;
  const app = new Lovage("tasks", { brokerUrl: url, resultBackend: url });
  const sizes: number[] = [];
  const index = app.batchTask("search.index", { size: 20, wait: 0.5 }, (calls: readonly BatchCall<[n: number]>[]) => {
    sizes.push(calls.length);
    return calls.map(({ args: [n] }) => n);
  });
  onTestFinished(() => app.close());
  const results = await Promise.all(Array.from({ length: 40 }, (_, n) => index.delay(n)));
  const worker = await startWorker(app, { concurrency: 1 });
  onTestFinished(() => worker.abort());
  expect(await Promise.all(results.map((result) => result.get({ timeout: 8 })))).toEqual(results.map((_, n) => n));
  expect(Math.max(...sizes)).toBeGreaterThanOrEqual(15);
});

describe("a long-lived worker", () => {
  async function makeWorker(declare: (app: Lovage) => void, concurrency = 1) {
    const url = `memory://batch-${Math.random()}`;
    const app = new Lovage("tasks", { brokerUrl: url, resultBackend: url });
    onTestFinished(() => app.close());
    app.task("tasks.add", (a: number, b: number) => a + b);
    declare(app);
    const worker = await startWorker(app, { concurrency });
    onTestFinished(() => worker.abort());
    const isGathering = (...results: readonly AsyncResult[]) =>
      vi.waitUntil(async () =>
        (await Promise.all(results.map((result) => result.state()))).every((state) => state === "STARTED"),
      );
    return { app, worker, isGathering };
  }

  test("that stops begins its batches with what they have", async () => {
    const sizes: number[] = [];
    const { app, worker, isGathering } = await makeWorker((made) =>
      made.batchTask("tasks.index", { size: 10, wait: 300 }, (calls) => {
        sizes.push(calls.length);
        return calls.map(() => "done");
      }),
    );
    const results = await Promise.all([1, 2, 3].map(() => app.sendTask("tasks.index")));
    await isGathering(...results);
    await worker.stop();
    expect(sizes).toEqual([3]);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["SUCCESS", "SUCCESS", "SUCCESS"]);
  });

  test("that stops at once hands back what waits for a batch, and what a batch runs", async () => {
    const runs: number[] = [];
    const { app, worker, isGathering } = await makeWorker((made) => {
      made.batchTask("tasks.index", { size: 2, wait: 300 }, async (calls) => {
        runs.push(calls.length);
        await new Promise((_, reject) => currentTask()?.signal.addEventListener("abort", reject));
        return calls.map(() => "done");
      });
      made.batchTask("tasks.other", { size: 2, wait: 300 }, (calls) => calls.map(() => "done"));
    });
    const results = await Promise.all([1, 2].map(() => app.sendTask("tasks.index")));
    await vi.waitUntil(() => runs.length === 1);
    await isGathering(...results);
    await worker.abort();
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["PENDING", "PENDING"]);
  });

  test("runs other tasks while calls of several tasks are gathered", async () => {
    const { app, isGathering } = await makeWorker((made) => {
      for (const name of ["tasks.one", "tasks.two"])
        made.batchTask(name, { size: 10, wait: 300 }, (calls) => calls.map(() => 1));
    });
    const names = Array.from({ length: 16 }, (_, at) => (at % 2 === 0 ? "tasks.one" : "tasks.two"));
    await isGathering(...(await Promise.all(names.map((name) => app.sendTask(name)))));
    expect(await (await app.sendTask("tasks.add", [1, 2])).get({ timeout: 5 })).toBe(3);
  });

  test("gathers a full batch, and runs other tasks, while the batch before runs", async () => {
    const sizes: number[] = [];
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const { app } = await makeWorker((made) =>
      made.batchTask("tasks.index", { size: 3, wait: 300 }, async (calls) => {
        sizes.push(calls.length);
        await released;
        return calls.map(() => 1);
      }),
    );
    const results = await Promise.all(Array.from({ length: 5 }, () => app.sendTask("tasks.index")));
    await vi.waitUntil(() => sizes.length === 1);
    expect(await (await app.sendTask("tasks.add", [1, 2])).get({ timeout: 5 })).toBe(3);
    results.push(await app.sendTask("tasks.index"));
    await vi.waitUntil(() => sizes.length === 2);
    release();
    expect(await Promise.all(results.map((result) => result.get({ timeout: 5 })))).toEqual([1, 1, 1, 1, 1, 1]);
    expect(sizes).toEqual([3, 3]);
  });
});

test.each([
  [{ size: 0, wait: 1 }, /size/],
  [{ size: 10, wait: -1 }, /wait/],
  [{ wait: 1 }, /size/],
])("%j is refused where it is declared", (options, message) => {
  expect(() => new Lovage("tasks").batchTask("tasks.batch", options as never, () => [])).toThrow(message);
});
