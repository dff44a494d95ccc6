/** Results in a SQLite file, the embedded default: one table, keyed as Celery keys its rows, in the file that the broker uses too. */
import type { SQLInputValue } from "node:sqlite";
import { OperationalError } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { openSqliteJournal, type SqliteJournal } from "../journal/sqlite.ts";
import { type Database, openDatabase } from "../sqlite/database.ts";
import { shareJob, type Unit } from "../unit.ts";
import type { Backend, BackendContext, Row } from "./backend.ts";
import { type Command, decide, type Decision, isExpired, isNews, type Outcome } from "./record.ts";

/** SQLite takes 1 GB. A worker, a reader and the heartbeat's process all hold a result in memory, so that far less is more than enough. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * After so many writes, as many rows are looked at, the oldest first and then round, and those that have expired are
 * deleted. A task writes its row twice, so the table is never more than about twice as large as what has not expired,
 * without an index that every write would have to pay for.
 */
const SWEEP_ROWS = 256;

/** `result` is the last column, so that a look at the others does not read a long one. It is TEXT for JSON, BLOB for bytes. */
const COLUMNS = [
  "id",
  "timestamp",
  "ttl",
  "attempt",
  "owner",
  "lease",
  "runs",
  "accounted",
  "settled",
  "done",
  "revoked",
  "hidden",
  "forgotten",
  "again",
  "buried",
  "redrive",
  "chord_count",
  "members",
  "size",
  "added",
  "next",
  "kept",
  "result",
] as const;

const TABLE = `
  CREATE TABLE IF NOT EXISTS results (
    id TEXT PRIMARY KEY,
    timestamp REAL NOT NULL,
    ttl INTEGER,
    attempt INTEGER,
    owner TEXT,
    lease INTEGER,
    runs INTEGER,
    accounted TEXT,
    settled INTEGER,
    done INTEGER,
    revoked TEXT,
    hidden INTEGER,
    forgotten REAL,
    again REAL,
    buried INTEGER,
    redrive INTEGER,
    chord_count INTEGER,
    members TEXT,
    size INTEGER,
    added TEXT,
    next TEXT,
    result NOT NULL,
    kept TEXT
  )`;
const COLUMNS_THERE = "SELECT name FROM pragma_table_info('results')";
const GET = `SELECT ${COLUMNS} FROM results WHERE id = ?`;
const GET_MANY = `SELECT ${COLUMNS} FROM results WHERE id IN (SELECT value FROM json_each(?))`;
const PUT = `
  INSERT INTO results (${COLUMNS}) VALUES (${COLUMNS.map(() => "?")})
  ON CONFLICT (id) DO UPDATE SET ${COLUMNS.slice(1).map((column) => `${column} = excluded.${column}`)}`;
/** What `decide` makes of a claim where there is no row: most claims are the first. */
const CLAIM_NEW = `
  INSERT INTO results (id, timestamp, ttl, attempt, owner, lease, runs, hidden, redrive, next, result)
  VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`;
/** What `decide` makes of a final whose owner runs the attempt, undisturbed: most finals are so. */
const SETTLE_OWN = `
  UPDATE results SET timestamp = ?, ttl = coalesce(?, ttl), lease = NULL, accounted = NULL, settled = 1, done = ?, buried = ?,
    hidden = coalesce(?, hidden), redrive = coalesce(?, redrive), next = ?, kept = ?, result = ?
  WHERE id = ? AND owner = ? AND attempt = ? AND settled IS NULL AND revoked IS NULL AND chord_count IS NULL
    AND (ttl IS NULL OR ttl * 1000 > ?)`;
const LAST_OF_SWEEP = `SELECT max(rowid) AS last FROM (SELECT rowid FROM results WHERE rowid > ? ORDER BY rowid LIMIT ${SWEEP_ROWS})`;
const SWEEP = "DELETE FROM results WHERE rowid > ? AND rowid <= ? AND ttl <= ?";

/** Opens the results of a `sqlite://` URL. Throws what `openDatabase` throws. */
export async function open(url: string, context: BackendContext): Promise<Backend> {
  const database = await openDatabase(url, context);
  try {
    const there = database.prepare(COLUMNS_THERE);
    const missing = () => {
      const names = new Set(database.read(() => there.all()).map(({ name }) => name));
      return COLUMNS.filter((column) => !names.has(column));
    };
    if (missing().length > 0) {
      await database.write((db) => {
        db.exec(TABLE);
        // A file that was made before there were these columns.
        for (const column of missing()) db.exec(`ALTER TABLE results ADD COLUMN ${column}`);
      });
    }
    const journal = context.journal && (await openSqliteJournal(database, context.journal, context.now));
    return create(database, context, journal);
  } catch (error) {
    await database.close();
    throw error;
  }
}

function create(database: Database, { now }: BackendContext, journal: SqliteJournal | undefined): Backend {
  const get = database.lists<Stored>(GET);
  const getMany = database.lists<Stored>(GET_MANY);
  const put = database.prepare(PUT);
  const claimNew = database.prepare(CLAIM_NEW);
  const settleOwn = database.prepare(SETTLE_OWN);
  const lastOfSweep = database.prepare(LAST_OF_SWEEP);
  const deleteExpired = database.prepare(SWEEP);
  let cursor = 0;
  /** Rows that were written, and how many they were at the last sweep. */
  let writes = 0;
  let swept = 0;

  /** @param told What the journal is told of is added to these. */
  function applyOne(command: Command, told: JournalEntry[]): Outcome {
    const usual = applyUsual(command);
    if (usual !== undefined) {
      writes++;
      if (command.entry !== undefined) told.push(command.entry);
      return usual;
    }
    const [stored] = get(command.key);
    const decision: Decision = decide(stored && toRow(stored), command);
    if (decision.write !== undefined) {
      put.run(...toValues(command.key, decision.write));
      writes++;
    }
    if (command.entry !== undefined && isNews(command, decision)) told.push(command.entry);
    return decision.outcome;
  }

  /** The two writes of a task that nobody disturbs: one statement each, and no row is read. `undefined`: `decide` has to. */
  function applyUsual(command: Command): Outcome | undefined {
    const { key, now, ttl } = command;
    if (command.type === "claim") {
      const { attempt, owner, lease, hidden, redrive, next, result } = command;
      const { changes } = claimNew.run(
        key,
        now / 1000,
        ttl ?? null,
        attempt,
        owner,
        lease,
        hidden ? 1 : null,
        redrive ?? null,
        next ?? null,
        result,
      );
      return changes === 0 ? undefined : { type: "claimed", runs: 1, revoked: undefined, redrive };
    }
    if (command.type === "final" && command.result !== undefined) {
      const { done, buried, hidden, redrive, next, kept, result, owner, attempt } = command;
      const { changes } = settleOwn.run(
        now / 1000,
        ttl ?? null,
        done ? 1 : null,
        buried ? 1 : null,
        hidden ? 1 : null,
        redrive ?? null,
        next ?? null,
        kept ?? null,
        result,
        key,
        owner,
        attempt,
        now,
      );
      return changes === 0 ? undefined : { type: "written", revoked: undefined };
    }
    return undefined;
  }

  function sweep(): void {
    swept = writes;
    const last = lastOfSweep.get(cursor)?.["last"];
    if (typeof last === "number") deleteExpired.run(cursor, last, now() / 1000);
    cursor = typeof last === "number" ? last : 0;
  }

  /** `closed` is called when no further command can take part. */
  async function applyAll(
    commands: readonly Command[],
    unit: Unit | undefined,
    closed?: () => void,
  ): Promise<readonly (Outcome | Error)[]> {
    let about: "starts" | "rows" | undefined;
    try {
      return await database.write(
        (db) => {
          closed?.();
          const before = writes;
          const told: JournalEntry[] = [];
          const outcomes = commands.map((command) => applyOne(command, told));
          if (told.length > 0) journal?.put(db, told);
          // The end of a task that has no row is in the journal alone.
          if (writes > before || told.length > 0)
            about = commands.every(({ type }) => type === "claim") ? "starts" : "rows";
          if (writes - swept >= SWEEP_ROWS) sweep();
          return outcomes;
        },
        () => about,
        unit,
      );
    } catch (cause) {
      closed?.();
      // One transaction for all of them: none was applied. What the system did not cause, one of them did.
      if (commands.length > 1 && !(cause instanceof OperationalError && cause.retryable))
        return (await Promise.all(commands.map((command) => applyAll([command], unit)))).flat();
      const error = toOperationalError(cause, database.path);
      return commands.map(() => error);
    }
  }

  /** The commands of one turn share a job: a job of its own for each would need a savepoint of its own. */
  const apply = shareJob(applyAll);

  return {
    maxBytes: MAX_BYTES,
    store: database.store,
    apply,
    async read(keys, { unit } = {}) {
      if (unit === undefined) await database.atRest();
      const rows = new Map<unknown, Row>();
      const time = now();
      try {
        const [key] = keys;
        const found = () => (keys.length === 1 && key !== undefined ? get(key) : getMany(JSON.stringify(keys)));
        for (const stored of database.read(found)) {
          const row = toRow(stored);
          if (!isExpired(row, time)) rows.set(stored[0], row);
        }
      } catch (cause) {
        throw toOperationalError(cause, database.path);
      }
      return keys.map((key) => rows.get(key));
    },
    changed: () => database.changed("rows"),
    journal,
    close: () => database.close(),
  };
}

function toOperationalError(cause: unknown, path: string): OperationalError {
  if (cause instanceof OperationalError) return cause;
  return new OperationalError(`the results in ${path} could not be read or written: ${String(cause)}`, {
    retryable: true,
    cause,
  });
}

/** In the order of `COLUMNS`. */
function toValues(key: string, row: Row): SQLInputValue[] {
  return [
    key,
    row.timestamp,
    row.ttl ?? null,
    row.attempt ?? null,
    row.owner ?? null,
    row.lease ?? null,
    row.runs ?? null,
    row.accounted ?? null,
    row.settled ? 1 : null,
    row.done ? 1 : null,
    row.revoked ?? null,
    row.hidden ? 1 : null,
    row.forgotten ?? null,
    row.again ?? null,
    row.buried ? 1 : null,
    row.redrive ?? null,
    row.chord_count ?? null,
    row.members ?? null,
    row.size ?? null,
    row.added ?? null,
    row.next ?? null,
    row.kept ?? null,
    row.result,
  ];
}

/** A row as SQLite gives it, in the order of `COLUMNS`: `null` for what it does not have. It is so because `toValues` is the table's only writer. */
type Stored = readonly [
  id: string,
  timestamp: number,
  ttl: number | null,
  attempt: number | null,
  owner: string | null,
  lease: number | null,
  runs: number | null,
  accounted: string | null,
  settled: number | null,
  done: number | null,
  revoked: NonNullable<Row["revoked"]> | null,
  hidden: number | null,
  forgotten: number | null,
  again: number | null,
  buried: number | null,
  redrive: number | null,
  chordCount: number | null,
  members: string | null,
  size: number | null,
  added: string | null,
  next: string | null,
  kept: string | null,
  result: string | Uint8Array,
];

function toRow(stored: Stored): Row {
  const [, timestamp, ttl, attempt, owner, lease, runs, accounted, settled, done, revoked, hidden, ...rest] = stored;
  const [forgotten, again, buried, redrive, chordCount, members, size, added, next, kept, result] = rest;
  return {
    result,
    timestamp,
    ttl: ttl ?? undefined,
    attempt: attempt ?? undefined,
    owner: owner ?? undefined,
    lease: lease ?? undefined,
    runs: runs ?? undefined,
    accounted: accounted ?? undefined,
    settled: settled ? true : undefined,
    done: done ? true : undefined,
    revoked: revoked ?? undefined,
    next: next ?? undefined,
    kept: kept ?? undefined,
    hidden: hidden ? true : undefined,
    forgotten: forgotten ?? undefined,
    again: again ?? undefined,
    buried: buried ? true : undefined,
    redrive: redrive ?? undefined,
    chord_count: chordCount ?? undefined,
    members: members ?? undefined,
    size: size ?? undefined,
    added: added ?? undefined,
  };
}
