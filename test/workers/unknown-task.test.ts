/** A task that a worker does not know is put back three times, whatever else the message has been through. */
import { randomUUID } from "node:crypto";
import { Lovage } from "lovage";
import { expect, onTestFinished, test } from "vitest";
import { createWorker } from "../../src/workers/worker.ts";
import { envelope } from "../flow/envelopes.ts";

async function ground() {
  const url = `memory://${randomUUID()}`;
  const app = new Lovage("old", { brokerUrl: url, resultBackend: url, taskQueues: { celery: {}, "orders.fifo": {} } });
  onTestFinished(() => app.close());
  const worker = createWorker(app, { hostname: "w", log: () => {}, lease: () => Date.now() + 30_000 });
  const broker = await app.engine.broker();
  const body = envelope({ task: "tasks.new", id: "new" });
  const deliver = (attributes: Readonly<Record<string, string>>, receiveCount = 50, queue = "celery") =>
    worker.admit({ queue, body, messageId: "1", receipt: "1", receiveCount, sentAt: Date.now(), attributes });
  /** What was put back, with what it says of itself. */
  const taken = async (queue = "celery") => {
    const [delivery] = await broker.receive(queue, { max: 1, wait: 3000 });
    return delivery;
  };
  return { app, deliver, taken, body };
}

test("receives of other reasons do not count", async () => {
  const { app, deliver, taken, body } = await ground();
  expect(await deliver({ mine: "kept" })).toEqual({ disposition: { type: "delete" } });
  const back = await taken();
  expect(back).toMatchObject({ body, attributes: { mine: "kept", unregistered: "1" } });
  expect(await app.result("new").state()).toBe("PENDING");
});

test("the fourth time it is a dead letter, and its row says so", async () => {
  const { app, deliver, taken, body } = await ground();
  await deliver({ unregistered: "3" }, 4);
  expect(await taken("celery-dlq")).toMatchObject({ body, attributes: { error: "NotRegistered" } });
  expect(await app.result("new").state()).toBe("FAILURE");
});

test.each(["", "x", "-1e999", "1.5"])("a count that is none, %j, counts as none", async (unregistered) => {
  const { deliver, taken } = await ground();
  await deliver({ unregistered });
  expect(await taken()).toMatchObject({ attributes: { unregistered: "1" } });
});

test("on a FIFO queue it keeps its place: receives count there", async () => {
  const { deliver } = await ground();
  expect(await deliver({}, 3, "orders.fifo")).toEqual({ disposition: { type: "handBack", visibility: 1000 } });
});
