/** `-c dynamodb=http://…` is where the functions find DynamoDB; `-c version=…` changes them. */
import { fileURLToPath } from "node:url";
import { App, Stack } from "aws-cdk-lib";
import { TaskQueues } from "lovage/cdk";
import { app } from "./tasks.ts";

const cdk = new App();
const context = (name: string): string => String(cdk.node.tryGetContext(name) ?? "");
const stack = new Stack(cdk, "Live");
const tasks = new TaskQueues(stack, "Tasks", {
  app,
  prefix: "",
  entry: fileURLToPath(new URL("worker.ts", import.meta.url)),
});
for (const name of Object.keys(app.config.taskQueues)) {
  const queue = tasks.queue(name);
  if (queue.worker !== "function") continue;
  const { function: fn } = queue;
  fn.addEnvironment("LIVE_VERSION", `v${context("version")}`);
  if (context("dynamodb")) fn.addEnvironment("AWS_ENDPOINT_URL_DYNAMODB", context("dynamodb"));
}
