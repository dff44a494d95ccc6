import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test, vi } from "vitest";
import { openDatabase } from "../../src/sqlite/database.ts";
import { quickest } from "../measured.ts";

// A file system that reports no changes, or a system with no more watches to be had.
vi.mock("node:fs", async (original) => ({
  ...(await original<typeof import("node:fs")>()),
  watch: () => {
    throw new Error("ENOSPC: System limit for number of file watchers reached");
  },
}));

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), "lovage-unwatched-"));
  const path = join(folder, "test.db");
  const database = await openDatabase(`sqlite:///${path}`, { random: Math.random });
  onTestFinished(async () => {
    await database.close();
    await rm(folder, { recursive: true });
  });
  await database.write((db) => db.exec("CREATE TABLE t (n)"));
  await new Promise((resolve) => setImmediate(resolve));
  return { path, database };
}

test("where the file cannot be watched, a commit of this process ends a wait at once all the same", async () => {
  const { database } = await setUp();
  const least = await quickest(150, async () => {
    const waiting = database.changed("rows").over;
    const from = performance.now();
    await database.write((db) => db.exec("INSERT INTO t VALUES (1)"), "rows");
    await waiting;
    return performance.now() - from;
  });
  // The slow look comes after 500 ms.
  expect(least).toBeLessThan(150);
});

test("where the file cannot be watched, a commit of another process is noticed by a slow look", async () => {
  const { path, database } = await setUp();
  const other = new DatabaseSync(path);
  onTestFinished(() => other.close());
  const waiting = database.changed("rows").over;
  await new Promise((resolve) => setImmediate(resolve));
  other.exec("INSERT INTO t VALUES (1)");
  // Unnoticed, it would never end.
  await waiting;
});
