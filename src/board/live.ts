/** What the pages show of the present: read once for all who look at the same time, and again only after a while. */
import type { JournalEntry } from "../journal/entry.ts";
import { failureGroups, mergeFailures, type SparkedGroup } from "../journal/failures.ts";
import type { JournalRange } from "../journal/store.ts";
import { summarizer, type SummaryStep } from "../journal/summary.ts";

/** A part of a page. What could not be read leaves the rest alone, and what takes long is left out until it is there. */
export type Part<T> = { readonly value: T } | { readonly problem: string } | { readonly pending: true };

/** How an answer is asked for, in milliseconds. */
export interface Patience {
  /**
   * Who asks waits so long at most: then they get what was read before, or a part that is `pending`. With 0 nothing is read
   * for it: a look at a file keeps everybody else waiting too.
   */
  readonly wait: number;
  /** What was read so long ago is not read again. Default: as long as what is asked for is kept. */
  readonly maxAge?: number | undefined;
}

export const problemOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The event loop is given to others after so many milliseconds of work. */
const SLICE_MS = 10;

/** Lets others have their turn, when it is called often. */
export function createBreather(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < SLICE_MS) return undefined;
    return new Promise((resolve) =>
      setTimeout(() => {
        since = performance.now();
        resolve();
      }),
    );
  };
}

export interface Kept<T> {
  get(patience: Patience): Promise<Part<T>>;
  /** It has changed: the next who asks gets it as it is then. */
  drop(): void;
}

/** Reads something when it is asked for, and keeps it for `age` milliseconds. */
export function kept<T>(read: () => Promise<T>, age: number, now: () => number): Kept<T> {
  let last: { readonly part: Part<T>; readonly at: number } | undefined;
  let reading: Promise<Part<T>> | undefined;
  const start = (): Promise<Part<T>> => {
    const at = now();
    const mine: Promise<Part<T>> = read()
      .then(
        (value): Part<T> => ({ value }),
        (error: unknown): Part<T> => ({ problem: problemOf(error) }),
      )
      .then((part) => {
        // What was dropped meanwhile may be from before the change.
        if (reading === mine) {
          reading = undefined;
          last = { part, at };
        }
        return part;
      });
    reading = mine;
    return mine;
  };
  return {
    async get({ wait, maxAge = age }) {
      if (last !== undefined && now() - last.at < Math.min(age, maxAge)) return last.part;
      if (wait === 0) return { pending: true };
      const answer = reading ?? start();
      if (wait === Number.POSITIVE_INFINITY) return answer;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, wait);
      });
      const part = await Promise.race([answer, late]);
      clearTimeout(timer);
      return part ?? last?.part ?? { pending: true };
    },
    drop() {
      last = undefined;
      reading = undefined;
    },
  };
}

/** Entries may be told late, or by clocks that differ: each look at the journal goes back so far, and ahead so far, in milliseconds. */
const OVERLAP_MS = 30_000;
const AHEAD_MS = 5_000;

/** What the journal tells of a span up to now, in equal steps. */
export interface Told {
  readonly steps: readonly SummaryStep[];
  /** The largest first. */
  readonly failures: readonly SparkedGroup[];
}

interface Step {
  readonly add: (entry: JournalEntry) => void;
  readonly summary: () => SummaryStep;
  readonly failures: ReturnType<typeof failureGroups>;
}

/**
 * Follows the journal over a span: the first look reads all of it, each later one what is new. Its steps begin at multiples
 * of their length, so that what was counted once stays counted.
 */
export function createFeed(
  read: (range: JournalRange) => Promise<AsyncIterable<readonly JournalEntry[]>>,
  { span, step, now }: { readonly span: number; readonly step: number; readonly now: () => number },
): () => Promise<Told> {
  const steps = new Map<number, Step>();
  /** Up to when it was read, and what was told of the last {@link OVERLAP_MS} before. */
  let until: number | undefined;
  let seen = new Set<string>();

  const startOf = (time: number) => Math.floor(time / step) * step;

  function add(entry: JournalEntry): void {
    const at = startOf(entry.time);
    let own = steps.get(at);
    if (own === undefined) {
      own = createStep(at, step);
      steps.set(at, own);
    }
    own.add(entry);
  }

  async function look(): Promise<void> {
    const at = now();
    const first = until === undefined;
    // Clocks that were set back: what is counted may be told again.
    if (until !== undefined && at < until - OVERLAP_MS) {
      steps.clear();
      seen = new Set();
      until = undefined;
    }
    const from = until === undefined ? startOf(at - span) + step : until - OVERLAP_MS;
    const fresh = new Set<string>();
    const later: JournalEntry[] = [];
    const breathe = createBreather();
    try {
      for await (const page of await read({ failures: false, from, to: at + AHEAD_MS })) {
        for (const entry of page) {
          const key = entry.time >= at - OVERLAP_MS ? keyOf(entry) : undefined;
          if (key !== undefined) {
            if (fresh.has(key)) continue;
            fresh.add(key);
          }
          if (until === undefined) add(entry);
          else if (!seen.has(key ?? keyOf(entry))) later.push(entry);
        }
        await breathe();
      }
    } catch (error) {
      // Half of it is counted: it begins anew.
      if (first) steps.clear();
      throw error;
    }
    for (const entry of later) add(entry);
    until = at;
    seen = fresh;
    for (const time of steps.keys()) if (time <= at - span - step) steps.delete(time);
  }

  return async () => {
    await look();
    const at = until ?? now();
    const count = Math.ceil(span / step);
    const times = Array.from({ length: count }, (_, index) => startOf(at) - (count - 1 - index) * step);
    const own = times.map((time) => steps.get(time));
    return {
      steps: own.map((one, index) => {
        const time = times[index] as number;
        const summary = (one ?? createStep(time, step)).summary();
        const lasted = (at - time) / 1000;
        // The last step is not over: what is told of it is told of the part of it that is.
        return lasted < step / 1000 ? { ...summary, throughput: summary.ended / Math.max(1, lasted) } : summary;
      }),
      failures: mergeFailures(own.map((one) => one?.failures.list() ?? [])),
    };
  };
}

function createStep(at: number, step: number): Step {
  const counted = summarizer({ from: at, to: at + step, step });
  const failures = failureGroups();
  let listed: SummaryStep | undefined;
  return {
    failures,
    add(entry) {
      listed = undefined;
      counted.add(entry);
      failures.add(entry);
    },
    summary: () => (listed ??= counted.list()[0] as SummaryStep),
  };
}

const keyOf = ({
  time,
  kind,
  id = "",
  state = "",
  retries = 0,
  runs = 0,
  entry = "",
  action = "",
  runtime = 0,
}: JournalEntry) => `${time} ${kind} ${id} ${state} ${retries} ${runs} ${entry} ${action} ${runtime}`;
