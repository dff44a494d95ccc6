/**
 * The rights that a request takes, as AWS's Service Authorization Reference lists them for each operation
 * (https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html).
 */
import type { SentRequest } from "../judge/judge.ts";
import type { Asked } from "./policy.ts";
import { arnOf } from "./template.ts";

/** Who sent it, by the access key that it is signed with, and what it takes. */
export interface Recorded {
  readonly key: string;
  readonly operation: string;
  readonly asked: readonly Asked[];
  /** What the service that it gave a role takes later, in that role's name. */
  readonly passed?: { readonly role: string; readonly asked: readonly Asked[] };
}

// biome-ignore lint/suspicious/noExplicitAny: bodies of many operations, judged before
type Body = any;
type Context = Asked["context"];

const right = (action: string, resource: string, context: Context = {}): Asked => ({ action, resource, context });

const queueArn = (url: string) => arnOf("sqs", url.slice(url.lastIndexOf("/") + 1));
const onQueue = (name: string) => (body: Body) => [right(`sqs:${name}`, queueArn(body.QueueUrl))];

const tableArn = (table: string) => arnOf("dynamodb", `table/${table}`);
/** The partition keys that the request names: of results `id`, of the journal `bucket`. */
const keysOf = (items: readonly Body[]): Context => ({
  "dynamodb:LeadingKeys": items.map((item) => String((item.id ?? item.bucket)?.S)),
});
const onTable = (name: string, items: (body: Body) => readonly Body[]) => (body: Body) => [
  right(`dynamodb:${name}`, tableArn(body.TableName), keysOf(items(body))),
];

/** What a statement of PartiQL does, on which table and key. */
function statementRight({ Statement, Parameters = [] }: Body): Asked {
  const [, verb = "", table = ""] = /^(INSERT INTO|UPDATE|DELETE FROM|SELECT \S+ FROM) "([^"]+)"/.exec(Statement) ?? [];
  const action = { I: "Insert", U: "Update", D: "Delete", S: "Select" }[verb[0] ?? ""];
  if (action === undefined) throw new Error(`a statement that is not known here: ${Statement}`);
  // Where the key stands as a parameter: `'id': ?` of an INSERT, `"id"=?` of the others. Texts may have question marks too.
  const bare = (Statement as string).replace(/'(?:[^']|'')*'(\s*:)?/g, (quoted, colon) => (colon ? quoted : "''"));
  const place = /(?:'(?:id|bucket)'\s*:|"(?:id|bucket)"\s*=)\s*\?/.exec(bare);
  if (place === null) throw new Error(`a statement without a key: ${Statement}`);
  const index = bare.slice(0, place.index + place[0].length - 1).split("?").length - 1;
  const key = Parameters[index]?.S;
  return right(`dynamodb:PartiQL${action}`, tableArn(table), { "dynamodb:LeadingKeys": [String(key)] });
}

const ruleArn = (name: string) => arnOf("events", `rule/${name}`);
const onRule = (name: string) => (body: Body) => [right(`events:${name}`, ruleArn(body.Name ?? body.Rule))];

/** By the targets of requests in JSON. */
const TARGETS: Readonly<Record<string, (body: Body) => readonly Asked[]>> = {
  "AmazonSQS.SendMessage": onQueue("SendMessage"),
  "AmazonSQS.SendMessageBatch": onQueue("SendMessage"),
  "AmazonSQS.ReceiveMessage": onQueue("ReceiveMessage"),
  "AmazonSQS.DeleteMessage": onQueue("DeleteMessage"),
  "AmazonSQS.DeleteMessageBatch": onQueue("DeleteMessage"),
  "AmazonSQS.ChangeMessageVisibility": onQueue("ChangeMessageVisibility"),
  "AmazonSQS.ChangeMessageVisibilityBatch": onQueue("ChangeMessageVisibility"),
  "AmazonSQS.GetQueueAttributes": onQueue("GetQueueAttributes"),
  "AmazonSQS.PurgeQueue": onQueue("PurgeQueue"),
  "AmazonSQS.GetQueueUrl": ({ QueueName }) => [right("sqs:GetQueueUrl", arnOf("sqs", QueueName))],
  "AmazonSQS.ListQueues": () => [right("sqs:ListQueues", "*")],
  "DynamoDB_20120810.DescribeTable": ({ TableName }) => [right("dynamodb:DescribeTable", tableArn(TableName))],
  "DynamoDB_20120810.GetItem": onTable("GetItem", ({ Key }) => [Key]),
  "DynamoDB_20120810.PutItem": onTable("PutItem", ({ Item }) => [Item]),
  "DynamoDB_20120810.UpdateItem": onTable("UpdateItem", ({ Key }) => [Key]),
  "DynamoDB_20120810.DeleteItem": onTable("DeleteItem", ({ Key }) => [Key]),
  "DynamoDB_20120810.Query": onTable("Query", ({ ExpressionAttributeValues }) => [
    { bucket: ExpressionAttributeValues[":bucket"] },
  ]),
  "DynamoDB_20120810.BatchGetItem": ({ RequestItems }) =>
    Object.entries(RequestItems as Body).map(([table, { Keys }]: [string, Body]) =>
      right("dynamodb:BatchGetItem", tableArn(table), keysOf(Keys)),
    ),
  "DynamoDB_20120810.BatchExecuteStatement": ({ Statements }) => Statements.map(statementRight),
  "AWSEvents.PutRule": onRule("PutRule"),
  "AWSEvents.DeleteRule": onRule("DeleteRule"),
  "AWSEvents.EnableRule": onRule("EnableRule"),
  "AWSEvents.DisableRule": onRule("DisableRule"),
  "AWSEvents.RemoveTargets": onRule("RemoveTargets"),
  "AWSEvents.ListTargetsByRule": onRule("ListTargetsByRule"),
  "AWSEvents.PutTargets": ({ Rule, Targets }) =>
    Targets.map(({ Arn }: Body) => right("events:PutTargets", ruleArn(Rule), { "events:TargetArn": Arn })),
  "AWSEvents.ListRules": () => [right("events:ListRules", "*")],
  "GraniteServiceVersion20100801.GetMetricData": () => [right("cloudwatch:GetMetricData", "*")],
};

/** By method and path of the others. */
const PATHS: readonly (readonly [line: RegExp, (found: RegExpExecArray, body: Body) => readonly Asked[]])[] = [
  [
    /^POST \/schedules\/([^/?]+)$/,
    ([, name], { GroupName = "default", Target, KmsKeyArn }) => [
      right("scheduler:CreateSchedule", arnOf("scheduler", `schedule/${GroupName}/${name}`)),
      right("iam:PassRole", Target.RoleArn, { "iam:PassedToService": "scheduler.amazonaws.com" }),
      // https://docs.aws.amazon.com/scheduler/latest/UserGuide/encryption-rest.html
      ...(KmsKeyArn === undefined
        ? []
        : ["DescribeKey", "GenerateDataKey", "Decrypt"].map((one) => right(`kms:${one}`, KmsKeyArn))),
    ],
  ],
  [/^GET \/2015-03-31\/event-source-mappings(\?.*)?$/, () => [right("lambda:ListEventSourceMappings", "*")]],
  [
    /^PUT \/2015-03-31\/event-source-mappings\/([^/?]+)$/,
    ([, id]) => [right("lambda:UpdateEventSourceMapping", arnOf("lambda", `event-source-mapping:${id}`))],
  ],
  [/^PUT \/([^/?]+)\/([^?]+)/, ([, bucket, key]) => [right("s3:PutObject", `arn:aws:s3:::${bucket}/${key}`)]],
  [
    /^GET \/([^/?]+)\/([^?]+)/,
    ([, bucket, key]) => [
      right("s3:GetObject", `arn:aws:s3:::${bucket}/${key}`),
      // That an object is gone S3 says only to who may list.
      right("s3:ListBucket", `arn:aws:s3:::${bucket}`),
    ],
  ],
  // Who calls may always be asked.
  [/^POST \/$/, () => []],
];

/** Of an entry of Scheduler's: the message, and the place for what could not be sent. */
const passedBy = ({ Target }: Body): Recorded["passed"] =>
  Target?.RoleArn === undefined
    ? undefined
    : {
        role: Target.RoleArn,
        asked: [Target.Arn, Target.DeadLetterConfig?.Arn].flatMap((arn) =>
          arn === undefined ? [] : [right("sqs:SendMessage", arn)],
        ),
      };

export function recorded({ method, url, headers, body }: SentRequest): Recorded {
  const key = /Credential=([^/]+)\//.exec(headers.authorization ?? "")?.[1] ?? "";
  const target = headers["x-amz-target"];
  if (typeof target === "string") {
    const asked = TARGETS[target];
    if (asked === undefined) throw new Error(`${target} is not known here: say in asked.ts which rights it takes`);
    return { key, operation: target.slice(target.indexOf(".") + 1), asked: asked(JSON.parse(body.toString("utf8"))) };
  }
  const line = `${method} ${url}`;
  for (const [path, asked] of PATHS) {
    const found = path.exec(line);
    if (found === null) continue;
    const isJson = /json/.test(headers["content-type"] ?? "") && body.length > 0;
    const input: Body = isJson ? JSON.parse(body.toString("utf8")) : {};
    const passed = passedBy(input);
    return { key, operation: line, asked: asked(found, input), ...(passed === undefined ? {} : { passed }) };
  }
  throw new Error(`${line} is not known here: say in asked.ts which rights it takes`);
}

const READS = /^dynamodb:(DescribeTable|GetItem|BatchGetItem|Query|PartiQLSelect)$/;

/**
 * What a service asks of the key of a resource, in the name of whoever asks for the resource:
 * https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html,
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html,
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html.
 */
export function keyActions(action: string): readonly string[] {
  if (action === "sqs:SendMessage" || action === "s3:PutObject") return ["kms:GenerateDataKey", "kms:Decrypt"];
  if (action === "sqs:ReceiveMessage" || action === "s3:GetObject") return ["kms:Decrypt"];
  if (READS.test(action)) return ["kms:Decrypt", "kms:DescribeKey"];
  if (action.startsWith("dynamodb:"))
    return [
      "Decrypt",
      "DescribeKey",
      "Encrypt",
      "GenerateDataKey",
      "GenerateDataKeyWithoutPlaintext",
      "ReEncryptFrom",
      "ReEncryptTo",
    ].map((one) => `kms:${one}`);
  return [];
}
