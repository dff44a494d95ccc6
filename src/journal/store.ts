/**
 * The journal's port: what keeps entries and gives them back. A result backend that can has one beside its rows, and
 * writes the entry of an outcome with that outcome (`Command.entry`). It is a log and not the truth, which is the row: who
 * reads it must stand an entry that is missing, one that is there twice, and one of a later version.
 */
import type { JournalEntry } from "./entry.ts";

/** The span of time, and what is wanted of it. */
export interface JournalRange {
  /** Only failures, which are kept apart. */
  readonly failures: boolean;
  /** From this instant on … */
  readonly from: number;
  /** … and before this one, in milliseconds since the epoch. */
  readonly to: number;
}

/** The port by which a result backend keeps the journal beside its rows. */
export interface JournalStore {
  /** Keeps entries that belong to no row. Throws the `OperationalError` that kept it from that. */
  append(entries: readonly JournalEntry[]): Promise<void>;
  /** The entries of a range, newest first, some at a time: what is not asked for is not read. */
  read(range: JournalRange): AsyncIterable<readonly JournalEntry[]>;
}

/** How a backend keeps the journal; it is given none where the app keeps none. */
export interface JournalOptions {
  /** Entries can be read for so many seconds. */
  readonly expires: number;
  /** The name of the table, where the journal has one of its own: `<prefix>journal`. */
  readonly table: string;
  /** Keeps apps apart that share a store: the setting `globalKeyprefix`. */
  readonly scope: string;
  /** Is told what kept an entry from being written. It concerns nobody else: no task waits, fails or is repeated for it. */
  readonly failed: (error: unknown) => void;
}
