/** What fails, put together: failures of one task with one error, whose messages differ in numbers and names only. */
import { isFailure, type JournalEntry, type JournalError } from "./entry.ts";

/** Failures of one kind. */
export interface FailureGroup {
  /** The task's name; `undefined` where a message did not say it. */
  readonly task: string | undefined;
  /** What they have in common of the error: what differs from case to case in its message is `…`. */
  readonly error: JournalError | undefined;
  /** How many runs of the task failed so. */
  readonly count: number;
  /** Times of the first and of the last, in milliseconds since the epoch. */
  readonly first: number;
  /** When one last did: milliseconds since 1970. */
  readonly last: number;
  /** The last of them. */
  readonly example: JournalEntry;
}

/** Groups, the largest first. The entries may come in any order. */
export interface FailureGroups {
  add(entry: JournalEntry): void;
  list(): readonly FailureGroup[];
}

export function failureGroups(): FailureGroups {
  const groups = new Map<string, FailureGroup>();
  return {
    add(entry) {
      if (!isFailure(entry)) return;
      const error = entry.error && { type: entry.error.type, message: patternOf(entry.error.message) };
      const key = keyOf({ task: entry.task, error });
      const known = groups.get(key);
      groups.set(key, {
        task: entry.task,
        error,
        count: (known?.count ?? 0) + 1,
        first: Math.min(known?.first ?? entry.time, entry.time),
        last: Math.max(known?.last ?? entry.time, entry.time),
        example: known === undefined || entry.time > known.last ? entry : known.example,
      });
    },
    list: () => [...groups.values()].sort(largestFirst),
  };
}

/** A group with how many of it there were in each of several spans. */
export interface SparkedGroup extends FailureGroup {
  readonly spark: readonly number[];
}

/** The groups of several spans as those of all of them together, the largest first. */
export function mergeFailures(spans: readonly (readonly FailureGroup[])[]): readonly SparkedGroup[] {
  const groups = new Map<string, SparkedGroup & { readonly spark: number[] }>();
  for (const [at, span] of spans.entries()) {
    for (const group of span) {
      const key = keyOf(group);
      const known = groups.get(key);
      const spark = known?.spark ?? spans.map(() => 0);
      spark[at] = group.count;
      groups.set(key, {
        ...group,
        count: group.count + (known?.count ?? 0),
        first: Math.min(group.first, known?.first ?? group.first),
        last: Math.max(group.last, known?.last ?? group.last),
        example: known === undefined || group.last >= known.last ? group.example : known.example,
        spark,
      });
    }
  }
  return [...groups.values()].sort(largestFirst);
}

const keyOf = ({ task, error }: Pick<FailureGroup, "task" | "error">): string =>
  JSON.stringify([task, error?.type, error?.message]);

const largestFirst = (a: FailureGroup, b: FailureGroup): number => b.count - a.count || b.last - a.last;

/** Ids, numbers, and what stands in quotes or brackets. */
const PARTICULAR =
  /"[^"]*"|'[^']*'|`[^`]*`|\[[^\]]*\]|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[a-z]*\d)[0-9a-f]{8,}\b|\d+(?:[.,:]\d+)*/gi;

/** What a message has in common with others of its kind. */
const patternOf = (message: string): string => message.replace(PARTICULAR, "…");
