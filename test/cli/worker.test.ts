import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { nodeName, showUrl } from "../../src/cli/serve-worker.ts";
import { isAlive, place } from "./run.ts";

const timeout = 60;
const until = { timeout: timeout * 1000, interval: 20 };

test("a worker shows a banner, then lines in Celery's form", async () => {
  const { worker, app, folder } = place();
  const { stdout, process: main, exited } = await worker(["-n", "add", "-c", "3"]);
  const sum = await app.sendTask("cli.add", [1, 2]);
  const failed = await app.sendTask("cli.fail");
  expect(await sum.get({ timeout })).toBe(3);
  await expect(failed.get({ timeout })).rejects.toThrow("too far");
  main.kill("SIGTERM");
  expect(await exited).toMatchObject({ code: 0, stderr: "" });

  const lines = stdout().split("\n");
  expect(stdout()).toContain(` -------------- add@${hostname()} v`);
  expect(stdout()).toContain(`.> app:         cli (`);
  expect(stdout()).toContain(`.> broker:      sqlite:///${folder}/lovage.db (${folder}/lovage.db)`);
  expect(stdout()).toContain(".> concurrency: 3");
  expect(lines).toContain(`                .> celery  exchange=""(direct) key=celery`);
  expect(lines).toContain("                .> media   exchange=files(direct) key=media");
  expect(lines).toContain("  . cli.add");
  const stamp = "\\[\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d,\\d{3}: ";
  const said = (rest: string) => expect(stdout()).toMatch(new RegExp(`^${stamp}${rest}`, "m"));
  said(`INFO/MainProcess\\] add@${hostname()} ready\\.$`);
  said(`INFO/MainProcess\\] Received task: cli\\.add\\[${sum.id}\\]$`);
  said(`INFO/MainProcess\\] Task cli\\.add\\[${sum.id}\\] succeeded in \\d+\\.\\d{3}s: 3$`);
  said(`ERROR/MainProcess\\] Task cli\\.fail\\[${failed.id}\\] raised unexpected: RangeError: too far\n.*\n +at `);
  expect(lines).toContain("worker: Warm shutdown (MainProcess)");
});

test.each([
  ["of a worker", [], {}, ["--max-semi-space-size=16"]],
  ["of a process of its pool", ["--pool", "processes", "-c", "1"], {}, ["--max-semi-space-size=16"]],
  ["that NODE_OPTIONS gives a bound", [], { NODE_OPTIONS: "--max-semi-space-size=4" }, []],
] as const)("the young heap %s: it has one bound", async (_, args, env, expected) => {
  const { worker, app } = place();
  await worker(args, env);
  const flags = await (await app.sendTask("cli.node")).get({ timeout });
  expect((flags as string[]).filter((flag) => flag.includes("semi"))).toEqual(expected);
});

test("with --log-format json every line is one object, and so is what a task prints and what beat says", async () => {
  const { worker, app } = place();
  const { stdout, says, process: main, exited } = await worker(["--log-format", "json", "-B"]);
  await (await app.sendTask("cli.note", ["this"])).get({ timeout });
  await says(/tick: sent cli\.note/);
  main.kill("SIGTERM");
  expect((await exited).code).toBe(0);

  const lines = stdout().trimEnd().split("\n");
  const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(entries[0]).toMatchObject({ level: "INFO", app: "cli", tasks: expect.arrayContaining(["cli.add"]) });
  for (const entry of entries) {
    expect(entry).toEqual(expect.objectContaining({ level: expect.any(String), message: expect.any(String) }));
    expect(new Date(entry["timestamp"] as string).toISOString()).toBe(entry["timestamp"]);
  }
  expect(entries).toContainEqual(expect.objectContaining({ message: "printed this", level: "WARN" }));
  expect(entries).toContainEqual(expect.objectContaining({ process: "Beat", message: "beat: Stopped." }));
  expect(entries).toContainEqual(expect.objectContaining({ message: "worker: Warm shutdown (MainProcess)" }));
  expect(entries).toContainEqual(
    expect.objectContaining({ task: "cli.note", state: "SUCCESS", queue: "celery", attempt: 1 }),
  );
});

test("-l warning leaves out the lines of tasks that succeed", async () => {
  const { start, app } = place();
  const running = start(["worker", "-A", new URL("child.ts", import.meta.url).pathname, "-l", "warning"]);
  await (await app.sendTask("cli.add", [1, 2])).get({ timeout });
  await expect((await app.sendTask("cli.fail")).get({ timeout })).rejects.toThrow();
  await running.says(/raised unexpected/);
  expect(running.stdout()).not.toContain("INFO");
});

test("a worker serves the queues of -Q alone, and two workers share one without running a task twice", async () => {
  const { worker, app, runs } = place();
  const words = Array.from({ length: 40 }, (_, index) => String(index));
  const one = await worker(["-Q", "celery", "-c", "1"]);
  await worker(["-Q", "celery", "-c", "1"]);
  const waits = await app.sendTask("cli.media", ["a"], { queue: "media" });
  const results = await Promise.all(words.map((word) => app.sendTask("cli.note", [word])));
  await Promise.all(results.map((result) => result.get({ timeout })));
  const noted = runs();
  expect(noted.map(([, , word]) => word).sort()).toEqual([...words].sort());
  expect(new Set(noted.map(([pid]) => pid)).size).toBe(2);
  expect(await waits.ready()).toBe(false);
  expect(one.stdout()).not.toContain(".> media");

  await worker(["-Q", "media"]);
  await waits.get({ timeout });
});

test.each([
  ["which it has taken ahead", "results.db", 2],
  ["which it has not taken, as broker and backend are one file", undefined, 1],
] as const)("a warm shutdown finishes what runs, and others can have the rest, %s", async (_, results, inFlight) => {
  const { worker, app, runs } = place(results === undefined ? {} : { results });
  const first = await worker(["-c", "1"], { VISIBILITY: "60" });
  const running = await app.sendTask("cli.nap", [1]);
  await vi.waitUntil(() => runs().length === 1, until);
  const behind = await app.sendTask("cli.add", [1, 2]);
  const size = async () => (await app.engine.broker()).size("celery");
  await vi.waitUntil(async () => (await size()).inFlight === inFlight, until);
  expect((await size()).ready).toBe(2 - inFlight);
  first.process.kill("SIGTERM");
  expect((await first.exited).code).toBe(0);
  expect(await running.state()).toBe("SUCCESS");
  expect(await behind.ready()).toBe(false);
  expect((await (await app.engine.broker()).size("celery")).ready).toBe(1);
});

test.each([
  ["SIGINT", "a package manager, of the Ctrl-C that the terminal sends to all"],
  ["SIGTERM", "timeout, of what it sends to its group as well"],
] as const)(
  "a cold shutdown by %s hands back what runs, and another worker runs it at once",
  async (signal, passedOnBy) => {
    const { worker, app, runs } = place();
    const first = await worker([], { VISIBILITY: "600" });
    const result = await app.sendTask("cli.nap", [1.5]);
    await vi.waitUntil(() => runs().length === 1, until);
    first.process.kill(signal);
    await first.says(/Warm shutdown/);
    // The same once more, passed on.
    first.process.kill(signal);
    await sleep(600);
    expect(first.stdout(), `passed on by ${passedOnBy}`).not.toContain("Cold");
    first.process.kill(signal);
    expect((await first.exited).code).toBe(1);
    expect(first.stdout()).toContain("worker: Cold shutdown (MainProcess)");
    expect(await result.state()).toBe("PENDING");
    await worker();
    expect(await result.get({ timeout })).toBe("slept");
    expect(runs().map(([, word]) => word)).toEqual(["begin", "begin", "end"]);
  },
);

test.each([
  ["async", false],
  ["async", true],
  ["processes", false],
  ["processes", true],
] as const)(
  "a worker (%s) hears what it is told after a task has removed all listeners, one by one: %s",
  async (pool, oneByOne) => {
    const { worker, app } = place();
    const { process, exited, stderr } = await worker(["--pool", pool, "-c", "1"]);
    await (await app.sendTask("cli.deafen", [oneByOne])).get({ timeout: 60 });
    // An error that nobody caught still ends no process.
    await (await app.sendTask("cli.leak", [1])).get({ timeout: 60 });
    expect(await (await app.sendTask("cli.add", [2, 3])).get({ timeout: 60 })).toBe(5);
    process.kill("SIGTERM");
    expect(await exited).toMatchObject({ code: 0, stdout: expect.not.stringContaining("exited with") });
    expect(stderr()).not.toContain("Warning");
  },
);

test("a third signal ends a worker at once, whatever its task does", async () => {
  const { worker, app, runs } = place();
  const { process: main, says, exited } = await worker();
  await app.sendTask("cli.block");
  await vi.waitUntil(() => runs().length === 1, until);
  main.kill("SIGTERM");
  await says(/Warm shutdown/);
  main.kill("SIGINT");
  await says(/Cold shutdown/);
  main.kill("SIGHUP");
  expect((await exited).code).toBe(1);
  await vi.waitUntil(() => !isAlive(runs()[0]?.[0] as number), until);
});

test("SIGQUIT ends a worker at once", async () => {
  const { worker, app, runs } = place();
  const { process: main, exited } = await worker();
  await app.sendTask("cli.block");
  await vi.waitUntil(() => runs().length === 1, until);
  main.kill("SIGQUIT");
  expect((await exited).code).toBe(1);
  await vi.waitUntil(() => !isAlive(runs()[0]?.[0] as number), until);
});

test("kill -9 ends the process that runs tasks too, and another worker finishes the task when the lease is over", async () => {
  const { worker, app, runs } = place();
  const first = await worker();
  const result = await app.sendTask("cli.nap", [1.5]);
  await vi.waitUntil(() => runs().length === 1, until);
  const pid = runs()[0]?.[0] as number;
  first.process.kill("SIGKILL");
  await vi.waitUntil(() => !isAlive(pid), until);
  await worker();
  expect(await result.get({ timeout })).toBe("slept");
  expect(runs().map(([, word]) => word)).toEqual(["begin", "begin", "end"]);
});

test("a worker outlives a task that kills it, and names it", async () => {
  const { worker, app, runs } = place();
  const { says } = await worker();
  const result = await app.sendTask("cli.kill", [1]);
  expect(await result.get({ timeout })).toBe("survived");
  await says(new RegExp(`Task cli\\.kill\\[${result.id}\\] is taken over: a worker died while it ran`));
  await says(/Process 'pool' pid:\d+ exited with 'signal SIGKILL'/);
  expect(new Set(runs().map(([pid]) => pid)).size).toBe(2);
});

test("a process that dies again and again is started again after longer and longer pauses", async () => {
  const { start, folder } = place();
  const source = `
    import { Lovage } from "lovage";
    export const app = new Lovage("short");
    app.on("workerReady", () => void setTimeout(() => process.exit(7), 100));
  `;
  writeFileSync(join(folder, "short.ts"), source);
  const { says, process: main, exited } = start(["worker", "-A", "short"]);
  await says(
    /exited with 'exitcode 7'\n.*Process 'pool' starts again in 1 s\n[\s\S]*exitcode 7'\n.* starts again in 2 s/,
  );
  main.kill("SIGTERM");
  expect((await exited).code).toBe(0);
});

test("a task that passes its time limit has failed, and its process makes room for a fresh one", async () => {
  const { worker, app, runs } = place();
  const { says, stdout } = await worker();
  await (await app.sendTask("cli.media", ["before"])).get({ timeout });
  const stuck = await app.sendTask("cli.stuck", [], { timeLimit: 0.3 });
  await expect(stuck.get({ timeout })).rejects.toThrow("the time limit of 0.3 s passed");
  await says(/Process 'pool' pid:\d+ makes room/);
  await (await app.sendTask("cli.media", ["after"])).get({ timeout });
  expect(new Set(runs().map(([pid]) => pid)).size).toBe(2);
  expect(stdout().match(/\[tasks\]/g)).toHaveLength(1);
});

test.each([
  ["add", "host.lan", "add@host.lan"],
  ["add@%h", "host.lan", "add@host.lan"],
  ["add@%n", "host.lan", "add@host"],
  ["add@%d", "host.lan", "add@lan"],
  ["w-%n", "host.lan", "w-host@host.lan"],
  ["add@elsewhere", "host", "add@elsewhere"],
])("-n %s on %s is %s", (given, machine, name) => {
  expect(nodeName(given, machine)).toBe(name);
});

test("a banner shows no password", () => {
  expect(showUrl("sqs://AKIA:se/cr:et@eu-west-1")).not.toContain("cr:et");
  expect(showUrl("sqs://AKIA:secret@eu-west-1?x=1")).toBe("sqs://AKIA:**@eu-west-1?x=1");
  expect(showUrl("dynamodb://eu-west-1/table")).toBe("dynamodb://eu-west-1/table");
});
