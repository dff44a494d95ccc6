import { chain, chord, currentTask, Lovage, SoftTimeLimitExceeded, TimeLimitExceeded } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere } from "./stores.ts";

const never = () => new Promise<never>(() => {});
/** Ends when the task is told to stop. */
const untilTold = () =>
  new Promise<unknown>((resolve) => {
    const signal = currentTask()?.signal;
    signal?.addEventListener("abort", () => resolve(signal.reason));
  });

describe.each(everywhere)("on %s", (_, start) => {
  test("the soft limit aborts the task's signal, and the task decides", async () => {
    const app = new Lovage("tasks");
    const tidy = app.task("tasks.tidy", { softTimeLimit: 10, timeLimit: 20 }, async () => {
      const reason = await untilTold();
      return reason instanceof SoftTimeLimitExceeded ? `tidied after ${reason.seconds}` : "?";
    });
    const t = start(app);
    const result = await tidy.delay();
    expect(await t.advance({ seconds: 9 })).toEqual([]);
    await t.advance({ seconds: 1 });
    expect(await result.get()).toBe("tidied after 10");
  });

  test("a task that throws the signal's reason fails with it", async () => {
    const app = new Lovage("tasks");
    const stop = app.task("tasks.stop", { softTimeLimit: 10 }, async () => {
      throw await untilTold();
    });
    const t = start(app);
    const result = await stop.delay();
    await t.advance({ seconds: 10 });
    await expect(result.get()).rejects.toThrow(SoftTimeLimitExceeded);
  });

  test("the hard limit ends a run that does not end", async () => {
    const app = new Lovage("tasks");
    const hang = app.task("tasks.hang", { timeLimit: 90 }, never);
    const after = app.task("tasks.after", () => "after");
    const t = start(app);
    const [hung, next] = [await hang.delay(), await after.delay()];
    await t.advance({ seconds: 89 });
    expect([await hung.state(), await next.state()]).toEqual(["STARTED", "PENDING"]);
    await t.advance({ seconds: 1 });
    const error = await hung.get().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TimeLimitExceeded);
    expect(error).toMatchObject({ seconds: 90 });
    expect(await next.get()).toBe("after");
    expect(await t.advance({ hours: 1 })).toEqual([]);
  });

  test("what passes its hard limit has failed for all who wait: errbacks, a chord, the rest of a chain", async () => {
    const app = new Lovage("tasks");
    const told: string[] = [];
    const hang = app.task("tasks.hang", { timeLimit: 10 }, never);
    const ok = app.task("tasks.ok", () => 1);
    const count = app.task("tasks.count", (values: readonly unknown[]) => values.length);
    const tell = app.task("tasks.tell", (id: string) => void told.push(id));
    const t = start(app, { concurrency: 2 });
    const alone = await hang.applyAsync([], { linkError: tell.s() });
    const body = await chord([hang.s(), ok.s()], count.s()).delay();
    const last = await chain(hang.s(), ok.si()).delay();
    await t.advance({ minutes: 2 });
    expect(told).toEqual([alone.id]);
    await expect(body.get()).rejects.toThrow(/raised TimeLimitExceeded/);
    await expect(last.get()).rejects.toThrow(TimeLimitExceeded);
  });

  test("beforeStart counts towards the limit", async () => {
    const app = new Lovage("tasks");
    const slow = app.task("tasks.slow", { timeLimit: 10, beforeStart: never }, () => 1);
    const t = start(app);
    const result = await slow.delay();
    await t.advance({ seconds: 10 });
    await expect(result.get()).rejects.toThrow(TimeLimitExceeded);
  });

  test("the limits of a call hold for each attempt, from its own beginning", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const slow = app.task(
      "tasks.slow",
      { bind: true, autoretryFor: [SoftTimeLimitExceeded], retryKwargs: { countdown: 1 }, maxRetries: 1 },
      async (self) => {
        const { retries, softTimeLimit, timeLimit } = self.request;
        seen.push([retries, softTimeLimit, timeLimit]);
        throw await untilTold();
      },
    );
    const t = start(app);
    const result = await slow.applyAsync([], { softTimeLimit: 7, timeLimit: 20 });
    await t.advance({ seconds: 14 });
    expect(await result.state()).toBe("STARTED");
    await t.advance({ seconds: 1 });
    await expect(result.get()).rejects.toThrow(SoftTimeLimitExceeded);
    expect(seen).toEqual([
      [0, 7, 20],
      [1, 7, 20],
    ]);
  });

  test("a run that goes on after its limit can do nothing more", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const leaf = app.task("tasks.leaf", () => {});
    let late: Promise<void> | undefined;
    const hang = app.task("tasks.hang", { bind: true, timeLimit: 5 }, async (self) => {
      await new Promise((resolve) => self.signal.addEventListener("abort", resolve));
      late = (async () => {
        await new Promise((resolve) => setImmediate(resolve));
        for (const call of [() => self.updateState({ state: "LATE" }), () => leaf.delay()]) {
          await call().catch((error: unknown) => seen.push((error as Error).name));
        }
      })();
      await never();
    });
    const t = start(app);
    const result = await hang.delay();
    await t.advance({ seconds: 10 });
    await late;
    expect(seen).toEqual(["ContextSettledError", "ContextSettledError"]);
    expect(await result.state()).toBe("FAILURE");
  });

  test("the claim of a long run is kept alive: nobody else begins it", async () => {
    const app = new Lovage("tasks");
    let runs = 0;
    const long = app.task("tasks.long", { softTimeLimit: 3600 }, async () => {
      runs++;
      await untilTold();
      return "long";
    });
    const t = start(app, { concurrency: 2 });
    const result = await long.delay();
    await t.advance({ hours: 1 });
    expect([await result.get(), runs]).toEqual(["long", 1]);
  });
});

test.each([
  ["the app's", { taskTimeLimit: 10 }, {}, {}, 10],
  ["the queue's over the app's", { taskTimeLimit: 10, taskQueues: { celery: { timeLimit: 20 } } }, {}, {}, 20],
  ["the task's over the queue's", { taskQueues: { celery: { timeLimit: 20 } } }, { timeLimit: 30 }, {}, 30],
  ["the call's over the task's", {}, { timeLimit: 30 }, { timeLimit: 40 }, 40],
])("the limit in force is %s", async (_, config, options, call, seconds) => {
  const app = new Lovage("tasks", config);
  const hang = app.task("tasks.hang", options, never);
  const t = inMemory(app);
  const result = await hang.applyAsync([], call);
  await t.advance({ minutes: 2 });
  await expect(result.get()).rejects.toMatchObject({ seconds });
});
