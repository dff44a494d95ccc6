/** What only several functions at a time can show: concurrency, order, faults under way, a deployment while tasks run. On ministack. */
import { setTimeout as sleep } from "node:timers/promises";
import { startWorker } from "lovage/worker";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { npmRun, outputs, stackOf, succeeds } from "./commands.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type FaultProxy, startFaultProxy, throttled } from "./fault-proxy.ts";

const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("deployed on ministack", () => {
  const { endpoint } = (ministack ?? {}) as Emulator;
  let proxy: FaultProxy;
  let live: typeof import("./stack/tasks.ts");
  const patiently = { timeout: 60 };

  const deploy = (...options: readonly string[]) =>
    succeeds(npmRun(endpoint, "deploy:local", ...stackOf("app.ts"), "-c", `dynamodb=${proxy.endpoint}`, ...options));

  beforeAll(async () => {
    proxy = await startFaultProxy(endpoint);
    await deploy();
    process.env["LOVAGE_BROKER_URL"] = emulatorUrl("sqs", { endpoint });
    process.env["LOVAGE_RESULT_BACKEND"] = emulatorUrl("dynamodb", { endpoint }, "/celery");
    live = await import("./stack/tasks.ts");
  }, 180_000);
  afterAll(async () => {
    await live.app.close();
    await succeeds(npmRun(endpoint, "destroy:local"));
    await proxy.close();
  }, 180_000);

  test("a queue runs as many batches at a time as maxConcurrency says, and no more", async () => {
    const results = await Promise.all(Array.from({ length: 8 }, () => live.nap.applyAsync([400], { queue: "narrow" })));
    const naps = await Promise.all(results.map((result) => result.get(patiently)));
    const atOnce = naps.map(([began]) => naps.filter(([start, end]) => start <= began && began < end).length);
    expect(Math.max(...atOnce)).toBe(2);
  });

  test("a FIFO group waits behind a task that is run again, and other groups do not", async () => {
    const send = (task: typeof live.now | typeof live.stumble, MessageGroupId: string) =>
      task.applyAsync([], { queue: "orders.fifo", MessageGroupId });
    const first = await send(live.stumble, "a");
    const second = await send(live.now, "a");
    const other = await send(live.now, "b");
    const [retried, behind, beside] = await Promise.all([first, second, other].map((result) => result.get(patiently)));
    expect(behind).toBeGreaterThanOrEqual(retried as number);
    expect(beside).toBeLessThan(retried as number);
  });

  test("while DynamoDB throttles every request nothing is lost, and nothing is acknowledged", async () => {
    for (const action of ["PutItem", "UpdateItem", "BatchExecuteStatement", "BatchGetItem", "GetItem"])
      proxy.spoil(action, throttled("DynamoDB"), 10_000);
    const results = await Promise.all(Array.from({ length: 12 }, () => live.now.delay()));
    await sleep(10_000);
    const broker = await live.app.engine.broker();
    const { ready, inFlight } = await broker.size("celery");
    expect(ready + inFlight).toBe(12);
    expect(proxy.count()).toBeGreaterThan(0);
    expect(await Promise.all(results.map((result) => result.ready()))).not.toContain(true);

    const over = Date.now();
    proxy.reset();
    for (const ran of await Promise.all(results.map((result) => result.get(patiently))))
      expect(ran).toBeGreaterThanOrEqual(over);
    expect(await broker.size("celery-dlq")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("a deployment of new code and another queue loses nothing that runs, waits or is delayed, of a queue that moves too", {
    timeout: 300_000,
  }, async () => {
    const broker = await live.app.engine.broker();
    await broker.send([{ queue: "moving-dlq", body: "unreadable" }]);
    const moving = await Promise.all([
      ...Array.from({ length: 4 }, () => live.nap.applyAsync([4000], { queue: "moving" })),
      ...Array.from({ length: 4 }, () => live.now.applyAsync([], { queue: "moving", countdown: 20 })),
    ]);
    const results = await Promise.all([
      ...Array.from({ length: 6 }, () => live.nap.applyAsync([4000], { queue: "narrow" })),
      ...Array.from({ length: 6 }, () => live.now.applyAsync([], { countdown: 6 })),
      ...Array.from({ length: 12 }, () => live.nap.delay(3000)),
    ]);
    process.env["LIVE_QUEUES"] = "more";
    process.env["LIVE_MOVED"] = "true";
    await deploy("-c", "version=2");
    // What a container runs: the queue has no function any more.
    const worker = await startWorker(live.app, { queues: ["moving"], concurrency: 8 });
    onTestFinished(() => worker.stop());
    // ministack kills what runs when a function changes, where AWS lets it finish: such a message comes back after its visibility.
    for (const result of [...results, ...moving]) await result.get({ timeout: 120 });
    expect(await broker.size("moving-dlq")).toMatchObject({ ready: 1 });
    expect(Object.keys(outputs(endpoint)).some((name) => name.includes("QueueUrladded"))).toBe(true);
    const added = await live.now.applyAsync([], { queue: "added" });
    expect(await added.get(patiently)).toBeGreaterThan(0);
  });

  test("a queue that is declared no more goes with what waits in it, and its dead letters stay", {
    timeout: 180_000,
  }, async () => {
    delete process.env["LIVE_QUEUES"];
    delete process.env["LIVE_MOVED"];
    const waiting = await Promise.all(Array.from({ length: 4 }, () => live.now.applyAsync([], { queue: "moving" })));
    const broker = await live.app.engine.broker();
    await broker.send([{ queue: "added-dlq", body: "unreadable" }]);
    await deploy("-c", "version=3");
    expect(await broker.queues()).not.toContain("added");
    expect(await broker.size("added-dlq")).toMatchObject({ ready: 1 });
    // The one that has moved back brings its messages to its function.
    for (const result of waiting) expect(await result.get(patiently)).toBeGreaterThan(0);
    expect(await broker.size("moving-dlq")).toMatchObject({ ready: 1 });
  });
});
