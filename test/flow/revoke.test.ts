import { chain, chord, currentTask, group, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { envelope } from "./envelopes.ts";
import { everywhere } from "./stores.ts";

const NONE = { ready: 0, delayed: 0, inFlight: 0 };
const untilTold = () =>
  new Promise<unknown>((resolve) => {
    const signal = currentTask()?.signal;
    signal?.addEventListener("abort", () => resolve(signal.reason));
  });

describe.each(everywhere)("on %s, by revoke", (_, start) => {
  function makeApp() {
    const app = new Lovage("tasks");
    const ran: unknown[] = [];
    const note = app.task("tasks.note", (word: unknown) => {
      ran.push(word);
      return word;
    });
    const left = async (queue = "celery") => (await app.engine.broker()).size(queue);
    return { app, ran, note, left };
  }

  test("a task that waits for its time never runs, and its message is gone in the end", async () => {
    const { ran, note, left, app } = makeApp();
    const t = start(app);
    const result = await note.applyAsync(["late"], { countdown: 3600 });
    await result.revoke();
    expect([await result.state(), await result.traceback()]).toEqual(["REVOKED", null]);
    await t.advance({ hours: 3 });
    expect([ran, await app.result(result.id).state(), await left()]).toEqual([[], "REVOKED", NONE]);
  });

  test("a parked message of another producer never runs", async () => {
    const { app, ran, left } = makeApp();
    const t = start(app);
    await t.put(envelope({ task: "tasks.note", id: "parked", headers: { eta: "2026-01-01T05:00:00+00:00" } }));
    await t.advance({ hours: 1 });
    await app.result("parked").revoke();
    await t.advance({ hours: 10 });
    expect([ran, await app.result("parked").state(), await left()]).toEqual([[], "REVOKED", NONE]);
  });

  test("no copy of a message runs, however often it comes", async () => {
    const { app, ran, left } = makeApp();
    const t = start(app);
    await app.result("id").revoke();
    for (let copy = 0; copy < 3; copy++) await t.put(envelope({ task: "tasks.note", id: "id" }));
    await t.advance({ minutes: 5 });
    expect([ran, await app.result("id").state(), await left()]).toEqual([[], "REVOKED", NONE]);
  });

  test("of a FIFO group neither the one that waits for its retry runs nor one behind it, and the rest goes on", async () => {
    const { app, left } = makeApp();
    const seen: unknown[] = [];
    const flaky = app.task("tasks.flaky", { bind: true }, (self, name: string) => {
      seen.push([name, self.request.retries]);
      if (name === "first") self.retry({ countdown: 60 });
    });
    const t = start(app);
    const queue = "orders.fifo";
    const [first, second, third] = [
      await flaky.applyAsync(["first"], { queue }),
      await flaky.applyAsync(["second"], { queue }),
      await flaky.applyAsync(["third"], { queue }),
    ];
    await t.advance({ seconds: 10 });
    await first.revoke();
    await second.revoke();
    await t.advance({ hours: 1 });
    expect(seen).toEqual([
      ["first", 0],
      ["third", 0],
    ]);
    expect([await first.state(), await second.state(), await third.state()]).toEqual(["REVOKED", "REVOKED", "SUCCESS"]);
    expect(await left(queue)).toEqual(NONE);
  });

  test("a task that runs may ask for a retry, which does not run", async () => {
    const { app, left } = makeApp();
    const seen: number[] = [];
    let go = () => {};
    const flaky = app.task("tasks.flaky", { bind: true }, async (self) => {
      seen.push(self.request.retries);
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      self.retry({ countdown: 5 });
    });
    const t = start(app);
    const result = await flaky.delay();
    await t.advance({ seconds: 1 });
    await result.revoke();
    go();
    await t.advance({ minutes: 5 });
    expect([seen, await result.state(), await left()]).toEqual([[0], "REVOKED", NONE]);
  });

  test("with terminate, a task that does not look at its signal ends as it ends", async () => {
    const { app } = makeApp();
    let go = () => {};
    const deaf = app.task("tasks.deaf", async () => {
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      return "heard nothing";
    });
    const t = start(app);
    const result = await deaf.delay();
    await t.advance({ seconds: 1 });
    await result.revoke({ terminate: true });
    await t.advance({ minutes: 1 });
    expect(await result.state()).toBe("STARTED");
    go();
    await t.advance({ seconds: 1 });
    expect(await result.get()).toBe("heard nothing");
  });

  test("a member of a chord counts, and the body fails", async () => {
    const { app, note } = makeApp();
    const count = app.task("tasks.count", (values: readonly unknown[]) => values.length);
    const t = start(app);
    const body = await chord([note.s(1).set({ taskId: "member" }), note.s(2)], count.s()).delay();
    await app.result("member").revoke();
    await t.advance({ minutes: 1 });
    await expect(body.get()).rejects.toThrow("Dependency member was revoked");
  });

  test.each([
    ["first", ["REVOKED", "REVOKED", "REVOKED"], []],
    ["second", ["SUCCESS", "REVOKED", "REVOKED"], ["start"]],
    ["third", ["SUCCESS", "SUCCESS", "REVOKED"], ["start", "start"]],
  ])("of a chain the %s step and all behind it end as REVOKED", async (step, states, runs) => {
    const { app, note, ran, left } = makeApp();
    const t = start(app);
    const ids = ["first", "second", "third"];
    await chain(
      note.s("start").set({ taskId: "first" }),
      note.s().set({ taskId: "second" }),
      note.s().set({ taskId: "third" }),
    ).delay();
    await app.result(step).revoke();
    await t.advance({ minutes: 1 });
    expect(await Promise.all(ids.map((id) => app.result(id).state()))).toEqual(states);
    expect([ran, await left()]).toEqual([runs, NONE]);
  });

  test("all of a group end, with terminate the one that runs too", async () => {
    const { app, left } = makeApp();
    let runs = 0;
    const slow = app.task("tasks.slow", async () => {
      runs++;
      throw await untilTold();
    });
    const t = start(app);
    const result = await group([slow.s(), slow.s(), slow.s()]).delay();
    await t.advance({ seconds: 1 });
    await result.revoke({ terminate: true });
    await t.advance({ minutes: 5 });
    expect(await Promise.all(result.ids.map((id) => app.result(id).state()))).toEqual([
      "REVOKED",
      "REVOKED",
      "REVOKED",
    ]);
    expect([runs, await left()]).toEqual([1, NONE]);
  });
});
