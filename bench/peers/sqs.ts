/** Lovage on SQS and DynamoDB: `worker`, or `submit <members of the group>`. */
import { group, Lovage } from "lovage";
import { startWorker } from "lovage/worker";

const [role, size] = process.argv.slice(2);
const host = `127.0.0.1:${process.env["BENCH_PORT"]}`;
const app = new Lovage("bench", {
  brokerUrl: `sqs://test:test@${host}`,
  resultBackend: `dynamodb://test:test@${host}/lovage`,
  taskQueues: { lovage: {} },
  taskDefaultQueue: "lovage",
  // As the peer's, and as soon at its end.
  brokerTransportOptions: { waitTimeSeconds: 1 },
});
const add = app.task("bench.add", (x: number, y: number) => x + y);
const tell = (event: string, more: object = {}) => console.log(JSON.stringify({ event, ...more }));

async function round(count: number) {
  const from = performance.now();
  const result = await group(Array.from({ length: count }, (_, index) => add.s(index, 1))).applyAsync();
  const submitted = performance.now();
  const values = (await result.get()) as readonly unknown[];
  const right = values.length === count && values.every((value, index) => value === index + 1);
  return { submitMs: submitted - from, resultsMs: performance.now() - from, right };
}

if (role === "worker") {
  const worker = await startWorker(app, { concurrency: 20 });
  tell("ready");
  // A poll that is broken off may still be answered, by messages of the next round.
  process.once("SIGTERM", async () => {
    await worker.stop();
    await app.close();
    process.exit(0);
  });
} else {
  await round(10);
  tell("begin");
  tell("done", await round(Number(size)));
  await app.close();
}
