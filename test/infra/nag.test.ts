import { join } from "node:path";
import { Stack, Validations } from "aws-cdk-lib";
import * as kms from "aws-cdk-lib/aws-kms";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { AwsSolutionsChecks } from "cdk-nag";
import { TaskQueues } from "lovage/cdk";
import { expect, test } from "vitest";
import { LovageStack } from "../../infra/stack.ts";
import { FUNCTIONS, shop, unbundled } from "./deployment.ts";

test("AWS's Solutions pack finds nothing in the stack", () => {
  const app = unbundled();
  new LovageStack(app, "Lovage");
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  expect(() => app.synth()).not.toThrow();
});

test("nor where long delays are kept by Scheduler", () => {
  const app = unbundled();
  const stack = new Stack(app, "Late");
  new TaskQueues(stack, "Tasks", { app: shop(), entry: join(FUNCTIONS, "worker.ts"), longDelays: true });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  expect(() => app.synth()).not.toThrow();
});

test("nor where a key of one's own encrypts everything", () => {
  const app = unbundled();
  const stack = new Stack(app, "Keyed");
  new TaskQueues(stack, "Tasks", {
    app: shop({ taskQueues: { celery: {}, media: {} }, beatSchedule: { often: { task: "shop.add", schedule: 60 } } }),
    entry: join(FUNCTIONS, "worker.ts"),
    beatEntry: join(FUNCTIONS, "beat.ts"),
    encryptionKey: new kms.Key(stack, "Key", { enableKeyRotation: true }),
    longDelays: true,
  });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  expect(() => app.synth()).not.toThrow();
});

test("the pack would find a queue without TLS", () => {
  const app = unbundled();
  new sqs.Queue(new Stack(app, "Bad"), "Queue");
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  expect(() => app.synth()).toThrow();
});
