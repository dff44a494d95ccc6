/** What a process of the command loads, and what it does where nobody reads what it prints. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { module, place } from "./run.ts";

const LAUNCHER = fileURLToPath(new URL("../../bin/lovage.js", import.meta.url));
const SOURCES = new URL("../../src/", import.meta.url).href;

/** Prints each module that is loaded. */
const NOTE = `data:text/javascript,${encodeURIComponent(`
import { registerHooks } from "node:module";
registerHooks({ load(url, context, next) { console.error(url); return next(url, context); } });
`)}`;

/** The product's own modules that `lovage <args>` loads. */
async function loadedBy(...args: string[]): Promise<readonly string[]> {
  const { stderr } = await promisify(execFile)(process.execPath, ["--import", NOTE, LAUNCHER, ...args]);
  return stderr.split("\n").flatMap((url) => (url.startsWith(SOURCES) ? [url.slice(SOURCES.length)] : []));
}

test("each command is there where it alone is asked for", async () => {
  const { commands } = await createProgram();
  expect(commands.length).toBeGreaterThan(20);
  for (const command of commands) {
    const own = await createProgram(command.name());
    expect(own.commands.map((one) => one.name())).toContain(command.name());
    expect(own.commands.length).toBeLessThan(commands.length);
  }
});

test("a name that is no command's gives all of them, so that a near one can be proposed", async () => {
  expect((await createProgram("wroker")).commands).toHaveLength((await createProgram()).commands.length);
});

test("the process that keeps a worker loads neither worker nor app, and no command the code of another", async () => {
  const worker = await loadedBy("worker", "--help");
  expect(worker).toContain("cli/supervise.ts");
  const of = (folder: string) => worker.filter((module) => module.startsWith(folder));
  expect(of("workers/").sort()).toEqual(["workers/lasting.ts", "workers/log.ts"]);
  expect(worker).not.toContain("app.ts");
  const call = await loadedBy("call", "--help");
  expect(call).toContain("cli/call.ts");
  expect(await loadedBy("--version")).not.toContain("cli/call.ts");
  expect(call.filter((module) => /^cli\/(supervise|worker|dlq|dev)\.ts|^beat\/tick/.test(module))).toEqual([]);
});

test("what changes something is done to the end, also where nobody reads what was done", async () => {
  const { app, start, worker } = place();
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.push((await app.sendTask("cli.fail", [])).id);
  const serving = await worker();
  for (const id of ids) await app.result(id).get({ propagate: false });
  serving.process.kill("SIGTERM");
  await serving.exited;
  const retry = start(["retry", "-A", module, ...ids]);
  retry.process.stdout?.destroy();
  expect(await retry.exited).toMatchObject({ code: 0, stderr: "" });
  // Each waits: it was asked for.
  for (const id of ids) await expect(app.control.retry(id)).rejects.toMatchObject({ reason: "asked" });
});

test("where nobody reads any more, a command that prints ends well, and a worker works on", async () => {
  const { app, start, worker } = place();
  const help = start(["--help"]);
  help.process.stdout?.destroy();
  expect(await help.exited).toMatchObject({ code: 0, stderr: "" });

  const serving = await worker();
  serving.process.stdout?.destroy();
  const events = start(["events", "-A", module]);
  events.process.stdout?.destroy();
  let ended: Awaited<typeof events.exited> | undefined;
  void events.exited.then((how) => {
    ended = how;
  });
  while (ended === undefined) await app.sendTask("cli.add", [1, 2]).then((result) => result.get());
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(serving.stderr()).toBe("");
});
