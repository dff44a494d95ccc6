/** What SQS gives a function. */
import { randomUUID } from "node:crypto";
import type { Kind } from "../bundles.ts";

function bodyOf(kind: Kind, id: string, size: number): string {
  if (kind !== "lovage") return JSON.stringify({ id, size: size });
  return JSON.stringify({
    body: JSON.stringify([[size], {}, { callbacks: null, errbacks: null, chain: null, chord: null }]),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: { lang: "py", task: "bench.text", id, root_id: id, parent_id: null, retries: 0, timelimit: [null, null] },
    properties: {
      correlation_id: id,
      reply_to: "",
      delivery_mode: 2,
      delivery_info: { exchange: "", routing_key: "celery" },
      body_encoding: "utf-8",
    },
  });
}

/** A batch of records for a kind of handler, each of a task whose result is a text of so many bytes. */
export function eventOf(kind: Kind, records: number, size: number) {
  const Records = Array.from({ length: records }, () => {
    const id = randomUUID();
    return {
      messageId: id,
      receiptHandle: id,
      body: bodyOf(kind, id, size),
      attributes: { ApproximateReceiveCount: "1", SentTimestamp: String(Date.now()) },
      messageAttributes: {},
      md5OfBody: "",
      eventSource: "aws:sqs",
      eventSourceARN: "arn:aws:sqs:us-east-1:000000000000:celery",
      awsRegion: "us-east-1",
    };
  });
  return { Records };
}
