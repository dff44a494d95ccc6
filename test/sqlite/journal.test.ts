/** The journal in a file, however much there is in it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openSqliteJournal, SHELVES, sqlOf } from "../../src/journal/sqlite.ts";
import { openDatabase } from "../../src/sqlite/database.ts";

const statements = SHELVES.flatMap((shelf) =>
  Object.entries(sqlOf(shelf)).map(([name, sql]) => [shelf, name, sql] as const),
);

async function openJournal() {
  const folder = await mkdtemp(join(tmpdir(), "lovage-journal-"));
  const database = await openDatabase(`sqlite:///${join(folder, "test.db")}`, { random: Math.random });
  onTestFinished(async () => {
    await database.close();
    await rm(folder, { recursive: true });
  });
  const failures: unknown[] = [];
  const options = { expires: 3600, table: "", scope: "", failed: (error: unknown) => void failures.push(error) };
  return { database, failures, journal: await openSqliteJournal(database, options, Date.now) };
}

test.each(statements)("%s: %s reads no rows that it does not need", async (shelf, name, sql) => {
  const { database } = await openJournal();
  const steps = database
    .read((db) => db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all())
    .map((row) => String(row["detail"]));
  // The last number is at the end of the table. To sort would be to read all.
  expect(steps.filter((step) => /^SCAN (?!CONSTANT)|TEMP B-TREE/.test(step))).toEqual([]);
  if (name === "read" || name === "dropOld") expect(steps.join()).toContain(`INDEX ${shelf}_time (scope=?`);
});

test("who reads through a long journal leaves others of the process their turns", async () => {
  const { journal } = await openJournal();
  const time = Date.now();
  for (let n = 0; n < 1000; n++) await journal.append([{ time, kind: "task", id: String(n) }]);
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  let entries = 0;
  for await (const page of journal.read({ failures: false, from: 0, to: Number.POSITIVE_INFINITY }))
    entries += page.length;
  isOver = true;
  expect(entries).toBe(1000);
  expect(turns).toBeGreaterThan(10);
});

test("what goes wrong with entries alone is told in our words, and costs nobody else anything", async () => {
  const { database, failures, journal } = await openJournal();
  await database.write((db) => db.exec("CREATE TABLE t (n); DROP TABLE journal_rest"));
  await database.write((db) => {
    db.exec("INSERT INTO t VALUES (1)");
    journal.put(db, [{ time: Date.now(), kind: "task", id: "a" }]);
  });
  expect(database.read((db) => db.prepare("SELECT n FROM t").all())).toHaveLength(1);
  expect(failures).toEqual([expect.objectContaining({ name: "OperationalError", retryable: true })]);
  expect(String(failures[0])).toContain(`${database.path} could not be read or written`);
});
