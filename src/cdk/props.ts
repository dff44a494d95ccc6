/** The props as JavaScript may give them, where nothing has checked them before: each of its kind, and none that nobody reads. */
import { type StackProps, Token } from "aws-cdk-lib";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { boolean, fail, name, names, object, type Parse, text, unknownKey } from "../parse.ts";
import type { BoardFunctionOptions } from "./board.ts";
import type { ContainerOptions } from "./container-worker.ts";
import type { FunctionOptions } from "./task-function.ts";
import type { TaskQueueOptions } from "./task-queue.ts";
import type { TaskQueuesProps } from "./task-queues.ts";

type Checks<T> = { readonly [Name in keyof T]-?: Parse<unknown> };

/** Of what is checked where it is used, its range and all. */
const elsewhere: Parse<unknown> = (value) => value;

/** Not by their classes: another copy of the CDK may have made them. */
const having =
  (member: string, type: "function" | "object" | "string", what: string): Parse<unknown> =>
  (value, at) => {
    const found = (value as Readonly<Record<string, unknown>> | null)?.[member];
    return typeof found === type ? value : fail(at, what, value);
  };
const construct = (example: string) => having("node", "object", `a construct, such as ${example}`);
const duration = having("toSeconds", "function", "a Duration, such as Duration.seconds(60)");
const size = having("toMebibytes", "function", "a Size, such as Size.gibibytes(1)");

const list =
  (each: Parse<unknown>): Parse<unknown> =>
  (value, at) =>
    Array.isArray(value) ? value.map((one, i) => each(one, `${at}[${i}]`)) : fail(at, "a list", value);

const oneOf =
  (values: object): Parse<unknown> =>
  (value, at) =>
    Token.isUnresolved(value) || Object.values(values).includes(value)
      ? value
      : fail(at, `one of ${Object.values(values).join(", ")}`, value);

const queueNames: Parse<unknown> = (value, at) =>
  value === "all" || Array.isArray(value)
    ? names(value, at)
    : fail(at, 'a list of queues by their names in the app, or "all"', value);

const pollers: Parse<unknown> = (value, at) => {
  const { minimum, maximum } = object(value, at);
  return minimum === undefined || maximum === undefined ? fail(at, "an object of minimum and maximum", value) : value;
};

const actions = list(having("bind", "function", "an action of an alarm, such as new SnsAction(topic)"));

const OF_FUNCTION: Checks<FunctionOptions> = {
  memorySize: elsewhere,
  environment: object,
  logLevel: oneOf(lambda.ApplicationLogLevel),
  architecture: having("name", "string", "lambda.Architecture.ARM_64 or lambda.Architecture.X86_64"),
  ephemeralStorageSize: size,
  tracing: oneOf(lambda.Tracing),
  vpc: construct("ec2.Vpc.fromLookup(…)"),
  vpcSubnets: object,
  securityGroups: list(construct("ec2.SecurityGroup.fromSecurityGroupId(…)")),
  layers: list(construct("lambda.LayerVersion.fromLayerVersionArn(…)")),
  depsLockFilePath: name,
  projectRoot: name,
};

const OF_CONTAINER: Checks<ContainerOptions> = {
  image: having("bind", "function", "an image, such as ecs.ContainerImage.fromAsset(…)"),
  command: list(text),
  concurrency: elsewhere,
  cpu: elsewhere,
  memoryLimitMiB: elsewhere,
  ephemeralStorageGiB: elsewhere,
  spot: boolean,
  cluster: construct("ecs.Cluster.fromClusterAttributes(…)"),
  minTasks: elsewhere,
  maxTasks: elsewhere,
  backlogPerTask: elsewhere,
  stopTimeout: duration,
  healthCheck: (value, at) =>
    Array.isArray(object(value, at)["command"]) ||
    fail(at, 'an object with a list, such as { command: ["CMD", "true"] }', value),
};
const container: Parse<unknown> = (value, at) => checked(OF_CONTAINER, value, at, ["image"]);

const encryptionKey = construct("kms.Key.fromKeyArn(…)");

const OF_QUEUE: Checks<TaskQueueOptions> = {
  ...OF_FUNCTION,
  batchSize: elsewhere,
  maxBatchingWindow: duration,
  maxConcurrency: elsewhere,
  provisionedPollers: pollers,
  highThroughput: boolean,
  reservedConcurrency: elsewhere,
  retentionPeriod: duration,
  sendsTo: queueNames,
  encryptionKey,
  oldestMessageAge: duration,
  failedPercent: elsewhere,
  entry: name,
  container,
  bundling: object,
};

const OF_BOARD: Checks<BoardFunctionOptions> = { ...OF_FUNCTION, entry: name, readOnly: boolean };

const { architecture, tracing, vpc, vpcSubnets, securityGroups, depsLockFilePath, projectRoot } = OF_FUNCTION;

const OF_ALL: Checks<TaskQueuesProps> = {
  architecture,
  tracing,
  vpc,
  vpcSubnets,
  securityGroups,
  depsLockFilePath,
  projectRoot,
  app: elsewhere,
  entry: name,
  beatEntry: name,
  prefix: text,
  queues: (value, at) => {
    // Whether they are queues of the app is checked with all else that names one.
    for (const [queue, options] of Object.entries(object(value, at)))
      if (options !== undefined) checked(OF_QUEUE, options, `${at}.${queue}`);
  },
  sendsTo: queueNames,
  table: construct("dynamodb.Table.fromTableName(…)"),
  tableName: text,
  warmThroughput: object,
  encryptionKey,
  logRetention: elsewhere,
  longDelays: boolean,
  removalPolicy: elsewhere,
  enforceSSL: boolean,
  alarmActions: actions,
  okActions: actions,
  payloadStore: (value, at) =>
    typeof value === "boolean" ||
    having("node", "object", "true, false, or a bucket, such as s3.Bucket.fromBucketName(…)")(value, at),
  container,
  board: (value, at) => checked(OF_BOARD, value, at, ["entry"]),
  bundling: object,
};

/** A stack often hands its own props on with those of the queues: they are the stack's, and nothing that nobody reads. */
const OF_STACK: Checks<StackProps> = {
  analyticsReporting: elsewhere,
  crossRegionReferences: elsewhere,
  description: elsewhere,
  env: elsewhere,
  notificationArns: elsewhere,
  permissionsBoundary: elsewhere,
  propertyInjectors: elsewhere,
  stackName: elsewhere,
  suppressTemplateIndentation: elsewhere,
  synthesizer: elsewhere,
  tags: elsewhere,
  terminationProtection: elsewhere,
};

/** Throws `ImproperlyConfigured` for a prop of another kind, and for one that there is not. */
export function checkProps(props: TaskQueuesProps): void {
  checked({ ...OF_STACK, ...OF_ALL }, props, "");
}

function checked(
  checks: Readonly<Record<string, Parse<unknown>>>,
  value: unknown,
  at: string,
  needed: readonly string[] = [],
): void {
  const given = object(value, at || "props");
  const whose = at === "" ? "" : `${at}.`;
  for (const name of needed) if (given[name] === undefined) fail(at, `an object with ${name}`, value);
  for (const [key, one] of Object.entries(given)) {
    if (one === undefined) continue;
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined) throw unknownKey(whose + key, key, Object.keys(checks), {});
    check(one, whose + key);
  }
}
