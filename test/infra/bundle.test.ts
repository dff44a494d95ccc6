/** The functions' bundles as they are deployed, opened. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { OutputFormat } from "aws-cdk-lib/aws-lambda-nodejs";
import { build } from "esbuild";
import { Lovage, type TaskRefOptions } from "lovage";
import { type TaskBundling, TaskQueues } from "lovage/cdk";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { app } from "../../functions/tasks.ts";
import { bundlingFor, type FunctionBundling } from "../../src/cdk/task-function.ts";
import { folderInCheckout } from "../temporary.ts";
import { pathWithoutNpx } from "../without-npx.ts";
import { FUNCTIONS, shop } from "./deployment.ts";

const outdir = mkdtempSync(join(tmpdir(), "lovage-bundle-"));
afterAll(() => rmSync(outdir, { recursive: true }));

beforeAll(() => void vi.stubEnv("PATH", pathWithoutNpx()));
afterAll(() => void vi.unstubAllEnvs());

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
});

test("the worker's bundle has below 300 KB, and beat's, with the calendar of all time zones, at most 355", () => {
  expect(worker.code.length).toBeLessThan(300_000);
  expect(beat.code.length).toBeLessThanOrEqual(355_000);
});

/** What no function of an app ever uses. */
const UNUSED = [
  "sqlite",
  "brokers/memory",
  "results/memory",
  "src/board/",
  "node_modules/hono/",
  "src/cli/",
  "src/cdk/",
  "src/testing/",
  "src/beat/loop",
  "src/workers/poll",
  "src/workers/run-queue",
  "src/workers/dispatch",
  "aws-cdk-lib",
  "node_modules/yaml/",
  "@msgpack",
  "protocol/msgpack",
  "protocol/yaml",
  "@aws-sdk",
  "eventbridge",
  "src/payloads/",
  "bundled-s3",
  "commander",
  "journal/query",
  "journal/workflow",
  "journal/summary",
  "limits/declare",
  "src/workers/batch",
];

test("they carry SQS and DynamoDB by clients of their own, and nothing that a function never uses", () => {
  const parts = ({ modules }: Bundle, part: string) => modules.filter((module) => module.includes(part));
  for (const bundle of [worker, beat]) {
    for (const part of ["src/brokers/sqs.ts", "src/results/dynamodb.ts", "bundled-sqs.ts", "bundled-dynamodb.ts"])
      expect(parts(bundle, part)).toHaveLength(1);
    expect(bundle.code).not.toContain("node:sqlite");
  }
  for (const part of [...UNUSED, "temporal-polyfill", "suncalc"]) expect(parts(worker, part)).toEqual([]);
  expect(parts(worker, "node_modules/")).toEqual([]);
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

/** A module among those of the functions, bundled as a function is; the file. */
async function bundled(
  name: string,
  { define = {}, esbuildArgs = {} }: ReturnType<typeof bundlingFor>,
  contents: string,
): Promise<string> {
  const aliases = esbuildArgs["--alias"] as readonly string[];
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: FUNCTIONS },
    bundle: true,
    platform: "node",
    format: "esm",
    define,
    alias: Object.fromEntries(aliases.map((alias) => alias.split("="))),
    write: false,
  });
  const file = join(outdir, `${name}.mjs`);
  writeFileSync(file, outputFiles[0]?.text ?? "");
  return file;
}

test("what reads the journal is bundled where it is asked for, and where it is not a function says so", async () => {
  const said = async (name: string, options: FunctionBundling) => {
    const file = await bundled(
      name,
      bundlingFor(app, options),
      `import { app } from "./tasks.ts"; export const found = [
        await app.journal.failures().catch(String), await app.workflow("id").catch(String),
        await Promise.try(() => app.journal.find()).then((found) => typeof found.next, String)];`,
    );
    const env = { LOVAGE_BROKER_URL: "sqs://eu-west-1", LOVAGE_RESULT_BACKEND: "dynamodb://127.0.0.1:1/celery" };
    const script = `console.log(JSON.stringify((await import(${JSON.stringify(file)})).found));`;
    return JSON.parse(
      execFileSync(process.execPath, ["--input-type=module", "-e", script], { env, encoding: "utf8" }),
    ) as readonly string[];
  };
  const without = await said("unread", { journal: false });
  for (const one of without) expect(one).toContain("bundling: { journal: true }");
  expect((await said("read", {})).join()).not.toContain("bundling:");
  expect((await said("read", {}))[2]).toBe("function");
});

test("a batch runs in a bundle of an app that has one, and elsewhere batchTask() says why it does not", async () => {
  const said = async (name: string, options: TaskRefOptions) => {
    const deployed = new Lovage("tasks", {}, { env: {} });
    deployed.taskRef("tasks.index", options);
    const file = await bundled(
      name,
      bundlingFor(deployed),
      `import { currentTask, Lovage } from "lovage";
        const work = (calls) => calls.map(({ args: [n] }) => n + currentTask().name);
        const run = async () => (await new Lovage("tasks").batchTask("tasks.index", { size: 2, wait: 1 }, work).apply([7])).get();
        export const found = await run().catch(String);`,
    );
    return ((await import(file)) as { readonly found: string }).found;
  };
  expect(await said("batched", { size: 2, wait: 1 })).toBe("7tasks.index");
  expect(await said("unbatched", {})).toContain("no task had a batch when this bundle was deployed");
});

test("what is bundled has the syntax of the older of Lambda's two runtimes", () => {
  expect(bundlingFor(app).target).toBe("node22");
});

test("an app that takes another serializer has it in its bundle", () => {
  const { define } = bundlingFor(shop({ acceptContent: ["json", "yaml"] }));
  expect(define).toMatchObject({ LOVAGE_BUNDLE: '"aws"', LOVAGE_SCHEDULER: "false" });
  expect(define).not.toHaveProperty("LOVAGE_JSON_ONLY");
  expect(bundlingFor(shop()).define).toHaveProperty("LOVAGE_JSON_ONLY");
});

test("an app that is configured from an object has what reads it in its bundle", () => {
  const configured = shop();
  expect(bundlingFor(configured).define).toHaveProperty("LOVAGE_OWN_NAMES");
  configured.configFromObject({ task_time_limit: 20 });
  expect(bundlingFor(configured).define).not.toHaveProperty("LOVAGE_OWN_NAMES");
  expect(worker.modules.filter((module) => module.endsWith("src/config/config-object.ts"))).toEqual([]);
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

describe("bundling of one's own", () => {
  // The CDK bundles nothing from elsewhere.
  const outdir = folderInCheckout("bundle-");
  const entry = join(FUNCTIONS, "worker.ts");
  // A function lies in a folder of its own: the checkout does not say there what a .js file is.
  writeFileSync(join(outdir, "package.json"), "{}");
  // Dependencies as many are: one is CommonJS and asks where it is, the other is a module and finds out by itself.
  mkdirSync(join(outdir, "tasks"));
  writeFileSync(
    join(outdir, "tasks/old.cjs"),
    `const { basename } = require("node:path"); exports.old = [basename(__dirname), basename(__filename)];`,
  );
  writeFileSync(
    join(outdir, "tasks/worker.ts"),
    `import { createRequire } from "node:module";
     import { old } from "./old.cjs";
     const require = createRequire(import.meta.url);
     const __dirname = require("node:path").dirname(import.meta.filename);
     export { handler } from ${JSON.stringify(entry)};
     export const found = [...old, __dirname === import.meta.dirname];`,
  );

  /** Bundles the worker as the CDK does, and loads it; gives what it exports. */
  function load(
    name: string,
    bundling: TaskBundling,
    worker = entry,
  ): { readonly found: unknown; readonly code: string } {
    const folder = join(outdir, name);
    const stack = new Stack(new App({ outdir: folder }), "Bundled");
    new TaskQueues(stack, "Tasks", { app: shop(), entry: worker, bundling });
    const [asset = ""] = readdirSync(folder).filter((file) => file.startsWith("asset."));
    const [file = ""] = readdirSync(join(folder, asset)).filter((file) => /^index\.m?js$/.test(file));
    const script = `
      const loaded = await import(${JSON.stringify(join(folder, asset, file))});
      console.log(JSON.stringify({ handler: typeof loaded.handler, found: loaded.found }));`;
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
      // Where the bundle lies nothing is installed.
      cwd: folder,
      env: { LOVAGE_BROKER_URL: "sqs://eu-west-1", LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/celery" },
      encoding: "utf8",
    });
    const { handler, found } = JSON.parse(said) as { readonly handler: string; readonly found: unknown };
    expect(handler).toBe("function");
    return { found, code: readFileSync(join(folder, asset, file), "utf8") };
  }

  test.each<[name: string, bundling: TaskBundling]>([
    ["definitions", { define: { "process.env.STAGE": '"prod"' } }],
    ["a banner", { banner: "/* (c) ACME */" }],
    ["CommonJS", { format: OutputFormat.CJS }],
    ["CommonJS with a banner", { format: OutputFormat.CJS, banner: "/* (c) ACME */" }],
    ["arguments of esbuild", { esbuildArgs: { "--log-limit": "0" } }],
    ["nothing minified", { minify: false, sourceMap: false }],
    ["an older syntax", { target: "node20" }],
    ["mainFields", { mainFields: ["main"] }],
  ])("%s: the bundle loads, and is ours in all else", (name, bundling) => {
    const { code } = load(name, bundling);
    // The SDK stays out, whatever else was asked for.
    expect(code).not.toContain("SQSServiceException");
    if (bundling.banner !== undefined) expect(code).toContain(bundling.banner);
  });

  test("awsSdk has the SDK's clients in it", () => {
    expect(load("sdk", { awsSdk: true }).code).toContain("SQSServiceException");
  });

  test("what is bundled in a container names no path of this machine, and so has the SDK's clients", () => {
    const args = (bundling: TaskBundling) => JSON.stringify(bundlingFor(shop(), bundling));
    expect(args({})).toContain(join(FUNCTIONS, ".."));
    expect(args({ forceDockerBundling: true })).not.toContain(join(FUNCTIONS, ".."));
  });

  test.each([true, false])(
    "what dependencies that are CommonJS expect is there, and no name is taken, minified: %s",
    (minify) => {
      const { found } = load(`names-${minify}`, { minify }, join(outdir, "tasks/worker.ts"));
      expect(found).toEqual([expect.stringMatching(/^asset\./), "index.mjs", true]);
    },
  );
});
