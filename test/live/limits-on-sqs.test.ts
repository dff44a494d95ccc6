/** Limits on SQS and DynamoDB: what they cost in requests. */
import { randomUUID } from "node:crypto";
import { type BatchCall, Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { createQueues } from "../../src/brokers/sqs.ts";
import { createTable } from "../../src/results/dynamodb.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";

const aws = await emulator("ministack");

describe.skipIf(aws === undefined)("limits on SQS and DynamoDB", () => {
  async function place() {
    const dynamodb = await startFaultProxy((aws as Emulator).endpoint);
    onTestFinished(() => dynamodb.close());
    const name = `limits-${randomUUID().slice(0, 8)}`;
    const brokerUrl = emulatorUrl("sqs", aws as Emulator, `?queue_name_prefix=${name}-`);
    const resultBackend = emulatorUrl("dynamodb", dynamodb, `/${name}`);
    await createQueues(brokerUrl, ["celery"]);
    await createTable(resultBackend);
    const app = new Lovage("limits", { brokerUrl, resultBackend, journal: false });
    onTestFinished(() => app.close());
    return { app, dynamodb };
  }

  test("a task without limits makes the requests that it made, and one with a rate asks about twice", async () => {
    const { app, dynamodb } = await place();
    let ran = 0;
    const plain = app.task("tasks.plain", () => void ran++);
    const limited = app.task("tasks.limited", { rateLimit: "300/m" }, () => void ran++);
    const run = async (task: typeof plain, count: number) => {
      ran = 0;
      for (let n = 0; n < count; n++) await task.delay();
      const worker = await startWorker(app, { concurrency: 10 });
      dynamodb.reset();
      await vi.waitUntil(() => ran >= count, { timeout: 60_000, interval: 50 });
      await worker.stop();
      return { writes: dynamodb.count("PutItem"), reads: dynamodb.count("BatchGetItem") };
    };
    const [without, withRate] = [await run(plain, 40), await run(limited, 40)];
    // Claims and outcomes are statements of their own; what a worker says of itself is a write in ten seconds.
    expect(without.writes).toBeLessThanOrEqual(4);
    // Each asks when it comes and when it comes back; those of one batch share a write.
    expect(withRate.writes - without.writes).toBeLessThanOrEqual(2 * 40 + 4);
    // Each looks at its row when it comes back; and now and then whether the rate was changed.
    expect(withRate.reads).toBeLessThanOrEqual(2 * 40);
  });

  /** Counts the requests for rows of limits from now on. */
  function countRows(dynamodb: FaultProxy) {
    dynamodb.reset();
    const counted = { writes: 0, reads: 0 };
    const look = (action: string, kind: keyof typeof counted) => {
      const request = (body: Record<string, unknown>) => {
        if (JSON.stringify(body).includes("lovage-limit-")) counted[kind]++;
        return body;
      };
      dynamodb.spoil(action, { request }, 10_000);
    };
    look("PutItem", "writes");
    look("BatchGetItem", "reads");
    return counted;
  }

  async function work(app: Lovage, concurrency: number, isDone: () => boolean) {
    const worker = await startWorker(app, { concurrency });
    await vi.waitUntil(isDone, { timeout: 60_000, interval: 50 });
    await worker.stop();
  }

  test("a place costs a write to take and one to give back; who waits for it two more, and two to be woken by", async () => {
    const { app, dynamodb } = await place();
    const COUNT = 20;
    let ran = 0;
    const free = app.task("tasks.free", { concurrency: 1000 }, () => void ran++);
    const narrow = app.task("tasks.narrow", { concurrency: 1 }, () => void ran++);
    const run = async (task: typeof free, concurrency: number) => {
      ran = 0;
      for (let n = 0; n < COUNT; n++) await task.delay();
      const counted = countRows(dynamodb);
      await work(app, concurrency, () => ran >= COUNT);
      return counted;
    };
    // One at a time: none shares a write.
    expect(await run(free, 1)).toEqual({ writes: 2 * COUNT, reads: 0 });
    const waiting = await run(narrow, 10);
    expect(waiting.writes).toBeGreaterThan(2 * COUNT);
    // A wake meets a row that was not seen before in this process, and is tried again for what is there.
    expect(waiting.writes).toBeLessThanOrEqual(7 * COUNT);
    expect(waiting.reads).toBeLessThanOrEqual(COUNT);
  });

  test("a unique call costs two writes, its task at most three requests and mostly one, and its twin two", async () => {
    const { app, dynamodb } = await place();
    let ran = 0;
    const key = (id: string) => id;
    const fn = (_: string) => void ran++;
    const tasks = {
      waiting: app.task("tasks.waiting", { unique: { key, for: "waiting" } }, fn),
      replaced: app.task("tasks.replaced", { unique: { key, for: "waiting", onConflict: "replace" } }, fn),
      running: app.task("tasks.running", { unique: { key, for: "running" } }, fn),
      throttled: app.task("tasks.throttled", { throttle: { key, wait: 600 } }, fn),
      debounced: app.task("tasks.debounced", { debounce: { key, wait: 1 } }, fn),
    };
    const seen: Record<string, readonly (readonly number[])[]> = {};
    for (const [name, task] of Object.entries(tasks)) {
      const count = async (act: () => Promise<unknown>) => {
        const counted = countRows(dynamodb);
        await act();
        return [counted.writes, counted.reads] as const;
      };
      ran = 0;
      seen[name] = [
        await count(() => task.delay("a")),
        await count(() => task.delay("a")),
        await count(() => work(app, 1, () => ran === 1)),
      ];
    }
    // [writes, reads] of a call, of its twin, and of the task as it starts or ends.
    expect(seen).toEqual({
      waiting: [
        [2, 0],
        [0, 1],
        [1, 1],
      ],
      replaced: [
        [2, 0],
        [1, 0],
        [2, 1],
      ],
      running: [
        [2, 0],
        [0, 1],
        [1, 0],
      ],
      throttled: [
        [2, 0],
        [0, 1],
        [0, 0],
      ],
      debounced: [
        [2, 0],
        [1, 0],
        // It looks each time that it comes while its key is not quiet: mostly once before it runs.
        [2, expect.toSatisfy((reads: number) => reads === 2 || reads === 3)],
      ],
    });
  });

  test("calls of a batch make the writes that they make without it", async () => {
    const { app, dynamodb } = await place();
    const COUNT = 20;
    let ran = 0;
    const plain = app.task("tasks.plain", () => void ran++);
    const index = app.batchTask("tasks.index", { size: COUNT, wait: 1 }, (calls: readonly BatchCall<[]>[]) => {
      ran += calls.length;
      return calls.map(() => null);
    });
    const run = async (task: { delay(): Promise<unknown> }) => {
      ran = 0;
      for (let n = 0; n < COUNT; n++) await task.delay();
      // What is sent again, as its answer was late, is the same text. A claim that is kept for longer is not of the call.
      const written = new Set<string>();
      const look = (action: string, writes: (body: Record<string, unknown>) => readonly unknown[]) => {
        const request = (body: Record<string, unknown>) => {
          for (const one of writes(body)) {
            const text = JSON.stringify(one);
            if (text.includes("celery-task-meta-") && !text.includes('"SET #lease = ')) written.add(text);
          }
          return body;
        };
        dynamodb.spoil(action, { request }, 1000);
      };
      const worker = await startWorker(app, { concurrency: COUNT });
      look("BatchExecuteStatement", ({ Statements }) => Statements as readonly unknown[]);
      look("TransactWriteItems", ({ TransactItems }) => TransactItems as readonly unknown[]);
      for (const action of ["ExecuteStatement", "UpdateItem", "PutItem"]) look(action, (body) => [body]);
      await vi.waitUntil(() => ran >= COUNT, { timeout: 60_000, interval: 50 });
      await worker.stop();
      dynamodb.reset();
      return written.size;
    };
    const [without, within] = [await run(plain), await run(index as never)];
    expect([without, within]).toEqual([2 * COUNT, 2 * COUNT]);
  });
});
