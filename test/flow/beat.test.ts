import { crontab, every, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, stores } from "./stores.ts";

describe.each(stores)("on %s", (_, start) => {
  test("an interval fires at its slots", async () => {
    const app = new Lovage("tasks", { beatSchedule: { often: { task: "tasks.note", schedule: 30, args: ["tick"] } } });
    app.task("tasks.note", (text: string) => text);
    const t = start(app, { beat: true, now: new Date("2026-01-01T00:00:10Z") });
    expect(await t.advance({ seconds: 19 })).toEqual([]);
    expect(await t.advance({ seconds: 1 })).toMatchObject([{ result: "tick" }]);
    expect(await t.advance({ minutes: 5 })).toHaveLength(10);
  });

  test("a crontab fires in the app's time zone", async () => {
    const app = new Lovage("tasks", {
      timezone: "Asia/Shanghai",
      beatSchedule: {
        morning: { task: "tasks.note", schedule: crontab({ hour: 9, minute: 10 }), kwargs: { text: "morning" } },
      },
    });
    const times: string[] = [];
    app.task(
      "tasks.note",
      { params: ["text"] },
      (text: string) => void times.push(`${text} ${new Date(t.clock.now()).toISOString()}`),
    );
    const t = start(app, { beat: true });
    await t.advance({ days: 2 });
    expect(times).toEqual(["morning 2026-01-01T01:10:00.000Z", "morning 2026-01-02T01:10:00.000Z"]);
  });

  test("two beats of one app send each slot once", async () => {
    const app = new Lovage("tasks", {
      beatSchedule: { often: { task: "tasks.note", schedule: every({ minutes: 1 }), options: { queue: "media" } } },
    });
    let runs = 0;
    app.task("tasks.note", () => void runs++);
    const t = start(app, { beat: true });
    expect(await t.advance({ minutes: 3 })).toMatchObject([{ queue: "media" }, { queue: "media" }, { queue: "media" }]);
    // The same slots once more, as a second beat would send them.
    const ids = (await t.advance({ minutes: 1 })).map(({ id }) => id);
    for (const id of ids) await app.sendTask("tasks.note", [], { taskId: id, queue: "media" });
    await t.drain();
    expect(runs).toBe(4);
  });

  test("a slot of a unique task sends nothing while its twin is there", async () => {
    const app = new Lovage("tasks", { beatSchedule: { often: { task: "tasks.sync", schedule: 30, args: ["anna"] } } });
    const began: number[] = [];
    app.task("tasks.sync", { unique: { key: (id: string) => id, for: "running" } }, async (_: string) => {
      began.push(t.clock.now() - start0);
      await t.clock.sleep(70_000);
    });
    const t = start(app, { beat: true, concurrency: 5 });
    const start0 = t.clock.now();
    await t.advance({ minutes: 4 });
    // Of the slots at 30, 60, 90, 120 … each first one after the end of the run before.
    expect(began.map((ms) => ms / 1000)).toEqual([30, 120, 210]);
    const slots: unknown[] = [];
    for await (const { id } of app.journal.find({ kind: ["slot"] })) slots.push(id);
    expect([slots.length, new Set(slots).size]).toEqual([8, 3]);
  });

  test("slots of a debounced task put it off, up to its max", async () => {
    const app = new Lovage("tasks", { beatSchedule: { often: { task: "tasks.sync", schedule: 30, args: ["anna"] } } });
    const began: number[] = [];
    app.task(
      "tasks.sync",
      { debounce: { key: (id: string) => id, wait: 40, max: 100 } },
      (_: string) => void began.push((t.clock.now() - start0) / 1000),
    );
    const t = start(app, { beat: true });
    const start0 = t.clock.now();
    await t.advance({ minutes: 3 });
    expect(began).toEqual([130]);
  });
});

test("an entry of a debounced task has no time of its own", async () => {
  const app = new Lovage("tasks", {
    beatSchedule: { often: { task: "tasks.sync", schedule: 30, options: { countdown: 5 } } },
  });
  app.task("tasks.sync", { debounce: { key: () => "one", wait: 40 } }, () => {});
  expect(() => inMemory(app, { beat: true })).toThrow(/often.*options\.countdown.*debounce/);
});
