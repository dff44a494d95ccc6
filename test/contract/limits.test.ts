import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open as openMemory } from "../../src/limits/memory.ts";
import { open as openSqlite } from "../../src/limits/sqlite.ts";
import { describeLimits } from "./limits.ts";

function clock() {
  let now = Date.UTC(2026, 10, 28);
  const context = { now: () => now, random: Math.random, options: {} };
  const advance = (ms: number) => {
    now += ms;
  };
  return { context, now: () => now, advance };
}

describeLimits("memory", async () => {
  const { context, ...rest } = clock();
  const url = `memory://${randomUUID()}`;
  const stores = [openMemory(url, context), openMemory(url, context)] as const;
  return { stores, ...rest, close: async () => void (await Promise.all(stores.map((store) => store.close()))) };
});

describeLimits("sqlite", async () => {
  const { context, ...rest } = clock();
  const folder = mkdtempSync(join(tmpdir(), "lovage-limits-"));
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  const stores = [await openSqlite(url, context), await openSqlite(url, context)] as const;
  return {
    stores,
    ...rest,
    async close() {
      await Promise.all(stores.map((store) => store.close()));
      rmSync(folder, { recursive: true });
    },
  };
});
