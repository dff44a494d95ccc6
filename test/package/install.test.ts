/** What a stranger does with the package in its folder: the command, the tutorial, the demo, each export. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { env, exec, installPacked, linkPackages, manifest, root } from "./packed.ts";

let user: string;
let lovage: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  ({ user, remove } = await installPacked());
  lovage = join(user, "node_modules/.bin/lovage");
}, 300_000);
afterAll(() => remove(), 300_000);

const tutorial = join(root, "examples/tutorial");
const containers = join(root, "examples/containers");

test("the installed command names its version", async () => {
  expect((await exec(lovage, ["--version"], { cwd: user, env })).stdout).toBe(`${manifest.version}\n`);
});

test("the tutorial runs from the installed package by the lovage command", async () => {
  for (const name of ["tasks.ts", "config.ts", "main.ts"]) cpSync(join(tutorial, name), join(user, name));
  const worker = spawn(lovage, ["worker", "-A", "./tasks.ts", "-l", "info"], { cwd: user, env });
  const ended = once(worker, "exit");
  try {
    let said = "";
    await new Promise<void>((resolve, reject) => {
      worker.stdout.on("data", (text: Buffer) => {
        said += text.toString();
        if (said.includes(" ready.")) resolve();
      });
      worker.stderr.on("data", (text: Buffer) => {
        said += text.toString();
      });
      worker.once("exit", () => reject(new Error(`the worker ended:\n${said}`)));
    });
    const { stdout } = await exec(process.execPath, ["main.ts"], { cwd: user, env });
    expect(stdout).toMatch(/^get +8\nready +true\nstatus +SUCCESS\nresult +8\nin 2 s +3\nrouted +21\n/m);
    expect(stdout).toContain("failed   RangeError division by zero\nretried  done by attempt 3\n");
    const [, id = ""] = /^id +(\S+)$/m.exec(stdout) ?? [];
    const raw = await exec(lovage, ["result", "-A", "./tasks.ts", id, "--raw"], { cwd: user, env });
    expect(JSON.parse(raw.stdout)).toMatchObject({ status: "SUCCESS", result: 8, task_id: id });
  } finally {
    worker.kill("SIGTERM");
  }
  expect(await ended).toEqual([0, null]);
});

test("the demo runs from the installed package", async () => {
  for (const name of readdirSync(tutorial)) cpSync(join(tutorial, name), join(user, name));
  expect((await exec(process.execPath, ["demo.ts"], { cwd: user, env })).stdout).toContain("That was the tutorial.");
});

test("the image of examples/containers is a worker that gives back what SIGTERM interrupts", async () => {
  const image = readFileSync(join(containers, "Dockerfile"), "utf8");
  const of = (word: string) => new RegExp(`^${word} (.*)$`, "m").exec(image)?.[1] ?? "";
  // The step before is `npm ci --omit=dev`, which this folder has behind it.
  expect(of("COPY package.json")).toContain("package-lock.json");
  expect(of("USER")).toBe("node");
  expect(of("COPY \\*\\.ts")).toBe("./");
  for (const name of ["tasks.ts", "worker.ts"]) cpSync(join(containers, name), join(user, name));
  const [command = "", ...given] = JSON.parse(of("ENTRYPOINT")) as string[];
  // The port is the container's own there, and anybody's here.
  expect(given.at(-1)).toBe("--health");
  expect(image).toMatch(/^HEALTHCHECK .*\n {2}CMD \["node", "-e", "fetch\('http:\/\/127\.0\.0\.1:9808\/healthz'\)/m);
  const entry = given.slice(0, -1);
  const own = { ...env, LOVAGE_BROKER_URL: `sqlite:///${join(user, "studio.db")}` };
  const start = (program: string) => {
    const args = [...entry, "--queues", "video", "--concurrency", "1", "--grace", "1"];
    const worker = spawn(join(user, command), args, { cwd: user, env: { ...own, ENCODER: program } });
    return { worker, ended: once(worker, "exit") };
  };
  const { stdout } = await exec(lovage, ["call", "-A", "./tasks.ts", "video.encode", "--args", '["300"]'], {
    cwd: user,
    env: own,
  });
  const id = stdout.trim();
  const state = async () =>
    (await exec(lovage, ["result", "-A", "./tasks.ts", id, "--raw"], { cwd: user, env: own })).stdout;

  const first = start("sleep");
  await vi.waitFor(async () => expect(await state()).toContain("STARTED"), { timeout: 60_000, interval: 200 });
  first.worker.kill("SIGTERM");
  await first.ended;
  const second = start("echo");
  await vi.waitFor(async () => expect(JSON.parse(await state())).toMatchObject({ status: "SUCCESS", result: "300" }), {
    timeout: 60_000,
    interval: 200,
  });
  second.worker.kill("SIGTERM");
  expect(await second.ended).toEqual([0, null]);
});

const PEERS = Object.keys(manifest.peerDependencies);
/** Whoever deploys brings these: the package does without them until then, as the tests above have shown. */
const linkPeers = () => linkPackages(join(user, "node_modules"), PEERS);

test("every export of the installed package loads", async () => {
  linkPeers();
  const names = Object.keys(manifest.exports).filter((subpath) => subpath !== "./package.json");
  const specifiers = names.map((subpath) => manifest.name + subpath.slice(1));
  const script = `
    for (const specifier of ${JSON.stringify(specifiers)}) {
      console.log(specifier, Object.keys(await import(specifier)).length > 0);
    }
  `;
  const { stdout } = await exec(process.execPath, ["--input-type=module", "-e", script], { cwd: user, env });
  expect(stdout).toBe(specifiers.map((specifier) => `${specifier} true\n`).join(""));
});

test("two copies of the package, as pnpm installs for two versions of a peer: one deploys the other's app, and works on none of its tasks", async () => {
  const folder = join(user, "two");
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  };
  write("package.json", '{ "private": true, "type": "module" }');
  write("package-lock.json", "{}");
  const copy = join(folder, "infra/node_modules");
  cpSync(join(user, "node_modules/lovage"), join(copy, "lovage"), { recursive: true });
  for (const name of ["aws-cdk-lib", "constructs"]) symlinkSync(join(root, "node_modules", name), join(copy, name));
  write(
    "tasks/tasks.ts",
    `import { Lovage } from "lovage";
     export const app = new Lovage("shop", { beatSchedule: { often: { task: "shop.add", schedule: 60, args: [1, 2] } } });
     export const add = app.task("shop.add", (x: number, y: number) => x + y);`,
  );
  write("tasks/entry.ts", "export const handler = () => 0;");
  write(
    "infra/main.ts",
    `import { App, Stack } from "aws-cdk-lib";
     import { TaskQueues } from "lovage/cdk";
     import { createWorkerHandler } from "lovage/lambda";
     import { testApp } from "lovage/testing";
     import { startWorker } from "lovage/worker";
     import { chain, group, Lovage } from "lovage";
     import { add, app } from "../tasks/tasks.ts";
     console.log(app instanceof Lovage);
     const stack = new Stack(new App({ context: { "aws:cdk:bundling-stacks": [] } }), "Shop");
     console.log(new TaskQueues(stack, "Tasks", { app, entry: "../tasks/entry.ts", beatEntry: "../tasks/entry.ts" }).brokerUrl);
     for (const work of [() => startWorker(app), async () => createWorkerHandler(app), async () => testApp(app)])
       console.log(await work().catch((error: Error) => error.message));
     for (const make of [() => chain(add.s(1), add.s(2)), () => group(add.s(1, 2), add.s(3, 4)), () => group([add.s(1, 2)])])
       try { make(); } catch (error) { console.log((error as Error).message); }
     console.log((await add.delay(1, 2)).id.length);
     await app.close();`,
  );
  const { stdout } = await exec(process.execPath, ["main.ts"], { cwd: join(folder, "infra"), env });
  const [same, url, ...said] = stdout.trim().split("\n");
  expect([same, url]).toEqual(["false", expect.stringMatching(/^sqs:.*queue_name_prefix=Shop-$/)]);
  expect(said).toEqual([
    ...Array.from({ length: 3 }, () =>
      expect.stringMatching(/^app: was made by another copy of lovage.*pnpm why lovage/),
    ),
    ...Array.from({ length: 3 }, () =>
      expect.stringMatching(/^signature: was made by another copy of lovage.*pnpm why lovage/),
    ),
    "36",
  ]);
});

test.each(["import", "require"])(
  "Node before 22.18 is refused by one line, whatever a script begins to %s",
  async (how) => {
    // That they are not there is said by Node, before anything of ours runs.
    linkPeers();
    const pretend = `Object.defineProperty(process.versions, "node", { value: "20.20.2" });`;
    const load = how === "require" ? "require(name)" : "await import(name)";
    const script = `
    for (const name of ${JSON.stringify(Object.keys(manifest.exports).filter((name) => !name.endsWith(".json")))}.map((path) => "lovage" + path.slice(1)))
      try { ${load}; console.log(name, "was loaded"); } catch (error) { console.log(error.stack); }
  `;
    const args = ["--import", `data:text/javascript,${encodeURIComponent(pretend)}`];
    const kind = how === "require" ? "commonjs" : "module";
    const { stdout } = await exec(process.execPath, [...args, `--input-type=${kind}`, "-e", script], {
      cwd: user,
      env,
    });
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(Object.keys(manifest.exports).length - 1);
    expect(new Set(lines)).toEqual(new Set(["lovage needs Node 22.18 or newer; this is Node 20.20.2."]));
  },
);

/** Older compilers, with the ways to resolve a module that each knows: `module` and `moduleResolution`. */
const COMPILERS: Readonly<Record<string, readonly (readonly [module: string, resolution: string])[]>> = {
  "5.4.5": [
    ["commonjs", "node10"],
    ["node16", "node16"],
  ],
  "5.9.3": [
    ["nodenext", "nodenext"],
    ["preserve", "bundler"],
  ],
};
const COMMON = { strict: true, target: "es2022", lib: ["es2023", "esnext.disposable"], types: ["node"] };
const DECLARING = { ...COMMON, composite: true, emitDeclarationOnly: true, skipLibCheck: true, module: "nodenext" };

/** Makes a folder that finds these packages of the checkout. */
function layProject(folder: string, packages: readonly string[], manifest: object): void {
  linkPackages(join(folder, "node_modules"), packages);
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
}

/** What a compiler says, by `-p` of one project or `-b` of several. */
const compile = (tsc: string, ...args: readonly string[]) =>
  exec(process.execPath, [tsc, ...args], { cwd: user, env }).then(
    () => "",
    (error: { readonly stdout: string }) => error.stdout,
  );

let compiled: Promise<Readonly<Record<string, string>>> | undefined;
/**
 * Gives what each of the compilers says of all that is compiled by it, in one build: most of the time is theirs for the types
 * of Node, which they read once. The first of the two tests that ask has it made.
 */
const compileAll = () => {
  compiled ??= (async () => {
    const versions = Object.keys(COMPILERS).map((version) => `ts-${version}@npm:typescript@${version}`);
    await exec("npm", ["install", "--no-audit", "--no-fund", ...versions], { cwd: user, env });
    const [required, declared] = [join(user, "required"), join(user, "declared")];
    layProject(required, ["@types"], {});
    writeFileSync(
      join(required, "main.ts"),
      `import { type AsyncResult, Lovage } from "lovage";
import { testApp } from "lovage/testing";
const app = new Lovage("shop");
const add = app.task("shop.add", (x: number, y: number) => x + y);
export const send = async (): Promise<number> => {
  const result: AsyncResult<number> = await add.delay(1, 2);
  return result.get();
};
console.log(typeof send, typeof testApp, app instanceof Lovage);
`,
    );
    // This one has the peers, which the other does without.
    layProject(declared, ["zod", "@types", ...PEERS], { private: true, type: "module" });
    cpSync(join(user, "node_modules/lovage"), join(declared, "node_modules/lovage"), { recursive: true });
    cpSync(join(root, "test/types/exported.test-d.ts"), join(declared, "tasks.ts"));
    const said: Record<string, string> = {};
    for (const [version, resolutions] of Object.entries(COMPILERS)) {
      const write = (folder: string, file: string, outDir: string, compilerOptions: object) => {
        const name = join(folder, `${outDir}.json`);
        writeFileSync(name, JSON.stringify({ compilerOptions: { ...compilerOptions, outDir }, files: [file] }));
        return name;
      };
      const projects = resolutions.map(([module, moduleResolution]) =>
        write(required, "main.ts", moduleResolution, { ...COMMON, module, moduleResolution }),
      );
      // Without the CDK's own types, which take these compilers longer than all the rest.
      projects.push(write(declared, "tasks.ts", version, DECLARING));
      said[version] = await compile(join(user, `node_modules/ts-${version}/bin/tsc`), "-b", ...projects);
    }
    return said;
  })();
  return compiled;
};

test("CommonJS requires it, by each of TypeScript's ways to resolve a module, and Node runs what that makes", {
  timeout: 240_000,
}, async () => {
  const said = await compileAll();
  for (const [version, resolutions] of Object.entries(COMPILERS)) {
    expect(said[version], version).toBe("");
    for (const [, resolution] of resolutions) {
      const main = join(user, "required", resolution, "main.js");
      expect((await exec(process.execPath, [main], { cwd: user, env })).stdout).toBe("function function true\n");
    }
  }
});

test("stacks lead to the source: maps have it with them", () => {
  const dist = join(user, "node_modules/lovage/dist");
  const maps = globSync("**/*.map", { cwd: dist });
  expect(maps.length).toBeGreaterThan(100);
  for (const map of maps) {
    const { sources, sourcesContent = [] } = JSON.parse(readFileSync(join(dist, map), "utf8")) as {
      readonly sources: readonly string[];
      readonly sourcesContent?: readonly string[];
    };
    expect(sourcesContent.filter(Boolean), map).toHaveLength(sources.length);
  }
});

test("what users export can be declared, by TypeScript 5.4 to 7", { timeout: 240_000 }, async () => {
  const said = await compileAll();
  const folder = join(user, "declared");
  for (const version of Object.keys(COMPILERS)) {
    expect(said[version], version).toBe("");
    expect(existsSync(join(folder, version, "tasks.d.ts")), version).toBe(true);
  }
  cpSync(join(root, "test/types/exported-stack.test-d.ts"), join(folder, "stack.ts"));
  const files = ["tasks.ts", "stack.ts"];
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { ...DECLARING, outDir: "own" }, files }),
  );
  expect(await compile(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("");
  expect(existsSync(join(folder, "own/tasks.d.ts"))).toBe(true);
});

test("calls have the same types in a project with exactOptionalPropertyTypes", async () => {
  const folder = join(user, "exact");
  layProject(folder, ["zod", "@types", ...PEERS], { private: true, type: "module" });
  cpSync(join(user, "node_modules/lovage"), join(folder, "node_modules/lovage"), { recursive: true });
  cpSync(join(root, "test/types/tasks.test-d.ts"), join(folder, "tasks.ts"));
  const compilerOptions = {
    ...COMMON,
    module: "nodenext",
    skipLibCheck: true,
    noEmit: true,
    exactOptionalPropertyTypes: true,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["tasks.ts"] }));
  expect(await compile(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("");
});
