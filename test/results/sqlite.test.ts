import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { OperationalError } from "../../src/errors.ts";
import { taskKey } from "../../src/results/backend.ts";
import type { Final, Store } from "../../src/results/record.ts";
import { open } from "../../src/results/sqlite.ts";

let folder: string;
let file: string;
let url: string;
let time = Date.UTC(2026, 10, 24);
const context = { now: () => time, random: Math.random, options: {} };
const store = (key: string, ttl?: number): Store => ({ type: "store", key, now: time, ttl, result: "{}" });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lovage-results-"));
  file = join(folder, "lovage.db");
  url = `sqlite:///${file}`;
});
afterEach(() => rmSync(folder, { recursive: true }));

function query(sql: string) {
  const db = new DatabaseSync(file);
  try {
    return db
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  } finally {
    db.close();
  }
}

test("the sqlite3 shell shows Celery's keys and Celery's JSON", async () => {
  const backend = await open(url, context);
  await backend.apply([{ ...store(taskKey("1")), result: '{"status": "SUCCESS", "result": 3}' }]);
  expect(query("SELECT id, typeof(result) AS type, result, result ->> 'status' AS status FROM results")).toEqual([
    { id: "celery-task-meta-1", type: "text", result: '{"status": "SUCCESS", "result": 3}', status: "SUCCESS" },
  ]);
  await backend.close();
});

test("rows outlive the process that wrote them", async () => {
  const writer = await open(url, context);
  await writer.apply([store("key")]);
  await writer.close();
  const reader = await open(url, context);
  expect(await reader.read(["key"])).toEqual([{ result: "{}", timestamp: time / 1000 }]);
  await reader.close();
});

test("two processes claim the same 500 rows at once, and each is claimed exactly once", async () => {
  const processes = ["a", "b"].map((owner) => fork(join(import.meta.dirname, "claimer.ts"), [url, owner, "500"]));
  await Promise.all(processes.map((child) => once(child, "message")));
  const answers = processes.map((child) => once(child, "message"));
  for (const child of processes) child.send("start");
  const [a, b] = (await Promise.all(answers)).map(([types]) => types as string[]);
  const pairs = Array.from({ length: 500 }, (_, index) => [a?.[index], b?.[index]].toSorted().join(" "));
  expect(pairs).toEqual(Array.from({ length: 500 }, () => "claimed running"));
  expect(query("SELECT count(*) AS n FROM results WHERE runs = 1")).toEqual([{ n: 500 }]);
});

test("rows that have expired are deleted as others are written, and no others, wherever in the table they are", async () => {
  const backend = await open(url, context);
  const ttl = time / 1000 + 60;
  const write = (length: number, row: (index: number) => Store) =>
    backend.apply(Array.from({ length }, (_, index) => row(index)));
  await write(300, (index) => store(`keeps ${index}`));
  await write(200, (index) => store(`old ${index}`, index % 2 ? ttl : ttl + 1));
  time += 60_000;
  for (let round = 0; round < 3; round++) await write(256, (index) => store(`keeps ${index}`));
  expect(query("SELECT count(*) AS n FROM results WHERE id LIKE 'keeps %'")).toEqual([{ n: 300 }]);
  expect(query("SELECT DISTINCT ttl FROM results WHERE id LIKE 'old %'")).toEqual([{ ttl: ttl + 1 }]);
  expect(query("SELECT count(*) AS n FROM results WHERE id LIKE 'old %'")).toEqual([{ n: 100 }]);

  time += 1000;
  for (let round = 0; round < 3; round++) await write(256, (index) => store(`keeps ${index}`));
  expect(query("SELECT count(*) AS n FROM results WHERE id LIKE 'old %'")).toEqual([{ n: 0 }]);
  await backend.close();
});

/** What is touched after a commit about rows. */
const bell = () => `${file}-rows`;
const told = () => statSync(bell()).mtimeMs;
const listen = () => writeFileSync(bell(), "");

test("a command that changed no row wakes no other process", async () => {
  const backend = await open(url, context);
  listen();
  utimesSync(bell(), 1, 1);
  const row = { key: "key", now: time, attempt: 0, result: "{}", hidden: false };
  const end = (owner: string): Final => ({ type: "final", owner, done: true, ...row });
  await backend.apply([{ type: "claim", owner: "first", lease: time + 60_000, ...row }]);
  await backend.apply([end("first")]);
  expect(told()).toBeGreaterThan(1000);
  utimesSync(bell(), 1, 1);
  const [refused] = await backend.apply([end("second")]);
  expect(refused).not.toMatchObject({ type: "written" });
  expect(told()).toBe(1000);
  await backend.close();
});

test("an end that is in the journal alone wakes other processes", async () => {
  const journal = { expires: 60, table: "", scope: "app", failed: () => {} };
  const backend = await open(url, { ...context, journal });
  listen();
  utimesSync(bell(), 1, 1);
  const entry = { time, kind: "task", id: "1", state: "IGNORED" } as const;
  const row = { key: taskKey("1"), now: time, attempt: 0, owner: "first", done: true, hidden: true };
  await backend.apply([{ type: "final", unclaimed: true, entry, ...row }]);
  expect(query("SELECT * FROM results")).toEqual([]);
  expect(told()).toBeGreaterThan(1000);
  await backend.close();
});

test("close ends the waits of this backend, and of nobody else who has the file open", async () => {
  const [one, two] = [await open(url, context), await open(url, context)];
  // What opening has committed is noticed in a turn of its own.
  await new Promise(setImmediate);
  let twoWaits = true;
  const ofOne = one.changed?.();
  const ofTwo = two.changed?.();
  void ofTwo?.over.then(() => {
    twoWaits = false;
  });
  await one.close();
  await ofOne?.over;
  expect(twoWaits).toBe(true);
  ofTwo?.end();
  await ofTwo?.over;
  await two.close();
});

test("a damaged file is told in the words of the database, for reading and for writing", async () => {
  const before = await open(url, context);
  await before.apply([store("key")]);
  await before.close();
  const bytes = readFileSync(file);
  // The first page has the schema; all others are lost.
  writeFileSync(file, bytes.fill(0xff, 4096));
  const backend = await open(url, context);
  await expect(backend.read(["key"])).rejects.toThrow(/^\S+ is damaged/);
  expect(String((await backend.apply([store("key")]))[0])).toMatch(/^OperationalError: \S+ is damaged/);
  await backend.close();
});

test("what the database refuses of a batch says why, and keeps nothing else from being applied", async () => {
  const backend = await open(url, context);
  query(
    "CREATE TRIGGER refuse BEFORE INSERT ON results WHEN new.id = 'bad' BEGIN SELECT raise(ABORT, 'no such luck'); END",
  );
  const outcomes = await backend.apply([store("good"), store("bad")]);
  expect(outcomes).toEqual([{ type: "written", revoked: undefined }, expect.any(OperationalError)]);
  expect(String(outcomes[1])).toContain("no such luck");
  expect(await backend.read(["good", "bad"])).toEqual([expect.objectContaining({ result: "{}" }), undefined]);
  await backend.close();
});

test("a closed backend answers with errors", async () => {
  const backend = await open(url, context);
  await backend.close();
  expect(await backend.apply([store("key")])).toEqual([expect.any(OperationalError)]);
  await expect(backend.read(["key"])).rejects.toThrow(OperationalError);
});
