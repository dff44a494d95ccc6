import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { BackendContext } from "../../src/results/backend.ts";
import { open as openMemory } from "../../src/results/memory.ts";
import { open as openSqlite } from "../../src/results/sqlite.ts";
import { describeBackend } from "./backend.ts";

function clock() {
  let now = Date.UTC(2026, 10, 24);
  const context: BackendContext = { now: () => now, random: Math.random, options: {} };
  const advance = (ms: number) => {
    now += ms;
  };
  return { context, now: () => now, advance };
}

describeBackend("memory", async () => {
  const { context, now, advance } = clock();
  const backend = openMemory(`memory://${randomUUID()}`, context);
  return { backend, now, advance, close: () => backend.close() };
});

describeBackend("sqlite", async () => {
  const { context, now, advance } = clock();
  const folder = mkdtempSync(join(tmpdir(), "lovage-results-"));
  const file = join(folder, "lovage.db");
  const backend = await openSqlite(`sqlite:///${file}`, context);
  const python = new DatabaseSync(file);
  return {
    backend,
    now,
    advance,
    putRaw(key, payload, timestamp) {
      python.prepare("REPLACE INTO results (id, result, timestamp) VALUES (?, ?, ?)").run(key, payload, timestamp);
    },
    async close() {
      await backend.close();
      python.close();
      rmSync(folder, { recursive: true });
    },
  };
});
