/** A task that a worker does not know is put back three times, whatever else the message has been through. */
import { randomUUID } from "node:crypto";
import { Lovage, OperationalError } from "lovage";
import { describe, expect, onTestFinished, test } from "vitest";
import { createWorker } from "../../src/workers/worker.ts";
import { envelope } from "../flow/envelopes.ts";

async function ground() {
  const url = `memory://${randomUUID()}`;
  const app = new Lovage("old", { brokerUrl: url, resultBackend: url, taskQueues: { celery: {}, "orders.fifo": {} } });
  onTestFinished(() => app.close());
  const worker = createWorker(app, { hostname: "w", log: () => {}, lease: () => Date.now() + 30_000 });
  const body = envelope({ task: "tasks.new", id: "new" });
  const deliver = async (queue: string, receiveCount: number, messageId = "1") =>
    worker.admit({ queue, body, messageId, receipt: "1-1", receiveCount, sentAt: Date.now(), attributes: {} });
  return { app, deliver, body };
}

const BACK = { disposition: { type: "handBack", visibility: 1000 } };

describe.each(["celery", "orders.fifo"])("on %s", (queue) => {
  test("receives of other reasons do not count; the fourth time it is a dead letter, and its row says so", async () => {
    const { app, deliver, body } = await ground();
    for (const receiveCount of [50, 60, 61]) expect(await deliver(queue, receiveCount)).toEqual(BACK);
    expect(await app.result("new").state()).toBe("PENDING");
    expect(await deliver(queue, 62)).toEqual({ disposition: { type: "delete" } });
    expect(await app.result("new").state()).toBe("FAILURE");
    const dead = queue === "celery" ? "celery-dlq" : "orders-dlq.fifo";
    const [letter] = await (await app.engine.broker()).receive(dead, { max: 1, wait: 0 });
    expect(letter).toMatchObject({ body, attributes: { error: "NotRegistered" } });
  });

  test("each message has its own count, as one that was sent back from the dead letters has", async () => {
    const { deliver } = await ground();
    for (let n = 0; n < 3; n++) await deliver(queue, 1);
    expect(await deliver(queue, 1, "2")).toEqual(BACK);
  });

  test("where nothing can be counted, nothing is", async () => {
    const { app, deliver } = await ground();
    const backend = await app.engine.backend();
    const { apply } = backend;
    backend.apply = async (commands) => commands.map(() => new OperationalError("throttled", { retryable: true }));
    for (let n = 0; n < 5; n++) expect(await deliver(queue, n)).toMatchObject({ disposition: { type: "handBack" } });
    backend.apply = apply;
    expect(await deliver(queue, 6)).toEqual(BACK);
  });
});
