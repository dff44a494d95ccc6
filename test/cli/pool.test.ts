/** Pools of processes and of threads, as seen from outside: `lovage worker --pool`. */
import { describe, expect, test, vi } from "vitest";
import { taskKey } from "../../src/results/backend.ts";
import { isAlive, place } from "./run.ts";

const timeout = 60;
const until = { timeout: 60_000, interval: 20 };
const KINDS = ["processes", "threads"] as const;

const rowOf = async (app: ReturnType<typeof place>["app"], id: string) =>
  (await (await app.engine.backend()).read([taskKey(id)], { consistent: true }))[0];

describe.each(KINDS)("a pool of %s", (kind) => {
  const args = ["--pool", kind, "-c", "2"];

  test("runs what blocks beside what blocks, and keeps their claims past their leases", async () => {
    const { worker, app, runs } = place();
    const { stdout, says } = await worker(args);
    const busy = await Promise.all([3, 3].map((seconds) => app.sendTask("cli.busy", [seconds])));
    for (const one of busy) expect(await one.get({ timeout })).toBe("was busy");
    // Both had begun before one of them ended, and each once.
    expect(runs().map(([, word]) => word)).toEqual(["begin", "begin", "end", "end"]);
    expect(new Set(runs().map(([pid]) => pid)).size).toBe(kind === "processes" ? 2 : 1);
    for (const { id } of busy) expect(await rowOf(app, id)).toMatchObject({ runs: 1 });
    expect(stdout()).toContain(`concurrency: 2 (${kind})`);
    // The line comes behind the outcome.
    await says(/INFO\/PoolWorker-[12]] Task cli\.busy\[\S+] succeeded/);
  });

  test("holds up nobody with one that blocks", async () => {
    const { worker, app } = place();
    await worker(args);
    const busy = await app.sendTask("cli.busy", [4]);
    const sums = await Promise.all([1, 2, 3, 4, 5].map((n) => app.sendTask("cli.add", [n, n])));
    for (const [at, sum] of sums.entries()) expect(await sum.get({ timeout })).toBe(2 * (at + 1));
    expect(await busy.state()).not.toBe("SUCCESS");
    expect(await busy.get({ timeout })).toBe("was busy");
  });

  test("ends what blocks its place beyond its time limit, and nothing else", async () => {
    const { worker, app, runs } = place();
    const { stdout, says } = await worker(args);
    const nap = await app.sendTask("cli.nap", [4]);
    const endless = await app.sendTask("cli.endless");
    await expect(endless.get({ timeout })).rejects.toThrow("the time limit of 0.2 s passed");
    expect(await nap.get({ timeout })).toBe("slept");
    expect(runs().map(([, word]) => word)).toEqual(["begin", "begin", "end"]);
    await says(/cli\.endless\[\S+] blocks its (process|thread) beyond its time limit, which is ended/);
    expect(await (await app.sendTask("cli.add", [1, 2])).get({ timeout })).toBe(3);
    expect(stdout()).not.toMatch(/Process 'pool'/);
  });

  test("ends the task that calls process.exit(), and nothing beside it", async () => {
    const { worker, app, runs } = place();
    const { says } = await worker(args);
    const nap = await app.sendTask("cli.nap", [2]);
    const exit = await app.sendTask("cli.exit", ["now"]);
    expect(String(await exit.get({ timeout, propagate: false }))).toMatch(/^SystemExit/);
    await says(/'PoolWorker-\d'.* makes room for a fresh one/);
    expect(await nap.get({ timeout })).toBe("slept");
    expect(new Set(runs().map(([, word]) => word))).toEqual(new Set(["begin", "exit", "end"]));
  });

  test("ends the place of a task that is revoked with terminate and does not heed it", async () => {
    const { worker, app } = place();
    const { says } = await worker(args);
    const busy = await app.sendTask("cli.busy", [300]);
    await says(/Received task: cli\.busy/);
    await busy.revoke({ terminate: true });
    await says(/Task cli\.busy\[\S+] is revoked and does not end: its (process|thread) is ended/);
    await expect(busy.get({ timeout })).rejects.toThrow("terminated");
    expect(await (await app.sendTask("cli.add", [1, 2])).get({ timeout })).toBe(3);
  });

  test("replaces a place after so many tasks, or beyond so much memory", async () => {
    const { worker, app, runs } = place();
    const first = await worker(["--pool", kind, "-c", "1"], { MAX_TASKS: "2" });
    for (const word of ["a", "b", "c"]) await (await app.sendTask("cli.media", [word])).get({ timeout });
    await first.says(/'PoolWorker-1'.* makes room for a fresh one/);
    expect(runs().map(([, , word]) => word)).toEqual(["a", "b", "c"]);
    first.process.kill("SIGTERM");
    expect((await first.exited).code).toBe(0);
    const second = await worker(["--pool", kind, "-c", "1"], { MAX_MEMORY: "500000" });
    await (await app.sendTask("cli.hold", [1_000])).get({ timeout });
    expect(second.stdout()).not.toContain("makes room");
    await (await app.sendTask("cli.hold", [600_000_000])).get({ timeout });
    await second.says(/'PoolWorker-1'.* makes room for a fresh one/);
    expect(await (await app.sendTask("cli.add", [1, 2])).get({ timeout })).toBe(3);
  });

  test("lets what runs end when it is told to stop", async () => {
    const { worker, app, runs } = place();
    const { process: main, exited } = await worker(args);
    const busy = await app.sendTask("cli.busy", [1.5]);
    await vi.waitUntil(() => runs().length === 1, until);
    main.kill("SIGTERM");
    expect((await exited).code).toBe(0);
    expect(await busy.get({ timeout })).toBe("was busy");
  });

  test("hands back after the grace what blocks its place, and no death is counted", async () => {
    const { worker, app, runs } = place();
    const { process: main, exited } = await worker([...args, "--grace", "0.3"], { VISIBILITY: "60" });
    const busy = await app.sendTask("cli.busy", [300]);
    await vi.waitUntil(() => runs().length === 1, until);
    main.kill("SIGTERM");
    expect((await exited).code).toBe(0);
    expect(await busy.state()).toBe("PENDING");
    expect(await rowOf(app, busy.id)).toMatchObject({ runs: 1, lease: undefined });
    for (const [pid] of runs()) expect(isAlive(pid)).toBe(false);
  });

  test("leaves nobody behind that blocks, when its worker is ended at once", async () => {
    const { worker, app, runs } = place();
    const { process: main, exited } = await worker(args);
    await Promise.all([1, 2].map(() => app.sendTask("cli.block")));
    await vi.waitUntil(() => runs().length === 2, until);
    main.kill("SIGQUIT");
    await exited;
    await vi.waitUntil(() => runs().every(([pid]) => !isAlive(pid)), until);
  });

  test("brings the calls of a batch to one place", async () => {
    const { worker, app, runs } = place();
    await worker(args);
    const calls = await Promise.all([1, 2, 3].map(() => app.sendTask("cli.together")));
    for (const call of calls) expect(await call.get({ timeout })).toBe(3);
    expect(runs().map(([, ...words]) => words)).toEqual([["together", "3"]]);
  });

  test("that stops begins a batch with what it has", async () => {
    const { worker, app, runs } = place();
    const { process: main } = await worker(args);
    const calls = await Promise.all([1, 2].map(() => app.sendTask("cli.patient")));
    await vi.waitUntil(
      async () => (await Promise.all(calls.map((call) => call.state()))).every((state) => state === "STARTED"),
      until,
    );
    main.kill("SIGTERM");
    for (const call of calls) expect(await call.get({ timeout: 20 })).toBe(2);
    expect(runs().map(([, ...words]) => words)).toEqual([["patient", "2"]]);
  });
});

test("what kills its process three times is given up, and the neighbours of a pool of processes never notice", async () => {
  const { worker, app, runs } = place();
  const { stdout, says } = await worker(["--pool", "prefork", "-c", "2"]);
  const poison = await app.sendTask("cli.poison");
  const naps = await Promise.all([1, 2, 3].map(() => app.sendTask("cli.nap", [0.5])));
  await expect(poison.get({ timeout })).rejects.toThrow(/3 workers died while/);
  for (const nap of naps) {
    expect(await nap.get({ timeout })).toBe("slept");
    expect(await rowOf(app, nap.id)).toMatchObject({ runs: 1 });
  }
  expect(runs().filter(([, word]) => word === "kill")).toHaveLength(3);
  await says(/exited with 'signal SIGKILL' while it ran cli\.poison\[/);
  expect(stdout()).not.toMatch(/Process 'pool'/);
});

test.each([...KINDS, "async"])(
  "what a task says to its parent process is nothing to a worker with the pool %s",
  async (kind) => {
    const { worker, app, runs } = place();
    const { stdout, says } = await worker(["--pool", kind, "-c", "2"]);
    const nap = await app.sendTask("cli.nap", [1]);
    const words = [null, 7, "hello", {}, { ended: 1 }, { type: "process:msg" }, "ready", "stopped"];
    const tell = await app.sendTask("cli.tellParent", [words]);
    const pid = await tell.get({ timeout });
    expect(await nap.get({ timeout })).toBe("slept");
    expect(runs().map(([, word]) => word)).toEqual(["begin", "end"]);
    expect(stdout()).not.toMatch(/exited|taken over/);
    if (kind !== "async") return;
    // Nor is it taken for the end that it says.
    process.kill(Number(pid), "SIGKILL");
    await says(/Process 'pool' pid:\d+ exited with 'signal SIGKILL'/);
    expect(await (await app.sendTask("cli.add", [1, 2])).get({ timeout })).toBe(3);
  },
);

test("a place whose worker is killed ends with it", async () => {
  const { worker, app, runs } = place();
  const { process: main } = await worker(["--pool", "processes", "-c", "2"]);
  await app.sendTask("cli.note", ["here"]);
  await vi.waitUntil(() => runs().length === 1, until);
  main.kill("SIGKILL");
  await vi.waitUntil(() => runs().every(([pid]) => !isAlive(pid)), until);
});

test("health counts what places do", async () => {
  const { worker, app } = place();
  const { says } = await worker(["--pool", "processes", "-c", "2", "--health", "127.0.0.1:0"]);
  const [, url = ""] = await says(/Health at (\S+)\/healthz/);
  const busy = await app.sendTask("cli.busy", [3]);
  await (await app.sendTask("cli.add", [1, 2])).get({ timeout });
  await vi.waitFor(async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toMatch(/lovage_tasks_ended_total\{task="cli\.add",queue="celery",state="SUCCESS"\} 1/);
    expect(text).toMatch(/lovage_tasks_running 1/);
    expect(text).toMatch(/lovage_worker_concurrency 2/);
  }, until);
  await busy.get({ timeout });
});

test("a pool that there is not is asked for in vain", async () => {
  const { start } = place();
  const { exited } = start(["worker", "-A", "x", "--pool", "custom"]);
  const { code, stderr } = await exited;
  expect(stderr).toContain("must be one of async, processes, threads, solo, prefork, gevent, eventlet");
  expect(code).toBe(2);
});

test("in the default pool what blocks the event loop is named, once", async () => {
  const { worker, app } = place();
  const { says, stdout } = await worker(["-c", "2"]);
  for (const seconds of [2.5, 2.5]) await (await app.sendTask("cli.busy", [seconds])).get({ timeout });
  await says(/WARNING\/MainProcess] Task cli\.busy\[\S+] blocked the event loop for \d\.\d s, .* --pool processes/);
  await (await app.sendTask("cli.nap", [1])).get({ timeout });
  expect(stdout().match(/blocked the event loop/g)).toHaveLength(1);
});
