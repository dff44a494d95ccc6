/** What `app.control`, `app.journal` and `app.workflow` ask of AWS: the rights of who looks at an app, and of who steers it. */
import type * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import type * as iam from "aws-cdk-lib/aws-iam";
import { grantKey, rightsHere, rowsOf, type RowKind, type RowsOf } from "./grants.ts";
import type { TaskQueue } from "./task-queue.ts";

export interface Operated {
  readonly rows: RowsOf;
  readonly journal: dynamodb.Table | undefined;
  /** By their names in the app. */
  readonly queues: ReadonlyMap<string, TaskQueue>;
  /** The rules of entries that were put at run time, as an ARN; absent without beat. */
  readonly runtimeRules: string | undefined;
  /** Whether any task of the app has limits, which have rows of their own. */
  readonly hasLimits: boolean;
}

const READ_ROWS: readonly RowKind[] = ["task", "group", "control"];

const arnsOf = ({ queues }: TaskQueue): readonly string[] => queues.map(({ queueArn }) => queueArn);

/** Looks, and changes nothing; dead letters that are looked at are hidden for a minute. */
export function grantInspect({ rows, journal, queues, runtimeRules }: Operated, grantee: iam.IGrantable): iam.Grant {
  const all = [...queues.values()];
  const dead = all.map(({ deadLetterQueue }) => deadLetterQueue.queueArn);
  const allow = rightsHere(rows.table, grantee, "look at an app or steer it");
  allow(["sqs:GetQueueUrl", "sqs:GetQueueAttributes"], [...all.flatMap(arnsOf), ...dead]);
  allow(["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"], dead);
  allow(["dynamodb:BatchGetItem"], [rows.table.tableArn], rowsOf(rows, READ_ROWS));
  if (journal !== undefined) allow(["dynamodb:Query"], [journal.tableArn]);
  if (runtimeRules !== undefined) allow(["events:ListTargetsByRule"], [runtimeRules]);
  for (const key of new Set([rows.table.encryptionKey, journal?.encryptionKey])) grantKey(key, "read", grantee);
  for (const key of new Set(all.map(({ deadLetterQueue }) => deadLetterQueue.encryptionMasterKey)))
    grantKey(key, "take", grantee);
  // They list names and numbers, and take no resource.
  return allow(
    [
      "sqs:ListQueues",
      "lambda:ListEventSourceMappings",
      "cloudwatch:GetMetricData",
      ...(runtimeRules === undefined ? [] : ["events:ListRules"]),
    ],
    ["*"],
  );
}

/** Looks, and steers these queues. */
export function grantOperate(operated: Operated, grantee: iam.IGrantable, names: readonly TaskQueue[]): iam.Grant {
  const { rows, journal, hasLimits } = operated;
  const given = grantInspect(operated, grantee);
  const allow = rightsHere(rows.table, grantee, "look at an app or steer it");
  const queues = names.flatMap(arnsOf);
  const dead = names.map(({ deadLetterQueue }) => deadLetterQueue.queueArn);
  // Tasks and dead letters are sent again, letters deleted, and either kind of queue purged.
  allow(["sqs:SendMessage"], queues);
  allow(["sqs:PurgeQueue"], [...queues, ...dead]);
  allow(["sqs:DeleteMessage"], dead);
  allow(["dynamodb:PutItem", "dynamodb:UpdateItem"], [rows.table.tableArn], rowsOf(rows, ["task", "group", "control"]));
  // A rate that is changed is a row of the limit's.
  if (hasLimits) allow(["dynamodb:BatchGetItem", "dynamodb:PutItem"], [rows.table.tableArn], rowsOf(rows, ["limit"]));
  allow(
    ["lambda:UpdateEventSourceMapping"],
    names.flatMap(({ mappings }) => mappings.map(({ eventSourceMappingArn }) => eventSourceMappingArn)),
  );
  if (journal !== undefined) allow(["dynamodb:PutItem"], [journal.tableArn]);
  for (const key of new Set([rows.table.encryptionKey, journal?.encryptionKey])) grantKey(key, "write", grantee);
  for (const key of new Set(names.map(({ queue }) => queue.encryptionMasterKey))) grantKey(key, "put", grantee);
  return given;
}
