import { chain, currentTask, group, ImproperlyConfigured, Lovage, TaskRevokedError } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere, stores } from "./stores.ts";

function makeApp(config: ConstructorParameters<typeof Lovage>[1] = {}) {
  const app = new Lovage("tasks", config);
  const ran: number[] = [];
  const note = app.task("tasks.note", (n: number) => {
    ran.push(n);
    return n;
  });
  return { app, note, ran };
}

describe.each(everywhere)("on %s", (_, start) => {
  test("countdown holds a task back for so many seconds", async () => {
    const { app, note } = makeApp();
    const t = start(app);
    await note.applyAsync([1], { countdown: 20 });
    expect(await t.advance({ seconds: 19.9 })).toEqual([]);
    expect(await t.advance({ seconds: 0.1 })).toMatchObject([{ state: "SUCCESS", args: [1] }]);
  });

  test.each([
    ["a Date", new Date(Date.UTC(2026, 0, 1, 0, 10))],
    ["text without an offset, which is UTC", "2026-01-01T00:10:00"],
    ["text with an offset", "2026-01-01T08:10:00+08:00"],
  ])("eta holds a task back until %s", async (_, eta) => {
    const { app, note } = makeApp();
    const t = start(app);
    await note.applyAsync([1], { eta });
    expect(await t.advance({ minutes: 9.99 })).toEqual([]);
    expect(await t.advance({ minutes: 0.01 })).toHaveLength(1);
  });

  test("a task that has expired ends as REVOKED and does not run", async () => {
    const { app, note, ran } = makeApp();
    const t = start(app);
    const inTime = await note.applyAsync([1], { countdown: 5, expires: 10 });
    const late = await note.applyAsync([2], { countdown: 20, expires: 10 });
    const dated = await note.applyAsync([3], { countdown: 20, expires: new Date(t.clock.now() + 10_000) });
    await t.advance({ seconds: 30 });
    expect(ran).toEqual([1]);
    expect([await inTime.state(), await late.state(), await dated.state()]).toEqual(["SUCCESS", "REVOKED", "REVOKED"]);
    await expect(late.get()).rejects.toThrow(new TaskRevokedError("expired"));
  });

  test("a higher priority goes first", async () => {
    const { app, note, ran } = makeApp();
    const t = start(app);
    for (const [n, priority] of [
      [1, 0],
      [2, 9],
      [3, 5],
      [4, 9],
    ] as const)
      await note.applyAsync([n], { priority });
    await t.drain();
    expect(ran).toEqual([2, 4, 3, 1]);
  });

  test("ignoreResult keeps nothing to read, and still runs a task once", async () => {
    const { app, note, ran } = makeApp();
    const t = start(app);
    const result = await note.applyAsync([1], { ignoreResult: true, taskId: "quiet" });
    await note.applyAsync([2], { ignoreResult: true, taskId: "quiet" });
    await t.drain();
    expect(ran).toEqual([1]);
    expect(await result.state()).toBe("PENDING");
    // As in Celery: who sent it so does not wait for what will never come.
    expect(await result.get()).toBeNull();
  });

  test("a second task of the same id does not run", async () => {
    const { app, note, ran } = makeApp();
    const t = start(app);
    const result = await note.applyAsync([1], { taskId: "once" });
    await note.applyAsync([2], { taskId: "once" });
    await t.drain();
    await note.applyAsync([3], { taskId: "once" });
    await t.drain();
    expect(ran).toEqual([1]);
    expect(await result.get()).toBe(1);
  });
});

describe.each(stores)("in the queues themselves, on %s", (_, start) => {
  test("queue, headers, shadow and taskId arrive", async () => {
    const app = new Lovage("tasks");
    const who = app.task("tasks.who", () => {
      const { id, queue, headers, shadow } = currentTask()?.request ?? {};
      return { id, queue, headers, shadow };
    });
    const t = start(app);
    const result = await who.applyAsync([], {
      queue: "media",
      headers: { trace: "abc" },
      shadow: "who.me",
      taskId: "an id",
    });
    expect(result.id).toBe("an id");
    await t.drain();
    expect(await result.get()).toEqual({ id: "an id", queue: "media", headers: { trace: "abc" }, shadow: "who.me" });
    expect(t.log.map(({ line }) => line)).toEqual([
      "Received task: who.me[an id]",
      expect.stringMatching(/^Task who\.me\[an id\] succeeded in 0\.000s: \{/),
    ]);
  });

  test("delays longer than the broker's are made of several", async () => {
    const { app, note } = makeApp({ brokerTransportOptions: { maxDelay: 60 } });
    const t = start(app);
    await note.applyAsync([1], { countdown: 3600 });
    expect(await t.advance({ seconds: 3599 })).toEqual([]);
    expect(await t.advance({ seconds: 1 })).toMatchObject([{ args: [1], state: "SUCCESS" }]);
  });
});

test("a time limit and a number of retries can be set for one call", async () => {
  const app = new Lovage("tasks");
  const hang = app.task("tasks.hang", { timeLimit: 1000 }, () => new Promise<never>(() => {}));
  const flaky = app.task("tasks.flaky", { maxRetries: 10, autoretryFor: [Error], defaultRetryDelay: 1 }, () => {
    throw new Error("no");
  });
  const t = inMemory(app);
  const hung = await hang.applyAsync([], { timeLimit: 3 });
  await t.advance({ seconds: 3 });
  await expect(hung.get()).rejects.toThrow("the time limit of 3 s passed");
  await flaky.applyAsync([], { maxRetries: 2 });
  expect((await t.advance({ minutes: 1 })).map(({ state }) => state)).toEqual(["RETRY", "RETRY", "FAILURE"]);
});

test.each([
  [
    { timeLimit: 20 },
    { softTimeLimit: 20 },
    {},
    "softTimeLimit (20 s, of the call) must be below timeLimit (20 s, of its declaration)",
  ],
  [
    { softTimeLimit: 10 },
    { timeLimit: 5 },
    {},
    "softTimeLimit (10 s, of its declaration) must be below timeLimit (5 s, of the call)",
  ],
  [
    {},
    { softTimeLimit: 40 },
    { taskTimeLimit: 30 },
    "softTimeLimit (40 s, of the call) must be below timeLimit (30 s, of taskTimeLimit)",
  ],
])(
  "a task of %j called with %j has a soft limit that never comes, and is refused",
  async (declared, call, config, message) => {
    const app = new Lovage("tasks", config);
    const note = app.task("tasks.note", declared, () => {});
    const t = inMemory(app);
    for (const sent of [
      note.applyAsync([], call),
      note.s().set(call).delay(),
      group(note.s(), note.s().set(call)).delay(),
      note.apply([], call),
      chain(note.si().set(call), note.si()).apply(),
    ])
      await expect(sent).rejects.toThrow(`a call of tasks.note: ${message}`);
    const streamed = group(
      (function* () {
        yield note.s().set(call);
      })(),
    ).delay();
    await expect(streamed).rejects.toMatchObject({ cause: { message: expect.stringContaining(message) } });
    expect(await t.drain()).toEqual([]);
  },
);

test("a soft limit of the call below the hard one of the declaration comes first", async () => {
  const app = new Lovage("tasks");
  const note = app.task("tasks.note", { timeLimit: 20 }, () => currentTask()?.request.softTimeLimit);
  const t = inMemory(app);
  const result = await note.applyAsync([], { softTimeLimit: 19.5 });
  await t.drain();
  expect(await result.get()).toBe(19.5);
});

test("options of the declaration hold for every call, and a call's own win", async () => {
  const app = new Lovage("tasks");
  const note = app.task(
    "tasks.note",
    { queue: "slow", priority: 3 },
    () => currentTask()?.request.deliveryInfo.priority,
  );
  const t = inMemory(app);
  await note.delay();
  await note.applyAsync([], { queue: "fast", priority: 7 });
  expect((await t.drain()).map(({ queue, result }) => [queue, result])).toEqual(
    expect.arrayContaining([
      ["slow", 3],
      ["fast", 7],
    ]),
  );
});

test.each([
  [{ countdown: -1 }, /countdown.*given: -1/],
  [{ countdown: Number.NaN }, /countdown/],
  [{ countdown: 1, eta: new Date() }, /countdown or eta, not both/],
  [{ eta: "tomorrow" }, /eta.*ISO 8601/],
  [{ expires: -5 }, /expires.*given: -5/],
  [{ priority: 256 }, /priority.*255.*given: 256/],
  [{ taskId: "" }, /taskId.*1 to 255/],
  [{ timeLimit: 0 }, /timeLimit.*given: 0/],
  [{ maxRetries: 1.5 }, /maxRetries.*given: 1.5/],
  [{ queue: "" }, /queue/],
  [{ headers: [] }, /headers/],
  [{ compression: "rar" }, /compression.*gzip/],
  [{ countDown: 1 }, /did you mean countdown\?/],
  [{ rateLimit: "10/m" }, /rateLimit.*where the task is declared/],
  [{ MessageDeduplicationId: "a" }, /only a FIFO queue drops duplicates/],
])("a call with %o is refused, and nothing is sent", async (options, message) => {
  const { app } = makeApp();
  const t = inMemory(app);
  const call = app.sendTask("tasks.note", [1], options as object);
  await expect(call).rejects.toThrow(ImproperlyConfigured);
  await expect(call).rejects.toThrow(message);
  expect(await t.drain()).toEqual([]);
});

test("a FIFO queue takes no delay of one message", async () => {
  const { app, note } = makeApp();
  inMemory(app);
  await expect(note.applyAsync([1], { queue: "orders.fifo", countdown: 1 })).rejects.toThrow(
    /orders\.fifo takes no delay/,
  );
});
