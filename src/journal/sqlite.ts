/** The journal in a SQLite file: what is written in one turn is one row, in the transaction of the outcomes it tells of. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { setImmediate as turn } from "node:timers/promises";
import { addTables, type Database } from "../sqlite/database.ts";
import { explain } from "../sqlite/errors.ts";
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
export const SHELVES = ["journal_failures", "journal_rest"] as const;
type Shelf = (typeof SHELVES)[number];

/**
 * `seq` counts entries, not rows: how many lie between two rows is seen without counting. It is the place of a row in its table, so
 * that a row which is written touches the end of that and of one index, and nothing else.
 */
const TABLES = SHELVES.map(
  (shelf) => `
  CREATE TABLE IF NOT EXISTS ${shelf} (
    seq INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    time INTEGER NOT NULL,
    entries TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS ${shelf}_time ON ${shelf} (scope, time);`,
).join("");
const HAS_TABLES = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'journal_rest_time'";

/** The statements; exported for the test that looks at their query plans. */
export const sqlOf = (shelf: Shelf) =>
  ({
    insert: `INSERT INTO ${shelf} (seq, scope, time, entries) VALUES
      ((SELECT coalesce(max(seq), 0) FROM ${shelf}) + ?, ?, ?, ?)`,
    read: `SELECT seq, time, entries FROM ${shelf}
      WHERE scope = ? AND time >= ? AND (time, seq) < (?, ?) ORDER BY time DESC, seq DESC LIMIT ${PAGE}`,
    dropOld: `DELETE FROM ${shelf} WHERE scope = ? AND time < ?`,
    dropMany: `DELETE FROM ${shelf} WHERE seq <= (SELECT max(seq) FROM ${shelf}) - ${MOST_ENTRIES}`,
  }) as const;

type Statements = Readonly<Record<keyof ReturnType<typeof sqlOf>, StatementSync>>;

export interface SqliteJournal extends JournalStore {
  /** Writes in the transaction that is open. What goes wrong with that alone is told to `failed`, and is nobody else's matter. */
  put(db: DatabaseSync, entries: readonly JournalEntry[]): void;
}

export async function openSqliteJournal(
  database: Database,
  { expires, scope, failed }: JournalOptions,
  now: () => number,
): Promise<SqliteJournal> {
  await addTables(database, HAS_TABLES, TABLES);
  const [failures, rest] = SHELVES.map((shelf) => {
    const { insert, read, dropOld, dropMany } = sqlOf(shelf);
    return {
      insert: database.prepare(insert),
      read: database.prepare(read),
      dropOld: database.prepare(dropOld),
      dropMany: database.prepare(dropMany),
    };
  }) as [Statements, Statements];
  let rowsSinceSweep = 0;

  function putOn({ insert }: Statements, entries: readonly JournalEntry[]): void {
    if (entries.length === 0) return;
    insert.run(entries.length, scope, lastOf(entries), writeEntries(entries));
    rowsSinceSweep++;
  }

  function write(entries: readonly JournalEntry[]): void {
    const failed = entries.filter(isFailure);
    putOn(failures, failed);
    putOn(rest, failed.length === 0 ? entries : entries.filter((entry) => !isFailure(entry)));
    if (rowsSinceSweep >= SWEEP_ROWS) sweep();
  }

  function sweep(): void {
    rowsSinceSweep = 0;
    for (const { dropOld, dropMany } of [failures, rest]) {
      dropOld.run(scope, now() - expires * 1000);
      dropMany.run();
    }
  }

  async function* batches(
    { read }: Statements,
    { from, to }: Pick<JournalRange, "from" | "to">,
  ): AsyncGenerator<Batch, void, undefined> {
    let before: readonly [time: number, seq: number] = [Math.min(to + BATCH_SPAN_MS, Number.MAX_SAFE_INTEGER), 0];
    for (;;) {
      const rows = database.read(() => read.all(scope, Math.max(from, 0), ...before));
      for (const row of rows) yield { last: Number(row["time"]), entries: readEntries(String(row["entries"])) };
      const oldest = rows.at(-1);
      if (oldest === undefined || rows.length < PAGE) return;
      before = [Number(oldest["time"]), Number(oldest["seq"])];
      // A file answers at once: who reads through a long journal would keep all others of the process waiting.
      await turn();
    }
  }

  return {
    put(db, entries) {
      try {
        write(entries);
      } catch (error) {
        // A full disk ends the transaction, and the outcomes in it are lost too.
        if (!db.isTransaction) throw error;
        failed(explain(error, database.path));
      }
    },
    append: (entries) => database.write(() => write(entries)),
    read({ failures: isOfFailures, from, to }) {
      const oldest = Math.max(from, now() - expires * 1000);
      const shelves = isOfFailures ? [failures] : [failures, rest];
      const range = { from: oldest, to };
      return entriesOf(mergeBatches(shelves.map((shelf) => batches(shelf, range))), range);
    },
  };
}
