/** Delays as they are on SQS: at most 900 seconds each, and far-off texts kept by a service beside it. */
import { chain, chord, group, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import type { Broker, Due, Outgoing } from "../../src/brokers/broker.ts";
import { envelope } from "./envelopes.ts";
import { inMemory } from "./stores.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LEAD = 60_000;

/** SQS's limit of a delay, and a scheduler that keeps what is due in an hour or later: it fires up to a minute after its time, which is a minute early. */
function asOnSqs(now: () => number) {
  const sent: Outgoing[] = [];
  const kept: Due[] = [];
  let isDown = false;
  let losesReplies = false;
  const wrap = (broker: Broker): Broker => ({
    ...broker,
    limits: { ...broker.limits, maxDelaySeconds: 900 },
    async send(entries) {
      const passed = entries.flatMap((entry): Outgoing[] => {
        expect(entry.delaySeconds ?? 0).toBeLessThanOrEqual(900);
        const { due } = entry;
        if (due === undefined || due.at - now() < HOUR || isDown) {
          sent.push(entry);
          return [entry];
        }
        if (kept.some(({ id, at }) => id === due.id && at === due.at)) return [];
        kept.push(due);
        const late = (kept.length * 17_000) % 60_000;
        const fired = { ...entry, delaySeconds: (due.at - LEAD + late - now()) / 1000 };
        // Whoever does not know that the entry was made sends the text by hops.
        return losesReplies ? [fired, entry] : [fired];
      });
      await broker.send(passed);
      return entries.map(() => undefined);
    },
  });
  return { sent, kept, wrap, setDown: (down: boolean) => (isDown = down), loseReplies: () => (losesReplies = true) };
}

function makeApp() {
  const app = new Lovage("tasks");
  const at: number[] = [];
  let now = () => 0;
  const note = app.task("tasks.note", (n: number) => {
    at.push(now());
    return n;
  });
  const total = app.task("tasks.total", (numbers: readonly number[]) => numbers.reduce((sum, n) => sum + n, 0));
  const start = () => {
    const sqs = asOnSqs(() => t.clock.now());
    const t = inMemory(app, { broker: sqs.wrap });
    now = t.clock.now;
    return { t, began: t.clock.now(), ...sqs };
  };
  return { app, note, total, at, start };
}

describe("a delay beyond SQS's own", () => {
  test.each([
    ["a little more than SQS's", 901_000, 0, 2],
    ["under an hour", HOUR - 1, 0, 4],
    ["an hour", HOUR, 1, 1],
    ["a day and a bit", DAY + 345_678, 1, 1],
    ["a year", 365 * DAY, 1, 1],
    ["ten years", 3652 * DAY, 1, 1],
  ])("of %s ends to the millisecond, with as few texts as can be", async (_, delay, entries, sends) => {
    const { note, at, start } = makeApp();
    const { t, began, kept, sent } = start();
    await note.applyAsync([1], { countdown: delay / 1000 });
    expect(await t.advance(delay - 1)).toEqual([]);
    expect(await t.advance(1)).toMatchObject([{ state: "SUCCESS", args: [1] }]);
    expect(at).toEqual([began + delay]);
    expect([kept.length, sent.length]).toEqual([entries, sends]);
    expect(await t.advance(DAY)).toEqual([]);
  });

  test("hops where the scheduler is away, and is kept as soon as it is back", async () => {
    const { note, at, start } = makeApp();
    const { t, began, kept, sent, setDown } = start();
    setDown(true);
    await note.applyAsync([1], { countdown: 86_400 });
    await t.advance(2 * HOUR - 1);
    expect([kept.length, sent.length]).toEqual([0, 8]);
    setDown(false);
    await t.advance(DAY - 2 * HOUR + 1);
    expect([kept.length, sent.length]).toEqual([1, 9]);
    expect(at).toEqual([began + DAY]);
  });

  test("that is kept and hops too, as nobody was told that it is kept, ends in one run", async () => {
    const { note, at, start } = makeApp();
    const { t, began, kept, loseReplies } = start();
    loseReplies();
    await note.applyAsync([1], { countdown: 86_400 });
    await t.advance(HOUR);
    expect(kept).toHaveLength(1);
    expect((await (await note.app.engine.broker()).size("celery")).delayed).toBe(1);
    await t.advance(DAY);
    expect(at).toEqual([began + DAY]);
  });

  test("of a Python producer, who knows no delay of SQS's, is given on with the body as it came", async () => {
    const { at, start } = makeApp();
    const { t, began, kept, sent } = start();
    const eta = new Date(began + 40 * DAY).toISOString();
    await t.put(envelope({ task: "tasks.note", id: "late", args: [1], headers: { eta } }));
    await t.drain();
    expect(kept).toEqual([{ id: "late\n0", at: began + 40 * DAY }]);
    await t.advance(40 * DAY);
    expect(at).toEqual([began + 40 * DAY]);
    expect(new Set(sent.map(({ body }) => body)).size).toBe(1);
  });

  test("of a retry is another entry than that of the attempt before it", async () => {
    const { app, start } = makeApp();
    const again = app.task("tasks.again", { bind: true }, (self) => {
      if (self.request.retries === 0) self.retry({ countdown: 7200 });
      return self.request.retries;
    });
    const { t, began, kept } = start();
    await again.applyAsync([], { taskId: "a", countdown: 7200 });
    expect(await t.advance(4 * HOUR)).toMatchObject([{ state: "RETRY" }, { state: "SUCCESS", result: 1 }]);
    expect(kept).toEqual([
      { id: "a\n0", at: began + 2 * HOUR },
      { id: "a\n1", at: began + 4 * HOUR },
    ]);
  });

  test("of a retry is asked for once, though the message that asks comes twice", async () => {
    const { app, start } = makeApp();
    let runs = 0;
    app.task("tasks.again", { bind: true }, (self) => {
      runs++;
      if (self.request.retries === 0) self.retry({ countdown: 7200 });
    });
    const { t, kept } = start();
    const body = envelope({ task: "tasks.again", id: "a", args: [] });
    for (const _ of [1, 2]) await t.put(body);
    await t.drain();
    expect(kept).toHaveLength(1);
    await t.advance(3 * HOUR);
    expect(runs).toBe(2);
  });

  test("of workflows' steps is kept too", async () => {
    const { note, total, at, start } = makeApp();
    const { t, began, kept } = start();
    await chain(note.s(1), note.s().set({ countdown: 7200 })).delay();
    await chord(group(note.s(2), note.s(3).set({ countdown: 10_800 })), total.s().set({ countdown: 7200 })).delay();
    await t.advance(4 * HOUR);
    expect(at).toEqual([began, began, began + 2 * HOUR, began + 3 * HOUR]);
    expect(kept).toHaveLength(3);
    expect(await t.advance(HOUR)).toMatchObject([{ task: "tasks.total", result: 5 }]);
  });
});

test("a task that is revoked while it is kept comes, is refused, and its chord does not wait for it", async () => {
  const { note, total, at, start } = makeApp();
  const { t, began, kept } = start();
  const late = note.s(2).set({ countdown: 43_200, taskId: "late" });
  const result = await chord([note.s(1), late], total.s()).delay();
  await t.advance(HOUR);
  await note.app.result("late").revoke();
  expect(kept).toHaveLength(1);
  expect(await result.ready()).toBe(false);
  await t.advance(DAY / 2);
  expect(at).toEqual([began]);
  expect(await note.app.result("late").state()).toBe("REVOKED");
  await expect(result.get()).rejects.toThrow(/revoked/i);
});
