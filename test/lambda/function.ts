/** A worker's function as an SQS event source drives it, on an app under test: no AWS, no Lambda. */
import type { Delivery } from "../../src/brokers/broker.ts";
import type { Lovage } from "lovage";
import { type BatchResponse, createWorkerHandler, type SqsEvent, type SqsRecord } from "lovage/lambda";
import { type TestApp, type TestOptions, testApp } from "lovage/testing";
import { onTestFinished } from "vitest";

export type Line = Readonly<Record<string, unknown>>;

export interface TestFunction extends TestApp {
  /** Log lines and metrics, parsed. */
  readonly lines: readonly Line[];
  readonly metrics: readonly Line[];
  /** One invocation with these deliveries; what does not come back is deleted, as the event source does. */
  invoke(deliveries: readonly Delivery[], remaining?: number): Promise<BatchResponse>;
  /** What is ready in a queue, hidden from others for as long as the event source's queue would. */
  receive(queue?: string): Promise<readonly Delivery[]>;
  handle(event: SqsEvent, remaining?: number): Promise<BatchResponse>;
}

export function testFunction(app: Lovage, options: TestOptions & { readonly level?: string } = {}): TestFunction {
  const t = testApp(app, options);
  onTestFinished(() => t.close());
  const written: Line[] = [];
  const handler = createWorkerHandler(app, { write: (line) => written.push(JSON.parse(line) as Line) });
  const handle: TestFunction["handle"] = (event, remaining = 65_000) =>
    handler(event, { awsRequestId: "request-1", getRemainingTimeInMillis: () => remaining });
  return {
    ...t,
    get lines() {
      return written.filter((line) => !("_aws" in line));
    },
    get metrics() {
      return written.filter((line) => "_aws" in line);
    },
    handle,
    async receive(queue = "celery") {
      const broker = await app.engine.broker();
      return broker.receive(queue, { max: 10, wait: 0, visibility: 360_000 });
    },
    async invoke(deliveries, remaining) {
      const answer = await handle({ Records: deliveries.map(toRecord) }, remaining);
      const failed = new Set(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      await (await app.engine.broker()).delete(deliveries.filter(({ messageId }) => !failed.has(messageId)));
      return answer;
    },
  };
}

export function toRecord(delivery: Delivery): SqsRecord {
  return {
    messageId: delivery.messageId,
    receiptHandle: delivery.receipt,
    body: delivery.body,
    attributes: {
      ApproximateReceiveCount: String(delivery.receiveCount),
      SentTimestamp: String(delivery.sentAt),
      ...(delivery.groupId === undefined ? {} : { MessageGroupId: delivery.groupId }),
    },
    messageAttributes: {},
    eventSourceARN: `arn:aws:sqs:eu-west-1:000000000000:${delivery.queue}`,
  };
}
