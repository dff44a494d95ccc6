/**
 * Bundling in a container, as `forceDockerBundling` asks for it. The machine has no Docker: in its place the CDK is given
 * (CDK_DOCKER) a program that does with a container's command what a container would, in whose folders nothing of the
 * machine is but the project.
 */
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { Architecture } from "aws-cdk-lib/aws-lambda";
import { Lovage } from "lovage";
import { TaskQueues } from "lovage/cdk";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { env, exec, installPacked, root } from "./packed.ts";

let user: string;
let remove: () => Promise<void>;
const before = process.cwd();
beforeAll(async () => {
  ({ user, remove } = await installPacked());
  await exec("npm", ["install", "--no-audit", "--no-fund", "hono@4"], { cwd: user, env });
  // The CDK reads the project of the folder that it runs in.
  process.chdir(user);
}, 300_000);
afterAll(async () => {
  process.chdir(before);
  vi.unstubAllEnvs();
  await remove();
}, 300_000);

/** Notes its arguments; runs what the container was to run, with the folders of this machine in place of those mounted. */
const DOCKER = `#!${process.execPath}
const { appendFileSync } = require("node:fs");
const { spawnSync } = require("node:child_process");
const args = process.argv.slice(2);
appendFileSync(process.env.DOCKER_CALLS, JSON.stringify(args) + "\\n");
// "image inspect": it has none yet, so one is built.
if (args[0] === "image") process.exit(1);
if (args[0] === "run") {
  const mounts = args.flatMap((word, i) => (args[i - 1] === "-v" ? [word.split(":").slice(0, 2)] : []));
  const here = (text) => mounts.reduce((all, [host, mounted]) => all.replaceAll(mounted, host), text);
  const [shell, ...command] = args.slice(args.findIndex((word) => word === "bash"));
  process.exit(spawnSync(shell, command.map(here), { stdio: "inherit", cwd: mounts[0][0] }).status);
}
`;

test("a function that is bundled in a container carries the SDK's clients, has its modules beside it, and loads", async () => {
  const [docker, calls] = [join(user, "../docker"), join(user, "../calls")];
  writeFileSync(
    join(user, "worker.ts"),
    `import { Hono } from "hono";
     import { Lovage } from "lovage";
     import { createWorkerHandler } from "lovage/lambda";
     const app = new Lovage("shop");
     app.task("shop.add", (x: number, y: number) => new Hono().routes.length + x + y);
     export const handler = createWorkerHandler(app);`,
  );
  writeFileSync(docker, DOCKER);
  chmodSync(docker, 0o755);
  vi.stubEnv("CDK_DOCKER", docker);
  vi.stubEnv("DOCKER_CALLS", calls);
  // The image has an esbuild and an npm.
  vi.stubEnv("PATH", `${join(root, "node_modules/.bin")}:${env["PATH"]}`);

  const outdir = join(user, "cdk.out");
  const stack = new Stack(new App({ outdir }), "Shop");
  new TaskQueues(stack, "Tasks", {
    app: new Lovage("shop", {}, { env: {} }),
    entry: "worker.ts",
    architecture: Architecture.ARM_64,
    bundling: { forceDockerBundling: true, nodeModules: ["hono"] },
  });
  const called = readFileSync(calls, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as string[]);
  const [build, run] = ["build", "run"].map((word) => called.find(([first]) => first === word));
  // The installation is that of the function's platform.
  expect(build?.join(" ")).toContain("--platform linux/arm64");
  // Nothing but the mounts is of this machine.
  const command = run?.at(-1) ?? "";
  expect(command).toContain("/asset-input/worker.ts");
  for (const folder of [root, user]) expect(command).not.toContain(folder);

  const [asset = ""] = readdirSync(outdir).filter((name) => name.startsWith("asset."));
  expect(readdirSync(join(outdir, asset, "node_modules"))).toContain("hono");
  expect(readFileSync(join(outdir, asset, "index.mjs"), "utf8")).toContain("SQSServiceException");
  const script = `
    const { handler } = await import("./index.mjs");
    console.log(JSON.stringify(await handler({ Records: [] }, { awsRequestId: "r", getRemainingTimeInMillis: () => 1000 })));`;
  const { stdout } = await exec(process.execPath, ["--input-type=module", "-e", script], {
    cwd: join(outdir, asset),
    env: { LOVAGE_BROKER_URL: "sqs://eu-west-1", LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/celery" },
  });
  expect(JSON.parse(stdout)).toEqual({ batchItemFailures: [] });
});
