/** What AWS refuses and its models do not say: sizes and spellings that stand only on its pages. */
import { faultOf, type Kind } from "./expressions.ts";

interface Limit {
  readonly operation: string;
  /** In AWS's words, as near as may be. */
  readonly rule: string;
  /** Where AWS says so. */
  readonly page: string;
  /** Whether a request breaks it. */
  broken(input: Input): boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: the model has said what it is before a limit looks at it
type Input = any;

const SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/";
const DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/";
const EVENTS = "https://docs.aws.amazon.com/eventbridge/latest/";
const SCHEDULER = "https://docs.aws.amazon.com/scheduler/latest/";

const MESSAGE_BYTES = 1_048_576;
const SEND = "SQS.SendMessageBatch";
const sendPage = `${SQS}APIReference/API_SendMessageBatch.html`;
const quotas = `${SQS}SQSDeveloperGuide/quotas-messages.html`;

const bytes = (text: string): number => Buffer.byteLength(text);
const isFifo = ({ QueueUrl }: Input): boolean => String(QueueUrl).endsWith(".fifo");

/** Body and attributes count: name, type and value of each. */
const messageBytes = ({ MessageBody, MessageAttributes = {} }: Input): number =>
  bytes(MessageBody) +
  Object.entries<Input>(MessageAttributes).reduce(
    (sum, [name, { DataType, StringValue = "", BinaryValue = "" }]) =>
      sum + bytes(name) + bytes(DataType) + bytes(StringValue) + Buffer.from(BinaryValue, "base64").length,
    0,
  );

const eachEntry = (rule: (entry: Input, input: Input) => boolean) => (input: Input) =>
  input.Entries.some((entry: Input) => !rule(entry, input));
const eachAttribute = (rule: (name: string, attribute: Input) => boolean) =>
  eachEntry(({ MessageAttributes = {} }) =>
    Object.entries<Input>(MessageAttributes).every(([name, attribute]) => rule(name, attribute)),
  );

/** XML 1.0 without its surrogates: what SQS takes in a text. */
const SQS_TEXT = /^[\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]*$/u;
const GROUP_ID = /^[\x21-\x7E]{1,128}$/;
const ATTRIBUTE_NAME = /^(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)$/;

const between = (value: number | undefined, least: number, most: number): boolean =>
  value === undefined || (value >= least && value <= most);

const batchOf = (operation: string): readonly Limit[] => [
  {
    operation,
    rule: "a batch has 1 to 10 entries",
    page: sendPage,
    broken: ({ Entries }) => !between(Entries.length, 1, 10),
  },
  {
    operation,
    rule: "the ids of a batch's entries are distinct: up to 80 letters, digits, hyphens and underscores",
    page: sendPage,
    broken: ({ Entries }) =>
      new Set(Entries.map(({ Id }: Input) => Id)).size < Entries.length ||
      Entries.some(({ Id }: Input) => !/^[A-Za-z0-9_-]{1,80}$/.test(Id)),
  },
];

const sqs: readonly Limit[] = [
  ...["SQS.SendMessageBatch", "SQS.DeleteMessageBatch", "SQS.ChangeMessageVisibilityBatch"].flatMap(batchOf),
  {
    operation: SEND,
    rule: "a message has 1 byte to 1 MiB, attributes included",
    page: quotas,
    broken: eachEntry((entry) => between(messageBytes(entry), 1, MESSAGE_BYTES) && entry.MessageBody.length > 0),
  },
  {
    operation: SEND,
    rule: "the messages of a batch have 1 MiB together",
    page: quotas,
    broken: ({ Entries }) =>
      Entries.reduce((sum: number, entry: Input) => sum + messageBytes(entry), 0) > MESSAGE_BYTES,
  },
  {
    operation: SEND,
    rule: "a body has only characters that XML has: #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD, #x10000 to #x10FFFF",
    page: `${SQS}APIReference/API_SendMessage.html`,
    broken: eachEntry(({ MessageBody }) => SQS_TEXT.test(MessageBody)),
  },
  {
    operation: SEND,
    rule: "a message has up to 10 attributes",
    page: quotas,
    broken: eachEntry(({ MessageAttributes = {} }) => Object.keys(MessageAttributes).length <= 10),
  },
  {
    operation: SEND,
    rule: "an attribute's name has up to 256 letters, digits, _, - and ., neither at an end nor two in a row, and does not begin with AWS. or Amazon.",
    page: `${SQS}SQSDeveloperGuide/sqs-message-metadata.html`,
    broken: eachAttribute((name) => ATTRIBUTE_NAME.test(name) && !/^(aws|amazon)\./i.test(name)),
  },
  {
    operation: SEND,
    rule: "an attribute has a value that is not empty, of the type String, Number or Binary",
    page: `${SQS}SQSDeveloperGuide/sqs-message-metadata.html`,
    broken: eachAttribute(
      (_, { DataType, StringValue, BinaryValue }) =>
        /^(String|Number|Binary)(\.|$)/.test(DataType) &&
        (DataType.startsWith("Binary") ? Boolean(BinaryValue) : Boolean(StringValue) && SQS_TEXT.test(StringValue)),
    ),
  },
  {
    operation: SEND,
    rule: "a delay is 0 to 900 seconds",
    page: sendPage,
    broken: eachEntry(({ DelaySeconds }) => between(DelaySeconds, 0, 900)),
  },
  {
    operation: SEND,
    rule: "a FIFO queue takes no delay of a message",
    page: sendPage,
    broken: eachEntry(({ DelaySeconds = 0 }, input) => !isFifo(input) || DelaySeconds === 0),
  },
  {
    operation: SEND,
    rule: "a message on a FIFO queue has a group",
    page: sendPage,
    broken: eachEntry(({ MessageGroupId }, input) => !isFifo(input) || MessageGroupId !== undefined),
  },
  {
    operation: SEND,
    rule: "ids of groups and of deduplication have 1 to 128 printable characters of ASCII",
    page: sendPage,
    broken: eachEntry(({ MessageGroupId, MessageDeduplicationId }) =>
      [MessageGroupId, MessageDeduplicationId].every((id) => id === undefined || GROUP_ID.test(id)),
    ),
  },
  {
    operation: SEND,
    rule: "only a FIFO queue takes an id of deduplication",
    page: sendPage,
    broken: eachEntry(({ MessageDeduplicationId }, input) => isFifo(input) || MessageDeduplicationId === undefined),
  },
  {
    operation: "SQS.ChangeMessageVisibilityBatch",
    rule: "a visibility timeout is 0 to 43200 seconds",
    page: `${SQS}APIReference/API_ChangeMessageVisibility.html`,
    broken: eachEntry(({ VisibilityTimeout }) => between(VisibilityTimeout, 0, 43_200)),
  },
  {
    operation: "SQS.ReceiveMessage",
    rule: "1 to 10 messages, a wait of 0 to 20 seconds, a visibility timeout of 0 to 43200",
    page: `${SQS}APIReference/API_ReceiveMessage.html`,
    broken: ({ MaxNumberOfMessages, WaitTimeSeconds, VisibilityTimeout }) =>
      !between(MaxNumberOfMessages, 1, 10) ||
      !between(WaitTimeSeconds, 0, 20) ||
      !between(VisibilityTimeout, 0, 43_200),
  },
  {
    operation: "SQS.CreateQueue",
    rule: "a queue's name has up to 80 letters, digits, hyphens and underscores; a FIFO queue's ends in .fifo",
    page: `${SQS}APIReference/API_CreateQueue.html`,
    broken: ({ QueueName, Attributes = {} }) =>
      !/^[A-Za-z0-9_-]+(\.fifo)?$/.test(QueueName) ||
      QueueName.length > 80 ||
      QueueName.endsWith(".fifo") !== (Attributes.FifoQueue === "true"),
  },
];

const KEY_BYTES = 2048;
const ITEM_BYTES = 409_600;
const EXPRESSION_BYTES = 4096;
const constraints = `${DYNAMODB}developerguide/Constraints.html`;

/** An item's size: names, and values in UTF-8, bytes, and numbers of about a byte for two digits. */
function itemBytes(item: Input): number {
  return Object.entries(item).reduce((sum, [name, value]) => sum + bytes(name) + valueBytes(value), 0);
}

function valueBytes(value: Input): number {
  const [[type, content] = []] = Object.entries<Input>(value);
  switch (type) {
    case "S":
      return bytes(content);
    case "N":
      return Math.ceil(content.length / 2) + 1;
    case "B":
      return Buffer.from(content, "base64").length;
    case "M":
      return 3 + itemBytes(content) + Object.keys(content).length;
    case "L":
      return 3 + content.reduce((sum: number, entry: Input) => sum + valueBytes(entry) + 1, 0);
    case "SS":
    case "NS":
    case "BS":
      return content.reduce((sum: number, entry: string) => sum + bytes(entry), 0);
    default:
      return 1;
  }
}

const EXPRESSIONS = [
  "ConditionExpression",
  "UpdateExpression",
  "ProjectionExpression",
  "FilterExpression",
  "KeyConditionExpression",
];

/** Names and values that an expression speaks of by place holder, and those that it was given: AWS refuses any difference. */
function isComplete(input: Input): boolean {
  const text = EXPRESSIONS.map((name) => input[name] ?? "").join(" ");
  const used = new Set(text.match(/[#:][A-Za-z0-9_]+/g) ?? []);
  const given = new Set([
    ...Object.keys(input.ExpressionAttributeNames ?? {}),
    ...Object.keys(input.ExpressionAttributeValues ?? {}),
  ]);
  return used.size === given.size && [...used].every((name) => given.has(name));
}

const GRAMMAR: readonly (readonly [member: string, kind: Kind])[] = [
  ["ConditionExpression", "condition"],
  ["UpdateExpression", "update"],
  ["ProjectionExpression", "projection"],
  ["FilterExpression", "condition"],
  ["KeyConditionExpression", "key"],
];
/** What each of a request's texts has wrong, by AWS's grammar. */
const misspelt = (input: Input): string | undefined => {
  for (const [member, kind] of GRAMMAR) {
    const fault = input[member] === undefined ? undefined : faultOf(kind, input[member]);
    if (fault !== undefined) return `${member}: ${fault}`;
  }
  return undefined;
};

const expressed = ["PutItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Scan"].map((name) => `DynamoDB.${name}`);

const dynamodb: readonly Limit[] = [
  ...expressed.flatMap((operation): readonly Limit[] => [
    {
      operation,
      rule: "an expression has up to 4 KB",
      page: constraints,
      broken: (input) => EXPRESSIONS.some((name) => bytes(input[name] ?? "") > EXPRESSION_BYTES),
    },
    {
      operation,
      rule: "an expression uses each name and value that it is given, and is given each that it uses",
      page: `${DYNAMODB}developerguide/Expressions.ExpressionAttributeNames.html`,
      broken: (input) => !isComplete(input),
    },
    {
      operation,
      rule: "an expression is one by the grammar, with place holders for names that may be reserved",
      page: `${DYNAMODB}developerguide/Expressions.OperatorsAndFunctions.html`,
      broken: (input) => misspelt(input) !== undefined,
    },
  ]),
  ...["UpdateItem", "DeleteItem", "GetItem"].map(
    (name): Limit => ({
      operation: `DynamoDB.${name}`,
      rule: "a partition key has 1 to 2048 bytes",
      page: constraints,
      broken: ({ Key }) =>
        Object.values<Input>(Key).some(({ S }) => S !== undefined && !between(bytes(S), 1, KEY_BYTES)),
    }),
  ),
  {
    operation: "DynamoDB.PutItem",
    rule: "an item has up to 400 KB",
    page: constraints,
    broken: ({ Item }) => itemBytes(Item) > ITEM_BYTES,
  },
  {
    operation: "DynamoDB.BatchExecuteStatement",
    rule: "the statements of a batch all read or all write",
    page: `${DYNAMODB}developerguide/ql-reference.multiplestatements.batching.html`,
    broken: ({ Statements }) =>
      new Set(Statements.map(({ Statement }: Input) => /^\s*SELECT\b/i.test(Statement))).size > 1,
  },
  {
    operation: "DynamoDB.BatchExecuteStatement",
    rule: "a statement is one by the grammar of PartiQL for DynamoDB, with names in quotes",
    page: `${DYNAMODB}developerguide/ql-reference.statements.html`,
    broken: ({ Statements }) =>
      Statements.some(({ Statement }: Input) => faultOf("statement", Statement) !== undefined),
  },
  {
    operation: "DynamoDB.BatchExecuteStatement",
    rule: "a statement has as many parameters as question marks",
    page: `${DYNAMODB}developerguide/ql-reference.html`,
    broken: ({ Statements }) =>
      Statements.some(
        ({ Statement, Parameters = [] }: Input) =>
          // What stands between quotes is text.
          (Statement.replaceAll(/'[^']*'|"[^"]*"/g, "").match(/\?/g) ?? []).length !== Parameters.length,
      ),
  },
  {
    operation: "DynamoDB.BatchGetItem",
    rule: "a request asks for up to 100 items, none of them twice",
    page: `${DYNAMODB}APIReference/API_BatchGetItem.html`,
    broken: ({ RequestItems }) => {
      const keys = Object.entries<Input>(RequestItems).flatMap(([table, { Keys }]) =>
        Keys.map((key: Input) => table + JSON.stringify(key)),
      );
      return keys.length > 100 || new Set(keys).size < keys.length;
    },
  },
  {
    operation: "DynamoDB.BatchWriteItem",
    rule: "a request writes up to 25 items",
    page: `${DYNAMODB}APIReference/API_BatchWriteItem.html`,
    broken: ({ RequestItems }) => Object.values<Input>(RequestItems).flat().length > 25,
  },
];

const events: readonly Limit[] = [
  {
    operation: "AWSEvents.PutRule",
    rule: "a schedule is cron(…) of six fields or rate(…) of a whole number",
    page: `${EVENTS}userguide/eb-scheduled-rule-pattern.html`,
    broken: ({ ScheduleExpression: text }) =>
      text !== undefined &&
      !/^cron\((\S+ ){5}\S+\)$/.test(text) &&
      !/^rate\((1 (minute|hour|day)|(?!1 )[1-9]\d* (minutes|hours|days))\)$/.test(text),
  },
  {
    operation: "AWSEvents.PutRule",
    rule: "one of the days of a cron(…) is a question mark",
    page: `${EVENTS}userguide/eb-scheduled-rule-pattern.html`,
    broken: ({ ScheduleExpression: text = "" }) => {
      const [, , dayOfMonth, , dayOfWeek] = text.match(/^cron\((.*)\)$/)?.[1].split(" ") ?? [];
      return dayOfMonth !== undefined && (dayOfMonth === "?") === (dayOfWeek === "?");
    },
  },
  {
    operation: "AWSEvents.PutTargets",
    rule: "a target's input is JSON",
    page: `${EVENTS}APIReference/API_Target.html`,
    broken: ({ Targets }) => Targets.some(({ Input }: Input) => Input !== undefined && !isJson(Input)),
  },
  {
    operation: "AWSEvents.PutTargets",
    rule: "a rule has up to 5 targets",
    page: `${EVENTS}userguide/eb-quota.html`,
    broken: ({ Targets }) => Targets.length > 5,
  },
];

const INPUT_BYTES = 262_144;

const scheduler: readonly Limit[] = [
  {
    operation: "scheduler.CreateSchedule",
    rule: "a target's input has up to 256 KB",
    page: `${SCHEDULER}UserGuide/scheduler-quotas.html`,
    broken: ({ Target }) => bytes(Target.Input ?? "") > INPUT_BYTES,
  },
  {
    operation: "scheduler.CreateSchedule",
    rule: "a schedule is at(yyyy-mm-ddThh:mm:ss), cron(…) or rate(…)",
    page: `${SCHEDULER}UserGuide/schedule-types.html`,
    broken: ({ ScheduleExpression }) =>
      !/^(at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)|cron\((\S+ ){5}\S+\)|rate\([1-9]\d* (minute|hour|day)s?\))$/.test(
        ScheduleExpression,
      ),
  },
];

const s3 = ["GetObject", "PutObject"].flatMap((name): readonly Limit[] => [
  {
    operation: `s3.${name}`,
    rule: "an object's key has 1 to 1024 bytes",
    page: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html",
    broken: ({ Key }) => !between(bytes(Key), 1, 1024),
  },
  {
    operation: `s3.${name}`,
    rule: "a bucket's name has 3 to 63 small letters, digits, dots and hyphens",
    page: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html",
    broken: ({ Bucket }) => !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(Bucket) || Bucket.includes(".."),
  },
]);

export const LIMITS: readonly Limit[] = [...sqs, ...dynamodb, ...events, ...scheduler, ...s3];

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
