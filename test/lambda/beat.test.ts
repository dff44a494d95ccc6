import { crontab, Lovage } from "lovage";
import { createBeatHandler } from "lovage/lambda";
import { type TestOptions, testApp } from "lovage/testing";
import { expect, onTestFinished, test } from "vitest";
import { scheduleEntry } from "../../src/beat/schedule.ts";
import { stringifyEntry } from "../../src/beat/store.ts";
import { OperationalError } from "../../src/errors.ts";

function testBeat(app: Lovage, now: string, options: TestOptions = {}) {
  const t = testApp(app, { ...options, now: new Date(now) });
  onTestFinished(() => t.close());
  const lines: Record<string, unknown>[] = [];
  const handler = createBeatHandler(app, { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) });
  return {
    ...t,
    lines,
    fire: (entry: string, time: string) => handler({ entry, time }, { awsRequestId: "request-1" }),
  };
}

const every30 = () => {
  const app = new Lovage("shop", { beatSchedule: { often: { task: "shop.tick", schedule: 30, args: [4, 3] } } });
  const headers: unknown[] = [];
  app.task("shop.tick", { bind: true }, (self, x: number, y: number) => {
    headers.push(self.request.headers["celery_beat_task"]);
    return x * y;
  });
  return { app, headers };
};

test("an event sends the slots of its minute, each at its second", async () => {
  const { app, headers } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z");
  await t.fire("often", "2026-03-01T10:00:00Z");
  expect(await t.drain()).toMatchObject([{ task: "shop.tick", args: [4, 3], state: "SUCCESS", result: 12 }]);
  expect(await t.advance({ seconds: 17 })).toEqual([]);
  expect(await t.advance({ seconds: 1 })).toHaveLength(1);
  expect(headers).toEqual([true, true]);
});

test("an event that comes twice runs nothing twice", async () => {
  const { app } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z");
  await t.fire("often", "2026-03-01T10:00:00Z");
  await t.fire("often", "2026-03-01T10:00:00Z");
  expect(await t.advance({ minutes: 1 })).toHaveLength(2);
});

test("an event whose minute has no slot sends nothing", async () => {
  const app = new Lovage("shop", {
    timezone: "Europe/Berlin",
    beatSchedule: { morning: { task: "shop.tick", schedule: crontab({ hour: 9, minute: 10 }) } },
  });
  app.task("shop.tick", () => 1);
  // The rule fires for both offsets of the zone; in winter, 9:10 in Berlin is 8:10 UTC.
  const t = testBeat(app, "2026-01-15T07:10:05Z");
  await t.fire("morning", "2026-01-15T07:10:00Z");
  expect(await t.drain()).toEqual([]);
  t.clock.moveTo(Date.parse("2026-01-15T08:10:05Z"));
  await t.fire("morning", "2026-01-15T08:10:00Z");
  expect(await t.drain()).toHaveLength(1);
});

test.each([
  ["the setting", { taskDefaultQueue: "orders.fifo" }, {}],
  ["its task's declaration", {}, { queue: "orders.fifo" }],
])("a FIFO queue of %s is sent its slot at once, also where the event came early", async (_, config, options) => {
  const app = new Lovage("shop", {
    taskQueues: ["celery", "orders.fifo"],
    beatSchedule: { minutely: { task: "shop.tick", schedule: 60 } },
    ...config,
  });
  app.task("shop.tick", options, () => 1);
  const t = testBeat(app, "2026-03-01T09:59:50Z");
  await t.fire("minutely", "2026-03-01T10:00:00Z");
  expect(await t.drain()).toHaveLength(1);
});

test("an entry that is gone is logged and is no failure", async () => {
  const { app } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z");
  await t.fire("gone", "2026-03-01T10:00:00Z");
  expect(t.lines).toMatchObject([
    { level: "WARN", requestId: "request-1", message: expect.stringContaining('"gone"') },
  ]);
});

test("a slot that could not be sent fails the invocation, so that Lambda brings the event again", async () => {
  const { app } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z", {
    config: { taskPublishRetry: false },
    broker: (broker) => ({
      ...broker,
      send: async (entries) => entries.map(() => new OperationalError("denied", { retryable: false })),
    }),
  });
  await expect(t.fire("often", "2026-03-01T10:00:00Z")).rejects.toThrow("could not be sent");
});

test("a call to keep the function warm sends nothing, and says so", async () => {
  const { app } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z");
  const handler = createBeatHandler(app, { write: (line) => t.lines.push(JSON.parse(line)) });
  await handler(event({ source: "serverless-plugin-warmup" }), context);
  expect(t.lines).toMatchObject([{ level: "INFO", message: expect.stringContaining("kept warm") }]);
  expect(await t.drain()).toEqual([]);
});

const event = (given: object) => given as Parameters<ReturnType<typeof createBeatHandler>>[0];
const context = { awsRequestId: "request-1" };

test("an event that is of no rule of the app is refused", async () => {
  const handler = createBeatHandler(every30().app, { write: () => {} });
  for (const given of [{}, { entry: "often" }, { entry: "often", time: "today" }, { time: "2026-03-01T10:00:00Z" }]) {
    await expect(handler(event(given), context)).rejects.toThrow(/is of no rule of the app/);
  }
});

test("it is called with an event alone as well", async () => {
  const { app } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z");
  const handler = createBeatHandler(app, { write: (line) => t.lines.push(JSON.parse(line)) });
  await handler({ entry: "often", time: "2026-03-01T10:00:00Z" });
  expect(await t.drain()).toHaveLength(1);
});

test("an event of an entry put at run time sends it, from the minute after it was put, in the zone it was put in", async () => {
  const { app } = every30();
  const t = testBeat(app, "2026-03-01T10:00:12Z");
  const handler = createBeatHandler(app, { write: () => {} });
  const put = (since: number) =>
    Buffer.from(
      stringifyEntry({
        ...scheduleEntry("a", { task: "shop.tick", schedule: crontab({ hour: 11, minute: 0 }), args: [5, 6] }, "a"),
        since,
        zone: "Europe/Berlin",
      }),
    ).toString("base64url");
  const time = "2026-03-01T10:00:00Z";
  await handler(event({ put: put(Date.parse(time)), time }), context);
  expect(await t.drain()).toEqual([]);
  await handler(event({ put: put(Date.parse(time) - 1), time }), context);
  expect(await t.drain()).toMatchObject([{ args: [5, 6], result: 30 }]);
});

test.each([
  ["skip", []],
  ["last", ["10:03"]],
  ["all", ["10:01", "10:02", "10:03"]],
] as const)("of events that an outage kept back, catchUp %s sends %j", async (catchUp, expected) => {
  const schedule = 60;
  const app = new Lovage("shop", { beatSchedule: { a: { task: "shop.tick", schedule, catchUp } } });
  app.task("shop.tick", () => 1);
  const t = testBeat(app, "2026-03-01T10:08:30Z");
  for (const minute of ["10:01", "10:02", "10:03"]) await t.fire("a", `2026-03-01T${minute}:00Z`);
  const minutes = t.lines.map(({ message }) => / for \d+-\d+-\d+T(\d+:\d+)/.exec(String(message))?.[1]);
  expect(minutes.filter((minute) => minute !== undefined)).toEqual(expected);
  // What is not sent is said, slot by slot.
  const missed = t.lines.filter(({ level }) => level === "WARN").map(({ message }) => String(message));
  expect(missed).toHaveLength(3 - expected.length);
  for (const line of missed)
    expect(line).toMatch(/^a: the slot of .* came \d+ s late and is not sent \(catchUp: "\w+"\)$/);
});

test("a slot of a unique task sends nothing while its twin is there, and says so; one of a debounced task has no time of its own", async () => {
  const app = new Lovage("shop", {
    beatSchedule: {
      sync: { task: "shop.sync", schedule: crontab(), args: ["anna"] },
      mail: { task: "shop.mail", schedule: 30, args: ["anna"] },
    },
  });
  const key = (id: string) => id;
  app.task("shop.sync", { unique: { key, for: "running" } }, (id: string) => id);
  app.task("shop.mail", { debounce: { key, wait: 50 } }, (id: string) => id);
  const t = testBeat(app, "2026-03-01T10:00:02Z");
  await t.fire("sync", "2026-03-01T10:00:00Z");
  t.clock.moveTo(Date.parse("2026-03-01T10:01:02Z"));
  await t.fire("sync", "2026-03-01T10:01:00Z");
  const [first, second] = t.lines as [Record<string, unknown>, Record<string, unknown>];
  expect(second["id"]).toBe(first["id"]);
  expect(second["message"]).toMatch(/nothing was sent for 2026-03-01T10:01:00.000Z/);
  expect(await t.drain()).toHaveLength(1);
  await t.fire("mail", "2026-03-01T10:01:00Z");
  expect(await t.advance({ minutes: 1 })).toMatchObject([{ task: "shop.mail", state: "SUCCESS" }]);
});
