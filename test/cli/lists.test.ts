/** What an operator asks by the command line: each list, each filter, each action. */
import { chain } from "lovage";
import { startWorker } from "lovage/worker";
import { expect, onTestFinished, test, vi } from "vitest";
import { lovage, place } from "./run.ts";

test("every list is JSON where that is asked for, every filter filters, and what matches nothing is empty", async () => {
  const { app } = place();
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  vi.stubEnv("RUNS", "/dev/null");
  onTestFinished(() => void vi.unstubAllEnvs());
  const add = app.task("cli.add", (x: number, y: number) => x + y);
  app.task("cli.fail", () => {
    throw new RangeError("too far");
  });
  const sent = [];
  for (let n = 0; n < 60; n++) sent.push(await add.applyAsync([n, 1], { queue: "media" }));
  const chained = await chain(app.signature("cli.add", [1, 2]), app.signature("cli.add", [3])).delay();
  const failed = await app.sendTask("cli.fail");
  const worker = await startWorker(app, { hostname: "one@here", queues: ["celery", "media"] });
  onTestFinished(() => worker.stop());
  for (const one of [...sent, chained]) await one.get({ timeout: 60 });
  await vi.waitUntil(async () => (await failed.state()) === "FAILURE", { timeout: 60_000 });
  const json = async (...args: string[]) => JSON.parse(await lovage(...args, "--json"));
  const tasks = async (...args: string[]) => (await json("tasks", "--limit", "100", ...args)).length;

  // Of a million there is a first page.
  expect(await json("tasks")).toHaveLength(50);
  expect(await tasks()).toBe(63);
  expect(await tasks("--state", "failure")).toBe(1);
  expect(await tasks("--state", "FAILURE,SUCCESS")).toBe(63);
  expect(await tasks("--task", "cli.f*", "--task", "nobody")).toBe(1);
  expect(await tasks("-Q", "media")).toBe(60);
  expect(await tasks("--worker", "one@here")).toBe(63);
  expect(await tasks("--worker", "two@here")).toBe(0);
  expect(await tasks("--root", chained.parent?.id ?? "")).toBe(2);
  expect(await tasks("--text", "TOO FAR")).toBe(1);
  expect(await tasks("--text", failed.id)).toBe(1);
  expect(await tasks("--text", "[59, 1]")).toBe(1);
  expect(await tasks("--text", "%';\u001b[31m\u202e\0")).toBe(0);
  for (const since of ["90s", "5m", "5 min", "1h", "1d", "3600", new Date(Date.now() - 60_000).toISOString()])
    expect([since, await tasks("--from", since)]).toEqual([since, 63]);
  expect(await tasks("--to", "1h")).toBe(0);
  expect(await tasks("--from", "2h", "--to", "1h")).toBe(0);
  await expect(lovage("tasks", "--from", "1h", "--to", "2h")).rejects.toThrow(
    /must be before to; the range given is from \d{4}-\S+Z to \d{4}-/,
  );
  expect(await json("failures", "--task", "cli.add")).toEqual([]);
  expect(await lovage("failures", "--task", "cli.add")).toBe("No failures.");
  expect(await lovage("tasks", "--text", "nobody")).toBe("Nothing that matches is in the journal.");

  const status = await json("status");
  expect(status).toMatchObject({ workers: [{ name: "one@here" }], lastHour: { ended: 63, failed: 1 } });
  expect(status.queues).toContainEqual(expect.objectContaining({ queue: "media", ready: 0, deadLetters: 0 }));
  for (const one of ["active", "reserved", "stats", "ping", "registered"])
    expect([one, Object.keys(await json("inspect", one))]).toEqual([
      one,
      one === "registered" ? expect.arrayContaining(["cli.add"]) : ["one@here"],
    ]);
  expect(await json("inspect", "scheduled")).toEqual({ celery: 0, media: 0 });
  expect(await json("inspect", "conf")).toMatchObject({ journal: true });
  expect(await json("inspect", "waiting")).toEqual([]);
  expect(await json("inspect", "functions")).toEqual([]);
  expect((await json("workflow", chained.parent?.id ?? "")).tasks).toHaveLength(2);
  await expect(lovage("workflow", "nobody")).rejects.toThrow("nothing is known of nobody");
  await expect(lovage("workflow", "nobody", "--json")).rejects.toThrow("nothing is known of nobody");
  expect(await json("dlq", "list")).toEqual([]);
  expect(await json("beat", "list")).toEqual([]);

  const waiting = await add.applyAsync([1, 2], { countdown: 600 });
  expect(await lovage("revoke", waiting.id, "nobody", "--terminate", "--by", "anna")).toBe("Revoked 2 tasks.");
  expect(await waiting.state()).toBe("REVOKED");
  expect(await lovage("forget", failed.id)).toBe("Forgot 1 task.");
  expect(await app.result(failed.id).state()).toBe("PENDING");
  await expect(lovage("forget", "a", "b")).rejects.toThrow("--yes");
  expect(await lovage("control", "shutdown", "one@here")).toBe("one@here is told to stop.");
  await expect(lovage("control", "shutdown", "two@here")).rejects.toThrow(/there is no worker "two@here".*one@here/);
  await expect(lovage("control", "pause", "meda")).rejects.toThrow("media");
});
