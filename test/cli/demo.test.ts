import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");

test("npm run demo shows the tutorial and ends with 0", async () => {
  const demo = spawn("npm", ["run", "--silent", "demo"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const [output, [code]] = await Promise.all([text(demo.stdout), once(demo, "exit")]);
  expect(output).toContain("That was the tutorial.");
  expect(output).not.toContain("went wrong");
  expect(code).toBe(0);
});
