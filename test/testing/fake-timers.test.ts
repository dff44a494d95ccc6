/** What a user's test does to time, with its runner's fake timers, stops neither an app under test nor one that only sends. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lovage } from "lovage";
import { testApp } from "lovage/testing";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";

afterEach(() => void vi.useRealTimers());

/** Jest fakes the microtask queue too where nothing else is said. */
const ALL = [
  ...(["setTimeout", "clearTimeout", "setInterval", "clearInterval", "setImmediate", "clearImmediate"] as const),
  ...(["Date", "performance", "queueMicrotask"] as const),
];

const fakes: readonly (readonly [what: string, fake: () => void])[] = [
  ["the runner's fake timers", () => void vi.useFakeTimers()],
  ["all of them faked, microtasks too", () => void vi.useFakeTimers({ toFake: [...ALL] })],
  ["a date that stands still, long ago", () => void vi.useFakeTimers({ now: 0, toFake: ["Date"] })],
];

const urls: readonly (readonly [store: string, url: () => string])[] = [
  ["memory", () => `memory://faked-${crypto.randomUUID()}`],
  [
    "SQLite",
    () => {
      const folder = mkdtempSync(join(tmpdir(), "lovage-faked-"));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      return `sqlite:///${join(folder, "lovage.db")}`;
    },
  ],
];

describe.each(fakes)("with %s", (_, fake) => {
  test.each(urls)("an app under test on %s runs, retries and waits by its own clock", async (__, url) => {
    const app = new Lovage("faked");
    const add = app.task("add", (a: number, b: number) => a + b);
    const flaky = app.task("flaky", { bind: true, maxRetries: 2 }, (self) =>
      self.request.retries < 2 ? self.retry({ countdown: 60 }) : "done",
    );
    const stuck = app.task("stuck", { timeLimit: 5 }, () => new Promise<never>(() => {}));
    const brokerUrl = url();
    await using t = testApp(app, { config: { brokerUrl, resultBackend: brokerUrl } });
    fake();
    const sum = await add.delay(1, 2);
    expect(await t.drain()).toHaveLength(1);
    expect(await sum.get()).toBe(3);
    const late = await add.applyAsync([2, 3], { countdown: 3600 });
    const [retried, limited] = [await flaky.delay(), await stuck.delay()];
    await t.advance({ minutes: 10 });
    expect([await late.state(), await retried.get(), await limited.state()]).toEqual(["PENDING", "done", "FAILURE"]);
    await t.advance({ hours: 1 });
    expect(await late.get()).toBe(5);
  });

  test.each(urls)("calls are sent and results read on %s", async (__, url) => {
    const brokerUrl = url();
    await using app = new Lovage("faked", { brokerUrl, resultBackend: brokerUrl });
    const add = app.task("add", (a: number, b: number) => a + b);
    fake();
    const [one, other] = await Promise.all([add.delay(1, 2), add.delay(3, 4)]);
    expect([await one.state(), await other.ready()]).toEqual(["PENDING", false]);
    expect(await (await app.engine.broker()).size("celery")).toMatchObject({ ready: 2 });
  });

  test("a task that is called in place runs", async () => {
    const app = new Lovage("faked", { taskAlwaysEager: true });
    const add = app.task("add", { timeLimit: 10 }, (a: number, b: number) => a + b);
    fake();
    expect(await (await add.delay(1, 2)).get()).toBe(3);
  });
});
