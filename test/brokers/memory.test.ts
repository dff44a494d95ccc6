import { expect, test } from "vitest";
import { open } from "../../src/brokers/memory.ts";

test("who waits is given at once what is to be seen sooner than was known when the wait began", async () => {
  const broker = open("memory://sooner", { now: Date.now, random: Math.random } as Parameters<typeof open>[1]);
  await broker.send([{ queue: "celery", body: "text" }]);
  const [delivery] = await broker.receive("celery", { max: 1, wait: 0, visibility: 60_000 });
  if (delivery === undefined) throw new Error("nothing was received");
  const again = broker.receive("celery", { max: 1, wait: 120_000 });
  await new Promise((resolve) => setImmediate(resolve));
  await broker.changeVisibility([{ delivery, visibility: 10 }]);
  expect((await again).map(({ body }) => body)).toEqual(["text"]);
  await broker.close();
});
