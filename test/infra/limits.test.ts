/** What an app whose tasks have limits, or gather calls, is deployed with beyond any other. */
import { Match } from "aws-cdk-lib/assertions";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { bundlingFor } from "../../src/cdk/task-function.ts";
import { allowed, deploy, roleOf, shop } from "./deployment.ts";

const LIMIT_ROWS = "lovage-limit-*";

function limited() {
  const app = new Lovage("shop", {}, { env: {} });
  app.task("shop.push", { rateLimit: "100/m" }, (id: string) => id);
  return app;
}

test("the worker of an app with limits may write their rows, and that of another may not", () => {
  const keys = (app: Lovage) => JSON.stringify(deploy(app).template().findResources("AWS::IAM::Policy"));
  expect(keys(limited())).toContain(LIMIT_ROWS);
  expect(keys(shop())).not.toContain(LIMIT_ROWS);
});

test("beat may write the rows of keys where an entry's task is unique, and else may not", () => {
  const scheduled = (name: string) => {
    const app = new Lovage("shop", { beatSchedule: { often: { task: name, schedule: 60 } } }, { env: {} });
    app.task("shop.sync", { unique: { key: () => "one", for: "running" } }, () => {});
    app.task("shop.add", () => {});
    const deployment = deploy(app);
    const { beat } = deployment.tasks;
    return allowed(deployment, roleOf((beat as NonNullable<typeof beat>).function)).filter((right) =>
      right.includes(LIMIT_ROWS),
    );
  };
  expect(scheduled("shop.sync")).toEqual([
    `dynamodb:BatchGetItem Results ${LIMIT_ROWS}`,
    `dynamodb:PutItem Results ${LIMIT_ROWS}`,
  ]);
  expect(scheduled("shop.add")).toEqual([]);
});

test("a bundle has what limits need where a task has one, by its declaration or an annotation", () => {
  expect(bundlingFor(limited()).define).toMatchObject({ LOVAGE_LIMITS: "true" });
  expect(bundlingFor(shop()).define).toMatchObject({ LOVAGE_LIMITS: "false" });
  const annotated = shop({ taskAnnotations: { "shop.add": { rateLimit: "10/s" } } });
  expect(bundlingFor(annotated).define).toMatchObject({ LOVAGE_LIMITS: "true" });
});

test("the batch of a queue, and its window, are those of the tasks that gather calls there", () => {
  const app = new Lovage(
    "shop",
    { taskQueues: { celery: {}, index: {}, own: { batchSize: 20, maxBatchingWindow: 3 } } },
    { env: {} },
  );
  app.batchTask("shop.index", { size: 100, wait: 1.5, queue: "index" }, (calls) => calls.map(() => 1));
  app.batchTask("shop.own", { size: 100, wait: 1.5, queue: "own" }, (calls) => calls.map(() => 1));
  const template = deploy(app).template();
  const has = (BatchSize: number, MaximumBatchingWindowInSeconds: number) =>
    template.hasResourceProperties("AWS::Lambda::EventSourceMapping", {
      BatchSize,
      MaximumBatchingWindowInSeconds,
      EventSourceArn: Match.anyValue(),
    });
  has(100, 2);
  has(20, 3);
});
