/** What an app whose tasks have limits, or gather calls, is deployed with beyond any other. */
import { Annotations, Match } from "aws-cdk-lib/assertions";
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

test("a bundle has what batches need where a task has one, declared here or by taskRef", () => {
  const gathers = new Lovage("shop", {}, { env: {} });
  gathers.batchTask("shop.index", { size: 10, wait: 1 }, (calls) => calls.map(() => 1));
  const named = new Lovage("shop", {}, { env: {} });
  named.taskRef("shop.index", { size: 10, wait: 1 });
  for (const app of [gathers, named]) expect(bundlingFor(app).define).toMatchObject({ LOVAGE_BATCHES: "true" });
  expect(bundlingFor(shop()).define).toMatchObject({ LOVAGE_BATCHES: "false" });
});

test("a rate above what one row takes is warned of, for each task, with what to do", () => {
  const app = new Lovage("shop", { taskAnnotations: { "shop.annotated": { rateLimit: "60000/m" } } }, { env: {} });
  app.task("shop.most", { rateLimit: "250/s" }, (id: string) => id);
  app.task("shop.hour", { rateLimit: "900000/h" }, (id: string) => id);
  app.task("shop.places", { concurrency: 1_000 }, () => {});
  app.task("shop.hot", { rateLimit: "1000/s" }, (id: string) => id);
  app.task("shop.keyed", { rateLimit: { limit: 251, key: (id: string) => id } }, (id: string) => id);
  app.task("shop.annotated", (id: string) => id);
  const warnings = Annotations.fromStack(deploy(app).stack)
    .findWarning("*", Match.stringLikeRegexp("rateLimit of"))
    .map(({ entry }) => String(entry.data).replace(/ \[ack: .*/, ""));
  expect(warnings.toSorted()).toEqual([
    "rateLimit of shop.annotated lets 1000 tasks start in a second, and a row of DynamoDB takes about 250: give it a key that makes 4 rows of it or more, each with its share of the rate, such as (id: number) => String(id % 4)",
    "rateLimit of shop.hot lets 1000 tasks start in a second, and a row of DynamoDB takes about 250: give it a key that makes 4 rows of it or more, each with its share of the rate, such as (id: number) => String(id % 4)",
    "rateLimit of shop.keyed lets 251 tasks of one key start in a second, and a row of DynamoDB takes about 250: give it a finer key that makes 2 rows of it or more, each with its share of the rate, such as (id: number) => String(id % 2)",
  ]);
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
