/** What `app.journal` is: questions to the journal, over whatever keeps it. */
import type { JournalEntry } from "./entry.ts";
import { type FailureGroup, failureGroups } from "./failures.ts";
import {
  checkFailures,
  checkFind,
  checkSummary,
  type FailuresQuery,
  type JournalQuery,
  type Matches,
  type SummaryQuery,
} from "./query.ts";
import type { JournalRange, JournalStore } from "./store.ts";
import { summarizer, type SummaryStep } from "./summary.ts";

/**
 * What has happened: `app.journal`.
 *
 * ```ts
 * for await (const { task, error } of app.journal.find({ state: "FAILURE", limit: 20 })) console.log(task, error?.message);
 * ```
 * It is a log: an entry can be missing where its worker died or its table was throttled. A task's row is the truth.
 */
export interface Journal {
  /**
   * Entries, newest first, read as they are asked for: to break off after some costs no more than these. Those of failures
   * (`state: "FAILURE"`) are found without reading what went well. Throws `ImproperlyConfigured` for what it cannot be
   * asked, or where no journal is kept, and `OperationalError` where it cannot be read.
   */
  find(query?: JournalQuery): AsyncIterableIterator<JournalEntry>;
  /**
   * What failed, grouped by task and error, the most frequent first: failures, dead letters, and what could not be sent.
   * Without a `from` it looks through all that is kept.
   */
  failures(query?: FailuresQuery): Promise<readonly FailureGroup[]>;
  /** Attempts, failures, and percentiles of runtime and waiting, step by step. Default: the last hour by minutes. */
  summary(query?: SummaryQuery): Promise<readonly SummaryStep[]>;
}

export function createJournal(open: () => Promise<JournalStore>, now: () => number): Journal {
  async function* search(
    range: JournalRange,
    matches: Matches,
    signal?: AbortSignal,
  ): AsyncGenerator<JournalEntry, void, undefined> {
    signal?.throwIfAborted();
    const store = await open();
    for await (const page of store.read(range)) {
      signal?.throwIfAborted();
      yield* page.filter(matches);
    }
  }

  async function* upTo(
    limit: number,
    signal: AbortSignal | undefined,
    entries: AsyncIterable<JournalEntry>,
  ): AsyncGenerator<JournalEntry, void, undefined> {
    if (limit === 0) return;
    let found = 0;
    for await (const entry of entries) {
      signal?.throwIfAborted();
      yield entry;
      if (++found === limit) return;
    }
  }

  return {
    find(query) {
      // Checked at the call, not at the first step.
      const { limit, signal, matches, ...range } = checkFind(query, now());
      return upTo(limit, signal, search(range, matches, signal));
    },
    async failures(query) {
      const { limit, signal, matches, ...range } = checkFailures(query, now());
      const groups = failureGroups();
      for await (const entry of upTo(Number.POSITIVE_INFINITY, signal, search(range, matches, signal)))
        groups.add(entry);
      return groups.list().slice(0, limit);
    },
    async summary(query) {
      const { matches, ...asked } = checkSummary(query, now());
      const steps = summarizer(asked);
      for await (const entry of search({ ...asked, failures: false }, matches)) steps.add(entry);
      return steps.list();
    },
  };
}
