/** An incident from the command line alone: what fails is found, its queue paused, mended, run again and resumed. */
import { startWorker } from "lovage/worker";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { appLast } from "../../src/cli/options.ts";
import { asItWas, lovage, module, place } from "./run.ts";

beforeEach(asItWas);

test("an incident, from the first look to the counts at the end", async () => {
  const { app } = place();
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  vi.stubEnv("RUNS", "/dev/null");
  let isUp = false;
  const fetch = app.task("cli.fetch", (n: number) => {
    if (!isUp) throw new RangeError(`no route to host ${n}\u001b[31m\nnot shown`);
    return n;
  });
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.push((await fetch.delay(n)).id);
  const worker = await startWorker(app, { hostname: "one@here" });
  onTestFinished(() => worker.stop());
  const states = async () => Promise.all(ids.map((id) => app.result(id).state()));
  await vi.waitUntil(async () => (await states()).every((state) => state === "FAILURE"), { timeout: 60_000 });

  const [group] = JSON.parse(await lovage("failures", "--from", "1h", "--json"));
  expect(group).toMatchObject({ task: "cli.fetch", count: 3, error: { type: "RangeError" } });
  const shown = await lovage("failures");
  expect(shown).toContain("no route to host …");
  expect(shown).not.toContain("\u001b");
  expect(await lovage("tasks", "--state", "failure", "--task", "cli.*", "--limit", "2")).toMatch(
    /s ago.*FAILURE.*cli\.fetch/,
  );
  expect(JSON.parse(await lovage("tasks", "--text", "nobody", "--json"))).toEqual([]);
  expect(await lovage("tasks", "--state", "FAILED")).toMatch(
    /^Nothing .* No attempt ends as FAILED, .*: the states are .*FAILURE/,
  );
  expect(await lovage("workflow", ids[0] as string)).toMatch(/^FAILURE {2}cli\.fetch/);
  expect(await lovage("status")).toMatch(
    /1 worker online[\s\S]*one@here[\s\S]*celery[\s\S]*Last hour: 3 attempts ended, 3 failed/,
  );

  await lovage("control", "pause", "celery", "--by", "anna");
  expect(await lovage("inspect", "queues")).toContain("PAUSED by anna");
  expect(await lovage("queues")).toMatch(/^celery +0 +0 +0 +0 +PAUSED by anna, .* ago\)$/m);
  expect(JSON.parse(await lovage("queues", "--json"))[0]).toMatchObject({ queue: "celery", paused: { by: "anna" } });
  await lovage("control", "resume", "celery", "--by", "anna");
  expect(await lovage("queues")).not.toContain("PAUSED");
  isUp = true;
  expect(await lovage("retry", "--failed", "--error", "rangeerror", "--dry-run")).toContain(
    "Would run again: 3 tasks.",
  );
  await expect(lovage("retry", "--failed", "--task", "cli.fetch")).rejects.toThrow("--yes");
  await expect(lovage("retry")).rejects.toThrow("--failed");
  expect(await lovage("retry", ids[0] as string)).toContain("was sent again");
  expect(JSON.parse(await lovage("retry", "--failed", "--yes", "--json", "--by", "anna")).tasks).toHaveProperty([
    "cli.fetch",
  ]);
  await vi.waitUntil(async () => (await states()).every((state) => state === "SUCCESS"), { timeout: 60_000 });
  expect(await lovage("retry", ids[0] as string)).toContain("it has succeeded");
  expect(process.exitCode).toBe(1);
  expect(JSON.parse(await lovage("retry", ids[0] as string, "nobody", "--json"))).toEqual([
    { id: ids[0], sent: false, reason: expect.stringContaining("it has succeeded") },
    { id: "nobody", sent: false, reason: expect.stringContaining("nothing is stored of it") },
  ]);
  expect(Object.keys(JSON.parse(await lovage("inspect", "ping", "--json")))).toEqual(["one@here"]);

  expect(await lovage("control", "rate-limit", "cli.rated", "10/m")).toBe("cli.rated has the rate 10/m.");
  expect(await lovage("control", "rate-limit", "cli.rated", "none")).toBe("cli.rated has its declared rate again.");
  await expect(lovage("control", "rate-limit", "cli.rated", "often")).rejects.toThrow("rateLimit");
  await expect(lovage("control", "rate-limit", "cli.add", "1")).rejects.toThrow("declares no rateLimit");
});

test("what happens is followed as it happens, with the same filters, an object a line, until Ctrl-C", async () => {
  const { app, start, worker } = place();
  // The worker may be up before them.
  const tasks = start(["tasks", "-A", module, "--follow", "--json", "--state", "FAILURE", "--from", "1h"]);
  const events = start(["-A", module, "events", "--from", "1h"]);
  await worker(["-l", "INFO"]);
  const { id } = await app.sendTask("cli.fail");
  await (await app.sendTask("cli.add", [1, 2])).get({ timeout: 60 });
  const [line] = await tasks.says(/^\{.*"cli\.fail".*\}$/m);
  expect(JSON.parse(line)).toMatchObject({ id, state: "FAILURE", error: { type: "RangeError", message: "too far" } });
  await events.says(/s ago\) {2}SUCCESS {2}cli\.add/);
  await events.says(new RegExp(`FAILURE {2}cli\\.fail {2}${id} .*RangeError: too far`));
  // The same entry is told once, though each look goes back.
  await app.control.pause("media", { by: "anna" });
  await events.says(/pause {2}media {2}by anna/);
  expect(tasks.stdout().trim().split("\n")).toHaveLength(1);
  expect(events.stdout().match(/FAILURE/g)).toHaveLength(1);
  for (const one of [tasks, events]) one.process.kill("SIGINT");
  await Promise.all([tasks.exited, events.exited]);
});

test("what is followed ends by itself after so many entries, and when its time is over", async () => {
  const { app, start } = place();
  const now = Date.now();
  app.task("cli.none", () => null);
  const { id } = await app.sendTask("cli.none");
  for (const by of ["anna", "ben", "cleo"]) await app.control.pause("celery", { by });
  await app.control.revoke(id, { by: "dora" });
  const lines = async (...args: string[]) => {
    const { code, stdout, stderr } = await start([...args, "-A", module]).exited;
    expect([code, stderr]).toEqual([0, ""]);
    return stdout.split("\n").slice(0, -1);
  };
  expect(await lines("events", "--from", "1h", "--limit", "2")).toEqual([
    expect.stringContaining("by anna"),
    expect.stringContaining("by ben"),
  ]);
  expect(await lines("events", "--from", "1h", "--limit", "0")).toEqual([]);
  expect(await lines("tasks", "--follow", "--from", "2h", "--to", "1h")).toEqual([]);
  // Entries may be told late: it is looked for them a little longer.
  const to = new Date(now - 9_000).toISOString();
  await app.engine.note({ time: now - 9_500, kind: "control", action: "pause", by: "erik" });
  expect(await lines("events", "--from", "1h", "--to", to)).toEqual([expect.stringContaining("by erik")]);
});

test("a task that is named twice is counted once", async () => {
  const { app, start } = place();
  app.task("cli.fail", () => {
    throw new RangeError("too far");
  });
  const result = await app.sendTask("cli.fail");
  const worker = await startWorker(app);
  onTestFinished(() => worker.stop());
  await result.get({ propagate: false, timeout: 60 });
  await app.control.pause("celery");
  const said = async (...args: string[]) => (await start([...args, "-A", module]).exited).stdout;
  const { id } = result;
  expect(await said("retry", id, "--dry-run")).toBe(`${id} would be sent again.\n`);
  expect(await said("forget", id, "nobody", "--dry-run")).toBe("Would forget 1 task.\n");
  expect(await said("revoke", "a", "b", "a", "--dry-run")).toBe("Would revoke 2 tasks.\n");
  expect(await result.state()).toBe("FAILURE");
  const { code, stderr } = await start(["retry", id, "--task", "cli.other", "-A", module]).exited;
  expect(code).toBe(2);
  expect(stderr).toContain("--task");
  expect(await said("retry", result.id, result.id)).toBe(`${result.id} was sent again.\n`);
  expect(await said("revoke", "a", "b", "a")).toBe("Revoked 2 tasks.\n");
  expect(await said("forget", result.id, result.id)).toBe("Forgot 1 task.\n");
});

test("a task that has ended is not said to be revoked, nor one that nobody knows to be forgotten", async () => {
  const { app, start } = place();
  app.task("cli.add", (x: number, y: number) => x + y);
  const { id } = await app.sendTask("cli.add", [1, 2]);
  const worker = await startWorker(app);
  onTestFinished(() => worker.stop());
  await app.result(id).get({ timeout: 60 });
  const done = async (...args: string[]) => start([...args, "-A", module]).exited;
  expect(await done("revoke", id)).toEqual({
    code: 1,
    stdout: "",
    stderr: `lovage: task ${id}: it has ended already: SUCCESS\n`,
  });
  expect(await done("revoke", id, "later")).toMatchObject({ code: 1, stdout: "Revoked 1 task.\n" });
  expect(await done("forget", "nobody")).toEqual({
    code: 1,
    stdout: "",
    stderr: "lovage: task nobody: nothing is stored of it\n",
  });
});

test("with --watch it is looked again and again, and --follow refuses to sort", async () => {
  const { app, start } = place();
  const watching = start(["inspect", "queues", "-A", module, "--watch"]);
  await watching.says(/celery +0 +0 +0 +0/);
  await app.sendTask("cli.add", [1, 2]);
  await watching.says(/celery +1 +0 +0 +0 +\d+ s ago/);
  const lines = start(["status", "-A", module, "--watch", "--json"]);
  await lines.says(/\n.*\n/);
  // What stands behind the last end of a line is still being written.
  for (const line of lines.stdout().split("\n").slice(0, -1))
    expect(JSON.parse(line)).toMatchObject({ workers: [], queues: [{ queue: "celery", ready: 1 }, {}] });
  for (const one of [watching, lines]) one.process.kill("SIGINT");
  await Promise.all([watching.exited, lines.exited]);
  const { code, stderr } = await start(["tasks", "-A", module, "--follow", "--sort", "runtime"]).exited;
  expect(code).toBe(2);
  expect(stderr).toContain("--sort");
});

test.each([
  ["-A ./tasks.ts dlq list", "dlq list -A ./tasks.ts"],
  ["--app ./tasks.ts worker", "worker --app ./tasks.ts"],
  ["--app=./tasks.ts worker", "worker --app=./tasks.ts"],
  ["-A./tasks.ts worker", "worker -A./tasks.ts"],
  ["control -A ./tasks.ts pause media", "control pause media -A ./tasks.ts"],
  ["-A ./tasks.ts dev -- npm -A start", "dev -A ./tasks.ts -- npm -A start"],
  ["dev -- -A", "dev -- -A"],
  ["worker -A x", "worker -A x"],
  ["worker -l INFO -A x", "worker -l INFO -A x"],
  ["-A", "-A"],
  ["", ""],
])("the app may stand before the command, as Celery has it: %s", (given, wanted) => {
  const argv = (line: string) => ["node", "lovage", ...line.split(" ").filter(Boolean)];
  expect(appLast(argv(given))).toEqual(argv(wanted));
});
