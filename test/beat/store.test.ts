import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { at, beatEntry, crontab, every, Lovage } from "lovage";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import { beat, beatEntries } from "../../src/workers/beat.ts";

let memories = 0;
const sqlite = () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-beat-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return `sqlite:///${join(folder, "lovage.db")}`;
};

function open(brokerUrl: string, name = "shop") {
  const app = new Lovage(name, { brokerUrl, beatSchedule: { declared: { task: "shop.add", schedule: 3600 } } });
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  app.task("shop.named", { schema: z.tuple([z.string()]) }, (who) => who);
  onTestFinished(() => app.close());
  return { app, add };
}

describe.each([
  ["memory", () => `memory://store-${memories++}`],
  ["sqlite", sqlite],
])("entries put at run time, in %s", (_, url) => {
  test("are seen by another app on the same store, with their values, and by no app of another name", async () => {
    const place = url();
    const { app, add } = open(place);
    const due = new Date("2030-01-01T00:00:00Z");
    await app.beat.put(
      "b",
      beatEntry(add, { schedule: crontab({ hour: 9 }), args: [1, 2], options: { expires: due } }),
    );
    await app.beat.put("a", { task: "shop.add", schedule: at(due), args: [3n], catchUp: "last", within: { hours: 6 } });
    const found = await open(place).app.beat.list();
    expect(found.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(found[0]).toMatchObject({ catchUp: "last", within: 21_600, schedule: { type: "at" }, args: [3] });
    expect(found[1]).toMatchObject({ args: [1, 2], options: { expires: due }, schedule: { hour: [9] }, zone: "UTC" });
    expect(await open(place, "other").app.beat.list()).toEqual([]);
  });

  test("are paused, resumed and removed by name", async () => {
    const { app } = open(url());
    await app.beat.put("a", { task: "shop.add", schedule: 10 });
    expect([await app.beat.pause("a"), await app.beat.resume("a"), await app.beat.remove("a")]).toEqual([
      true,
      true,
      true,
    ]);
    expect([await app.beat.remove("a"), await app.beat.pause("a"), await app.beat.list()]).toEqual([false, false, []]);
  });

  test("reach a running beat, and leave it", async () => {
    const place = url();
    const { app } = open(place);
    const stop = new AbortController();
    const lines: string[] = [];
    const running = beat(app, { log: (_level, line) => lines.push(line), signal: stop.signal });
    onTestFinished(async () => {
      stop.abort();
      await running;
    });
    const other = open(place).app;
    const sent = () => lines.filter((line) => line.startsWith("put:soon: sent")).length;
    await other.beat.put("soon", { task: "shop.add", schedule: every({ seconds: 0.1 }), args: [1, 2] });
    await vi.waitFor(() => expect(sent()).toBeGreaterThan(2), { timeout: 30_000, interval: 20 });
    // One that a later version has put stops none, and is named once.
    const [entry] = await other.beat.list();
    await (await other.engine.beatStore(other.name)).put({ ...entry, name: "later", since: 0, later: 1 } as never);
    const told = () => lines.filter((line) => line.includes('beat["later"]')).length;
    await vi.waitFor(() => expect(told()).toBe(1), { timeout: 30_000, interval: 20 });
    const then = sent();
    await other.beat.put("another", { task: "shop.add", schedule: 3600 });
    await vi.waitFor(() => expect(sent()).toBeGreaterThan(then + 5), { timeout: 30_000, interval: 20 });
    expect(told()).toBe(1);
    await other.beat.remove("soon");
    await vi.waitFor(
      async () => {
        const before = sent();
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect(sent()).toBe(before);
      },
      { timeout: 30_000 },
    );
  });
});

describe("what is refused, when it is put", () => {
  const refused = (entry: object, name = "a") =>
    expect(open("memory://refused").app.beat.put(name, entry as never)).rejects;
  const entry = { task: "shop.add", schedule: 10 };

  test.each([
    ["a task that is not registered, with the nearest name", { ...entry, task: "shop.ad" }, /did you mean shop\.add/],
    ["an interval of nothing", { ...entry, schedule: 0 }, /from 0\.001/],
    ["an interval that is no number", { ...entry, schedule: Number.NaN }, /from 0\.001/],
    ["an interval beyond a year", { ...entry, schedule: 366 * 86_400 }, /365 days/],
    ["an impossible date", { ...entry, schedule: { type: "at", instant: Number.NaN } }, /valid Date/],
    ["arguments that the schema refuses", { ...entry, task: "shop.named", args: [1] }, /beat\["a"\]\.args/],
    ["keyword arguments that have no place", { ...entry, kwargs: { x: 1 } }, /do not|does not say where they belong/],
    ["an option that no call takes", { ...entry, options: { queu: "a" } }, /queue/],
  ])("%s", async (_, given, message) => refused(given).toThrow(message));

  test("a name that stands in beatSchedule", () => refused(entry, "declared").toThrow(/stands in beatSchedule/));
  test("and, beside SQS, an entry without a beat function to call", async () => {
    const aws = new Lovage("shop", { brokerUrl: "sqs://eu-west-1", resultBackend: "memory://" });
    aws.task("shop.add", () => 1);
    await expect(aws.beat.put("a", entry)).rejects.toThrow(/LOVAGE_BEAT_FUNCTION/);
  });
});

test("beatSchedule refuses arguments that the schema does, and names of entries put at run time", () => {
  const { app } = open("memory://declared");
  app.configFromObject({ beatSchedule: { a: { task: "shop.named", schedule: 1, args: [1] } } });
  expect(() => beatEntries(app)).toThrow(/beatSchedule\["a"\]\.args/);
  expect(() => app.configFromObject({ beatSchedule: { "put:a": { task: "shop.add", schedule: 1 } } })).toThrow(/put:/);
});

test("an unknown zone is refused with the nearest", () => {
  expect(() => new Lovage("shop", { timezone: "Europe/Berln" })).toThrow(/did you mean "Europe\/Berlin"/);
});
