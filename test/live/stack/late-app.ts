/** An app with long delays, and a queue whose worker is denied them. */
import { fileURLToPath } from "node:url";
import { App, CliCredentialsStackSynthesizer, RemovalPolicy, Stack } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import { TaskQueues } from "lovage/cdk";
import { app } from "./late-tasks.ts";

const stack = new Stack(new App(), "Late", { synthesizer: new CliCredentialsStackSynthesizer() });
const tasks = new TaskQueues(stack, "Tasks", {
  app,
  prefix: "",
  entry: fileURLToPath(new URL("late-worker.ts", import.meta.url)),
  longDelays: true,
  queues: { denied: { sendsTo: ["celery"] } },
  enforceSSL: false,
  removalPolicy: RemovalPolicy.DESTROY,
});
const rule = (effect: iam.Effect) =>
  new iam.PolicyStatement({
    effect,
    actions: ["scheduler:CreateSchedule"],
    // ministack takes every entry for one of this group when it asks for a right.
    resources: [stack.formatArn({ service: "scheduler", resource: "schedule", resourceName: "default/*" })],
  });
tasks.queue("celery").function.addToRolePolicy(rule(iam.Effect.ALLOW));
tasks.queue("denied").function.addToRolePolicy(rule(iam.Effect.DENY));
