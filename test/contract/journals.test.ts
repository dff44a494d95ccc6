import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackendContext } from "../../src/results/backend.ts";
import { open as openMemory } from "../../src/results/memory.ts";
import { open as openSqlite } from "../../src/results/sqlite.ts";
import { describeJournal } from "./journal.ts";

const EXPIRES_S = 3600;

function clock() {
  let now = Date.UTC(2026, 10, 24, 0, 0, 30);
  const failed = (error: unknown) => {
    throw error;
  };
  const context: BackendContext = {
    now: () => now,
    random: Math.random,
    options: {},
    journal: { expires: EXPIRES_S, table: "", scope: "", failed },
  };
  const advance = (ms: number) => {
    now += ms;
  };
  return { context, now: () => now, advance, expires: EXPIRES_S };
}

describeJournal("memory", async () => {
  const { context, ...rest } = clock();
  const backend = openMemory(`memory://${randomUUID()}`, context);
  return { backend, ...rest, close: () => backend.close() };
});

describeJournal("sqlite", async () => {
  const { context, ...rest } = clock();
  const folder = mkdtempSync(join(tmpdir(), "lovage-journal-"));
  const backend = await openSqlite(`sqlite:///${join(folder, "lovage.db")}`, context);
  return {
    backend,
    ...rest,
    async close() {
      await backend.close();
      rmSync(folder, { recursive: true });
    },
  };
});
