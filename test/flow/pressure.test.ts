/** Systems that fail, and time that is long: what must not be counted against a task, and what must not be held. */
import { Lovage, OperationalError, registerBackend } from "lovage";
import { describe, expect, test } from "vitest";
import { openBackend } from "../../src/open.ts";
import { startWorker } from "../../src/workers/poll.ts";
import { envelope } from "./envelopes.ts";
import { inMemory, stores } from "./stores.ts";

/** `throttled://…` refuses so many of the next commands. */
let refusals = 0;
registerBackend("throttled", async () => ({
  async open(url, context) {
    const backend = await openBackend(url.replace("throttled:", "memory:"), context);
    const refuse = () => new OperationalError("throttled", { retryable: true });
    return {
      ...backend,
      apply: async (commands) => (refusals-- > 0 ? commands.map(refuse) : backend.apply(commands)),
    };
  },
}));

test.each([
  ["before a task runs uses up no retry and no life: it is handed back", 8, 1],
  ["for seconds after a task has run costs it no second run", 6, 1],
  // The heartbeat meets some of these.
  ["for longer after a task has run uses up no retry and no life: it is handed back", 12, 5],
])("a backend that is throttled %s", async (when, count, runs) => {
  const app = new Lovage("tasks", { maxDeliveries: 2 });
  const seen: unknown[] = [];
  const isBefore = when.startsWith("before");
  const task = app.task("tasks.task", { bind: true, maxRetries: 0 }, (self) => {
    seen.push(self.request.retries);
    refusals = !isBefore && seen.length <= 4 ? count : 0;
    return "done";
  });
  const t = inMemory(app, { config: { resultBackend: "throttled://pressure" } });
  const result = await task.delay();
  refusals = isBefore ? count : 0;
  await t.advance({ hours: 2 });
  expect(await result.get()).toBe("done");
  expect(seen).toEqual(Array.from({ length: runs }, () => 0));
  expect(await t.deadLetters()).toEqual([]);
});

describe.each(stores)("on %s", (_, start) => {
  test("of a batch with one bad message the others are done", async () => {
    const app = new Lovage("tasks");
    const ran: number[] = [];
    app.task("tasks.note", (n: number) => void ran.push(n));
    const t = start(app, { concurrency: 5 });
    for (const n of [1, 2]) await t.put(envelope({ task: "tasks.note", id: `id-${n}`, args: [n] }));
    await t.put("not a message");
    for (const n of [3, 4]) await t.put(envelope({ task: "tasks.note", id: `id-${n}`, args: [n] }));
    await t.drain();
    expect(ran.toSorted()).toEqual([1, 2, 3, 4]);
    expect(await t.deadLetters()).toHaveLength(1);
    expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("a countdown of a year is kept to the second", async () => {
    const app = new Lovage("tasks");
    const at: number[] = [];
    const task = app.task("tasks.task", () => void at.push(t.clock.now()));
    const t = start(app);
    const began = t.clock.now();
    await task.applyAsync([], { countdown: 365 * 86_400 });
    await t.advance({ days: 364 });
    expect(at).toEqual([]);
    await t.advance({ days: 2 });
    expect(at).toEqual([began + 365 * 86_400_000]);
  });

  test("a delay beyond the longest single one is made of hops, and its outcome comes once", async () => {
    const app = new Lovage("tasks");
    const at: number[] = [];
    const task = app.task("tasks.task", () => void at.push(t.clock.now()));
    const t = start(app, { config: { brokerTransportOptions: { maxDelay: 2 } } });
    const began = t.clock.now();
    await task.applyAsync([], { countdown: 61 });
    await t.advance({ seconds: 1 });
    expect((await (await app.engine.broker()).size("celery")).delayed).toBe(1);
    await t.advance({ minutes: 5 });
    expect(at).toEqual([began + 61_000]);
  });

  test("a far ETA that another producer sent without a delay is parked, and its worker is free meanwhile", async () => {
    const app = new Lovage("tasks");
    const ran: unknown[] = [];
    const note = app.task("tasks.note", (word: string) => void ran.push(word));
    const t = start(app);
    const eta = new Date(t.clock.now() + 40 * 86_400_000).toISOString();
    await t.put(envelope({ task: "tasks.note", id: "late", args: ["late"], headers: { eta } }));
    await note.delay("now");
    await t.drain();
    expect(ran).toEqual(["now"]);
    expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 1, inFlight: 0 });
    await t.advance({ days: 41 });
    expect(ran).toEqual(["now", "late"]);
  });
});

describe("the poller", () => {
  test("has no more in hand than concurrency and prefetch allow, however long the queue", async () => {
    const app = new Lovage("tasks", { brokerUrl: "memory://pressure-hand", workerPrefetchMultiplier: 2 });
    const most: number[] = [];
    const broker = await app.engine.broker();
    const task = app.task("tasks.task", async () => {
      most.push((await broker.size("celery")).inFlight);
    });
    await Promise.all(Array.from({ length: 300 }, () => task.delay()));
    const worker = await startWorker(app, { concurrency: 3 });
    while (most.length < 300) await new Promise((resolve) => setImmediate(resolve));
    await worker.stop();
    // What has ended and is being acknowledged counts as well.
    expect(Math.max(...most)).toBeLessThanOrEqual(3 * 2 + 3);
    await app.close();
  });

  test("stops a FIFO group at its first hand-back, goes on with the others, and keeps the order", async () => {
    const app = new Lovage("tasks", {
      brokerUrl: "memory://pressure-fifo",
      taskQueues: { "o.fifo": {} },
      taskDefaultQueue: "o.fifo",
    });
    const done: string[] = [];
    let refused = 0;
    const task = app.task("tasks.task", { bind: true }, (self, word: string) => {
      if (word === "a1" && refused++ < 1) self.retry({ countdown: 0.05 });
      done.push(word);
    });
    for (const word of ["a1", "a2", "b1", "a3", "b2"])
      await task.applyAsync([word], { MessageGroupId: word[0] ?? "", MessageDeduplicationId: word });
    const worker = await startWorker(app, { concurrency: 4 });
    while (done.length < 5) await new Promise((resolve) => setTimeout(resolve, 5));
    await worker.stop();
    expect(done.filter((word) => word.startsWith("a"))).toEqual(["a1", "a2", "a3"]);
    expect(done.filter((word) => word.startsWith("b"))).toEqual(["b1", "b2"]);
    expect(refused).toBe(2);
    await app.close();
  });
});
