/** Results inside one process: `memory://name` is one store for all who open that name, as long as one of them is open. */
import { maskUrl } from "../brief.ts";
import { ImproperlyConfigured, OperationalError } from "../errors.ts";
import { type JournalMemory, journalMemory, openMemoryJournal } from "../journal/memory.ts";
import type { Backend, BackendContext, Row } from "./backend.ts";
import { memoryStore } from "../unit.ts";
import { type WaitList, waitList } from "../wait.ts";
import { type Command, decide, isExpired, isNews, type Outcome } from "./record.ts";

/** After so many writes, as many rows are looked at, and those that have expired are dropped. */
const SWEEP_ROWS = 256;

interface Store {
  readonly rows: Map<string, Row>;
  readonly waiting: WaitList;
  readonly journal: JournalMemory;
  users: number;
  /** Where the next sweep goes on. A Map's iterator lives through changes of the Map. */
  cursor: Iterator<[string, Row]>;
  writesSinceSweep: number;
}

const stores = new Map<string, Store>();

/** Opens, or shares, the store of a `memory://` URL. Throws `ImproperlyConfigured` for any other URL. */
export function open(url: string, context: BackendContext): Backend {
  const name = /^memory:\/\/([^?#]*)$/.exec(url)?.[1];
  if (name === undefined) {
    throw new ImproperlyConfigured(maskUrl(url), "a memory URL is memory:// or memory://name, without parameters");
  }
  const store = stores.get(name) ?? create();
  stores.set(name, store);
  store.users++;
  const journal = context.journal && openMemoryJournal(store.journal, context.journal, context.now);
  let isOpen = true;

  function apply(command: Command): Outcome {
    const decision = decide(store.rows.get(command.key), command);
    if (decision.write !== undefined) {
      store.rows.set(command.key, decision.write);
      store.writesSinceSweep++;
    }
    if (command.entry !== undefined && isNews(command, decision)) journal?.put([command.entry]);
    return decision.outcome;
  }

  function mustBeOpen(): void {
    if (!isOpen) throw new OperationalError(`the result backend ${url} is closed`, { retryable: true });
  }

  return {
    store: memoryStore(name),
    maxBytes: Infinity,
    async apply(commands) {
      mustBeOpen();
      const outcomes = commands.map(apply);
      store.waiting.endAll();
      if (store.writesSinceSweep >= SWEEP_ROWS) sweep(store, context.now());
      return outcomes;
    },
    async read(keys) {
      mustBeOpen();
      return keys.map((key) => {
        const row = store.rows.get(key);
        return row === undefined || isExpired(row, context.now()) ? undefined : row;
      });
    },
    changed() {
      const wait = store.waiting.begin();
      if (!isOpen) wait.end();
      return wait;
    },
    journal,
    async close() {
      if (!isOpen) return;
      isOpen = false;
      store.users--;
      if (store.users === 0) stores.delete(name);
      store.waiting.endAll();
    },
  };
}

function create(): Store {
  const rows = new Map<string, Row>();
  return {
    rows,
    waiting: waitList(),
    journal: journalMemory(),
    users: 0,
    cursor: rows.entries(),
    writesSinceSweep: 0,
  };
}

function sweep(store: Store, now: number): void {
  store.writesSinceSweep = 0;
  for (let looked = 0; looked < SWEEP_ROWS; looked++) {
    const next = store.cursor.next();
    if (next.done) {
      store.cursor = store.rows.entries();
      return;
    }
    const [key, row] = next.value;
    if (isExpired(row, now)) store.rows.delete(key);
  }
}
