import { deflateSync } from "node:zlib";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { envelope } from "../flow/envelopes.ts";
import { inMemory } from "../flow/stores.ts";
import { fuzz } from "./fuzz.ts";

test("3,000 damaged messages: each is run, put off, known or a dead letter with its reason", async () => {
  const { faults, ran, dead } = await fuzz(3_000, 20_261_124);
  expect(faults).toEqual([]);
  // Or the test would say nothing about either kind.
  expect(Math.min(ran, dead)).toBeGreaterThan(300);
});

const makeApp = () => {
  const app = new Lovage("tasks");
  app.task("tasks.echo", (value: unknown) => value);
  return { app, t: inMemory(app) };
};

test("what would swell to more than 64 MiB is a dead letter, and costs no memory", async () => {
  const { app, t } = makeApp();
  const bomb = JSON.parse(envelope({ task: "tasks.echo", id: "bomb", headers: { compression: "application/x-gzip" } }));
  bomb.body = deflateSync(Buffer.alloc(200 * 1024 * 1024), { level: 9 }).toString("base64");
  bomb.properties.body_encoding = "base64";
  expect(bomb.body.length).toBeLessThan(1024 * 1024);
  await t.put(JSON.stringify(bomb));
  await t.drain();
  expect(await app.result("bomb").state()).toBe("FAILURE");
  expect(await t.deadLetters()).toMatchObject([
    { attributes: { id: "bomb", reason: expect.stringContaining("more than") } },
  ]);
});

test("JSON that is nested 100,000 deep is a dead letter", async () => {
  const { t } = makeApp();
  await t.put(
    envelope({ task: "tasks.echo", id: "deep", body: `[[${"[".repeat(100_000)}${"]".repeat(100_000)}], {}, {}]` }),
  );
  await t.drain();
  expect(await t.deadLetters()).toMatchObject([{ attributes: { id: "deep" } }]);
});

test.each([
  ["with quotes", `it's "quoted" \\ and; DROP TABLE`],
  ["beyond ASCII", "ünï 🌿 中"],
  ["of 10 KB", "x".repeat(10_240)],
])("an id %s is an id as any other", async (_, id) => {
  const { app, t } = makeApp();
  await t.put(envelope({ task: "tasks.echo", id, args: [7] }));
  await t.drain();
  expect(await app.result(id).get()).toBe(7);
});
