/** The functions' bundles as they are deployed, opened. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { build } from "esbuild";
import { TaskQueues } from "lovage/cdk";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { app } from "../../functions/tasks.ts";
import { bundlingFor } from "../../src/cdk/task-function.ts";
import { FUNCTIONS, shop } from "./deployment.ts";

const outdir = mkdtempSync(join(tmpdir(), "lovage-bundle-"));
afterAll(() => rmSync(outdir, { recursive: true }));

interface Bundle {
  readonly folder: string;
  readonly code: string;
  /** The modules that the bundle is made of, as paths. */
  readonly modules: readonly string[];
}

let worker: Bundle;
let beat: Bundle;

beforeAll(() => {
  const stack = new Stack(new App({ outdir }), "Bundled");
  new TaskQueues(stack, "Tasks", { app, entry: join(FUNCTIONS, "worker.ts"), beatEntry: join(FUNCTIONS, "beat.ts") });
  const bundles = readdirSync(outdir)
    .filter((name) => name.startsWith("asset."))
    .map((name): Bundle => {
      const folder = join(outdir, name);
      const map = JSON.parse(readFileSync(join(folder, "index.mjs.map"), "utf8")) as { sources: string[] };
      return { folder, code: readFileSync(join(folder, "index.mjs"), "utf8"), modules: map.sources };
    });
  // The queues of an app have one bundle between them: what is bundled twice would be seen.
  expect(bundles).toHaveLength(2);
  const of = (entry: string) => bundles.find(({ modules }) => modules.some((path) => path.endsWith(entry))) as Bundle;
  worker = of("functions/worker.ts");
  beat = of("functions/beat.ts");
}, 60_000);

test("the worker's bundle has at most 290 KB, and beat's, with the calendar of all time zones, at most 345", () => {
  expect(worker.code.length).toBeLessThanOrEqual(290_000);
  expect(beat.code.length).toBeLessThanOrEqual(345_000);
});

/** What no function of an app ever uses. */
const UNUSED = [
  "sqlite",
  "brokers/memory",
  "results/memory",
  "src/cli/",
  "src/cdk/",
  "src/testing/",
  "src/beat/loop",
  "src/workers/poll",
  "aws-cdk-lib",
  "node_modules/yaml/",
  "@msgpack",
  "@aws-sdk",
  "eventbridge",
  "commander",
];

test("they carry SQS and DynamoDB by clients of their own, and nothing that a function never uses", () => {
  const parts = ({ modules }: Bundle, part: string) => modules.filter((module) => module.includes(part));
  for (const bundle of [worker, beat]) {
    for (const part of ["src/brokers/sqs.ts", "src/results/dynamodb.ts", "bundled-sqs.ts", "bundled-dynamodb.ts"])
      expect(parts(bundle, part)).toHaveLength(1);
    expect(bundle.code).not.toContain("node:sqlite");
  }
  for (const part of [...UNUSED, "temporal-polyfill", "suncalc"]) expect(parts(worker, part)).toEqual([]);
  // AWS's signer, and what that needs, is all that comes from elsewhere.
  expect(parts(worker, "node_modules/").filter((module) => !/@smithy\/(signature-v4|core)\//.test(module))).toEqual([]);
  for (const part of UNUSED.filter((part) => part !== "eventbridge")) expect(parts(beat, part)).toEqual([]);
});

test("a client of the SDK's that a task brings along has the credentials of its environment, and no chain to look for others", async () => {
  const aliases = bundlingFor(app).esbuildArgs?.["--alias"] as readonly string[];
  const { metafile } = await build({
    stdin: { contents: 'export { SQSClient } from "@aws-sdk/client-sqs"', resolveDir: FUNCTIONS },
    alias: Object.fromEntries(aliases.map((alias) => alias.split("="))),
    bundle: true,
    platform: "node",
    mainFields: ["module", "main"],
    write: false,
    metafile: true,
  });
  const inputs = Object.keys(metafile.inputs);
  expect(inputs.filter((path) => path.includes("node_modules/@aws-sdk/client-sqs/"))).not.toEqual([]);
  expect(inputs.filter((path) => /credential-provider-|nested-clients/.test(path))).toEqual([]);
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
    cwd: worker.folder,
    env,
    encoding: "utf8",
  });
  expect(JSON.parse(answer)).toEqual({ batchItemFailures: [] });
  expect(worker.code).toContain('"TimeLimitExceeded"');
});

test("what is bundled has the syntax of the older of Lambda's two runtimes", () => {
  expect(bundlingFor(app).target).toBe("node22");
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
  expect(bundled.length - worker.code.length).toBeLessThanOrEqual(8 * 1024);
  expect(worker.code).not.toContain("CreateSchedule");
});
