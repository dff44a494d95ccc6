import { ImproperlyConfigured, Lovage, states, TaskError, TimeoutError } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere } from "./stores.ts";

function makeApp() {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const div = app.task("tasks.div", (x: number, y: number) => {
    if (y === 0) throw new RangeError("division by zero");
    return x / y;
  });
  return { app, add, div };
}

describe.each(everywhere)("on %s", (_, start) => {
  test("a task is sent with delay, run by a worker, and its result read by whoever has its id", async () => {
    const { app, add } = makeApp();
    const t = start(app);
    const result = await add.delay(1, 2);
    expect([await result.ready(), await result.state(), await result.result()]).toEqual([false, states.PENDING, null]);
    expect(await t.drain()).toMatchObject([
      { task: "tasks.add", id: result.id, args: [1, 2], state: "SUCCESS", result: 3 },
    ]);
    expect(await result.get()).toBe(3);
    expect([await result.ready(), await result.status(), await result.result()]).toEqual([true, "SUCCESS", 3]);
    expect([await result.successful(), await result.failed(), await result.traceback()]).toEqual([true, false, null]);
    expect(await app.result(result.id).get()).toBe(3);
    expect((await result.dateDone())?.getTime()).toBe(t.clock.now());
  });

  test("get waits for the outcome", async () => {
    const { app, add } = makeApp();
    const t = start(app);
    const result = await add.applyAsync([1, 2], { countdown: 5 });
    const waited = result.get({ timeout: 60 });
    await t.advance({ seconds: 30 });
    expect(await waited).toBe(3);
  });

  test("get gives up after its timeout and says what to look at; the task is not touched", async () => {
    const { app, add } = makeApp();
    const t = start(app);
    const result = await add.applyAsync([1, 2], { countdown: 20 });
    const waited = result.get({ timeout: 10 }).catch((error: unknown) => error);
    await t.advance({ seconds: 15 });
    const error = await waited;
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({
      taskId: result.id,
      timeout: 10,
      message: expect.stringContaining("its state is PENDING"),
    });
    await t.advance({ seconds: 10 });
    expect(await result.get()).toBe(3);
  });

  test("get throws what the task threw, with its type, message and stack of the worker", async () => {
    const { app, div } = makeApp();
    const t = start(app);
    const result = await div.delay(4, 0);
    await t.drain();
    const error = await result.get().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TaskError);
    expect(error).toMatchObject({ name: "RangeError", message: "division by zero", taskId: result.id });
    expect((error as TaskError).stack).toContain("calling.test.ts");
    expect(await result.traceback()).toContain("RangeError: division by zero");
    expect([await result.state(), await result.failed(), await result.successful()]).toEqual(["FAILURE", true, false]);
  });

  test("get with propagate: false returns the error", async () => {
    const { app, div } = makeApp();
    const t = start(app);
    const result = await div.delay(4, 0);
    await t.drain();
    expect(await result.get({ propagate: false })).toBeInstanceOf(TaskError);
    expect(await result.result()).toBeInstanceOf(TaskError);
  });

  test("a thousand calls of one turn all arrive, each with its own result", async () => {
    const { app, add } = makeApp();
    const t = start(app);
    const results = await Promise.all(Array.from({ length: 1000 }, (_, n) => add.delay(n, 1)));
    expect(new Set(results.map(({ id }) => id)).size).toBe(1000);
    await t.drain();
    expect(await Promise.all(results.map((result) => result.get()))).toEqual(
      Array.from({ length: 1000 }, (_, n) => n + 1),
    );
  });

  test("a task is sent by its name, and read by its id, where its function is not at hand", async () => {
    const { app } = makeApp();
    const t = start(app);
    const result = await app.sendTask<number>("tasks.add", [20, 22]);
    await t.drain();
    expect(await result.get()).toBe(42);
  });
});

test("an id that nobody knows is PENDING", async () => {
  const { app } = makeApp();
  inMemory(app);
  const result = app.result("who");
  expect([await result.state(), await result.ready(), await result.children()]).toEqual(["PENDING", false, []]);
});

test("a wait ends when its signal aborts", async () => {
  const { app, add } = makeApp();
  inMemory(app);
  const stop = new AbortController();
  const waited = (await add.delay(1, 2)).get({ signal: stop.signal });
  stop.abort(new Error("enough"));
  await expect(waited).rejects.toThrow("enough");
});

test("awaiting a result does not wait for the task, and a result cannot be an argument", async () => {
  const { app, add } = makeApp();
  inMemory(app);
  const result = await await add.delay(1, 2);
  expect(await result.state()).toBe("PENDING");
  await expect(app.sendTask("tasks.add", [result, 1])).rejects.toThrow(`${result.id}, which cannot be sent itself`);
});

test("a task is called in place with run, without broker or worker", () => {
  const { add } = makeApp();
  expect(add.run(1, 2)).toBe(3);
});

test("a signature holds arguments and options until it is sent", async () => {
  const { app, add } = makeApp();
  const t = inMemory(app);
  const late = add.s(2).set({ countdown: 60 });
  const results = [
    await late.delay(1),
    await add.si(20, 3).delay(),
    await app.signature("tasks.add", [4, 5]).applyAsync([], { taskId: "mine" }),
  ];
  await t.drain();
  expect(await Promise.all(results.map((result) => result.result()))).toEqual([null, 23, 9]);
  expect(results[2]?.id).toBe("mine");
  await t.advance({ minutes: 1 });
  expect(await results[0]?.get()).toBe(3);
  expect(JSON.parse(JSON.stringify(late))).toEqual({
    task: "tasks.add",
    args: [2],
    kwargs: {},
    options: { countdown: 60 },
    subtask_type: null,
    immutable: false,
  });
});

test("an app can be closed and used again", async () => {
  const { app, add } = makeApp();
  const t = inMemory(app, { config: { brokerUrl: "memory://again", resultBackend: "memory://again" } });
  await add.delay(1, 2);
  await app.close();
  const result = await add.delay(3, 4);
  await t.drain();
  expect(await result.get()).toBe(7);
});

test("what is done to the arguments after the call changes nothing that is sent", async () => {
  const app = new Lovage("tasks");
  const echo = app.task("tasks.echo", (job: { n: number }) => job.n);
  const t = inMemory(app);
  const job = { n: 0 };
  const calls = [];
  for (job.n = 0; job.n < 3; job.n++) calls.push(echo.delay(job));
  const results = await Promise.all(calls);
  await t.drain();
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([0, 1, 2]);
});

test("a signature without options, given as null, keeps those that it has", () => {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const late = add.s(1, 2).set({ countdown: 60 });
  expect(late.set(null as never).toJSON()).toEqual(late.toJSON());
  expect(late.clone([], null as never).toJSON()).toEqual(late.toJSON());
});

test.each([
  [{ countdown: -1 }, /countdown.*given: -1/],
  [{ countdwon: 1 }, /no such option; did you mean countdown/],
  [{ soft_time_limit: 1 }, /it is called softTimeLimit here/],
  [{ softTimeLimit: 9, timeLimit: 9 }, /softTimeLimit.*must be below timeLimit/],
  [5, /options of a call of tasks\.add must be an object; given: 5/],
])("%j is refused where a signature gets it, as it is at a call", async (options, message) => {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const given = options as never;
  await expect(add.applyAsync([1, 2], given)).rejects.toThrow(message);
  const ways = [
    () => add.s(1, 2).set(given),
    () => add.s(1, 2).clone([], given),
    () => add.signature([1, 2], given),
    () => app.signature("tasks.add", [1, 2], given),
  ];
  for (const way of ways) {
    expect(way).toThrow(ImproperlyConfigured);
    expect(way).toThrow(message);
  }
});

test("arguments that are no list, and an immutability that is no flag, are refused where a signature gets them", () => {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const args = "12" as never;
  for (const immutable of [1, "yes"] as unknown[] as true[])
    expect(() => add.signature([], { immutable })).toThrow(/immutable: must be true or false/);
  for (const way of [() => add.s().clone(args), () => add.signature(args), () => app.signature("tasks.add", args)])
    expect(way).toThrow(/the arguments of tasks\.add must be a list; given: "12"/);
});

describe("what is asked of the broker", () => {
  const asked = async () => {
    const { app, add } = makeApp();
    const sends: number[] = [];
    inMemory(app, {
      broker: (broker) => ({
        ...broker,
        send(entries) {
          sends.push(entries.length);
          return broker.send(entries);
        },
      }),
    });
    // The first call opens it.
    await add.delay(0, 0);
    sends.length = 0;
    return { app, add, sends };
  };

  test("calls of one turn share one request, in whatever way they are made", async () => {
    const { app, add, sends } = await asked();
    await Promise.all([
      ...Array.from({ length: 250 }, (_, n) => add.delay(n, 1)),
      add.applyAsync([1, 2], { countdown: 5 }),
      app.sendTask("elsewhere", [1]),
    ]);
    expect(sends).toEqual([252]);
  });

  test("a lone call waits for no other: it is asked for before the turn is over", async () => {
    const { add, sends } = await asked();
    const sending = add.delay(1, 2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sends).toEqual([1]);
    await sending;
  });
});
