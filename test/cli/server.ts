/** A process of somebody's own with a worker in it. Ends by `process.exit(9)` of a task, or of its own, or when all is done. */
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";

const [, , ends] = process.argv;
const app = new Lovage("server", { brokerTransportOptions: { visibilityTimeout: 60 } });
let done = 0;
app.task("server.naps", async () => {
  if (ends === "naps") queueMicrotask(() => leave.resolve());
  await sleep(ends === "never" ? 10 : 20_000);
  done++;
  return "done";
});
app.task("server.exits", async () => {
  await sleep(50);
  if (ends === "exits") process.exit(9);
  done++;
  return "done";
});

const leave = Promise.withResolvers<void>();
void leave.promise.then(() => process.exit(9));
const worker = await startWorker(app, { concurrency: 4, log: (_, line) => void process.stdout.write(`${line}\n`) });
const broker = await app.engine.broker();
for (;;) {
  const { ready, inFlight } = await broker.size("celery");
  if (done > 0 && ready + inFlight === 0) break;
  await sleep(50);
}
await worker.stop();
await app.close();
