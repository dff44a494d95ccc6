/** The journal inside one process. */
import { type JournalEntry, isFailure } from "./entry.ts";
import type { JournalOptions, JournalRange, JournalStore } from "./store.ts";

/** So many entries are kept of failures, and as many of all the rest. */
const MOST_ENTRIES = 100_000;
/** So many more may be there before the oldest are dropped, as dropping moves all that stay. */
const SLACK = 10_000;
/** Given out at a time. */
const PAGE = 100;

/** What those who open the same store share. Each list is in the order in which entries came. */
export interface JournalMemory {
  readonly entries: JournalEntry[];
  readonly failures: JournalEntry[];
}

export const journalMemory = (): JournalMemory => ({ entries: [], failures: [] });

export interface MemoryJournal extends JournalStore {
  put(entries: readonly JournalEntry[]): void;
}

export function openMemoryJournal(
  memory: JournalMemory,
  { expires }: Pick<JournalOptions, "expires">,
  now: () => number,
): MemoryJournal {
  function put(entries: readonly JournalEntry[]): void {
    for (const entry of entries) {
      const list = isFailure(entry) ? memory.failures : memory.entries;
      list.push(entry);
      if (list.length >= MOST_ENTRIES + SLACK) list.splice(0, list.length - MOST_ENTRIES);
    }
  }
  return {
    put,
    append: async (entries) => put(entries),
    async *read({ failures, from, to }: JournalRange) {
      const oldest = Math.max(from, now() - expires * 1000);
      const found = (failures ? [memory.failures] : [memory.entries, memory.failures])
        .flatMap((list) => list.slice(-MOST_ENTRIES))
        .filter(({ time }) => time >= oldest && time < to)
        .sort((a, b) => b.time - a.time);
      for (let at = 0; at < found.length; at += PAGE) yield found.slice(at, at + PAGE);
    },
  };
}
