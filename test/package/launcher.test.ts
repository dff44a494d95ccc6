import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, test } from "vitest";

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");

const pretending = (version: string) => {
  const pretend = `Object.defineProperty(process.versions, "node", { value: "${version}" });`;
  return ["--import", `data:text/javascript,${encodeURIComponent(pretend)}`];
};

/** Runs the launcher in a Node that says it is of another version. */
function runAs(version: string) {
  return spawnSync(process.execPath, [...pretending(version), launcher, "--help"], { encoding: "utf8" });
}

test.each(["12.22.12", "20.20.2", "22.17.1"])("Node %s is refused in one line", (version) => {
  const { status, stdout, stderr } = runAs(version);
  expect({ status, stdout, stderr }).toEqual({
    status: 1,
    stdout: "",
    stderr: `lovage needs Node 22.18 or newer; this is Node ${version}.\n`,
  });
});

test.each(["22.18.0", "24.0.0", "100.0.0"])("Node %s is not refused", (version) => {
  expect(runAs(version).stderr).not.toContain("lovage needs Node");
});
