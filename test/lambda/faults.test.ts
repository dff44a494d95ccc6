import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

test("what a task left to reject or throws past everybody is named, and neither its neighbours nor the function pay for it", () => {
  const file = new URL("./faulty-function.ts", import.meta.url).pathname;
  const { status, stdout } = spawnSync(process.execPath, ["--import", "./scripts/source.ts", file], {
    encoding: "utf8",
    timeout: 90_000,
  });
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.at(-1)).toEqual({ states: ["SUCCESS", "FAILURE", "FAILURE", "SUCCESS"], batchItemFailures: [] });
  const errors = lines.filter(({ level }) => level === "ERROR").map(({ task, message }) => [task, message]);
  expect(errors).toContainEqual([
    "shop.leaks",
    expect.stringMatching(
      /^Task shop\.leaks\[.*left a promise that rejected.*after it had ended: RangeError: nobody awaits/s,
    ),
  ]);
  expect(errors).toContainEqual([
    "shop.throws",
    expect.stringContaining("threw where nobody could catch it: TypeError"),
  ]);
  expect(errors).toContainEqual([
    "shop.exits",
    expect.stringContaining("was about to end its process: SystemExit: process.exit(1) was called"),
  ]);
  // Lambda's own listener had the last one.
  expect(status).toBe(129);
});
