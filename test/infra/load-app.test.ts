/** What a stack is told of an app: by the module of its tasks, or by one that declares them without their code. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ConfigInput, ImproperlyConfigured, Lovage } from "lovage";
import { bundlingFor } from "lovage/cdk";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { isOfLoading } from "../../src/cdk/load-app.ts";
import { folderInCheckout } from "../temporary.ts";
import { allowed, deploy, roleOf } from "./deployment.ts";

const SOURCE = join(import.meta.dirname, "../../scripts/source.ts");

/** Says of each module what `loadApp` gives or throws, in a process of its own, as `cdk` has one. */
function load(files: Readonly<Record<string, string>>, modules: readonly string[]): readonly string[] {
  const folder = folderInCheckout("load-app-");
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  writeFileSync(
    join(folder, "infra.ts"),
    `import { loadApp } from "lovage/cdk";
    const said = process.argv.slice(2).map((module) => {
      try {
        const app = loadApp(module);
        return app.name + " " + [...app.tasks.keys()].join();
      } catch (error) {
        return error.name + ": " + error.message;
      }
    });
    console.log(JSON.stringify(said));`,
  );
  const args = ["--no-warnings", "--import", SOURCE, "infra.ts", ...modules];
  const env = { ...process.env, DATABASE_URL: undefined };
  const said = execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", env, timeout: 60_000 });
  return (JSON.parse(said) as string[]).map((line) => line.replaceAll(folder, "."));
}

const TASKS = `import { Lovage } from "lovage";
export const app = new Lovage("shop");
export const build = app.task("shop.build", () => 1);
`;

const REMEDY = `Synth runs no task, but loads the module in which tasks are declared: their queues, time limits, rate limits and schedules are what it deploys. What tasks need when they run (DATABASE_URL, sharp), have them ask for within their functions: await import("sharp") there, not at the top of a module. Or put the app into a module without the tasks' code, declare them there by app.taskRef(name, options), and load that one ("Without the tasks' code" in docs/how-to/deploy.md)`;

test("the app of a module is loaded, and what keeps it from that is told with what synth wants of it", () => {
  const files = {
    "tasks.ts": TASKS,
    "db.ts": 'if (!process.env["DATABASE_URL"])\n  throw new Error("DATABASE_URL is not set");\n',
    "with-database.ts": `import "./db.ts";\n${TASKS}`,
    "with-sharp.ts": `import sharp from "sharp";\n${TASKS}console.log(sharp);\n`,
    "node_modules/sharp/package.json": '{ "name": "sharp", "version": "0.34.0", "main": "index.js" }',
    "node_modules/sharp/index.js": 'throw new Error("Could not load the sharp module using the linux-x64 runtime");\n',
    "with-missing.ts": `import { draw } from "not-installed";\n${TASKS}draw();\n`,
    "with-await.ts": `${TASKS}await Promise.resolve();\n`,
    "two.ts": `${TASKS}export const shop = new Lovage("other");\nexport { shop as third };\n`,
    "none.ts": "export const app = 1;\n",
    "node_modules/@shop/tasks/package.json": '{ "name": "@shop/tasks", "exports": { "import": "./tasks.js" } }',
    "node_modules/@shop/tasks/tasks.js": TASKS,
  };
  expect(load(files, ["@shop/tasks", "./node_modules/@shop/tasks"])).toEqual(["shop shop.build", "shop shop.build"]);
  const said = load(files, [
    "tasks.ts",
    "./tasks",
    "two.ts:shop",
    "with-database.ts",
    "with-sharp.ts",
    "with-missing.ts",
    "with-await.ts",
    "none.ts",
    "tasks.ts:shop",
    "gone.ts",
  ]);
  expect(said.slice(0, 3)).toEqual(["shop shop.build", "shop shop.build", "other "]);
  expect(said[3]).toBe(
    `ImproperlyConfigured: app: with-database.ts could not be loaded: Error: DATABASE_URL is not set (./db.ts:2:9). ${REMEDY}`,
  );
  expect(said[4]).toBe(
    `ImproperlyConfigured: app: with-sharp.ts could not be loaded: Error: Could not load the sharp module using the linux-x64 runtime (./node_modules/sharp/index.js:1:7). ${REMEDY}`,
  );
  expect(said[5]).toContain("app: with-missing.ts could not be loaded: Error: Cannot find package 'not-installed'");
  expect(said[5]).toContain(REMEDY);
  expect(said[6]).toContain("app: with-await.ts has an await at its top, or imports what has one");
  expect(said[7]).toContain("app: none.ts exports no Lovage app");
  expect(said[8]).toContain("app: tasks.ts has no export shop");
  expect(said[9]).toBe(
    "ImproperlyConfigured: app: there is no module gone.ts (looked for ./gone.ts): paths are read from where cdk runs; did you mean ./none.ts?",
  );
});

test("what Node does not run of TypeScript, and a second copy of the package that tsx makes, are told of the import", () => {
  const files = {
    "enum.ts": `enum Color { Red }\n${TASKS}console.log(Color.Red);\n`,
    "lib/db.ts": 'export const url = "";\n',
    "tsconfig.json": '{ "compilerOptions": { "paths": { "@lib/*": ["./lib/*"] } } }',
    "alias.ts": `import { url } from "@lib/db";\n${TASKS}console.log(url);\n`,
    "extension.ts": `import { url } from "./lib/db";\n${TASKS}console.log(url);\n`,
    "behind.ts": `import "./alias.ts";\n${TASKS}`,
  };
  const why = (module: string, construct: string) =>
    `ImproperlyConfigured: app: ${module} could not be loaded: ${construct} is more than Node runs by itself. Have cdk run the stack by tsx ("app": "npx tsx app.ts" in cdk.json), and import the app in place of loadApp`;
  const alias = 'an import of "@lib/db", a name that tsconfig.json makes (paths) (./alias.ts:1)';
  expect(load(files, ["enum.ts", "alias.ts", "extension.ts", "behind.ts"])).toEqual([
    why("enum.ts", "an enum (./enum.ts:1)"),
    why("alias.ts", alias),
    why("extension.ts", 'an import of "./lib/db" without its extension (./extension.ts:1)'),
    why("behind.ts", alias),
  ]);
  const other = "class Lovage {}\nexport const app = new Lovage();\nexport const shop = new Lovage();\n";
  for (const text of load({ "other.ts": other }, ["other.ts", "other.ts:shop"]))
    expect(text).toContain(
      "of this copy of the package: import the app in place of loadApp, as tsx loads the package once",
    );
});

/** What a stack that imports its tasks says of its end, in a process as `cdk` starts it. */
function synthOf(tasks: string, more = ""): string {
  const folder = folderInCheckout("synth-");
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "tasks.ts"), tasks);
  const stack = `import { loadApp } from "lovage/cdk";\nimport { app } from "./tasks.ts";\n${more}console.log(app, loadApp);\n`;
  writeFileSync(join(folder, "app.ts"), stack);
  const env = { ...process.env, DATABASE_URL: undefined, CDK_OUTDIR: join(folder, "cdk.out") };
  const args = ["--no-warnings", "--import", SOURCE, "app.ts"];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8", env, timeout: 60_000 });
  expect(status).toBe(1);
  return stderr;
}

test("a stack that imports a module of tasks which throws is told what synth wants of it, and of its own errors nothing", {
  timeout: 90_000,
}, () => {
  const said = synthOf(`${TASKS}if (!process.env["DATABASE_URL"]) throw new Error("DATABASE_URL is not set");\n`);
  expect(said).toContain(`Is it one that tasks need? ${REMEDY}`);
  expect(said.indexOf("Error: DATABASE_URL is not set")).toBeGreaterThan(said.indexOf(REMEDY));
  const own = synthOf(TASKS, 'throw new Error("no account is named");\n');
  expect(own).toContain("Error: no account is named");
  expect(own).not.toContain("Synth runs no task");
});

test("an error of loading is told from one of the stack's own by its stack, in CommonJS too", () => {
  const loader = "    at Module._compile (node:internal/modules/cjs/loader:1929:14)";
  const [tasks, main] = [
    "    at Object.<anonymous> (/shop/tasks.ts:3:7)",
    "    at Object.<anonymous> (/shop/bin/app.ts:2:1)",
  ];
  const [stack, build] = ["    at new ShopStack (/shop/lib/stack.ts:9:11)", "    at buildAll (/shop/lib/build.ts:1:1)"];
  const of = (...lines: string[]) => isOfLoading(["Error: no", ...lines].join("\n"), "/shop/bin/app.ts");
  expect(of(tasks, loader, main, loader)).toBe(true);
  expect(of(tasks, loader)).toBe(true);
  expect(of(stack, main, loader)).toBe(false);
  expect(of(stack, build)).toBe(false);
});

const config = {
  taskQueues: { celery: {}, media: {} },
  taskRoutes: { "media.*": { queue: "media" } },
  beatSchedule: {
    nightly: { task: "shop.report", schedule: 3600, args: ["daily"] },
    sweep: { task: "media.sweep", schedule: 60 },
  },
} satisfies ConfigInput;
const schema = z.tuple([z.enum(["daily", "weekly"])]);

function whole(): Lovage {
  const app = new Lovage("shop", config, { env: {} });
  app.task("shop.report", { schema, timeLimit: 600, rateLimit: "10/m" }, (kind) => kind);
  app.task("media.sweep", { serializer: "msgpack" }, () => 0);
  app.task("shop.once", { unique: { key: () => "one", for: 60 }, queue: "media" }, () => 0);
  app.batchTask("media.index", { size: 50, wait: 3, queue: "media" }, (calls) => calls.map(() => 0));
  return app;
}

function declared(): Lovage {
  const app = new Lovage("shop", config, { env: {} });
  app.taskRef("shop.report", { schema, timeLimit: 600, rateLimit: "10/m" });
  app.taskRef("media.sweep", { serializer: "msgpack" });
  app.taskRef("shop.once", { unique: { key: () => "one", for: 60 }, queue: "media" });
  app.taskRef("media.index", { size: 50, wait: 3, queue: "media" });
  return app;
}

test("an app whose tasks are declared by taskRef is deployed as the one that has their code", () => {
  const [byCode, byRef] = [deploy(whole()), deploy(declared())];
  expect(byRef.template().toJSON()).toEqual(byCode.template().toJSON());
  const defines = (app: Lovage) => bundlingFor(app).define;
  expect(defines(declared())).toEqual(defines(whole()));
  expect(defines(declared())).toMatchObject({ LOVAGE_LIMITS: "true" });
  expect(defines(declared())).not.toHaveProperty("LOVAGE_JSON_ONLY");
  const role = roleOf(byRef.tasks.queue("celery").function);
  expect(allowed(byRef, role)).toContain("dynamodb:PutItem Results lovage-limit-*");
});

test("entries of tasks that are declared by taskRef are checked as others are", () => {
  const wrong = (beatSchedule: NonNullable<ConfigInput["beatSchedule"]>) => () => {
    const app = new Lovage("shop", { ...config, beatSchedule }, { env: {} });
    app.taskRef("shop.report", { schema });
    deploy(app);
  };
  expect(wrong({ nightly: { task: "shop.report", schedule: 60, args: ["yearly"] } })).toThrow(
    /beatSchedule\["nightly"\]\.args: .*shop\.report/,
  );
  expect(wrong({ nightly: { task: "shop.reprot", schedule: 60 } })).toThrow(
    /beatSchedule\["nightly"\]\.task: no task is registered as "shop\.reprot"; .*a task that other workers run needs a taskRef, or options\.queue/,
  );
  const app = new Lovage("shop", config, { env: {} });
  app.taskRef("shop.report", { queue: "medai" });
  app.taskRef("media.sweep");
  expect(() => deploy(app)).toThrow(ImproperlyConfigured);
  expect(() => deploy(app)).toThrow(/"medai" is not in taskQueues/);
});
