import { Lovage, QueueNotFound } from "lovage";
import { expect, test } from "vitest";
import { startWorker } from "../../src/workers/poll.ts";

test("a worker whose queue is gone says so and stops", async () => {
  await using app = new Lovage("tasks", { brokerUrl: "memory://gone" });
  const broker = await app.engine.broker();
  // As SQS answers; a broker in memory has every queue.
  broker.receive = async (queue) => {
    throw new QueueNotFound(queue, []);
  };
  const lines: string[] = [];
  const worker = await startWorker(app, { concurrency: 1, log: (_, line) => void lines.push(line) });
  expect(await worker.ended).toBe("stopped");
  expect(lines.join("\n")).toMatch(/Queue celery could not be read[\s\S]*The worker stops/);
});
