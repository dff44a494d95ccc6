import { currentTask, group, Lovage, type Request, Task } from "lovage";
import { describe, expect, test } from "vitest";
import { envelope } from "./envelopes.ts";
import { inMemory, everywhere } from "./stores.ts";

describe.each(everywhere)("on %s", (_, start) => {
  test("a bound task sees the fields of its message", async () => {
    const app = new Lovage("tasks", { taskQueues: { celery: {}, media: { timeLimit: 600 } } });
    let seen: Request | undefined;
    const look = app.task("tasks.look", { bind: true, softTimeLimit: 30 }, (self, _x: number) => {
      seen = self.request;
    });
    const t = start(app);
    const { id } = await look.applyAsync([1], { queue: "media", priority: 4, headers: { mine: true }, expires: 60 });
    await t.drain();
    expect(seen).toMatchObject({
      id,
      task: "tasks.look",
      args: [1],
      kwargs: {},
      retries: 0,
      eta: null,
      expires: "2026-01-01T00:01:00+00:00",
      rootId: id,
      parentId: null,
      group: null,
      groupIndex: null,
      chord: null,
      chain: [],
      callbacks: [],
      errbacks: [],
      timelimit: [null, null],
      timeLimit: 600,
      softTimeLimit: 30,
      ignoreResult: false,
      headers: { mine: true },
      deliveryInfo: { exchange: "", routingKey: "media", priority: 4, redelivered: false },
      correlationId: id,
      hostname: "celery@test",
      shadow: null,
      lang: "js",
      replacedTaskNesting: 0,
      stampedHeaders: null,
      stamps: {},
      queue: "media",
      isEager: false,
      calledDirectly: false,
      utc: true,
      deliveries: 1,
    });
  });

  test("what a task sends knows its parent and its root", async () => {
    const app = new Lovage("tasks");
    const family: (readonly [string, string, string | null])[] = [];
    const note = () => {
      const request = currentTask()?.request;
      if (request !== undefined) family.push([request.id, request.rootId, request.parentId]);
    };
    const leaf = app.task("tasks.leaf", note);
    const branch = app.task("tasks.branch", async () => {
      note();
      await leaf.applyAsync([], { taskId: "leaf" });
    });
    const root = app.task("tasks.root", async () => {
      note();
      await branch.applyAsync([], { taskId: "branch" });
    });
    const t = start(app);
    await root.applyAsync([], { taskId: "root" });
    await t.drain();
    expect(family).toEqual([
      ["root", "root", null],
      ["branch", "root", "root"],
      ["leaf", "root", "branch"],
    ]);
  });

  test("keyword arguments of a producer elsewhere find their place by params", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    app.task("tasks.mail", { params: ["to", "subject", "urgent"] }, (to: string, subject = "none", urgent = false) => {
      seen.push([to, subject, urgent]);
    });
    const t = start(app);
    await t.put(envelope({ task: "tasks.mail", id: "1", kwargs: { subject: "hi", to: "ann" } }));
    await t.put(envelope({ task: "tasks.mail", id: "2", args: ["bob"], kwargs: { urgent: true } }));
    await t.put(envelope({ task: "tasks.mail", id: "3", args: ["eve", "x"] }));
    await t.drain();
    expect(seen).toEqual([
      ["ann", "hi", false],
      ["bob", "none", true],
      ["eve", "x", false],
    ]);
  });
});

test("the same is seen by currentTask, in what the task calls and after it has waited", async () => {
  const app = new Lovage("tasks");
  const deep = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return currentTask()?.request.id;
  };
  const look = app.task("tasks.look", () => deep());
  const t = inMemory(app);
  const result = await look.delay();
  await t.drain();
  expect(await result.get()).toBe(result.id);
  expect(currentTask()).toBeUndefined();
});

test("a retry keeps the id and counts", async () => {
  const app = new Lovage("tasks");
  const seen: unknown[] = [];
  const flaky = app.task("tasks.flaky", { bind: true }, (self) => {
    seen.push([self.request.id, self.request.retries]);
    if (self.request.retries < 2) self.retry({ countdown: 1 });
  });
  const t = inMemory(app);
  await flaky.applyAsync([], { taskId: "one" });
  await t.advance({ minutes: 1 });
  expect(seen).toEqual([
    ["one", 0],
    ["one", 1],
    ["one", 2],
  ]);
});

test.each([
  [{ params: ["x"] }, { z: 1 }, /unexpected keyword argument 'z'/],
  [{ params: ["x"] }, { x: 1 }, /multiple values for argument 'x'/],
  [{}, { x: 1 }, /declare params: \["x"\]/],
])("keyword arguments that find no place are a FAILURE TypeError (%o given %o)", async (options, kwargs, message) => {
  const app = new Lovage("tasks");
  let ran = false;
  app.task("tasks.f", options, () => {
    ran = true;
  });
  const t = inMemory(app);
  await t.put(envelope({ task: "tasks.f", id: "1", args: [0], kwargs }));
  await t.drain();
  const error = await app
    .result("1")
    .get()
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: "TypeError", message: expect.stringMatching(message) });
  expect(ran).toBe(false);
});

test("kwargs are sent with applyAsync", async () => {
  const app = new Lovage("tasks");
  const sub = app.task("tasks.sub", { params: ["x", "y"] }, (x: number, y: number) => x - y);
  const t = inMemory(app);
  const result = await sub.applyAsync([], { kwargs: { y: 1, x: 5 } });
  await t.drain();
  expect(await result.get()).toBe(4);
});

test("in place, a bound task sees that it was called directly, and cannot store, replace or retry", async () => {
  const app = new Lovage("tasks");
  const reason = new Error("why");
  const look = app.task("tasks.look", { bind: true }, (self, what: string) => {
    if (what === "retry") self.retry({ exc: reason });
    if (what === "update") return self.updateState({ state: "X" });
    if (what === "replace") self.replace(look.si("x"));
    return self.request.calledDirectly;
  });
  expect(look.run("look")).toBe(true);
  expect(() => look.run("retry")).toThrow(reason);
  await expect(look.run("update")).rejects.toThrow(/was called as a function/);
  expect(() => look.run("replace")).toThrow(/was called as a function/);
});

test("a base class gives its members to the task and to the bound task, and keeps what they store from run to run", async () => {
  class Counting extends Task {
    count = 0;
    #secret = 0;
    next() {
      this.#secret++;
      return `${++this.count} ${this.#secret}`;
    }
  }
  const app = new Lovage("tasks");
  const count = app.task("tasks.count", { base: Counting, bind: true }, (self) => {
    self.count += 10;
    return `${self.next()} ${self.request.id} ${self instanceof Counting}`;
  });
  const t = inMemory(app);
  const first = await count.applyAsync([], { taskId: "a" });
  const second = await count.applyAsync([], { taskId: "b" });
  await t.drain();
  expect([await first.get(), await second.get()]).toEqual(["11 1 a true", "22 2 b true"]);
  expect(count.next()).toBe("23 3");
});

test("get() within a task is refused, as Celery refuses it, and allowed where the caller knows better", async () => {
  const app = new Lovage("tasks");
  const inc = app.task("tasks.inc", (n: number) => n + 1);
  const parent = app.task("tasks.parent", async (n: number): Promise<number> => (await inc.delay(n)).get());
  const pair = app.task("tasks.pair", async () => (await group([inc.s(1), inc.s(2)]).delay()).get());
  const patient = app.task("tasks.patient", async (n: number): Promise<number> => {
    const result = await inc.delay(n);
    return result.get({ disableSyncSubtasks: false, timeout: 0 });
  });
  const t = inMemory(app);
  const refused = [await parent.delay(1), await pair.delay()];
  const waited = await patient.delay(1);
  await t.drain();
  for (const result of refused) await expect(result.get()).rejects.toThrow("never call get() within a task");
  await expect(waited.get()).rejects.toThrow("had no result after 0 s");

  const eager = new Lovage("tasks", { taskAlwaysEager: true, brokerUrl: "memory://" });
  const child = eager.task("tasks.inc", (n: number) => n + 1);
  const whole = eager.task("tasks.parent", async (n: number): Promise<number> => (await child.delay(n)).get());
  expect(await (await whole.delay(1)).get()).toBe(2);
});
