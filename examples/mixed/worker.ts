/** The TypeScript half: `node worker.ts` serves the queue `reports`, `node worker.ts order 7` asks Python for an order's total. */
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";

const aws = process.env["AWS_ENDPOINT_URL"]?.replace(/^http:\/\//, "");

export const app = new Lovage("shop", {
  brokerUrl: aws ? `sqs://test:test@${aws}` : "sqs://",
  resultBackend: aws ? `dynamodb://test:test@${aws}/shop-results?keys=python` : "dynamodb:///shop-results?keys=python",
  brokerTransportOptions: { queueNamePrefix: "shop-", waitTimeSeconds: 1 },
  taskQueues: ["reports", "celery"],
  taskRoutes: { "reports.*": { queue: "reports" } },
});

export const render = app.task(
  "reports.render",
  { params: ["prices", "order", "copies"] },
  (prices: number[], order: number, copies: number) => {
    const total = prices.reduce((sum, price) => sum + price, 0);
    return `order ${order}: ${copies} copies, ${total} in total`;
  },
);

if (import.meta.main) {
  const [command, order] = process.argv.slice(2);
  if (command === "order") {
    const result = await app.sendTask<number>("orders.total", [Number(order)]);
    console.log(`order ${order}: ${await result.get({ timeout: 30 })}`);
    await app.close();
  } else {
    const worker = await startWorker(app, {
      queues: ["reports"],
      log: (level, text) => console.log(`${level}: ${text}`),
    });
    process.once("SIGINT", () => void worker.stop());
    process.once("SIGTERM", () => void worker.stop());
    await worker.ended;
    await app.close();
  }
}
