/** Rights: no wider than they have to be, for whoever is to have them, and never granted to nobody in silence. */
import { Annotations, RemovalPolicy, Stack, Token, TokenComparison } from "aws-cdk-lib";
import type * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as logs from "aws-cdk-lib/aws-logs";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct, type IConstruct } from "constructs";
import { askedKey, controlKey } from "../control/rows.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { limitKey } from "../limits/store.ts";
import { groupKey, joinKey, taskKey } from "../results/backend.ts";

/** The rows of a table, by what they are of. */
const ROWS = {
  task: taskKey,
  group: groupKey,
  chord: joinKey,
  control: controlKey,
  asked: askedKey,
  limit: limitKey,
} as const;
export type RowKind = keyof typeof ROWS;

/** Where an app has its rows. */
export interface RowsOf {
  readonly table: dynamodb.ITable;
  /** `globalKeyprefix` of the app. */
  readonly keyPrefix: string;
  /** Keys are spelled as Python's backend spells them: `b'…'`. */
  readonly isPython: boolean;
}

/** The rows of these kinds that an app has in its table, as IAM compares their keys. */
export function rowsOf({ keyPrefix, isPython }: RowsOf, kinds: readonly RowKind[]) {
  // A sign that IAM would take for a pattern stands for itself within `${}`.
  const plain = keyPrefix.replace(/[*?$]/g, (sign) => `\${${sign}}`);
  const patterns = kinds.map((kind) => `${isPython ? "b?" : ""}${plain}${ROWS[kind]("*")}`);
  return { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": patterns } };
}

/** A resource that may have a policy of its own. */
export interface Target {
  readonly resource: iam.IResourceWithPolicyV2 & IConstruct;
  readonly arn: string;
  /** For an error. */
  readonly name: string;
  /** What a policy of the resource calls the resource; `*` where naming it would be a circle. @default - its ARN */
  readonly selfArn?: string;
}

/**
 * Gives a right on resources: by the grantee's own policy, and by those of the resources where the grantee has none (an
 * account, an ARN, a service) or is of another account. Throws `ImproperlyConfigured` where neither is possible.
 */
export function grantOn(
  targets: readonly Target[],
  grantee: iam.IGrantable,
  actions: readonly string[],
  conditions?: Record<string, Record<string, unknown>>,
): iam.Grant {
  const right = { grantee, actions: [...actions], ...(conditions === undefined ? {} : { conditions }) };
  const given = iam.Grant.addToPrincipal({ ...right, resourceArns: targets.map(({ arn }) => arn) });
  if (given.success && !targets.some(({ resource }) => isElsewhere(resource, grantee))) return given;
  const grants = targets.map(({ resource, arn, name, selfArn = arn }) => {
    const both = { ...right, resource, resourceArns: [arn], resourceSelfArns: [selfArn] };
    const grant = iam.Grant.addToPrincipalOrResource(both);
    // A table that was only looked up takes a statement, and nothing comes of it.
    if (grant.resourceStatement !== undefined && resource.node.defaultChild !== undefined) return grant;
    throw new ImproperlyConfigured(
      "grantee",
      `can be given no right on ${name}: it has no policy of its own, or is of another account, and ${name} is not made by this app, so that its policy is not this app's to change. Add the statement where it is made (given: ${String(grantee.grantPrincipal)})`,
    );
  });
  return grants.reduce((all, grant) => all.combine(grant));
}

/** Whether a grantee is known to be of another account, where its own policy is not enough. */
export function isElsewhere(
  resource: Pick<iam.IResourceWithPolicyV2, "env">,
  { grantPrincipal }: iam.IGrantable,
): boolean {
  const { principalAccount } = grantPrincipal;
  if (principalAccount === undefined) return false;
  const compared = Token.compareStrings(resource.env.account, principalAccount);
  return compared === TokenComparison.DIFFERENT || compared === TokenComparison.ONE_UNRESOLVED;
}

/**
 * Adds rights to a policy of the grantee. Throws `ImproperlyConfigured` where it has none in this account: what is
 * asked for here no resource's policy can give alone.
 *
 * @param what The grantee is to do, for an error.
 */
export function rightsHere(place: Pick<iam.IResourceWithPolicyV2, "env">, grantee: iam.IGrantable, what: string) {
  return (
    actions: readonly string[],
    resourceArns: readonly string[],
    conditions?: Record<string, Record<string, unknown>>,
  ): iam.Grant => {
    if (resourceArns.length === 0) return iam.Grant.drop(grantee, "there is nothing that it is for");
    const right = { grantee, actions: [...actions], resourceArns: [...resourceArns] };
    const grant = iam.Grant.addToPrincipal({ ...right, ...(conditions === undefined ? {} : { conditions }) });
    if (grant.success && !isElsewhere(place, grantee)) return grant;
    const hint = Token.isUnresolved(place.env.account)
      ? "; whether a role that was looked up is of this account can only be told where the stack has an env"
      : "";
    throw new ImproperlyConfigured(
      "grantee",
      `cannot ${what}, as it has no policy in this account: it needs a role of this account that it may assume, and the role is granted (given: ${String(grantee.grantPrincipal)})${hint}`,
    );
  };
}

/** @param kinds Of none: what is asked of the table, and not of its rows. */
export function grantRows(
  rows: RowsOf,
  kinds: readonly RowKind[],
  grantee: iam.IGrantable,
  actions: readonly string[],
): iam.Grant {
  const { table } = rows;
  // Tables have policies, though the interface of one does not say so.
  const resource = table as dynamodb.ITable & Target["resource"];
  const target = { resource, arn: table.tableArn, name: "the table of results", selfArn: "*" };
  return grantOn([target], grantee, actions, kinds.length === 0 ? undefined : rowsOf(rows, kinds));
}

/** How a queue is encrypted, with or without a key of one's own. */
export const queueEncryption = (key: kms.IKey | undefined) =>
  key === undefined
    ? { encryption: sqs.QueueEncryption.SQS_MANAGED }
    : { encryption: sqs.QueueEncryption.KMS, encryptionMasterKey: key };

/**
 * What SQS, S3 and DynamoDB ask of a key in the name of whoever calls them: who puts a message or a text, who takes one, who
 * reads rows, and who writes them. Each by its name: `kms:GenerateDataKey*` is more.
 */
const KEY_USES = {
  put: ["Decrypt", "GenerateDataKey"],
  take: ["Decrypt"],
  read: ["Decrypt", "DescribeKey"],
  write: [
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
  ],
} as const;

/**
 * Throws `ImproperlyConfigured` for an alias that was looked up, on which the CDK gives rights to nobody; warns of who has no
 * policy here, where the key's own is not this app's to change either.
 */
export function grantKey(key: kms.IKey | undefined, use: keyof typeof KEY_USES, grantee: iam.IGrantable): void {
  if (key === undefined) return;
  const actions = keyRights(KEY_USES[use]);
  if (!key.grant(grantee, ...actions).success) {
    throw new ImproperlyConfigured(
      "encryptionKey",
      `must be the key, and ${key.node.path} is an alias that was looked up, on which the CDK gives rights to nobody: use kms.Key.fromLookup or kms.Key.fromKeyArn`,
    );
  }
  // What the CDK says of a grant on a key that was looked up is not what it has done.
  const { grantPrincipal } = grantee;
  const { principalAccount: account = Stack.of(key).account } = grantPrincipal;
  const hasPolicy =
    Construct.isConstruct(grantPrincipal) &&
    Token.compareStrings(Stack.of(key).account, account) !== TokenComparison.DIFFERENT;
  if (key.node.defaultChild !== undefined || hasPolicy) return;
  Annotations.of(key).addWarningV2(
    "lovage:encryptionKey.grant",
    `${String(grantPrincipal)} gets no right on the key ${key.node.path}, as it has no policy in this account, and that of the key is not this app's to change: allow it ${actions.join(", ")} where the key is made`,
  );
}

const keyRights = (actions: readonly string[]): readonly string[] => actions.map((action) => `kms:${action}`);

/** The log of a worker, which goes with its stack; encrypted by a key of one's own, where there is one. */
export function workerLog(
  scope: Construct,
  {
    logRetention,
    encryptionKey,
  }: { readonly logRetention: logs.RetentionDays; readonly encryptionKey?: kms.IKey | undefined },
): logs.LogGroup {
  if (encryptionKey !== undefined) letLogs(scope, encryptionKey);
  return new logs.LogGroup(scope, "Logs", {
    retention: logRetention,
    ...(encryptionKey === undefined ? {} : { encryptionKey }),
    removalPolicy: RemovalPolicy.DESTROY,
  });
}

function letLogs(scope: Construct, key: kms.IKey): void {
  const { partition, region, account, urlSuffix } = Stack.of(scope);
  letService(
    key,
    // The one service here whose name is another one in China.
    `logs.${region}.${urlSuffix}`,
    ["Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey"],
    { ArnLike: { "kms:EncryptionContext:aws:logs:arn": `arn:${partition}:logs:${region}:${account}:*` } },
  );
}

/**
 * Lets a service of AWS use a key in its own name. A key that is not made by this app keeps its policy, which then has to
 * say so already. Its statements have no `Sid`: KMS takes each but once, and a key may serve several deployments.
 */
export function letService(
  key: kms.IKey,
  service: string,
  actions: readonly string[],
  conditions: Record<string, Record<string, unknown>>,
): void {
  key.addToResourcePolicy(
    new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal(service)],
      actions: [...keyRights(actions)],
      resources: ["*"],
      conditions,
    }),
    true,
  );
}
