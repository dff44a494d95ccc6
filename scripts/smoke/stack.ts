/** What `npm run smoke:aws` deploys: `-c prefix=…`, and for emulators `-c endpoint=…`, `-c enforceSSL=false` and `-c cliCredentials=true`. */
import { fileURLToPath } from "node:url";
import { App, CfnOutput, CliCredentialsStackSynthesizer, RemovalPolicy, Stack, Tags } from "aws-cdk-lib";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { TaskQueues } from "lovage/cdk";
import { app } from "./tasks.ts";

const cdk = new App();
const context = (name: string): string => String(cdk.node.tryGetContext(name) ?? "");
const prefix = context("prefix");
const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

const stack = new Stack(cdk, prefix.replace(/-$/, ""), {
  description: "A smoke test of Lovage: it may be deleted at any time",
  ...(context("cliCredentials") === "true" ? { synthesizer: new CliCredentialsStackSynthesizer() } : {}),
});
Tags.of(stack).add("lovage", "smoke");
const tasks = new TaskQueues(stack, "Tasks", {
  app,
  prefix,
  entry: path("worker.ts"),
  beatEntry: path("beat.ts"),
  longDelays: true,
  payloadStore: true,
  sendsTo: "all",
  queues: { sdk: { bundling: { awsSdk: true } } },
  enforceSSL: context("enforceSSL") !== "false",
  // Nothing of it is worth keeping.
  removalPolicy: RemovalPolicy.DESTROY,
});
if (tasks.beat !== undefined) tasks.grantSend(tasks.beat.function, ["requests"]);
// Whoever stands before an emulator sees what the functions send, too.
const endpoint = context("endpoint");
const functions = stack.node.findAll().filter((one) => one instanceof lambda.Function);
if (endpoint !== "") for (const one of functions) one.addEnvironment("AWS_ENDPOINT_URL", endpoint);
new CfnOutput(stack, "Alarms", { value: String(stack.node.findAll().filter(isAlarm).length) });

function isAlarm(construct: object): boolean {
  return "cfnResourceType" in construct && construct.cfnResourceType === "AWS::CloudWatch::Alarm";
}
