/** The file of a database: it is made, opened, and known to be still where it was. */
import { chmodSync, existsSync, linkSync, mkdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { performance } from "node:perf_hooks";
import type { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers";
import { ImproperlyConfigured, OperationalError } from "../errors.ts";
import { identityOf, logAndIndexOf } from "../file-identity.ts";
import { explain, isBusy, LOCK_TIMEOUT_MS } from "./errors.ts";

/** Written into the file (`PRAGMA user_version`). A file of a later version is refused. */
export const SCHEMA_VERSION = 1;
/** `PRAGMA application_id`, "Lovg": a database of somebody else's is never written to. */
const APPLICATION_ID = 0x4c6f7667;

/** Time between two tries for the lock; SQLite's own busy handler sleeps up to 100 ms and so loses to a writer in a loop. */
export const RETRY_MS = 0.2;
/** The thread sleeps in its tries for so long, then lets the event loop turn once. */
const BURST_MS = 3;
/**
 * A log of so many pages is brought into the file by whoever has just committed, who waits for the disk meanwhile: eight times
 * SQLite's own 1000, since a worker's thread does it long before (see {@link Store.checkpoint}).
 */
const CHECKPOINT_PAGES = 8000;
const PAGE_BYTES = 4096;
/** On POSIX systems a process that closes a file loses all its locks on it. Whoever then closes it as SQLite does takes himself for the last. */
const LOG_REMEDY =
  'It is removed by hand, or when code of this process has opened and closed the file by itself: copy it by "VACUUM INTO", in another process';
/** So often at most it is looked whether the file is still where it was. */
const PLACE_MS = 100;

/** Opens the file, makes it ours where it is new, and refuses it where it is another's. Many processes may do so at once. */
export async function openFile(path: string, random: () => number) {
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
export async function insist<T>(attempt: () => T, path: string, random: () => number): Promise<T> {
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

/**
 * Watches whether the file, its log and the log's index are where they were. SQLite goes on with those that it has open: nobody else
 * would ever see what is written to such a file or log, and with two indexes each writes over what the other has committed. What is
 * returned throws where they were moved, removed or replaced.
 */
export function watchPlace(path: string): () => void {
  const opened = identityOf(path);
  const [log, index] = logAndIndexOf(path);
  // It has been read, so that both are there, and stay for as long as it is open.
  const beside = [
    { at: log, opened: identityOf(log), what: "the log" },
    { at: index, opened: identityOf(index), what: "the index of the log" },
  ].filter((one) => one.opened !== undefined);
  let placedAt = performance.now();

  return () => {
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
    for (const { at, opened, what } of beside)
      if (identityOf(at) !== opened)
        throw new OperationalError(
          `${at}, ${what} of ${path}, was removed while this process had it open; end the process and start it again. ${LOG_REMEDY}`,
          { retryable: true },
        );
    placedAt = now;
  };
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

const cell = new Int32Array(new SharedArrayBuffer(4));
export function sleep(ms: number): void {
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
