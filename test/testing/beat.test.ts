import { crontab, every, Lovage } from "lovage";
import { testApp } from "lovage/testing";
import { expect, onTestFinished, test } from "vitest";

function testBeat(beat = true) {
  const app = new Lovage("shop", {
    beatSchedule: { declared: { task: "shop.note", schedule: 20, args: ["declared"] } },
  });
  const runs: string[] = [];
  app.task("shop.note", (word: string) => void runs.push(`${word} ${(t.clock.now() - start) / 1000}`));
  app.task("shop.plan", () => app.beat.put("planned", { task: "shop.note", schedule: 20, args: ["planned"] }));
  const t = testApp(app, { beat });
  onTestFinished(() => t.close());
  const start = t.clock.now();
  return { ...t, runs };
}

test("entries put at run time are sent as the clock passes their slots, beside those of beatSchedule", async () => {
  const { app, advance, runs } = testBeat();
  await app.beat.put("a", { task: "shop.note", schedule: every({ seconds: 15 }), args: ["a"] });
  await advance({ seconds: 40 });
  expect(runs).toEqual(["a 15", "declared 20", "a 30", "declared 40"]);
});

test("they are paused, resumed and removed between two moves of the clock", async () => {
  const { app, advance, runs } = testBeat();
  await app.beat.put("a", { task: "shop.note", schedule: 60, args: ["a"] });
  await app.beat.pause("a");
  await advance({ seconds: 70 });
  await app.beat.resume("a");
  await advance({ seconds: 60 });
  await app.beat.remove("a");
  await advance({ seconds: 60 });
  expect(runs.filter((run) => run.startsWith("a"))).toEqual(["a 120"]);
});

test("one that a task puts counts from then on", async () => {
  const { app, advance, runs } = testBeat();
  await app.sendTask("shop.plan", [], { countdown: 30 });
  await advance({ seconds: 60 });
  expect(runs).toEqual(["declared 20", "declared 40", "planned 40", "declared 60", "planned 60"]);
});

test("an entry keeps the zone that it was put in", async () => {
  const { app, advance, runs } = testBeat();
  app.configFromObject({ timezone: "Asia/Tokyo" });
  await app.beat.put("a", { task: "shop.note", schedule: crontab({ hour: 9, minute: 1 }), args: ["a"] });
  app.configFromObject({ timezone: "UTC" });
  await advance({ minutes: 2 });
  expect(runs.filter((run) => run.startsWith("a"))).toEqual(["a 60"]);
});

test("nothing is sent without beat", async () => {
  const { app, advance, runs } = testBeat(false);
  await app.beat.put("a", { task: "shop.note", schedule: 15, args: ["a"] });
  await advance({ seconds: 40 });
  expect(runs).toEqual([]);
});
