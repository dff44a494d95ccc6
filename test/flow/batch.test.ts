/** Batches: calls of one task that are handed to one run of its function. */
import { type BatchCall, BatchResultError, chain, chord, Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test } from "vitest";
import { stores } from "./stores.ts";

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

test.each([
  [{ size: 0, wait: 1 }, /size/],
  [{ size: 10, wait: -1 }, /wait/],
  [{ wait: 1 }, /size/],
])("%j is refused where it is declared", (options, message) => {
  expect(() => new Lovage("tasks").batchTask("tasks.batch", options as never, () => [])).toThrow(message);
});
