/** Limits on SQS and DynamoDB: what they cost in requests. */
import { randomUUID } from "node:crypto";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { createQueues } from "../../src/brokers/sqs.ts";
import { createTable } from "../../src/results/dynamodb.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { startFaultProxy } from "./fault-proxy.ts";

const aws = await emulator("ministack");

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

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
});
