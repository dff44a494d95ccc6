/** Entries are stored as they come: some together. Here such batches become entries in their order again. */
import type { JournalEntry } from "./entry.ts";
import type { JournalRange } from "./store.ts";

export interface Batch {
  /** The time of the newest of its entries, in milliseconds since the epoch. */
  readonly last: number;
  readonly entries: readonly JournalEntry[];
}

/**
 * The entries of a batch were made so close together, in milliseconds: one that a range ends in the middle of has its
 * newest entry up to so long after that.
 */
export const BATCH_SPAN_MS = 60_000;

export const lastOf = (entries: readonly JournalEntry[]): number =>
  entries.reduce((last, { time }) => Math.max(last, time), 0);

/** One stream of batches, by their newest entry, of several that are so by themselves. */
export async function* mergeBatches(sources: readonly AsyncIterable<Batch>[]): AsyncGenerator<Batch, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(iterators.map((iterator) => iterator.next()));
    for (;;) {
      let newest = -1;
      let head: Batch | undefined;
      for (const [index, { done, value }] of heads.entries()) {
        if (done !== true && (head === undefined || value.last > head.last)) {
          newest = index;
          head = value;
        }
      }
      const iterator = iterators[newest];
      if (head === undefined || iterator === undefined) return;
      yield head;
      heads[newest] = await iterator.next();
    }
  } finally {
    await Promise.all(iterators.map((iterator) => iterator.return?.()));
  }
}

/** The entries of a range, newest first, of batches by their newest entry: their times may overlap. */
export async function* entriesOf(
  batches: AsyncIterable<Batch>,
  { from, to }: Pick<JournalRange, "from" | "to">,
): AsyncGenerator<readonly JournalEntry[], void, undefined> {
  /** Newest last. A later batch may have entries that go before them. */
  let waiting: JournalEntry[] = [];
  for await (const { last, entries } of batches) {
    const ready = splitFrom(waiting, last);
    if (ready.length > 0) yield ready.reverse();
    const more = entries.filter(({ time }) => time >= from && time < to);
    if (more.length > 0) waiting = [...more, ...waiting].sort((a, b) => a.time - b.time);
  }
  if (waiting.length > 0) yield waiting.reverse();
}

/** Takes off what is newer than an instant. */
function splitFrom(sorted: JournalEntry[], time: number): JournalEntry[] {
  const first = sorted.findIndex((entry) => entry.time > time);
  return first === -1 ? [] : sorted.splice(first);
}
