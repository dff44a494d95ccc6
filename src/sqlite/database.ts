/**
 * The file behind `sqlite://`: one connection for each path and thread, transactions that share a commit, a write lock
 * that processes share fairly, and word from other processes when they have committed.
 */
// Imported: what a test puts in place of the global ones, as its fake timers, holds up no transaction.
import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers";
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { OperationalError } from "../errors.ts";
import { nextTick } from "../turn.ts";
import type { Store, Unit } from "../unit.ts";
import type { Wait } from "../wait.ts";
import { identityOf, logAndIndexOf, realOf } from "../file-identity.ts";
import { explain, isBusy, LOCK_TIMEOUT_MS } from "./errors.ts";
import { insist, openFile, RETRY_MS, sleep, watchPlace } from "./file.ts";
import { type About, createNews, type Subject } from "./news.ts";
import { parseUrl } from "./url.ts";

/** One transaction takes no more jobs, but for the next steps of what has begun, once it is so old: others wait for the lock meanwhile. */
const TRANSACTION_MS = 5;
/** A job may know only when it has run what it was about. */
type Told = About | (() => About | undefined) | undefined;

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
  write<T>(job: (db: DatabaseSync) => T, about?: Told, unit?: Unit): Promise<T>;
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
  const mustBeInPlace = watchPlace(path);
  const [log] = logAndIndexOf(path);
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
    readonly about: Told;
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
    const subjects = new Set<About>();
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
    if (lost === undefined && subjects.size > 0) news.committed(subjects);
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

  function write<T>(run: (db: DatabaseSync) => T, about?: Told, unit?: Unit): Promise<T> {
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

  const dataVersion = prepare("PRAGMA data_version");
  const version = () => read(() => dataVersion.get()?.["data_version"]);
  const news = createNews(realOf(path), () => db.isOpen, version);

  const passive = prepare("PRAGMA wal_checkpoint(PASSIVE)");
  let brought = version();

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
    news.close();
    db.close();
    // SQLite has removed it: there is nobody else.
    if (identityOf(log) === undefined) news.removeBells();
  }

  return { path, write, store, unit, atRest, read, prepare, lists, changed: news.changed, close };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
/** When nothing is left to do in this turn: a tick that is asked for by a microtask comes after all of these. */
const endOfTurn = () => new Promise<void>((resolve) => void Promise.resolve().then(() => nextTick(resolve)));
