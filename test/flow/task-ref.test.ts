/** A task by its name and its type alone, for callers that must not load the module which declares it. */
import {
  type AsyncResult,
  ImproperlyConfigured,
  Lovage,
  NotRegistered,
  type Task,
  type TaskRef,
  ValidationError,
} from "lovage";
import { testApp } from "lovage/testing";
import { expect, expectTypeOf, onTestFinished, test } from "vitest";
import { z } from "zod";

function declare() {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const order = app.task("shop.order", { schema: z.object({ item: z.string() }) }, ({ item }) => ({
    item,
    at: new Date(0),
  }));
  const bound = app.task("shop.bound", { bind: true }, (self, name: string) => `${self.name} ${name}`);
  return { app, add, order, bound };
}
type Declared = ReturnType<typeof declare>;

test("a task is sent by its type and name, and its result has the type", async () => {
  const { app } = declare();
  const t = testApp(app);
  onTestFinished(() => t.close());
  const add = app.taskRef<Declared["add"]>("shop.add");
  const result = await add.delay(1, 2);
  const later = await add.applyAsync([3, 4], { countdown: 5 });
  const signed = await add.s(5).applyAsync([6]);
  await t.advance({ seconds: 10 });
  expectTypeOf(result).toEqualTypeOf<AsyncResult<number>>();
  expect([await result.get(), await later.get(), await signed.get()]).toEqual([3, 7, 11]);
});

test("its types are those of the declaration", () => {
  const { app } = declare();
  const add = app.taskRef<Declared["add"]>("shop.add");
  expectTypeOf(add).toEqualTypeOf<TaskRef<Task<[x: number, y: number], number>>>();
  expectTypeOf(add.delay).parameters.toEqualTypeOf<[x: number, y: number]>();
  expectTypeOf(app.taskRef<Declared["order"]>("shop.order").delay).parameters.toEqualTypeOf<[{ item: string }]>();
  expectTypeOf(app.taskRef<Declared["bound"]>("shop.bound").delay).returns.resolves.toEqualTypeOf<
    AsyncResult<string>
  >();
  // A registered task is a reference too, so that code can take either.
  expectTypeOf<Declared["add"]>().toExtend<typeof add>();
  // What it cannot do where its code is not, is not offered.
  expectTypeOf(add).not.toHaveProperty("run");
  expectTypeOf(add).not.toHaveProperty("apply");
  // @ts-expect-error a text is no number
  () => add.delay("1", 2);
  // @ts-expect-error one argument is missing
  () => add.delay(1);
  // @ts-expect-error a function is no task
  () => app.taskRef<() => void>("shop.add");
});

test("it is registered nowhere, and without a name it is refused", async () => {
  const app = new Lovage("shop", { brokerUrl: "memory://", taskAlwaysEager: true });
  const ref = app.taskRef<Declared["add"]>("shop.add");
  expect([...app.tasks.keys()]).toEqual([]);
  await expect(ref.delay(1, 2)).rejects.toThrow(NotRegistered);
  expect(() => app.taskRef("")).toThrow(ImproperlyConfigured);
});

const orderSchema = z.object({ item: z.string() });

test("what a reference declares is in force for its calls, and for the task that is declared later", async () => {
  const app = new Lovage("shop", { taskQueues: { celery: {}, slow: {} } });
  const order = app.taskRef("shop.order", { schema: orderSchema, queue: "slow", maxRetries: 1 });
  expectTypeOf(order.delay).parameters.toEqualTypeOf<[{ item: string }]>();
  const typed = app.taskRef<Declared["add"]>("shop.add", { queue: "slow" });
  expectTypeOf(typed).toEqualTypeOf<TaskRef<Task<[x: number, y: number], number>>>();
  const caller = testApp(app);
  // @ts-expect-error an item is a text
  await expect(order.delay({ item: 1 })).rejects.toThrow(ValidationError);
  const sent: string[] = [];
  app.on("afterTaskPublish", ({ queue, message }) => void sent.push(`${message.task} to ${queue}`));
  await order.delay({ item: "tea" });
  expect(sent).toEqual(["shop.order to slow"]);
  await caller.close();

  // A module with its code: what is said there already need not be said again.
  const task = app.task("shop.order", { schema: orderSchema }, ({ item }) => item);
  expect(app.engine.optionsOf(task as unknown as Task)).toMatchObject({ queue: "slow", maxRetries: 1 });
  const worker = testApp(app);
  onTestFinished(() => worker.close());
  await order.delay({ item: "tea" });
  expect(await worker.drain()).toMatchObject([{ task: "shop.order", queue: "slow", result: "tea" }]);
});

test("options of a reference are said once, before the task, and are none of its function's", () => {
  const app = new Lovage("shop");
  app.taskRef("shop.add", { timeLimit: 60, size: 10, wait: 1 });
  expect(() => app.task("shop.add", { timeLimit: 600 }, () => 0)).toThrow(
    "timeLimit: task shop.add: its taskRef has 60, and its declaration 600; give it in one of the two",
  );
  // A schedule of a rate that a first-in-first-out queue cannot have is found whoever says which half.
  app.taskRef("shop.fifo", { queue: "orders.fifo" });
  expect(() => app.task("shop.fifo", { rateLimit: "1/s" }, () => 0)).toThrow(/FIFO queue orders\.fifo/);
  expect(() => app.taskRef("shop.add", { timeLimit: 5 })).toThrow(
    "taskRef: the options of shop.add were given before; give them once, and before the task",
  );
  const code = declare().app;
  expect(() => code.taskRef("shop.add", { timeLimit: 5 })).toThrow(/were given before/);
  expect(() => app.taskRef("shop.add")).not.toThrow();
  const wrong = (options: object) => () => new Lovage("shop").taskRef("shop.add", options);
  expect(wrong({ bind: true })).toThrow(/bind: belongs to the function; give it where the task is declared/);
  expect(wrong({ timeLimti: 5 })).toThrow(/the taskRef of shop\.add has no such option; .*timeLimit/);
  expect(wrong({ size: 0, wait: 1 })).toThrow(/size: .*1 to 10,?000/);
  expect(wrong({ size: 5 })).toThrow(/wait/);
});
