/** The journal in a SQLite file: what is written in one turn is one row, in the transaction of the outcomes it tells of. */
import type { DatabaseSync } from "node:sqlite";
import { addTables, type Database } from "../sqlite/database.ts";
import { BATCH_SPAN_MS, type Batch, entriesOf, lastOf, mergeBatches } from "./batches.ts";
import { isFailure, type JournalEntry, readEntries, writeEntries } from "./entry.ts";
import type { JournalOptions, JournalRange, JournalStore } from "./store.ts";

/** So many entries are kept of failures, and as many of all the rest; about 50 MB each. */
const MOST_ENTRIES = 200_000;
/** After so many rows that were written, those that have expired, or are too many, are deleted. */
const SWEEP_ROWS = 256;
/** Rows that are read at a time. */
const PAGE = 50;

/** Two shelves: of what failed, and of all the rest. */
const SHELVES = { rest: 0, failures: 1 } as const;

/**
 * `seq` counts entries, not rows: how many lie between two rows is seen without counting. The table has a rowid, since without
 * one a row is a node of its index, and whoever looks for the last one reads the entries of all that it is compared with.
 */
const TABLES = `
  CREATE TABLE IF NOT EXISTS journal (
    scope TEXT NOT NULL,
    shelf INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (scope, shelf, seq)
  );
  CREATE INDEX IF NOT EXISTS journal_time ON journal (scope, shelf, time)`;
const HAS_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'journal_time'";
const LAST = "SELECT coalesce(max(seq), 0) AS seq FROM journal WHERE scope = ? AND shelf = ?";
const INSERT = `
  INSERT INTO journal (scope, shelf, seq, time, entries) VALUES
  (?1, ?2, (SELECT coalesce(max(seq), 0) FROM journal WHERE scope = ?1 AND shelf = ?2) + ?3, ?4, ?5)`;
const READ = `
  SELECT seq, time, entries FROM journal
  WHERE scope = ?1 AND shelf = ?2 AND time >= ?3 AND (time, seq) < (?4, ?5)
  ORDER BY time DESC, seq DESC LIMIT ${PAGE}`;
const SWEEP = "DELETE FROM journal WHERE scope = ? AND shelf = ? AND (time < ? OR seq <= ?)";

export interface SqliteJournal extends JournalStore {
  /** Writes in the transaction that is open. What goes wrong with that alone is told to `failed`, and is nobody else's matter. */
  put(db: DatabaseSync, entries: readonly JournalEntry[]): void;
}

export async function openSqliteJournal(
  database: Database,
  { expires, scope, failed }: JournalOptions,
  now: () => number,
): Promise<SqliteJournal> {
  await addTables(database, HAS_TABLE, TABLES);
  const last = database.prepare(LAST);
  const insert = database.prepare(INSERT);
  const page = database.prepare(READ);
  const sweepShelf = database.prepare(SWEEP);
  let rowsSinceSweep = 0;

  const lastSeq = (shelf: number) => Number(last.get(scope, shelf)?.["seq"] ?? 0);

  function putOn(shelf: number, entries: readonly JournalEntry[]): void {
    if (entries.length === 0) return;
    insert.run(scope, shelf, entries.length, lastOf(entries), writeEntries(entries));
    rowsSinceSweep++;
  }

  function write(entries: readonly JournalEntry[]): void {
    if (entries.some(isFailure)) {
      putOn(SHELVES.failures, entries.filter(isFailure));
      putOn(
        SHELVES.rest,
        entries.filter((entry) => !isFailure(entry)),
      );
    } else putOn(SHELVES.rest, entries);
    if (rowsSinceSweep >= SWEEP_ROWS) sweep();
  }

  function sweep(): void {
    rowsSinceSweep = 0;
    for (const shelf of Object.values(SHELVES))
      sweepShelf.run(scope, shelf, now() - expires * 1000, lastSeq(shelf) - MOST_ENTRIES);
  }

  function* batches(shelf: number, { from, to }: Pick<JournalRange, "from" | "to">): Generator<Batch, void, undefined> {
    let before: readonly [time: number, seq: number] = [Math.min(to + BATCH_SPAN_MS, Number.MAX_SAFE_INTEGER), 0];
    for (;;) {
      const rows = database.read(() => page.all(scope, shelf, Math.max(from, 0), ...before));
      for (const row of rows) yield { last: Number(row["time"]), entries: readEntries(String(row["entries"])) };
      const oldest = rows.at(-1);
      if (oldest === undefined || rows.length < PAGE) return;
      before = [Number(oldest["time"]), Number(oldest["seq"])];
    }
  }

  return {
    put(db, entries) {
      try {
        write(entries);
      } catch (error) {
        // A full disk ends the transaction, and the outcomes in it are lost too.
        if (!db.isTransaction) throw error;
        failed(error);
      }
    },
    append: (entries) => database.write(() => write(entries)),
    read({ failures, from, to }) {
      const oldest = Math.max(from, now() - expires * 1000);
      const shelves = failures ? [SHELVES.failures] : Object.values(SHELVES);
      const range = { from: oldest, to };
      return entriesOf(mergeBatches(shelves.map((shelf) => asAsync(() => batches(shelf, range)))), range);
    },
  };
}

async function* asAsync<T>(make: () => Iterable<T>): AsyncGenerator<T, void, undefined> {
  yield* make();
}
