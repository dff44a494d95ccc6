/** What callers in Python rely on: errbacks, exceptions, signals, and what of a call goes before what is said of all. */
import { describe, expect, test } from "vitest";
import { chain, chord, currentTask, type FailedRequest, Lovage, PythonError } from "lovage";
import { testApp } from "lovage/testing";
import { envelope } from "./envelopes.ts";

describe("an errback", () => {
  const make = () => {
    const app = new Lovage("tasks");
    const told: unknown[] = [];
    const fail = app.task("tasks.fail", (_: number) => {
      throw new TypeError("why");
    });
    const three = app.task("tasks.three", (request: FailedRequest, exc: Error, traceback: string | null) => {
      told.push(["three", request.task, request.id, request.args, exc.name, exc.message, traceback?.includes("why")]);
    });
    const one = app.task("tasks.one", (id: string) => void told.push(["one", id]));
    const bound = app.task(
      "tasks.bound",
      { bind: true },
      (_, ...args: unknown[]) => void told.push(["bound", args.length]),
    );
    const declared = app.task("tasks.declared", { bind: true, errback: true }, (_, ...args: unknown[]) => {
      told.push(["declared", args.length, args[1] instanceof Error]);
    });
    const own = app.task("tasks.own", (id: string, note: string) => void told.push(["own", id, note]));
    return { app, told, fail, three, one, bound, declared, own };
  };
  const expected = (id: string) => [
    ["three", "tasks.fail", id, [1], "TypeError", "why", true],
    ["one", id],
    ["bound", 1],
    ["declared", 3, true],
    ["own", id, "note"],
  ];

  test("gets (request, exception, traceback) by its arity or its declaration, else the id", async () => {
    const { app, told, fail, three, one, bound, declared, own } = make();
    await using t = testApp(app);
    const linkError = [three.s(), one.s(), bound.s(), declared.s(), own.s("note" as never)];
    const { id } = await fail.applyAsync([1], { linkError });
    await t.drain();
    expect(told).toEqual(expect.arrayContaining(expected(id)));
    expect(told).toHaveLength(5);
    told.length = 0;
    const eager = await fail.apply([1], { linkError });
    expect(told).toEqual(expect.arrayContaining(expected(eager.id)));
  });

  test("gets them for a message of Python's", async () => {
    const { app, told, three } = make();
    await using t = testApp(app);
    await t.put(
      envelope({ task: "tasks.fail", id: "py", args: [1], embed: { errbacks: [three.s().toJSON()] } } as never),
    );
    await t.drain();
    expect(told).toEqual([expected("py")[0]]);
  });

  test("gets them of a chord's body that will not run", async () => {
    const { app, told, fail, three } = make();
    const sum = app.task("tasks.sum", (all: unknown[]) => all.length);
    await using t = testApp(app);
    await chord([fail.s(1), fail.s(2)], sum.s().set({ linkError: three.s() })).delay();
    await t.drain();
    expect(told).toEqual([
      [
        "three",
        "tasks.sum",
        expect.any(String),
        expect.any(Array),
        "ChordError",
        expect.any(String),
        expect.anything(),
      ],
    ]);
  });
});

test("an exception of Python's is stored under its module, name and arguments", async () => {
  const app = new Lovage("tasks");
  const fail = app.task("tasks.fail", () => {
    throw new PythonError("requests.exceptions", "Timeout", ["slow", 3]);
  });
  await using t = testApp(app);
  const result = await fail.delay();
  await t.drain();
  await expect(result.get()).rejects.toMatchObject({
    name: "Timeout",
    excModule: "requests.exceptions",
    excMessage: ["slow", 3],
  });
  const cycle: unknown[] = [];
  cycle.push(cycle);
  expect(new PythonError("builtins", "OverflowError", [2n ** 70n, [1n], null]).message).toBe(
    '1180591620717411303424, ["1"], null',
  );
  expect(new PythonError("builtins", "ValueError", [cycle]).message).toBe("[object Array]");
  for (const [module, type] of [
    ["builtins", "SystemExit"],
    ["builtins", "print"],
    ["", "ValueError"],
    ["os", "not a name"],
  ])
    expect(() => new PythonError(String(module), String(type))).toThrow(/module|type/);
});

test("a task that is revoked before it starts is told of, queued, delayed or between attempts", async () => {
  const app = new Lovage("tasks");
  const id = app.task("tasks.id", (value: number) => value);
  const again = app.task("tasks.again", { bind: true, maxRetries: null }, (self) => self.retry({ countdown: 60 }));
  const told: unknown[] = [];
  app.on("taskRevoked", ({ task, taskId, reason, request }) => void told.push([task, taskId, reason, request.args]));
  await using t = testApp(app);
  const queued = await id.delay(1);
  const delayed = await id.applyAsync([2], { countdown: 60 });
  const waiting = await again.delay();
  await queued.revoke();
  await delayed.revoke({ terminate: true });
  await t.drain();
  await waiting.revoke();
  await t.advance({ minutes: 5 });
  expect(told).toEqual([
    ["tasks.id", queued.id, "revoked", [1]],
    ["tasks.id", delayed.id, "terminated", [2]],
    ["tasks.again", waiting.id, "revoked", []],
  ]);
  expect(t.log.filter(({ line }) => line.startsWith("Discarding revoked task"))).toHaveLength(3);
});

test.each([false, true])("who is told of a message sees whose follow-up it is (eager: %s)", async (isEager) => {
  const app = new Lovage("tasks");
  const sent: unknown[] = [];
  app.on("beforeTaskPublish", ({ message }) => void sent.push([message.task, currentTask()?.name]));
  const one = app.task("tasks.one", (x: number) => x);
  const two = app.task("tasks.two", (x: number) => x);
  const sum = app.task("tasks.sum", (all: number[]) => all.length);
  const flow = chain(one.s(1), two.s(), chord([two.s()], sum.s()));
  await using t = testApp(app);
  if (isEager) await flow.apply();
  else await flow.delay();
  await t.drain();
  if (isEager) return expect(sent).toEqual([]);
  expect(sent).toEqual([
    ["tasks.one", undefined],
    ["tasks.two", "tasks.one"],
    ["tasks.two", "tasks.two"],
    ["tasks.sum", "tasks.two"],
  ]);
});

test("a priority that was set stays, and what has none inherits, a chord's body too", async () => {
  const app = new Lovage("tasks", { taskInheritParentPriority: true });
  const seen: unknown[] = [];
  const see = app.task("tasks.see", { bind: true }, (self, name: string) => {
    seen.push([name, self.request.deliveryInfo.priority]);
    return name;
  });
  await using t = testApp(app);
  const body = chord([see.si("member")], see.si("body"));
  await chain(see.si("first").set({ priority: 7 }), see.si("own").set({ priority: 2 }), body).delay();
  await t.drain();
  expect(seen).toEqual([
    ["first", 7],
    ["own", 2],
    ["member", 2],
    ["body", 2],
  ]);
});

test("a call's maxRetries goes before that of automatic retries", async () => {
  const app = new Lovage("tasks");
  let runs = 0;
  const fail = app.task("tasks.fail", { autoretryFor: [Error], retryKwargs: { maxRetries: 2, countdown: 1 } }, () => {
    runs++;
    throw new Error("why");
  });
  await using t = testApp(app);
  await fail.applyAsync([], { maxRetries: 0 });
  await t.advance({ minutes: 1 });
  expect(runs).toBe(1);
  await fail.delay();
  await t.advance({ minutes: 1 });
  expect(runs).toBe(4);
});

test("argsrepr and kwargsrepr of a call or a signature travel", async () => {
  const app = new Lovage("tasks");
  const seen: unknown[] = [];
  const see = app.task(
    "tasks.see",
    { bind: true },
    (self, _: string) => void seen.push([self.request.argsrepr, self.request.kwargsrepr]),
  );
  await using t = testApp(app);
  const shown = { argsrepr: "('***',)", kwargsrepr: "{}" };
  await see.applyAsync(["secret"], shown);
  await see.s("secret").set(shown).delay();
  await t.drain();
  expect(seen).toEqual([
    ["('***',)", "{}"],
    ["('***',)", "{}"],
  ]);
});
