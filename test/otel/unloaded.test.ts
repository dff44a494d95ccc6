/** Who traces nothing loads nothing of OpenTelemetry, and needs it not installed; nor what makes `/metrics`. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";

const SCRIPT = `
import { registerHooks } from "node:module";
registerHooks({
  resolve(specifier, context, next) {
    if (!/^(@opentelemetry|prom-client)/.test(specifier)) return next(specifier, context);
    const error = new Error("Cannot find package " + specifier);
    error.code = "ERR_MODULE_NOT_FOUND";
    throw error;
  },
});
const { Lovage } = await import("lovage");
const { startWorker } = await import("lovage/worker");
await Promise.all([import("lovage/lambda"), import("lovage/testing"), import("lovage/cdk")]);
const app = new Lovage("plain", { brokerUrl: "memory://plain" });
const add = app.task("add", (x, y) => x + y);
const worker = await startWorker(app, { concurrency: 1 });
console.log(await (await add.delay(1, 2)).get({ timeout: 60 }));
await worker.stop();
await app.close();
console.log(await import("lovage/otel").then(() => "loaded", (error) => error.message));
`;

test("without the packages an app sends and runs, and only lovage/otel asks for its own", () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-otel-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const script = join(folder, "plain.mjs");
  writeFileSync(script, SCRIPT);
  const source = new URL("../../scripts/source.ts", import.meta.url).href;
  const { stdout, stderr } = spawnSync(process.execPath, ["--import", source, script], {
    cwd: resolve(import.meta.dirname, "../.."),
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(stdout).toBe("3\nCannot find package @opentelemetry/api\n");
});
