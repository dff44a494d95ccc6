import { Lovage } from "lovage";
import { testApp } from "lovage/testing";
import { expect, test, vi } from "vitest";
import { inMemory } from "./stores.ts";

test("steps lie around a run and a send, the first outermost, and say how it ended", async () => {
  const app = new Lovage("shop");
  const told: string[] = [];
  const add = app.task("shop.add", (n: number) => void told.push(`add ${n}`));
  for (const name of ["outer", "inner"]) {
    app.around({
      async send({ headers }, next) {
        headers[name] = 1;
        told.push(`${name} sends`);
        await next();
        told.push(`${name} sent`);
      },
      async run({ request }, next) {
        told.push(`${name} runs ${request.headers[name]}`);
        const { state } = await next();
        told.push(`${name}: ${state}`);
      },
    });
  }
  const t = inMemory(app);
  await add.delay(1);
  await t.drain();
  expect(told).toEqual([
    "outer sends",
    "inner sends",
    "inner sent",
    "outer sent",
    "outer runs 1",
    "inner runs 1",
    "add 1",
    "inner: SUCCESS",
    "outer: SUCCESS",
  ]);
});

test("a step that throws, forgets the work or does it twice changes nothing for it", async () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => {});
  const app = new Lovage("shop");
  let runs = 0;
  const add = app.task("shop.add", () => ++runs);
  const boom = new Error("step");
  app.around({
    async send(_, next) {
      await next();
      throw boom;
    },
    run: () => Promise.reject(boom),
  });
  app.around({ async run() {}, async send() {} });
  app.around({
    async run(_, next) {
      await Promise.all([next(), next()]);
    },
    send: async (_, next) => void (await Promise.all([next(), next()])),
  });
  // What a step does afterwards holds nobody up.
  app.around({ run: (_, next) => next().then(() => new Promise(() => {})) });
  await using t = testApp(app);
  await add.delay();
  expect(await t.drain()).toMatchObject([{ state: "SUCCESS", result: 1 }]);
  expect(runs).toBe(1);
  expect(error.mock.calls).toEqual([
    [expect.stringContaining("around"), boom],
    [expect.stringContaining("around"), boom],
  ]);
  error.mockRestore();
});
