import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { askRate, parseRate } from "../../src/limits/rate.ts";
import { limitRow } from "../../src/limits/rows.ts";
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

/** With 100,000 it takes half a minute. */
const KEYS = Number(process.env["LOVAGE_KEYS"] ?? 10_000);

test("keys of any number and length are short rows that go by themselves once they have expired, in a file", async () => {
  const { context, advance, now } = clock();
  const folder = mkdtempSync(join(tmpdir(), "lovage-limits-"));
  const path = join(folder, "lovage.db");
  const store = await openSqlite(`sqlite:///${path}`, context);
  const rate = parseRate("10/m", "rateLimit");
  const ask = async (key: string) =>
    store.decide(await limitRow("rate", "crm.push", key), (state) =>
      askRate(state, { now: now(), rate, text: "r", patience: 0 }),
    );
  for (let n = 0; n < KEYS; n += 5_000)
    await Promise.all(
      Array.from({ length: 5_000 }, (_, at) => ask(`customer ${n + at} ${"x".repeat(at === 0 ? 10_000 : 0)}`)),
    );
  const file = new DatabaseSync(path, { readOnly: true });
  const rows = () => file.prepare("SELECT count(*) AS rows, max(length(id)) AS longest FROM limits").get();
  expect(rows()).toMatchObject({ rows: KEYS });
  // Keys of 10 KB are hashed.
  expect(rows()?.["longest"]).toBeLessThan(100);
  advance(10 * 60_000);
  for (let n = 0; n < 256; n++) await ask("one");
  expect(rows()).toMatchObject({ rows: 1 });
  file.close();
  await store.close();
  rmSync(folder, { recursive: true });
});
