/** The worker's bundle as it is deployed, opened. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { TaskQueues } from "lovage/cdk";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { app } from "../../functions/tasks.ts";
import { bundlingFor } from "../../src/cdk/task-function.ts";
import { FUNCTIONS, shop } from "./deployment.ts";

const outdir = mkdtempSync(join(tmpdir(), "lovage-bundle-"));
afterAll(() => rmSync(outdir, { recursive: true }));

let folder = "";
let code = "";
/** The modules that the bundle is made of. */
let modules: readonly string[] = [];

beforeAll(() => {
  const stack = new Stack(new App({ outdir }), "Bundled");
  new TaskQueues(stack, "Tasks", {
    app,
    entry: join(FUNCTIONS, "worker.ts"),
    // The same function three times over: what is bundled twice would be seen.
    beatEntry: join(FUNCTIONS, "worker.ts"),
  });
  const assets = readdirSync(outdir).filter((name) => name.startsWith("asset."));
  expect(assets).toHaveLength(1);
  folder = join(outdir, assets[0] ?? "");
  code = readFileSync(join(folder, "index.mjs"), "utf8");
  modules = (JSON.parse(readFileSync(join(folder, "index.mjs.map"), "utf8")) as { sources: string[] }).sources;
}, 60_000);

test("the worker's bundle has at most 500 KB", () => {
  expect(code.length).toBeLessThanOrEqual(500 * 1024);
});

test("it carries SQS and DynamoDB, and nothing that a function never uses", () => {
  const has = (part: string) => modules.filter((module) => module.includes(part));
  expect(has("src/brokers/sqs.ts")).toHaveLength(1);
  expect(has("src/results/dynamodb.ts")).toHaveLength(1);
  for (const part of [
    "sqlite",
    "brokers/memory",
    "results/memory",
    "src/cli/",
    "src/cdk/",
    "src/testing/",
    "aws-cdk-lib",
    "node_modules/yaml/",
    "@msgpack",
    "client-eventbridge",
    "client-scheduler",
    "temporal-polyfill",
    "nested-clients",
    "commander",
  ]) {
    expect(has(part)).toEqual([]);
  }
  expect(code).not.toContain("node:sqlite");
  // Of the clients, the commands that are used.
  expect(has("client-dynamodb/dist-es/commands/Put")).toHaveLength(1);
  expect(has("client-dynamodb/dist-es/commands/Transact")).toEqual([]);
});

test("it has one copy of each package of the SDK", () => {
  const packages = new Map<string, Set<string>>();
  for (const module of modules) {
    const [, place = "", name = ""] = /^(.*node_modules\/)((?:@[^/]+\/)?[^/]+)/.exec(module) ?? [];
    if (!/^@(aws-sdk|smithy)\//.test(name)) continue;
    packages.set(name, (packages.get(name) ?? new Set()).add(place));
  }
  expect(packages.has("@aws-sdk/client-sqs")).toBe(true);
  expect([...packages].filter(([, places]) => places.size > 1)).toEqual([]);
});

test("it loads by itself, as an ES module with a handler, and keeps the names of classes", () => {
  const script = `
    const { handler } = await import("./index.mjs");
    const answer = await handler({ Records: [] }, { awsRequestId: "r", getRemainingTimeInMillis: () => 1000 });
    console.log(JSON.stringify(answer));`;
  const env = {
    PATH: process.env["PATH"],
    LOVAGE_BROKER_URL: "sqs://eu-west-1",
    LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/celery",
  };
  const answer = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: folder,
    env,
    encoding: "utf8",
  });
  expect(JSON.parse(answer)).toEqual({ batchItemFailures: [] });
  expect(code).toContain('"TimeLimitExceeded"');
});

test("an app that takes another serializer has it in its bundle", () => {
  const { define } = bundlingFor(shop({ acceptContent: ["json", "yaml"] }));
  expect(define).toEqual({ LOVAGE_BUNDLE: '"aws"', LOVAGE_SCHEDULER: "false" });
  expect(bundlingFor(shop()).define).toHaveProperty("LOVAGE_JSON_ONLY");
});

test("with long delays it brings Scheduler too, to be loaded when a message is due far off", () => {
  const outdir = mkdtempSync(join(tmpdir(), "lovage-bundle-"));
  onTestFinished(() => rmSync(outdir, { recursive: true }));
  const stack = new Stack(new App({ outdir }), "Bundled");
  new TaskQueues(stack, "Tasks", { app: shop(), entry: join(FUNCTIONS, "worker.ts"), longDelays: true });
  const [asset = ""] = readdirSync(outdir).filter((name) => name.startsWith("asset."));
  const bundled = readFileSync(join(outdir, asset, "index.mjs"), "utf8");
  expect(bundled).toContain("CreateSchedule");
  expect(bundled.length - code.length).toBeLessThanOrEqual(50 * 1024);
  expect(code).not.toContain("CreateSchedule");
});
