/** A monorepo that pnpm itself installs: the stack in one workspace, the tasks in another, and so two copies of the package. */
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { env, exec, installOnce, installPacked, root } from "./packed.ts";

const VERSION = "10.34.9";

/** Another than that of the checkout. */
const OTHER_CDK = "2.275.0";

let folder: string;
let tool: string;
let lovage: Readonly<Record<string, string>>;
let remove: () => Promise<void>;
const pnpm = (args: readonly string[], cwd = folder) =>
  exec(join(tool, "node_modules/.bin/pnpm"), args, {
    cwd,
    env: {
      ...env,
      CI: "true",
      npm_config_store_dir: join(folder, "..", "store"),
      // The CDK runs esbuild by it.
      PATH: [join(tool, "node_modules/.bin"), env["PATH"]].join(delimiter),
    },
  });

function write(name: string, text: string | object): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), typeof text === "string" ? text : JSON.stringify(text));
}

beforeAll(async () => {
  tool = await installOnce("pnpm", [`pnpm@${VERSION}`]);
  const packed = await installPacked();
  remove = packed.remove;
  folder = join(packed.user, "..", "monorepo");
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const own = (name: string) => ({ [name]: devDependencies[name] });
  lovage = { lovage: `file:${packed.tarball}` };
  write("package.json", { private: true, devDependencies: own("esbuild") });
  write("pnpm-workspace.yaml", "packages: [infra, packages/*]\nonlyBuiltDependencies: [esbuild]\n");
  write(
    "packages/tasks/tasks.ts",
    `import { Lovage } from "lovage";
     export const app = new Lovage("shop");
     export const add = app.task("shop.add", (x: number, y: number) => x + y);`,
  );
  write(
    "packages/tasks/worker.ts",
    `import { createWorkerHandler } from "lovage/lambda";
     import { app } from "./tasks.ts";
     export const handler = createWorkerHandler(app);`,
  );
  write(
    "packages/tasks/try.ts",
    `import { testApp } from "lovage/testing";
     import { add, app } from "./tasks.ts";
     await using t = testApp(app);
     const result = await add.delay(1, 2);
     await t.drain();
     console.log(await result.get({ timeout: 60 }));`,
  );
  write("infra/package.json", {
    name: "@shop/infra",
    type: "module",
    dependencies: { ...lovage, ...own("aws-cdk-lib"), ...own("constructs"), "@shop/tasks": "workspace:*" },
  });
  write(
    "infra/main.ts",
    `import { join } from "node:path";
     import { App, Stack } from "aws-cdk-lib";
     import { TaskQueues } from "lovage/cdk";
     import { Lovage } from "lovage";
     import { startWorker } from "lovage/worker";
     import { app } from "@shop/tasks";
     const root = join(import.meta.dirname, "..");
     const cdk = new App({ outdir: join(root, "cdk.out") });
     new TaskQueues(new Stack(cdk, "Shop"), "Tasks", { app, entry: join(root, "packages/tasks/worker.ts") });
     cdk.synth();
     if (!(app instanceof Lovage)) console.log(await startWorker(app).catch((error: Error) => error.message));
     console.log(app instanceof Lovage);`,
  );
}, 300_000);
afterAll(() => remove(), 300_000);

/** Installs with these dependencies of the tasks beside the package, and says whether the workspaces share one copy of it. */
async function shared(more: Readonly<Record<string, string>>): Promise<boolean> {
  write("packages/tasks/package.json", {
    name: "@shop/tasks",
    type: "module",
    exports: { ".": "./tasks.ts" },
    dependencies: { ...lovage, ...more },
  });
  await pnpm(["install", "--no-frozen-lockfile", "--reporter", "append-only"]);
  const [stack, tasks] = ["infra", "packages/tasks"].map((name) =>
    realpathSync(join(folder, name, "node_modules/lovage")),
  );
  return stack === tasks;
}

test("one copy serves both workspaces, where the peers of one are those of the other, or none", async () => {
  expect(await shared({})).toBe(true);
  const { stdout } = await pnpm(["--filter", "@shop/infra", "exec", "node", "main.ts"]);
  expect(stdout.trim().split("\n").at(-1)).toBe("true");
});

test("pnpm makes two of it where they have a peer in two versions", async () => {
  expect(await shared({ "aws-cdk-lib": OTHER_CDK, constructs: "10.8.1" })).toBe(false);
});

test("the stack of one copy is made of the app of the other, whose function loads", async () => {
  const { stdout } = await pnpm(["--filter", "@shop/infra", "exec", "node", "main.ts"]);
  const [refused, same] = stdout.trim().split("\n").slice(-2);
  expect(same).toBe("false");
  expect(refused).toMatch(/^app: was made by another copy of lovage.*pnpm why lovage/);
  const out = join(folder, "cdk.out");
  const [asset = ""] = readdirSync(out).filter((name) => name.startsWith("asset.") && !name.endsWith(".json"));
  const script = `
    const { handler } = await import(${JSON.stringify(pathToFileURL(join(out, asset, "index.mjs")).href)});
    console.log(JSON.stringify(await handler({ Records: [] }, { awsRequestId: "r", getRemainingTimeInMillis: () => 1000 })));`;
  const answered = await exec(process.execPath, ["--input-type=module", "-e", script], {
    cwd: out,
    env: { LOVAGE_BROKER_URL: "sqs://eu-west-1", LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/celery" },
  });
  expect(JSON.parse(answered.stdout)).toEqual({ batchItemFailures: [] });
});

test("pnpm why lovage shows who brings them", async () => {
  const { stdout } = await pnpm(["-r", "why", "lovage"]);
  expect(stdout).toContain("@shop/infra");
  expect(stdout).toContain("@shop/tasks");
});

test("where the tasks are, they run", async () => {
  const { stdout } = await pnpm(["--filter", "@shop/tasks", "exec", "node", "try.ts"]);
  expect(stdout.trim()).toBe("3");
});
