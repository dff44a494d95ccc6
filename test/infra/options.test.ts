/** Each option of a deployment, said alone: it is what is deployed, or it is refused. None is read and left aside. */
import { join } from "node:path";
import { Duration, RemovalPolicy, Size, Stack } from "aws-cdk-lib";
import { Annotations, Match, Template } from "aws-cdk-lib/assertions";
import * as actions from "aws-cdk-lib/aws-cloudwatch-actions";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import * as sns from "aws-cdk-lib/aws-sns";
import { type ConfigInput, LovageError } from "lovage";
import {
  type BoardFunctionOptions,
  type ContainerOptions,
  type TaskQueueOptions,
  TaskQueues,
  type TaskQueuesProps,
} from "lovage/cdk";
import { describe, expect, test } from "vitest";
import { FUNCTIONS, shop, unbundled } from "./deployment.ts";

/** What the options are made of, in each stack, so that it makes no difference itself. */
function surroundings(stack: Stack) {
  const topic = new sns.Topic(stack, "Topic");
  const vpc = new ec2.Vpc(stack, "Vpc", { maxAzs: 1 });
  return {
    vpc,
    action: new actions.SnsAction(topic),
    group: new ec2.SecurityGroup(stack, "Group", { vpc }),
    cluster: new ecs.Cluster(stack, "Cluster", { vpc }),
    key: new kms.Key(stack, "Key"),
    table: new dynamodb.Table(stack, "Table", { partitionKey: { name: "id", type: dynamodb.AttributeType.STRING } }),
    layer: lambda.LayerVersion.fromLayerVersionArn(stack, "Layer", "arn:aws:lambda:eu-west-1:111111111111:layer:l:1"),
  };
}
type Surroundings = ReturnType<typeof surroundings>;

/** A value for each option that is not its default. What only a bundle shows is told by a warning, or by a file that is not there. */
type Values<T> = { readonly [Name in keyof Required<T>]: T[Name] | ((around: Surroundings) => T[Name]) };

const image = ecs.ContainerImage.fromRegistry("node:24");
const entry = join(FUNCTIONS, "worker.ts");
const beatEntry = join(FUNCTIONS, "beat.ts");
const nowhere = "not-there.ts";
const bundling = { nodeModules: ["esbuild"] };

const shared = {
  architecture: lambda.Architecture.X86_64,
  tracing: lambda.Tracing.ACTIVE,
  vpc: ({ vpc }) => vpc,
  vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC },
  securityGroups: ({ group }) => [group],
  depsLockFilePath: "not-there.json",
  projectRoot: "/not/there",
} satisfies Partial<Values<TaskQueuesProps>>;

const ofFunction = {
  ...shared,
  memorySize: 1024,
  environment: { MODE: "x" },
  logLevel: lambda.ApplicationLogLevel.ERROR,
  ephemeralStorageSize: Size.gibibytes(1),
  layers: ({ layer }) => [layer],
} satisfies Partial<Values<TaskQueueOptions>>;

const TASK_QUEUES: Values<Omit<TaskQueuesProps, "app" | "queues">> = {
  ...shared,
  entry: nowhere,
  beatEntry,
  prefix: "mine-",
  sendsTo: "all",
  table: ({ table }) => table,
  tableName: "mine",
  warmThroughput: { readUnitsPerSecond: 13_000 },
  encryptionKey: ({ key }) => key,
  logRetention: RetentionDays.ONE_WEEK,
  longDelays: true,
  removalPolicy: RemovalPolicy.DESTROY,
  enforceSSL: false,
  alarmActions: ({ action }) => [action],
  okActions: ({ action }) => [action],
  payloadStore: true,
  container: { image, concurrency: 2 },
  board: { entry },
  bundling,
};

const QUEUE: Values<TaskQueueOptions> = {
  ...ofFunction,
  batchSize: 5,
  maxBatchingWindow: Duration.seconds(5),
  maxConcurrency: 20,
  provisionedPollers: { minimum: 2, maximum: 3 },
  highThroughput: true,
  reservedConcurrency: 20,
  retentionPeriod: Duration.days(3),
  sendsTo: ["other"],
  encryptionKey: ({ key }) => key,
  oldestMessageAge: Duration.minutes(3),
  failedPercent: 20,
  entry: nowhere,
  container: { image, concurrency: 2 },
  bundling,
};

const CONTAINER: Values<ContainerOptions> = {
  image: ecs.ContainerImage.fromRegistry("node:22"),
  command: ["--queues", "celery"],
  concurrency: 2,
  cpu: 2048,
  memoryLimitMiB: 4096,
  ephemeralStorageGiB: 100,
  spot: true,
  cluster: ({ cluster }) => cluster,
  minTasks: 1,
  maxTasks: 3,
  backlogPerTask: 7,
  stopTimeout: Duration.seconds(60),
  healthCheck: { command: ["CMD", "true"] },
};

const BOARD: Values<BoardFunctionOptions> = { ...ofFunction, entry: nowhere, readOnly: true };

const WORKERS = ["function", "container", "none"] as const;
type Worker = (typeof WORKERS)[number];

const appOf = (worker: Worker): ConfigInput => ({ taskQueues: { celery: { worker }, other: { worker } } });

/** What cannot be left out, of each kind. */
const NEEDED: Readonly<Record<Worker, Partial<TaskQueuesProps>>> = {
  function: { entry },
  container: { container: { image } },
  none: {},
};

/** What the CDK itself says of a file or a network that is not there, and of a policy that it does not know. */
const CDKS =
  /not-there|\/not\/there|without configuring a VPC|in a public subnet|removal policy|Cannot find entry|[Ll]ock file|should be under|entry files are supported/;

/** What is deployed of all that is said, and what synth says to it. `undefined` where it is refused. */
function synthesized(worker: Worker, props: (around: Surroundings) => Partial<TaskQueuesProps>): string | undefined {
  const stack = new Stack(unbundled(), "Shop", { env: { account: "111111111111", region: "eu-west-1" } });
  const around = surroundings(stack);
  try {
    const tasks = new TaskQueues(stack, "Tasks", { app: shop(appOf(worker)), ...NEEDED[worker], ...props(around) });
    // Of queues whose workers are elsewhere this is where their rights are.
    if (worker === "none")
      tasks.grantWork(new iam.Role(stack, "Elsewhere", { assumedBy: new iam.AccountRootPrincipal() }));
    const warnings = Annotations.fromStack(stack).findWarning("*", Match.anyValue());
    return JSON.stringify([Template.fromStack(stack).toJSON(), warnings.map(({ entry }) => entry.data)]);
  } catch (error) {
    if (error instanceof LovageError || CDKS.test(String(error))) return undefined;
    throw error;
  }
}

const made = (value: unknown, around: Surroundings): unknown =>
  typeof value === "function" ? (value as (around: Surroundings) => unknown)(around) : value;

describe.each(WORKERS)("where the worker is a %s", (worker) => {
  const plain = synthesized(worker, () => ({}));
  test("it can be deployed", () => expect(plain).toBeDefined());

  // An entry may stay when the last function goes.
  const options = Object.entries(TASK_QUEUES).filter(([name]) => name !== "entry" || worker === "function");
  test.each(options)("%s of TaskQueues", (name, value) => {
    expect(synthesized(worker, (around) => ({ [name]: made(value, around) }))).not.toBe(plain);
  });

  test.each(Object.entries(QUEUE))("%s of a queue", (name, value) => {
    const said = (around: Surroundings) => ({ queues: { celery: { [name]: made(value, around) } } });
    expect(synthesized(worker, said)).not.toBe(plain);
  });
});

describe.each<[string, (around: Surroundings) => Omit<ContainerOptions, "image">]>([
  ["a container", () => ({})],
  ["a container with a command", () => ({ command: ["--queues", "celery,other"] })],
  ["a number of containers that stays", () => ({ minTasks: 2, maxTasks: 2 })],
  ["a command, and a worth of a container", () => ({ command: ["-Q", "celery"], backlogPerTask: 5 })],
])("of %s", (_, base) => {
  const plain = synthesized("container", (around) => ({ container: { image, ...base(around) } }));
  test("it can be deployed", () => expect(plain).toBeDefined());

  test.each(Object.entries(CONTAINER))("%s", (name, value) => {
    const said = (around: Surroundings) => ({
      container: { image, ...base(around), [name]: made(value, around) } as ContainerOptions,
    });
    expect(synthesized("container", said)).not.toBe(plain);
  });
});

describe("of the board", () => {
  const plain = synthesized("function", () => ({ board: { entry } }));

  test.each(Object.entries(BOARD))("%s", (name, value) => {
    const said = (around: Surroundings) => ({ board: { entry, [name]: made(value, around) } });
    expect(synthesized("function", said)).not.toBe(plain);
  });
});

test("an option that is undefined is one that is not said: what is said for all holds", () => {
  const none = (values: object) => Object.fromEntries(Object.keys(values).map((name) => [name, undefined]));
  const all = ({ vpc, group, key }: Surroundings) => ({
    architecture: lambda.Architecture.X86_64,
    tracing: lambda.Tracing.ACTIVE,
    vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
    securityGroups: [group],
    encryptionKey: key,
    sendsTo: "all" as const,
    bundling: { nodeModules: ["esbuild"], format: undefined },
    board: { entry },
  });
  const plain = synthesized("function", all);
  expect(plain).toBeDefined();
  const said = (around: Surroundings) => ({
    ...all(around),
    board: { ...none(BOARD), entry },
    queues: { celery: none(QUEUE), other: none(QUEUE) },
  });
  expect(synthesized("function", said)).toBe(plain);
  const queues = { celery: undefined, other: undefined };
  expect(synthesized("function", (around) => ({ ...all(around), queues }))).toBe(plain);
});

/** Of these most options refuse most. */
const ODD = { text: "x", number: 5, null: null, list: [["x"]], object: { x: 1 } };

const saidOf = (options: object, said: (option: object) => object, at = "") =>
  Object.keys(options).map((name): [string, (value: unknown) => object] => [
    at + name,
    (value) => said({ [name]: value }),
  ]);

test.each([
  ...saidOf({ ...TASK_QUEUES, queues: {} }, (option) => option),
  ...saidOf({ celery: {} }, (queues) => ({ queues }), "queues."),
  ...saidOf(QUEUE, (option) => ({ queues: { celery: option } }), "queues.celery."),
  ...saidOf(CONTAINER, (option) => ({ container: { image, ...option } }), "container."),
  ...saidOf(BOARD, (option) => ({ board: { entry, ...option } }), "board."),
])("what JavaScript may give as %s is of its kind, or is refused by its name", (at, said) => {
  const worker = at.startsWith("container") ? "container" : "function";
  for (const value of Object.values(ODD)) {
    const stack = new Stack(unbundled(), "Shop", { env: { account: "111111111111", region: "eu-west-1" } });
    try {
      new TaskQueues(stack, "Tasks", { app: shop(appOf(worker)), ...NEEDED[worker], ...said(value) });
    } catch (error) {
      if (!(error instanceof LovageError) && !CDKS.test(String(error))) throw error;
    }
  }
});

test.each<[string, object]>([
  ["beatentry", { beatentry: beatEntry }],
  ["queues.celery.queue", { queues: { celery: { queue: { name: "other" } } } }],
  ["queues.celery.memory_size", { queues: { celery: { memory_size: 1024 } } }],
  ["board.readonly", { board: { entry, readonly: true } }],
  ["container.maxTask", { container: { image, maxTask: 3 } }],
])("an option that there is not is refused: %s", (at, said) => {
  const stack = new Stack(unbundled(), "Shop");
  expect(() => new TaskQueues(stack, "Tasks", { app: shop(), entry, ...said })).toThrow(`${at}: is `);
});

test("the props of a stack go with those of its queues", () => {
  const props = { env: { account: "111111111111", region: "eu-west-1" }, description: "Our shop", stackName: "Shop" };
  const said = { longDelays: true };
  expect(synthesized("function", () => ({ ...props, ...said }))).toBe(synthesized("function", () => said));
});
