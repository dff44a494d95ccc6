/**
 * The result backend on Amazon DynamoDB: `dynamodb://[KEY:SECRET@][region or host[:port]]/table?ttl_seconds=86400`, with
 * the table and the rows of Celery's own.
 *
 * Each command is one conditional write. It is written for the row that the command ordinarily meets, and its condition
 * says just that; what it writes is what `decide` makes of such a row. When the condition fails, DynamoDB brings the row
 * that was met instead, `decide` says what to do with it, and a second write is pinned to all that was seen of it.
 */
import {
  type AttributeValue,
  BatchGetItemCommand,
  ConditionalCheckFailedException,
  CreateTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  type KeysAndAttributes,
  PutItemCommand,
  ResourceInUseException,
  UpdateItemCommand,
  UpdateTimeToLiveCommand,
} from "#aws/dynamodb";
import { clientConfig, inParallel, MAX_SOCKETS, numberOption, parseAwsUrl, textOption } from "../aws/connection.ts";
import { type AwsCall, translateError } from "../aws/errors.ts";
import { ImproperlyConfigured, LovageError, OperationalError, PayloadTooLarge } from "../errors.ts";
import type { Backend, BackendContext, Payload, Row } from "./backend.ts";
import {
  addedTo,
  type Command,
  decide,
  isExpired,
  type Join,
  type Joined,
  joinedOf,
  MEMBER_LENGTH,
  type Outcome,
} from "./record.ts";

/** The options of the URL's query and of `resultBackendTransportOptions`, in Celery's spelling. `read` and `write` count only when the table is created. */
const OPTIONS = ["region", "is_secure", "ttl_seconds", "keys", "read", "write"];

/** DynamoDB's limit of an item, names included, in bytes: 400 KB. */
const MAX_BYTES = 400 * 1024;
/** What the row of a join has beside its members, in bytes: key, counter, size, time and the names, generously. */
const JOIN_OVERHEAD = 1024;
/** Of one BatchGetItem. */
const MAX_KEYS = 100;
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

  async function apply(commands: readonly Command[]): Promise<readonly (Outcome | Error)[]> {
    const outcomes: (Outcome | Error)[] = [];
    const rows = [...Map.groupBy(commands.keys(), (place) => (commands[place] as Command).key).values()];
    await inParallel(rows, MAX_SOCKETS, async (places) => {
      for (const place of places) {
        outcomes[place] = await applyOne(withTtl(commands[place] as Command, ttlSeconds)).catch(
          (error: Error) => error,
        );
      }
    });
    return outcomes;
  }

  async function applyOne(command: Command): Promise<Outcome> {
    const { assumed, condition } = expectation(command);
    let decision = decide(assumed, command);
    let met: "written" | Met;
    if (command.type === "join") {
      const answer = await join(command, condition);
      if (isOutcome(answer)) return answer;
      met = answer;
    } else if (decision.write === undefined) met = await look(command.key);
    else met = await write(command.key, decision.write, condition, assumed);
    for (let round = 0; met !== "written"; round++) {
      const row = toRow(met.item);
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
    return decision.outcome;
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
    const size = sizeOf(id, row);
    if (size > MAX_BYTES) throw new PayloadTooLarge(`the row ${key}`, size, MAX_BYTES);

    const expression = createExpression();
    const ConditionExpression = condition(expression);
    return unlessMet(key, size, async () => {
      if (assumed === undefined) {
        const Item = { id: { S: id }, ...toItem(row) };
        await call("PutItem", (client) =>
          client.send(new PutItemCommand({ ...target, Item, ConditionExpression, ...expression.parts() })),
        );
      } else {
        const UpdateExpression = changes(expression, assumed, row);
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
      if (/item size/i.test(causeOf(error)))
        throw new PayloadTooLarge(`the row ${key}`, size, MAX_BYTES, { cause: error });
      throw error;
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
    close,
  };
}

/**
 * Makes the table as Celery would, with TTL on, and waits until it can be used; for tests and emulators. One that exists
 * is left alone, but for its TTL. Pays per request, unless the URL has Celery's `read` and `write` (units of capacity).
 */
export async function createTable(url: string): Promise<void> {
  const { table, ttlSeconds, capacity, call, close } = connect(url, {});
  try {
    await call("CreateTable", async (client) => {
      await client
        .send(
          new CreateTableCommand({
            TableName: table,
            KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
            AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
            ...(capacity === undefined ? { BillingMode: "PAY_PER_REQUEST" } : { ProvisionedThroughput: capacity }),
          }),
        )
        .catch((error: unknown) => {
          if (!(error instanceof ResourceInUseException)) throw error;
        });
    });
    const status = () => call("DescribeTable", (client) => client.send(new DescribeTableCommand({ TableName: table })));
    while ((await status()).Table?.TableStatus !== "ACTIVE") await new Promise((resolve) => setTimeout(resolve, 200));
    const TimeToLiveSpecification = { AttributeName: "ttl", Enabled: ttlSeconds === undefined || ttlSeconds > 0 };
    await call("UpdateTimeToLive", (client) =>
      client
        .send(new UpdateTimeToLiveCommand({ TableName: table, TimeToLiveSpecification }))
        .catch((error: unknown) => {
          if (!/already (en|dis)abled/i.test(String(error))) throw error;
        }),
    );
  } finally {
    await close();
  }
}

// ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────────

function connect(url: string, transportOptions: Readonly<Record<string, unknown>>) {
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
  let opened: DynamoDBClient | undefined;

  return {
    table,
    ttlSeconds,
    keyOf: (key: string) => spell(key),
    capacity:
      read === undefined && write === undefined
        ? undefined
        : { ReadCapacityUnits: read ?? 1, WriteCapacityUnits: write ?? 1 },
    async call<T>(operation: string, request: (client: DynamoDBClient) => Promise<T>): Promise<T> {
      // Celery's region for a host of one's own.
      const region = parsed.endpoint === undefined ? {} : { region: "us-east-1" };
      try {
        opened ??= new DynamoDBClient({ ...region, ...clientConfig(parsed, REQUEST_TIMEOUT_MS) });
        return await request(opened);
      } catch (error) {
        if (error instanceof ConditionalCheckFailedException) throw error;
        const asked: AwsCall = { action: `dynamodb:${operation}`, resource: `the table ${table}` };
        if (error instanceof Error && error.name === "ResourceNotFoundException") {
          throw new OperationalError(
            `${asked.action}: there is no table ${JSON.stringify(table)} in this region and account; deploy it (cdk deploy), or see whether the URL of resultBackend is right`,
            { retryable: false, cause: error },
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
      if (!isLong(text)) return item;
      const hash = await globalThis.crypto.subtle.digest("SHA-256", encoder.encode(text));
      return shorten(item, Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join(""));
    }),
  );
}

const causeOf = (error: unknown): string => (error instanceof Error ? String(error.cause) : "");

/**
 * `repr()` of the key's bytes in Python, by which its DynamoDB backend names every row: `b'celery-task-meta-…'`. No setting
 * of Celery's changes it.
 */
export function pythonBytes(key: string): string {
  const quote = key.includes("'") && !key.includes('"') ? '"' : "'";
  let text = "";
  for (const byte of new TextEncoder().encode(key)) {
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

// ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────────

type Item = Record<string, AttributeValue>;

interface Met {
  /** What the failed condition found; nothing where there is no row. */
  readonly item: Item | undefined;
  /** It was not the SDK's first try of this write. */
  readonly repeated: boolean;
}

const isOutcome = (answer: Outcome | Met): answer is Outcome => "type" in answer;

type Condition = (expression: Expression) => string;

/** Names and values that an expression refers to. Names are never written plainly: half of ours are reserved words. */
interface Expression {
  name(attribute: keyof Row | "id"): string;
  value(value: AttributeValue): string;
  parts(): {
    readonly ExpressionAttributeNames: Record<string, string>;
    readonly ExpressionAttributeValues?: Record<string, AttributeValue>;
  };
}

function createExpression(): Expression {
  const names: Record<string, string> = {};
  const values: Record<string, AttributeValue> = {};
  return {
    name(attribute) {
      names[`#${attribute}`] = attribute;
      return `#${attribute}`;
    },
    value(value) {
      const name = `:${Object.keys(values).length}`;
      values[name] = value;
      return name;
    },
    // DynamoDB refuses an empty map of values.
    parts: () => ({
      ExpressionAttributeNames: names,
      ...(Object.keys(values).length > 0 && { ExpressionAttributeValues: values }),
    }),
  };
}

const has =
  (attribute: keyof Row | "id"): Condition =>
  (e) =>
    `attribute_exists(${e.name(attribute)})`;
const hasNo =
  (attribute: keyof Row | "id"): Condition =>
  (e) =>
    `attribute_not_exists(${e.name(attribute)})`;
const compare =
  (operator: "=" | "<" | ">" | "<=") =>
  <A extends keyof Row>(attribute: A, value: NonNullable<Row[A]>): Condition =>
  (e) =>
    `${e.name(attribute)} ${operator} ${e.value(toAttribute(attribute, value))}`;
const is = compare("=");
const isBelow = compare("<");
const isAbove = compare(">");
const isAtMost = compare("<=");
/** A set, a list or a text that holds the value; a missing one holds nothing. */
const hasNot =
  (attribute: keyof Row, value: string): Condition =>
  (e) =>
    `NOT contains(${e.name(attribute)}, ${e.value({ S: value })})`;
const any =
  (...conditions: readonly Condition[]): Condition =>
  (e) =>
    conditions.map((condition) => condition(e)).join(" OR ");
/** Two conditions at least. AND goes before OR, and DynamoDB refuses parentheses that change nothing. */
const all =
  (...conditions: readonly Condition[]): Condition =>
  (e) =>
    conditions
      .map((condition) => condition(e))
      .map((text) => (text.includes(" OR ") ? `(${text})` : text))
      .join(" AND ");

/** There is no row, or it has expired and DynamoDB has not got to deleting it. */
const isAbsent = (now: number): Condition => any(hasNo("id"), isAtMost("ttl", now / 1000));
/** There is no row, or one that counts. */
const isNotExpired = (now: number): Condition => any(hasNo("ttl"), isAbove("ttl", now / 1000));
const isPresent = (now: number): Condition => all(has("id"), isNotExpired(now));

/** The very item that was seen, in every attribute that is ours. */
function pinnedTo(item: Item | undefined): Condition {
  if (item === undefined) return hasNo("id");
  return all(
    ...ATTRIBUTES.map((attribute): Condition => {
      const value = item[attribute];
      return value === undefined ? hasNo(attribute) : (e) => `${e.name(attribute)} = ${e.value(value)}`;
    }),
  );
}

// ── the ordinary case of each command ────────────────────────────────────────────────────────────────────────────────

interface Expectation {
  /** The row that is changed; `undefined`: a whole row is written, whatever there was. */
  readonly assumed: Row | undefined;
  /** Under it, what `decide` makes of the assumed row is what it would make of the actual one. */
  readonly condition: Condition;
}

function expectation(command: Command): Expectation {
  const { now } = command;
  // What an outcome tells, or a whole new row would have to keep, is only known when the row was seen.
  const isUnmarked = hasNo("revoked");
  switch (command.type) {
    case "claim": {
      const nothingToKeep = all(
        isUnmarked,
        hasNo("redrive"),
        ...(command.hidden ? [] : [hasNo("hidden")]),
        ...(command.ttl === undefined ? [hasNo("ttl")] : []),
      );
      const isBehind = all(isBelow("attempt", command.attempt), hasNo("done"));
      const isMineOrReleased = all(
        is("attempt", command.attempt),
        hasNo("settled"),
        is("runs", 1),
        any(is("owner", command.owner), hasNo("lease")),
      );
      return { assumed: undefined, condition: any(isAbsent(now), all(nothingToKeep, any(isBehind, isMineOrReleased))) };
    }
    case "final": {
      // What is stored already is hidden by moving it, and so has to be seen.
      if (command.unclaimed || (command.hidden && command.result === undefined))
        return { assumed: undefined, condition: isAbsent(now) };
      const isMine = all(
        is("owner", command.owner),
        is("attempt", command.attempt),
        hasNo("settled"),
        ...(command.hidden ? [] : [hasNo("hidden")]),
      );
      return {
        assumed: { ...ASSUMED, next: "", attempt: command.attempt, owner: command.owner, lease: 0, runs: 1 },
        condition: all(isPresent(now), isMine, isUnmarked),
      };
    }
    case "update":
    case "extend":
      return {
        assumed: { ...ASSUMED, owner: command.owner, lease: 0 },
        condition: all(
          isPresent(now),
          is("owner", command.owner),
          has("lease"),
          isUnmarked,
          ...(command.type === "update" ? [hasNo("hidden")] : []),
        ),
      };
    case "release":
      return {
        assumed: { ...ASSUMED, owner: command.owner, lease: 0 },
        condition: all(
          isPresent(now),
          is("owner", command.owner),
          hasNo("settled"),
          isUnmarked,
          ...(command.result === undefined ? [] : [hasNo("hidden")]),
        ),
      };
    case "forget":
    case "revoke":
    case "bury":
    case "store":
      return { assumed: undefined, condition: isAbsent(now) };
    case "join": {
      const { member, added, size } = command;
      const isNews = [
        ...(member === undefined ? [] : [hasNot("members", member)]),
        ...(added === undefined ? [] : [hasNot("added", added)]),
      ];
      // Who brings no member may still bring the size, or make the row.
      const isNew = isNews.length > 0 ? isNews : [hasNo(size === undefined ? "id" : "size")];
      return { assumed: undefined, condition: all(isNotExpired(now), ...isNew) };
    }
    default:
      return command satisfies never;
  }
}

/** Values that no command writes, so that what a decision sets is seen as a change. */
const ASSUMED: Row = { result: "", timestamp: Number.NEGATIVE_INFINITY };

function changes(expression: Expression, before: Row, after: Row): string {
  const changed = ATTRIBUTES.filter((attribute) => before[attribute] !== after[attribute]);
  const item = toItem(after);
  const set: string[] = [];
  const remove: string[] = [];
  for (const attribute of changed) {
    const value = item[attribute];
    if (value === undefined) remove.push(expression.name(attribute));
    else set.push(`${expression.name(attribute)} = ${expression.value(value)}`);
  }
  return [set.length > 0 ? `SET ${set.join(", ")}` : "", remove.length > 0 ? `REMOVE ${remove.join(", ")}` : ""]
    .join(" ")
    .trim();
}

/** What `decide` makes of a join, said so that it is true of every row that the condition lets through. */
function additions(e: Expression, { now, ttl, member, size, added }: Join): string {
  const first = (attribute: keyof Row, value: AttributeValue) =>
    `${e.name(attribute)} = if_not_exists(${e.name(attribute)}, ${e.value(value)})`;
  const set = [`${e.name("timestamp")} = ${e.value({ N: String(now / 1000) })}`];
  if (ttl !== undefined) set.push(`${e.name("ttl")} = ${e.value({ N: String(ttl) })}`);
  if (size !== undefined) set.push(first("size", { N: String(size) }));
  if (added !== undefined) {
    const before = `if_not_exists(${e.name("added")}, ${e.value({ L: [] })})`;
    set.push(`${e.name("added")} = list_append(${before}, ${e.value({ L: [{ S: added }] })})`);
  }
  if (member === undefined) return `SET ${[...set, first("chord_count", { N: "0" })].join(", ")}`;
  const one = `${e.name("chord_count")} ${e.value({ N: "1" })}`;
  return `SET ${set.join(", ")} ADD ${one}, ${e.name("members")} ${e.value({ SS: [member] })}`;
}

// ── rows and items ───────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Every attribute of a row, with its type in DynamoDB. `result`, `timestamp` and `ttl` are Celery's. A row that is hidden has
 * its result in `hidden`, and an empty one in its place: Python then reads that there is none. A join has its members as a
 * set and those added as a list, so that they can be added to unseen.
 */
const TYPES = {
  result: "B",
  timestamp: "N",
  ttl: "N",
  attempt: "N",
  owner: "S",
  lease: "N",
  runs: "N",
  settled: "BOOL",
  done: "BOOL",
  revoked: "S",
  next: "S",
  hidden: "B",
  buried: "BOOL",
  redrive: "N",
  chord_count: "N",
  members: "SS",
  size: "N",
  added: "L",
} as const satisfies Record<keyof Row, "B" | "N" | "S" | "BOOL" | "SS" | "L">;
const ATTRIBUTES = Object.keys(TYPES) as (keyof Row)[];

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (payload: Payload): Uint8Array => (typeof payload === "string" ? encoder.encode(payload) : payload);
const OPENING_BRACE = 0x7b;

function toAttribute(attribute: keyof Row, value: NonNullable<Row[keyof Row]>): AttributeValue {
  if (typeof value === "number") return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  return typeof value === "string" && TYPES[attribute] === "S" ? { S: value } : { B: bytesOf(value) };
}

function toItem(row: Row): Item {
  const item: Item = {};
  for (const attribute of ATTRIBUTES) {
    const value = row[attribute];
    if (value !== undefined) item[attribute] = toAttribute(attribute, value);
  }
  if (row.members !== undefined) item["members"] = { SS: hashesIn(row.members) };
  if (row.added !== undefined) item["added"] = { L: addedTo(row).map((id) => ({ S: id })) };
  if (row.hidden) {
    item["hidden"] = { B: bytesOf(row.result) };
    item["result"] = { B: new Uint8Array() };
  }
  return item;
}

const hashesIn = (members: string): string[] =>
  Array.from({ length: members.length / MEMBER_LENGTH }, (_, at) =>
    members.slice(at * MEMBER_LENGTH, (at + 1) * MEMBER_LENGTH),
  );

/** The row in an item. One without a result in bytes is none of ours, but for Celery's counter of a chord. */
function toRow(item: Item | undefined): Row | undefined {
  const result =
    item?.["hidden"]?.B ?? item?.["result"]?.B ?? (item?.["chord_count"] === undefined ? undefined : new Uint8Array());
  if (item === undefined || result === undefined) return undefined;
  const row: Record<string, unknown> = {
    result: result.length === 0 || result[0] === OPENING_BRACE ? decoder.decode(result) : result,
    timestamp: 0,
  };
  for (const attribute of ATTRIBUTES) {
    const value = item[attribute];
    if (attribute === "result" || value === undefined) continue;
    const type = TYPES[attribute];
    if (type === "N" && value.N !== undefined) row[attribute] = Number(value.N);
    if (type === "S" && value.S !== undefined) row[attribute] = value.S;
    if (type === "SS" && value.SS !== undefined) row[attribute] = value.SS.join("");
    if (type === "L" && value.L !== undefined) row[attribute] = JSON.stringify(value.L.map(({ S }) => S));
    if ((type === "BOOL" && value.BOOL) || (attribute === "hidden" && value.B !== undefined)) row[attribute] = true;
  }
  // Each attribute that a row has was read by its type in the table above.
  return row as unknown as Row;
}

function isSame(row: Row, written: Row | undefined): boolean {
  if (written === undefined) return false;
  return ATTRIBUTES.every((attribute) =>
    attribute === "result" ? isSamePayload(row.result, written.result) : row[attribute] === written[attribute],
  );
}

function isSamePayload(a: Payload, b: Payload): boolean {
  const x = bytesOf(a);
  const y = bytesOf(b);
  return x.length === y.length && x.every((byte, at) => byte === y[at]);
}

/** What DynamoDB counts, in bytes: names in UTF-8, texts and bytes as they are, a number by its digits (21 at most), 1 for a truth value. */
function sizeOf(id: string, row: Row): number {
  let size = "id".length + encoder.encode(id).length;
  for (const attribute of ATTRIBUTES) {
    const value = row[attribute];
    if (value === undefined) continue;
    size += attribute.length;
    if (typeof value === "number") size += 21;
    else if (typeof value === "boolean") size += 1;
    else size += bytesOf(value).length;
  }
  return size;
}
