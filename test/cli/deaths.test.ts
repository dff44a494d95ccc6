/** What is charged to whom when processes end, as seen from outside. */
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { AsyncResult } from "lovage";
import { expect, test, vi } from "vitest";
import { taskKey } from "../../src/results/backend.ts";
import { isAlive, module, place } from "./run.ts";

const timeout = 60;
const SOURCE = new URL("../../scripts/source.ts", import.meta.url).href;
const until = { timeout: 60_000, interval: 20 };

const rowOf = async (app: ReturnType<typeof place>["app"], id: string) =>
  (await (await app.engine.backend()).read([taskKey(id)], { consistent: true }))[0];

test("after the grace a task that heeds its signal waits again, and has used up nothing", async () => {
  const { worker, app, runs } = place();
  const { process: main, exited, stdout } = await worker(["--grace", "0.3"], { VISIBILITY: "60" });
  const result = await app.sendTask("cli.heed", [true]);
  await vi.waitUntil(() => runs().length === 1, until);
  const from = performance.now();
  main.kill("SIGHUP");
  expect((await exited).code).toBe(0);
  // By itself it takes 20.
  expect(performance.now() - from).toBeLessThan(15_000);
  expect(stdout()).toMatch(/is aborted: the worker stops\n.*is handed back: its worker stops/);
  expect(await result.state()).toBe("PENDING");
  expect(await rowOf(app, result.id)).toMatchObject({ runs: 1 });
  await worker();
  expect(await result.get({ timeout })).toBe(0);
});

test("three deploys that kill a worker in its grace are no deaths of a long task", async () => {
  const { worker, app, runs } = place();
  const result = await app.sendTask("cli.nap", [1.5]);
  for (let deploy = 1; deploy <= 3; deploy++) {
    const { process: main, says } = await worker();
    await vi.waitUntil(() => runs().length === deploy, until);
    main.kill("SIGTERM");
    await says(/Warm shutdown/);
    await sleep(200);
    main.kill("SIGKILL");
  }
  await worker();
  expect(await result.get({ timeout })).toBe("slept");
  expect(await rowOf(app, result.id)).toMatchObject({ runs: 1 });
});

// SIGUSR2 is how nodemon ends what it starts again.
test.each([
  ["SIGUSR2", "", 0],
  ["SIGTERM", " in a process of its own", 2],
] as const)(
  "%s ends nothing that runs%s while the worker still starts: a hook of workerReady takes its time",
  async (signal, _, died) => {
    const { start, app, runs } = place();
    const backend = await app.engine.backend();
    const key = taskKey("long");
    for (let owner = 1; owner <= died; owner++) {
      const now = Date.now();
      const claim = { key, owner: `${owner}`, now, ttl: undefined };
      await backend.apply([
        { type: "claim", ...claim, attempt: 0, lease: now, result: "{}", hidden: false },
        { type: "release", ...claim, died: true },
      ]);
    }
    const result = await app.sendTask("cli.nap", [0.5], { taskId: "long" });
    const { process: main, exited } = start(["worker", "-A", module], { READY_MS: "1500", VISIBILITY: "60" });
    await vi.waitUntil(() => runs().length === 1, until);
    main.kill(signal);
    expect((await exited).code).toBe(0);
    expect(runs().map(([, word]) => word)).toEqual(["begin", "end"]);
    expect(await result.state()).toBe("SUCCESS");
    expect(await rowOf(app, result.id)).toMatchObject({ runs: died + 1 });
  },
);

test("a forgotten await is named, and takes nobody along", async () => {
  const { worker, app, runs } = place();
  const { says } = await worker(["-c", "4"]);
  const innocent = await app.sendTask("cli.nap", [1]);
  await vi.waitUntil(() => runs().length === 1, until);
  const leak = await app.sendTask("cli.leak", [100]);
  await says(
    new RegExp(
      `Task cli\\.leak\\[${leak.id}\\] left a promise .* nobody awaited, after it had ended: Error: nobody waits`,
    ),
  );
  await says(/makes room for a fresh one/);
  expect(await innocent.get({ timeout })).toBe("slept");
  expect(runs().map(([, word]) => word)).toEqual(["begin", "end"]);
  const thrown = await app.sendTask("cli.throw");
  await expect(thrown.get({ timeout })).rejects.toThrow("past everybody");
  expect(await (await app.sendTask("cli.add", [1, 2])).get({ timeout })).toBe(3);
});

test.each(["now", "later"])("process.exit() ends the task that calls it, %s, and nobody beside it", async (how) => {
  const { worker, app, runs } = place();
  const { says } = await worker(["-c", "4"]);
  const innocent = await app.sendTask("cli.nap", [1]);
  await vi.waitUntil(() => runs().length === 1, until);
  const exits = await app.sendTask("cli.exit", [how]);
  const ended = await exits.get({ timeout, propagate: false });
  if (how === "now") expect(String(ended)).toMatch(/^SystemExit: process\.exit\(3\) was called/);
  else expect(ended).toBe("survived");
  const when = how === "now" ? "" : ", after it had ended";
  await says(new RegExp(`Task cli\\.exit\\[${exits.id}\\] was about to end its process${when}: .*SystemExit`));
  await says(/makes room for a fresh one/);
  expect(await innocent.get({ timeout })).toBe("slept");
  expect(await rowOf(app, innocent.id)).toMatchObject({ runs: 1 });
  expect(runs().map(([, word]) => word)).toEqual(["begin", "exit", "end"]);
});

test("a worker whose main process dies hands back what runs, no death counted, and ends with what its tasks started", async () => {
  const { worker, app, runs } = place();
  const slow = { VISIBILITY: "60" };
  const { process: main } = await worker([], slow);
  const result = await app.sendTask("cli.start");
  await vi.waitUntil(() => runs().length === 1, until);
  main.kill("SIGKILL");
  await vi.waitUntil(() => !isAlive(Number(runs()[0]?.[2])), until);
  await worker([], slow);
  expect(await result.get({ timeout })).toBe("started");
  expect(await rowOf(app, result.id)).toMatchObject({ runs: 1 });
});

test.each([
  ["a task", "exits", { exits: 2, naps: 1 }],
  ["its own code", "naps", { naps: 1 }],
])(
  "a web server, say, that ends by process.exit() of %s hands back all that its worker runs",
  async (_, last, runs) => {
    const { app, folder } = place();
    const server = new URL("./server.ts", import.meta.url).pathname;
    const results: Record<string, AsyncResult> = {};
    results["naps"] = await app.sendTask("server.naps");
    if (last === "exits") results["exits"] = await app.sendTask("server.exits");
    const serve = (ends: string) =>
      promisify(execFile)(process.execPath, ["--import", SOURCE, server, ends], {
        env: { ...process.env, LOVAGE_BROKER_URL: app.config.brokerUrl },
        cwd: folder,
        timeout: 60_000,
      });
    await expect(serve(last)).rejects.toMatchObject({ code: 9, stdout: expect.stringMatching(/handed back/) });
    await serve("never");
    for (const [name, result] of Object.entries(results)) {
      expect(await result.get({ timeout })).toBe("done");
      expect(await rowOf(app, result.id)).toMatchObject({ runs: runs[name as "naps"] });
    }
  },
);

test("what has killed two workers runs in a process of its own, and nobody waits for it", async () => {
  const { worker, app, runs } = place();
  const { says } = await worker(["-c", "4"]);
  const poison = await app.sendTask("cli.poison");
  await says(/is to run in a process of its own: 2 of its workers died while they ran it/);
  const innocents = await Promise.all([1, 2, 3].map(() => app.sendTask("cli.nap", [0.5])));
  await expect(poison.get({ timeout })).rejects.toThrow(/3 workers died while/);
  for (const innocent of innocents) {
    expect(await innocent.get({ timeout })).toBe("slept");
    expect(await rowOf(app, innocent.id)).toMatchObject({ runs: 1 });
  }
  expect(runs().filter(([, word]) => word === "kill")).toHaveLength(3);
  // It comes behind the outcome.
  await says(/The process of its own, pid:\d+, .* exited with 'signal SIGKILL'/);
});
