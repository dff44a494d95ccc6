import type { StandardSchemaV1 } from "@standard-schema/spec";
import { Lovage, ValidationError } from "lovage";
import { expect, test } from "vitest";
import { z } from "zod";
import { envelope } from "./envelopes.ts";
import { inMemory } from "./stores.ts";

const Order = z.object({ id: z.string(), amount: z.coerce.number().positive(), note: z.string().default("none") });

function makeApp() {
  const app = new Lovage("shop");
  const seen: unknown[] = [];
  const charge = app.task("shop.charge", { schema: Order }, (order) => {
    seen.push(order);
    return order.amount;
  });
  const add = app.task("shop.add", { schema: z.tuple([z.number(), z.number().default(10)]) }, (x, y) => x + y);
  return { app, charge, add, seen };
}

test("what does not match is refused at the call, with path and message, and nothing is sent", async () => {
  const { app, charge } = makeApp();
  const t = inMemory(app);
  const error = await charge.delay({ id: "a", amount: -1 }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ValidationError);
  expect(error).toMatchObject({ task: "shop.charge", issues: [{ path: "amount" }] });
  expect(await t.drain()).toEqual([]);
});

test("the input is what travels; its output is what the function gets", async () => {
  const { app, charge, seen } = makeApp();
  const t = inMemory(app);
  const result = await charge.delay({ id: "a", amount: "12.5" });
  const [run] = await t.drain();
  expect(run?.args).toEqual([{ id: "a", amount: "12.5" }]);
  expect(seen).toEqual([{ id: "a", amount: 12.5, note: "none" }]);
  expect(await result.get()).toBe(12.5);
});

test("a tuple's schema describes the list of arguments", async () => {
  const { app, add } = makeApp();
  const t = inMemory(app);
  const results = [await add.delay(1, 2), await add.delay(1)];
  await t.drain();
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([3, 11]);
  await expect(app.sendTask("shop.add", ["1", 2])).rejects.toThrow(ValidationError);
});

test.each([
  ["a tuple of one", z.tuple([z.number()]), ["1"], [{ path: "0", message: /expected number/ }]],
  ["a tuple of an object", z.tuple([z.object({ id: z.string() })]), [{ id: 7 }], [{ path: "0.id", message: /string/ }]],
  ["an object", z.object({ id: z.string() }), [{ id: 7 }], [{ path: "id", message: /expected string/ }]],
  ["an object, given something else", z.object({ id: z.string() }), ["a"], [{ path: "", message: /received string/ }]],
  ["a value", z.string(), [7], [{ path: "", message: /expected string, received number/ }]],
  ["a value, given two", z.string(), [7, 8], [{ path: "", message: /expected string, received array/ }]],
])("of %s the issues are of what the schema describes", async (_, schema, args, issues) => {
  const app = new Lovage("shop");
  const task = app.task("shop.any", { schema }, () => 1);
  const t = inMemory(app);
  const told = { issues: issues.map(({ path, message }) => ({ path, message: expect.stringMatching(message) })) };
  await expect(app.sendTask(task.name, args)).rejects.toMatchObject(told);
  expect(await t.drain()).toEqual([]);
});

const pair = z.tuple([z.number(), z.number()]);
/** In the words of Valibot and ArkType, which also say that they expect a list. */
const inWords = (wanted: string): StandardSchemaV1<[number, number]> => ({
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) => ({
      issues: [{ message: Array.isArray(value) ? `has ${value.length} of 2 elements` : wanted, path: [] }],
    }),
  },
});
const fits = " do not match its schema: ";

test.each([
  ["too few", pair, [], `(0 given)${fits}Too small: expected array to have >=2 items`],
  ["one, of two", pair, [1], `(1 given)${fits}Too small: expected array to have >=2 items`],
  ["too many", pair, [1, 2, 3], `(3 given)${fits}Too big: expected array to have <=2 items`],
  ["one, of none", z.tuple([]), [1], `(1 given)${fits}Too big: expected array to have <=0 items`],
  ["one, of two", inWords("Invalid type: Expected Array but received 1"), [1], `(1 given)${fits}has 1 of 2 elements`],
  ["one, of two", inWords("must be an array (was a number)"), [1], `(1 given)${fits}has 1 of 2 elements`],
  [
    "two, of an object",
    Order,
    [{ id: "a", amount: 1 }, 2],
    `(2 given)${fits}Invalid input: expected object, received array`,
  ],
  ["the right number", pair, ["1", 2], `${fits}0: Invalid input: expected number, received string`.slice(1)],
])("that there are %s arguments is told with their number", async (_, schema, args, words) => {
  const app = new Lovage("shop");
  const task = app.task("shop.pair", { schema }, () => 1);
  inMemory(app);
  await expect(app.sendTask(task.name, args)).rejects.toThrow(`the arguments of shop.pair ${words}`);
});

test("a message from elsewhere is checked before it runs: FAILURE, and no run", async () => {
  const { app, seen } = makeApp();
  const t = inMemory(app);
  await t.put(envelope({ task: "shop.charge", id: "bad", args: [{ id: 7 }] }));
  await t.drain();
  expect(seen).toEqual([]);
  await expect(app.result("bad").get()).rejects.toMatchObject({
    name: "ValidationError",
    message: expect.stringContaining("id:"),
  });
});

test("keyword arguments are the keys of the one object that the schema describes", async () => {
  const { app, seen } = makeApp();
  const t = inMemory(app);
  await t.put(envelope({ task: "shop.charge", id: "k", kwargs: { id: "a", amount: 3 } }));
  await t.drain();
  expect(seen).toEqual([{ id: "a", amount: 3, note: "none" }]);
});
