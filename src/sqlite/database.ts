/**
 * The file behind `sqlite://`: one connection for each path and thread, transactions that share a commit, a write lock
 * that processes share fairly, and word from other processes when they have committed.
 */
import {
  chmodSync,
  existsSync,
  type FSWatcher,
  linkSync,
  mkdirSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  watch,
  writeFileSync,
} from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { maskUrl } from "../brief.ts";
import { ImproperlyConfigured, LovageError, OperationalError } from "../errors.ts";
import { DEFAULT_FILE } from "../file-url.ts";
import type { Store, Unit } from "../unit.ts";
import type { Wait } from "../wait.ts";
import { identityOf, logOf } from "../file-identity.ts";

/** Written into the file (`PRAGMA user_version`). A file of a later version is refused. */
export const SCHEMA_VERSION = 1;
/** `PRAGMA application_id`, "Lovg": a database of somebody else's is never written to. */
const APPLICATION_ID = 0x4c6f7667;

/** How long a transaction waits for the write lock before it fails. */
const LOCK_TIMEOUT_MS = 10_000;
/** Time between two tries for the lock; SQLite's own busy handler sleeps up to 100 ms and so loses to a writer in a loop. */
const RETRY_MS = 0.2;
/** The thread sleeps in its tries for so long, then lets the event loop turn once. */
const BURST_MS = 3;
/** One transaction takes no more jobs, but for the next steps of what has begun, once it is so old: others wait for the lock meanwhile. */
const TRANSACTION_MS = 5;
/**
 * A log of so many pages is brought into the file by whoever has just committed, who waits for the disk meanwhile: eight times
 * SQLite's own 1000, since a worker's thread does it long before (see {@link Store.checkpoint}).
 */
const CHECKPOINT_PAGES = 8000;
const PAGE_BYTES = 4096;
const START_MS = 10;
/** Where the file system reports no changes, or a process died between its commit and its word of it, they are noticed this late. */
const POLL_MS = 500;
/** On POSIX systems a process that closes a file loses all its locks on it. Whoever then closes it as SQLite does takes himself for the last. */
const LOG_REMEDY =
  'It is removed by hand, or when code of this process has opened and closed the file by itself: copy it by "VACUUM INTO", in another process';
/** So often at most it is looked whether the file is still where it was. */
const PLACE_MS = 100;

/** What is waited for: a commit of this process wakes nobody else. Another's that is told of may be about anything. */
export type Subject = "messages" | "rows" | "entries";

/**
 * What a commit is about. `starts`: rows say that their tasks have started, which is told {@link START_MS} later or with the next
 * news: most tasks have ended by then, and none is to wait until that has been told.
 */
type News = Subject | "starts";

/** A job may know only when it has run what it was about. */
type About = News | (() => News | undefined) | undefined;

/** A file that several parts of an app share. */
export interface Database {
  readonly path: string;
  /**
   * Runs `job` inside BEGIN IMMEDIATE … COMMIT and resolves when it is committed. Jobs of the same turn of the event loop
   * share one transaction; one that throws is rolled back alone, and its error is thrown here as it is, unless it is one
   * of SQLite's, which becomes an `OperationalError`. A job is synchronous and is run once at most.
   *
   * @param about Who of this process is woken; other processes then look for themselves. Default: nobody is, as after an
   * acknowledgement, which brings nothing to anyone. A task waits for what this costs, so a job that may change nothing says afterwards
   * whether it has.
   * @param unit A unit that the job is part of, as long as that is not over: it resolves when it was run in its transaction.
   */
  write<T>(job: (db: DatabaseSync) => T, about?: About, unit?: Unit): Promise<T>;
  /** The units of this file: steps that share a transaction, one after the other. The same object for all who have the file open. */
  readonly store: Store;
  /** For a job, while it runs: the unit of its transaction. */
  unit(): Unit;
  /** Resolves when no unit is under way: what is read before that may be taken back. `undefined`: there is none. */
  atRest(): Promise<void> | undefined;
  /** Reads at once, within a unit that is under way too. */
  read<T>(job: (db: DatabaseSync) => T): T;
  /** The prepared statement of a text, made once. Lists go in as JSON (`json_each(?)`), so that the texts are few. */
  prepare(sql: string): StatementSync;
  /** Reads rows as lists, in the order of their columns, which cost half of what objects with names do. `T` is what the statement says. */
  lists<T extends readonly unknown[]>(sql: string): (...values: readonly SQLInputValue[]) => readonly T[];
  /**
   * Begins to wait until a commit of another process, or one of this process about the same, may have changed the file since the
   * last turn of the event loop. Call it in the turn of the read that found nothing, and no commit is missed. While it waits the
   * process stays alive.
   */
  changed(about: Subject): Wait;
  /** Waits for the writes under way, ends the waits of this user, and closes the file with its last one. */
  close(): Promise<void>;
}

interface Location {
  readonly path: string;
  readonly synchronous: "full" | "normal";
}

/**
 * Reads a `sqlite://` URL, in SQLAlchemy's and Celery's form: `sqlite:///jobs.db` is relative to the working folder,
 * `sqlite:////var/jobs.db` absolute, `sqlite://` is `.lovage/lovage.db`.
 *
 * `?synchronous=normal` (the default) survives the death of any process; a power cut or a crash of the system can take
 * back the last commits before it, never tear one. `?synchronous=full` waits for the disk at every commit.
 */
export function parseUrl(url: string): Location {
  const shown = maskUrl(url);
  const bad = (why: string) => new ImproperlyConfigured(shown, why);
  const match = /^sqlite:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(url);
  if (!match) throw bad("a SQLite URL is sqlite:///relative/path, sqlite:////absolute/path or sqlite://");
  const [, host, tail = "", query = ""] = match;
  if (host)
    throw bad(
      `three slashes stand before a relative path, four before an absolute one: ${maskUrl(`sqlite://${host}${tail}`).replace("//", "///")}`,
    );
  let file: string;
  try {
    file = decodeURIComponent(tail.slice(1));
  } catch (cause) {
    throw new ImproperlyConfigured(shown, "a percent sign in the path is written %25", { cause });
  }
  if (file === ":memory:") throw bad("a database in memory cannot be shared; use memory://");
  if (file.includes("\0") || file.endsWith("/")) throw bad("the path must name a file");
  let synchronous: Location["synchronous"] = "normal";
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== "synchronous") throw bad(`there is no parameter ${JSON.stringify(name)}; known: synchronous`);
    if (value !== "full" && value !== "normal")
      throw bad(`synchronous is full or normal, not ${JSON.stringify(value)}`);
    synchronous = value;
  }
  return { path: resolve(file || DEFAULT_FILE), synchronous };
}

/** The connections of this thread, with the number of their users. */
const connections = new Map<string, { users: number; readonly opening: Promise<Database> }>();

/**
 * Opens, or shares, the file of a `sqlite://` URL. Throws `ImproperlyConfigured` for a URL that is none, or a file that is
 * not ours or of a later version, and `OperationalError` where the file cannot be opened.
 */
export async function openDatabase(url: string, context: { readonly random: () => number }): Promise<Database> {
  const { path, synchronous } = parseUrl(url);
  let connection = connections.get(path);
  if (!connection) {
    connection = { users: 0, opening: connect(path, context.random) };
    connections.set(path, connection);
  }
  const mine = connection;
  const leave = () => {
    mine.users--;
    if (mine.users === 0 && connections.get(path) === mine) connections.delete(path);
    return mine.users;
  };
  mine.users++;
  let database: Database;
  try {
    database = await mine.opening;
    // The safer of what its users ask for.
    if (synchronous === "full") database.read((db) => db.exec("PRAGMA synchronous = FULL"));
  } catch (error) {
    leave();
    throw error;
  }
  let open = true;
  const waits = new Set<Wait>();
  return {
    ...database,
    changed(about) {
      const wait = database.changed(about);
      waits.add(wait);
      void wait.over.then(() => waits.delete(wait));
      if (!open) wait.end();
      return wait;
    },
    async close() {
      if (!open) return;
      open = false;
      for (const { end } of waits) end();
      if (leave() === 0) await database.close();
    },
  };
}

/** Makes tables where they are not there yet: `probe` finds a row where they are. */
export async function addTables(database: Database, probe: string, tables: string): Promise<void> {
  if (database.read(() => database.prepare(probe).get()) === undefined) await database.write((db) => db.exec(tables));
}

/** The same for a file that is opened for them. Throws what {@link openDatabase} throws. */
export async function openTables(
  url: string,
  context: { readonly random: () => number },
  probe: string,
  tables: string,
): Promise<Database> {
  const database = await openDatabase(url, context);
  try {
    await addTables(database, probe, tables);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function connect(path: string, random: () => number): Promise<Database> {
  const { db, begin } = await openFile(path, random);
  const opened = identityOf(path);
  // It has been read, so that its log is there, and stays for as long as it is open.
  const log = logOf(path);
  const openedLog = identityOf(log);
  let placedAt = performance.now();

  /**
   * Throws where the file, or its log, was moved, removed or replaced: SQLite goes on with the one that it has open, and nobody else
   * would ever see what is written there.
   */
  function mustBeInPlace(): void {
    const now = performance.now();
    if (now < placedAt + PLACE_MS) return;
    const found = identityOf(path);
    if (found === undefined)
      throw new OperationalError(
        `the file ${path} was moved or removed while this process had it open; put it back, or end the process and start it again`,
        { retryable: true },
      );
    // Not closed and opened anew: with its last connection SQLite removes what belongs to the file's name.
    if (found !== opened)
      throw new OperationalError(
        `another file is in the place of ${path}, and this process has the one before open; end the process and start it again`,
        { retryable: true },
      );
    if (openedLog !== undefined && identityOf(log) !== openedLog)
      throw new OperationalError(
        `${log}, the log of ${path}, was removed while this process had it open; end the process and start it again. ${LOG_REMEDY}`,
        { retryable: true },
      );
    placedAt = now;
  }

  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string) => {
    let statement = statements.get(sql);
    if (!statement) {
      statement = read(() => db.prepare(sql));
      statements.set(sql, statement);
    }
    return statement;
  };
  const lists = <T extends readonly unknown[]>(sql: string) => {
    const statement = read(() => db.prepare(sql));
    statement.setReturnArrays(true);
    // Its types know of rows with names only.
    return (...values: readonly SQLInputValue[]) => statement.all(...values) as unknown as readonly T[];
  };
  const commit = db.prepare("COMMIT");
  const rollback = db.prepare("ROLLBACK");
  const savepoint = db.prepare("SAVEPOINT job");
  const release = db.prepare("RELEASE job");
  const rollbackJob = db.prepare("ROLLBACK TO job");

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  interface Job {
    readonly run: (db: DatabaseSync) => unknown;
    readonly about: About;
    readonly unit: Unit | undefined;
    readonly resolve: (value: never) => void;
    readonly reject: (error: unknown) => void;
  }
  let queue: Job[] = [];
  let draining: Promise<void> | undefined;
  /** The event loop has turned since the last transaction. */
  let turned = true;

  /** What a transaction is to the steps that share it. */
  interface Shared extends Unit {
    readonly end: (error?: unknown) => void;
  }
  /** That of the transaction which is open, once anybody has asked for it. */
  let shared: Shared | undefined;
  let isOpen = false;
  let openedAt = 0;
  const lostUnits = new WeakMap<Unit, unknown>();
  /** Those who wait for a transaction to begin. */
  let beginnings: { readonly begin: (unit: Unit) => void; readonly fail: (error: unknown) => void }[] = [];

  function unit(): Unit {
    if (shared !== undefined) return shared;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Who began it may have died of something else by then.
    promise.catch(() => {});
    shared = { committed: promise, end: (error) => (error === undefined ? resolve() : reject(error)) };
    return shared;
  }

  const begun = (): Unit | Promise<Unit> => {
    if (isOpen && performance.now() - openedAt < TRANSACTION_MS) return unit();
    return new Promise((resolve, reject) => {
      if (!db.isOpen) return reject(closed());
      beginnings.push({ begin: resolve, fail: reject });
      draining ??= drain();
    });
  };
  const store: Store = { begin: begun, checkpoint };
  const atRest = () => shared?.committed.catch(() => {});

  /**
   * Runs jobs in one transaction, sets each one's answer aside until the commit has said yes. A step of a unit is answered at
   * once, and the transaction stays open as long as the next step follows in the same turn.
   */
  async function transact(): Promise<void> {
    const answers: (() => void)[] = [];
    const done: Job[] = [];
    const subjects = new Set<News>();
    let lost: { readonly error: unknown } | undefined;
    const isYoung = () => performance.now() - openedAt < TRANSACTION_MS;
    isOpen = true;
    openedAt = performance.now();
    if (beginnings.length > 0) {
      const waiting = beginnings;
      beginnings = [];
      const own = unit();
      for (const { begin } of waiting) begin(own);
      await endOfTurn();
    }
    for (let ran = -1; lost === undefined && queue.length > 0 && ran !== done.length; ) {
      const jobs = queue;
      const later: Job[] = [];
      ran = done.length;
      queue = [];
      for (const job of jobs) {
        const isStep = job.unit !== undefined && job.unit === shared;
        // What has begun goes on to its end; the rest can wait.
        if (lost !== undefined || !db.isTransaction || !(isStep || done.length === 0 || isYoung())) {
          later.push(job);
          continue;
        }
        // A job that is alone needs no savepoint: to roll it back is to roll back everything.
        const alone = jobs.length === 1 && done.length === 0 && shared === undefined;
        try {
          if (!alone) savepoint.run();
          const value = job.run(db);
          if (!alone) release.run();
          const subject = typeof job.about === "function" ? job.about() : job.about;
          if (subject !== undefined) subjects.add(subject);
          if (isStep) job.resolve(value as never);
          else answers.push(() => job.resolve(value as never));
        } catch (error) {
          const reason = explain(error, path);
          if (isStep) job.reject(reason);
          else answers.push(() => job.reject(reason));
          try {
            if (db.isTransaction) (alone ? rollback : rollbackJob).run();
            if (db.isTransaction) release.run();
          } catch (cause) {
            lost = { error: explain(cause, path) };
          }
          // SQLite itself rolls everything back when the disk is full or fails: what was done before is undone too.
          if (!db.isTransaction && !alone) lost ??= { error: reason };
        }
        done.push(job);
      }
      queue = [...later, ...queue];
      if (!db.isTransaction) break;
      // Who was answered may have a next step.
      if (shared !== undefined && lost === undefined) await endOfTurn();
    }
    if (!lost && db.isTransaction) {
      try {
        commit.run();
      } catch (error) {
        lost = { error: explain(error, path) };
      }
    }
    isOpen = false;
    const own = shared;
    shared = undefined;
    if (lost) {
      try {
        if (db.isTransaction) rollback.run();
      } catch {
        // The reason is known already; the next BEGIN fails if the transaction is still there.
      }
      if (own !== undefined) lostUnits.set(own, lost.error);
      for (const job of done) job.reject(lost.error);
    }
    own?.end(lost?.error);
    // The promises of lost jobs are settled already; a second answer changes nothing.
    for (const answer of answers) answer();
    if (lost || subjects.size === 0) return;
    if (subjects.size === 1 && subjects.has("starts")) late ??= setTimeout(tell, START_MS, subjects).unref();
    else tell(subjects);
  }

  /** Will tell of starts that nobody was told of yet. */
  let late: NodeJS.Timeout | undefined;

  function tell(subjects: Iterable<News>): void {
    const told = new Set<Subject>(late === undefined ? [] : ["rows"]);
    for (const subject of subjects) told.add(subject === "starts" ? "rows" : subject);
    clearTimeout(late);
    late = undefined;
    for (const subject of told) {
      ring(bells[subject]);
      news.add(subject);
    }
    soon ??= setImmediate(tellOwn);
  }

  function ring(bell: string): void {
    const now = Date.now() / 1000;
    if (watchers.has(bell)) rung.add(bell);
    try {
      utimesSync(bell, now, now);
    } catch {
      // Nobody listens; or somebody may not be told, and looks again somewhat later.
    }
  }

  async function drain(): Promise<void> {
    // What is asked for in this turn shares the transaction; between two transactions the event loop turns.
    await (turned ? endOfTurn() : turn());
    while (queue.length > 0 || beginnings.length > 0) {
      try {
        mustBeInPlace();
        await insist(begin, path, random);
      } catch (error) {
        for (const job of queue.splice(0)) job.reject(error);
        for (const { fail } of beginnings.splice(0)) fail(error);
        break;
      }
      await transact();
      turned = false;
      setImmediate(() => {
        turned = true;
      });
      // The lock is free while the event loop turns and the answered promises run: tries 0.2 ms apart find it free often enough.
      if (queue.length > 0) await turn();
    }
    draining = undefined;
  }

  function write<T>(run: (db: DatabaseSync) => T, about?: About, unit?: Unit): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (!db.isOpen) return reject(closed());
      if (unit !== undefined && lostUnits.has(unit)) return reject(lostUnits.get(unit));
      queue.push({ run, about, unit, resolve, reject });
      draining ??= drain();
    });
  }

  const closed = () => new OperationalError(`${path} is closed already`, { retryable: true });

  function read<T>(job: (db: DatabaseSync) => T): T {
    // First: its last close removes the log.
    if (!db.isOpen) throw closed();
    mustBeInPlace();
    // A reader meets a lock only while another process recovers the file after a crash, or is the last to close it.
    for (const until = performance.now() + LOCK_TIMEOUT_MS; ; sleep(RETRY_MS)) {
      try {
        return job(db);
      } catch (error) {
        if (!isBusy(error) || performance.now() > until) throw explain(error, path);
      }
    }
  }

  // ── waiting for commits ────────────────────────────────────────────────────────────────────────────────────────────

  const dataVersion = prepare("PRAGMA data_version");
  const version = () => read(() => dataVersion.get()?.["data_version"]);
  interface Waiting {
    readonly about: Subject;
    readonly end: () => void;
  }
  const waiting = new Set<Waiting>();
  let poll: NodeJS.Timeout | undefined;
  let soon: NodeJS.Immediate | undefined;
  /** What this process has committed since its own were last told. */
  const news = new Set<Subject>();
  /**
   * What is touched after a commit, so that who watches it is woken: a worker by messages alone, who waits for results by rows alone,
   * and neither by itself. These are files of their own, and none of SQLite's: what watches a file may open it, as Deno does at each
   * change and macOS for as long as it is watched, and whoever closes a file of SQLite's takes this process's locks on it away. Who
   * listens makes them, and who is the last to close the database removes them.
   */
  const bells: Readonly<Record<Subject, string>> = {
    messages: `${path}-messages`,
    rows: `${path}-rows`,
    entries: `${path}-rows`,
  };
  const watchers = new Map<string, FSWatcher>();
  /** Rung here, and heard by nobody here yet: what is heard next may be that alone. */
  const rung = new Set<string>();
  /** All who wait have been woken for what is up to here. */
  let seen = version();

  /** Wakes who waits where anybody else has committed anything that they were not woken for. */
  function check(): void {
    if (waiting.size === 0) return;
    let now: ReturnType<typeof version>;
    try {
      now = version();
    } catch {
      // Who waits reads next, and meets the error where it can be told.
      now = undefined;
    }
    if (now === seen && now !== undefined) return;
    seen = now;
    wake(() => true);
  }

  function wake(isMeant: (about: Subject) => boolean): void {
    for (const { about, end } of [...waiting]) if (isMeant(about)) end();
  }

  /** In a turn of its own: who has read within the transaction that brought the news waits by then. */
  function tellOwn(): void {
    soon = undefined;
    wake((about) => news.has(about));
    news.clear();
  }

  /** To look first whether there is anything new would cost as much as what is woken to look for it. */
  function hear(bell: string): void {
    if (rung.delete(bell)) check();
    else wake((about) => bells[about] === bell);
  }

  function listen(bell: string): void {
    try {
      writeFileSync(bell, "", { flag: "a", mode: statSync(path).mode });
      const watcher = watch(bell, { persistent: false }, (event) => {
        if (event === "rename") {
          // Somebody has removed it: who waits looks, and makes it anew.
          watcher.close();
          watchers.delete(bell);
          rung.delete(bell);
        }
        hear(bell);
      });
      watchers.set(bell, watcher);
      watcher.on("error", () => watcher.close());
      // What was committed before it was listened for.
      setImmediate(check);
    } catch {
      // No more watches to be had, or a file system without them: the poll below is what remains.
    }
  }

  function changed(about: Subject): Wait {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const one: Waiting = {
      about,
      end() {
        // It is kept for the next wait, which mostly comes at once, and ends by itself where none does.
        if (waiting.delete(one) && waiting.size === 0) poll?.unref();
        resolve();
      },
    };
    if (!db.isOpen) resolve();
    else {
      waiting.add(one);
      if (!watchers.has(bells[about])) listen(bells[about]);
      poll = poll?.ref() ?? setInterval(look, POLL_MS);
    }
    return { over, end: one.end };
  }

  function look(): void {
    check();
    if (waiting.size > 0) return;
    clearInterval(poll);
    poll = undefined;
  }

  const passive = prepare("PRAGMA wal_checkpoint(PASSIVE)");
  let brought = seen;

  /** From the log into the file, until all is there that others had committed by then. It takes nobody's lock. */
  function checkpoint(): void {
    // SQLite refuses it within a transaction of this connection.
    if (db.isTransaction) return;
    const now = version();
    if (now === brought) return;
    const { busy, log, checkpointed } = read(() => passive.get()) ?? {};
    // What somebody who still reads an earlier state keeps in the log is brought later.
    if (busy === 0 && log === checkpointed) brought = now;
  }

  async function close(): Promise<void> {
    while (draining) await draining;
    clearImmediate(soon);
    clearTimeout(late);
    for (const { end } of [...waiting]) end();
    clearInterval(poll);
    for (const watcher of watchers.values()) watcher.close();
    db.close();
    // SQLite has removed it: there is nobody else. Who has come meanwhile makes them anew.
    if (identityOf(log) === undefined) for (const bell of new Set(Object.values(bells))) rmSync(bell, { force: true });
  }

  return { path, write, store, unit, atRest, read, prepare, lists, changed, close };
}

/**
 * Where the folder is of our making, folder and file are their owner's alone: messages and results are nobody else's
 * business. SQLite gives the files beside it the same rights. A file elsewhere has what its user's umask says.
 */
function makePrivate(path: string): void {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!existsSync(path)) {
    // Made under another name: to close a file that a connection of this process has open would end its locks.
    const made = `${path}-${globalThis.crypto.randomUUID()}`;
    writeFileSync(made, "", { mode: 0o600 });
    try {
      linkSync(made, path);
    } catch (error) {
      // Another process was quicker.
      if (!existsSync(path)) throw error;
    } finally {
      unlinkSync(made);
    }
  }
  for (const [place, mode] of [
    [folder, 0o700],
    [path, 0o600],
  ] as const) {
    // One that was made before, with more.
    if ((statSync(place).mode & 0o077) === 0) continue;
    try {
      chmodSync(place, mode);
    } catch {
      // Somebody else's: they have given the rights.
    }
  }
}

/** Opens the file, makes it ours where it is new, and refuses it where it is another's. Many processes may do so at once. */
async function openFile(path: string, random: () => number) {
  const { DatabaseSync } = loadSqlite();
  let db: DatabaseSync | undefined;
  try {
    if (basename(dirname(path)) === ".lovage") makePrivate(path);
    db = new DatabaseSync(path, { timeout: 0 });
    const file = db;
    const number = (pragma: string) => Number(Object.values(file.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]);
    // Each of these reads the file, which is locked for a moment while another process makes it, or is the last to close it.
    await insist(
      () => file.exec("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY"),
      path,
      random,
    );
    const begin = file.prepare("BEGIN IMMEDIATE");

    const accept = () => {
      const version = number("user_version");
      const empty = file.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined && version === 0;
      if (number("application_id") !== APPLICATION_ID && !empty) {
        throw new ImproperlyConfigured(path, "this is a database of another program; give Lovage a file of its own");
      }
      if (version > SCHEMA_VERSION) {
        throw new ImproperlyConfigured(
          path,
          `the file was made by a later Lovage (its version is ${version}, this one knows ${SCHEMA_VERSION}); upgrade Lovage, or use another file`,
        );
      }
      return version === SCHEMA_VERSION;
    };
    // Nothing is written, the journal's mode neither, before the file is known to be ours.
    if (!(await insist(accept, path, random))) {
      await insist(() => file.exec("PRAGMA journal_mode = WAL"), path, random);
      await insist(() => begin.run(), path, random);
      try {
        if (!accept()) file.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
        file.exec("COMMIT");
      } catch (error) {
        if (file.isTransaction) file.exec("ROLLBACK");
        throw error;
      }
    }
    const mode = await insist(() => file.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"], path, random);
    if (mode !== "wal") {
      throw new OperationalError(
        `${path} cannot be shared between processes (its journal is ${String(mode)}); use a file on a local disk`,
        {
          retryable: true,
        },
      );
    }
    // A checkpoint waits for the disk, and writes a page once however often the log has it. What the log grew to beyond
    // that is given back to the disk.
    const settings = `PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA journal_size_limit = ${CHECKPOINT_PAGES * PAGE_BYTES}`;
    await insist(() => file.exec(settings), path, random);
    return { db: file, begin: () => begin.run() };
  } catch (error) {
    if (db?.isOpen) db.close();
    throw explain(error, path);
  }
}

/** Tries until the lock is ours. A lock is mostly held for less than a millisecond: sleep for that, then let the loop turn. */
async function insist<T>(attempt: () => T, path: string, random: () => number): Promise<T> {
  const from = performance.now();
  for (let burst = from; ; ) {
    try {
      return attempt();
    } catch (error) {
      if (!isBusy(error) || performance.now() - from > LOCK_TIMEOUT_MS) throw explain(error, path);
    }
    if (performance.now() - burst < BURST_MS) sleep(RETRY_MS * (0.5 + random()));
    else {
      await new Promise((resolve) => setTimeout(resolve, 1));
      burst = performance.now();
    }
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
/** When nothing is left to do in this turn: a tick that is asked for by a microtask comes after all of these. */
const endOfTurn = () => new Promise<void>((resolve) => queueMicrotask(() => process.nextTick(resolve)));

const cell = new Int32Array(new SharedArrayBuffer(4));
function sleep(ms: number): void {
  Atomics.wait(cell, 0, 0, ms);
}

/** `node:sqlite` without its notice that it is experimental: what Lovage's users chose is Lovage. Other warnings pass. */
function loadSqlite(): typeof import("node:sqlite") {
  const { emitWarning } = process;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
    if (!String(warning).startsWith("SQLite is an experimental feature"))
      Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  try {
    // Loads in this very turn, so that nobody else's warnings meet the filter.
    return process.getBuiltinModule("node:sqlite");
  } finally {
    process.emitWarning = emitWarning;
  }
}

// ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** SQLite's primary result codes: https://www.sqlite.org/rescode.html */
const BUSY = 5;
/** None of them is about what is written: each is over when somebody has mended the file, its folder or its disk. */
const SYSTEM_ERRORS: Readonly<Record<number, (path: string) => string>> = {
  [BUSY]: (path) =>
    `${path} stayed locked for ${LOCK_TIMEOUT_MS / 1000} s by another process; end the transaction that holds it (an open sqlite3 shell, a backup)`,
  6: (path) => `a table of ${path} is locked; try again`,
  8: (path) => `${path} is read-only; give this user the right to write the file and its folder`,
  10: (path) => `${path} could not be read or written (an I/O error); look at the disk and the system's log`,
  11: corrupt,
  13: (path) =>
    `${path} cannot grow, the disk is full; free some space on it: until then nothing can be written, and nothing purged`,
  14: (path) => `${path} cannot be opened; its folder must exist and this user must be able to write there`,
  26: corrupt,
};
function corrupt(path: string): string {
  return `${path} is damaged, or no SQLite database; move it away (Lovage makes a new one) and rescue what can be read with "sqlite3 FILE .recover"`;
}

const codeOf = (error: unknown): number | undefined => {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode & 0xff;
};
const isBusy = (error: unknown): boolean => codeOf(error) === BUSY;

/** SQLite's codes for a value: too large, against a constraint of the table, or of another type than the column. */
const VALUE_ERRORS: readonly (number | undefined)[] = [18, 19, 20];
/** Node's words for a value that SQLite has no type for. */
const UNBINDABLE = /^ERR_INVALID_ARG_(TYPE|VALUE)$/;

/** The errors of SQLite and of the file system in our words; any other is returned as it is. Only a value that cannot be written is final. */
function explain(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof LovageError) return error;
  const number = codeOf(error);
  const { code, syscall } = error as NodeJS.ErrnoException;
  const failed = (why: string, retryable = true) => new OperationalError(why, { retryable, cause: error });
  if (VALUE_ERRORS.includes(number) || UNBINDABLE.test(code ?? ""))
    return failed(`${path} cannot hold a value that was to be written: ${error.message}`, false);
  const known = SYSTEM_ERRORS[number ?? -1];
  if (known !== undefined) return failed(known(path));
  if (syscall === "mkdir")
    return failed(`the folder of ${path} cannot be made; let this user write to ${dirname(dirname(path))}`);
  return number === undefined ? error : failed(`${path} could not be read or written: ${error.message}`);
}
