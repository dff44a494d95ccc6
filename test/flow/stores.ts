/** Where the flows run: every feature is the same whatever broker and backend stand behind it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Lovage } from "lovage";
import { testApp, type TestApp, type TestOptions } from "lovage/testing";
import { onTestFinished } from "vitest";

type Start = (app: Lovage, options?: TestOptions) => TestApp;

/** Puts an app under test for the length of one test. */
export const inMemory: Start = (app, options = {}) => {
  const t = testApp(app, options);
  onTestFinished(() => t.close());
  return t;
};

const inFile: Start = (app, options = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-flow-"));
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  const t = testApp(app, { ...options, config: { brokerUrl: url, resultBackend: url, ...options.config } });
  onTestFinished(async () => {
    await t.close();
    rmSync(folder, { recursive: true });
  });
  return t;
};

export const stores: readonly (readonly [name: string, start: Start])[] = [
  ["memory", inMemory],
  ["SQLite", inFile],
];
