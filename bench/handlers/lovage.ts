/** The worker's function of an app with one task. */
import { Lovage } from "lovage";
import { createWorkerHandler } from "lovage/lambda";

export const app = new Lovage("bench", {
  brokerUrl: "sqs://us-east-1",
  resultBackend: "dynamodb://us-east-1/results",
});
app.task("bench.text", (size: number) => "x".repeat(size));

// Lambda's own lines are not what is measured: they go nowhere.
export const handler = createWorkerHandler(app, { write: () => undefined });
