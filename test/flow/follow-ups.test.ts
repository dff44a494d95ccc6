import { randomBytes } from "node:crypto";
import { currentTask, Lovage, OperationalError } from "lovage";
import { describe, expect, test } from "vitest";
import type { Outgoing } from "../../src/brokers/broker.ts";
import { envelope, signature } from "./envelopes.ts";
import { inMemory, everywhere, isTable } from "./stores.ts";

function makeApp() {
  const app = new Lovage("tasks");
  const notes: unknown[] = [];
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const note = app.task("tasks.note", (...args: unknown[]) => {
    notes.push(args);
    return args.length;
  });
  const fail = app.task("tasks.fail", (..._args: unknown[]) => {
    throw new RangeError("no");
  });
  return { app, add, note, fail, notes };
}

describe.each(everywhere)("on %s", (_, start) => {
  test("link is called with the result, once it is there", async () => {
    const { app, add, note, notes } = makeApp();
    const t = start(app);
    const result = await add.applyAsync([1, 2], { link: [note.s("first"), note.si("second")] });
    await t.drain();
    expect(notes).toEqual([[3, "first"], ["second"]]);
    expect((await result.children()).length).toBe(2);
  });

  test("linkError is called with the id of the task that failed, and link is not", async () => {
    const { app, fail, note, notes } = makeApp();
    const t = start(app);
    const result = await fail.applyAsync([], { link: note.s("link"), linkError: note.s("linkError") });
    await t.drain();
    expect(notes).toEqual([[result.id, "linkError"]]);
  });

  test("a retry keeps what follows", async () => {
    const { app, note, notes } = makeApp();
    const flaky = app.task("tasks.flaky", { bind: true }, (self) => {
      if (self.request.retries === 0) self.retry({ countdown: 1 });
      return "done";
    });
    const t = start(app);
    await flaky.applyAsync([], { link: note.s() });
    await t.advance({ minutes: 1 });
    expect(notes).toEqual([["done"]]);
  });

  test("each link of a task, and of what has taken its place, is called once, whichever copy of its messages is met first", async () => {
    const { app, add, fail, note, notes } = makeApp();
    const takes = app.task("tasks.takes", { bind: true }, (self, ends: boolean) =>
      self.replace(
        (ends ? add.si(1, 2).set({ link: note.si("inner") }) : fail.si().set({ linkError: note.si("inner") })) as never,
      ),
    );
    for (const ends of [true, false]) {
      notes.length = 0;
      const sent: Outgoing[] = [];
      let isDown = true;
      const t = start(app, {
        broker: (broker) => ({
          ...broker,
          store: undefined,
          async send(entries) {
            // The worker cannot send the links at first, and hands its message back.
            if (isDown && entries.some(({ body }) => body.includes('"task":"tasks.note"')))
              return entries.map(() => new OperationalError("busy", { retryable: true }));
            sent.push(...entries);
            return broker.send(entries);
          },
        }),
      });
      await takes.applyAsync([ends], { link: note.si("outer"), linkError: note.si("outer") });
      await t.advance({ seconds: 3 });
      isDown = false;
      const [first] = sent;
      await (await app.engine.broker()).send([first as Outgoing]);
      await t.drain();
      await t.advance({ minutes: 10 });
      expect(notes.sort()).toEqual([["inner"], ["outer"]]);
      await t.close();
    }
  });

  test("the steps of a chain that came from elsewhere run one after the other", async () => {
    const { app, notes } = makeApp();
    const t = start(app);
    const steps = [
      signature("tasks.note", ["end"], { task_id: "three" }),
      signature("tasks.add", [10], { task_id: "two" }),
    ];
    await t.put(envelope({ task: "tasks.add", id: "one", args: [1, 2], embed: { chain: steps } }));
    await t.drain();
    expect(notes).toEqual([[13, "end"]]);
    expect([await app.result("one").get(), await app.result("two").get(), await app.result("three").get()]).toEqual([
      3, 13, 2,
    ]);
    expect((await app.result("two").children()).map(({ id }) => id)).toEqual(["three"]);
  });

  test("the steps behind one that failed share its outcome, so that who waits for the last is told", async () => {
    const { app, notes } = makeApp();
    const t = start(app);
    const steps = [
      signature("tasks.note", ["end"], { task_id: "three" }),
      signature("tasks.fail", [], { task_id: "two" }),
    ];
    await t.put(envelope({ task: "tasks.add", id: "one", args: [1, 2], embed: { chain: steps } }));
    await t.drain();
    expect(notes).toEqual([]);
    await expect(app.result("three").get()).rejects.toMatchObject({ name: "RangeError", message: "no" });
  });

  test("a task that replaces itself has the other's result, under its own id, and keeps what follows", async () => {
    const { app, add, note, notes } = makeApp();
    const delegate = app.task("tasks.delegate", { bind: true }, (self, n: number) => {
      self.replace(add.s(n, n));
    });
    const t = start(app);
    const result = await delegate.applyAsync([4], { link: note.s() });
    expect((await t.drain()).map(({ task, id }) => [task, id === result.id])).toEqual([
      ["tasks.delegate", true],
      ["tasks.add", true],
      ["tasks.note", false],
    ]);
    expect(await result.get()).toBe(8);
    expect(notes).toEqual([[8]]);
  });

  // What is too large for a message is too large for a row of a table.
  test.skipIf(isTable)("a follow-up that can never be sent fails by itself, and who waits for it is told", async () => {
    const { app, note, notes } = makeApp();
    const big = app.task("tasks.big", () => randomBytes(2_000_000).toString("hex"));
    const t = start(app, { config: { payloadStore: "" } });
    const result = await big.applyAsync([], { link: [note.s().set({ taskId: "too-large" }), note.si("small")] });
    await t.drain();
    expect(await result.state()).toBe("SUCCESS");
    await expect(app.result("too-large").get()).rejects.toMatchObject({ name: "PayloadTooLarge" });
    expect(notes).toEqual([["small"]]);
  });
});

test("options of a linked signature hold: queue, countdown, id", async () => {
  const { app, add, note, notes } = makeApp();
  const t = inMemory(app);
  await add.applyAsync([1, 2], { link: note.s().set({ queue: "media", countdown: 60, taskId: "linked" }) });
  await t.drain();
  expect(notes).toEqual([]);
  expect(await t.advance({ minutes: 1 })).toMatchObject([{ id: "linked", queue: "media" }]);
});

test("what follows knows its parent and its root", async () => {
  const app = new Lovage("tasks");
  const seen: unknown[] = [];
  app.task("tasks.look", (_x: unknown) => {
    const { rootId, parentId } = currentTask()?.request ?? {};
    seen.push([rootId, parentId]);
  });
  const t = inMemory(app);
  const steps = [signature("tasks.look", [], { task_id: "two" })];
  await t.put(
    envelope({ task: "tasks.look", id: "one", args: [0], embed: { chain: steps }, headers: { root_id: "zero" } }),
  );
  await t.drain();
  expect(seen).toEqual([
    ["zero", null],
    ["zero", "one"],
  ]);
});

test("links of links are followed", async () => {
  const { app, add, note, notes } = makeApp();
  const t = inMemory(app);
  await add.applyAsync([1, 2], { link: add.s(10).set({ link: note.s("end") }) });
  await t.drain();
  expect(notes).toEqual([[13, "end"]]);
});
