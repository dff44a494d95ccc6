/** A task that takes longer than a run may: it stores where it is, and goes on as the same attempt. */
import { randomBytes } from "node:crypto";
import { chain, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { testFunction } from "../lambda/function.ts";
import { everywhere, stores } from "./stores.ts";

interface Progress {
  readonly at: number;
  readonly frames: readonly string[];
}

describe.each(everywhere)("on %s", (_, start) => {
  test("it goes on from where it was, as often as needed, and no retry is used up", async () => {
    const app = new Lovage("video");
    const seen: unknown[] = [];
    const encode = app.task("video.encode", { bind: true, maxRetries: 0 }, (self, length: number): number => {
      const { at } = (self.request.checkpoint as Progress | undefined) ?? { at: 0 };
      seen.push([at, self.request.retries, self.request.id]);
      if (at < length) self.checkpoint({ at: at + 1 });
      return at;
    });
    const double = app.task("video.double", (n: number) => n * 2);
    const t = start(app);
    const result = await encode.delay(5);
    const chained = await chain(encode.s(3), double.s()).delay();
    await t.drain();
    await t.advance({ hours: 1 });
    expect(await result.get()).toBe(5);
    expect(await chained.get()).toBe(6);
    const own = seen.filter((entry) => (entry as unknown[])[2] === result.id);
    expect(own).toEqual([0, 1, 2, 3, 4, 5].map((at) => [at, 0, result.id]));
  });
});

describe.each(stores)("on %s", (_, start) => {
  test("a retry goes on from the last checkpoint, and counts as one", async () => {
    const app = new Lovage("video");
    let broken = true;
    const seen: unknown[] = [];
    const encode = app.task("video.encode", { bind: true, maxRetries: 3 }, (self) => {
      seen.push([self.request.checkpoint, self.request.retries]);
      if (self.request.checkpoint === undefined) self.checkpoint("half");
      if (broken) {
        broken = false;
        self.retry({ countdown: 0 });
      }
      if (self.request.checkpoint === "half") self.checkpoint("three quarters");
      return "whole";
    });
    const t = start(app);
    const result = await encode.delay();
    await t.drain();
    expect(await result.get()).toBe("whole");
    expect(seen).toEqual([
      [undefined, 0],
      ["half", 0],
      ["half", 1],
      ["three quarters", 1],
    ]);
  });

  test("what readers see is the state that the task stored last, and the journal has each run", async () => {
    const app = new Lovage("video");
    const encode = app.task("video.encode", { bind: true }, async (self) => {
      if (self.request.checkpoint !== undefined) return "whole";
      await self.updateState({ state: "ENCODING", meta: { percent: 50 } });
      return self.checkpoint({ dates: [new Date(0)], bytes: new Uint8Array([1, 2]) });
    });
    const t = start(app);
    const result = await encode.delay();
    await t.drain();
    expect(await result.get()).toBe("whole");
    const states: unknown[] = [];
    for await (const { state } of app.journal.find({ id: result.id })) states.push(state);
    expect(states.sort()).toEqual(["CHECKPOINT", "SUCCESS"]);
  });

  test("a revoked task does not go on", async () => {
    const app = new Lovage("video");
    let runs = 0;
    const encode = app.task("video.encode", { bind: true }, (self): string => {
      runs++;
      return self.checkpoint(runs);
    });
    const t = start(app, { config: { taskAlwaysEager: false } });
    const result = await encode.delay();
    app.on("taskPrerun", () => {
      if (runs === 2) return result.revoke();
      return undefined;
    });
    await t.drain();
    expect(await result.state()).toBe("REVOKED");
    expect(runs).toBeLessThan(5);
  });

  test("a large state is kept where large texts are, and what cannot be written fails the task", async () => {
    const app = new Lovage("video");
    const noise = randomBytes(1_500_000).toString("base64");
    const large = app.task("video.large", { bind: true }, (self): number => {
      const { checkpoint } = self.request;
      return typeof checkpoint === "string" ? checkpoint.length : self.checkpoint(noise);
    });
    const bad = app.task("video.bad", { bind: true }, (self): number => self.checkpoint(() => 1));
    const t = start(app, { config: { payloadStore: "memory://checkpoints" } });
    const [fits, not] = [await large.delay(), await bad.delay()];
    await t.drain();
    expect(await fits.get()).toBe(noise.length);
    await expect(not.get()).rejects.toMatchObject({ name: "EncodeError" });
  });
});

test("in its caller it goes on at once", async () => {
  const app = new Lovage("video", { brokerUrl: "memory://", resultBackend: "memory://" });
  const count = app.task("video.count", { bind: true }, (self): number => {
    const at = Number(self.request.checkpoint ?? 0);
    return at < 3 ? self.checkpoint(at + 1) : at;
  });
  expect(await (await count.apply([])).get()).toBe(3);
  await app.close();
});

test("a video of 40 minutes is encoded by functions that have five", async () => {
  const app = new Lovage("video", { taskTimeLimit: 290 });
  const runs: number[] = [];
  const encode = app.task("video.encode", { bind: true }, async (self, minutes: number) => {
    let at = Number(self.request.checkpoint ?? 0);
    runs.push(at);
    for (; at < minutes; at++) {
      if (self.remaining() < 90) self.checkpoint(at);
      await app.engine.clock.sleep(60_000);
    }
    return at;
  });
  const f = testFunction(app, { config: { brokerUrl: "memory://video", resultBackend: "memory://video" } });
  const result = await encode.delay(40);
  for (let invocations = 0; invocations < 20 && !(await result.ready()); invocations++) {
    const deliveries = await f.receive();
    let over = false;
    const invoking = f.invoke(deliveries, 300_000).then(() => {
      over = true;
    });
    while (!over) {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      const next = f.clock.next();
      if (!over && next !== undefined) f.clock.moveTo(Math.min(next, f.clock.now() + 60_000));
    }
    await invoking;
  }
  expect(await result.get()).toBe(40);
  expect(runs.length).toBeGreaterThan(9);
  expect(runs.length).toBeLessThan(20);
  expect(runs).toEqual([...runs].sort((a, b) => a - b));
  expect(f.metrics.length).toBeGreaterThan(0);
});

test("without a limit nothing ends a run", async () => {
  const app = new Lovage("video", { brokerUrl: "memory://free", resultBackend: "memory://free" });
  const ask = app.task("video.ask", { bind: true }, (self) => String(self.remaining()));
  expect(await (await ask.apply([])).get()).toBe("Infinity");
  await app.close();
});
