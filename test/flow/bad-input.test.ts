import {
  AlreadyRegistered,
  chord,
  EncodeError,
  group,
  ImproperlyConfigured,
  Lovage,
  NotRegistered,
  PayloadTooLarge,
  Reject,
  type Task,
} from "lovage";
import { describe, expect, test } from "vitest";
import { startWorker } from "../../src/workers/poll.ts";
import { envelope } from "./envelopes.ts";
import { inMemory, stores } from "./stores.ts";

function makeApp(config: ConstructorParameters<typeof Lovage>[1] = {}) {
  const app = new Lovage("tasks", config);
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const echo = app.task("tasks.echo", (value: unknown) => value);
  return { app, add, echo };
}

const good = (id: string) => envelope({ task: "tasks.add", id, args: [1, 2] });

describe.each(stores)("on %s", (_, start) => {
  test.each([
    ["a body that is no envelope", "hello", /JSON|envelope/i, undefined],
    ["a body that is a number", "42", /./, undefined],
    ["no headers", JSON.stringify({ body: "[]" }), /./, undefined],
    ["bad JSON in the envelope's body", envelope({ task: "tasks.add", id: "bad", body: "[1, 2" }), /JSON/, "bad"],
    ["two parts in place of three", envelope({ task: "tasks.add", id: "bad", body: "[[1], {}]" }), /./, "bad"],
    [
      "an unknown tag",
      envelope({ task: "tasks.add", id: "bad", args: [{ __type__: "alien", __value__: 1 }, 2] }),
      /alien/,
      "bad",
    ],
    [
      "a content type that is not accepted",
      envelope({ task: "tasks.add", id: "bad", contentType: "application/x-yaml", body: "- 1" }),
      /acceptContent|yaml/,
      "bad",
    ],
    [
      "an unknown content type",
      envelope({ task: "tasks.add", id: "bad", contentType: "application/x-unknown", body: "1" }),
      /x-unknown/,
      "bad",
    ],
  ])("%s becomes a dead letter, unchanged and with the reason, and the worker goes on", async (_, body, reason, id) => {
    const { app } = makeApp();
    const t = start(app);
    await t.put(good("before"));
    await t.put(body);
    await t.put(good("after"));
    await t.drain();
    expect([await app.result("before").get(), await app.result("after").get()]).toEqual([3, 3]);
    const letters = await t.deadLetters();
    expect(letters).toMatchObject([
      { queue: "celery-dlq", body, attributes: { queue: "celery", reason: expect.stringMatching(reason) } },
    ]);
    expect(letters[0]?.attributes.id).toBe(id);
    if (id !== undefined) expect(await app.result(id).state()).toBe("FAILURE");
    expect(await t.advance({ hours: 1 })).toEqual([]);
  });

  test("a body that leaves no room for the reason becomes a dead letter without it", async () => {
    const { app } = makeApp();
    const t = start(app);
    const body = "x".repeat(2 ** 20);
    await t.put(body);
    await t.drain();
    expect(await t.deadLetters()).toMatchObject([{ body, attributes: {} }]);
  });

  test("of what is said of a dead letter, as much is kept as there is room for", async () => {
    const { app } = makeApp();
    app.task("tasks.refuse", () => {
      throw new Reject("no".repeat(500));
    });
    const t = start(app);
    const rest = envelope({ task: "tasks.refuse", id: "large", args: [""] }).length;
    await t.put(envelope({ task: "tasks.refuse", id: "large", args: ["x".repeat(2 ** 20 - rest - 300)] }));
    await t.drain();
    const [letter] = await t.deadLetters();
    const names = ["deadAt", "deliveries", "error", "id", "queue", "sentAt", "task"];
    expect(Object.keys(letter?.attributes ?? {}).sort()).toEqual(names);
  });

  test.each([0, 1, 36, 200])(
    "a call whose text has %i bytes less than a message runs again when its dead letter is moved back",
    async (less) => {
      const { app } = makeApp();
      let refuses = true;
      const work = app.task("tasks.work", (text: string) => {
        if (refuses) throw new Reject("not now");
        return text.length;
      });
      const t = start(app, { config: { payloadStore: "" } });
      const broker = await app.engine.broker();
      await work.applyAsync([""], { taskId: "small" });
      const [small] = await broker.receive("celery", { max: 1, wait: 0, visibility: 60_000 });
      const text = "x".repeat(2 ** 20 - less - (small?.body.length ?? 0) - 1);
      // What is shown of the arguments is longer then.
      await work.applyAsync([text], { taskId: "large", argsrepr: "('',)" });
      await t.drain();
      refuses = false;
      const [letter] = await broker.receive("celery-dlq", { max: 1, wait: 0, visibility: 60_000 });
      // As SQS's own redrive does it: a message as it is.
      await broker.send([{ queue: "celery", body: letter?.body ?? "", attributes: letter?.attributes ?? {} }]);
      await t.drain();
      expect(await app.result("large").get()).toBe(text.length);
    },
  );

  test("what is said of a dead letter is what a queue service takes, whatever was thrown", async () => {
    const { app } = makeApp();
    const refuse = app.task("tasks.refuse", (reason: string) => {
      throw new Reject(reason);
    });
    const t = start(app);
    for (const reason of ["", "a\u0000b\u001b[2J\ud83d c\n", `${"x".repeat(1022)}\u{1f49a}!`])
      await refuse.delay(reason);
    await t.drain();
    const reasons = (await t.deadLetters()).map(({ attributes }) => attributes["reason"]);
    expect(reasons).toEqual(["Reject", "a\ufffdb\ufffd[2J\ufffd c\n", `${"x".repeat(1022)}\ufffd…`]);
  });

  test.each([
    ["quotes", `it's "quoted" \\ \`so\``],
    ["lines and control characters", "one\ntwo\u0000\u001b[2J"],
    ["unicode", "💚 ä ü 漢字"],
    ["half a character", "\ud83d"],
    ["10 KB", "i".repeat(10_000)],
  ])("a task whose id has %s runs, and has its result and its dead letter", async (_, id) => {
    const { app } = makeApp();
    app.task("tasks.refuse", () => {
      throw new Reject("no");
    });
    const t = start(app);
    await t.put(envelope({ task: "tasks.add", id, args: [1, 2] }));
    await t.put(envelope({ task: "tasks.add", id, args: [1, 2] }));
    await t.put(envelope({ task: "tasks.refuse", id: `${id}!` }));
    expect(await t.drain()).toHaveLength(2);
    expect([await app.result(id).get(), await app.result(`${id}!`).state()]).toEqual([3, "FAILURE"]);
    expect(await t.deadLetters()).toMatchObject([{ attributes: { id: expect.stringMatching(/^.{1,256}$/su) } }]);
  });

  test.each([
    ["of more than 255 characters", "i".repeat(256)],
    ["of none", ""],
    ["with half of a character", "i\ud800"],
  ])("a call is refused an id %s", async (__, taskId) => {
    const { app, add } = makeApp();
    const t = start(app);
    await expect(add.applyAsync([1, 2], { taskId })).rejects.toThrow("text of 1 to 255 characters");
    await expect(add.apply([1, 2], { taskId })).rejects.toThrow("text of 1 to 255 characters");
    expect(() => add.s(1, 2).set({ taskId })).toThrow("text of 1 to 255 characters");
    await expect(group([add.s(1, 2)]).applyAsync([], { taskId })).rejects.toThrow("text of 1 to 255 characters");
    expect([await t.drain(), await (await app.engine.broker()).queues()]).toEqual([[], expect.anything()]);
  });

  test.each(["__proto__", "constructor", "a/../b", "..", "a\nb\0", " ", "%2F", "задача-é-🎉", `'"<b>\``])(
    "%j is an id like any other, of a task and of each part of a workflow",
    async (id) => {
      const { app, add } = makeApp();
      const tell = app.task("tasks.tell", { bind: true }, (self) => self.write("chunk"));
      const sum = app.task("tasks.sum", (xs: number[]) => xs.reduce((one, other) => one + other, 0));
      const t = start(app);
      const result = await add.applyAsync([1, 2], { taskId: id });
      const told = await tell.applyAsync([], { taskId: `${id}1` });
      const members = [add.s(1, 2).set({ taskId: `${id}2` }), add.s(3, 4)];
      const grouped = await group([add.s(1, 2), add.s(3, 4)]).applyAsync([], { taskId: `${id}3` });
      await grouped.save();
      const body = await chord(members, sum.s()).applyAsync([], { taskId: `${id}4` });
      expect(await app.control.revoke(`${id}5`)).toMatchObject({ count: 1 });
      const revoked = await add.applyAsync([1, 2], { taskId: `${id}5` });
      await t.drain();
      const chunks: unknown[] = [];
      for await (const chunk of told.stream()) chunks.push(chunk);
      expect([await app.result(id).get(), chunks, await body.get()]).toEqual([3, ["chunk"], 10]);
      expect(await (await app.groupResult(`${id}3`))?.get()).toEqual([3, 7]);
      expect(await revoked.state()).toBe("REVOKED");
      await result.forget();
      expect(await result.state()).toBe("PENDING");
    },
  );

  test("a task that nobody registered is handed back three times, then becomes a dead letter", async () => {
    const { app } = makeApp();
    const t = start(app);
    const body = envelope({ task: "tasks.ad", id: "typo", args: [1, 2] });
    await t.put(body);
    await t.drain();
    expect(await t.deadLetters()).toEqual([]);
    await t.advance({ minutes: 5 });
    expect(await t.deadLetters()).toMatchObject([
      {
        body,
        attributes: {
          error: "NotRegistered",
          task: "tasks.ad",
          id: "typo",
          reason: expect.stringContaining("did you mean tasks.add?"),
        },
      },
    ]);
    await expect(app.result("typo").get()).rejects.toThrow(NotRegistered);
  });

  test("a task that is registered while it waits runs", async () => {
    const { app } = makeApp();
    const t = start(app);
    await t.put(envelope({ task: "tasks.late", id: "late" }));
    await t.drain();
    app.task("tasks.late", () => "there");
    await t.advance({ minutes: 5 });
    expect(await app.result("late").get()).toBe("there");
  });

  test("without a store for it a 50 MB argument is an error with its number, and nothing is sent", async () => {
    const { app, echo } = makeApp();
    const t = start(app, { config: { payloadStore: "" } });
    const call = echo.delay("x".repeat(50 * 1024 * 1024));
    await expect(call).rejects.toThrow(PayloadTooLarge);
    await expect(call).rejects.toMatchObject({ limit: 1024 * 1024, message: expect.stringContaining("1048576") });
    expect(await t.drain()).toEqual([]);
  });
});

test.each([
  ["a function", [{ callback: () => 1 }], "args[0].callback"],
  ["a symbol", [[1, Symbol("s")]], "args[0][1]"],
  [
    "a cycle",
    (() => {
      const ring: { self?: unknown } = {};
      ring.self = ring;
      return [ring];
    })(),
    "args[0].self",
  ],
  ["an integer beyond what Celery's JSON can say", [10n ** 5000n], "args[0]"],
])("%s among the arguments is an error at the call that names the path, and nothing is sent", async (_, args, path) => {
  const { app } = makeApp();
  const t = inMemory(app);
  const error = await app.sendTask("tasks.echo", args).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(EncodeError);
  expect(error).toMatchObject({ path });
  expect(await t.drain()).toEqual([]);
});

test("two tasks of one name are an error at the declaration, and so is a name of Celery's own", () => {
  const { app } = makeApp();
  expect(() => app.task("tasks.add", () => 1)).toThrow(AlreadyRegistered);
  expect(() => app.task("celery.backend_cleanup", () => 1)).toThrow(/celery\. are Celery's own/);
});

test.each([
  ["an empty name", () => new Lovage("")],
  ["a task without a name", () => makeApp().app.task("", () => 1)],
  ["a task without a function", () => makeApp().app.task("tasks.none", {} as never, undefined as never)],
  ["a base that is no Task", () => makeApp().app.task("tasks.odd", { base: Date as unknown as typeof Task }, () => 1)],
  ["an option that does not exist", () => makeApp().app.task("tasks.odd", { maxRetrys: 1 } as object, () => 1)],
  ["an option out of its range", () => makeApp().app.task("tasks.odd", { maxRetries: -1 }, () => 1)],
  ["a rate limit", () => makeApp().app.task("tasks.odd", { rateLimit: "10/d" }, () => 1)],
  ["a setting that does not exist", () => new Lovage("tasks", { taskRoute: {} } as object)],
  ["a time zone that does not exist", () => new Lovage("tasks", { timezone: "Europe/Berln" })],
  ["a schedule out of its range", () => new Lovage("tasks", { beatSchedule: { a: { task: "t", schedule: -1 } } })],
  ["a queue's limit out of its range", () => new Lovage("tasks", { taskQueues: { celery: { timeLimit: 0 } } })],
])("%s is refused when it is declared", (_, declare) => {
  expect(declare).toThrow(ImproperlyConfigured);
});

test.each([
  [5, "given: 5"],
  ["memory://", 'given: "memory://"'],
  [[], "given: []"],
  [() => ({}), "given: function (anonymous)"],
])("settings that are %s are refused", (config, given) => {
  expect(() => new Lovage("tasks", config as object)).toThrow(`config: must be an object of settings (${given})`);
});

test("a signal that does not exist is refused with the nearest, and so is a handler that is no function", () => {
  const { app } = makeApp();
  expect(() => app.on("taskPreRun" as never, () => {})).toThrow(
    'on: there is no signal "taskPreRun"; did you mean "taskPrerun"? (signals: beforeTaskPublish,',
  );
  expect(() => app.on("toString" as never, () => {})).toThrow(ImproperlyConfigured);
  expect(() => app.on("taskPrerun", undefined as never)).toThrow(
    "on: the handler of taskPrerun must be a function (given: undefined)",
  );
});

test.each(["bad!name x", "", "celery-dlq", "q".repeat(81)])(
  "a worker does not serve a queue called %j",
  async (queue) => {
    const { app } = makeApp({ brokerUrl: "memory://bad-queue" });
    const started = startWorker(app, { queues: [queue] });
    await expect(started).rejects.toThrow(ImproperlyConfigured);
    await expect(started).rejects.toThrow(/^queues: /);
    expect(app.engine.isOpen).toBe(false);
  },
);

test("a URL with an unknown scheme is refused with the known ones", async () => {
  const open = async () => {
    const app = new Lovage("tasks", { brokerUrl: "redis://localhost", resultBackend: "memory://" });
    await app.sendTask("tasks.add");
  };
  await expect(open()).rejects.toThrow(/sqlite.*redis/);
});

test("a name that is not registered is said with the nearest that is", async () => {
  const { app } = makeApp();
  await expect(app.applyEagerly("tasks.ad")).rejects.toThrow(/did you mean tasks\.add\?/);
});

test("a clock that goes back neither loses a task nor runs one twice", async () => {
  const { app } = makeApp({ beatSchedule: { tick: { task: "tasks.tick", schedule: 30 } } });
  const ran: string[] = [];
  app.task("tasks.note", (text: string) => void ran.push(text));
  app.task("tasks.tick", () => void ran.push("tick"));
  const t = inMemory(app, { beat: true });
  await app.sendTask("tasks.note", ["first"], { countdown: 10 });
  await t.advance({ seconds: 40 });
  expect(ran).toEqual(["first", "tick"]);
  t.clock.moveTo(t.clock.now() - 3_600_000);
  await app.sendTask("tasks.note", ["second"], { countdown: 10 });
  await t.advance({ seconds: 40 });
  // Beat goes on from the present, and leaves out the slots that it has sent.
  expect(ran.filter((text) => text !== "tick")).toEqual(["first", "second"]);
  const before = ran.filter((text) => text === "tick").length;
  await t.advance({ minutes: 30 });
  expect(ran.filter((text) => text === "tick").length - before).toBe(60);
});

test("100,000 queued tasks stay in the queue: a worker takes what it has room for", async () => {
  const app = new Lovage("tasks");
  const t = inMemory(app, { concurrency: 3 });
  const broker = await app.engine.broker();
  const message = (n: number) => ({ queue: "celery", body: envelope({ task: "tasks.nothing", id: `${n}` }) });
  let [runs, most] = [0, 0];
  app.task("tasks.nothing", async () => {
    most = Math.max(most, (await broker.size("celery")).inFlight);
    if (++runs === 50) await broker.purge("celery");
  });
  await broker.send(Array.from({ length: 100_000 }, (_, n) => message(n)));
  expect(await broker.size("celery")).toMatchObject({ ready: 100_000 });
  const before = process.memoryUsage().heapUsed;
  await t.drain();
  expect(runs).toBeGreaterThanOrEqual(50);
  expect(most).toBe(3);
  // Garbage that is not collected yet counts too; the messages by themselves have more than this.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
});
