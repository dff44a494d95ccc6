/** A task by its name and its type alone, for callers that must not load the module which declares it. */
import { type AsyncResult, ImproperlyConfigured, Lovage, NotRegistered, type Task, type TaskRef } from "lovage";
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
