/** What the journal is asked: filters, in the same words wherever there are any. */
import { ImproperlyConfigured } from "../errors.ts";
import { matchGlob } from "../glob.ts";
import { fail, integer, names, options, type Parse, seconds, shape, signal, text } from "../parse.ts";
import { FAILURE } from "../states.ts";
import type { JournalEntry, JournalKind } from "./entry.ts";

/** A span of time: an instant is a `Date`, or milliseconds since the epoch. */
export interface JournalSpan {
  /** From this instant on. Default: all that is kept. */
  readonly from?: Date | number | undefined;
  /** Before this instant. Default: up to now. */
  readonly to?: Date | number | undefined;
}

/** What an entry must be for. A list means one of these. All that is given has to hold. */
export interface JournalFilter {
  /** `SUCCESS`, `FAILURE`, `RETRY`, `REVOKED` … */
  readonly state?: string | readonly string[] | undefined;
  /** Only entries of these kinds. Default: all. */
  readonly kind?: JournalKind | readonly JournalKind[] | undefined;
  /** A task's name, or a pattern such as `media.*`. */
  readonly task?: string | readonly string[] | undefined;
  /** Only what came from these queues. Default: all. */
  readonly queue?: string | readonly string[] | undefined;
  /** The worker's name. */
  readonly worker?: string | readonly string[] | undefined;
  /** The id of a task. */
  readonly id?: string | readonly string[] | undefined;
  /** The id of the task that a workflow began with. */
  readonly root?: string | readonly string[] | undefined;
  /** A part of the id, the task's name, the arguments or the error, in upper or lower case. */
  readonly text?: string | undefined;
}

/** Which entries are meant, and how many. */
export interface JournalQuery extends JournalSpan, JournalFilter {
  /** So many at most. Default: all there are, read as they are asked for. */
  readonly limit?: number | undefined;
  /** Ends the search with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Which failures are grouped. */
export interface FailuresQuery extends JournalSpan, Omit<JournalFilter, "state" | "kind"> {
  /** So many groups at most, the largest. Default: all. */
  readonly limit?: number | undefined;
  /** Ends the search with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Which span is summed up, in what steps. */
export interface SummaryQuery extends JournalSpan, Pick<JournalFilter, "task" | "queue" | "worker"> {
  /** Seconds. Default: a sixtieth of the span. */
  readonly step?: number | undefined;
}

export const instant: Parse<number> = (value, at) => {
  const time = value instanceof Date ? value.getTime() : value;
  return typeof time === "number" && !Number.isNaN(time)
    ? time
    : fail(at, "a Date, or milliseconds since the epoch", value);
};

/** A filter as it was given, checked. */
interface Filter {
  readonly state?: readonly string[];
  readonly kind?: readonly string[];
  readonly task?: readonly string[];
  readonly queue?: readonly string[];
  readonly worker?: readonly string[];
  readonly id?: readonly string[];
  readonly root?: readonly string[];
  readonly text?: string;
}

interface Span {
  readonly from?: number;
  readonly to?: number;
}

const SPAN = { from: instant, to: instant };
const SOURCE = { task: names, queue: names, worker: names };
const PARTS = { ...SOURCE, id: names, root: names, text };

interface GivenFind extends Filter, Span {
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

const findShape = shape<GivenFind>({ ...SPAN, ...PARTS, state: names, kind: names, limit: integer(0), signal }, {});

type GivenFailures = Omit<GivenFind, "state" | "kind">;

const failuresShape = shape<GivenFailures>({ ...SPAN, ...PARTS, limit: integer(0), signal }, {});

export interface Range {
  readonly from: number;
  readonly to: number;
}

/** All that is kept where no `from` is given; and what is told of by clocks that are ahead, where no `to` is. */
export function rangeOf(at: string, { from = Number.NEGATIVE_INFINITY, to }: Span, now: number): Range {
  if (from < (to ?? Math.max(now, from + 1))) return { from, to: to ?? Number.POSITIVE_INFINITY };
  const shown = (time: number) => (Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time));
  throw new ImproperlyConfigured(
    `${at}.from`,
    `must be before to; the range given is from ${shown(from)} to ${shown(to ?? now)}`,
  );
}

/** Whether an entry is asked for. */
export type Matches = (entry: JournalEntry) => boolean;

export interface Find extends Range {
  readonly matches: Matches;
  /** Only failures can match. */
  readonly failures: boolean;
  readonly limit: number;
  readonly signal: AbortSignal | undefined;
}

const KINDS_OF_FAILURES: readonly string[] = ["deadLetter", "unsent"] satisfies JournalKind[];

/** Throws `ImproperlyConfigured`. */
export function checkFind(query: JournalQuery | undefined, now: number): Find {
  const at = "journal.find";
  const given = options(findShape, query, at, '{ state: "FAILURE", limit: 20 }');
  const { state, kind, limit = Number.POSITIVE_INFINITY, signal } = given;
  const failures =
    state?.every((one) => one === FAILURE) === true || kind?.every((one) => KINDS_OF_FAILURES.includes(one)) === true;
  return { ...rangeOf(at, given, now), matches: matcher(given), failures, limit, signal };
}

/** Throws `ImproperlyConfigured`. */
export function checkFailures(query: FailuresQuery | undefined, now: number): Find {
  const at = "journal.failures";
  const given = options(failuresShape, query, at, "{ from: Date.now() - 3_600_000 }");
  const { limit = Number.POSITIVE_INFINITY, signal } = given;
  return { ...rangeOf(at, given, now), matches: matcher(given), failures: true, limit, signal };
}

/** Where no range is given, a summary is of the last hour. */
const SUMMARY_MS = 3_600_000;
const DEFAULT_STEPS = 60;
/** A plot has fewer points. */
const MOST_STEPS = 10_000;

export interface Summarize extends Range {
  readonly matches: Matches;
  /** Milliseconds. */
  readonly step: number;
}

interface GivenSummary extends Span, Pick<Filter, "task" | "queue" | "worker"> {
  readonly step?: number;
}

const summaryShape = shape<GivenSummary>({ ...SPAN, ...SOURCE, step: seconds({ min: 0.001 }) }, {});

/** Throws `ImproperlyConfigured`. */
export function checkSummary(query: SummaryQuery | undefined, now: number): Summarize {
  const at = "journal.summary";
  const given = options(summaryShape, query, at, "{ step: 60 }");
  const to = given.to ?? now;
  const range = rangeOf(at, { from: given.from ?? to - SUMMARY_MS, to }, now);
  const length = range.to - range.from;
  if (!Number.isFinite(length)) return fail(`${at}.from`, "an instant, as every step is listed", given.from);
  const step = given.step === undefined ? length / DEFAULT_STEPS : given.step * 1000;
  if (length / step > MOST_STEPS) {
    throw new ImproperlyConfigured(
      `${at}.step`,
      `makes ${Math.ceil(length / step)} steps of this range, and ${MOST_STEPS} are the most: take ${Math.ceil(length / MOST_STEPS / 1000)} seconds or more`,
    );
  }
  return { ...range, step, matches: matcher(given) };
}

function matcher({ text: part, task, root, ...rest }: Filter): Matches {
  const wanted = (["state", "kind", "queue", "worker", "id"] as const).flatMap((field) => {
    const values = rest[field];
    return values === undefined ? [] : [[field, new Set<unknown>(values)] as const];
  });
  const patterns = task?.map(matchGlob);
  const sought = part?.toLowerCase();
  return (entry) =>
    wanted.every(([field, values]) => values.has(entry[field])) &&
    (root === undefined || root.includes(rootOf(entry) ?? "")) &&
    (patterns === undefined || patterns.some((matches) => matches(entry.task ?? ""))) &&
    (sought === undefined || textOf(entry).includes(sought));
}

/** The id of the task that the workflow of an entry's task began with. */
export const rootOf = ({ root, id }: JournalEntry): string | undefined => root ?? id;

const textOf = ({ id, task, args, kwargs, error, entry, action }: JournalEntry): string =>
  [id, task, args, kwargs, error?.type, error?.message, entry, action].join("\n").toLowerCase();
