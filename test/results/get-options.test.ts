import { chain, group, ImproperlyConfigured, Lovage } from "lovage";
import { expect, test } from "vitest";
import { inMemory } from "../flow/stores.ts";

function setUp() {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  return { add, t: inMemory(app) };
}

test.each([
  [
    { timout: 5 },
    'get.timout: is not known; did you mean "timeout"? (known: timeout, interval, propagate, signal, disableSyncSubtasks)',
  ],
  [5, "get: takes an object of options, such as { timeout: 5 } (given: 5)"],
  ["5", 'get: takes an object of options, such as { timeout: 5 } (given: "5")'],
  [{ timeout: -1 }, "get.timeout: must be a number of seconds from 0 (given: -1)"],
  [{ timeout: Number.NaN }, "get.timeout: must be a number of seconds from 0 (given: NaN)"],
  [{ timeout: "5" }, 'get.timeout: must be a number of seconds from 0 (given: "5")'],
  [{ interval: -1 }, "get.interval: must be a number of seconds from 0 (given: -1)"],
  [{ interval: Number.NaN }, "get.interval: must be a number of seconds from 0 (given: NaN)"],
  [{ propagate: 0 }, "get.propagate: must be true or false (given: 0)"],
  [{ signal: {} }, "get.signal: must be an AbortSignal (given: {})"],
])("get(%j) of a task, a chain and a group is refused, whether or not they have ended", async (options, message) => {
  const { add, t } = setUp();
  const results = [await add.delay(1, 2), await chain(add.s(1, 2), add.s(3)).delay(), await group(add.s(1, 2)).delay()];
  const refuseAll = async () => {
    for (const result of results) {
      const error = await result.get(options as never).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(ImproperlyConfigured);
      expect((error as Error).message).toBe(message);
    }
  };
  await refuseAll();
  await t.drain();
  await refuseAll();
});

test("a get without options, with null for one, or without end waits until the task has ended", async () => {
  const { add, t } = setUp();
  const result = await add.delay(1, 2);
  const waiting = [undefined, null, { timeout: null }, { timeout: Infinity }, { timeout: undefined }].map((options) =>
    result.get(options as never),
  );
  await t.drain();
  expect(await Promise.all(waiting)).toEqual([3, 3, 3, 3, 3]);
});

test("revoke() takes terminate and nothing else", async () => {
  const { add } = setUp();
  const results = [await add.delay(1, 2), await group(add.s(1, 2)).delay()];
  for (const result of results) {
    await expect(result.revoke({ terminat: true } as never)).rejects.toThrow(
      'revoke.terminat: is not known; did you mean "terminate"?',
    );
    await expect(result.revoke(true as never)).rejects.toThrow("revoke: takes an object of options");
  }
});
