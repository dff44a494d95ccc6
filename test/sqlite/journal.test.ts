/** The journal's statements find what they look for by an index, however much there is. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openSqliteJournal, SHELVES, sqlOf } from "../../src/journal/sqlite.ts";
import { openDatabase } from "../../src/sqlite/database.ts";

const statements = SHELVES.flatMap((shelf) =>
  Object.entries(sqlOf(shelf)).map(([name, sql]) => [shelf, name, sql] as const),
);

test.each(statements)("%s: %s reads no rows that it does not need", async (shelf, name, sql) => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-journal-"));
  const database = await openDatabase(`sqlite:///${join(folder, "test.db")}`, { random: Math.random });
  onTestFinished(async () => {
    await database.close();
    await rm(folder, { recursive: true });
  });
  await openSqliteJournal(database, { expires: 1, table: "", scope: "", failed: () => {} }, Date.now);
  const steps = database
    .read((db) => db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all())
    .map((row) => String(row["detail"]));
  // The last number is at the end of the table. To sort would be to read all.
  expect(steps.filter((step) => /^SCAN (?!CONSTANT)|TEMP B-TREE/.test(step))).toEqual([]);
  if (name === "read" || name === "dropOld") expect(steps.join()).toContain(`INDEX ${shelf}_time (scope=?`);
});
