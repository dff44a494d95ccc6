/** The crash windows of a delivery, on the embedded brokers. On SQS and DynamoDB: test/live/crash-windows.test.ts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { virtualClock } from "lovage/testing";
import { afterAll } from "vitest";
import { describeCrashWindows, describeRedrive, type Windows } from "./crash-windows.ts";
import { bear, createLife, type Ground, groundOf } from "./mortal.ts";

const folder = mkdtempSync(join(tmpdir(), "lovage-crash-"));
afterAll(() => rmSync(folder, { recursive: true }));

const embedded = async (url: string): Promise<readonly Ground[]> => {
  const ground = groundOf(url, virtualClock());
  // Keeps what is in memory between the lives.
  const { app } = bear(ground, createLife(undefined));
  await app.engine.broker();
  await app.engine.backend();
  return [ground];
};

let stores = 0;
for (const [name, url] of [
  ["memory", () => `memory://crash-${++stores}`],
  ["SQLite", () => `sqlite:///${join(folder, `crash-${++stores}.db`)}`],
] as const) {
  const windows: Windows = { grounds: () => embedded(url()), everywhere: true };
  describeCrashWindows(name, windows);
  describeRedrive(name, windows);
}
