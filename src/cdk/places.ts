/** Where that is which a deployment is given: its region and account, checked at synth, since nothing finds it elsewhere. */
import { Arn, ArnFormat, type ResourceEnvironment, Stack, Token, TokenComparison } from "aws-cdk-lib";
import type { CfnGlobalTable, CfnTable } from "aws-cdk-lib/aws-dynamodb";
import type { Construct, IConstruct } from "constructs";
import { ImproperlyConfigured } from "../errors.ts";
import type { TaskQueueOptions } from "./task-queue.ts";
import type { TaskQueuesProps } from "./task-queues.ts";

type Part = keyof ResourceEnvironment;

/** Throws `ImproperlyConfigured` for what is elsewhere, or cannot be what it is given as. */
export function checkPlaces(scope: Construct, props: TaskQueuesProps): void {
  const { table, payloadStore } = props;
  if (table !== undefined) {
    // Its URL has its name and the stack's region, and the journal is read and written where it is.
    checkPlace(scope, "table", { env: table.env, arn: table.tableArn }, ["region", "account"]);
    checkKeyOfTable(table.node.defaultChild);
  }
  if (typeof payloadStore === "object") checkOwner(scope, "payloadStore", payloadStore, "s3.Bucket.fromBucketName");
  const queues = Object.entries(props.queues ?? {}).map(
    ([name, options = {}]) => [`queues.${name}.`, options] as const,
  );
  for (const [at, options] of [["", props] as const, ["board.", props.board ?? {}] as const, ...queues])
    checkOptions(scope, at, options);
}

function checkOptions(scope: Construct, at: string, options: Omit<TaskQueueOptions, "bundling" | "sendsTo">): void {
  const { encryptionKey: key, vpc, securityGroups = [], layers = [], container: { cluster } = {} } = options;
  if (key !== undefined) {
    checkPlace(scope, `${at}encryptionKey`, { env: key.env, arn: key.keyArn }, ["region"]);
    checkOwner(scope, `${at}encryptionKey`, key, "kms.Key.fromKeyArn");
  }
  // A network may be shared with other accounts, and a layer too.
  if (vpc !== undefined) checkPlace(scope, `${at}vpc`, vpc, ["region"]);
  for (const group of securityGroups) checkPlace(scope, `${at}securityGroups`, group, ["region"]);
  for (const { env, layerVersionArn: arn } of layers) checkPlace(scope, `${at}layers`, { env, arn }, ["region"]);
  if (cluster !== undefined)
    checkPlace(scope, `${at}container.cluster`, { env: cluster.env, arn: cluster.clusterArn }, ["region", "account"]);
}

/**
 * Refuses a resource that is known to be of another region or, where nothing else says so, of another account: it would be
 * looked for in those of the stack.
 */
function checkPlace(
  scope: Construct,
  setting: string,
  { env, arn }: { readonly env: ResourceEnvironment; readonly arn?: string },
  parts: readonly Part[],
): void {
  const stack = Stack.of(scope);
  // The CDK takes a table to be of the stack's place, whatever the ARN says by which it is looked up.
  const place = arn === undefined || Token.isUnresolved(arn) ? env : Arn.split(arn, ArnFormat.SLASH_RESOURCE_NAME);
  for (const part of parts) {
    const given = place[part];
    if (given === undefined || Token.compareStrings(given, stack[part]) !== TokenComparison.DIFFERENT) continue;
    throw new ImproperlyConfigured(
      setting,
      `must be of the ${part} of its stack, which is ${stack[part]}; given: one of ${given}`,
    );
  }
}

/** What this app makes in another account has a policy that would have to name roles of this stack, which have no names yet. */
function checkOwner(
  scope: Construct,
  setting: string,
  resource: IConstruct & { readonly env: ResourceEnvironment },
  lookUp: string,
): void {
  const { account } = Stack.of(scope);
  const compared = Token.compareStrings(resource.env.account, account);
  const isOurs = compared === TokenComparison.SAME || compared === TokenComparison.BOTH_UNRESOLVED;
  if (isOurs || resource.node.defaultChild === undefined) return;
  const [whose, whoever] = [resource.env.account, account].map((id) =>
    Token.isUnresolved(id) ? "an account that its stack does not say" : id,
  );
  throw new ImproperlyConfigured(
    setting,
    `must be of the account of its stack, which is ${whoever}, where this app makes it, and ${resource.node.path} is of ${whose}: say the same env of both stacks; or, if they are two accounts, let the account use it where it is made (new iam.AccountPrincipal(…) in its policy), and give it as one that is there already (${lookUp})`,
  );
}

/** A table that this app makes says what its key is; of one that was looked up nobody knows. */
function checkKeyOfTable(made: IConstruct | undefined): void {
  if (made === undefined) return;
  const { keySchema, attributeDefinitions } = made as CfnTable | CfnGlobalTable;
  const [schema, definitions] = Stack.of(made).resolve([keySchema, attributeDefinitions]) as [
    readonly CfnTable.KeySchemaProperty[] | undefined,
    readonly CfnTable.AttributeDefinitionProperty[] | undefined,
  ];
  const keys = schema?.map(({ attributeName: name }) => {
    return `${name} (${definitions?.find(({ attributeName }) => attributeName === name)?.attributeType})`;
  });
  if (keys === undefined || keys.join() === "id (S)") return;
  throw new ImproperlyConfigured(
    "table",
    `must have the key "id", a string, and no other, as Celery's tables have; given: ${keys.join(", ")}`,
  );
}
