/** Rows of limits in the file of the results: decisions of one turn of the event loop share a transaction. */
import { type Database, openTables } from "../sqlite/database.ts";
import type { LimitStore, LimitStoreContext } from "./store.ts";

/** After so many writes those that have expired are deleted. */
const SWEEP_ROWS = 256;

const TABLE = `
  CREATE TABLE IF NOT EXISTS limits (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    expires REAL NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS limits_expires ON limits (expires)`;
const HAS_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'limits_expires'";
const GET = "SELECT state, expires FROM limits WHERE id = ?";
const PUT = `
  INSERT INTO limits (id, state, expires) VALUES (?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET state = excluded.state, expires = excluded.expires`;
const REMOVE = "DELETE FROM limits WHERE id = ?";
const SWEEP = "DELETE FROM limits WHERE expires <= ?";

/** Throws what `openDatabase` throws. */
export const open = async (url: string, context: LimitStoreContext): Promise<LimitStore> =>
  create(await openTables(url, context, HAS_TABLE, TABLE), context.now);

function create(database: Database, now: () => number): LimitStore {
  const [get, put, remove, sweep] = [GET, PUT, REMOVE, SWEEP].map((sql) => database.prepare(sql)) as Statements;
  let writes = 0;
  return {
    decide: (key, decision) =>
      database.write(() => {
        const time = now();
        const row = get.get(key);
        const isThere = row !== undefined && Number(row["expires"]) > time;
        const { write, answer } = decision(isThere ? String(row["state"]) : undefined);
        if (write === null) remove.run(key);
        else if (write !== undefined) {
          put.run(key, write.state, write.expires);
          if (++writes % SWEEP_ROWS === 0) sweep.run(time);
        }
        return answer;
      }),
    close: () => database.close(),
  };
}

type Statement = ReturnType<Database["prepare"]>;
type Statements = [Statement, Statement, Statement, Statement];
