/**
 * The journal in a table of DynamoDB's, beside the result table. What a worker has to tell is gathered while it has other
 * tasks in hand, and put as one compressed item into the request that stores outcomes: DynamoDB counts an item in whole
 * units of 1 KB, and ten entries have about one.
 *
 * The key is made so that no partition is hot, and so that reading goes from day to day: `<scope><shelf>#<day>#<shard>`, and
 * within it the time of the newest entry and who wrote it. Failures are on a shelf of their own.
 */
import type { AttributeValue, BatchStatementRequest } from "@aws-sdk/client-dynamodb";
import { isOverload } from "../aws/errors.ts";
import { OperationalError } from "../errors.ts";
import { compress, decompress } from "../protocol/compression.ts";
import { BATCH_SPAN_MS, type Batch, entriesOf, lastOf, mergeBatches } from "./batches.ts";
import { isFailure, type JournalEntry, readEntries } from "./entry.ts";
import type { JournalOptions, JournalRange, JournalStore } from "./store.ts";

/**
 * A partition takes 1,000 write units a second. With ten entries of about 100 bytes to an item, so many shards take 160,000
 * tasks a second; with an item for each task still 16,000.
 */
const SHARDS = 16;
const DAY_MS = 86_400_000;
/**
 * The clocks of workers may be so far ahead of a reader's, in milliseconds. Each further day that is looked at is 16 queries a
 * shelf.
 */
const AHEAD_MS = 3_600_000;
/** Of an item: far below DynamoDB's 400 KB, and what is read at a time. */
const MOST_TOGETHER = 200;
/** From so many on they do not wait for more. */
const ENOUGH = 25;
/** Nor for longer than this, in milliseconds. */
const LONGEST_WAIT_MS = 1000;
/** What a throttled table has not taken is kept up to so many, the oldest first to go. */
const MOST_HELD = 1000;
/** After a refusal that will last, nothing is written for so long, in milliseconds. */
const PAUSE_MS = 60_000;
/** Errors of a statement that pass. */
const PASSING = /Throttling|ProvisionedThroughput|RequestLimit|InternalServer|TransactionConflict/;
const COMPRESSION = "gzip";

/** Whether a bundle has what reads the journal. */
declare const LOVAGE_JOURNAL: boolean;

const SHELVES = { rest: "all", failures: "failed" } as const;

/** An item, made and not yet written. */
interface Parcel {
  readonly bucket: string;
  readonly at: string;
  readonly entries: readonly JournalEntry[];
}

/** What goes along with outcomes in their request, and what became of it. */
export interface Ride {
  readonly statements: readonly BatchStatementRequest[];
  /** An error for each statement that failed. */
  arrived(errors: readonly ({ readonly Code?: string; readonly Message?: string } | undefined)[]): void;
  /** The request as a whole failed. What waited before waits on where that is `passing`; what was to be told with it did not come about. */
  missed(error: unknown, passing: boolean): void;
  /** These were not what happened: what they tell of was not stored after all. */
  takeBack(entries: readonly JournalEntry[]): Promise<void>;
}

export interface TableJournal extends JournalStore {
  /** A run begins in this process: what ends meanwhile waits for it … */
  begun(key: string): void;
  /** … and a run ends, whatever becomes of it. */
  ended(key: string): void;
  /** Whether entries are to be written now, with these among them, rather than wait for others. `ending`: runs that end with them. */
  isDue(entries: readonly JournalEntry[], ending: readonly string[]): boolean;
  /** What is to go along in a request: these, and those that wait. At most {@link MOST_STATEMENTS} statements. */
  ride(entries: readonly JournalEntry[]): Promise<Ride>;
  /** Takes what has been stored and may wait for others. Resolves when it waits, or is written. Never throws. */
  hold(entries: readonly JournalEntry[]): Promise<void>;
  /** Writes what waits. */
  close(): Promise<void>;
}

/** One for each shelf. */
export const MOST_STATEMENTS = 2;

/** The requests that it makes by itself. */
export interface TableRequests {
  put(item: Record<string, AttributeValue>): Promise<unknown>;
  query(
    bucket: string,
    range: { readonly first: string; readonly last: string },
    after: Record<string, AttributeValue> | undefined,
  ): Promise<{
    readonly Items?: Record<string, AttributeValue>[] | undefined;
    readonly LastEvaluatedKey?: Record<string, AttributeValue> | undefined;
  }>;
}

export function openTableJournal(
  { expires, table, scope, failed }: JournalOptions,
  { put, query }: TableRequests,
  { now, random }: { readonly now: () => number; readonly random: () => number },
): TableJournal {
  const writer = Math.floor(random() * 2 ** 40).toString(36);
  let written = 0;
  const running = new Set<string>();
  let held: JournalEntry[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Since when the first of them waits. */
  let since = 0;
  let pausedUntil = 0;

  function parcelOf(shelf: string, entries: readonly JournalEntry[]): Parcel {
    const last = lastOf(entries);
    const bucket = bucketOf(scope, shelf, dayOf(last), Math.floor(random() * SHARDS));
    return { bucket, at: `${sortable(last)}-${writer}-${(written++).toString(36)}`, entries };
  }

  /** One for each shelf that has any. */
  function parcelsOf(entries: readonly JournalEntry[]): readonly Parcel[] {
    const failures = entries.filter(isFailure);
    const rest = failures.length === 0 ? entries : entries.filter((entry) => !isFailure(entry));
    return [
      ...(rest.length === 0 ? [] : [parcelOf(SHELVES.rest, rest)]),
      ...(failures.length === 0 ? [] : [parcelOf(SHELVES.failures, failures)]),
    ];
  }

  async function itemOf({ bucket, at, entries }: Parcel): Promise<Record<string, AttributeValue>> {
    const bytes = await compress(new TextEncoder().encode(JSON.stringify(entries)), COMPRESSION);
    return {
      bucket: { S: bucket },
      at: { S: at },
      entries: { B: bytes },
      ttl: { N: String(Math.ceil(now() / 1000 + expires)) },
    };
  }

  /** What waits, no more of it than an item takes. */
  function takeHeld(): readonly JournalEntry[] {
    clearTimeout(timer);
    timer = undefined;
    return held.splice(0, MOST_TOGETHER);
  }

  function wait(entries: readonly JournalEntry[]): void {
    if (now() < pausedUntil) return;
    held.push(...entries);
    if (held.length > MOST_HELD) held = held.slice(-MOST_HELD);
    if (held.length === 0 || timer !== undefined) return;
    since = now();
    flushLater();
  }

  function flushLater(): void {
    timer = setTimeout(() => {
      // The clock is the app's own, and may stand still where it is moved by hand.
      if (now() - since >= LONGEST_WAIT_MS) void flush();
      else flushLater();
    }, LONGEST_WAIT_MS);
    // Not every runtime has a handle that can be let go.
    if (typeof timer === "object") timer.unref();
  }

  function refused(error: unknown, isPassing: boolean, entries: readonly JournalEntry[]): void {
    failed(error);
    if (isPassing) wait(entries);
    else {
      pausedUntil = now() + PAUSE_MS;
      held = [];
    }
  }

  async function write(entries: readonly JournalEntry[]): Promise<void> {
    for (let at = 0; at < entries.length; at += MOST_TOGETHER)
      for (const parcel of parcelsOf(entries.slice(at, at + MOST_TOGETHER))) await put(await itemOf(parcel));
  }

  async function flush(): Promise<void> {
    const entries = takeHeld();
    if (entries.length === 0 || now() < pausedUntil) return;
    try {
      await write(entries);
    } catch (error) {
      refused(error, error instanceof OperationalError && isOverload(error.cause), entries);
    }
  }

  const isDue = (entries: readonly JournalEntry[], ending: readonly string[]) =>
    now() >= pausedUntil &&
    held.length + entries.length > 0 &&
    (running.size <= ending.filter((key) => running.has(key)).length ||
      held.length + entries.length >= ENOUGH ||
      entries.some(isFailure));

  return {
    begun: (key) => void running.add(key),
    ended: (key) => void running.delete(key),
    isDue,
    async ride(own) {
      const waited = takeHeld();
      const parcels = parcelsOf([...waited, ...own]);
      const items = await Promise.all(parcels.map(itemOf));
      return {
        statements: items.map((item) => insertOf(table, item)),
        arrived(errors) {
          for (const [index, error] of errors.entries()) {
            const parcel = parcels[index];
            // An answer was lost, and the SDK asked again.
            if (error === undefined || error.Code === "DuplicateItem" || parcel === undefined) continue;
            const { Code = "", Message = "" } = error;
            refused(refusal(table, Code, Message), PASSING.test(Code), parcel.entries);
          }
        },
        missed(error, passing) {
          if (passing) wait(waited);
          else refused(error, false, []);
        },
        async takeBack(entriesBack) {
          if (entriesBack.length === 0) return;
          const wrong = new Set(entriesBack);
          for (const parcel of parcels) {
            const right = parcel.entries.filter((entry) => !wrong.has(entry));
            if (right.length === parcel.entries.length) continue;
            await itemOf({ ...parcel, entries: right })
              .then(put)
              .catch(failed);
          }
        },
      };
    },
    async hold(entries) {
      const due = isDue(entries, []);
      wait(entries);
      if (due) await flush();
    },
    append: write,
    read: ({ failures, from, to }) => {
      const range = { from: Math.max(from, now() - expires * 1000), to };
      const shelves = failures ? [SHELVES.failures] : Object.values(SHELVES);
      // A bundle that has not what asks the journal has no use for the answers either.
      return typeof LOVAGE_JOURNAL === "undefined" || LOVAGE_JOURNAL
        ? entriesOf(days(scope, shelves, range, query, now), range)
        : nothing();
    },
    async close() {
      while (held.length > 0 && now() >= pausedUntil) await flush();
      clearTimeout(timer);
    },
  };
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────

async function* days(
  scope: string,
  shelves: readonly string[],
  { from, to }: Pick<JournalRange, "from" | "to">,
  query: TableRequests["query"],
  now: () => number,
): AsyncGenerator<Batch, void, undefined> {
  const newest = Math.min(to + BATCH_SPAN_MS, now() + AHEAD_MS);
  const range = { first: sortable(from), last: `${sortable(newest)}~` };
  for (let day = dayOf(newest); day >= dayOf(from); day--) {
    const shards = shelves.flatMap((shelf) =>
      Array.from({ length: SHARDS }, (_, shard) => shardOf(bucketOf(scope, shelf, day, shard), range, query)),
    );
    yield* mergeBatches(shards);
  }
}

async function* shardOf(
  bucket: string,
  range: Parameters<TableRequests["query"]>[1],
  query: TableRequests["query"],
): AsyncGenerator<Batch, void, undefined> {
  let after: Record<string, AttributeValue> | undefined;
  do {
    const { Items = [], LastEvaluatedKey } = await query(bucket, range, after);
    for (const item of Items) {
      const bytes = item["entries"]?.B;
      if (bytes === undefined) continue;
      const text = new TextDecoder().decode(await decompress(bytes, COMPRESSION));
      yield { last: Number(item["at"]?.S?.slice(0, TIME_DIGITS)), entries: readEntries(text) };
    }
    after = LastEvaluatedKey;
  } while (after !== undefined);
}

async function* nothing(): AsyncGenerator<never, void, undefined> {}

const bucketOf = (scope: string, shelf: string, day: number, shard: number): string =>
  `${scope}${shelf}#${day}#${shard}`;

const dayOf = (time: number): number => Math.floor(time / DAY_MS);

const TIME_DIGITS = 15;
/** Times as texts that are sorted as the times are. */
const sortable = (time: number): string => String(Math.max(0, Math.floor(time))).padStart(TIME_DIGITS, "0");

const insertOf = (table: string, item: Record<string, AttributeValue>): BatchStatementRequest => ({
  Statement: `INSERT INTO "${table}" VALUE {${Object.keys(item)
    .map((name) => `'${name}': ?`)
    .join(", ")}}`,
  Parameters: Object.values(item),
});

/** Why entries are missing, and what mends it. */
function refusal(table: string, code: string, message: string): OperationalError {
  const remedy = /ResourceNotFound/.test(code)
    ? "deploy it (TaskQueues makes it), or turn the journal off (journal: false)"
    : /AccessDenied/.test(code)
      ? "the worker needs dynamodb:PartiQLInsert and dynamodb:PutItem on it, which TaskQueues grants"
      : "entries are missing until it takes them again";
  return new OperationalError(`the journal's table ${table} took no entries (${code}: ${message}); ${remedy}`, {
    retryable: PASSING.test(code),
  });
}
