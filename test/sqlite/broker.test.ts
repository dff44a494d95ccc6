import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import { open, SQL } from "../../src/brokers/sqlite.ts";
import { openDatabase } from "../../src/sqlite/database.ts";
import { computing } from "../measured.ts";

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
  look: SQL.look,
  nextVisible: SQL.nextVisible,
  becomesReadyFifo: SQL.becomesReadyFifo,
  nextVisibleAfter: SQL.nextVisibleAfter,
  becomeReady: SQL.becomeReady,
  next: SQL.next,
  nextGroup: SQL.nextGroup,
  isBlocked: SQL.isBlocked,
  chooseOfGroup: SQL.chooseOfGroup,
  delete: SQL.delete,
  changeVisibility: SQL.changeVisibility,
  forgetIds: SQL.forgetIds,
};

test.each(Object.entries(hotStatements))("%s is answered from an index, in the index's order", async (_, sql) => {
  const { plan } = await setUp();
  const steps = plan(sql);
  expect(steps).not.toEqual([]);
  // A list that is given has no index, and what reads no table needs none.
  const own = steps.filter((step) => !/^SCAN (json_each|CONSTANT ROW)/.test(step));
  expect(own.filter((step) => step.startsWith("SCAN") || step.includes("TEMP B-TREE"))).toEqual([]);
});

test.each([
  [SQL.next, "message_ready (queue=?)"],
  [SQL.chooseOldest, "message_ready (queue=?)"],
  [SQL.chooseOldest, "message_blocking (queue=? AND group_id=? AND visible_at>?)"],
  [SQL.nextGroup, "message_group (queue=? AND group_id>?)"],
  [SQL.chooseOfGroup, "message_group (queue=? AND group_id=?)"],
  [SQL.nextVisible, "message_waiting (queue=?)"],
  [SQL.look, "message_ready (queue=?)"],
  [SQL.look, "message_waiting (queue=?)"],
  [SQL.becomeReady, "message_waiting (queue=? AND visible_at<?)"],
])("%s uses its index", async (sql, index) => {
  const { plan } = await setUp();
  expect(plan(sql).join("\n")).toContain(index);
});

test("a receive is as fast beside 100,000 that are ready and 100,000 that are delayed", async () => {
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
  const [first] = await broker.receive("full", { max: 1, wait: 0 });
  const ms = await computing(async () => {
    for (let n = 0; n < 100; n++) await broker.receive("full", { max: 10, wait: 0 });
  });
  // A scan takes 10 ms each, a sort more; from the index it is a tenth of a millisecond.
  expect(ms).toBeLessThan(500);
  expect(first?.body).toBe("urgent");
  expect(await broker.size("full")).toEqual({ ready: 99_000, delayed: 100_000, inFlight: 1001 });
});

test("a receive from a FIFO queue is as fast beside 100,000 that wait behind a blocked group, and searches all groups", async () => {
  const { broker, database } = await setUp();
  await database.write((db) =>
    db.exec(`
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
      INSERT INTO message (queue, ready, visible_at, priority, sent_at, group_id, body)
      SELECT 'q.fifo', 1, 0, 0, 0, 'm', i FROM n`),
  );
  const [blocking] = await broker.receive("q.fifo", { max: 1, wait: 0 });
  expect(blocking?.body).toBe("1");
  const ms = await computing(async () => {
    for (let n = 0; n < 100; n++) {
      const group = n % 2 === 0 ? "a" : "z";
      await broker.send([{ queue: "q.fifo", body: `${n}`, groupId: group, deduplicationId: `${n}` }]);
      const found = await broker.receive("q.fifo", { max: 10, wait: 0 });
      expect(found.map(({ body, groupId }) => [body, groupId])).toEqual([[`${n}`, group]]);
      expect(await broker.receive("q.fifo", { max: 10, wait: 0 })).toEqual([]);
      await broker.delete(found);
    }
  });
  // To walk over the group takes 20 ms each time.
  expect(ms).toBeLessThan(1500);
});

test("no group of a FIFO queue is passed over for those before it in the alphabet", async () => {
  const { broker, database } = await setUp();
  await database.write((db) =>
    db.exec(`
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
      INSERT INTO message (queue, ready, visible_at, priority, sent_at, group_id, body)
      SELECT 'q.fifo', 1, 0, 0, 0, 'blocked', i FROM n`),
  );
  await broker.receive("q.fifo", { max: 1, wait: 0 });
  const groups = ["a", "b", "y", "z"];
  const send = () => broker.send(groups.map((groupId) => ({ queue: "q.fifo", body: "x", groupId })));
  await send();
  const seen: (string | undefined)[] = [];
  for (let n = 0; n < 8; n++) {
    await send();
    const found = await broker.receive("q.fifo", { max: 1, wait: 0 });
    seen.push(found[0]?.groupId);
    await broker.delete(found);
  }
  // The first search begins behind the group that was taken from last.
  expect(seen).toEqual(["y", "z", "a", "b", "y", "z", "a", "b"]);
});

test("tenants that take turns fill a receive, also where the last one to have had a turn is gone", async () => {
  const { broker } = await setUp();
  const send = (...groups: string[]) =>
    broker.send(groups.map((groupId, index) => ({ queue: "q", body: `${groupId}${index}`, groupId })));
  // Each follows that which is gone, in SQLite's order, and one of them not in JavaScript's.
  for (const [gone, next] of [
    ["x", "z"],
    ["\uff5e", "\u{1f600}"],
  ] as const) {
    await send(gone);
    await broker.delete(await broker.receive("q", { max: 1, wait: 0 }));
    await send("a", "a", next);
    const taken = await broker.receive("q", { max: 3, wait: 0 });
    expect(taken.map(({ groupId }) => groupId)).toEqual(["a", "a", next]);
    await broker.delete(taken);
  }
});

/** A receive that has begun to wait. The promise is in an object, since one that is returned would be awaited. */
async function receiving(broker: Broker) {
  const abort = new AbortController();
  const waiting = broker.receive("q", { max: 1, wait: 60_000, signal: abort.signal });
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  return { abort, waiting };
}

test("what was taken for a receive that is told to end at that moment is not kept from others", async () => {
  const { broker } = await setUp();
  const { abort, waiting } = await receiving(broker);
  const sent = broker.send([{ queue: "q", body: "x" }]);
  abort.abort();
  await sent;
  const taken = await waiting;
  if (taken.length === 0) expect((await broker.receive("q", { max: 1, wait: 0 }))[0]?.body).toBe("x");
  else expect(taken[0]?.body).toBe("x");
});

test("what was taken within a unit for a receive that is told to end before the commit is not kept from others", async () => {
  const { broker } = await setUp();
  const { abort, waiting } = await receiving(broker);
  const unit = await broker.store?.begin();
  // A step of a unit is answered before the commit.
  await broker.send([{ queue: "q", body: "x" }], unit);
  abort.abort();
  const taken = [...(await waiting), ...(await broker.receive("q", { max: 1, wait: 0 }))];
  expect(taken.map(({ body }) => body)).toEqual(["x"]);
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

test("what SQLite refuses of one text, or of one delivery, is nothing to those of the same turn", async () => {
  const { broker } = await setUp();
  const good = { queue: "q", body: "good" };
  const odd = { queue: "q", body: "odd", priority: Number.NaN };
  const unbindable = { queue: "q", body: { not: "a text" } as unknown as string, attributes: {} };
  const settled = await broker.send([good, odd, good, unbindable, good]);
  expect(settled.map((error) => error === undefined)).toEqual([true, false, true, false, true]);
  for (const at of [1, 3]) expect(settled[at]).toMatchObject({ name: "OperationalError", retryable: false });
  const deliveries = await broker.receive("q", { max: 5, wait: 0, visibility: 60_000 });
  expect(deliveries.map(({ body }) => body)).toEqual(["good", "good", "good"]);
  const hidden = await broker.changeVisibility(
    deliveries.map((delivery, at) => ({ delivery, visibility: at === 1 ? Number.NaN : 0 })),
  );
  expect(hidden.map((error) => error === undefined)).toEqual([true, false, true]);
  expect(await broker.size("q")).toEqual({ ready: 2, delayed: 0, inFlight: 1 });
});
