import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { open, SQL } from "../../src/brokers/sqlite.ts";
import { openDatabase } from "../../src/sqlite/database.ts";

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), "lovage-broker-"));
  const url = `sqlite:///${join(folder, "test.db")}`;
  let time = Date.now();
  const context = { now: () => time, random: Math.random, options: {} };
  const broker = await open(url, context);
  const database = await openDatabase(url, context);
  onTestFinished(async () => {
    await broker.close();
    await database.close();
    await rm(folder, { recursive: true });
  });
  const plan = (sql: string) =>
    database.read((db) => db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()).map((row) => String(row["detail"]));
  const advance = (ms: number) => {
    time += ms;
  };
  return { broker, database, plan, advance };
}

const hotStatements = {
  isReady: SQL.isReady,
  nextVisible: SQL.nextVisible,
  isReadyFifo: SQL.isReadyFifo,
  becomesReadyFifo: SQL.becomesReadyFifo,
  nextVisibleAfter: SQL.nextVisibleAfter,
  becomeReady: SQL.becomeReady,
  take: SQL.take(false),
  takeFifo: SQL.take(true),
  delete: SQL.delete,
  changeVisibility: SQL.changeVisibility,
  forgetIds: SQL.forgetIds,
};

test.each(Object.entries(hotStatements))("%s is answered from an index, in the index's order", async (_, sql) => {
  const { plan } = await setUp();
  const steps = plan(sql);
  expect(steps.filter((step) => step.startsWith("SCAN") || step.includes("TEMP B-TREE"))).toEqual([]);
});

test.each([
  [SQL.take(false), "message_ready (queue=?)"],
  [SQL.take(true), "message_blocking (queue=? AND group_id=? AND visible_at>?)"],
  [SQL.nextVisible, "message_waiting (queue=?)"],
  [SQL.becomeReady, "message_waiting (queue=? AND visible_at<?)"],
])("%s uses its index", async (sql, index) => {
  const { plan } = await setUp();
  expect(plan(sql).join("\n")).toContain(index);
});

test("a receive is as fast beside 100,000 that are ready and 100,000 that are delayed", {
  timeout: 30_000,
}, async () => {
  const { broker, database } = await setUp();
  const fill = (queue: string, delay: number) =>
    database.write((db) =>
      db.exec(`
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        INSERT INTO message (queue, ready, visible_at, priority, sent_at, body)
        SELECT '${queue}', ${delay ? 0 : 1}, ${Date.now() + delay} , i % 10, 0, i FROM n`),
    );
  await fill("full", 0);
  await fill("full", 3_600_000);
  await broker.send([{ queue: "full", body: "urgent", priority: 255 }]);
  const from = performance.now();
  const [first] = await broker.receive("full", { max: 1, wait: 0 });
  for (let n = 0; n < 100; n++) await broker.receive("full", { max: 10, wait: 0 });
  // A scan takes 10 ms each, a sort more; from the index it is a tenth of a millisecond.
  expect(performance.now() - from).toBeLessThan(500);
  expect(first?.body).toBe("urgent");
  expect(await broker.size("full")).toEqual({ ready: 99_000, delayed: 100_000, inFlight: 1001 });
});

test("the memory of deduplication ids does not grow beyond five minutes", async () => {
  const { broker, database, advance } = await setUp();
  const ids = () => database.read((db) => db.prepare("SELECT count(*) AS n FROM deduplication").get()?.["n"]);
  for (let minute = 0; minute < 20; minute++) {
    await broker.send([{ queue: "q", body: "x", deduplicationId: `${minute}` }]);
    advance(60_000);
  }
  expect(ids()).toBe(5);
});
