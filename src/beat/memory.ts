/** Entries put at run time, inside one process: `memory://name` is one store for all who open that name. */
import { type BeatStore, type BeatStoreContext, parseEntry, stringifyEntry } from "./store.ts";

interface Store {
  readonly entries: Map<string, string>;
  readonly waiting: Set<() => void>;
  users: number;
}

const stores = new Map<string, Store>();

export function open(url: string, { app }: BeatStoreContext): BeatStore {
  const key = JSON.stringify([url, app]);
  const store: Store = stores.get(key) ?? { entries: new Map(), waiting: new Set(), users: 0 };
  stores.set(key, store);
  store.users++;
  let isOpen = true;
  const own = new Set<() => void>();
  const tell = () => {
    for (const wake of [...store.waiting]) wake();
  };

  return {
    async list() {
      return [...store.entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => parseEntry(text));
    },
    async put(entry) {
      store.entries.set(entry.name, stringifyEntry(entry));
      tell();
    },
    async remove(name) {
      const existed = store.entries.delete(name);
      tell();
      return existed;
    },
    async setEnabled(name, enabled, since) {
      const text = store.entries.get(name);
      if (text === undefined) return false;
      store.entries.set(name, stringifyEntry({ ...parseEntry(text), enabled, since }));
      tell();
      return true;
    },
    changed(signal) {
      return new Promise((resolve) => {
        if (signal.aborted || !isOpen) return resolve();
        const wake = () => {
          store.waiting.delete(wake);
          own.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        store.waiting.add(wake);
        own.add(wake);
        signal.addEventListener("abort", wake);
      });
    },
    async close() {
      if (!isOpen) return;
      isOpen = false;
      store.users--;
      if (store.users === 0) stores.delete(key);
      for (const wake of [...own]) wake();
    },
  };
}
