/**
 * The package as a stranger gets it: packed from a copy of the source by its own `prepack`, and installed, alone, in an
 * empty folder.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const exec = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
};
const folder = mkdtempSync(join(tmpdir(), "lovage-install-"));
const user = join(folder, "user");

// npm hands its own settings to the scripts it runs; the npm that is run here is to find a user's.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));
// The Node of this run first: its folder is where `node` is found by npm, by npx and by the launcher's first line.
env.PATH = `${resolve(process.execPath, "..")}:${env.PATH}`;

beforeAll(async () => {
  const copy = join(folder, "copy");
  mkdirSync(copy);
  for (const name of readdirSync(root)) {
    if (/^(package\.json|tsconfig.*\.json|src|bin|LICENSE|.*\.md)$/.test(name)) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  mkdirSync(user);
  await exec("npm", ["pack", "--pack-destination", folder], { cwd: copy, env });
  const [tarball = ""] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(user, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await exec("npm", ["install", "--no-audit", "--no-fund", join(folder, tarball)], { cwd: user, env });
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true }));

const tutorial = join(root, "examples/tutorial");
const lovage = join(user, "node_modules/.bin/lovage");

test("the installed command names its version", async () => {
  expect((await exec(lovage, ["--version"], { cwd: user, env })).stdout).toBe(`${manifest.version}\n`);
});

test("the tutorial runs from the installed package by the lovage command", { timeout: 60_000 }, async () => {
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

test("the demo runs from the installed package", { timeout: 60_000 }, async () => {
  for (const name of readdirSync(tutorial)) cpSync(join(tutorial, name), join(user, name));
  expect((await exec(process.execPath, ["demo.ts"], { cwd: user, env })).stdout).toContain("That was the tutorial.");
});

test("every export of the installed package loads", { timeout: 120_000 }, async () => {
  // Whoever deploys brings these: the package does without them until then, as the tests above have shown.
  for (const name of Object.keys(manifest.peerDependencies)) {
    const link = join(user, "node_modules", name);
    if (!existsSync(link)) symlinkSync(join(root, "node_modules", name), link);
  }
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
