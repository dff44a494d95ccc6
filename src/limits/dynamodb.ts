/**
 * Rows of limits in the table of the results. A decision is one conditional write: it is made for the row that was seen
 * last, and its condition says that this is the row still. When the condition fails, DynamoDB brings the row that is there,
 * and the decision is made again for that one.
 */
import { BatchGetItemCommand, ConditionalCheckFailedException, PutItemCommand } from "#aws/dynamodb";
import { systemClock } from "../clock.ts";
import { OperationalError } from "../errors.ts";
import { connect, tooLarge } from "../results/dynamodb.ts";
import type { Decide, LimitRow, LimitStore, LimitStoreContext } from "./store.ts";

/** How often a row that changes all the time is tried before it counts as one that is asked for too much. */
export const MAX_ROUNDS = 40;
/** The longest first wait between two of these, in milliseconds; twice as much each time, up to the second. */
const BACKOFF_MS = 10;
const MAX_BACKOFF_MS = 200;
/** So many races for a row are lost by chance. After more the longest wait is this, in milliseconds, and falls by the factor each time. */
const CHANCE_ROUNDS = 3;
const CROWD_BACKOFF_MS = 250;
const CROWD_BACKOFF_FALL = 0.8;
/** So many rows are remembered as they were seen last. */
const MAX_SEEN = 1000;
/** DynamoDB deletes what has expired within days; a row is kept so long beyond its end, in seconds, lest clocks differ. */
const KEPT_S = 60;

interface Seen {
  readonly state: string;
  readonly expires: number;
}

const backOff = (round: number): number => Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (round - 1));

/**
 * How long who was too late waits before it tries again, in milliseconds. Each write that fails says that another has succeeded, so
 * the row takes as much as it can whoever comes first. Where many come, who has lost more often waits less: else those who have just
 * come win, and a few wait for seconds.
 */
export const raceBackOff = (round: number, random: () => number): number =>
  random() *
  (round <= CHANCE_ROUNDS ? backOff(round) : CROWD_BACKOFF_MS * CROWD_BACKOFF_FALL ** (round - CHANCE_ROUNDS - 1));

export function open(url: string, { now, random, options }: LimitStoreContext): LimitStore {
  const { table, keyOf, call, close } = connect(url, options);
  /** As the rows were when they were seen last, `undefined` for none. In the order of their use. */
  const seen = new Map<string, Seen | undefined>();
  /** Decisions that wait for a row. Those that come while a write is under way share the next one. */
  const lines = new Map<string, Waiting[]>();

  function remember(key: string, row: Seen | undefined): void {
    seen.delete(key);
    seen.set(key, row);
    if (seen.size > MAX_SEEN) for (const oldest of seen.keys()) return void seen.delete(oldest);
  }

  async function decide<T>(key: string, decision: Decide<T>): Promise<T> {
    let isSure = false;
    for (let round = 0; ; round++) {
      const row = seen.get(key);
      const { write, answer } = decision(row === undefined || row.expires <= now() ? undefined : row.state);
      if (write === undefined) {
        if (isSure) return answer;
        // What changes nothing is to be so of the row as it is.
        remember(key, await look(key));
        isSure = true;
        continue;
      }
      const next = write ?? { state: "", expires: 0 };
      const met = await put(key, row, next);
      if (met === "written") {
        remember(key, next);
        return answer;
      }
      remember(key, met);
      isSure = true;
      if (round === MAX_ROUNDS)
        throw new OperationalError(
          `the row of the limit ${key} changed ${MAX_ROUNDS} times while it was being written: too many workers change it at a time, so give the limit a key, which makes a row of its own for each value`,
          { retryable: true },
        );
      if (round > 0) await systemClock.sleep(raceBackOff(round, random));
    }
  }

  /** Writes a row if the one that is there is the one that was seen; else gives the one that is there. */
  async function put(key: string, row: Seen | undefined, next: LimitRow): Promise<"written" | Seen | undefined> {
    const ttl = Math.ceil(next.expires / 1000) + KEPT_S;
    try {
      await call("PutItem", (client) =>
        client.send(
          new PutItemCommand({
            TableName: table,
            Item: {
              id: { S: keyOf(key) },
              limit: { S: next.state },
              until: { N: String(next.expires) },
              ttl: { N: String(ttl) },
            },
            ConditionExpression: row === undefined ? "attribute_not_exists(#id)" : "#limit = :limit",
            ExpressionAttributeNames: row === undefined ? { "#id": "id" } : { "#limit": "limit" },
            ...(row === undefined ? {} : { ExpressionAttributeValues: { ":limit": { S: row.state } } }),
            ReturnValuesOnConditionCheckFailure: "ALL_OLD",
          }),
        ),
      );
      return "written";
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException))
        throw tooLarge(error, `the row of the limit ${key}`, () => new TextEncoder().encode(next.state).length);
      const there = toSeen(error.Item);
      // A reply was lost, the SDK tried again, and met what it had written.
      const isOurs = (error.$metadata.attempts ?? 1) > 1 && there?.state === next.state;
      return isOurs ? "written" : there;
    }
  }

  async function look(key: string): Promise<Seen | undefined> {
    const Keys = [{ id: { S: keyOf(key) } }];
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const { Responses, UnprocessedKeys = {} } = await call("BatchGetItem", (client) =>
        client.send(new BatchGetItemCommand({ RequestItems: { [table]: { Keys, ConsistentRead: true } } })),
      );
      // A row that DynamoDB has left out may be there all the same.
      if (Object.keys(UnprocessedKeys).length === 0) return toSeen(Responses?.[table]?.[0]);
      await systemClock.sleep(random() * backOff(round));
    }
    throw new OperationalError(
      `dynamodb:BatchGetItem on the table ${table}: the row of the limit ${key} was left out, ${MAX_ROUNDS} times in a row`,
      { retryable: true },
    );
  }

  async function work(key: string, line: Waiting[]): Promise<void> {
    // Those of the same turn of the event loop, which are a batch's, go together.
    await undefined;
    await undefined;
    while (line.length > 0) {
      const batch = line.splice(0);
      try {
        const answers = await decide(key, together(batch));
        for (const [at, { resolve }] of batch.entries()) resolve(answers[at]);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    lines.delete(key);
  }

  return {
    decide<T>(key: string, decision: Decide<T>) {
      return new Promise<T>((resolve, reject) => {
        // An answer goes to who asked for it.
        const waiting: Waiting = { decision, resolve: resolve as (answer: unknown) => void, reject };
        const line = lines.get(key);
        if (line !== undefined) return void line.push(waiting);
        const opened = [waiting];
        lines.set(key, opened);
        void work(key, opened);
      });
    },
    close,
  };
}

interface Waiting {
  readonly decision: Decide<unknown>;
  resolve(answer: unknown): void;
  reject(error: unknown): void;
}

/** Several decisions on one row, one after the other, as one. */
const together =
  (batch: readonly Waiting[]): Decide<readonly unknown[]> =>
  (state) => {
    let there = state;
    let last: LimitRow | null | undefined;
    const answer = batch.map(({ decision }) => {
      const { write, answer } = decision(there);
      if (write !== undefined) {
        last = write;
        there = write?.state;
      }
      return answer;
    });
    return { answer, ...(last !== undefined && { write: last }) };
  };

type Item = Readonly<Record<string, { readonly S?: string | undefined; readonly N?: string | undefined }>>;

const toSeen = (item: object | undefined): Seen | undefined => {
  const { limit, until } = (item ?? {}) as Item;
  return limit?.S === undefined ? undefined : { state: limit.S, expires: Number(until?.N) };
};
