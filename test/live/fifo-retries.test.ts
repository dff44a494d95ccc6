/** SQS counts receives, and makes a dead letter of what has too many. Retries on a FIFO queue are none, neither of their own message nor of their group. */
import { randomUUID } from "node:crypto";
import { Lovage } from "lovage";
import { createWorkerHandler } from "lovage/lambda";
import { describe, expect, onTestFinished, test } from "vitest";
import { createQueues } from "../../src/brokers/sqs.ts";
import { toRecord } from "../lambda/function.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const ministack = await emulator("ministack");
const MAX_RECEIVES = 3;
const RETRIES = 7;

describe.skipIf(ministack === undefined)("on ministack", () => {
  test("a group whose first task is retried more often than a message may be received runs in order", async () => {
    if (ministack === undefined) return;
    const prefix = `${randomUUID()}-`;
    const brokerUrl = emulatorUrl("sqs", ministack, `?queue_name_prefix=${prefix}`);
    await createQueues(brokerUrl, ["orders.fifo"], { visibility: 60, maxReceiveCount: MAX_RECEIVES });
    const app = new Lovage("shop", {
      brokerUrl,
      resultBackend: `memory://${prefix}`,
      taskQueues: { "orders.fifo": {} },
      taskDefaultQueue: "orders.fifo",
    });
    onTestFinished(() => app.close());
    const ran: string[] = [];
    const head = app.task("shop.head", { bind: true, maxRetries: RETRIES }, (self) => {
      ran.push(`head ${self.request.retries}`);
      return self.request.retries < RETRIES ? self.retry({ countdown: 0 }) : "done";
    });
    const next = app.task("shop.next", (n: number) => void ran.push(`next ${n}`));
    const results = [await head.applyAsync([], { MessageGroupId: "g" })];
    for (const n of [1, 2, 3]) results.push((await next.applyAsync([n], { MessageGroupId: "g" })) as never);

    const handler = createWorkerHandler(app, { write: () => {} });
    const broker = await app.engine.broker();
    const receive = () => broker.receive("orders.fifo", { max: 10, wait: 1000, visibility: 60_000 });
    // The event source of a function.
    for (let got = await receive(); got.length > 0; got = await receive()) {
      const answer = await handler(
        { Records: got.map((one) => toRecord({ ...one, queue: `${prefix}${one.queue}` })) },
        context,
      );
      const failed = new Set(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      await broker.delete(got.filter(({ messageId }) => !failed.has(messageId)));
    }
    expect(ran).toEqual([
      ...Array.from({ length: RETRIES + 1 }, (_, n) => `head ${n}`),
      ...[1, 2, 3].map((n) => `next ${n}`),
    ]);
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(Array(4).fill("SUCCESS"));
    const of = async (queue: string) => Object.values(await broker.size(queue)).reduce((sum, n) => sum + n, 0);
    expect([await of("orders.fifo"), await of("orders-dlq.fifo")]).toEqual([0, 0]);
  });
});

const context = { awsRequestId: "r", getRemainingTimeInMillis: () => 55_000 };
