import { Ignore, Lovage, Reject } from "lovage";
import { describe, expect, test } from "vitest";
import { envelope, signature } from "./envelopes.ts";
import { stores } from "./stores.ts";

describe.each(stores)("on %s", (_, start) => {
  test("Ignore ends a task without an outcome: the state last stored stays", async () => {
    const app = new Lovage("tasks");
    const quit = app.task("tasks.quit", { bind: true }, async (self, custom: boolean) => {
      if (custom) await self.updateState({ state: "HALFWAY", meta: { done: 50 } });
      throw new Ignore();
    });
    const t = start(app);
    const [plain, own] = [await quit.delay(false), await quit.delay(true)];
    expect((await t.drain()).map(({ state }) => state)).toEqual(["IGNORED", "IGNORED"]);
    expect([await plain.state(), await own.state(), await own.info()]).toEqual(["STARTED", "HALFWAY", { done: 50 }]);
    expect(await t.advance({ hours: 1 })).toEqual([]);
  });

  test("nothing follows from Ignore, whatever state the task has stored, and if its message comes again", async () => {
    const app = new Lovage("tasks");
    const ran: string[] = [];
    app.task("tasks.quit", { bind: true }, async (self, state: string) => {
      const meta = state === "FAILURE" ? { exc_type: "Own", exc_message: ["no"], exc_module: null } : 1;
      await self.updateState({ state, meta });
      throw new Ignore();
    });
    app.task("tasks.note", (what: string) => void ran.push(what));
    const t = start(app);
    for (const state of ["SUCCESS", "FAILURE"]) {
      const note = (what: string) => [signature("tasks.note", [what], {}, true)];
      const embed = { callbacks: note("callback"), errbacks: note("errback"), chain: note("step") };
      const message = envelope({ task: "tasks.quit", id: state, args: [state], embed });
      for (let copy = 0; copy < 2; copy++) {
        await t.put(message);
        await t.drain();
      }
      expect(await app.result(state).state()).toBe(state);
    }
    expect(ran).toEqual([]);
  });

  test("Reject makes the message a dead letter, unchanged and with the reason, and the task FAILURE", async () => {
    const app = new Lovage("tasks");
    const picky = app.task("tasks.picky", (_x: number) => {
      throw new Reject("not for me");
    });
    const t = start(app);
    const result = await picky.delay(7);
    await t.drain();
    expect(await result.state()).toBe("FAILURE");
    await expect(result.get()).rejects.toThrow(Reject);
    const [letter, ...others] = await t.deadLetters();
    expect(others).toEqual([]);
    expect(letter).toMatchObject({
      queue: "celery-dlq",
      attributes: {
        reason: "not for me",
        error: "Reject",
        task: "tasks.picky",
        id: result.id,
        queue: "celery",
        deliveries: "1",
      },
    });
    expect(JSON.parse(letter?.body ?? "")).toMatchObject({ headers: { task: "tasks.picky", id: result.id } });
    expect(await t.advance({ hours: 1 })).toEqual([]);
  });

  test("Reject with requeue hands the message back, its task waits, and another try may take it", async () => {
    const app = new Lovage("tasks", { taskTrackStarted: true });
    let runs = 0;
    const picky = app.task("tasks.picky", () => {
      if (++runs < 3) throw new Reject("not now", { requeue: true });
      return runs;
    });
    const t = start(app);
    const result = await picky.delay();
    await t.drain();
    expect(await result.state()).toBe("PENDING");
    await t.advance({ hours: 1 });
    expect(await result.get()).toBe(3);
    expect(await t.deadLetters()).toEqual([]);
  });
});
