import { Ignore, Lovage, type SignalName, Reject } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere } from "./stores.ts";

const NAMES: readonly SignalName[] = [
  "beforeTaskPublish",
  "afterTaskPublish",
  "taskReceived",
  "taskPrerun",
  "taskPostrun",
  "taskSuccess",
  "taskFailure",
  "taskRetry",
  "taskRevoked",
  "taskRejected",
];

function listen(app: Lovage) {
  const heard: (readonly [SignalName, unknown])[] = [];
  for (const name of NAMES) app.on(name, (facts) => void heard.push([name, facts]));
  return heard;
}
const names = (heard: readonly (readonly [SignalName, unknown])[]) => heard.map(([name]) => name);

describe.each(everywhere)("on %s", (_, start) => {
  test("a task is followed from its call to its end", async () => {
    const app = new Lovage("tasks");
    const add = app.task("tasks.add", (x: number, y: number) => x + y);
    const heard = listen(app);
    const t = start(app);
    const { id } = await add.delay(1, 2);
    await t.drain();
    expect(names(heard)).toEqual([
      "beforeTaskPublish",
      "afterTaskPublish",
      "taskReceived",
      "taskPrerun",
      "taskSuccess",
      "taskPostrun",
    ]);
    const task = { task: "tasks.add", taskId: id };
    expect(heard[0]?.[1]).toMatchObject({ queue: "celery", message: { id, task: "tasks.add", args: [1, 2] } });
    expect(heard[3]?.[1]).toMatchObject({ ...task, args: [1, 2], request: { id } });
    expect(heard[4]?.[1]).toMatchObject({ ...task, result: 3, runtime: 0 });
    expect(heard[5]?.[1]).toMatchObject({ ...task, state: "SUCCESS", result: 3 });
  });
});

test("each end has its signal", async () => {
  const app = new Lovage("tasks");
  const heard = listen(app);
  const ends: Record<string, () => unknown> = {
    "tasks.fail": () => {
      throw new RangeError("no");
    },
    "tasks.reject": () => {
      throw new Reject("no");
    },
    "tasks.ignore": () => {
      throw new Ignore();
    },
  };
  for (const [name, fn] of Object.entries(ends)) app.task(name, fn);
  app.task("tasks.retry", { bind: true }, (self) => self.retry({ countdown: 60, exc: new RangeError("later") }));
  const t = inMemory(app);
  const end = async (name: string) => {
    heard.length = 0;
    await app.sendTask(name);
    await t.drain();
    // Behind beforeTaskPublish, afterTaskPublish, taskReceived and taskPrerun.
    return heard.slice(4).filter(([name]) => !name.endsWith("Publish"));
  };
  expect(await end("tasks.fail")).toMatchObject([
    ["taskFailure", { error: new RangeError("no") }],
    ["taskPostrun", { state: "FAILURE" }],
  ]);
  expect(names(await end("tasks.reject"))).toEqual(["taskFailure", "taskPostrun", "taskRejected"]);
  expect(await end("tasks.ignore")).toMatchObject([["taskPostrun", { state: "IGNORED" }]]);
  expect(await end("tasks.retry")).toMatchObject([
    ["taskRetry", { reason: new RangeError("later"), eta: new Date(t.clock.now() + 60_000) }],
    ["taskPostrun", { state: "RETRY" }],
  ]);
  heard.length = 0;
  await app.sendTask("tasks.fail", [], { countdown: 10, expires: 5 });
  await t.advance({ seconds: 20 });
  expect(heard.slice(2)).toMatchObject([
    ["taskReceived", {}],
    ["taskRevoked", { reason: "expired" }],
    ["taskPostrun", { state: "REVOKED" }],
  ]);
});

test("headers that beforeTaskPublish adds travel with the message", async () => {
  const app = new Lovage("tasks");
  const trace = app.task("tasks.trace", { bind: true }, (self) => self.request.headers.traceparent);
  const stop = app.on("beforeTaskPublish", ({ headers }) => {
    headers.traceparent = "00-abc";
  });
  const t = inMemory(app);
  const first = await trace.delay();
  stop();
  const second = await trace.delay();
  await t.drain();
  expect([await first.get(), await second.get()]).toEqual(["00-abc", null]);
});

test("a handler that throws changes nothing", async () => {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const { error: report } = console;
  const reported: unknown[] = [];
  console.error = (...words: unknown[]) => void reported.push(words);
  try {
    app.on("taskPrerun", () => {
      throw new Error("a broken handler");
    });
    const t = inMemory(app);
    const result = await add.delay(1, 2);
    await t.drain();
    expect(await result.get()).toBe(3);
    expect(reported).toMatchObject([["a handler of taskPrerun threw:", { message: "a broken handler" }]]);
  } finally {
    console.error = report;
  }
});
