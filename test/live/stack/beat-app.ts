/** `-c runs=<file>` is where the tasks note that they ran. */
import { fileURLToPath } from "node:url";
import { App, Stack } from "aws-cdk-lib";
import { TaskQueues } from "lovage/cdk";
import { app } from "./beat-tasks.ts";

const cdk = new App();
const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const tasks = new TaskQueues(new Stack(cdk, "Ticks"), "Tasks", {
  app,
  prefix: "",
  entry: path("beat-worker.ts"),
  beatEntry: path("beat.ts"),
});
const worker = tasks.queue("celery");
worker.function.addEnvironment("RUNS", String(cdk.node.tryGetContext("runs")));
tasks.grantSchedule(worker);
