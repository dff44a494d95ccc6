import { chain, chord, currentTask, Lovage, TaskRevokedError } from "lovage";
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
    await task.applyAsync([], { taskId: "id", countdown: 10 });
    await t.drain();
    expect(await result.get()).toBe(1);
    await result.forget();
    expect([await result.state(), await app.result("id").state()]).toEqual(["PENDING", "PENDING"]);
    await t.advance({ seconds: 20 });
    expect(runs).toBe(1);
    expect(await app.result("id").state()).toBe("PENDING");
  });

  test.each([true, false])(
    "what is sent again after forget runs anew, and so does what follows from it; claim: %s",
    async (claim) => {
      const app = new Lovage("tasks");
      const told: unknown[] = [];
      const double = app.task("tasks.double", { claim }, (n: number) => 2 * n);
      const tell = app.task("tasks.tell", (value: unknown) => void told.push(value));
      const t = start(app);
      const send = (n: number) => double.applyAsync([n], { taskId: "id", link: tell.s() });
      const first = await send(1);
      await send(2);
      await t.drain();
      await first.forget();
      const again = await send(3);
      await send(4);
      await t.drain();
      expect(told).toEqual([2, 6]);
      expect(await again.get()).toBe(6);
    },
  );

  test("what is sent again while a forgotten task waits for its retry is that task, and shown again", async () => {
    const app = new Lovage("tasks");
    const task = app.task("tasks.task", { bind: true, maxRetries: 1 }, (self, n: number) =>
      self.request.retries === 0 ? self.retry({ countdown: 60 }) : n,
    );
    const t = start(app);
    const first = await task.applyAsync([1], { taskId: "id" });
    await t.drain();
    await first.forget();
    const again = await task.applyAsync([2], { taskId: "id" });
    await t.drain();
    expect(await again.state()).toBe("RETRY");
    await t.advance({ minutes: 2 });
    expect(await again.get()).toBe(1);
  });

  test("a workflow under ids of its caller's runs anew when it was forgotten, to its last step", async () => {
    const app = new Lovage("tasks");
    const add = app.task("tasks.add", (a: number, b: number) => a + b);
    const sum = app.task("tasks.sum", (all: number[]) => all.reduce((a, b) => a + b, 0));
    const twice = app.task("tasks.twice", { bind: true }, (self, n: number) => self.replace(add.s(n, n)));
    const t = start(app);
    const build = (n: number) =>
      chain(
        chord([add.s(n, 1).set({ taskId: "a" }), add.s(n, 2).set({ taskId: "b" })], sum.s().set({ taskId: "c" })),
        twice.s().set({ taskId: "d" }),
        add.s(1).set({ taskId: "e" }),
      );
    const first = await build(1).delay();
    await t.drain();
    expect(await first.get()).toBe(11);
    await first.forget();
    const again = await build(10).delay();
    await t.drain();
    expect(await again.get()).toBe(47);
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
