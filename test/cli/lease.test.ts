/** What a worker keeps in hand while its tasks run, and what becomes of what it had in hand when it dies. */
import { expect, test, vi } from "vitest";
import { isAlive, place } from "./run.ts";

const until = { timeout: 60_000, interval: 20 };
const timeout = 60;

test("a task that blocks the event loop for longer than its lease keeps it", async () => {
  const { worker, app, runs } = place();
  await worker();
  const result = await app.sendTask("cli.busy", [3.5]);
  await vi.waitUntil(() => runs().length === 1, until);
  // The lease is a second, and somebody is there to take the task over.
  await worker();
  expect(await result.get({ timeout })).toBe("was busy");
  expect(runs().map(([, word]) => word)).toEqual(["begin", "end"]);
});

test("a task that blocks the event loop beyond its limit has failed, and costs its process", async () => {
  const { worker, app, runs } = place();
  const { says } = await worker(["-c", "1"], { VISIBILITY: "0.5" });
  const result = await app.sendTask("cli.endless");
  await says(/Process 'pool' pid:\d+ exited with 'signal /);
  await expect(result.get({ timeout })).rejects.toThrow("the time limit of 0.2 s passed");
  await says(/was settled before/);
  expect(runs()).toHaveLength(1);
});

test("what it has started ends with it, and what ran beside it waits out no lease", async () => {
  const { worker, app, runs } = place();
  await worker(["-c", "2"], { VISIBILITY: "120" });
  const beside = await app.sendTask("cli.nap", [2]);
  await vi.waitUntil(() => runs().length === 1, until);
  const endless = await app.sendTask("cli.startsEndless");
  await expect(endless.get({ timeout })).rejects.toThrow("the time limit of 0.2 s passed");
  const started = Number(runs()[1]?.[2]);
  await vi.waitUntil(() => !isAlive(started), until);
  expect(await beside.get({ timeout })).toBe("slept");
});

test("hooks that take longer than the task's limit cost neither the process nor what runs beside it", async () => {
  const { worker, app, runs } = place();
  await worker(["-c", "2"]);
  const slow = await app.sendTask("cli.lateHook");
  const beside = await app.sendTask("cli.nap", [2.5]);
  expect(await slow.get({ timeout })).toBe("done");
  expect(await beside.get({ timeout })).toBe("slept");
  await vi.waitUntil(() => runs().some(([, word]) => word === "hooked"), until);
  expect(
    runs()
      .map(([, word]) => word)
      .sort(),
  ).toEqual(["begin", "end", "hooked"]);
});

test("a task that kills its worker three times fails, is kept as a dead letter, and takes no neighbour along", async () => {
  const { worker, app } = place();
  await worker(["-c", "4"]);
  const killer = await app.sendTask("cli.kill");
  const neighbours = await Promise.all(Array.from({ length: 6 }, () => app.sendTask("cli.nap", [0.3])));
  await expect(killer.get({ timeout })).rejects.toThrow(/3 workers died/);
  for (const neighbour of neighbours) expect(await neighbour.get({ timeout })).toBe("slept");
  await vi.waitUntil(async () => (await (await app.engine.broker()).size("celery-dlq")).ready === 1, until);
});
