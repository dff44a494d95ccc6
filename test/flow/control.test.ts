/** An operator's actions: what failed is run again, queues are looked at and emptied, and all of it is told to the journal. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import {
  CannotRetry,
  type ConfigInput,
  chain,
  chord,
  ImproperlyConfigured,
  Lovage,
  PayloadTooLarge,
  QueueNotFound,
  Reject,
} from "lovage";
import { type PollingWorker, startWorker } from "lovage/worker";
import type { Delivery } from "../../src/brokers/broker.ts";
import { readDeadLetter, redrive } from "../../src/brokers/dead-letters.ts";
import { virtualClock } from "lovage/testing";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { everywhere, stores, table } from "./stores.ts";

class Down extends Error {}

describe.each(everywhere)("running a failed task again on %s", (_, start) => {
  let app: Lovage;
  let isUp: boolean;
  let runs: string[];
  beforeEach(() => {
    app = new Lovage("ops");
    isUp = false;
    runs = [];
  });
  const fetchTask = () =>
    app.task("ops.fetch", (what: string) => {
      runs.push(what);
      if (!isUp) throw new Down(`${what} is down`);
      return `${what} is there`;
    });
  const refusal = async (id: string) => {
    const error: unknown = await app.control.retry(id).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CannotRetry);
    return (error as CannotRetry).reason;
  };

  test.each([
    ["", undefined],
    [", as long as an id may be,", "x".repeat(255)],
  ])("it runs under its own id%s once for each time it is asked for", async (_, taskId) => {
    const fetch = fetchTask();
    const t = start(app);
    const result = await fetch.applyAsync(["a"], { taskId });
    await t.drain();
    expect(await result.state()).toBe("FAILURE");
    await app.control.retry(result.id);
    await t.drain();
    expect(await result.state()).toBe("FAILURE");
    isUp = true;
    await app.control.retry(result.id);
    await t.drain();
    expect(await app.result(result.id).get()).toBe("a is there");
    expect(runs).toEqual(["a", "a", "a"]);
    expect(await refusal(result.id)).toBe("succeeded");
    await t.drain();
    expect(runs).toHaveLength(3);
  });

  test("two operators who ask at once run it once, also where it fails again", async () => {
    const fetch = fetchTask();
    const t = start(app);
    const { id } = await fetch.delay("a");
    await t.drain();
    const asked = () => Promise.all([refused(id), refused(id), app.control.retryFailed()]);
    const refused = (one: string) => app.control.retry(one).catch((error: CannotRetry) => error.reason);
    const [one, other, many] = await asked();
    // Each is told whether it runs for him.
    expect([one, other, many.count === 1 ? undefined : "asked"].sort()).toEqual(["asked", "asked", undefined]);
    await t.drain();
    expect(runs).toEqual(["a", "a"]);
    await asked();
    await t.drain();
    expect(runs).toEqual(["a", "a", "a"]);
    // One action each time, and not three.
    const actions = [];
    for await (const { action } of app.journal.find({ kind: "control" })) actions.push(action);
    expect(actions).toEqual(["retry", "retry"]);
  });

  test("tasks are counted by names that every object knows, too", async () => {
    const names = ["constructor", "__proto__"];
    const failing = names.map((name) =>
      app.task(name, () => {
        throw new Down("down");
      }),
    );
    const t = start(app);
    for (const task of failing) await task.delay();
    await t.drain();
    const { tasks } = await app.control.retryFailed({ dryRun: true });
    expect(Object.entries(tasks).sort()).toEqual([
      ["__proto__", 1],
      ["constructor", 1],
    ]);
  });

  test("what was asked for and waits is not asked for again, until its message may be lost", async () => {
    const fetch = fetchTask();
    const t = start(app);
    const ids: string[] = [];
    for (const what of ["a", "b", "c"]) {
      ids.push((await fetch.delay(what)).id);
      await t.advance({ seconds: 1 });
    }
    expect(await app.control.retryFailed({ limit: 2 })).toMatchObject({ count: 2 });
    expect(await refusal(ids[2] ?? "")).toBe("asked");
    // The same again goes on with the next.
    expect(await app.control.retryFailed({ limit: 2, dryRun: true })).toMatchObject({
      count: 1,
      skipped: { asked: 2 },
    });
    expect(await app.control.retryFailed({ limit: 2 })).toMatchObject({ count: 1, skipped: { asked: 2 } });
    await app.control.purge("celery");
    expect(await app.control.retryFailed()).toEqual({ count: 0, tasks: {}, skipped: { asked: 3 } });
    await t.advance({ hours: 1, seconds: 1 });
    expect(await app.control.retryFailed()).toEqual({ count: 3, tasks: { "ops.fetch": 3 }, skipped: {} });
    isUp = true;
    await t.drain();
    expect(runs.slice(3).sort()).toEqual(["a", "b", "c"]);
  });

  test("what is sought in the error is sought in the last one alone", async () => {
    let why = "no route to host";
    const fetch = app.task("ops.fetch", (_: string) => {
      throw new Down(why);
    });
    const t = start(app);
    const { id } = await fetch.delay("a");
    await t.drain();
    const [first] = await app.journal.failures();
    why = "no such file";
    await t.advance({ seconds: 5 });
    await app.control.retry(id);
    await t.drain();
    const none = { count: 0, tasks: {}, skipped: {} };
    expect(await app.control.retryFailed({ text: "no route", dryRun: true })).toEqual(none);
    expect(await app.control.retryFailed({ error: "no route", dryRun: true })).toEqual(none);
    expect(await app.control.retryFailed({ to: (first?.last ?? 0) + 1, dryRun: true })).toEqual(none);
    expect(await app.control.retryFailed({ text: "no such file", dryRun: true })).toMatchObject({ count: 1 });
  });

  test("a chord that has failed for it goes on, and so does a chain", async () => {
    const fetch = fetchTask();
    const bodies: unknown[] = [];
    const collect = app.task("ops.collect", (all: readonly string[]) => {
      bodies.push(all);
      return all.join();
    });
    const shout = app.task("ops.shout", (text: string) => text.toUpperCase());
    const ok = app.task("ops.ok", () => "ok");
    const t = start(app);
    const joined = await chord([fetch.s("a"), ok.s(), fetch.s("b")], collect.s()).delay();
    const chained = await chain(fetch.s("c"), shout.s(), shout.s()).delay();
    await t.drain();
    expect([await joined.state(), await chained.state()]).toEqual(["FAILURE", "FAILURE"]);
    isUp = true;
    // These are the ids that whoever sent them has.
    for (const { id } of [joined, chained])
      await expect(app.control.retry(id)).rejects.toThrow(
        "if a task before it in its chain or chord failed, retry that one",
      );
    expect(await app.control.retryFailed()).toEqual({ count: 3, tasks: { "ops.fetch": 3 }, skipped: {} });
    await t.drain();
    expect(await app.result(joined.id).get()).toBe("a is there,ok,b is there");
    expect(await app.result(chained.id).get()).toBe("C IS THERE");
    expect(bodies).toHaveLength(1);
  });

  test("one that retries by itself goes on behind its last attempt", async () => {
    const flaky = app.task(
      "ops.flaky",
      { bind: true, maxRetries: 1, retryBackoff: false, defaultRetryDelay: 1 },
      (self) => {
        runs.push(String(self.request.retries));
        if (!isUp) throw self.retry();
        return "done";
      },
    );
    const shout = app.task("ops.shout", (text: string) => text.toUpperCase());
    const t = start(app);
    const result = await chain(flaky.s(), shout.s()).delay();
    await t.advance({ seconds: 5 });
    const [failed] = await app.control.retryFailed({ task: "ops.flaky" }).then(({ count }) => [count]);
    expect(failed).toBe(1);
    isUp = true;
    await t.advance({ seconds: 5 });
    expect(await app.result(result.id).get()).toBe("DONE");
    expect(runs).toEqual(["0", "1", "1"]);
  });

  test("one whose time is over runs all the same, and one that does not claim stores what came of it", async () => {
    const fetch = fetchTask();
    const open = app.task("ops.open", { claim: false }, (what: string) => {
      if (!isUp) throw new Down(what);
      return what;
    });
    const t = start(app);
    const result = await fetch.applyAsync(["a"], { expires: 60 });
    const unclaimed = await open.delay("b");
    await t.advance({ seconds: 3600 });
    isUp = true;
    await app.control.retry(result.id);
    await app.control.retry(unclaimed.id);
    await t.drain();
    expect(await app.result(result.id).get()).toBe("a is there");
    expect(await app.result(unclaimed.id).get()).toBe("b");
  });

  test("what cannot be run again says why, and nothing is sent", async () => {
    const fetch = fetchTask();
    const ok = app.task("ops.ok", () => "ok");
    const rejected = app.task("ops.rejected", () => {
      throw new Reject("no");
    });
    const t = start(app);
    const [good, dead, revoked, forgotten] = await Promise.all([
      ok.delay(),
      rejected.delay(),
      fetch.applyAsync(["x"], { countdown: 600 }),
      fetch.delay("a"),
    ]);
    await app.control.revoke(revoked.id);
    await t.drain();
    await app.control.forget(forgotten.id);
    expect(await refusal(good.id)).toBe("succeeded");
    expect(await refusal(dead.id)).toBe("deadLetter");
    expect(await refusal(revoked.id)).toBe("revoked");
    expect(await refusal(forgotten.id)).toBe("notKept");
    expect(await refusal("nobody")).toBe("unknown");
    await expect(app.control.retry("")).rejects.toThrow(ImproperlyConfigured);
    expect(await app.control.retryFailed()).toEqual({ count: 0, tasks: {}, skipped: { deadLetter: 1, notKept: 1 } });
    runs.length = 0;
    await t.drain();
    expect(runs).toEqual([]);
  });

  test("without keepFailed, and where there is no room, the message is not kept", async () => {
    const fetch = fetchTask();
    const t = start(app, { config: { keepFailed: false } });
    const { id } = await fetch.delay("a");
    await t.drain();
    expect(await refusal(id)).toBe("notKept");
  });
});

describe.each(stores)("steering on %s", (_, start) => {
  let app: Lovage;
  beforeEach(() => {
    app = new Lovage("ops", { taskQueues: ["celery", "media"] });
  });
  const entries = async () => {
    const found: unknown[] = [];
    for await (const { action, by, id, queue, kind } of app.journal.find({ kind: ["control", "revoke"] }))
      found.push({ kind, action, by, ...(id && { id }), ...(queue && { queue }) });
    return found.reverse();
  };

  test("failures are chosen by task, error, queue, time and number; a dry run only counts", async () => {
    const fail = app.task("ops.fail", (kind: string) => {
      throw kind === "a" ? new Down("no route to host 1") : new TypeError("x is not a function");
    });
    const t = start(app);
    for (let at = 0; at < 3; at++) await fail.delay("a");
    await fail.applyAsync(["b"], { queue: "media" });
    await t.drain();
    const count = async (filter: Parameters<typeof app.control.retryFailed>[0]) =>
      (await app.control.retryFailed({ ...filter, dryRun: true })).count;
    expect(await count({})).toBe(4);
    expect(await count({ error: "Down" })).toBe(3);
    expect(await count({ error: "NO ROUTE" })).toBe(3);
    expect(await count({ error: "TypeError" })).toBe(1);
    expect(await count({ text: '["A"]' })).toBe(3);
    expect(await count({ text: "not a function", task: "ops.*" })).toBe(1);
    expect(await count({ queue: "media" })).toBe(1);
    expect(await count({ task: "other.*" })).toBe(0);
    expect(await count({ limit: 2 })).toBe(2);
    expect(await count({ from: t.clock.now() + 1 })).toBe(0);
    await expect(count({ from: 2, to: 1 })).rejects.toThrow("must be before to");
    await expect(app.control.retryFailed({ eror: "x" } as never)).rejects.toThrow(ImproperlyConfigured);
    expect((await t.drain()).length).toBe(0);
    expect((await app.control.retryFailed({ error: "TypeError", by: "anna" })).count).toBe(1);
    expect((await t.drain()).length).toBe(1);
    expect(await entries()).toEqual([
      { kind: "control", action: "retry", by: "anna", id: expect.any(String), queue: "media" },
    ]);
  });

  test("queues are listed with what is in them, and emptied", async () => {
    const add = app.task("ops.add", (x: number) => x);
    const bad = app.task("ops.bad", () => {
      throw new Reject("no");
    });
    const t = start(app, { queues: ["celery"] });
    await bad.delay();
    await t.drain();
    await add.applyAsync([1], { queue: "media" });
    await t.advance({ seconds: 30 });
    await add.applyAsync([1], { queue: "media", countdown: 60 });
    expect(await app.control.inspect().queues()).toEqual([
      { queue: "celery", ready: 0, delayed: 0, inFlight: 0, deadLetters: 1 },
      { queue: "media", ready: 1, delayed: 1, inFlight: 0, deadLetters: 0, oldest: 30 },
    ]);
    expect(await app.control.inspect().scheduled()).toEqual({ celery: 0, media: 1 });
    expect(await app.control.purge("media", { by: "anna" })).toBe(2);
    for (const queue of ["medai", "constructor", "__proto__"])
      await expect(app.control.purge(queue)).rejects.toThrow(QueueNotFound);
    expect(await entries()).toEqual([{ kind: "control", action: "purge", by: "anna", queue: "media" }]);
  });

  test("dead letters are listed, sent back and deleted by the same filters", async () => {
    const bad = app.task("ops.bad", (x: number) => {
      throw new Reject(`no ${x}`);
    });
    const t = start(app);
    const ids = [(await bad.delay(1)).id, (await bad.delay(2)).id];
    await t.drain();
    const { deadLetters } = app.control;
    const listed: unknown[] = [];
    for await (const { id, reason } of deadLetters.list({ error: "no 1", from: 0, limit: 5 }))
      listed.push({ id, reason });
    expect(listed).toEqual([{ id: ids[0], reason: "no 1" }]);
    // Of a name that is mistyped nothing is done, and this is said. One that is there need not be declared.
    const nowhere = /no queue "medai"; there are /;
    await expect(deadLetters.list({ queue: ["celery", "medai"] }).next()).rejects.toThrow(nowhere);
    await expect(deadLetters.redrive({ queue: "medai" })).rejects.toThrow(nowhere);
    await expect(deadLetters.delete({ queue: "medai" })).rejects.toThrow(nowhere);
    await (await app.engine.broker()).send([{ queue: "python-dlq", body: "x", attributes: {} }]);
    expect((await deadLetters.delete({ queue: "python", dryRun: true })).count).toBe(1);
    await expect(deadLetters.redrive({ from: 2, to: 1 })).rejects.toThrow(
      "deadLetters.redrive.from: must be before to",
    );
    await expect(deadLetters.delete({ since: 1 } as never)).rejects.toThrow("deadLetters.delete.since: is not known");
    expect(await deadLetters.delete({ limit: 1, dryRun: true })).toEqual({ count: 1, failed: [] });
    expect(await deadLetters.redrive({ id: "nobody" })).toEqual({ count: 0, failed: [] });
    expect(await deadLetters.delete({ task: "ops.*", dryRun: true })).toEqual({ count: 2, failed: [] });
    expect(await deadLetters.delete({ id: ids[0] as string, by: "anna" })).toEqual({ count: 1, failed: [] });
    await t.advance({ seconds: 1 });
    expect(await deadLetters.redrive({ id: ids[1] as string, by: "anna" })).toEqual({ count: 1, failed: [] });
    expect((await t.drain()).map(({ id }) => id)).toEqual([ids[1]]);
    expect(await entries()).toEqual([
      { kind: "control", action: "deleteDeadLetter", by: "anna", id: ids[0], queue: "celery" },
      { kind: "control", action: "redrive", by: "anna", id: ids[1], queue: "celery" },
    ]);
  });

  describe("a dead letter that is sent back runs once more, and each time that it is one again,", () => {
    const setUp = async () => {
      const runs: number[] = [];
      const told: unknown[] = [];
      const note = app.task("ops.note", (id: string) => void told.push(id));
      const bad = app.task("ops.bad", (x: number) => {
        runs.push(x);
        if (runs.length < 4) throw new Reject("not yet");
        return x;
      });
      const t = start(app);
      const result = await bad.s(1).linkError(note.s()).applyAsync();
      await t.drain();
      return { t, runs, told, result, broker: await app.engine.broker() };
    };

    test("where SQS itself moves it, as its console does, also where it is there twice", async () => {
      const { t, runs, told, result, broker } = await setUp();
      for (const count of [2, 3, 4]) {
        const letters = await broker.receive("celery-dlq", { max: 10, wait: 0, visibility: 60_000 });
        const { body, attributes } = letters[0] as Delivery;
        const moved = { queue: "celery", body, attributes };
        await broker.send([moved, moved]);
        await broker.delete(letters);
        await t.drain();
        expect([runs.length, told.length]).toEqual([count, Math.min(count, 3)]);
      }
      expect(await app.result(result.id).get()).toBe(1);
    });

    test("where the clock of who sends it back is behind that of who did so before, or SQS did", async () => {
      const { t, runs, result, broker } = await setUp();
      const ahead = app.engine.clock.now() + 300_000;
      const [letter] = await broker.receive("celery-dlq", { max: 1, wait: 0, visibility: 60_000 });
      await redrive(broker, readDeadLetter(letter as Delivery, "celery"), { now: ahead });
      await t.drain();
      expect(runs.length).toBe(2);
      expect((await app.control.deadLetters.redrive()).count).toBe(1);
      await t.drain();
      expect(runs.length).toBe(3);
      const [again] = await broker.receive("celery-dlq", { max: 1, wait: 0, visibility: 60_000 });
      const { body, attributes } = again as Delivery;
      await broker.send([{ queue: "celery", body, attributes }]);
      await t.drain();
      expect([runs.length, await app.result(result.id).get()]).toEqual([4, 1]);
    });
  });

  test("revoking and forgetting say who did it", async () => {
    const add = app.task("ops.add", (x: number) => x);
    const t = start(app);
    const a = await add.applyAsync([1], { countdown: 60 });
    const b = await add.delay(2);
    expect(await app.control.revoke([a.id, a.id], { by: "anna" })).toEqual({ count: 1, failed: [] });
    await t.advance({ seconds: 1 });
    expect(await a.state()).toBe("REVOKED");
    expect(await b.state()).toBe("SUCCESS");
    expect(await app.control.forget([b.id], { by: "bert" })).toEqual({ count: 1, failed: [] });
    expect(await app.result(b.id).state()).toBe("PENDING");
    expect(await entries()).toEqual([
      { kind: "revoke", action: undefined, by: "anna", id: a.id },
      { kind: "control", action: "forget", by: "bert", id: b.id },
    ]);
    await expect(app.control.revoke(a.id, { terminat: true } as never)).rejects.toThrow(ImproperlyConfigured);
  });

  test("what cannot be done to a task is told of, and nothing else is", async () => {
    const add = app.task("ops.add", (x: number) => x);
    const t = start(app);
    const [ended, forgotten, waiting] = [
      await add.delay(1),
      await add.delay(2),
      await add.applyAsync([3], { countdown: 60 }),
    ];
    await t.advance({ seconds: 1 });
    await app.control.forget(forgotten.id);
    // Of an id nobody has heard of, a message may still come.
    expect(await app.control.revoke([ended.id, forgotten.id, waiting.id, "nobody"], { by: "anna" })).toEqual({
      count: 2,
      failed: [
        { id: ended.id, reason: "it has ended already: SUCCESS" },
        { id: forgotten.id, reason: "it has ended already, and its result is forgotten" },
      ],
    });
    expect([await ended.state(), await waiting.state()]).toEqual(["SUCCESS", "REVOKED"]);
    expect((await app.control.revoke(waiting.id)).failed).toEqual([
      { id: waiting.id, reason: "it has ended already: REVOKED" },
    ]);
    expect(await app.control.forget([ended.id, "somebody"])).toEqual({
      count: 1,
      failed: [{ id: "somebody", reason: "nothing is stored of it" }],
    });
    const told = [forgotten.id, waiting.id, "nobody", ended.id];
    expect((await entries()).map((entry) => (entry as { readonly id: string }).id).sort()).toEqual(told.sort());
  });

  test.each([
    ["app.control", async (id: string) => expect((await app.control.revoke(id, { by: "anna" })).count).toBe(1)],
    ["its result", (id: string) => app.result(id).revoke()],
  ])(
    "a failed task that waits to run again is revoked by %s, and its errback is called no second time",
    async (_, revoke) => {
      let runs = 0;
      const told: string[] = [];
      const tell = app.task("ops.tell", (id: string) => void told.push(id));
      const fail = app.task("ops.fail", () => {
        runs++;
        throw new Down("no");
      });
      const t = start(app);
      const { id } = await fail.applyAsync([], { linkError: tell.s() });
      await t.drain();
      const reason = async () => (await app.control.revoke(id)).failed[0]?.reason;
      expect(await reason()).toBe("it has ended already: FAILURE");
      await app.control.retry(id);
      await t.drain();
      expect([runs, told, await reason()]).toEqual([2, [id, id], "it has ended already: FAILURE"]);
      await app.control.retry(id);
      await revoke(id);
      await t.drain();
      expect([runs, told, await app.result(id).state()]).toEqual([2, [id, id], "REVOKED"]);
      expect(await reason()).toBe("it has ended already: REVOKED");
      await expect(app.control.retry(id)).rejects.toMatchObject({ reason: "revoked" });
    },
  );

  test.each([
    ["a task that is asked for again", false],
    ["a dead letter that is sent back", true],
  ])("%s can be revoked for as long as it waits", async (_, isLetter) => {
    let runs = 0;
    const bad = app.task("ops.bad", () => {
      runs++;
      throw isLetter ? new Reject("no") : new Down("no");
    });
    const t = start(app);
    const { id } = await bad.delay();
    await t.drain();
    const again = async () => {
      if (!isLetter) return app.control.retry(id);
      expect(await app.control.deadLetters.redrive({ id })).toEqual({ count: 1, failed: [] });
    };
    const ended = { count: 0, failed: [{ id, reason: "it has ended already: FAILURE" }] };
    expect(await app.control.revoke(id)).toEqual(ended);
    await again();
    await t.drain();
    expect(await app.control.revoke(id)).toEqual(ended);
    await again();
    // As in a queue that is paused for hours.
    const broker = await app.engine.broker();
    const hidden = await broker.receive("celery", { max: 1, wait: 0, visibility: 3 * 3_600_000 });
    expect(hidden).toHaveLength(1);
    await t.advance({ hours: 2 });
    const revoked = { count: 1, failed: [] };
    expect(await app.control.revoke(id, { dryRun: true })).toEqual(revoked);
    expect(await app.control.revoke(id)).toEqual(revoked);
    await t.advance({ hours: 2 });
    expect([runs, await app.result(id).state()]).toEqual([2, "REVOKED"]);
    expect(await broker.receive("celery", { max: 1, wait: 0, visibility: 0 })).toEqual([]);
  });

  test.each([
    ["a task that is asked for again", false],
    ["a dead letter that is sent back", true],
  ])("%s runs although somebody forgets it meanwhile, unless it is revoked", async (_, isLetter) => {
    let runs = 0;
    const bad = app.task("ops.bad", () => {
      runs++;
      throw isLetter ? new Reject("no") : new Down("no");
    });
    const t = start(app);
    const results = [await bad.delay(), await bad.delay()];
    await t.drain();
    for (const { id } of results) {
      if (isLetter) expect((await app.control.deadLetters.redrive({ id })).count).toBe(1);
      else await app.control.retry(id);
      expect(await app.control.forget(id)).toEqual({ count: 1, failed: [] });
    }
    const [ran, revoked] = results.map(({ id }) => id) as [string, string];
    await expect(app.control.retry(ran)).rejects.toThrow(CannotRetry);
    expect(await app.control.revoke(revoked)).toEqual({ count: 1, failed: [] });
    await t.drain();
    expect([runs, await app.result(ran).state()]).toEqual([3, "PENDING"]);
  });

  test("with dryRun it is said what would be done, and nothing is done", async () => {
    const fail = app.task("ops.fail", () => {
      throw new Down("no");
    });
    const t = start(app);
    const [failed, asked] = [await fail.delay(), await fail.delay()];
    await t.drain();
    await app.control.retry(asked.id);
    const waiting = await fail.applyAsync([], { countdown: 60 });
    const told = await entries();
    const ids = [failed.id, asked.id, waiting.id, "nobody"];
    const dry = { dryRun: true, by: "anna" } as const;
    const counted = await app.control.revoke(ids, dry);
    expect(counted).toEqual({ count: 3, failed: [{ id: failed.id, reason: "it has ended already: FAILURE" }] });
    expect(await app.control.forget(ids, dry)).toEqual({
      count: 2,
      failed: [waiting.id, "nobody"].map((id) => ({ id, reason: "nothing is stored of it" })),
    });
    await app.control.retry(failed.id, dry);
    for (const [id, reason] of [
      [asked.id, "asked"],
      ["nobody", "unknown"],
    ] as const)
      await expect(app.control.retry(id, dry)).rejects.toMatchObject({ reason });
    expect(await entries()).toEqual(told);
    expect([await failed.state(), await asked.state(), await waiting.state()]).toEqual([
      "FAILURE",
      "FAILURE",
      "PENDING",
    ]);
    // Nobody asked for it yet.
    await app.control.retry(failed.id);
    await expect(app.control.revoke("x", { dryRun: true, by: "" })).rejects.toThrow(ImproperlyConfigured);
    await expect(app.control.forget("x", { dryRun: "yes" } as never)).rejects.toThrow(ImproperlyConfigured);
    expect(await app.control.revoke(ids)).toEqual({ count: 4, failed: [] });
  });

  test("who does it is the user, unless a name is given", async () => {
    start(app);
    await app.control.revoke("x");
    await expect(app.control.revoke("x", { by: "" })).rejects.toThrow(ImproperlyConfigured);
    expect(await entries()).toEqual([{ kind: "revoke", action: undefined, by: userInfo().username, id: "x" }]);
  });
});

test("a message that does not fit into the row is left out, and the journal says so", async () => {
  const { inMemory } = await import("./stores.ts");
  const app = new Lovage("ops");
  const fail = app.task("ops.fail", (_: string) => {
    throw new Down("down");
  });
  const t = inMemory(app);
  const backend = await app.engine.backend();
  const { apply } = backend;
  // A store with rows of 2 KB.
  Object.assign(backend, {
    apply: async (commands: Parameters<typeof apply>[0]) => {
      const size = JSON.stringify(commands).length;
      if (commands.some(({ type }) => type === "final") && size > 20_000)
        return [new PayloadTooLarge("the row", size, 20_000)];
      return apply(commands);
    },
  });
  const { id } = await fail.delay("x".repeat(30_000));
  await t.drain();
  expect(await app.result(id).state()).toBe("FAILURE");
  await expect(app.control.retry(id)).rejects.toThrow(CannotRetry);
  const told: unknown[] = [];
  for await (const { unkept } of app.journal.find({ id })) told.push(unkept);
  expect(told).toEqual([true]);
});

type Place = Pick<ConfigInput, "brokerUrl" | "resultBackend" | "resultBackendTransportOptions">;

const inOne = (url: string): Place => ({ brokerUrl: url, resultBackend: url });
const places: readonly (readonly [name: string, place: () => Place])[] =
  table === undefined
    ? [
        ["memory", () => inOne(`memory://control-${randomUUID()}`)],
        [
          "SQLite",
          () => {
            const folder = mkdtempSync(join(tmpdir(), "lovage-control-"));
            onTestFinished(() => rmSync(folder, { recursive: true }));
            return inOne(`sqlite:///${join(folder, "lovage.db")}`);
          },
        ],
      ]
    : [
        [
          "DynamoDB",
          () => ({
            brokerUrl: `memory://control-${randomUUID()}`,
            resultBackend: table,
            resultBackendTransportOptions: { globalKeyprefix: `${randomUUID()}-` },
          }),
        ],
      ];

describe.each(places)("long-lived workers on %s", (_, place) => {
  /** An app, a clock that is moved by hand, and a worker that serves two queues. */
  async function serve() {
    const clock = virtualClock();
    const settings = { ...place(), taskQueues: ["celery", "media"] };
    const app = new Lovage("ops", settings, { clock, env: { USER: "carla", LOVAGE_APP_VERSION: "1.2.3" } });
    const ran: string[] = [];
    let release = () => {};
    const work = app.task("ops.work", async (name: string) => {
      ran.push(name);
      if (name === "long") await new Promise<void>((go) => (release = go));
      return name;
    });
    const started: PollingWorker[] = [];
    const start = async (hostname = "one@here") => {
      const worker = await startWorker(app, { hostname, concurrency: 2 });
      started.push(worker);
      return worker;
    };
    onTestFinished(async () => {
      release();
      await Promise.all(started.map((worker) => worker.stop()));
      await app.close();
    });
    const beat = async () => {
      clock.moveTo(clock.now() + 5_000);
      await settle();
    };
    return { app, clock, ran, work, start, beat, release: () => release() };
  }
  const settle = () => new Promise<void>((go) => setTimeout(go, 30));
  const until = async (isSo: () => boolean | Promise<boolean>) => vi.waitUntil(isSo, { timeout: 30_000, interval: 5 });

  test("they are seen, with what they have in hand, until they end", async () => {
    const { app, work, start, ran, beat, clock, release } = await serve();
    const inspect = app.control.inspect();
    expect(await inspect.ping()).toEqual({});
    const worker = await start();
    await work.delay("a");
    await until(async () => ran.length === 1);
    // The longest that there is.
    const { id } = await work.applyAsync(["long"], { queue: "media", taskId: "i".repeat(255) });
    await until(async () => ran.length === 2);
    const from = clock.now();
    await until(async () => {
      await beat();
      return ((await inspect.active())["one@here"] ?? []).length === 1;
    });
    const { "one@here": pong } = await inspect.ping();
    expect(pong).toEqual({ ok: "pong", seen: expect.any(Number) });
    // It says so every ten seconds.
    expect(pong?.seen).toBeLessThanOrEqual(10);
    expect(await inspect.stats()).toEqual({
      "one@here": expect.objectContaining({
        name: "one@here",
        pid: process.pid,
        queues: ["celery", "media"],
        concurrency: 2,
        since: from,
        done: 1,
        version: "1.2.3",
        running: 1,
        waiting: 0,
      }),
    });
    expect(await inspect.active()).toEqual({
      "one@here": [{ id, task: "ops.work", queue: "media", started: expect.any(Number) }],
    });
    expect(await inspect.reserved()).toEqual({ "one@here": [] });
    expect(await inspect.registered()).toEqual({ "one@here": ["ops.work"] });
    release();
    await worker.stop();
    expect(await inspect.ping()).toEqual({});
  });

  test("one that says nothing any more is gone after half a minute", async () => {
    const { app, start, clock } = await serve();
    await start();
    await until(async () => "one@here" in (await app.control.inspect().ping()));
    const { now } = clock;
    // Nothing wakes: its process hangs.
    Object.assign(clock, { now: () => now() + 31_000 });
    expect(await app.control.inspect().ping()).toEqual({});
  });

  test("a paused queue is not begun, over restarts, until it is resumed; what runs goes on", async () => {
    const { app, work, start, ran, beat, release } = await serve();
    const first = await start();
    const long = await work.applyAsync(["long"], { queue: "media" });
    await until(() => ran.length === 1);
    await app.control.pause("media", { by: "anna" });
    await until(async () => {
      await beat();
      return first.readiness().reason !== undefined;
    });
    await work.applyAsync(["a"], { queue: "media" });
    await work.delay("b");
    await until(() => ran.includes("b"));
    await settle();
    expect(ran).toEqual(["long", "b"]);
    expect(first.readiness()).toEqual({ ready: true, reason: "ready; paused: media", running: 1, waiting: 0 });
    const media = async () => (await app.control.inspect().queues()).find(({ queue }) => queue === "media");
    expect(await media()).toMatchObject({ ready: 1, paused: { by: "anna", at: expect.any(Number) } });
    release();
    await until(async () => (await long.state()) === "SUCCESS");
    await first.stop();
    await start("two@here");
    await settle();
    expect(ran).toEqual(["long", "b"]);
    await app.control.resume("media", { by: "anna" });
    await until(async () => {
      await beat();
      return ran.length === 3;
    });
    expect((await media())?.paused).toBeUndefined();
    for (const queue of ["medai", "constructor", "__proto__"])
      await expect(app.control.pause(queue)).rejects.toThrow(QueueNotFound);
  });

  test("one that is told to stops, and no other", async () => {
    const { app, start, beat } = await serve();
    const inspect = app.control.inspect();
    const [one] = [await start("one@here"), await start("two@here")];
    await until(async () => Object.keys(await inspect.ping()).length === 2);
    await expect(app.control.shutdown("on@here")).rejects.toThrow(/did you mean "?one@here/);
    await app.control.shutdown("one@here", { by: "anna" });
    await until(async () => {
      await beat();
      return !one.readiness().ready;
    });
    expect(await one.ended).toBe("shutdown");
    expect(Object.keys(await inspect.ping())).toEqual(["two@here"]);
  });
});
