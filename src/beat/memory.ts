/** Entries put at run time, inside one process: `memory://name` is one store for all who open that name. */
import { type WaitList, waitList } from "../wait.ts";
import { type BeatStore, type BeatStoreContext, entriesReader, readEntry, stringifyEntry } from "./store.ts";

interface Store {
  readonly entries: Map<string, string>;
  readonly waiting: WaitList;
  users: number;
}

const stores = new Map<string, Store>();

export function open(url: string, { app }: BeatStoreContext): BeatStore {
  const key = JSON.stringify([url, app]);
  const store: Store = stores.get(key) ?? { entries: new Map(), waiting: waitList(), users: 0 };
  stores.set(key, store);
  store.users++;
  const readAll = entriesReader();
  let isOpen = true;

  return {
    async list() {
      return readAll([...store.entries].sort(([a], [b]) => (a < b ? -1 : 1)));
    },
    async put(entry) {
      store.entries.set(entry.name, stringifyEntry(entry));
      store.waiting.endAll();
    },
    async remove(name) {
      const existed = store.entries.delete(name);
      store.waiting.endAll();
      return existed;
    },
    async setEnabled(name, enabled, since) {
      const text = store.entries.get(name);
      if (text === undefined) return false;
      store.entries.set(name, stringifyEntry({ ...readEntry(name, text), enabled, since }));
      store.waiting.endAll();
      return true;
    },
    changed() {
      const wait = store.waiting.begin();
      if (!isOpen) wait.end();
      return wait;
    },
    async close() {
      if (!isOpen) return;
      isOpen = false;
      store.users--;
      if (store.users === 0) stores.delete(key);
      // Those of others look once more.
      store.waiting.endAll();
    },
  };
}
