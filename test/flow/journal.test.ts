/** What has happened can be asked: every attempt that ended, every failure, how long all took, and what belongs together. */
import { chain, chord, group, Ignore, type JournalEntry, type JournalQuery, Lovage, Reject } from "lovage";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { envelope } from "./envelopes.ts";
import { inMemory, stores } from "./stores.ts";

class OutOfStock extends Error {}

describe.each(stores)("the journal on %s", (_, start) => {
  let app: Lovage;
  beforeEach(() => {
    app = new Lovage("shop");
  });

  async function find(query?: JournalQuery): Promise<JournalEntry[]> {
    const found: JournalEntry[] = [];
    for await (const entry of app.journal.find(query)) found.push(entry);
    return found;
  }

  test("an attempt that ended has an entry with all that an operator asks for", async () => {
    const add = app.task("shop.add", (x: number, y: number) => x + y);
    const t = start(app);
    const { id } = await add.applyAsync([2, 3], { countdown: 10 });
    await t.advance({ seconds: 12 });
    expect(await find()).toEqual([
      {
        time: expect.any(Number),
        kind: "task",
        id,
        task: "shop.add",
        queue: "celery",
        state: "SUCCESS",
        runtime: 0,
        waited: 0,
        worker: expect.any(String),
        args: "[2, 3]",
      },
    ]);
  });

  test("how each attempt ended is told, retries one by one, with the error's class and the first line of its message", async () => {
    const flaky = app.task(
      "shop.flaky",
      { bind: true, maxRetries: 2, retryBackoff: false, defaultRetryDelay: 1 },
      (self) => {
        throw self.retry({ exc: new OutOfStock(`none left\nof ${self.request.retries}`) });
      },
    );
    const skipped = app.task("shop.skipped", () => {
      throw new Ignore();
    });
    const other = app.task("shop.other", () => 1);
    const replaced = app.task("shop.replaced", { bind: true }, (self) => self.replace(other.s()));
    const rejected = app.task("shop.rejected", () => {
      throw new Reject("never");
    });
    const t = start(app);
    await flaky.delay();
    await t.advance({ seconds: 5 });
    expect((await find({ task: "shop.flaky" })).map(({ state, retries, error }) => [state, retries, error])).toEqual([
      ["FAILURE", 2, { type: "OutOfStock", message: "none left" }],
      ["RETRY", 1, { type: "OutOfStock", message: "none left" }],
      ["RETRY", undefined, { type: "OutOfStock", message: "none left" }],
    ]);
    await skipped.delay();
    await replaced.delay();
    await rejected.delay();
    await t.drain();
    const states = async (task: string) => (await find({ task })).map(({ state, deadLetter }) => [state, deadLetter]);
    expect(await states("shop.skipped")).toEqual([["IGNORED", undefined]]);
    expect(await states("shop.replaced")).toEqual([["REPLACED", undefined]]);
    expect(await states("shop.other")).toEqual([["SUCCESS", undefined]]);
    expect(await states("shop.rejected")).toEqual([["FAILURE", true]]);
  });

  test("arguments are shortened, and what was given in their place is all that is shown", async () => {
    const pay = app.task("shop.pay", (_: unknown) => 1);
    const t = start(app);
    await pay.delay({ text: "x".repeat(1_000_000), more: [1, 2] });
    await t.drain();
    await t.advance(1);
    await t.put(
      envelope({
        id: "secret",
        task: "shop.pay",
        args: ["4111 1111 1111 1111"],
        headers: { argsrepr: "('4111…',)", kwargsrepr: "{}" },
      }),
    );
    await t.drain();
    const [secret, long] = await find({ task: "shop.pay" });
    expect(JSON.stringify(secret)).not.toContain("1111 1111");
    expect(secret).toMatchObject({ id: "secret", args: "('4111…',)", kwargs: "{}" });
    expect(long?.args).toHaveLength(100);
    expect(long?.args).toMatch(/^\[\{"text": "x+…$/);
  });

  test("text of users is told without its control characters where it is ours, and no entry breaks the list", async () => {
    const say = app.task("shop.say", (text: string) => {
      throw new Error(text);
    });
    const t = start(app);
    await say.delay("\u001b[31m<b>\n\ud800");
    await t.drain();
    const [entry] = await find();
    expect(entry?.args).toBe('["\\u001b[31m<b>\\n\\ud800"]');
    expect(entry?.error?.message).toBe("\u001b[31m<b>");
  });

  test("dead letters, revokes, slots of beat and chords that were joined are told", async () => {
    const add = app.task("shop.add", (...xs: readonly number[]) => xs.length);
    const sum = app.task("shop.sum", (xs: readonly number[]) => xs.length);
    app.configFromObject({ beatSchedule: { "every minute": { task: "shop.add", schedule: 60 } } });
    const t = start(app, { beat: true });
    await t.put("{}{");
    await t.put(envelope({ id: "unknown", task: "shop.unknown" }));
    const waiting = await add.applyAsync([1], { countdown: 3600 });
    await waiting.revoke();
    const joined = await chord([add.s(1), add.s(2)], sum.s()).delay();
    await t.advance({ minutes: 5 });
    const kinds = async (kind: JournalEntry["kind"]) => find({ kind });
    expect((await kinds("deadLetter")).map(({ id, task, queue, error }) => [id, task, queue, error?.type])).toEqual(
      expect.arrayContaining([
        [undefined, undefined, "celery", "DecodeError"],
        ["unknown", "shop.unknown", "celery", "NotRegistered"],
      ]),
    );
    expect(await kinds("deadLetter")).toHaveLength(2);
    expect(await kinds("revoke")).toMatchObject([{ id: waiting.id }]);
    expect(await kinds("join")).toMatchObject([{ id: joined.id, task: "shop.sum", state: "SUCCESS" }]);
    const slots = await kinds("slot");
    expect(slots.length).toBeGreaterThan(3);
    expect(slots[0]).toMatchObject({ task: "shop.add", entry: "every minute", slot: expect.any(Number) });
    expect(await find({ id: slots[1]?.id ?? "", kind: "task" })).toHaveLength(1);
  });

  test("a chord that fails is told once, and so is its member", async () => {
    const fail = app.task("shop.fail", () => {
      throw new OutOfStock("none");
    });
    const sum = app.task("shop.sum", (_: readonly unknown[]) => 1);
    const t = start(app);
    const { id } = await chord([fail.s(), fail.s()], sum.s()).delay();
    await t.drain();
    const failures = await find({ state: "FAILURE" });
    expect(failures.map(({ kind, task }) => `${kind} ${task}`).sort()).toEqual([
      "join shop.sum",
      "task shop.fail",
      "task shop.fail",
    ]);
    expect(await find({ kind: "join" })).toMatchObject([{ id, error: { type: "ChordError" } }]);
  });

  test("a task with the longest name and the longest id is found by both", async () => {
    const [name, id] = [`shop.${"n".repeat(250)}`, "i".repeat(255)];
    const longest = app.task(name, () => {
      throw new OutOfStock("none");
    });
    const t = start(app);
    await longest.applyAsync([], { taskId: id });
    await t.drain();
    for (const query of [{ task: name }, { id }, { root: id }])
      expect(await find(query)).toMatchObject([{ id, task: name, state: "FAILURE" }]);
    expect(await app.control.retryFailed({ task: name, dryRun: true })).toMatchObject({ count: 1, skipped: {} });
    expect((await app.workflow(id)).tasks).toMatchObject([{ id, task: name, state: "FAILURE" }]);
  });

  test("a run of some seconds is told while it runs, and a short one is not", async () => {
    const until = Promise.withResolvers<void>();
    onTestFinished(() => until.resolve());
    const long = app.task("shop.long", () => until.promise);
    const short = app.task("shop.short", () => 1);
    const t = start(app, { concurrency: 2 });
    const { id } = await long.delay();
    await short.delay();
    await t.advance({ seconds: 60 });
    expect(await find({ kind: "running" })).toMatchObject([{ id, state: "STARTED", runtime: expect.any(Number) }]);
    until.resolve();
    await t.drain();
    expect((await find({ id })).map(({ kind }) => kind)).toEqual(["task", "running"]);
  });

  test("a worker that died is told by the run after it", async () => {
    let runs = 0;
    const crash = app.task("shop.crash", () => {
      if (++runs === 1) return new Promise(() => {});
      return 1;
    });
    const t = start(app);
    await crash.delay();
    await t.advance({ seconds: 1 });
    t.crash();
    await t.advance({ minutes: 2 });
    expect(await find({ kind: "task" })).toMatchObject([{ state: "SUCCESS", runs: 2 }]);
  });

  describe("asking", () => {
    const names = ["shop.add", "media.resize"] as const;
    async function work() {
      const add = app.task(names[0], (x: number) => x);
      const resize = app.task(names[1], { queue: "media" }, (name: string) => {
        throw new OutOfStock(`no room for ${name}`);
      });
      app.configFromObject({ taskQueues: { celery: {}, media: {} } });
      const t = start(app);
      await add.delay(1);
      await t.advance({ minutes: 1 });
      await resize.delay("cat.png");
      await t.advance({ minutes: 1 });
      await add.delay(3);
      await t.drain();
      return t;
    }
    const tasksOf = async (query: JournalQuery) => (await find(query)).map(({ task }) => task);

    test("newest first, by any of the filters, in the same words", async () => {
      const t = await work();
      const [last] = await find({ limit: 1 });
      const minute = t.clock.now() - 90_000;
      expect(await tasksOf({})).toEqual([names[0], names[1], names[0]]);
      expect(await tasksOf({ task: "media.*" })).toEqual([names[1]]);
      expect(await tasksOf({ task: ["media.*", "none"], queue: ["media", "celery"] })).toEqual([names[1]]);
      expect(await tasksOf({ queue: "media" })).toEqual([names[1]]);
      expect(await tasksOf({ state: "FAILURE" })).toEqual([names[1]]);
      expect(await tasksOf({ state: ["FAILURE", "SUCCESS"] })).toHaveLength(3);
      expect(await tasksOf({ text: "CAT" })).toEqual([names[1]]);
      expect(await tasksOf({ text: "OutOf" })).toEqual([names[1]]);
      expect(await tasksOf({ worker: last?.worker ?? "" })).toHaveLength(3);
      expect(await tasksOf({ root: last?.id ?? "" })).toEqual([names[0]]);
      expect(await tasksOf({ from: minute })).toHaveLength(2);
      expect(await tasksOf({ to: new Date(minute) })).toEqual([names[0]]);
      expect(await tasksOf({ limit: 2 })).toHaveLength(2);
    });

    test("what matches nothing is an empty list", async () => {
      await work();
      expect(await find({ task: "nobody.*" })).toEqual([]);
      expect(await find({ id: "no such id" })).toEqual([]);
      expect(await find({ limit: 0 })).toEqual([]);
      expect(await app.journal.failures({ task: "nobody" })).toEqual([]);
    });

    test("what cannot be asked is an error that says why", async () => {
      const t = await work();
      const now = t.clock.now();
      const yesterday = now - 86_400_000;
      expect(() => app.journal.find({ from: now, to: yesterday })).toThrow(
        `journal.find.from: must be before to; the range given is from ${new Date(now).toISOString()} to ${new Date(yesterday).toISOString()}`,
      );
      expect(() => app.journal.find({ limit: -1 })).toThrow("journal.find.limit: must be a whole number from 0");
      expect(() => app.journal.find({ stat: "FAILURE" } as JournalQuery)).toThrow(
        'journal.find.stat: is not known; did you mean "state"?',
      );
      expect(() => app.journal.find({ from: "yesterday" } as unknown as JournalQuery)).toThrow("must be a Date");
      await expect(app.journal.failures({ from: now, to: yesterday })).rejects.toThrow("journal.failures.from");
      await expect(app.journal.summary({ from: now, to: yesterday })).rejects.toThrow("journal.summary.from");
      await expect(app.journal.summary({ from: yesterday, step: 0.001 })).rejects.toThrow("10000 are the most");
      await expect(app.workflow("")).rejects.toThrow("id: must be the id of a task of the workflow, or of a group");
    });

    test("failures are counted by task and error, whatever differs in their messages", async () => {
      const resize = app.task("media.resize", (n: number) => {
        if (n % 3 === 0) throw new OutOfStock(`no room for "cat-${n}.png" (${n * 7} bytes)`);
        if (n % 3 === 1) throw new TypeError("x is not a function");
        throw new Error(`connection to 10.0.0.${n} lost`);
      });
      const t = start(app);
      const first = t.clock.now();
      for (let n = 0; n < 7; n++) {
        await resize.delay(n);
        await t.advance({ seconds: 60 });
      }
      const groups = await app.journal.failures();
      expect(groups.map(({ task, error, count }) => [task, error?.type, error?.message, count])).toEqual(
        [
          ["media.resize", "OutOfStock", "no room for … (… bytes)", 3],
          ["media.resize", "Error", "connection to … lost", 2],
          ["media.resize", "TypeError", "x is not a function", 2],
        ].sort((a, b) => Number(b[3]) - Number(a[3]) || (a[1] === "Error" ? -1 : 1)),
      );
      expect(groups[0]).toMatchObject({ first, last: first + 360_000, example: { args: "[6]", state: "FAILURE" } });
      expect((await app.journal.failures({ from: first + 60_000, limit: 1 }))[0]).toMatchObject({ count: 2 });
    });

    test("a summary has every step of its range, with counts and percentiles", async () => {
      const t = await work();
      const to = t.clock.now() + 1;
      const steps = await app.journal.summary({ from: to - 180_000, to, step: 60 });
      expect(steps.map(({ ended, succeeded, failed }) => [ended, succeeded, failed])).toEqual([
        [1, 1, 0],
        [1, 0, 1],
        [1, 1, 0],
      ]);
      expect(steps[2]).toMatchObject({
        time: to - 60_000,
        retried: 0,
        revoked: 0,
        throughput: 1 / 60,
        runtime: { p50: 0, p95: 0, p99: 0 },
        waited: { p50: 0, p95: 0, p99: 0 },
      });
      const [none] = await app.journal.summary({ from: to - 86_400_000, to: to - 80_000_000, step: 100_000 });
      expect(none).toMatchObject({ ended: 0, throughput: 0, runtime: { p50: null, p95: null, p99: null } });
      expect(await app.journal.summary()).toHaveLength(60);
    });

    test("without a journal nothing is kept, and asking says so", async () => {
      app.configFromObject({ journal: false });
      const add = app.task("shop.add", (x: number) => x);
      const t = start(app);
      await add.delay(1);
      await t.drain();
      await expect(find()).rejects.toThrow("journal: is off");
      await expect(app.workflow("x")).rejects.toThrow("journal: is off");
    });
  });

  describe("a workflow", () => {
    test("of a chain, a group and a chord has all of its tasks, what each comes after, and their states", async () => {
      const add = app.task("shop.add", (x: number, y: number) => x + y);
      const sum = app.task("shop.sum", (xs: readonly number[]) => xs.length);
      const last = app.task("shop.last", (x: number) => x);
      const t = start(app);
      const result = await chain(add.s(1, 2), chord([add.s(3), add.s(4)], sum.s()), last.s()).delay();
      await t.drain();
      const all = await find({ kind: "task" });
      const first = all.find(({ args }) => args === "[1, 2]");
      const id = first?.id ?? "";
      const { tasks, groups, truncated } = await app.workflow(id);
      expect(truncated).toBe(false);
      expect(tasks.map(({ task, state }) => [task, state])).toEqual([
        ["shop.add", "SUCCESS"],
        ["shop.add", "SUCCESS"],
        ["shop.add", "SUCCESS"],
        ["shop.sum", "SUCCESS"],
        ["shop.last", "SUCCESS"],
      ]);
      const [root, one, two, body, end] = tasks;
      expect(root).toMatchObject({ id, after: [], started: expect.any(Number), ended: expect.any(Number) });
      expect([one?.after, two?.after]).toEqual([[id], [id]]);
      expect(body?.after.toSorted()).toEqual([one?.id, two?.id].toSorted());
      expect(end).toMatchObject({ id: result.id, after: [body?.id] });
      expect(groups).toEqual([
        { id: one?.group, members: expect.arrayContaining([one?.id, two?.id]), body: result.id },
      ]);
      for (const other of [one?.id, body?.id, result.id])
        expect(await app.workflow(other ?? "")).toEqual({ id: other, tasks, groups, truncated });
    });

    test("is found by the id that its caller has, from its first step on, and after a step has failed", async () => {
      const add = app.task("shop.add", (x: number, y: number) => x + y);
      const fail = app.task("shop.fail", (_: number): number => {
        throw new Error("no");
      });
      const sum = app.task("shop.sum", (xs: readonly number[]) => xs.length);
      const late = app.task("shop.late", (x: number) => x);
      const t = start(app);
      const shown = async (id: string) =>
        (await app.workflow(id)).tasks.map(({ task = "not told yet", state }) => `${task} ${state}`);

      const failed = await chain(add.s(1, 2), fail.s(), add.s(3)).delay();
      await t.drain();
      expect(await shown(failed.id)).toEqual(["shop.add SUCCESS", "shop.fail FAILURE", "not told yet FAILURE"]);

      const waiting = await chain(
        add.s(1, 2),
        late.s().set({ countdown: 600 }),
        chord([add.s(1), add.s(2)], sum.s()),
      ).delay();
      await t.advance({ seconds: 1 });
      expect(await shown(waiting.id)).toEqual(["shop.add SUCCESS", "not told yet PENDING", "not told yet PENDING"]);
      await t.advance({ minutes: 11 });
      expect(await shown(waiting.id)).toHaveLength(5);

      const ends = await chain(late.s(1), late.s().set({ countdown: 600 }), group([add.s(3), add.s(4)])).delay();
      await t.advance({ seconds: 1 });
      expect((await shown(ends.id))[0]).toBe("shop.late SUCCESS");
      await t.advance({ minutes: 11 });
      expect(await shown(ends.id)).toEqual(["shop.add SUCCESS", "shop.add SUCCESS"]);

      const alone = await chord([add.s(1, 2), add.s(3, 4)], sum.s()).delay();
      await t.drain();
      expect(await shown(alone.id)).toEqual(["shop.add SUCCESS", "shop.add SUCCESS", "shop.sum SUCCESS"]);
    });

    test("shows what has not run yet, and what never will", async () => {
      const until = Promise.withResolvers<void>();
      onTestFinished(() => until.resolve());
      const wait = app.task("shop.wait", () => until.promise);
      const fail = app.task("shop.fail", () => {
        throw new Error("no");
      });
      const sum = app.task("shop.sum", (_: readonly unknown[]) => 1);
      const split = app.task("shop.split", async () => {
        await chord([wait.s(), fail.s()], sum.s()).delay();
      });
      const t = start(app, { concurrency: 2 });
      const { id } = await split.delay();
      await t.advance({ seconds: 30 });
      const { tasks } = await app.workflow(id);
      expect(tasks.map(({ task = "waits", state }) => [task, state]).sort()).toEqual([
        ["shop.fail", "FAILURE"],
        ["shop.split", "SUCCESS"],
        ["shop.wait", "STARTED"],
        ["waits", "PENDING"],
      ]);
      until.resolve();
      await t.drain();
      const after = await app.workflow(id);
      expect(after.tasks.find(({ task }) => task === "shop.sum")).toMatchObject({ state: "FAILURE" });
    });

    test("of a group is asked for by the group's id", async () => {
      const add = app.task("shop.add", (x: number) => x);
      const t = start(app);
      const result = await group([add.s(1), add.s(2), add.s(3)]).delay();
      await t.drain();
      const { tasks, groups } = await app.workflow(result.id);
      expect(tasks.map(({ state }) => state)).toEqual(["SUCCESS", "SUCCESS", "SUCCESS"]);
      expect(groups).toMatchObject([{ id: result.id, members: { length: 3 } }]);
    });

    test("that nobody knows is empty", async () => {
      start(app);
      expect(await app.workflow("nobody")).toEqual({ id: "nobody", tasks: [], groups: [], truncated: false });
    });
  });
});

test("of a large workflow a few rows are in memory at a time, and it is said that there are more tasks than are looked for", async () => {
  const app = new Lovage("shop");
  const later = app.task("shop.later", () => null);
  const fan = app.task("shop.fan", async (many: number) => {
    await Promise.all(Array.from({ length: many }, () => later.applyAsync([], { countdown: 3600 })));
  });
  const t = inMemory(app);
  const sizes: number[] = [];
  const backend = await app.engine.backend();
  const readAll = backend.read.bind(backend);
  backend.read = (keys, options) => {
    sizes.push(keys.length);
    return readAll(keys, options);
  };
  const shown = async (many: number) => {
    const { id } = await fan.delay(many);
    await t.advance({ seconds: 1 });
    sizes.length = 0;
    const { truncated } = await app.workflow(id);
    expect(sizes.length).toBeGreaterThan(40);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(400);
    return truncated;
  };
  expect(await shown(9_999)).toBe(false);
  expect(await shown(10_000)).toBe(true);
});

test("a journal that cannot be written is told of once a minute, and no task suffers", async () => {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number) => x);
  const t = stores[0]?.[1](app);
  if (t === undefined) throw new Error("there is no store");
  const backend = await app.engine.backend();
  const { journal } = backend;
  if (journal === undefined) throw new Error("there is no journal");
  Object.assign(journal, {
    append: async () => {
      throw new Error("the table is full");
    },
  });
  for (let minute = 0; minute < 3; minute++) {
    await app.engine.note({ time: t.clock.now(), kind: "control", action: "pause" });
    await app.engine.note({ time: t.clock.now(), kind: "control", action: "pause" });
    await t.advance({ minutes: 1 });
  }
  expect(t.log.filter(({ line }) => line.includes("the table is full"))).toHaveLength(3);
  await add.delay(1);
  await t.drain();
});
