/** Where nobody answers, or nothing can be printed any more. */
import { openSync } from "node:fs";
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { follow, module, place } from "./run.ts";
import { hasTerminal, onTerminal } from "./terminal.ts";

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");
const canAsk = hasTerminal("the questions of commands were not asked on a terminal");

test.skipIf(!canAsk).each([
  ["Ctrl-C", "\u0003", 130],
  ["Ctrl-D", "\u0004", 1],
  ["no", "no\r", 1],
])("to a question %s is an answer: nothing is done", async (_, keys, status) => {
  const { app, folder } = place();
  await app.sendTask("cli.add", [1, 2]);
  const child = onTerminal([process.execPath, launcher, "purge", "-A", module], {
    cwd: folder,
    env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl, RUNS: "/dev/null" },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const { says, exited } = follow(child);
  await says(/Are you sure\? \(yes\/NO\)/);
  child.stdin.write(keys);
  const { code, stdout } = await exited;
  expect(stdout).toMatch(/\nNothing was done\.\r\n$/);
  expect(stdout).not.toContain("Abort");
  expect(code).toBe(status);
  expect((await app.control.inspect().queues())[0]).toMatchObject({ ready: 1 });
});

test.skipIf(!canAsk).each([
  ["xterm", "\r\u001b[K"],
  ["dumb", ""],
])("on a terminal (%s) what is found stands on lines of its own", async (TERM, before) => {
  const { app, folder } = place();
  const [body, attributes] = ["{}", { id: "id-1", task: "cli.add", reason: "no room" }];
  await (await app.engine.broker()).send([{ queue: "celery-dlq", body, attributes }]);
  const child = onTerminal([process.execPath, launcher, "dlq", "redrive", "--dry-run", "-A", module], {
    cwd: folder,
    env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl, RUNS: "/dev/null", TERM },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const { code, stdout } = await follow(child).exited;
  expect(code).toBe(0);
  const lines = "Would send back cli.add[id-1] of celery: no room\r\nWould send back 1 dead letter.\r\n";
  expect(stdout.endsWith(before + lines)).toBe(true);
  expect(stdout.includes("\u001b")).toBe(before !== "");
});

test.skipIf(process.platform !== "linux")("on a full disk a list says so, and a worker works on", async () => {
  const { app, folder } = place();
  const full = openSync("/dev/full", "w");
  const start = (...args: readonly string[]) => {
    const child = spawn(process.execPath, [launcher, ...args, "-A", module], {
      cwd: folder,
      env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl, RUNS: "/dev/null" },
      stdio: ["ignore", full, "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    return follow(child);
  };
  const { code, stderr } = await start("queues").exited;
  expect(stderr).toMatch(/^lovage: Error: ENOSPC: .*\n$/);
  expect(code).toBe(1);

  const worker = start("worker");
  const results = [1, 2, 3].map((n) => app.sendTask("cli.add", [n, 1]));
  expect(await Promise.all(results.map(async (sent) => (await sent).get({ timeout: 60 })))).toEqual([2, 3, 4]);
  worker.process.kill("SIGTERM");
  expect(await worker.exited).toMatchObject({ code: 0, stderr: "" });
  await vi.waitUntil(async () => Object.keys(await app.control.inspect().ping()).length === 0);
});
