import { Ignore, Lovage, Reject, Task } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere, stores } from "./stores.ts";

type Call = readonly [hook: string, ...args: unknown[]];

function makeApp() {
  const calls: Call[] = [];
  class Noting extends Task {
    override beforeStart(...args: unknown[]) {
      calls.push(["beforeStart", ...args]);
    }
    override onSuccess(...args: unknown[]) {
      calls.push(["onSuccess", ...args]);
    }
    override onFailure(...args: unknown[]) {
      calls.push(["onFailure", ...args]);
    }
    override onRetry(...args: unknown[]) {
      calls.push(["onRetry", ...args]);
    }
    override afterReturn(...args: unknown[]) {
      calls.push(["afterReturn", ...args]);
    }
  }
  const app = new Lovage("tasks");
  return { app, calls, Noting };
}

const stack = expect.stringContaining("hooks.test.ts");
const names = (calls: readonly Call[]) => calls.map(([hook]) => hook);

describe.each(everywhere)("on %s", (_, start) => {
  test("a success calls beforeStart, onSuccess and afterReturn, with Celery's arguments", async () => {
    const { app, calls, Noting } = makeApp();
    app.task("tasks.add", { base: Noting, params: ["x", "y"] }, (x: number, y: number) => x + y);
    const t = start(app);
    await app.sendTask("tasks.add", [1], { kwargs: { y: 2 }, taskId: "id" });
    await t.drain();
    expect(calls).toEqual([
      ["beforeStart", "id", [1], { y: 2 }],
      ["onSuccess", 3, "id", [1], { y: 2 }],
      ["afterReturn", "SUCCESS", 3, "id", [1], { y: 2 }, null],
    ]);
  });

  test("a failure calls beforeStart, onFailure and afterReturn, with error and stack", async () => {
    const { app, calls, Noting } = makeApp();
    const error = new RangeError("no");
    const fail = app.task("tasks.fail", { base: Noting }, (_x: number) => {
      throw error;
    });
    const t = start(app);
    await fail.applyAsync([1], { taskId: "id" });
    await t.drain();
    expect(calls).toEqual([
      ["beforeStart", "id", [1], {}],
      ["onFailure", error, "id", [1], {}, stack],
      ["afterReturn", "FAILURE", error, "id", [1], {}, stack],
    ]);
  });

  test("a retry calls onRetry and no afterReturn", async () => {
    const { app, calls, Noting } = makeApp();
    const reason = new Error("not yet");
    const flaky = app.task("tasks.flaky", { base: Noting, bind: true }, (self) => {
      if (self.request.retries === 0) self.retry({ exc: reason, countdown: 1 });
    });
    const t = start(app);
    await flaky.applyAsync([], { taskId: "id" });
    await t.drain();
    expect(calls).toEqual([
      ["beforeStart", "id", [], {}],
      ["onRetry", reason, "id", [], {}, stack],
    ]);
    await t.advance({ seconds: 1 });
    expect(names(calls)).toEqual(["beforeStart", "onRetry", "beforeStart", "onSuccess", "afterReturn"]);
  });

  test("a hook after the outcome finds it stored", async () => {
    const app = new Lovage("tasks");
    const states: string[] = [];
    const add = app.task(
      "tasks.add",
      {
        onSuccess: async (_retval, id) => {
          states.push(await app.result(id).state());
        },
      },
      () => 1,
    );
    const t = start(app);
    await add.delay();
    await t.drain();
    expect(states).toEqual(["SUCCESS"]);
  });

  test("a hook that throws is logged and changes nothing", async () => {
    const app = new Lovage("tasks");
    const broken = () => {
      throw new Error("a broken hook");
    };
    const after: string[] = [];
    const add = app.task("tasks.add", { onSuccess: broken, afterReturn: (status) => void after.push(status) }, () => 1);
    const fail = app.task("tasks.fail", { onFailure: broken }, () => {
      throw new RangeError("no");
    });
    const t = start(app);
    const [good, bad] = [await add.delay(), await fail.delay()];
    await t.drain();
    expect([await good.state(), await bad.state(), after]).toEqual(["SUCCESS", "FAILURE", ["SUCCESS"]]);
    expect(t.log.filter(({ line }) => line.includes("a broken hook")).map(({ level }) => level)).toEqual([
      "error",
      "error",
    ]);
  });

  test("hooks are not run again when a message is delivered again", async () => {
    const { app, calls, Noting } = makeApp();
    const add = app.task("tasks.add", { base: Noting }, () => 1);
    const t = start(app);
    await add.applyAsync([], { taskId: "id" });
    await t.drain();
    await add.applyAsync([], { taskId: "id" });
    await t.drain();
    expect(names(calls)).toEqual(["beforeStart", "onSuccess", "afterReturn"]);
  });
});

describe.each(stores)("in the queues themselves, on %s", (_, start) => {
  test.each([
    ["what is left of the time limit", { timeLimit: 60 }, 60],
    ["ten seconds at least", { timeLimit: 1 }, 10],
  ])("a hook that never ends is given up after %s, and its message is done", async (_, options, seconds) => {
    const app = new Lovage("tasks");
    const task = app.task("tasks.task", { ...options, onSuccess: () => new Promise<void>(() => {}) }, () => "done");
    const next = app.task("tasks.next", () => "next");
    const t = start(app);
    const [first, second] = [await task.delay(), await next.delay()];
    await t.advance({ seconds: seconds - 1 });
    expect([await first.state(), await second.state()]).toEqual(["SUCCESS", "PENDING"]);
    await t.advance({ seconds: 1 });
    expect(await second.get()).toBe("next");
    const given = t.log.filter(({ level }) => level === "error").map(({ line }) => line);
    expect(given).toEqual([expect.stringContaining(`did not end within ${seconds} s and are given up`)]);
    expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });
});

describe.each(stores)("before the run, on %s", (_, start) => {
  test.each(["taskReceived", "taskPrerun"] as const)(
    "a handler of %s that never ends is named, and the task goes on with all of its time",
    async (signal) => {
      const app = new Lovage("tasks");
      app.on(signal, () => new Promise<void>(() => {}));
      const task = app.task("tasks.task", { timeLimit: 60 }, async () => {
        await app.engine.clock.sleep(50_000);
        return "done";
      });
      const t = start(app);
      const result = await task.delay();
      await t.advance({ seconds: 109 });
      expect(await result.state()).toBe("STARTED");
      await t.advance({ seconds: 1 });
      expect(await result.get()).toBe("done");
      const given = t.log.filter(({ level }) => level === "error").map(({ line }) => line);
      expect(given).toEqual([expect.stringContaining(`A handler of ${signal} did not end within 60 s; tasks.task[`)]);
    },
  );
});

test("what beforeStart throws is the task's outcome, and the task does not run", async () => {
  const app = new Lovage("tasks");
  let ran = false;
  const add = app.task(
    "tasks.add",
    {
      beforeStart: () => {
        throw new RangeError("not today");
      },
    },
    () => {
      ran = true;
    },
  );
  const t = inMemory(app);
  const result = await add.delay();
  await t.drain();
  await expect(result.get()).rejects.toMatchObject({ name: "RangeError", message: "not today" });
  expect(ran).toBe(false);
});

test("hooks given as options replace the methods of the class", async () => {
  const { app, calls, Noting } = makeApp();
  const own: unknown[] = [];
  const add = app.task("tasks.add", { base: Noting, onSuccess: (retval) => void own.push(retval) }, () => 1);
  const t = inMemory(app);
  await add.delay();
  await t.drain();
  expect([names(calls), own]).toEqual([["beforeStart", "afterReturn"], [1]]);
});

test.each([
  ["Ignore", new Ignore(), ["beforeStart"]],
  ["Reject, which is a FAILURE,", new Reject("no"), ["beforeStart", "onFailure", "afterReturn"]],
  ["Reject with requeue", new Reject("no", { requeue: true }), ["beforeStart"]],
])("%s calls the hooks of its outcome", async (_, error, hooks) => {
  const { app, calls, Noting } = makeApp();
  const quit = app.task("tasks.quit", { base: Noting }, () => {
    throw error;
  });
  const t = inMemory(app);
  await quit.delay();
  await t.drain();
  expect(names(calls)).toEqual(hooks);
});

test("a hook that is undefined leaves the method of the class", async () => {
  const { app, calls, Noting } = makeApp();
  app.task("tasks.add", { base: Noting, onSuccess: undefined, afterReturn: undefined }, (x: number) => x);
  const t = inMemory(app);
  await app.sendTask("tasks.add", [1]);
  await t.drain();
  expect(names(calls)).toEqual(["beforeStart", "onSuccess", "afterReturn"]);
});

test("a task that was revoked or has expired calls no hook of a run that never was", async () => {
  const { app, calls, Noting } = makeApp();
  const add = app.task("tasks.add", { base: Noting }, () => 1);
  const t = inMemory(app);
  await (await add.delay()).revoke();
  await add.applyAsync([], { countdown: 10, expires: 5 });
  await t.advance({ minutes: 1 });
  expect(calls).toEqual([]);
});
