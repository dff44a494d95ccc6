import { currentTask, Lovage, TaskRevokedError } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory, everywhere } from "./stores.ts";

/** Ends when the task is told to stop. */
const untilTold = () =>
  new Promise<void>((resolve) => currentTask()?.signal.addEventListener("abort", () => resolve(), { once: true }));

describe.each(everywhere)("on %s", (_, start) => {
  test("updateState shows a state of one's own, with its meta, while the task runs", async () => {
    const app = new Lovage("tasks");
    const upload = app.task("tasks.upload", { bind: true, timeLimit: 60 }, async (self) => {
      await self.updateState({ state: "PROGRESS", meta: { current: 50, total: 100 } });
      await untilTold();
      return "sent";
    });
    const t = start(app);
    const result = await upload.delay();
    await t.advance({ seconds: 1 });
    expect([await result.state(), await result.info(), await result.ready()]).toEqual([
      "PROGRESS",
      { current: 50, total: 100 },
      false,
    ]);
    await t.advance({ minutes: 1 });
    expect(await result.state()).toBe("FAILURE");
  });

  test("a task that runs is STARTED, and tells which worker has it", async () => {
    const app = new Lovage("tasks");
    const wait = app.task("tasks.wait", { softTimeLimit: 10 }, untilTold);
    const quiet = app.task("tasks.quiet", { softTimeLimit: 10, trackStarted: false }, untilTold);
    const t = start(app, { concurrency: 2 });
    const [first, second] = [await wait.delay(), await quiet.delay()];
    await t.advance({ seconds: 1 });
    expect([await first.state(), await first.info()]).toEqual([
      "STARTED",
      { pid: expect.any(Number), hostname: "celery@test" },
    ]);
    expect(await second.state()).toBe("PENDING");
    await t.advance({ seconds: 10 });
    expect([await first.state(), await second.state()]).toEqual(["SUCCESS", "SUCCESS"]);
  });

  test("a task that is revoked before it starts does not run, and ends as REVOKED", async () => {
    const app = new Lovage("tasks");
    let ran = false;
    const task = app.task("tasks.task", () => {
      ran = true;
    });
    const t = start(app);
    const result = await task.delay();
    await result.revoke();
    expect(await result.state()).toBe("REVOKED");
    await t.drain();
    expect(ran).toBe(false);
    await expect(result.get()).rejects.toThrow(new TaskRevokedError("revoked"));
  });

  test("a task that runs is let finish when it is revoked", async () => {
    const app = new Lovage("tasks");
    const task = app.task("tasks.task", { softTimeLimit: 40 }, async () => {
      await untilTold();
      return "finished";
    });
    const t = start(app);
    const result = await task.delay();
    await t.advance({ seconds: 1 });
    await result.revoke();
    await t.advance({ seconds: 30 });
    expect(await result.state()).toBe("STARTED");
    await t.advance({ seconds: 10 });
    expect(await result.get()).toBe("finished");
  });

  test("with terminate, the signal of a task that runs aborts, and it ends as REVOKED", async () => {
    const app = new Lovage("tasks");
    let reason: unknown;
    const task = app.task("tasks.task", async () => {
      await untilTold();
      reason = currentTask()?.signal.reason;
      throw reason;
    });
    const t = start(app);
    const result = await task.delay();
    await t.advance({ seconds: 1 });
    await result.revoke({ terminate: true });
    await t.advance({ seconds: 30 });
    expect(reason).toEqual(new TaskRevokedError("terminated"));
    await expect(result.get()).rejects.toThrow(new TaskRevokedError("terminated"));
  });

  test("a retry that was revoked while it waited does not run", async () => {
    const app = new Lovage("tasks");
    let runs = 0;
    const task = app.task("tasks.task", { bind: true }, (self) => {
      runs++;
      self.retry({ countdown: 60 });
    });
    const t = start(app);
    const result = await task.delay();
    await t.drain();
    await result.revoke();
    await t.advance({ hours: 1 });
    expect([runs, await result.state()]).toEqual([1, "REVOKED"]);
  });

  test("a task that has ended is not changed by being revoked", async () => {
    const app = new Lovage("tasks");
    const task = app.task("tasks.task", () => "done");
    const t = start(app);
    const result = await task.delay();
    await t.drain();
    await app.result(result.id).revoke({ terminate: true });
    expect(await app.result(result.id).state()).toBe("SUCCESS");
  });

  test("forget makes readers see nothing; a copy of the message still does not run", async () => {
    const app = new Lovage("tasks");
    let runs = 0;
    const task = app.task("tasks.task", () => ++runs);
    const t = start(app);
    const result = await task.applyAsync([], { taskId: "id" });
    await t.drain();
    expect(await result.get()).toBe(1);
    await result.forget();
    expect([await result.state(), await app.result("id").state()]).toEqual(["PENDING", "PENDING"]);
    await task.applyAsync([], { taskId: "id" });
    await t.drain();
    expect(runs).toBe(1);
  });
});

test("trackStarted can be turned off for the app", async () => {
  const app = new Lovage("tasks", { taskTrackStarted: false });
  const wait = app.task("tasks.wait", { softTimeLimit: 10 }, untilTold);
  const t = inMemory(app);
  const result = await wait.delay();
  await t.advance({ seconds: 1 });
  expect(await result.state()).toBe("PENDING");
  await t.advance({ seconds: 10 });
});
