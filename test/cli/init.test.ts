/** What `lovage init` asks on a terminal. What it writes, and what it refuses where nobody is asked: test/package/starters.test.ts. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { follow } from "./run.ts";

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");

/** Python opens the terminal, which has to be as wide as the lines that are looked for. */
const TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
const WIDE = 'stty cols 200 rows 50; exec "$@"';
const hasTerminal = spawnSync("python3", ["-c", "import pty"]).status === 0;
if (!hasTerminal) {
  const why = "python3, which opens a terminal, is not installed";
  if (process.env["CI"]) throw new Error(why);
  process.stderr.write(`\nSKIPPED: lovage init was not asked on a terminal: ${why}.\n\n`);
}

const BACKSPACE = "\u007f";
const DOWN = "\u001b[B";
const ENTER = "\r";
const CTRL_C = "\u0003";

function init(...args: string[]) {
  const folder = mkdtempSync(join(tmpdir(), "lovage-init-"));
  const command = ["sh", "-c", WIDE, "sh", process.execPath, launcher, "init", "--no-install", ...args];
  const child = spawn("python3", ["-c", TERMINAL, ...command], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  return { folder, ...follow(child), type: (keys: string) => child.stdin.write(keys) };
}

test.skipIf(!hasTerminal)("a folder, a framework and a stack are asked for", async () => {
  const { folder, says, type, exited } = init();
  await says(/Which folder\?/);
  type(`My Tasks${ENTER}`);
  await says(/npm takes no package of the name "My Tasks".*as in my-tasks/);
  expect(readdirSync(folder)).toEqual([]);
  type(`${BACKSPACE.repeat("My Tasks".length)}shop${ENTER}`);
  await says(/With a web server\?/);
  type(`${DOWN}${ENTER}`);
  await says(/With a stack for AWS\?/);
  type(ENTER);
  const { code, stdout } = await exited;
  expect(stdout).toMatch(/\d+ files in .*shop\r\n\r\nNext:\r\n {2}cd shop\r\n {2}npm install\r\n/);
  expect(code).toBe(0);
  const { name, dependencies } = JSON.parse(readFileSync(join(folder, "shop/package.json"), "utf8"));
  expect(name).toBe("shop");
  expect(Object.keys(dependencies)).toContain("hono");
  expect(existsSync(join(folder, "shop/infra"))).toBe(false);
});

test.skipIf(!hasTerminal)("what was said is not asked, and Ctrl-C writes nothing", async () => {
  const { folder, says, type, exited } = init("shop", "--web", "none");
  await says(/With a stack for AWS\?/);
  type(CTRL_C);
  const { code, stdout } = await exited;
  expect(stdout).not.toMatch(/Which folder|With a web server/);
  expect(code).toBe(130);
  expect(readdirSync(folder)).toEqual([]);
});
