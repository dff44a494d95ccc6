import { Lovage, TaskError } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere } from "./stores.ts";

class OutOfStock extends Error {}

function makeApp(thrown: () => unknown, options = {}) {
  const app = new Lovage("shop");
  const order = app.task("shop.order", options, () => {
    throw thrown();
  });
  return { app, order };
}

describe.each(everywhere)("on %s", (_, start) => {
  test.each([
    ["an error of a class of one's own", () => new OutOfStock("no pears"), "OutOfStock", "no pears"],
    ["an error with a cause", () => new Error("order", { cause: new RangeError("no pears") }), "Error", "order"],
    [
      "an error with a name of its own",
      () => Object.assign(new Error("no pears"), { name: "PearError" }),
      "PearError",
      "no pears",
    ],
    ["text", () => "no pears", "Error", "no pears"],
    ["nothing at all", () => undefined, "Error", "undefined"],
  ])("%s is thrown again by get, by name and message", async (_, thrown, name, message) => {
    const { app, order } = makeApp(thrown);
    const t = start(app);
    const result = await order.delay();
    await t.drain();
    const error = await result.get().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TaskError);
    expect(error).toMatchObject({ name, message });
  });

  test("the stack tells of the causes too", async () => {
    const { app, order } = makeApp(() => new Error("order", { cause: new RangeError("no pears") }));
    const t = start(app);
    const result = await order.delay();
    await t.drain();
    expect(await result.traceback()).toMatch(
      /Error: order[\s\S]*failure\.test\.ts[\s\S]*\[cause\]: RangeError: no pears/,
    );
  });

  test("a worker goes on after a failure, and logs it in Celery's words", async () => {
    const { app, order } = makeApp(() => new OutOfStock("no pears"));
    const fine = app.task("shop.fine", () => "fine");
    const t = start(app);
    const { id } = await order.delay();
    const after = await fine.delay();
    await t.drain();
    expect(await after.get()).toBe("fine");
    const line = t.log.find(({ level }) => level === "error")?.line;
    expect(line).toMatch(
      new RegExp(`^Task shop.order\\[${id}\\] raised unexpected: OutOfStock: no pears\\n[\\s\\S]*failure.test.ts`),
    );
  });
});

test("errors that are expected are logged without a stack", async () => {
  const { app, order } = makeApp(() => new OutOfStock("no pears"), { throws: [OutOfStock] });
  const t = inMemory(app);
  const { id } = await order.delay();
  await t.drain();
  expect(await app.result(id).state()).toBe("FAILURE");
  expect(t.log.at(-1)).toMatchObject({
    level: "info",
    line: `Task shop.order[${id}] raised expected: OutOfStock: no pears`,
  });
});

test("a failure is kept though results are ignored, where storeErrorsEvenIfIgnored says so", async () => {
  const { app, order } = makeApp(() => new OutOfStock("no pears"), {
    ignoreResult: true,
    storeErrorsEvenIfIgnored: true,
  });
  const t = inMemory(app);
  const result = await order.delay();
  await t.drain();
  expect(await result.state()).toBe("FAILURE");
});

test.each([
  ["a function", () => () => 1, /a function/i],
  [
    "a cycle",
    () => {
      const ring: unknown[] = [];
      ring.push(ring);
      return ring;
    },
    /cycle|itself|circular/i,
  ],
  ["a symbol", () => Symbol("s"), /symbol/i],
])("a result that cannot be serialized, %s, is a FAILURE that says so", async (_, make, message) => {
  const app = new Lovage("tasks");
  const odd = app.task("tasks.odd", (): unknown => make());
  const t = inMemory(app);
  const result = await odd.delay();
  await t.drain();
  await expect(result.get()).rejects.toMatchObject({ name: "EncodeError", message: expect.stringMatching(message) });
});
