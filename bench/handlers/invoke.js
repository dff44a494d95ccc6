/** A fresh process, as Lambda starts one: imports a bundle, and gives its handler batches of ten. `invoke.js <bundle> <kind> <batches> <result's bytes>` */
import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";

const [bundle, kind, batches, size] = process.argv.slice(2);
const BATCH = 10;
/** Before CPU is counted: code is compiled by then. */
const WARM_UP = 100;

function body(id) {
  if (kind !== "lovage") return JSON.stringify({ id, size: Number(size) });
  return JSON.stringify({
    body: JSON.stringify([[Number(size)], {}, { callbacks: null, errbacks: null, chain: null, chord: null }]),
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

function event() {
  const Records = Array.from({ length: BATCH }, () => {
    const id = randomUUID();
    return {
      messageId: id,
      receiptHandle: id,
      body: body(id),
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

const wire = process.env.BENCH_WIRE === "none" ? await import("./wire.js") : undefined;
const context = { awsRequestId: "bench", functionName: "bench", getRemainingTimeInMillis: () => 60_000 };
const tell = (name, more) => console.log(JSON.stringify({ event: name, ...more }));

const began = performance.now();
const { handler } = await import(pathToFileURL(bundle).href);
const imported = performance.now();
const invoke = async () => {
  const { batchItemFailures } = await handler(event(), context);
  if (batchItemFailures.length > 0) throw new Error(`${batchItemFailures.length} records failed`);
};
await invoke();
const first = performance.now();
tell("cold", { importMs: imported - began, firstMs: first - began });

if (Number(batches) > 0) {
  for (let index = 0; index < WARM_UP; index++) await invoke();
  if (wire !== undefined) wire.requests.count = 0;
  const before = process.cpuUsage();
  const from = performance.now();
  for (let index = 0; index < Number(batches); index++) await invoke();
  const { user, system } = process.cpuUsage(before);
  const records = Number(batches) * BATCH;
  const requests = (wire?.requests.count ?? 0) / records;
  tell("warm", { requests, cpu: (user + system) / records, batchMs: (performance.now() - from) / Number(batches) });
}
process.exit(0);
