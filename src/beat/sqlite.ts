/** Entries put at run time, in a table of the file that the broker uses: every process that has it open sees a change. */
import { type Database, openTables } from "../sqlite/database.ts";
import { type BeatStore, type BeatStoreContext, entriesReader, readEntry, stringifyEntry } from "./store.ts";

const TABLE = `
  CREATE TABLE IF NOT EXISTS beat (
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (app, name)
  ) WITHOUT ROWID`;
const HAS_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'beat'";
const LIST = "SELECT name, entry FROM beat WHERE app = ? ORDER BY name";
const GET = "SELECT entry FROM beat WHERE app = ? AND name = ?";
const PUT = "INSERT INTO beat (app, name, entry) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET entry = excluded.entry";
const REMOVE = "DELETE FROM beat WHERE app = ? AND name = ?";

/** Throws what `openDatabase` throws. */
export const open = async (url: string, context: BeatStoreContext): Promise<BeatStore> =>
  create(await openTables(url, context, HAS_TABLE, TABLE), context.app);

function create(database: Database, app: string): BeatStore {
  const [list, get, put, remove] = [LIST, GET, PUT, REMOVE].map((sql) => database.prepare(sql)) as Statements;
  const readAll = entriesReader();
  return {
    async list() {
      const rows = database.read(() => list.all(app));
      return readAll(rows.map(({ name, entry }) => [String(name), String(entry)] as const));
    },
    async put(entry) {
      const text = stringifyEntry(entry);
      await database.write(() => put.run(app, entry.name, text), "entries");
    },
    remove(name) {
      return database.write(() => Number(remove.run(app, name).changes) > 0, "entries");
    },
    setEnabled(name, enabled, since) {
      return database.write(() => {
        const stored = get.get(app, name)?.["entry"];
        if (typeof stored !== "string") return false;
        put.run(app, name, stringifyEntry({ ...readEntry(name, stored), enabled, since }));
        return true;
      }, "entries");
    },
    changed: () => database.changed("entries"),
    close: () => database.close(),
  };
}

type Statement = ReturnType<Database["prepare"]>;
type Statements = [Statement, Statement, Statement, Statement];
