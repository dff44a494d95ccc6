/** How often the store is asked while results are waited for, where it cannot tell of changes itself, and what is left of it when they have come. */
import { describe, expect, test } from "vitest";
import { AsyncResult } from "../../src/results/async-result.ts";
import type { Backend } from "../../src/results/backend.ts";
import { taskKey } from "../../src/results/backend.ts";
import { waitForAll } from "../../src/results/group-result.ts";
import { open } from "../../src/results/memory.ts";
import { createReader } from "../../src/results/reader.ts";
import { virtualClock } from "../../src/testing/clock.ts";
import type { Wait } from "../../src/wait.ts";

/** A reader of a store that is asked by polls, each of which is kept: when, and how many keys. */
function setUp({ tells = false } = {}) {
  const machine = virtualClock(0);
  let off = 0;
  const clock = { ...machine, now: () => machine.now() + off, elapsed: machine.now };
  const set = (ms: number) => {
    off += ms;
  };
  const store = open(`memory://reader-${crypto.randomUUID()}`, {
    now: clock.now,
    random: () => 0,
    options: {},
  }) as Backend;
  const reads: { readonly at: number; readonly keys: number }[] = [];
  /** Pointers to results that were fetched from where they are kept. */
  const fetched: string[] = [];
  const { changed, ...polled } = store;
  /** Waits that have begun and are not over. */
  const waits = new Set<Wait>();
  const counted = () => {
    const wait = (changed as NonNullable<typeof changed>)();
    waits.add(wait);
    void wait.over.then(() => waits.delete(wait));
    return wait;
  };
  const backend: Backend = {
    ...polled,
    ...(tells && { changed: counted }),
    read(keys) {
      reads.push({ at: machine.now(), keys: keys.length });
      return store.read(keys);
    },
  };
  const reader = createReader({
    backend: async () => backend,
    clock,
    codec: {
      serializer: "json",
      compression: undefined,
      async fetch(pointer) {
        fetched.push(pointer);
        return { text: `"what ${pointer} leads to"`, restored: (value) => value };
      },
    },
    moment: clock.now,
    ttl: () => undefined,
    expires: undefined,
    waitingRedrive: async () => undefined,
    withinRun: (_, work) => work(),
  });
  const finish = (...ids: string[]) =>
    store.apply(
      ids.map((id) => ({
        type: "store",
        key: taskKey(id),
        now: clock.now(),
        ttl: undefined,
        result: JSON.stringify({ status: "SUCCESS", result: id, task_id: id, children: [], traceback: null }),
      })),
    );
  /** Stores a state whose result, or meta, is kept elsewhere. */
  const keep = (id: string, status: string, pointer: number) =>
    store.apply([
      {
        type: "store",
        key: taskKey(id),
        now: clock.now(),
        ttl: undefined,
        result: JSON.stringify({ status, result: pointer, result_kept: "text", task_id: id }),
      },
    ]);
  const turns = async () => {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  /** Lets so many milliseconds pass; `each` is called whenever the clock has moved. */
  async function pass(ms: number, each: () => unknown = () => {}) {
    const until = machine.now() + ms;
    for (await turns(); (machine.next() ?? until + 1) <= until; await turns()) {
      machine.moveTo(machine.next() as number);
      await each();
    }
    machine.moveTo(until);
    await turns();
  }
  return { clock, set, backend, reader, reads, fetched, waits, finish, keep, pass, turns };
}
const names = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `task-${from + index}`);

describe("what is kept outside its row is fetched", () => {
  test("when a task that is waited for has ended, and not at each look before", async () => {
    const { reader, reads, fetched, keep, pass } = setUp();
    await keep("task-0", "DRAWN", 1);
    const result = new AsyncResult(reader, "task-0");
    const value = result.get();
    await pass(5000);
    expect([reads.length > 4, fetched]).toEqual([true, []]);
    expect([await result.state(), fetched]).toEqual(["DRAWN", []]);
    await keep("task-0", "SUCCESS", 2);
    await pass(2000);
    expect([await value, fetched]).toEqual(["what 2 leads to", ["2"]]);
    expect([await result.result(), await result.get(), fetched]).toEqual([await value, await value, ["2"]]);
  });

  test("when somebody who has seen that a task has ended asks for it, without another look at the row", async () => {
    const { reader, reads, fetched, keep } = setUp();
    await keep("task-0", "SUCCESS", 1);
    const result = new AsyncResult(reader, "task-0");
    expect([await result.ready(), await result.ready(), reads.length, fetched]).toEqual([true, true, 1, []]);
    expect([await result.get(), await result.get()]).toEqual(["what 1 leads to", "what 1 leads to"]);
    expect([reads.length, fetched]).toEqual([1, ["1"]]);
  });

  test("once for each state that a watcher sees", async () => {
    const { reader, reads, fetched, keep, pass } = setUp();
    await keep("task-0", "DRAWN", 1);
    const seen: unknown[] = [];
    const watching = (async () => {
      for await (const state of new AsyncResult(reader, "task-0").watch()) seen.push(state);
    })();
    await pass(5000);
    await keep("task-0", "SUCCESS", 2);
    await pass(5000);
    await watching;
    expect(seen).toEqual([
      { state: "DRAWN", info: "what 1 leads to" },
      { state: "SUCCESS", info: "what 2 leads to" },
    ]);
    expect([reads.length > 4, fetched]).toEqual([true, ["1", "2"]]);
  });
});

describe("where the store tells of changes, nothing waits for them, and no timer runs,", () => {
  test.each(["wait", "watch", "stream"] as const)("when %s has come to its end", async (how) => {
    const { clock, reader, waits, finish, turns } = setUp({ tells: true });
    const all = async () => {
      if (how === "wait") await reader.wait("task-0", {});
      else for await (const _ of reader[how]("task-0", {}));
    };
    const ended = all();
    await turns();
    expect(waits.size).toBe(1);
    await finish("task-0");
    await ended;
    await turns();
    expect(waits.size).toBe(0);
    expect(clock.next()).toBeUndefined();
  });

  test.each(["watch", "stream"] as const)("when %s is left, or has found its end at the first look", async (how) => {
    const { clock, reader, waits, finish, turns } = setUp({ tells: true });
    const states = reader.watch("task-0", {});
    await states.next();
    await states.return();
    await finish("task-1");
    for await (const _ of reader[how]("task-1", {}));
    await turns();
    expect(waits.size).toBe(0);
    expect(clock.next()).toBeUndefined();
  });
});

describe("one result", () => {
  test("is looked for at once, soon again, and less often as the task ages", async () => {
    const { reader, reads, pass, finish } = setUp();
    const waiting = reader.wait("task-0", {});
    await pass(10_000);
    expect(reads.slice(0, 4).map(({ at }) => at)).toEqual([0, 20, 45, 76.25]);
    const gaps = reads.slice(1).map(({ at }, index) => at - (reads[index]?.at ?? 0));
    expect(gaps).toEqual(gaps.toSorted((a, b) => a - b));
    expect(gaps.at(-1)).toBe(1000);
    expect(reads.length).toBeLessThan(30);
    await finish("task-0");
    await pass(1000);
    expect(await waiting).toMatchObject({ status: "SUCCESS", result: "task-0" });
  });

  test("is looked for as often as interval says", async () => {
    const { reader, reads, pass, finish } = setUp();
    const waiting = reader.wait("task-0", { interval: 0.5 });
    await pass(2000);
    expect(reads.map(({ at }) => at)).toEqual([0, 500, 1000, 1500, 2000]);
    await finish("task-0");
    await pass(500);
    expect((await waiting).status).toBe("SUCCESS");
  });
});

describe("many results", () => {
  test("share their reads", async () => {
    const { reader, reads, pass, finish } = setUp();
    const waiting = Promise.all(names(60).map((id) => reader.wait(id, {})));
    await pass(100);
    expect(new Set(reads.map(({ keys }) => keys))).toEqual(new Set([60]));
    expect(reads.length).toBeLessThan(6);
    await finish(...names(60));
    await pass(1000);
    expect(await waiting).toHaveLength(60);
  });

  test("of a group of 1,000 that ends bit by bit are not asked for again and again", async () => {
    const { clock, reader, reads, pass, finish } = setUp();
    const waiting = waitForAll(
      reader,
      names(1000).map((id) => new AsyncResult(reader, id)),
      {},
      null,
    );
    let done = 0;
    // A thousand in a second, in the order in which they were sent, as far as the clock has come.
    const work = async () => {
      const due = Math.min(1000, Math.floor(clock.now()));
      if (due > done) await finish(...names(due - done, done));
      done = due;
    };
    await pass(1200, work);
    expect(await waiting).toHaveLength(1000);
    const requests = reads.reduce((sum, { keys }) => sum + Math.ceil(keys / 100), 0);
    expect(requests).toBeLessThan(80);
    expect(reads.reduce((sum, { keys }) => sum + keys, 0)).toBeLessThan(7000);
    // The last came a moment after it was done.
    expect(reads.at(-1)?.at).toBeLessThan(1060);
  });

  test("of a group of 1,000 that has ended are read once each, in few steps", async () => {
    const { reader, reads, pass, finish } = setUp();
    await finish(...names(1000));
    const waiting = waitForAll(
      reader,
      names(1000).map((id) => new AsyncResult(reader, id)),
      {},
      null,
    );
    await pass(0);
    expect(await waiting).toHaveLength(1000);
    expect(reads.map(({ keys }) => keys)).toEqual([100, 200, 400, 300]);
  });

  test("behind others that take long are found within a second", async () => {
    const { reader, reads, pass, finish } = setUp();
    const slow = Promise.all(names(200).map((id) => reader.wait(id, {})));
    const quick = Promise.all(names(10, 200).map((id) => reader.wait(id, {})));
    await finish(...names(10, 200));
    await pass(1100);
    expect(await Promise.race([quick, Promise.resolve(undefined)])).toHaveLength(10);
    await pass(20_000);
    // Each of those that take long is looked at once a second.
    const last = reads.filter(({ at }) => at > 11_100).reduce((sum, { keys }) => sum + keys, 0);
    expect(last).toBeLessThanOrEqual(200 * 11);
    await finish(...names(200));
    await pass(1100);
    expect(await slow).toHaveLength(200);
  });

  test("are each looked at before their time is over, and as often as an interval of their own says", async () => {
    const { reader, reads, pass, finish } = setUp();
    const slow = Promise.all(names(500).map((id) => reader.wait(id, {})));
    slow.catch(() => {});
    await pass(50);
    await finish("task-500", "task-501");
    const before = reads.length;
    const now = reader.wait("task-500", { timeout: 0 });
    const never = reader.wait("task-502", { timeout: 0 }).catch((error: Error) => error.name);
    await pass(1);
    expect((await now).status).toBe("SUCCESS");
    expect(await never).toBe("TimeoutError");
    expect(reads.length).toBe(before + 1);
    const fixed = reader.wait("task-501", { interval: 0.1 });
    await pass(1);
    expect((await fixed).status).toBe("SUCCESS");
  });
});

describe("a clock that is set by an hour", () => {
  const HOUR_MS = 3_600_000;
  const endOf = async (waiting: Promise<unknown>) => {
    const ended = waiting.catch((error: Error) => error.name);
    return () => Promise.race([ended, Promise.resolve("waits")]);
  };

  test.each([-HOUR_MS, HOUR_MS])("by %i ms: a result is found as soon as ever", async (ms) => {
    const { reader, set, finish, pass } = setUp();
    const end = await endOf(reader.wait("task-0", {}).then(({ status }) => status));
    await pass(100);
    set(ms);
    await pass(100);
    await finish("task-0");
    await pass(200);
    expect(await end()).toBe("SUCCESS");
  });

  test.each(["wait", "watch"] as const)("%s gives up neither sooner nor later", async (how) => {
    for (const ms of [-HOUR_MS, HOUR_MS]) {
      const { reader, set, pass } = setUp({ tells: true });
      const all = async () => {
        if (how === "wait") await reader.wait("task-0", { timeout: 5 });
        else for await (const _ of reader.watch("task-0", { timeout: 5 }));
      };
      const end = await endOf(all());
      await pass(100);
      set(ms);
      await pass(4_800);
      expect(await end()).toBe("waits");
      await pass(1_200);
      expect(await end()).toBe("TimeoutError");
    }
  });

  test("while rows are read, the next look comes in time all the same", async () => {
    const { backend, reader, set, finish, pass } = setUp({ tells: true });
    const { read } = backend;
    let isSet = false;
    backend.read = (keys) => {
      if (!isSet) set(HOUR_MS);
      isSet = true;
      return read(keys);
    };
    const end = await endOf(reader.wait("task-0", {}).then(({ status }) => status));
    await pass(100);
    await finish("task-0");
    await pass(100);
    expect(await end()).toBe("SUCCESS");
  });
});
