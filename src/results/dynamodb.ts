/**
 * The result backend on Amazon DynamoDB: `dynamodb://[KEY:SECRET@][region or host[:port]]/table?ttl_seconds=86400`, with
 * the table and the rows of Celery's own.
 *
 * Each command is one conditional write. It is written for the row that the command ordinarily meets, and its condition
 * says just that; what it writes is what `decide` makes of such a row. When the condition fails, DynamoDB brings the row
 * that was met instead, `decide` says what to do with it, and a second write is pinned to all that was seen of it.
 *
 * Claims and finals of one turn of the event loop share a request, as statements of PartiQL, each with its own condition.
 * One that does not succeed is written again by itself, in the way above: no command minds being done twice. What the journal
 * is told of outcomes goes along with them, see `journal/dynamodb.ts`.
 */
import {
  BatchExecuteStatementCommand,
  BatchGetItemCommand,
  ConditionalCheckFailedException,
  CreateTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  type KeysAndAttributes,
  type KeyType,
  PutItemCommand,
  QueryCommand,
  ResourceInUseException,
  UpdateItemCommand,
  UpdateTimeToLiveCommand,
} from "#aws/dynamodb";
import {
  clientConfig,
  createLine,
  inParallel,
  MAX_SOCKETS,
  numberOption,
  parseAwsUrl,
  textOption,
} from "../aws/connection.ts";
import { type AwsCall, translateError } from "../aws/errors.ts";
import { ImproperlyConfigured, LovageError, OperationalError, PayloadTooLarge } from "../errors.ts";
import { hashOf } from "../hash.ts";
import { MOST_STATEMENTS, openTableJournal, type Ride, type TableRequests } from "../journal/dynamodb.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { gatherTurn } from "../turn.ts";
import type { Backend, BackendContext, Row } from "./backend.ts";
import {
  additions,
  changes,
  type Condition,
  createExpression,
  expectation,
  pinnedTo,
  type Statement,
  statementOf,
} from "./dynamodb-expression.ts";
import { isSame, type Item, sizeOf, toItem, toRow } from "./dynamodb-item.ts";
import {
  type Command,
  decide,
  type Decision,
  isExpired,
  isNews,
  type Join,
  type Joined,
  joinedOf,
  MEMBER_LENGTH,
  type Outcome,
} from "./record.ts";

/** The options of the URL's query and of `resultBackendTransportOptions`, in Celery's spelling. `read` and `write` count only when the table is created. */
const OPTIONS = ["region", "is_secure", "ttl_seconds", "keys", "read", "write", "request_handler"];

/** DynamoDB's limit of an item, names included, in bytes: 400 KB. */
const MAX_BYTES = 400 * 1024;
/** What the row of a join has beside its members, in bytes: key, counter, size, time and the names, generously. */
const JOIN_OVERHEAD = 1024;
/** Of one BatchGetItem. */
const MAX_KEYS = 100;
/** Of one BatchExecuteStatement. */
const MAX_STATEMENTS = 25;
/** Of all rows of one BatchExecuteStatement, in bytes; AWS names no limit of such a request. Beyond it a further request costs little. */
const MAX_SHARED_BYTES = 512 * 1024;
/** What DynamoDB says of a key that is not the table's: of another name or type, or a part of it. */
const OTHER_KEY = /key element|the keys?\b|for key\b|required keys/;
/** Errors that tell of no row: the policy, or an emulator, has no PartiQL, or not ours. */
const NO_PARTIQL = /^(AccessDenied|UnknownOperation|NotImplemented|Validation)/;
/** For one try of a request, in milliseconds. */
const REQUEST_TIMEOUT_MS = 5000;
/** How often a command meets a row that changed again before it gives up. Each means that someone else got on. */
const MAX_ROUNDS = 20;
/** How often keys are asked for that DynamoDB did not get to. */
const READ_ATTEMPTS = 10;
/** The longest first wait in either case, in milliseconds; twice as much each time, up to {@link MAX_BACKOFF_MS}. */
const BACKOFF_MS = 25;
const MAX_BACKOFF_MS = 1000;

/** Opens the backend. No connection is made and no credentials are read before the first call. */
export function open(url: string, context: BackendContext): Backend {
  const { table, ttlSeconds, keyOf, call, close } = connect(url, context.options);
  const target = { TableName: table, ReturnValuesOnConditionCheckFailure: "ALL_OLD" } as const;
  const journal =
    context.journal && openTableJournal(context.journal, journalRequests(context.journal.table, call), context);

  /** Until DynamoDB says that it does not take statements. */
  let isSharing = true;
  const gather = gatherTurn<Waiting>((turn) => void inParallel(planOf(turn), MAX_SOCKETS, (run) => run()));

  async function apply(commands: readonly Command[]): Promise<readonly (Outcome | Error)[]> {
    return Promise.all(
      commands.map(
        (command) =>
          new Promise<Outcome | Error>((settle) => gather({ command: withTtl(command, ttlSeconds), settle })),
      ),
    );
  }

  /** The requests of a turn, each of which settles what it carries. What is for one row is done one after the other. */
  function planOf(turn: readonly Waiting[]): readonly (() => Promise<void>)[] {
    const rows = new Map<string, Waiting[]>();
    for (const waiting of turn) {
      const sameRow = rows.get(waiting.command.key);
      if (sameRow === undefined) rows.set(waiting.command.key, [waiting]);
      else sameRow.push(waiting);
    }
    const plan: (() => Promise<void>)[] = [];
    let batch: Shared[] = [];
    let size = 0;
    const close = () => {
      const [first, ...more] = batch;
      const closed = batch;
      if (first !== undefined)
        plan.push(() => (more.length === 0 && !isRideDue(closed) ? settleOne(first) : settleTogether(closed)));
      batch = [];
      size = 0;
    };
    for (const sameRow of rows.values()) {
      const [waiting] = sameRow;
      const isOneOfMany = rows.size > 1 || (waiting !== undefined && isRideDue([waiting]));
      const statement =
        waiting !== undefined && sameRow.length === 1 && isOneOfMany && isSharing
          ? statementOf(table, keyOf(waiting.command.key), waiting.command)
          : undefined;
      if (waiting === undefined || statement === undefined || statement.size > MAX_BYTES) {
        plan.push(async () => {
          for (const one of sameRow) await settleOne(one);
        });
        continue;
      }
      // What the journal is told goes along.
      const room = waiting.command.entry === undefined ? MAX_STATEMENTS : MAX_STATEMENTS - MOST_STATEMENTS;
      if (batch.length >= room || size + statement.size > MAX_SHARED_BYTES) close();
      batch.push({ ...waiting, statement });
      size += statement.size;
    }
    close();
    return plan;
  }

  /** Whether the journal has something to be written along with these. */
  const isRideDue = (waiting: readonly Waiting[]) =>
    isSharing &&
    journal?.isDue(
      newsOf(waiting),
      waiting.map(({ command }) => command.key),
    ) === true;

  const settleOne = async (waiting: Waiting) => tell([await writeAlone(waiting)], false);

  /**
   * What a command comes to by itself. `repeated`: it may have been written by an earlier try of this very call, whose reply
   * was lost.
   */
  async function writeAlone(waiting: Waiting, repeated = false): Promise<Answered> {
    const { command } = waiting;
    const decision = await applyOne(command).catch((error: Error) => error);
    if (decision instanceof Error) return { waiting, answer: decision, isNews: false };
    const isOurs = decision.outcome.type === "written" && (repeated || decision.repeated);
    return { waiting, answer: decision.outcome, isNews: isOurs || isNews(command, decision) };
  }

  /** Tells who waits, and before that the journal: a function is frozen as soon as it has answered. */
  async function tell(answered: readonly Answered[], isRiding: boolean): Promise<void> {
    for (const { waiting, answer } of answered) {
      const { key, type } = waiting.command;
      if (!(answer instanceof Error) && answer.type === "claimed") journal?.begun(key);
      if (type === "final" || type === "release") journal?.ended(key);
    }
    if (!isRiding) await journal?.hold(newsOf(only(answered, true)));
    for (const { waiting, answer } of answered) waiting.settle(answer);
  }

  /** Statements fail each by itself: whatever the reason, what is to be said of it is found by the write by itself. */
  async function settleTogether(batch: readonly Shared[]): Promise<void> {
    const asked = isRideDue(batch) ? await journal?.ride(newsOf(batch)) : undefined;
    const { done, repeated, isRidden = true } = await ask(batch, asked);
    const ride = isRidden ? asked : undefined;
    const answered: Answered[] = [];
    const open: Waiting[] = [];
    for (const [at, waiting] of batch.entries()) {
      const answer = done[at];
      if (answer === undefined) open.push(waiting);
      else answered.push({ waiting, answer, isNews: !(answer instanceof Error) });
    }
    const telling = tell(answered, ride !== undefined);
    if (ride === undefined) {
      await inParallel(open, MAX_SOCKETS, async (waiting) => tell([await writeAlone(waiting, repeated)], false));
    } else {
      const late: Answered[] = [];
      await inParallel(open, MAX_SOCKETS, async (waiting) => void late.push(await writeAlone(waiting, repeated)));
      await ride.takeBack(newsOf(only([...answered, ...late], false)));
      await tell(late, true);
    }
    await telling;
  }

  /** One request for all of them. */
  async function ask(batch: readonly Shared[], ride: Ride | undefined): Promise<Answers> {
    const Statements = [...batch.map(({ statement }) => statement.request), ...(ride?.statements ?? [])];
    try {
      const { Responses = [], $metadata } = await call("BatchExecuteStatement", (client) =>
        client.send(new BatchExecuteStatementCommand({ Statements })),
      );
      ride?.arrived(Responses.slice(batch.length).map(({ Error: error }) => error));
      const done = batch.map(({ statement }, at) => {
        const { Error: error } = Responses[at] ?? { Error: {} };
        if (error === undefined) return statement.outcome;
        if (NO_PARTIQL.test(error.Code ?? "")) isSharing = false;
        return undefined;
      });
      return { done, repeated: ($metadata.attempts ?? 1) > 1 };
    } catch (cause) {
      // `call` throws nothing else.
      const error = cause as LovageError;
      const name = error.cause instanceof Error ? error.cause.name : "";
      if (ride !== undefined && (NO_PARTIQL.test(name) || name === "ResourceNotFoundException")) {
        // It may be the journal's table that is missing, or may not be written: no outcome is to suffer from that.
        const answers = await ask(batch, undefined);
        // Without any PartiQL the journal is as it should be, and is written as the rows are.
        ride.missed(error, !isSharing);
        return { ...answers, isRidden: isSharing };
      }
      ride?.missed(error, true);
      if (!NO_PARTIQL.test(name)) return { done: batch.map(() => error), repeated: false };
      isSharing = false;
      return { done: [], repeated: false };
    }
  }

  async function applyOne(command: Command): Promise<Decision & { readonly repeated: boolean }> {
    const { assumed, condition } = expectation(command);
    let decision = decide(assumed, command);
    let met: "written" | Met;
    let repeated = false;
    if (command.type === "join") {
      const answer = await join(command, condition);
      if (isOutcome(answer)) return { write: undefined, outcome: answer, repeated };
      met = answer;
    } else if (decision.write === undefined) met = await look(command.key);
    else met = await write(command.key, decision.write, condition, assumed);
    for (let round = 0; met !== "written"; round++) {
      const row = toRow(met.item);
      repeated ||= met.repeated;
      // A reply was lost, the SDK tried again, and met what it had written.
      if (met.repeated && row !== undefined && isSame(row, decision.write)) break;
      decision = decide(row, command);
      if (decision.write === undefined) break;
      if (round === MAX_ROUNDS) {
        throw new OperationalError(`the row ${command.key} changed ${MAX_ROUNDS} times while it was being written`, {
          retryable: true,
        });
      }
      if (round > 0) await backOff(round);
      met = await write(command.key, decision.write, pinnedTo(met.item), undefined);
    }
    return { ...decision, repeated };
  }

  /** For the one command that ordinarily writes nothing: an `Ignore` of a task that does not claim. */
  async function look(key: string): Promise<Met> {
    return { item: (await readGroup([keyOf(key)], true))[0], repeated: false };
  }

  /**
   * Writes a row if the condition holds, else returns what is there. Where another row is assumed to be there, what
   * differs from it is written, and otherwise the whole.
   */
  async function write(
    key: string,
    row: Row,
    condition: Condition,
    assumed: Row | undefined,
  ): Promise<"written" | Met> {
    const id = keyOf(key);
    const item = toItem(row);
    const size = sizeOf(id, item);
    if (size > MAX_BYTES) throw new PayloadTooLarge(`the row ${key}`, size, MAX_BYTES);

    const expression = createExpression();
    const ConditionExpression = condition(expression);
    return unlessMet(key, size, async () => {
      if (assumed === undefined) {
        const Item = { id: { S: id }, ...item };
        await call("PutItem", (client) =>
          client.send(new PutItemCommand({ ...target, Item, ConditionExpression, ...expression.parts() })),
        );
      } else {
        const UpdateExpression = changes(expression, assumed, row, item);
        await call("UpdateItem", (client) =>
          client.send(
            new UpdateItemCommand({
              ...target,
              Key: { id: { S: id } },
              UpdateExpression,
              ConditionExpression,
              ...expression.parts(),
            }),
          ),
        );
      }
      return "written" as const;
    });
  }

  /** Adds to the row of a join if the condition holds, and tells where it stands; else returns what is there. */
  async function join(command: Join, condition: Condition): Promise<Joined | Met> {
    // Said before the first member is sent, not after the last that fits.
    const size = (command.size ?? 0) * MEMBER_LENGTH;
    if (size > MAX_BYTES - JOIN_OVERHEAD) {
      throw new PayloadTooLarge(`the row ${command.key} of ${command.size} members`, size, MAX_BYTES - JOIN_OVERHEAD);
    }
    const expression = createExpression();
    const ConditionExpression = condition(expression);
    const UpdateExpression = additions(expression, command);
    return unlessMet(command.key, MAX_BYTES + 1, async () => {
      const { Attributes } = await call("UpdateItem", (client) =>
        client.send(
          new UpdateItemCommand({
            ...target,
            Key: { id: { S: keyOf(command.key) } },
            UpdateExpression,
            ConditionExpression,
            ReturnValues: "ALL_NEW",
            ...expression.parts(),
          }),
        ),
      );
      const row = toRow(Attributes);
      if (row === undefined) throw new LovageError(`an update of the row ${command.key} was answered without it`);
      return joinedOf(row);
    });
  }

  /** A write's answer, or what its condition met. `size`: of the row in bytes, for who is told that it is too large. */
  async function unlessMet<T>(key: string, size: number, write: () => Promise<T>): Promise<T | Met> {
    try {
      return await write();
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) {
        return { item: error.Item, repeated: (error.$metadata.attempts ?? 1) > 1 };
      }
      throw tooLarge(error, `the row ${key}`, () => size);
    }
  }

  async function read(keys: readonly string[], options: { readonly consistent?: boolean } = {}) {
    const ids = [...new Set(keys.map(keyOf))];
    const rows = new Map<string, Row | undefined>();
    const groups = Array.from({ length: Math.ceil(ids.length / MAX_KEYS) }, (_, at) =>
      ids.slice(at * MAX_KEYS, (at + 1) * MAX_KEYS),
    );
    let failure: unknown;
    await inParallel(groups, MAX_SOCKETS, async (group) => {
      try {
        for (const item of await readGroup(group, options.consistent ?? false))
          rows.set(item["id"]?.S ?? "", toRow(item));
      } catch (error) {
        failure = error;
      }
    });
    if (failure !== undefined) throw failure;
    const now = context.now();
    return keys.map((key) => {
      const row = rows.get(keyOf(key));
      return row === undefined || isExpired(row, now) ? undefined : row;
    });
  }

  /** DynamoDB answers with at most 16 MB, and less when it is throttled, and names the keys it did not get to. */
  async function readGroup(ids: readonly string[], ConsistentRead: boolean): Promise<readonly Item[]> {
    const items: Item[] = [];
    let rest: Record<string, KeysAndAttributes> = {
      [table]: { Keys: ids.map((id) => ({ id: { S: id } })), ConsistentRead },
    };
    for (let attempt = 1; ; attempt++) {
      const answer = await call("BatchGetItem", (client) =>
        client.send(new BatchGetItemCommand({ RequestItems: rest })),
      );
      const found = answer.Responses?.[table] ?? [];
      items.push(...found);
      rest = answer.UnprocessedKeys ?? {};
      if (Object.keys(rest).length === 0) return items;
      if (found.length > 0) attempt = 1;
      if (attempt === READ_ATTEMPTS) {
        throw new OperationalError(
          `dynamodb:BatchGetItem on the table ${table}: throttled, ${READ_ATTEMPTS} times in a row`,
          { retryable: true },
        );
      }
      await backOff(attempt);
    }
  }

  function backOff(round: number): Promise<void> {
    const ms = context.random() * Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (round - 1));
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  const shortKey = (key: string, hash: string) => `${key.slice(0, 100).toWellFormed()}~${hash}`;
  return {
    maxBytes: MAX_BYTES,
    apply: async (commands) =>
      apply(
        await shortened(
          commands,
          ({ key }) => keyOf(key),
          (command, hash) => ({ ...command, key: shortKey(command.key, hash) }),
        ),
      ),
    read: async (keys, options) => read(await shortened(keys, keyOf, shortKey), options),
    journal,
    async close() {
      await journal?.close();
      await close();
    },
  };
}

const only = (answered: readonly Answered[], isNews: boolean): readonly Waiting[] =>
  answered.flatMap((one) => (one.isNews === isNews ? one.waiting : []));

/** What the journal is told of these, where they come about. */
const newsOf = (waiting: readonly Waiting[]): readonly JournalEntry[] =>
  waiting.flatMap(({ command }) => command.entry ?? []);

/** What the journal asks by itself: reads, and what does not go along with outcomes. */
const journalRequests = (TableName: string, call: ReturnType<typeof connect>["call"]): TableRequests => ({
  put: (Item) => call("PutItem", (client) => client.send(new PutItemCommand({ TableName, Item })), TableName),
  query: (bucket, { first, last }, ExclusiveStartKey) =>
    call(
      "Query",
      (client) =>
        client.send(
          new QueryCommand({
            TableName,
            KeyConditionExpression: "#bucket = :bucket AND #at BETWEEN :first AND :last",
            ExpressionAttributeNames: { "#bucket": "bucket", "#at": "at" },
            ExpressionAttributeValues: { ":bucket": { S: bucket }, ":first": { S: first }, ":last": { S: last } },
            ScanIndexForward: false,
            ExclusiveStartKey,
          }),
        ),
      TableName,
    ),
});

/** A command, and who waits for its outcome. */
interface Waiting {
  readonly command: Command;
  readonly settle: (outcome: Outcome | Error) => void;
}

interface Shared extends Waiting {
  readonly statement: Statement;
}

interface Answered {
  readonly waiting: Waiting;
  readonly answer: Outcome | Error;
  /** The journal is told of it. */
  readonly isNews: boolean;
}

/** What became of each of several writes in one request. */
interface Answers {
  /** An outcome, an error for all, or nothing for what has to be written by itself. */
  readonly done: readonly (Outcome | LovageError | undefined)[];
  /** It was not the SDK's first try. */
  readonly repeated: boolean;
  /** Whether the journal's entries have been dealt with. Default: true. */
  readonly isRidden?: boolean;
}

interface Met {
  /** What the failed condition found; nothing where there is no row. */
  readonly item: Item | undefined;
  /** It was not the SDK's first try of this write. */
  readonly repeated: boolean;
}

const isOutcome = (answer: Outcome | Met): answer is Outcome => "type" in answer;

/**
 * Makes the table as Celery would, with TTL on, and waits until it can be used; for tests and emulators. One that exists
 * is left alone, but for its TTL. Pays per request, unless the URL has Celery's `read` and `write` (units of capacity).
 */
export async function createTable(url: string): Promise<void> {
  await makeTable(url, undefined, [["id", "HASH"]]);
}

/** Makes the journal's table of this name beside the result table of a URL, in the same way. */
export const createJournalTable = (url: string, name: string): Promise<void> =>
  makeTable(url, name, [
    ["bucket", "HASH"],
    ["at", "RANGE"],
  ]);

async function makeTable(
  url: string,
  name: string | undefined,
  key: readonly (readonly [name: string, type: KeyType])[],
): Promise<void> {
  const { table, ttlSeconds, capacity, call, close } = connect(url, {});
  const TableName = name ?? table;
  try {
    await call("CreateTable", async (client) => {
      await client
        .send(
          new CreateTableCommand({
            TableName,
            KeySchema: key.map(([AttributeName, KeyType]) => ({ AttributeName, KeyType })),
            AttributeDefinitions: key.map(([AttributeName]) => ({ AttributeName, AttributeType: "S" })),
            ...(capacity === undefined ? { BillingMode: "PAY_PER_REQUEST" } : { ProvisionedThroughput: capacity }),
          }),
        )
        .catch((error: unknown) => {
          if (!(error instanceof ResourceInUseException)) throw error;
        });
    });
    const status = () => call("DescribeTable", (client) => client.send(new DescribeTableCommand({ TableName })));
    while ((await status()).Table?.TableStatus !== "ACTIVE") await new Promise((resolve) => setTimeout(resolve, 200));
    const Enabled = ttlSeconds === undefined || ttlSeconds > 0;
    const TimeToLiveSpecification = { AttributeName: "ttl", Enabled };
    await call("UpdateTimeToLive", (client) =>
      client.send(new UpdateTimeToLiveCommand({ TableName, TimeToLiveSpecification })).catch((error: unknown) => {
        if (!/already (en|dis)abled/i.test(String(error))) throw error;
      }),
    );
  } finally {
    await close();
  }
}

// ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────────

export function connect(url: string, transportOptions: Readonly<Record<string, unknown>>) {
  const setting = "resultBackend";
  const parsed = parseAwsUrl(setting, url, transportOptions, OPTIONS);
  const table = parsed.path || "celery";
  if (!/^[\w.-]{3,255}$/.test(table)) {
    throw new ImproperlyConfigured(
      setting,
      `a table's name has 3 to 255 letters, digits, "_", "-" and ".", not ${JSON.stringify(table)}`,
    );
  }
  const ttlSeconds = numberOption(setting, parsed.options, "ttl_seconds");
  if (ttlSeconds === 0)
    throw new ImproperlyConfigured(setting, "ttl_seconds must not be 0: a row that expires at once guards nothing");
  const keys = textOption(setting, parsed.options, "keys");
  if (keys !== undefined && keys !== "plain" && keys !== "python") {
    throw new ImproperlyConfigured(
      setting,
      `keys must be "plain" (the default) or "python", not ${JSON.stringify(keys)}`,
    );
  }
  const spell = keys === "python" ? pythonBytes : (key: string) => key;
  const read = numberOption(setting, parsed.options, "read");
  const write = numberOption(setting, parsed.options, "write");
  const inLine = createLine();
  let opened: DynamoDBClient | undefined;

  return {
    table,
    ttlSeconds,
    keyOf: (key: string) => spell(key),
    capacity:
      read === undefined && write === undefined
        ? undefined
        : { ReadCapacityUnits: read ?? 1, WriteCapacityUnits: write ?? 1 },
    /** @param named The table that errors name. */
    async call<T>(operation: string, request: (client: DynamoDBClient) => Promise<T>, named = table): Promise<T> {
      // Celery's region for a host of one's own.
      const region = parsed.endpoint === undefined ? {} : { region: "us-east-1" };
      try {
        opened ??= new DynamoDBClient({ ...region, ...clientConfig(parsed, REQUEST_TIMEOUT_MS) });
        const client = opened;
        return await inLine(client, () => request(client));
      } catch (error) {
        if (error instanceof ConditionalCheckFailedException) throw error;
        const asked: AwsCall = { action: `dynamodb:${operation}`, resource: `the table ${named}` };
        const { name, message } = error as Error;
        if (name === "ResourceNotFoundException") {
          throw new OperationalError(
            `${asked.action}: there is no table ${JSON.stringify(named)} in ${await opened?.config.region()} and this account, or it is still being made; deploy it, or see whether the URL of resultBackend${named === table ? "" : " and queue_name_prefix"} is right`,
            { retryable: true, cause: error },
          );
        }
        if (name === "ValidationException" && OTHER_KEY.test(message)) {
          throw new OperationalError(
            `${asked.action}: the table ${JSON.stringify(named)} has another key (${message}); it must be ${named === table ? 'the text "id" alone' : 'the texts "bucket" and "at"'}; make it as TaskQueues does`,
            { retryable: true, cause: error },
          );
        }
        throw translateError(error, asked);
      }
    },
    async close(): Promise<void> {
      opened?.destroy();
    },
  };
}

/** DynamoDB's limit of a key, in bytes. */
const MAX_KEY_BYTES = 2048;

/** Replaces keys that are longer than DynamoDB takes by their beginning and their hash. */
async function shortened<T>(
  items: readonly T[],
  spelled: (item: T) => string,
  shorten: (item: T, suffix: string) => T,
): Promise<readonly T[]> {
  const isLong = (text: string) => text.length * 3 > MAX_KEY_BYTES && encoder.encode(text).length > MAX_KEY_BYTES;
  if (!items.some((item) => isLong(spelled(item)))) return items;
  return Promise.all(
    items.map(async (item) => {
      const text = spelled(item);
      return isLong(text) ? shorten(item, await hashOf(text)) : item;
    }),
  );
}

const encoder = new TextEncoder();

/** What DynamoDB says of a row that is larger than it takes, as `PayloadTooLarge`; any other error as it is. `size`: of the row, in bytes. */
export const tooLarge = (error: unknown, what: string, size: () => number): unknown =>
  error instanceof Error && /item size/i.test(String(error.cause))
    ? new PayloadTooLarge(what, size(), MAX_BYTES, { cause: error })
    : error;

/**
 * `repr()` of the key's bytes in Python, by which its DynamoDB backend names every row: `b'celery-task-meta-…'`. No setting
 * of Celery's changes it.
 */
export function pythonBytes(key: string): string {
  const quote = key.includes("'") && !key.includes('"') ? '"' : "'";
  let text = "";
  for (const byte of encoder.encode(key)) {
    const sign = String.fromCharCode(byte);
    if (sign === "\\" || sign === quote) text += `\\${sign}`;
    else if (sign === "\t") text += "\\t";
    else if (sign === "\n") text += "\\n";
    else if (sign === "\r") text += "\\r";
    else if (byte < 0x20 || byte > 0x7e) text += `\\x${byte.toString(16).padStart(2, "0")}`;
    else text += sign;
  }
  return `b${quote}${text}${quote}`;
}

/** `ttl_seconds` is the least that a row is kept for; negative: rows are kept for ever. */
function withTtl(command: Command, seconds: number | undefined): Command {
  if (seconds === undefined) return command;
  if (seconds < 0) return { ...command, ttl: undefined };
  return { ...command, ttl: Math.max(command.ttl ?? 0, Math.ceil(command.now / 1000) + seconds) };
}
