/**
 * Writes, beside what is built, what `require("lovage")` finds: Node requires the very modules that it imports, so there is
 * one copy of everything. Older versions of Node cannot, and are told so; a part of TypeScript's settings wants declarations
 * that say they are CommonJS. Run by `npm run build`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";

const at = (path: string) => new URL(`../${path}`, import.meta.url);
const manifest = JSON.parse(readFileSync(at("package.json"), "utf8")) as {
  readonly engines: { readonly node: string };
  readonly exports: Readonly<Record<string, string | { readonly require: { readonly default: string } }>>;
};
const oldest = manifest.engines.node.replace(">=", "");

for (const entry of Object.values(manifest.exports)) {
  if (typeof entry === "string") continue;
  const path = entry.require.default;
  const module = basename(path).replace(/\.cjs$/, ".js");
  // In syntax that old versions of Node read too.
  writeFileSync(
    at(path),
    `"use strict";
var oldest = "${oldest}".split(".").map(Number);
var versions = process.versions;
var running = versions.node.split(".").map(Number);
if (!versions.bun && !versions.deno && (running[0] < oldest[0] || (running[0] === oldest[0] && running[1] < oldest[1]))) {
  var error = new Error("lovage needs Node ${oldest} or newer; this is Node " + versions.node + ".");
  error.stack = error.message;
  throw error;
}
module.exports = require("./${module}");
`,
  );
  writeFileSync(
    at(path.replace(/\.cjs$/, ".d.cts")),
    `// @ts-ignore: to TypeScript's "node16" an ES module cannot be required; Node ${oldest} does.
export * from "./${module}";
`,
  );
}
