import { currentTask, Lovage, OperationalError } from "lovage";
import { hostileBroker, type TestApp } from "lovage/testing";
import { describe, expect, test } from "vitest";
import { envelope, signature } from "./envelopes.ts";
import { stores } from "./stores.ts";

/** Until everything has come to rest, hand-backs of minutes included. */
const LONG = { hours: 6 };

/** A caller tries again under the same id, when the broker was throttled for longer than the call itself tries. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
    }
  }
}

/** Lets calls wait by the clock for their next try, until all are through. */
async function sent<T>(t: TestApp, calls: readonly Promise<T>[]): Promise<readonly T[]> {
  let results: readonly T[] | undefined;
  const all = Promise.all(calls).then((found) => {
    results = found;
  });
  while (results === undefined) await t.advance({ seconds: 1 });
  await all;
  return results;
}

describe.each(stores)("on %s", (_, start) => {
  describe.each([1, 2, 3, 4, 5])("a broker that breaks what it may, with seed %i", (seed) => {
    const hostile = (app: Lovage) =>
      start(app, { seed, concurrency: 3, broker: (broker) => hostileBroker(broker, seed) });

    test("each task reaches one outcome, and runs and hooks happen once for each claim", async () => {
      const app = new Lovage("tasks");
      const runs = new Map<string, number>();
      const hooks = new Map<string, number>();
      const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
      const work = app.task(
        "tasks.work",
        {
          bind: true,
          onSuccess: (_retval, id) => void count(hooks, `${id} onSuccess`),
          onRetry: (_exc, id) => void count(hooks, `${id} onRetry ${currentTask()?.request.retries}`),
          onFailure: (_exc, id) => void count(hooks, `${id} onFailure`),
        },
        async (self, kind: string) => {
          count(runs, `${self.request.id} ${self.request.retries}`);
          await new Promise((resolve) => setImmediate(resolve));
          if (kind === "retry" && self.request.retries < 2) self.retry({ countdown: 10 });
          if (kind === "fail") throw new RangeError("no");
          return kind;
        },
      );
      const t = hostile(app);
      const kinds = ["plain", "retry", "fail"];
      const calls = Array.from({ length: 30 }, (_, n) => {
        const kind = kinds[n % 3] ?? "";
        return again(() => work.applyAsync([kind], { taskId: `${kind}-${n}` }));
      });
      const results = await sent(t, calls);
      await t.advance(LONG);
      for (const result of results) {
        const [kind] = result.id.split("-");
        expect([result.id, await result.state()]).toEqual([result.id, kind === "fail" ? "FAILURE" : "SUCCESS"]);
      }
      expect(runs.size).toBe(10 + 30 + 10);
      expect([...runs].filter(([, times]) => times !== 1)).toEqual([]);
      expect(hooks.size).toBe(10 + 30 + 10);
      expect([...hooks].filter(([, times]) => times !== 1)).toEqual([]);
      expect(await t.deadLetters()).toEqual([]);
      for (const queue of await (await app.engine.broker()).queues())
        expect(await (await app.engine.broker()).size(queue)).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
    });

    test("what follows a task runs once: links, errbacks, the steps of a chain, a replacement", async () => {
      const app = new Lovage("tasks");
      const notes: string[] = [];
      const note = app.task("tasks.note", (...words: unknown[]) => {
        notes.push(words.join(" "));
        return words.length;
      });
      const add = app.task("tasks.add", (x: number, y: number) => x + y);
      const fail = app.task("tasks.fail", () => {
        throw new RangeError("no");
      });
      const delegate = app.task("tasks.delegate", { bind: true }, (self) => self.replace(add.s(5, 6)));
      const t = hostile(app);
      const calls = [
        again(() => add.applyAsync([1, 2], { taskId: "linked", link: [note.s("link 1"), note.s("link 2")] })),
        again(() => fail.applyAsync([], { taskId: "failed", linkError: note.s("errback") })),
        again(() => delegate.applyAsync([], { taskId: "replaced", link: note.s("replacement") })),
      ];
      const steps = [
        signature("tasks.note", ["end"], { task_id: "three" }),
        signature("tasks.add", [10], { task_id: "two" }),
      ];
      await again(() => t.put(envelope({ task: "tasks.add", id: "one", args: [1, 2], embed: { chain: steps } })));
      await sent(t, calls);
      await t.advance(LONG);
      expect(notes.sort()).toEqual(["11 replacement", "13 end", "3 link 1", "3 link 2", "failed errback"]);
      expect(await app.result("three").state()).toBe("SUCCESS");
    });
  });
});
