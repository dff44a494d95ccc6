import { fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync, utimesSync } from "node:fs";
import {
  chmod,
  copyFile,
  mkdtemp,
  open as openHandle,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test, vi } from "vitest";
import { open as openBroker } from "../../src/brokers/sqlite.ts";
import { ImproperlyConfigured, OperationalError } from "../../src/errors.ts";
import { openDatabase } from "../../src/sqlite/database.ts";
import { SCHEMA_VERSION } from "../../src/sqlite/file.ts";
import { parseUrl } from "../../src/sqlite/url.ts";

const context = { now: Date.now, random: Math.random, options: {} };
const child = join(import.meta.dirname, "child.ts");

async function makeFolder() {
  const folder = await mkdtemp(join(tmpdir(), "lovage-sqlite-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** A database with a table `t` of numbers. */
async function setUp() {
  const path = join(await makeFolder(), "test.db");
  const url = `sqlite:///${path}`;
  const database = await openDatabase(url, context);
  onTestFinished(() => database.close());
  await database.write((db) => db.exec("CREATE TABLE t (n INTEGER NOT NULL)"));
  const insert = (n: number) => database.prepare("INSERT INTO t VALUES (?)").run(n);
  const stored = () =>
    database.read(() => database.prepare("SELECT n FROM t ORDER BY rowid").all()).map((row) => row["n"]);
  /** A connection of somebody else's. */
  const stranger = () => {
    const db = new DatabaseSync(path, { timeout: 0 });
    onTestFinished(() => db.close());
    return db;
  };
  return { path, url, database, insert, stored, stranger };
}

const failure = async (promise: Promise<unknown>): Promise<Error> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(Error);
  return error as Error;
};

// ── URLs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

test.each([
  ["sqlite://", resolve(".lovage/lovage.db")],
  ["sqlite:///jobs.db", resolve("jobs.db")],
  ["sqlite:///../jobs.db", resolve("../jobs.db")],
  ["sqlite:////var/lib/jobs.db", "/var/lib/jobs.db"],
  ["sqlite:////var/my%20jobs%3F.db", "/var/my jobs?.db"],
])("%s is the file %s", (url, path) => {
  expect(parseUrl(url)).toEqual({ path, synchronous: "normal" });
});

test("synchronous=full asks for a disk sync at every commit", async () => {
  expect(parseUrl("sqlite:///a?synchronous=full").synchronous).toBe("full");
  const { url, database } = await setUp();
  const synchronous = () => database.read((db) => db.prepare("PRAGMA synchronous").get()?.["synchronous"]);
  expect(synchronous()).toBe(1);
  const second = await openDatabase(`${url}?synchronous=full`, context);
  expect(synchronous()).toBe(2);
  await second.close();
});

test.each([
  ["sqlite://jobs.db", "three slashes"],
  ["sqlite:///a?timeout=3", 'no parameter "timeout"'],
  ["sqlite:///a?synchronous=off", 'not "off"'],
  ["sqlite:///:memory:", "memory://"],
  ["sqlite://:memory:", "memory://"],
  ["sqlite:///a/", "name a file"],
  ["sqlite:///100%", "%25"],
  ["sqlite:///what?.db", "%3F"],
  ["sqlite:///job#1.db", "%23"],
  ["postgres://a", "sqlite:///relative/path"],
])("%s is refused with the reason", (url, reason) => {
  expect(() => parseUrl(url)).toThrow(ImproperlyConfigured);
  expect(() => parseUrl(url)).toThrow(reason);
});

test("the default's folder is made on first use, and SQLite's notice that it is experimental is not shown", async () => {
  const cwd = await makeFolder();
  const script = `
    const { openDatabase } = await import(${JSON.stringify(new URL("../../src/sqlite/database.ts", import.meta.url).href)});
    await (await openDatabase("sqlite://", { random: Math.random })).close();
    process.emitWarning("another warning");`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd,
    encoding: "utf8",
  });
  expect(status).toBe(0);
  expect(stderr).toContain("another warning");
  expect(stderr).not.toContain("SQLite");
  expect((await stat(join(cwd, ".lovage", "lovage.db"))).isFile()).toBe(true);
});

// ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────────

test("the default's folder and its files are their owner's alone, also where they were made before with more", async () => {
  const folder = join(await makeFolder(), ".lovage");
  const modes = async () =>
    Promise.all(
      ["", "lovage.db", "lovage.db-wal", "lovage.db-shm", "lovage.db-messages", "lovage.db-rows"].map(
        async (name) => (await stat(join(folder, name))).mode & 0o777,
      ),
    );
  const open = async () => {
    const database = await openDatabase(`sqlite:///${join(folder, "lovage.db")}`, context);
    await database.write((db) => db.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER)"));
    for (const about of ["messages", "rows"] as const) database.changed(about).end();
    return database;
  };
  const first = await open();
  expect(await modes()).toEqual([0o700, 0o600, 0o600, 0o600, 0o600, 0o600]);
  await first.close();
  await chmod(folder, 0o755);
  await chmod(join(folder, "lovage.db"), 0o644);
  const second = await open();
  expect(await modes()).toEqual([0o700, 0o600, 0o600, 0o600, 0o600, 0o600]);
  expect(await readdir(folder)).toHaveLength(5);
  await second.close();
});

test("jobs of one turn share a transaction, and each gets its own answer", async () => {
  const { database, insert, stored, stranger } = await setUp();
  const others = stranger().prepare("SELECT count(*) AS n FROM t");
  const seen: unknown[] = [];
  const trial = () =>
    Promise.all(
      [1, 2, 3].map((n) =>
        database.write(() => {
          insert(n);
          seen.push(others.get()?.["n"]);
          return n * 10;
        }),
      ),
    );
  // A transaction that is 5 ms old takes no more jobs: on a machine that stops meanwhile the next trial tells.
  for (let ms = Number.POSITIVE_INFINITY; ms > 4; ) {
    await database.write((db) => db.exec("DELETE FROM t"));
    seen.length = 0;
    const from = performance.now();
    expect(await trial()).toEqual([10, 20, 30]);
    ms = performance.now() - from;
  }
  expect(stored()).toEqual([1, 2, 3]);
  // Nobody else saw the first before the last was done.
  expect(seen).toEqual([0, 0, 0]);
});

test("a job that throws is rolled back alone", async () => {
  const { database, insert, stored } = await setUp();
  const reason = new Error("no");
  const settled = await Promise.allSettled([
    database.write(() => insert(1)),
    database.write(() => {
      insert(2);
      throw reason;
    }),
    database.write(() => insert(3)),
  ]);
  expect(settled[1]).toEqual({ status: "rejected", reason });
  expect(stored()).toEqual([1, 3]);
  await expect(
    database.write(() => {
      insert(4);
      throw reason;
    }),
  ).rejects.toBe(reason);
  expect(stored()).toEqual([1, 3]);
});

test("a job that breaks a constraint gets SQLite's own error, and the next one runs", async () => {
  const { database, insert, stored } = await setUp();
  await expect(database.write((db) => db.exec("INSERT INTO t VALUES (NULL)"))).rejects.toThrow("NOT NULL");
  await database.write(() => insert(1));
  expect(stored()).toEqual([1]);
});

test("a read of what was closed says so, however long ago the file was looked at: its log went with the close", async () => {
  const { database } = await setUp();
  const count = database.prepare("SELECT count(*) AS n FROM t");
  await database.close();
  const late = performance.now() + 60_000;
  const clock = vi.spyOn(performance, "now").mockReturnValue(late);
  onTestFinished(() => clock.mockRestore());
  expect(() => database.read(() => count.get())).toThrow("is closed already");
});

test("users of one path share a connection, which lasts as long as the last of them", async () => {
  const { url, database, insert, stored } = await setUp();
  const second = await openDatabase(url, context);
  expect(second.prepare("SELECT 1")).toBe(database.prepare("SELECT 1"));
  await second.close();
  await second.close();
  await database.write(() => insert(1));
  expect(stored()).toEqual([1]);
});

test("closing waits for the writes under way", async () => {
  const { path, database, insert } = await setUp();
  const writing = database.write(() => insert(7));
  await database.close();
  await writing;
  await expect(database.write(() => insert(8))).rejects.toThrow("is closed already");
  const db = new DatabaseSync(path);
  expect(db.prepare("SELECT n FROM t").all()).toMatchObject([{ n: 7 }]);
  db.close();
});

// ── word of commits ──────────────────────────────────────────────────────────────────────────────────────────────────

/** What is touched for those who listen to it. */
const bellsOf = (path: string) => ({ messages: `${path}-messages`, rows: `${path}-rows`, entries: `${path}-rows` });

/** Lets the event loop turn a few times, so that a wake-up that was on its way has come. */
async function settle() {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => setImmediate(resolve));
}

test("that tasks have started is told a little later, or with the next news", async () => {
  const { path, database, insert } = await setUp();
  const bell = bellsOf(path).rows;
  const isTouched = () => statSync(bell).mtimeMs > 1000;
  database.changed("rows").end();
  for (const next of [undefined, "messages"] as const) {
    utimesSync(bell, 1, 1);
    await settle();
    const waiting = database.changed("rows").over;
    await database.write(() => insert(1), "starts");
    // Whoever runs those tasks has not waited until others know.
    expect(isTouched()).toBe(false);
    if (next !== undefined) {
      await database.write(() => insert(2), next);
      expect(isTouched()).toBe(true);
    }
    await waiting;
    expect(isTouched()).toBe(true);
  }
});

test("a commit that is no news to anybody does not wake other processes", async () => {
  const { path, database, insert } = await setUp();
  const bells = bellsOf(path);
  // Who listens makes them.
  for (const about of ["messages", "rows"] as const) database.changed(about).end();
  for (const about of ["messages", "rows", "entries"] as const) {
    for (const bell of Object.values(bells)) utimesSync(bell, 1, 1);
    await database.write(() => insert(1));
    const rung = () => [bells.messages, bells.rows].filter((bell) => statSync(bell).mtimeMs > 1000);
    expect(rung()).toEqual([]);
    await database.write(() => insert(1), about);
    expect(rung()).toEqual([bells[about]]);
  }
});

test("a wait ends with the word of another process about the same, and not with that about anything else", async () => {
  const { path, database, insert } = await setUp();
  const ended: string[] = [];
  const wait = (about: "messages" | "rows") => database.changed(about).over.then(() => ended.push(about));
  const touch = (bell: string) => utimesSync(bell, 2, 2);
  await Promise.all([database.write(() => insert(1), "rows"), wait("rows")]);
  ended.length = 0;
  for (const [about, other] of [
    ["messages", "rows"],
    ["rows", "messages"],
  ] as const) {
    const bell = bellsOf(path);
    const waiting = wait(about);
    const beside = wait(other);
    await settle();
    touch(bell[about]);
    await waiting;
    expect(ended).toEqual([about]);
    touch(bell[other]);
    await beside;
    ended.length = 0;
  }
});

test("a wait is not ended by the own word of its process, and by a commit of another that comes with it", async () => {
  const { path, database, insert, stranger } = await setUp();
  const other = stranger();
  await Promise.all([database.write(() => insert(1), "rows"), database.changed("rows").over]);
  await settle();
  let woken = false;
  // The same file is touched for both.
  const waiting = database.changed("entries").over.then(() => {
    woken = true;
  });
  for (let n = 0; n < 3; n++) {
    await database.write(() => insert(n), "rows");
    await settle();
  }
  expect(woken).toBe(false);
  const written = database.write(() => insert(4), "rows");
  await written;
  other.exec("INSERT INTO t VALUES (5)");
  utimesSync(bellsOf(path).rows, 2, 2);
  await waiting;
});

test("who listens is told also after somebody has removed what is touched", async () => {
  const { path, database, insert, stranger } = await setUp();
  const bell = bellsOf(path).rows;
  await Promise.all([database.write(() => insert(1), "rows"), database.changed("rows").over]);
  await settle();
  const removed = database.changed("rows").over;
  await rm(bell);
  await removed;
  await settle();
  let woken = false;
  const waiting = database.changed("rows").over.then(() => {
    woken = true;
  });
  expect(existsSync(bell)).toBe(true);
  await settle();
  expect(woken).toBe(false);
  stranger().exec("INSERT INTO t VALUES (2)");
  const from = performance.now();
  utimesSync(bell, 2, 2);
  await waiting;
  // By its touch, and not by the look that follows each half second.
  expect(performance.now() - from).toBeLessThan(300);
});

test("what is touched is there only while somebody has the file open", async () => {
  const { path, url, database } = await setUp();
  const beside = async () =>
    (await readdir(dirname(path))).filter((name) => !/^test\.db(-wal|-shm)?$/.test(name)).toSorted();
  expect(await beside()).toEqual([]);
  for (const about of ["messages", "rows", "entries"] as const) database.changed(about).end();
  expect(await beside()).toEqual(["test.db-messages", "test.db-rows"]);
  const script = `import { openDatabase } from ${JSON.stringify(new URL("../../src/sqlite/database.ts", import.meta.url).href)};
    await (await openDatabase(${JSON.stringify(url)}, { random: Math.random })).close();`;
  const { status } = spawnSync(process.execPath, [
    "--import",
    new URL("../../scripts/source.ts", import.meta.url).href,
    "--input-type=module",
    "-e",
    script,
  ]);
  expect(status).toBe(0);
  expect(await beside()).toEqual(["test.db-messages", "test.db-rows"]);
  await database.close();
  expect(await beside()).toEqual([]);
});

test("a wait ends with a commit of its own process about the same, and not with a read or a job that says it changed nothing", async () => {
  const { database, insert, stored } = await setUp();
  await settle();
  let woken = false;
  const waiting = database.changed("rows").over.then(() => {
    woken = true;
  });
  stored();
  await database.write(
    (db) => db.exec("DELETE FROM t WHERE n = 5"),
    () => undefined,
  );
  await database.write(() => insert(2), "messages");
  await database.write(() => insert(3));
  await settle();
  expect(woken).toBe(false);
  await database.write(() => insert(1), "rows");
  await waiting;
});

test("a wait ends with a commit of another connection, also of one made between the read and the wait", async () => {
  const { database, stranger } = await setUp();
  await settle();
  const other = stranger();
  const before = database.changed("rows").over;
  other.exec("INSERT INTO t VALUES (1)");
  await before;
  other.exec("INSERT INTO t VALUES (2)");
  await database.changed("rows").over;
});

test("a commit that shares a transaction with the read that missed it still ends the wait", async () => {
  const { database, insert, stored } = await setUp();
  await settle();
  const looked = database.write(() => stored().length);
  const written = database.write(() => insert(1), "rows");
  expect(await looked).toBe(0);
  await Promise.all([database.changed("rows").over, written]);
});

test("a wait ends when who waits ends it, and when the file is closed", async () => {
  const { database } = await setUp();
  await settle();
  const waiting = database.changed("rows");
  waiting.end();
  await waiting.over;
  let ended = false;
  void database.changed("rows").over.then(() => {
    ended = true;
  });
  await database.close();
  await settle();
  expect(ended).toBe(true);
});

// ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────────────

test("a checkpoint brings into the file what others have committed, beside a transaction that is open", async () => {
  const { path, database, insert, stored, stranger } = await setUp();
  const inFile = () => statSync(path).size;
  const before = inFile();
  const other = stranger();
  other.exec("INSERT INTO t VALUES (1)");
  // The log alone has it.
  expect(inFile()).toBe(before);
  other.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)");
  database.store.checkpoint?.();
  expect(inFile()).toBeGreaterThan(before);
  other.exec("COMMIT");
  expect(stored()).toEqual([1, 2]);
  await database.write(() => insert(3));
  expect(stored()).toEqual([1, 2, 3]);
});

test("what a checkpoint must leave in the log, for a reader or as a transaction is open, the next one brings", async () => {
  const { path, database, stranger } = await setUp();
  const inFile = () => statSync(path).size;
  const before = inFile();
  const reader = stranger();
  reader.exec("BEGIN; SELECT count(*) FROM t");
  stranger().exec("INSERT INTO t VALUES (1)");
  database.store.checkpoint?.();
  const unit = await database.store.begin();
  database.store.checkpoint?.();
  await unit.committed;
  expect(inFile()).toBe(before);
  reader.exec("COMMIT");
  database.store.checkpoint?.();
  expect(inFile()).toBeGreaterThan(before);
});

test("a checkpoint with nothing new does not touch the disk", async () => {
  const { path, database, stranger } = await setUp();
  stranger().exec("INSERT INTO t VALUES (1)");
  database.store.checkpoint?.();
  utimesSync(path, 1, 1);
  database.store.checkpoint?.();
  expect(statSync(path).mtimeMs).toBe(1000);
});

// ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test("a file that stays locked is an error that says which, and may be tried again", async () => {
  const { path, database, insert, stored } = await setUp();
  const holder = fork(child, ["lock", path], { execArgv: [] });
  await once(holder, "message");
  // A clock that runs fast, so that the test need not wait for ten seconds.
  let time = performance.now();
  const clock = vi.spyOn(performance, "now").mockImplementation(() => (time += 500));
  const error = await failure(database.write(() => insert(1)));
  clock.mockRestore();
  expect(error).toBeInstanceOf(OperationalError);
  expect(error).toMatchObject({
    retryable: true,
    message: expect.stringMatching(/test\.db stayed locked for 10 s/),
    cause: { errcode: 5 },
  });
  holder.send("go");
  await once(holder, "exit");
  await database.write(() => insert(2));
  expect(stored()).toEqual([2]);
});

test("a write waits for a lock that is given back", async () => {
  const { database, insert, stored, stranger } = await setUp();
  const other = stranger();
  other.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
  const writing = database.write(() => insert(2));
  setTimeout(() => other.exec("COMMIT"), 20);
  await writing;
  expect(stored()).toEqual([1, 2]);
});

test("a full disk is an error that may be tried again, and takes nothing else with it", async () => {
  const { path, database, insert, stored } = await setUp();
  await database.write(() => insert(1));
  database.read((db) => db.exec("PRAGMA max_page_count = 1"));
  const settled = await Promise.allSettled([
    database.write(() => insert(2)),
    database.write((db) => db.exec("CREATE TABLE big AS SELECT randomblob(1000000) AS b")),
  ]);
  expect(settled[1]).toMatchObject({
    reason: {
      retryable: true,
      message: `${path} cannot grow, the disk is full; free some space on it: until then nothing can be written, and nothing purged`,
    },
  });
  // Whether SQLite could undo the one statement or had to undo all: what was said to be stored is stored.
  expect(stored()).toEqual(settled[0].status === "fulfilled" ? [1, 2] : [1]);
  database.read((db) => db.exec("PRAGMA max_page_count = 1000000"));
  await database.write(() => insert(3));
  expect(stored()).toContain(3);
});

test("a broker that cannot grow says so for each entry, and sends again when it can", async () => {
  const path = join(await makeFolder(), "full.db");
  const broker = await openBroker(`sqlite:///${path}`, context);
  onTestFinished(() => broker.close());
  const database = await openDatabase(`sqlite:///${path}`, context);
  onTestFinished(() => database.close());
  database.read((db) => db.exec("PRAGMA max_page_count = 1"));
  const big = { queue: "q", body: "x".repeat(500_000) };
  for (const reason of await broker.send([big, big]))
    expect(reason).toMatchObject({ name: "OperationalError", retryable: true });
  database.read((db) => db.exec("PRAGMA max_page_count = 1000000"));
  expect(await broker.send([big])).toEqual([undefined]);
  expect((await broker.size("q")).ready).toBe(1);
});

test("a file that is no database is refused and left as it was", async () => {
  const path = join(await makeFolder(), "notes.txt");
  await writeFile(path, "These are notes.\n".repeat(100));
  const error = await failure(openDatabase(`sqlite:///${path}`, context));
  expect(error).toBeInstanceOf(OperationalError);
  expect(error).toMatchObject({
    retryable: true,
    message: expect.stringContaining(`${path} is damaged, or no SQLite database`),
  });
  expect(await readFile(path, "utf8")).toBe("These are notes.\n".repeat(100));
});

test("a damaged file is an error that names it and the way out", async () => {
  const { path, database, insert } = await setUp();
  await database.write(() => {
    for (let n = 0; n < 5000; n++) insert(n);
  });
  await database.close();
  const copy = `${path}-damaged`;
  await copyFile(path, copy);
  const handle = await openHandle(copy, "r+");
  await handle.write(Buffer.alloc(4096, 0xff), 0, 4096, 4096);
  await handle.close();
  const damaged = await openDatabase(`sqlite:///${copy}`, context);
  onTestFinished(() => damaged.close());
  const error = await failure(damaged.write(() => damaged.prepare("SELECT sum(n) FROM t").get()));
  expect(error).toBeInstanceOf(OperationalError);
  expect(error).toMatchObject({ retryable: true, message: expect.stringContaining(".recover") });
});

test("a file that was moved or replaced takes nothing more and says so, and goes on when it is back", async () => {
  const { path, database, insert, stored } = await setUp();
  const write = () => database.write(() => insert(1));
  await write();
  await rename(path, `${path}.away`);
  await vi.waitFor(() => expect(write()).rejects.toThrow(OperationalError));
  await expect(write()).rejects.toThrow(`the file ${path} was moved or removed`);
  expect(stored).toThrow("was moved or removed");
  await writeFile(path, "");
  await expect(write()).rejects.toThrow(`another file is in the place of ${path}`);
  await rename(`${path}.away`, path);
  await write();
  expect(stored().length).toBeGreaterThanOrEqual(2);
});

// So it is also where code of this process has opened and closed the file, which ends the process's locks: a connection of an SQLite
// before 3.51 that is closed then takes itself for the last.
test.each([
  ["-wal", "the log"],
  ["-shm", "the index of the log"],
])("a file whose %s was removed takes nothing more, and says so", async (end, what) => {
  const { path, database, insert, stored } = await setUp();
  const write = () => database.write(() => insert(1));
  await write();
  await rm(`${path}${end}`);
  await vi.waitFor(() => expect(write()).rejects.toThrow(OperationalError));
  await expect(write()).rejects.toThrow(
    `${path}${end}, ${what} of ${path}, was removed while this process had it open`,
  );
  expect(stored).toThrow("end the process and start it again");
});

test("what belongs to a file that is opened by a link is beside the file, and is missed there", async () => {
  const { path, database } = await setUp();
  const link = join(await makeFolder(), "link.db");
  await symlink(path, link);
  const linked = await openDatabase(`sqlite:///${link}`, context);
  onTestFinished(() => linked.close());
  const wait = linked.changed("messages");
  expect(await readdir(dirname(link))).toEqual(["link.db"]);
  await database.write(() => {}, "messages");
  await wait.over;
  await rm(`${path}-wal`);
  await vi.waitFor(() =>
    expect(linked.write(() => {})).rejects.toThrow(`${path}-wal, the log of ${link}, was removed`),
  );
});

test("a folder that is not there is an error that says so", async () => {
  const path = join(await makeFolder(), "missing", "a.db");
  const error = await failure(openDatabase(`sqlite:///${path}`, context));
  expect(error).toBeInstanceOf(OperationalError);
  expect(error).toMatchObject({ retryable: true, message: expect.stringContaining("in a folder that exists") });
});

test("a file that failed to open can be opened later", async () => {
  const folder = await makeFolder();
  const path = join(folder, "late.db");
  await writeFile(path, "no database ".repeat(100));
  await failure(openDatabase(`sqlite:///${path}`, context));
  await rm(path);
  await (await openDatabase(`sqlite:///${path}`, context)).close();
});

test("a folder, or a path that is too long for SQLite, is an error that says what it must be", async () => {
  const folder = await makeFolder();
  for (const path of [folder, join(folder, "x".repeat(600))]) {
    const error = await failure(openDatabase(`sqlite:///${path}`, context));
    expect(error).toBeInstanceOf(OperationalError);
    expect(error.message).toContain("it must be a file, with a path of less than 500 bytes");
  }
});

test("a file that cannot be opened as the disk is full says so", async () => {
  const { path, url, database, insert } = await setUp();
  await database.write(() => insert(1));
  await database.close();
  expect(existsSync(`${path}-shm`)).toBe(false);
  // No file of that process may be as large as the index of the log.
  const limited = ["-c", 'ulimit -f 20; exec "$@"', "sh", process.execPath, child, "user", url];
  const opening = spawn("sh", [...limited, `${process.getuid?.()}`], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const [answer] = await once(opening, "message");
  expect(answer).toMatchObject({
    name: "OperationalError",
    retryable: true,
    message: expect.stringContaining("the disk is full"),
  });
});

test("a file, or a folder, that this user may not write is an error that says so", async () => {
  const folder = await makeFolder();
  const url = `sqlite:///${join(folder, "mine.db")}`;
  const broker = await openBroker(url, context);
  onTestFinished(() => broker.close());
  await broker.send([{ queue: "q", body: "x" }]);
  const nobody = async (url: string) => {
    const process = fork(child, ["user", url, "65534"], { execArgv: [] });
    const [answer] = await once(process, "message");
    return answer as unknown;
  };
  // Root may write everything, so its child becomes another user; of all others the right is taken.
  const files = (await readdir(folder)).map((name) => join(folder, name));
  for (const file of files) await chmod(file, 0o444);
  await chmod(folder, 0o555);
  onTestFinished(() => chmod(folder, 0o755));
  expect(await nobody(url)).toMatchObject({
    name: "OperationalError",
    retryable: true,
    message: expect.stringMatching(/mine\.db (is read-only|cannot be opened)/),
  });
  expect(await nobody(`sqlite:///${join(folder, "new.db")}`)).toMatchObject({
    name: "OperationalError",
    retryable: true,
  });
  expect(await nobody(`sqlite:///${join(folder, ".lovage", "new.db")}`)).toMatchObject({
    name: "OperationalError",
    retryable: true,
    message: expect.stringContaining(`let this user write to ${folder}`),
  });
});

test("a database of another program is refused and left as it was", async () => {
  const path = join(await makeFolder(), "theirs.db");
  const theirs = new DatabaseSync(path);
  theirs.exec("CREATE TABLE customers (name)");
  const error = await failure(openDatabase(`sqlite:///${path}`, context));
  expect(error).toBeInstanceOf(ImproperlyConfigured);
  expect(error.message).toContain("another program");
  expect(theirs.prepare("PRAGMA journal_mode").get()).toMatchObject({ journal_mode: "delete" });
  theirs.close();
});

test("a file of a later version is refused", async () => {
  const { path, url, database } = await setUp();
  await database.close();
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  db.close();
  const error = await failure(openDatabase(url, context));
  expect(error).toBeInstanceOf(ImproperlyConfigured);
  expect(error.message).toContain("upgrade Lovage");
});

test("no statement numbers its parameters: the oldest Node that we support has no place for what is given to them", async () => {
  const root = join(import.meta.dirname, "../../src");
  const numbered: string[] = [];
  for (const file of await readdir(root, { recursive: true })) {
    if (!file.endsWith("sqlite.ts") && !file.startsWith("sqlite")) continue;
    const text = await readFile(join(root, file), "utf8").catch(() => "");
    numbered.push(...(text.match(/^.*[ (,=]\?\d.*$/gm) ?? []).map((line) => `${file}: ${line.trim()}`));
  }
  expect(numbered).toEqual([]);
});
