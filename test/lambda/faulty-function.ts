/** A function under Lambda's runtime, whose listeners end the process of whatever nobody caught. Prints how its tasks ended. */
import { Lovage } from "lovage";
import { createWorkerHandler } from "lovage/lambda";
import { toRecord } from "./function.ts";

process.on("unhandledRejection", () => process.exit(129));
process.on("uncaughtException", () => process.exit(130));
process.env["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:9001";

const app = new Lovage("shop", { brokerUrl: "memory://faulty", resultBackend: "memory://faulty" });
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
app.task("shop.leaks", () => {
  void sleep(50).then(() => {
    throw new RangeError("nobody awaits this");
  });
});
app.task("shop.throws", async () => {
  setTimeout(() => {
    throw new TypeError("nobody can catch this");
  }, 50);
  await sleep(60_000);
});
app.task("shop.exits", async () => {
  process.exit(1);
});
app.task("shop.neighbour", async () => {
  await sleep(200);
  return "fine";
});

const handler = createWorkerHandler(app);
const results = [];
for (const task of ["shop.leaks", "shop.throws", "shop.exits", "shop.neighbour"])
  results.push(await app.sendTask(task));
const broker = await app.engine.broker();
const records = await broker.receive("celery", { max: 10, wait: 0 });
const context = { awsRequestId: "r", getRemainingTimeInMillis: () => 70_000 };
const { batchItemFailures } = await handler({ Records: records.map(toRecord) }, context);
const states = await Promise.all(results.map((result) => result.state()));
process.stdout.write(`${JSON.stringify({ states, batchItemFailures })}\n`);
// What is of no task ends the process as ever.
void Promise.reject(new Error("of the module"));
