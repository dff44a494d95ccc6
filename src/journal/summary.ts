/** Numbers for plots: how much was done in each step of a span, how long it took, and how long it had waited. */
import { FAILURE, RETRY, REVOKED, SUCCESS } from "../states.ts";
import type { JournalEntry } from "./entry.ts";
import type { Summarize } from "./query.ts";

/** Seconds that half, 95 and 99 of a hundred did not exceed. `null`: of none. */
export interface Percentiles {
  /** Half took no longer: seconds. `null` where there was none. */
  readonly p50: number | null;
  /** 95 of 100 took no longer: seconds. `null` where there was none. */
  readonly p95: number | null;
  /** 99 of 100 took no longer: seconds. `null` where there was none. */
  readonly p99: number | null;
}

/** The numbers of one step of time. */
export interface SummaryStep {
  /** When it begins, in milliseconds since the epoch. */
  readonly time: number;
  /** Attempts that ended in it, however they did. */
  readonly ended: number;
  /** Tasks that ended as SUCCESS. */
  readonly succeeded: number;
  /** Tasks that ended as FAILURE. */
  readonly failed: number;
  /** Attempts that ended with another one asked for. */
  readonly retried: number;
  /** Tasks that ended as REVOKED. */
  readonly revoked: number;
  /** Attempts a second. */
  readonly throughput: number;
  /** Seconds that the tasks' own code took. */
  readonly runtime: Percentiles;
  /** Seconds from when a task was due to its start. */
  readonly waited: Percentiles;
}

interface Counted {
  ended: number;
  succeeded: number;
  failed: number;
  retried: number;
  revoked: number;
  readonly runtimes: number[];
  readonly waits: number[];
}

const COUNTERS: Readonly<Record<string, "succeeded" | "failed" | "retried" | "revoked">> = {
  [SUCCESS]: "succeeded",
  [FAILURE]: "failed",
  [RETRY]: "retried",
  [REVOKED]: "revoked",
};

/** Every step of the span, also those in which nothing was done. */
export function summarizer({ from, to, step }: Pick<Summarize, "from" | "to" | "step">): {
  add(entry: JournalEntry): void;
  list(): readonly SummaryStep[];
} {
  const steps = Array.from(
    { length: Math.max(1, Math.ceil((to - from) / step)) },
    (): Counted => ({ ended: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, runtimes: [], waits: [] }),
  );
  return {
    add({ kind, time, state, runtime, waited }) {
      const counted = steps[Math.floor((time - from) / step)];
      if (kind !== "task" || counted === undefined) return;
      counted.ended++;
      const counter = COUNTERS[state ?? ""];
      if (counter !== undefined) counted[counter]++;
      if (runtime !== undefined) counted.runtimes.push(runtime);
      if (waited !== undefined) counted.waits.push(waited);
    },
    list: () =>
      steps.map(({ runtimes, waits, ...counts }, index) => ({
        time: from + index * step,
        ...counts,
        throughput: counts.ended / (Math.min(step, to - from - index * step) / 1000),
        runtime: percentiles(runtimes),
        waited: percentiles(waits),
      })),
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  // Nearest rank: a value that there was.
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}
