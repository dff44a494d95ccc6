import { Ignore, Lovage, Reject } from "lovage";
import { describe, expect, test } from "vitest";
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

  test("Reject with requeue hands the message back, and another try may take it", async () => {
    const app = new Lovage("tasks");
    let runs = 0;
    const picky = app.task("tasks.picky", () => {
      if (++runs < 3) throw new Reject("not now", { requeue: true });
      return runs;
    });
    const t = start(app);
    const result = await picky.delay();
    await t.advance({ hours: 1 });
    expect(await result.get()).toBe(3);
    expect(await t.deadLetters()).toEqual([]);
  });
});
