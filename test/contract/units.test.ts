/** What a broker and a backend promise that are one store: steps on both become durable together. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { chain, Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { readWorkers } from "../../src/control/rows.ts";
import { openBackend, openBroker } from "../../src/open.ts";
import type { Backend } from "../../src/results/backend.ts";
import type { Command } from "../../src/results/record.ts";
import { openDatabase } from "../../src/sqlite/database.ts";
import type { Store, Unit } from "../../src/unit.ts";

interface Both {
  readonly broker: Broker;
  readonly backend: Backend;
  readonly store: Store;
  readonly file: string | undefined;
}

const context = { now: Date.now, random: Math.random, options: {} };

async function openBoth(brokerUrl: string, backendUrl = brokerUrl): Promise<Omit<Both, "store" | "file">> {
  const [broker, backend] = await Promise.all([openBroker(brokerUrl, context), openBackend(backendUrl, context)]);
  onTestFinished(async () => {
    await broker.close();
    await backend.close();
  });
  return { broker, backend };
}

function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "lovage-units-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return join(folder, "lovage.db");
}

async function onFile(): Promise<Both & { readonly file: string }> {
  const file = newFile();
  const both = await openBoth(`sqlite:///${file}`);
  return { ...both, store: both.broker.store as Store, file };
}

async function inMemory(): Promise<Both> {
  const both = await openBoth(`memory://${randomUUID()}`);
  return { ...both, store: both.broker.store as Store, file: undefined };
}

const claim = (key: string, owner = "me"): Command => ({
  type: "claim",
  key,
  owner,
  now: Date.now(),
  attempt: 0,
  lease: Date.now() + 60_000,
  hidden: false,
  result: "{}",
});
const final = (key: string, owner = "me"): Command => ({
  type: "final",
  key,
  owner,
  now: Date.now(),
  attempt: 0,
  done: true,
  hidden: false,
  result: '{"status": "SUCCESS"}',
});
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("who opens the same is one store, who opens two is none", async () => {
  const [file, other] = [newFile(), newFile()];
  const same = await openBoth(`sqlite:///${file}`);
  expect(same.broker.store).toBeDefined();
  expect(same.broker.store).toBe(same.backend.store);
  const two = await openBoth(`sqlite:///${file}`, `sqlite:///${other}`);
  expect(two.broker.store).not.toBe(two.backend.store);
  const mixed = await openBoth(`sqlite:///${file}`, `memory://${randomUUID()}`);
  expect(mixed.broker.store).not.toBe(mixed.backend.store);
  const memory = `memory://${randomUUID()}`;
  const both = await openBoth(memory);
  expect(both.broker.store).toBe(both.backend.store);
  expect((await openBoth(`memory://${randomUUID()}`)).broker.store).not.toBe(both.broker.store);
});

describe.each([
  ["memory", inMemory],
  ["SQLite", onFile],
] as const)("on %s", (_, open) => {
  test("steps are done in order, and each sees those before it", async () => {
    const { broker, backend, store } = await open();
    const unit = await store.begin();
    expect(await backend.apply([claim("a")], unit)).toEqual([{ type: "claimed", runs: 1, revoked: undefined }]);
    expect(await backend.apply([final("a")], unit)).toEqual([{ type: "written", revoked: undefined }]);
    expect(await backend.read(["a"], { unit })).toMatchObject([{ done: true }]);
    expect(await broker.send([{ queue: "celery", body: "next" }], unit)).toEqual([undefined]);
    await unit.committed;
    expect(await backend.read(["a"])).toMatchObject([{ done: true }]);
    expect(await broker.size("celery")).toMatchObject({ ready: 1 });
  });

  test("who takes is told in the unit, and claims and deletes in it", async () => {
    const { broker, backend } = await open();
    await broker.send([{ queue: "celery", body: "one" }]);
    const told: (readonly Delivery[])[] = [];
    let ended: Promise<void> | undefined;
    const taken = (deliveries: readonly Delivery[], unit: Unit) => {
      told.push(deliveries);
      ended = (async () => {
        await backend.apply([claim("one")], unit);
        expect(await broker.delete(deliveries, unit)).toEqual([undefined]);
        await unit.committed;
      })();
    };
    const deliveries = await broker.receive("celery", { max: 10, wait: 0, taken });
    expect(told).toEqual([deliveries]);
    await ended;
    expect(await backend.read(["one"])).toMatchObject([{ owner: "me" }]);
    expect(await broker.size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("a receive that waits takes what is sent within a unit", async () => {
    const { broker, store } = await open();
    let told = 0;
    const taken = (deliveries: readonly Delivery[]) => {
      told += deliveries.length;
    };
    const received = broker.receive("celery", { max: 10, wait: 5000, taken });
    await turn();
    const unit = await store.begin();
    await broker.send([{ queue: "celery", body: "one" }], unit);
    await unit.committed;
    expect(await received).toMatchObject([{ body: "one" }]);
    expect(told).toBe(1);
  });

  test("a step that is refused is told so, and the others are done", async () => {
    const { broker, backend, store } = await open();
    const unit = await store.begin();
    const tooLarge = { queue: "celery", body: "x".repeat(1024 * 1024 + 1) };
    expect(await broker.send([tooLarge, { queue: "celery", body: "fits" }], unit)).toEqual([
      expect.any(Error),
      undefined,
    ]);
    expect(await backend.apply([final("nobody's")], unit)).toMatchObject([{ type: "refused" }]);
    await unit.committed;
    expect(await broker.size("celery")).toMatchObject({ ready: 1 });
  });

  test("what waits for something else is durable by itself, before and after", async () => {
    const { broker, backend, store } = await open();
    const unit = await store.begin();
    await backend.apply([claim("a")], unit);
    await turn();
    await unit.committed;
    expect(await backend.apply([final("a")], unit)).toMatchObject([{ type: "written" }]);
    expect(await broker.send([{ queue: "celery", body: "next" }], unit)).toEqual([undefined]);
    expect(await backend.read(["a"])).toMatchObject([{ done: true }]);
    expect(await broker.size("celery")).toMatchObject({ ready: 1 });
  });
});

test("others see all of a unit, or nothing", async () => {
  const { broker, backend, store, file } = await onFile();
  await broker.send([{ queue: "celery", body: "warm" }]);
  const other = new DatabaseSync(file);
  const count = () =>
    other.prepare("SELECT (SELECT count(*) FROM results) AS rows, (SELECT count(*) FROM message) AS messages").get();
  const unit = await store.begin();
  await backend.apply([claim("a")], unit);
  // One of this process that is not in the unit waits for its end.
  const outside = backend.read(["a"]).then((rows) => ({ rows, seen: count() }));
  await broker.send([{ queue: "celery", body: "next" }], unit);
  expect(count()).toEqual({ rows: 0, messages: 1 });
  await unit.committed;
  expect(count()).toEqual({ rows: 1, messages: 2 });
  expect(await outside).toMatchObject({ rows: [{ owner: "me" }], seen: { rows: 1, messages: 2 } });
  other.close();
});

test("a unit that cannot be committed has done nothing, and says so", async () => {
  const { broker, backend, file } = await onFile();
  await broker.send([{ queue: "celery", body: "one" }]);
  // The same connection: a limit of its own that is reached as a full disk is.
  const database = await openDatabase(`sqlite:///${file}`, context);
  onTestFinished(() => database.close());
  const pages = Number(database.prepare("PRAGMA page_count").get()?.["page_count"]);
  database.read((db) => db.exec(`PRAGMA max_page_count = ${pages}`));
  const ended = Promise.withResolvers<unknown>();
  const taken = (deliveries: readonly Delivery[], unit: Unit) => {
    void (async () => {
      const [outcome] = await backend.apply([claim("one")], unit);
      const [refused] = await broker.send([{ queue: "celery", body: "x".repeat(900_000) }], unit);
      const lost = await unit.committed.catch((error: unknown) => error);
      const late = await broker.delete(deliveries, unit);
      ended.resolve({ outcome, refused, lost, late });
    })();
  };
  await expect(broker.receive("celery", { max: 1, wait: 0, taken })).rejects.toThrow(/disk is full/);
  const error = expect.objectContaining({ name: "OperationalError" });
  expect(await ended.promise).toEqual({
    outcome: { type: "claimed", runs: 1, revoked: undefined },
    refused: error,
    lost: error,
    late: [error],
  });
  database.read((db) => db.exec("PRAGMA max_page_count = 1000000"));
  expect(await backend.read(["one"])).toEqual([undefined]);
  // It was not taken: this is the first time.
  expect(await broker.receive("celery", { max: 1, wait: 0 })).toMatchObject([{ body: "one", receiveCount: 1 }]);
});

/** How many transactions a file's log has: https://www.sqlite.org/fileformat2.html#the_write_ahead_log */
function commitsIn(file: string): number {
  const log = readFileSync(`${file}-wal`);
  const page = log.readUInt32BE(8);
  let commits = 0;
  // The last frame of a transaction has the size of the file.
  for (let at = 32; at + 24 <= log.length; at += 24 + page) if (log.readUInt32BE(at + 4) > 0) commits++;
  return commits;
}

test("a delivery takes two transactions, and where its worker waits for it in the sender's process, the first is the send's", async () => {
  const url = `sqlite:///${newFile()}`;
  const file = url.slice("sqlite:///".length);
  const app = new Lovage("two", { brokerUrl: url, resultBackend: url });
  const add = app.task("add", (x: number, y: number) => x + y);
  const chained = app.task("chained", (x: number) => x + 1);
  const worker = await startWorker(app, { concurrency: 2 });
  onTestFinished(async () => {
    await worker.stop();
    await app.close();
  });
  await (await add.delay(1, 1)).get();
  // What it says of itself when it starts is written by then.
  await vi.waitUntil(async () => (await readWorkers(await app.engine.backend(), Date.now())).length === 1);
  const before = commitsIn(file);
  for (let n = 0; n < 10; n++) expect(await (await add.delay(n, 1)).get()).toBe(n + 1);
  // Three more at most: what it says of itself, and a take that came too late to be the send's.
  expect(commitsIn(file) - before).toBeLessThanOrEqual(20 + 3);

  const between = commitsIn(file);
  const steps = Array.from({ length: 9 }, () => chained.s());
  expect(await (await chain(chained.s(0), ...(steps as [])).applyAsync()).get()).toBe(10);
  // The outcome of a step, the message of the next, and that one's claim.
  expect(commitsIn(file) - between).toBeLessThanOrEqual(11 + 3);
});
