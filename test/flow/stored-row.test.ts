import { Lovage, type Task } from "lovage";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Backend } from "../../src/results/backend.ts";
import { everywhere, isTable } from "./stores.ts";

/** The text that is stored under Celery's key of a task. */
async function storedText(app: Lovage, id: string): Promise<string> {
  const [row] = await (await app.engine.backend()).read([`celery-task-meta-${id}`]);
  if (typeof row?.result !== "string") throw new Error(`no text is stored of ${id}`);
  return row.result;
}

/** The store itself, without the app's prefix. */
async function openBackend(app: Lovage): Promise<Backend> {
  const context = { now: app.engine.clock.now, random: Math.random, options: {} };
  const backend = await (await import("../../src/open.ts")).openBackend(app.config.resultBackend, context);
  onTestFinished(() => backend.close());
  return backend;
}

describe.each(everywhere)("on %s", (_, start) => {
  test("a result is stored as Celery stores it, under Celery's key", async () => {
    const app = new Lovage("tasks");
    const add = app.task("tasks.add", (x: number, y: number) => x + y);
    const t = start(app);
    const { id } = await add.delay(1, 2);
    await t.drain();
    expect(JSON.parse(await storedText(app, id))).toEqual({
      status: "SUCCESS",
      result: 3,
      traceback: null,
      children: [],
      date_done: "2026-01-01T00:00:00+00:00",
      task_id: id,
    });
  });

  test("whoever stores an outcome writes its date as Celery does", async () => {
    const app = new Lovage("tasks");
    const add = app.task("tasks.add", (x: number, y: number) => x + y);
    const t = start(app);
    const revoked = await add.delay(1, 2);
    await revoked.revoke();
    await t.drain();
    expect(JSON.parse(await storedText(app, revoked.id))).toMatchObject({
      status: "REVOKED",
      date_done: "2026-01-01T00:00:00+00:00",
    });
  });

  test.skipIf(isTable)("globalKeyprefix stands before the key", async () => {
    const app = new Lovage("tasks", { resultBackendTransportOptions: { globalKeyprefix: "shop" } });
    const add = app.task("tasks.add", (x: number, y: number) => x + y);
    const t = start(app);
    const result = await add.delay(1, 2);
    await t.drain();
    expect(await result.get()).toBe(3);
    const [other] = await (await openBackend(app)).read([`celery-task-meta-${result.id}`]);
    const [own] = await (await openBackend(app)).read([`shop_celery-task-meta-${result.id}`]);
    expect([other, own?.settled]).toEqual([undefined, true]);
  });

  test("a failure is stored with type, message, module and stack", async () => {
    const app = new Lovage("tasks");
    const div = app.task("tasks.div", () => {
      throw new TypeError("not a number");
    });
    const t = start(app);
    const { id } = await div.delay();
    await t.drain();
    expect(JSON.parse(await storedText(app, id))).toMatchObject({
      status: "FAILURE",
      result: { exc_type: "TypeError", exc_message: ["not a number"], exc_module: "builtins" },
      traceback: expect.stringContaining("stored-row.test.ts"),
      children: [],
    });
  });

  test("resultExtended adds name, arguments, worker, retries and queue", async () => {
    const app = new Lovage("tasks", { resultExtended: true });
    const add = app.task("tasks.add", (x: number, y: number) => x + y);
    const t = start(app);
    const { id } = await add.delay(1, 2);
    await t.drain();
    expect(JSON.parse(await storedText(app, id))).toMatchObject({
      name: "tasks.add",
      args: [1, 2],
      kwargs: {},
      worker: "celery@test",
      retries: 0,
      queue: "celery",
    });
  });

  test("children are what the task sent and what follows it", async () => {
    const app = new Lovage("tasks");
    const leaf: Task<[], string> = app.task("tasks.leaf", () => "leaf");
    const sender = app.task("tasks.sender", async () => {
      await leaf.applyAsync([], { taskId: "sent" });
    });
    const t = start(app);
    const result = await sender.applyAsync([], { link: leaf.si().set({ taskId: "linked" }) });
    await t.drain();
    expect(JSON.parse(await storedText(app, result.id)).children).toEqual([
      [["sent", null], null],
      [["linked", null], null],
    ]);
    expect(await Promise.all((await result.children()).map((child) => child.get()))).toEqual(["leaf", "leaf"]);
  });

  test("a result is gone for readers after resultExpires", async () => {
    const app = new Lovage("tasks", { resultExpires: 3600 });
    const add = app.task("tasks.add", (x: number, y: number) => x + y);
    const t = start(app);
    const { id } = await add.delay(1, 2);
    await t.drain();
    await t.advance({ minutes: 59 });
    expect(await app.result(id).state()).toBe("SUCCESS");
    await t.advance({ minutes: 1 });
    expect(await app.result(id).state()).toBe("PENDING");
  });
});

test("values of the tagged JSON arrive as what they were", async () => {
  const [[, start] = []] = everywhere;
  const app = new Lovage("tasks");
  const echo = app.task("tasks.echo", (value: unknown) => value);
  const t = start?.(app);
  const value = {
    date: new Date(0),
    bytes: new Uint8Array([1, 2]),
    big: 2n ** 60n,
    nested: [{ text: "é", none: null }],
  };
  const result = await echo.delay(value);
  await t?.drain();
  expect(await result.get()).toEqual(value);
});
