/** Rows of limits inside one process: `memory://name` is one store for all who open that name, as long as one of them is open. */
import type { LimitRow, LimitStore, LimitStoreContext } from "./store.ts";

/** After so many writes those that have expired are dropped. */
const SWEEP_ROWS = 1024;

interface Rows {
  readonly rows: Map<string, LimitRow>;
  users: number;
  writes: number;
}

const stores = new Map<string, Rows>();

/** The URL is the result backend's, which has been checked. */
export function open(url: string, { now }: LimitStoreContext): LimitStore {
  const store = stores.get(url) ?? { rows: new Map(), users: 0, writes: 0 };
  stores.set(url, store);
  store.users++;
  let isOpen = true;

  function sweep(): void {
    store.writes = 0;
    const time = now();
    for (const [key, { expires }] of store.rows) if (expires <= time) store.rows.delete(key);
  }

  return {
    async decide(key, decision) {
      const row = store.rows.get(key);
      const { write, answer } = decision(row === undefined || row.expires <= now() ? undefined : row.state);
      if (write === null) store.rows.delete(key);
      else if (write !== undefined) {
        store.rows.set(key, write);
        if (++store.writes >= SWEEP_ROWS) sweep();
      }
      return answer;
    },
    async close() {
      if (!isOpen) return;
      isOpen = false;
      if (--store.users === 0) stores.delete(url);
    },
  };
}
