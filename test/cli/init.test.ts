/** What `lovage init` asks on a terminal. What it writes, and what it refuses where nobody is asked: test/package/starters.test.ts. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { follow } from "./run.ts";
import { hasTerminal, onTerminal } from "./terminal.ts";

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");

const canAsk = hasTerminal("lovage init was not asked on a terminal");

const BACKSPACE = "\u007f";
const DOWN = "\u001b[B";
const ENTER = "\r";
const CTRL_C = "\u0003";

function init(...args: string[]) {
  const folder = mkdtempSync(join(tmpdir(), "lovage-init-"));
  const child = onTerminal([process.execPath, launcher, "init", "--no-install", ...args], { cwd: folder });
  onTestFinished(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  return { folder, ...follow(child), type: (keys: string) => child.stdin.write(keys) };
}

test.skipIf(!canAsk)("a folder, a framework and a stack are asked for", async () => {
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

test.skipIf(!canAsk)("what was said is not asked, and Ctrl-C writes nothing", async () => {
  const { folder, says, type, exited } = init("shop", "--web", "none");
  await says(/With a stack for AWS\?/);
  type(CTRL_C);
  const { code, stdout } = await exited;
  expect(stdout).not.toMatch(/Which folder|With a web server/);
  expect(code).toBe(130);
  expect(readdirSync(folder)).toEqual([]);
});
