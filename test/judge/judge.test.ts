/** One wrong thing at a time is seen, for each kind of wrong thing, and what the product sends is not taken for one. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { judge, type Judgement } from "./judge.ts";
import { LIMITS } from "./limits.ts";
import { modelOf } from "./model.ts";
import { faultsOf } from "./shape.ts";

// biome-ignore lint/suspicious/noExplicitAny: requests are spoilt in every way
type Body = any;

const SIGNED_FOR = { SQS: "sqs", DynamoDB: "dynamodb", AWSEvents: "events" } as const;
const PREFIXES = { SQS: "AmazonSQS", DynamoDB: "DynamoDB_20120810", AWSEvents: "AWSEvents" } as const;

const authorization = (service: string) =>
  `AWS4-HMAC-SHA256 Credential=AKID/20261128/eu-west-1/${service}/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=${"0".repeat(64)}`;

const headersOf = (service: keyof typeof SIGNED_FOR, operation: string) => ({
  host: "aws",
  "content-type": `application/x-amz-json-1.${service === "AWSEvents" ? 1 : 0}`,
  "x-amz-date": "20261128T120000Z",
  "x-amz-target": `${PREFIXES[service]}.${operation}`,
  authorization: authorization(SIGNED_FOR[service]),
});

function sent(label: string, input: Body, headers: Record<string, string> = {}): Judgement {
  const [service, operation] = label.split(".") as [keyof typeof SIGNED_FOR, string];
  const body = Buffer.from(typeof input === "string" ? input : JSON.stringify(input));
  return judge({ method: "POST", url: "/", headers: { ...headersOf(service, operation), ...headers }, body });
}

const QueueUrl = "https://sqs.eu-west-1.amazonaws.com/1/celery";
const fifo = `${QueueUrl}.fifo`;
const entry = { Id: "0", MessageBody: "{}", DelaySeconds: 900, MessageGroupId: "tenant" };
const send = (change: Body, url = QueueUrl) => ({ QueueUrl: url, Entries: [{ ...entry, ...change }] });
const attribute = (name: string, value: Body = { DataType: "String", StringValue: "a" }) =>
  send({ MessageAttributes: { [name]: value } });

const put = {
  TableName: "celery",
  Item: { id: { S: "celery-task-meta-1" }, result: { B: "e30=" } },
  ConditionExpression: "attribute_not_exists(#id) OR #n < :n",
  ExpressionAttributeNames: { "#id": "id", "#n": "attempt" },
  ExpressionAttributeValues: { ":n": { N: "1" } },
};
const statement = { Statement: `UPDATE "celery" SET "a"=? WHERE "id"='what?'`, Parameters: [{ N: "1" }] };
const rule = { Name: "celery-beat-1", ScheduleExpression: "cron(0 9 * * ? *)" };
const target = { Id: "beat", Arn: "arn:aws:lambda:eu-west-1:123456789012:function:beat", Input: "{}" };
const many = (count: number, value: (index: number) => Body) =>
  Array.from({ length: count }, (_, index) => value(index));

test.each<[label: string, input: Body]>([
  ["SQS.SendMessageBatch", send({})],
  ["SQS.SendMessageBatch", send({ MessageBody: "\t\u{1F600}", DelaySeconds: 0, MessageDeduplicationId: "1" }, fifo)],
  ["SQS.ReceiveMessage", { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, MessageAttributeNames: ["All"] }],
  ["DynamoDB.PutItem", put],
  ["DynamoDB.BatchExecuteStatement", { Statements: [statement] }],
  ["AWSEvents.PutRule", rule],
  ["AWSEvents.PutTargets", { Rule: "celery-beat-1", Targets: [target] }],
])("%s as it should be is let through", (label, input) => {
  expect(sent(label, input)).toEqual({ operation: label, faults: [] });
});

test.each<[kind: string, label: string, input: Body, said: RegExp]>([
  ["a member too many", "SQS.SendMessageBatch", send({ Delay: 1 }), /Delay: the model has no such member/],
  ["a member that is missing", "SQS.SendMessageBatch", { QueueUrl }, /Entries: is required/],
  ["a text for a number", "SQS.SendMessageBatch", send({ DelaySeconds: "1" }), /"1" is no integer/],
  ["a number for a text", "DynamoDB.PutItem", { ...put, Item: { id: { N: 1 } } }, /1 is no string/],
  ["a fraction", "SQS.SendMessageBatch", send({ DelaySeconds: 0.5 }), /0.5 is no integer/],
  ["an object for a list", "SQS.SendMessageBatch", { QueueUrl, Entries: {} }, /is no list/],
  ["a list for an object", "DynamoDB.PutItem", { ...put, Item: [] }, /is no map/],
  ["a text for a truth", "DynamoDB.GetItem", { TableName: "t", Key: {}, ConsistentRead: "true" }, /is no boolean/],
  ["bytes that are no base64", "DynamoDB.PutItem", { ...put, Item: { id: { B: "{}" } } }, /is no blob/],
  ["a value outside of its enum", "DynamoDB.PutItem", { ...put, ReturnValues: "OLD" }, /is none of .*ALL_OLD/],
  [
    "a list that is too long",
    "DynamoDB.BatchExecuteStatement",
    { Statements: many(26, () => statement) },
    /26 entries/,
  ],
  ["a name that is too long", "AWSEvents.PutRule", { ...rule, Name: "a".repeat(65) }, /65 characters, at most 64/],
  ["a name that is too short", "AWSEvents.PutRule", { ...rule, Name: "" }, /0 characters, at least 1/],
  ["a name of other characters", "AWSEvents.PutRule", { ...rule, Name: "a b" }, /does not match/],
  ["a body that is no JSON", "SQS.SendMessageBatch", "{", /the body is no JSON/],
  ["an operation that there is not", "SQS.SendMessages", {}, /is no operation of sqs/],
])("%s is seen", (_kind, label, input, said) => {
  expect(sent(label, input).faults.join("\n")).toMatch(said);
});

test.each<[kind: string, headers: Record<string, string>, said: RegExp]>([
  ["another version of JSON", { "content-type": "application/x-amz-json-1.1" }, /content-type/],
  ["no signature", { authorization: "Bearer 1" }, /is no signature/],
  ["a signature for another service", { authorization: authorization("dynamodb") }, /signed for dynamodb, must be sqs/],
  ["a header that is not signed", { "x-amz-security-token": "1" }, /x-amz-security-token is not signed/],
  ["another form of the date", { "x-amz-date": "Sat, 28 Nov 2026" }, /x-amz-date/],
  ["another target", { "x-amz-target": "AmazonSQS2.SendMessageBatch" }, /is no operation/],
])("%s is seen", (_kind, headers, said) => {
  expect(sent("SQS.SendMessageBatch", send({}), headers).faults.join("\n")).toMatch(said);
});

/** For each limit a request that breaks it, by its rule's first words. */
const BROKEN: readonly (readonly [label: string, rule: string, input: Body])[] = [
  [
    "SQS.SendMessageBatch",
    "a batch has 1 to 10",
    { QueueUrl, Entries: many(11, (id) => ({ ...entry, Id: String(id) })) },
  ],
  ["SQS.DeleteMessageBatch", "a batch has 1 to 10", { QueueUrl, Entries: [] }],
  [
    "SQS.ChangeMessageVisibilityBatch",
    "a batch has 1 to 10",
    { QueueUrl, Entries: many(11, (id) => ({ Id: String(id), ReceiptHandle: "r", VisibilityTimeout: 0 })) },
  ],
  ["SQS.SendMessageBatch", "the ids of a batch", { QueueUrl, Entries: [entry, entry] }],
  ["SQS.DeleteMessageBatch", "the ids of a batch", { QueueUrl, Entries: [{ Id: "a b", ReceiptHandle: "r" }] }],
  [
    "SQS.ChangeMessageVisibilityBatch",
    "the ids of a batch",
    { QueueUrl, Entries: [{ Id: "a".repeat(81), ReceiptHandle: "r", VisibilityTimeout: 0 }] },
  ],
  ["SQS.SendMessageBatch", "a message has 1 byte", send({ MessageBody: "" })],
  [
    "SQS.SendMessageBatch",
    "a message has 1 byte",
    send({ MessageBody: "a".repeat(1_048_570), MessageAttributes: { name: { DataType: "String", StringValue: "a" } } }),
  ],
  [
    "SQS.SendMessageBatch",
    "the messages of a batch",
    { QueueUrl, Entries: many(2, (id) => ({ ...entry, Id: String(id), MessageBody: "ä".repeat(300_000) })) },
  ],
  ["SQS.SendMessageBatch", "a body has only", send({ MessageBody: "\u0000" })],
  ["SQS.SendMessageBatch", "a body has only", send({ MessageBody: "\uFFFE" })],
  [
    "SQS.SendMessageBatch",
    "a message has up to 10",
    send({
      MessageAttributes: Object.fromEntries(many(11, (n) => [`a${n}`, { DataType: "String", StringValue: "a" }])),
    }),
  ],
  ["SQS.SendMessageBatch", "an attribute's name", attribute("AWS.x")],
  ["SQS.SendMessageBatch", "an attribute's name", attribute("a..b")],
  ["SQS.SendMessageBatch", "an attribute's name", attribute("a b")],
  ["SQS.SendMessageBatch", "an attribute has a value", attribute("a", { DataType: "String", StringValue: "" })],
  ["SQS.SendMessageBatch", "an attribute has a value", attribute("a", { DataType: "Text", StringValue: "a" })],
  ["SQS.SendMessageBatch", "an attribute has a value", attribute("a", { DataType: "String", StringValue: "\u001b" })],
  ["SQS.SendMessageBatch", "a delay is", send({ DelaySeconds: 901 })],
  ["SQS.SendMessageBatch", "a FIFO queue takes no delay", send({}, fifo)],
  [
    "SQS.SendMessageBatch",
    "a message on a FIFO queue",
    { QueueUrl: fifo, Entries: [{ Id: "0", MessageBody: "{}", MessageDeduplicationId: "1" }] },
  ],
  ["SQS.SendMessageBatch", "ids of groups", send({ MessageGroupId: "a b" })],
  ["SQS.SendMessageBatch", "only a FIFO queue", send({ MessageDeduplicationId: "1" })],
  [
    "SQS.ChangeMessageVisibilityBatch",
    "a visibility timeout",
    { QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r", VisibilityTimeout: 43_201 }] },
  ],
  ["SQS.ReceiveMessage", "1 to 10 messages", { QueueUrl, WaitTimeSeconds: 21 }],
  ["SQS.CreateQueue", "a queue's name", { QueueName: "a.fifo" }],
  ...["PutItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Scan"].flatMap((name) => {
    const key = name === "PutItem" ? { Item: put.Item } : /Item/.test(name) ? { Key: { id: { S: "1" } } } : {};
    const expression = {
      PutItem: "ConditionExpression",
      UpdateItem: "UpdateExpression",
      DeleteItem: "ConditionExpression",
    };
    const member = expression[name as keyof typeof expression] ?? "ProjectionExpression";
    const base = { TableName: "celery", ...key };
    return [
      [`DynamoDB.${name}`, "an expression has up to 4 KB", { ...base, [member]: "a".repeat(4097) }],
      [
        `DynamoDB.${name}`,
        "an expression uses each",
        { ...base, [member]: "#a", ExpressionAttributeNames: { "#b": "b" } },
      ],
      [`DynamoDB.${name}`, "an expression is one", { ...base, [member]: "attribute_missing(" }],
      ...(/Update|Delete|Get/.test(name)
        ? [[`DynamoDB.${name}`, "a partition key", { ...base, Key: { id: { S: "a".repeat(2049) } } }]]
        : []),
    ] as readonly (readonly [string, string, Body])[];
  }),
  ["DynamoDB.PutItem", "an item has up to", { ...put, Item: { id: { S: "1" }, result: { S: "a".repeat(409_600) } } }],
  [
    "DynamoDB.BatchExecuteStatement",
    "the statements of a batch",
    { Statements: [statement, { Statement: "SELECT 1" }] },
  ],
  [
    "DynamoDB.BatchExecuteStatement",
    "a statement has as many",
    { Statements: [{ ...statement, Parameters: [{ N: "1" }, { N: "1" }] }] },
  ],
  [
    "DynamoDB.BatchExecuteStatement",
    "a statement is one",
    { Statements: [{ Statement: `UPDATE celery SET a=1 WHERE "id"='1'` }] },
  ],
  [
    "DynamoDB.BatchGetItem",
    "a request asks for up to 100",
    { RequestItems: { celery: { Keys: many(2, () => ({ id: { S: "1" } })) } } },
  ],
  [
    "DynamoDB.BatchWriteItem",
    "a request writes up to 25",
    {
      RequestItems: Object.fromEntries(
        many(2, (n) => [`t${n}aa`, many(20, () => ({ PutRequest: { Item: put.Item } }))]),
      ),
    },
  ],
  ["AWSEvents.PutRule", "a schedule is cron", { ...rule, ScheduleExpression: "cron(* * * * *)" }],
  ["AWSEvents.PutRule", "a schedule is cron", { ...rule, ScheduleExpression: "rate(1 minutes)" }],
  ["AWSEvents.PutRule", "one of the days", { ...rule, ScheduleExpression: "cron(0 9 * * MON *)" }],
  ["AWSEvents.PutTargets", "a target's input is JSON", { Rule: "r", Targets: [{ ...target, Input: "{" }] }],
  [
    "AWSEvents.PutTargets",
    "a rule has up to 5",
    { Rule: "r", Targets: many(6, (n) => ({ ...target, Id: String(n) })) },
  ],
];

test.each(BROKEN)("%s: %s", (label, rule, input) => {
  const { faults } = sent(label, input);
  expect(
    faults.some((fault) => fault.startsWith(rule)),
    faults.join("\n"),
  ).toBe(true);
});

const schedule = {
  ScheduleExpression: "at(2026-12-01T00:00:00)",
  FlexibleTimeWindow: { Mode: "OFF" },
  Target: {
    Arn: "arn:aws:sqs:eu-west-1:123456789012:celery",
    RoleArn: "arn:aws:iam::123456789012:role/delays",
    Input: "{}",
  },
};
const created = (change: Body, url = "/schedules/name", signedFor = "scheduler") => {
  const body = Buffer.from(JSON.stringify({ ...schedule, ...change }));
  const headers = { ...headersOf("SQS", ""), "x-amz-target": undefined, authorization: authorization(signedFor) };
  return judge({ method: "POST", url, headers, body });
};

test("a request of a path is found by its path", () => {
  expect(created({})).toEqual({ operation: "scheduler.CreateSchedule", faults: [] });
  expect(created({}, `/schedules/${"a".repeat(65)}`).faults.join()).toMatch(/Name: 65 characters, at most 64/);
  expect(created({}, "/schedules/a%20b").faults.join()).toMatch(/does not match/);
  expect(created({}, "/schedule/a").faults.join()).toMatch(/is no operation of scheduler/);
  expect(created({}, "/schedules/a?group=b").faults.join()).toMatch(/\?group: the model has no such member/);
  expect(created({ Name: "name" }).faults.join()).toMatch(/Name: belongs into the uri/);
  expect(created({ Target: { ...schedule.Target, RoleArn: "role" } }).faults.join()).toMatch(
    /RoleArn: "role" does not match/,
  );
  expect(created({ Target: { ...schedule.Target, Input: "a".repeat(262_145) } }).faults.join()).toMatch(/256 KB/);
  expect(created({ ScheduleExpression: "at(2026-12-01)" }).faults.join()).toMatch(/a schedule is at/);
});

const asked = (body: string, change: Record<string, string | undefined> = {}, url = "/") =>
  judge({
    method: "POST",
    url,
    headers: {
      host: "aws",
      "content-type": "application/x-www-form-urlencoded",
      "x-amz-date": "20261128T120000Z",
      authorization: authorization("sts"),
      ...change,
    },
    body: Buffer.from(body),
  });

test("a request of STS is judged by its form", () => {
  const whoami = "Action=GetCallerIdentity&Version=2011-06-15";
  expect(asked(whoami)).toEqual({ operation: "sts.GetCallerIdentity", faults: [] });
  expect(asked(`${whoami}&Name=a`).faults.join()).toMatch(/Name: the model has no such member/);
  expect(asked("Action=GetCaller&Version=2011-06-15").faults.join()).toMatch(/GetCaller is no operation of sts/);
  expect(asked("Action=GetCallerIdentity&Version=2012-11-05").faults.join()).toMatch(/Version: .* must be 2011-06-15/);
  expect(asked(whoami, { "content-type": "application/json" }).faults.join()).toMatch(/content-type/);
  expect(asked(whoami, {}, "/sts").faults.join()).toMatch(/must be POST \//);
  expect(asked(whoami, { "x-amz-security-token": "1" }).faults.join()).toMatch(/is not signed/);
  const assume =
    "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/a&RoleSessionName=session";
  expect(asked(`${assume}&DurationSeconds=900&Tags.member.1.Key=a&Tags.member.1.Value=b`).faults).toEqual([]);
  expect(asked(`${assume}&DurationSeconds=1`).faults.join()).toMatch(/DurationSeconds: 1, at least 900/);
  expect(asked(`${assume}&Tags.member.1.Key=a`).faults.join()).toMatch(/Tags\[0\]\.Value: is required/);
});

const EMPTY = createHash("sha256").update("").digest("hex");
const object = (url: string, change: Record<string, string | undefined> = {}, method = "PUT", body = "") =>
  judge({
    method,
    url,
    headers: {
      host: "aws",
      "content-length": String(body.length),
      "x-amz-date": "20261128T120000Z",
      "x-amz-content-sha256": EMPTY,
      authorization: authorization("s3").replace("x-amz-target", "x-amz-content-sha256;x-amz-odd"),
      ...change,
    },
    body: Buffer.from(body),
  });

test("a text in S3 is put and got by its path, and its headers are looked at", () => {
  expect(object("/texts/45d/a/b?x-id=PutObject")).toEqual({ operation: "s3.PutObject", faults: [] });
  expect(object("/texts/45d/a", {}, "GET")).toEqual({ operation: "s3.GetObject", faults: [] });
  expect(object("/texts", {}, "PUT").operation).toBeUndefined();
  expect(object("/texts/a?acls=1").faults.join()).toMatch(/\?acls: the model has no such member/);
  expect(object("/texts/a", { "x-amz-odd": "1" }).faults.join()).toMatch(/x-amz-odd: the model has no such member/);
  expect(object("/texts/a", { "x-amz-storage-class": "CHEAP" }).faults.join()).toMatch(/is none of .*GLACIER/);
  expect(object("/texts/a", {}, "PUT", "other").faults.join()).toMatch(/is not the hash of the body/);
  expect(object("/texts/a", { "content-length": undefined }).faults.join()).toMatch(/content-length: is required/);
  expect(object("/texts/a", { authorization: authorization("sqs") }).operation).not.toBe("s3.PutObject");
  for (const method of ["PUT", "GET"]) {
    expect(object(`/texts/${"a".repeat(1025)}`, {}, method).faults.join()).toMatch(/key has 1 to 1024 bytes/);
    expect(object("/Texts/a", {}, method).faults.join()).toMatch(/bucket's name/);
  }
});

test("every limit is seen to be broken", () => {
  const seen = [
    ...BROKEN,
    ["scheduler.CreateSchedule", "a target's input"],
    ["scheduler.CreateSchedule", "a schedule"],
    ...["s3.GetObject", "s3.PutObject"].flatMap((name) => [
      [name, "an object's key"],
      [name, "a bucket's name"],
    ]),
  ];
  const unseen = LIMITS.filter(
    ({ operation, rule }) => !seen.some(([label, words]) => label === operation && rule.startsWith(String(words))),
  );
  expect(unseen.map(({ operation, rule }) => `${operation}: ${rule}`)).toEqual([]);
});

test("what is for others is not judged", () => {
  const headers = {
    ...headersOf("SQS", ""),
    "x-amz-target": undefined,
    authorization: authorization("cloudformation"),
  };
  expect(judge({ method: "POST", url: "/", headers, body: Buffer.from("Action=CreateStack") })).toEqual({
    operation: undefined,
    faults: [],
  });
});

test("every type that the models' inputs have is known", () => {
  for (const service of ["sqs", "dynamodb", "events", "scheduler", "lambda"] as const) {
    const model = modelOf(service);
    for (const [name, { type }] of Object.entries(model.shapes)) {
      expect(faultsOf(model, name, undefined).join(), `${service} ${name}`).not.toMatch(
        `the type ${type} is not known`,
      );
    }
  }
});
