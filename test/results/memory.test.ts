import { expect, test } from "vitest";
import { ImproperlyConfigured, OperationalError } from "../../src/errors.ts";
import { taskKey } from "../../src/results/backend.ts";
import { open } from "../../src/results/memory.ts";
import type { Store } from "../../src/results/record.ts";

let time = Date.UTC(2026, 10, 24);
const context = { now: () => time, random: Math.random, options: {} };
const store = (key: string, ttl?: number): Store => ({ type: "store", key, now: time, ttl, result: "{}" });

test("who opens the same name shares the rows, and is woken by each other's writes", async () => {
  const [one, two, stranger] = [
    open("memory://shared", context),
    open("memory://shared", context),
    open("memory://else", context),
  ];
  const wait = two.changed?.().over;
  await one.apply([store(taskKey("1"))]);
  await wait;
  expect(await two.read([taskKey("1")])).toEqual([{ result: "{}", timestamp: time / 1000 }]);
  expect(await stranger.read([taskKey("1")])).toEqual([undefined]);
  await Promise.all([one.close(), two.close(), stranger.close()]);
});

test("memory:// without a name is one store too", async () => {
  const [one, two] = [open("memory://", context), open("memory://", context)];
  await one.apply([store("key")]);
  expect(await two.read(["key"])).toMatchObject([{ result: "{}" }]);
  await Promise.all([one.close(), two.close()]);
});

test("the rows go with the last who has them open", async () => {
  const [one, two] = [open("memory://last", context), open("memory://last", context)];
  await one.apply([store("key")]);
  await one.close();
  await one.close();
  expect(await open("memory://last", context).read(["key"])).toMatchObject([{ result: "{}" }]);
  await two.close();

  const three = open("memory://gone", context);
  await three.apply([store("key")]);
  await three.close();
  expect(await open("memory://gone", context).read(["key"])).toEqual([undefined]);
});

test("a closed backend says so", async () => {
  const backend = open("memory://closed", context);
  await backend.close();
  await expect(backend.apply([store("key")])).rejects.toThrow(OperationalError);
  await expect(backend.read(["key"])).rejects.toThrow("the result backend memory://closed is closed");
  await backend.changed?.().over;
});

test.each(["memory:", "memory://a#b", "memory://a?b=c", "sqlite://"])("%s is refused", (url) => {
  expect(() => open(url, context)).toThrow(ImproperlyConfigured);
});

test("rows that have expired are dropped as others are written", async () => {
  const backend = open("memory://sweep", context);
  await backend.apply([store("old", time / 1000 + 60)]);
  // The sweep passes over it once while it is young, and comes round again.
  await backend.apply(Array.from({ length: 600 }, (_, index) => store(`key ${index % 300}`)));
  await backend.apply(Array.from({ length: 600 }, (_, index) => store(`key ${index % 300}`)));
  time += 60_000;
  await backend.apply(Array.from({ length: 600 }, (_, index) => store(`key ${index % 300}`)));
  await backend.apply(Array.from({ length: 600 }, (_, index) => store(`key ${index % 300}`)));
  // The clock is turned back: a row that was only passed over would be seen again.
  time -= 60_000;
  expect(await backend.read(["old"])).toEqual([undefined]);
  expect(await backend.read(["key 0", "key 299"])).toMatchObject([{ result: "{}" }, { result: "{}" }]);
  await backend.close();
});
