/** What things are called once they are deployed. */
import { join } from "node:path";
import { App, CfnParameter, Duration, Lazy, NestedStack, RemovalPolicy, Size, Stack } from "aws-cdk-lib";
import { Match, Template, Annotations as Warnings } from "aws-cdk-lib/assertions";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as s3 from "aws-cdk-lib/aws-s3";
import { Lovage, type ConfigInput } from "lovage";
import { bundlingFor, TaskQueues, type TaskQueuesProps } from "lovage/cdk";
import { expect, test } from "vitest";
import { ENVIRONMENT, outputOf } from "../../src/config/values.ts";
import { deploy, FUNCTIONS, shop, unbundled } from "./deployment.ts";

const entries = { entry: join(FUNCTIONS, "worker.ts"), beatEntry: join(FUNCTIONS, "beat.ts") };
const often = { task: "shop.add", schedule: 60 };
const namesOf = (stack: Stack, type: string, property: string) =>
  Object.values(Template.fromStack(stack).findResources(type)).flatMap(({ Properties }) => Properties[property] ?? []);

test("everything is called after its stack, unless a prefix is given or the app has one", () => {
  const of = (app: Lovage, props: Partial<TaskQueuesProps> = {}) => {
    const stack = new Stack(unbundled(), "Shop");
    new TaskQueues(stack, "Tasks", { app, ...entries, ...props });
    return [
      ["AWS::SQS::Queue", "QueueName"],
      ["AWS::DynamoDB::Table", "TableName"],
      ["AWS::Events::Rule", "Name"],
    ].flatMap(([type = "", property = ""]) => namesOf(stack, type, property));
  };
  const names = (prefix: string) => [
    `${prefix}celery-dlq`,
    `${prefix}celery`,
    `lovage-${prefix}beat-dead-letters`,
    `${prefix}celery`,
    `${prefix}journal`,
    `${prefix}beat-often`,
  ];
  const beatSchedule = { often };
  expect(of(shop({ beatSchedule }))).toEqual(names("Shop-"));
  expect(of(shop({ beatSchedule }), { prefix: "prod-" })).toEqual(names("prod-"));
  expect(of(shop({ beatSchedule }), { prefix: "" })).toEqual(names(""));
  const brokerTransportOptions = { queueNamePrefix: "own-" };
  expect(of(shop({ beatSchedule, brokerTransportOptions }))).toEqual(names("own-"));
});

test("the environment of the shell that deploys, which may be that of another deployment, names nothing", () => {
  const env = {
    LOVAGE_BROKER_URL: "sqs://eu-west-1?queue_name_prefix=Staging-",
    LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/Staging-celery?keys=python",
    LOVAGE_PAYLOAD_STORE: "s3://staging",
  };
  const template = (environment: Record<string, string>, config = {}) => {
    const app = new Lovage("shop", { beatSchedule: { often }, ...config }, { env: environment });
    app.task("shop.add", (x: number, y: number) => x + y);
    const stack = new Stack(unbundled(), "Shop");
    new TaskQueues(stack, "Tasks", { app, ...entries });
    expect(bundlingFor(app).define?.["LOVAGE_PAYLOADS"]).toBe("false");
    return Template.fromStack(stack).toJSON();
  };
  expect(template(env)).toEqual(template({}));
  const own = { brokerUrl: "sqs://eu-west-1?queue_name_prefix=own-", resultBackend: "dynamodb://eu-west-1/own" };
  expect(template(env, own)).toEqual(template({}, own));
  // Who says the broker alone has the rest from the environment, in each process of theirs.
  expect(JSON.stringify(template(env, { brokerUrl: own.brokerUrl }))).toContain('"own-celery"');
});

test("in a nested stack it is called after the stack that is deployed", () => {
  const nested = new NestedStack(new Stack(unbundled(), "Shop"), "Part");
  new TaskQueues(nested, "Tasks", { app: shop(), ...entries });
  expect(namesOf(nested, "AWS::SQS::Queue", "QueueName")).toContain("Shop-celery");
});

test("the outputs of one in a nested stack are those of the stack that is deployed, which alone shows them", () => {
  const outputs = (place: (stack: Stack) => Stack) => {
    const stack = new Stack(unbundled(), "Shop");
    new TaskQueues(place(stack), "Tasks", { app: shop(), ...entries });
    const template = Template.fromStack(stack);
    const conditions = Object.keys(template.findConditions("*"));
    // Each condition that is asked for is of the same template.
    const asked = JSON.stringify(template.findOutputs("*")).matchAll(/"Fn::If":\["(\w+)"/g);
    for (const [, condition] of asked) expect(conditions).toContain(condition);
    return Object.keys(template.findOutputs("*"));
  };
  const own = outputs((stack) => stack);
  expect(own).toContain("LovageBrokerUrl");
  expect(outputs((stack) => new NestedStack(new NestedStack(stack, "Part"), "Inner"))).toEqual(own);
});

const REFUSED = /must be known at synth/;

test.each<[string, (stack: Stack, token: string) => void]>([
  ["a prefix", (stack, token) => new TaskQueues(stack, "Tasks", { app: shop(), ...entries, prefix: `${token}-` })],
  ["a table's name", (stack, token) => new TaskQueues(stack, "Tasks", { app: shop(), ...entries, tableName: token })],
  ["a queue's name", (stack, token) => tasksOf(stack, { taskQueues: { celery: {}, [`q${token}`]: {} } })],
  ["an app's name", (stack, token) => new TaskQueues(stack, "Tasks", { app: new Lovage(`shop ${token}`), ...entries })],
  ["an entry's task", (stack, token) => tasksOf(stack, { beatSchedule: { often: { ...often, task: `x${token}` } } })],
  ["the pattern of a route", (stack, token) => tasksOf(stack, { taskRoutes: { [token]: "celery" } })],
  ["an entry's name", (stack, token) => tasksOf(stack, { beatSchedule: { [`e${token}`]: often } })],
  [
    "the app's own prefix",
    (stack, token) => tasksOf(stack, { brokerTransportOptions: { queueNamePrefix: `${token}-` } }),
  ],
  [
    "a prefix of the table's keys",
    (stack, token) => tasksOf(stack, { resultBackendTransportOptions: { globalKeyprefix: token } }),
  ],
  ["the app's own table", (stack, token) => tasksOf(stack, { resultBackend: `dynamodb://eu-west-1/${token}` })],
])("%s that is known at deployment only is refused", (_, make) => {
  const stack = new Stack(unbundled(), "Shop");
  expect(() => make(stack, new CfnParameter(stack, "Env").valueAsString)).toThrow(REFUSED);
});

function tasksOf(stack: Stack, config: ConstructorParameters<typeof Lovage>[1]): TaskQueues {
  return new TaskQueues(stack, "Tasks", { app: shop(config), ...entries });
}

test.each<[string, string, object]>([
  ["args[1]", "an argument of an entry", { args: [1, "token"] }],
  ["args[0].at[0]", "what is deep in an argument", { args: [{ at: ["a/token"] }] }],
  ["kwargs.key", "a keyword argument", { kwargs: { key: "token" } }],
  ["kwargs", "a keyword", { kwargs: { token: 1 } }],
  ["options.headers.from", "a header", { options: { headers: { from: "token" } } }],
])("the function of beat has no values of the deployment: of its entry %s is refused (%s)", (at, _, entry) => {
  const stack = new Stack(unbundled(), "Shop");
  const token = new CfnParameter(stack, "Env").valueAsString;
  const given = JSON.parse(JSON.stringify(entry).replace("token", token)) as object;
  expect(() => tasksOf(stack, { beatSchedule: { often: { ...often, ...given } } })).toThrow(
    `beatSchedule.often.${at}: must be known at synth`,
  );
});

test("numbers and lists of the deployment as arguments of an entry are refused too", () => {
  const stack = new Stack(unbundled(), "Shop");
  for (const [id, args] of Object.entries({
    Number: [new CfnParameter(stack, "Some", { type: "Number" }).valueAsNumber],
    List: new CfnParameter(stack, "Several", { type: "List<String>" }).valueAsList,
    Any: [Lazy.any({ produce: () => 1 })],
  })) {
    const app = shop({ beatSchedule: { often: { ...often, args } } });
    expect(() => new TaskQueues(stack, id, { app, ...entries, prefix: id }), id).toThrow(REFUSED);
  }
});

test.each<[string, (number: number, text: string) => ConfigInput]>([
  ["taskQueues.celery.timeLimit", (timeLimit) => ({ taskQueues: { celery: { timeLimit } } })],
  ["taskQueues.celery.priorities", (number) => ({ taskQueues: { celery: { priorities: [0, number] } } })],
  ["taskQueues.celery", () => ({ taskQueues: { celery: Lazy.any({ produce: () => 1 }) as object } })],
  ["taskTimeLimit", (taskTimeLimit) => ({ taskTimeLimit })],
  ["resultExpires", (resultExpires) => ({ resultExpires })],
  ["journalExpires.days", (days) => ({ journalExpires: { days } })],
  ["taskDefaultPriority", (taskDefaultPriority) => ({ taskDefaultPriority })],
  ["timezone", (_, timezone) => ({ timezone })],
  ["brokerUrl", (_, brokerUrl) => ({ brokerUrl })],
  ["resultBackend", (_, resultBackend) => ({ resultBackend })],
  ["metrics", (_, text) => ({ metrics: text as "queue" })],
  ['beatSchedule["often"].schedule', (schedule) => ({ beatSchedule: { often: { ...often, schedule } } })],
  [
    'beatSchedule["often"].options.expires: a call of shop.add',
    (expires) => ({ beatSchedule: { often: { ...often, options: { expires } } } }),
  ],
  ['taskAnnotations["*"].timeLimit: an annotation', (timeLimit) => ({ taskAnnotations: { "*": { timeLimit } } })],
])(
  "a setting of the app that is known at deployment only is refused as such when the app is made: %s",
  (at, config) => {
    const stack = new Stack(unbundled(), "Shop");
    const number = new CfnParameter(stack, "Number", { type: "Number" }).valueAsNumber;
    const text = new CfnParameter(stack, "Text").valueAsString;
    expect(() => shop(config(number, text))).toThrow(`${at}: must be known at synth`);
    const app = shop();
    expect(() => app.task("shop.late", { timeLimit: number }, () => 1)).toThrow(
      "task shop.late: must be known at synth",
    );
  },
);

const image = ecs.ContainerImage.fromRegistry("example.com/worker");

test.each<[string, (number: number, text: string) => Partial<TaskQueuesProps>]>([
  ["celery.memorySize", (memorySize) => ({ queues: { celery: { memorySize } } })],
  ["celery.retentionPeriod", (days) => ({ queues: { celery: { retentionPeriod: Duration.days(days) } } })],
  ["celery.maxBatchingWindow", (minutes) => ({ queues: { celery: { maxBatchingWindow: Duration.minutes(minutes) } } })],
  ["ephemeralStorageSize", (room) => ({ queues: { celery: { ephemeralStorageSize: Size.gibibytes(room) } } })],
  ["sendsTo[0]", (_, queue) => ({ sendsTo: [queue] })],
  ["queues.celery.sendsTo[0]", (_, queue) => ({ queues: { celery: { sendsTo: [queue] } } })],
  ["many.container.cpu", (cpu) => ({ container: { image, cpu } })],
  ["many.container.memoryLimitMiB", (memoryLimitMiB) => ({ container: { image, memoryLimitMiB } })],
  ["many.container.minTasks", (minTasks) => ({ container: { image, minTasks } })],
  ["many.container.stopTimeout", (minutes) => ({ container: { image, stopTimeout: Duration.minutes(minutes) } })],
])("%s that is known at deployment only is refused, whatever its unit", (at, props) => {
  const stack = new Stack(unbundled(), "Shop");
  const number = new CfnParameter(stack, "Number", { type: "Number" }).valueAsNumber;
  const text = new CfnParameter(stack, "Text").valueAsString;
  const app = shop({ taskQueues: { celery: {}, many: { worker: "container" } } });
  const make = () => new TaskQueues(stack, "Tasks", { app, ...entries, container: { image }, ...props(number, text) });
  expect(make).toThrow(`${at}: must be known at synth`);
});

const IRELAND = { account: "111111111111", region: "eu-west-1" };
const elsewhere = (stack: Stack, account?: string, region = "eu-west-1") =>
  new Stack(stack.node.root as App, "Elsewhere", account === undefined ? {} : { env: { account, region } });
const stackIn = (env: { readonly account: string; readonly region: string }) => new Stack(unbundled(), "Shop", { env });

test.each<[string, (stack: Stack) => Partial<TaskQueuesProps>, string]>([
  [
    "a table of another region",
    (stack) => ({ table: dynamodb.Table.fromTableArn(stack, "T", "arn:aws:dynamodb:us-east-1:111111111111:table/t") }),
    "table: must be of the region of its stack, which is eu-west-1; given: one of us-east-1",
  ],
  [
    "a table of another account, which has one of that name or none",
    (stack) => ({ table: dynamodb.Table.fromTableArn(stack, "T", "arn:aws:dynamodb:eu-west-1:222222222222:table/t") }),
    "table: must be of the account of its stack, which is 111111111111; given: one of 222222222222",
  ],
  [
    "a key of another region",
    (stack) => ({ encryptionKey: kms.Key.fromKeyArn(stack, "K", "arn:aws:kms:us-east-1:111111111111:key/k") }),
    "encryptionKey: must be of the region",
  ],
  [
    "a queue's key of another region",
    (stack) => ({
      queues: {
        celery: { encryptionKey: kms.Key.fromKeyArn(stack, "K", "arn:aws:kms:us-east-1:111111111111:key/k") },
      },
    }),
    "queues.celery.encryptionKey: must be of the region",
  ],
  [
    "a bucket that the app makes in another account",
    (stack) => ({ payloadStore: new s3.Bucket(elsewhere(stack, "222222222222"), "B", { bucketName: "texts" }) }),
    "payloadStore: must be of the account of its stack, which is 111111111111, where this app makes it, and Elsewhere/B is of 222222222222: say the same env of both stacks; or,",
  ],
  [
    "a key that the app makes in another account, whose policy would name roles that have no names",
    (stack) => ({ encryptionKey: new kms.Key(elsewhere(stack, "222222222222"), "K") }),
    "it as one that is there already (kms.Key.fromKeyArn)",
  ],
  [
    "a queue's key in a stack that does not say its account",
    (stack) => ({ queues: { celery: { encryptionKey: new kms.Key(elsewhere(stack), "K") } } }),
    "queues.celery.encryptionKey: must be of the account of its stack, which is 111111111111, where this app makes it, and Elsewhere/K is of an account that its stack does not say",
  ],
  [
    "a VPC of another region",
    (stack) => ({ vpc: new ec2.Vpc(elsewhere(stack, "111111111111", "us-east-1"), "V") }),
    "vpc: must be of the region of its stack, which is eu-west-1; given: one of us-east-1",
  ],
  [
    "the board's VPC of another region",
    (stack) => ({
      board: { entry: "board.ts", vpc: new ec2.Vpc(elsewhere(stack, "111111111111", "us-east-1"), "V") },
    }),
    "board.vpc: must be of the region",
  ],
  [
    "a layer of another region",
    (stack) => ({
      queues: {
        celery: {
          layers: [
            lambda.LayerVersion.fromLayerVersionArn(stack, "L", "arn:aws:lambda:us-east-1:111111111111:layer:l:1"),
          ],
        },
      },
    }),
    "queues.celery.layers: must be of the region",
  ],
  [
    "a table with another key",
    (stack) => ({
      table: new dynamodb.Table(stack, "T", { partitionKey: { name: "pk", type: dynamodb.AttributeType.NUMBER } }),
    }),
    'table: must have the key "id", a string, and no other, as Celery\'s tables have; given: pk (N)',
  ],
  [
    "a table with a second key",
    (stack) => ({
      table: new dynamodb.TableV2(stack, "T", {
        partitionKey: { name: "id", type: dynamodb.AttributeType.STRING },
        sortKey: { name: "at", type: dynamodb.AttributeType.STRING },
      }),
    }),
    "table: must have the key",
  ],
])("%s is refused", (_, props, message) => {
  expect(() => deploy(shop(), props, stackIn(IRELAND))).toThrow(message);
});

test("a cluster of another account is refused", () => {
  const taskQueues = { celery: {}, video: { worker: "container" as const } };
  const container = (stack: Stack) => ({
    image: ecs.ContainerImage.fromRegistry("node:24"),
    cluster: ecs.Cluster.fromClusterAttributes(stack, "C", {
      clusterName: "c",
      clusterArn: "arn:aws:ecs:eu-west-1:222222222222:cluster/c",
      vpc: new ec2.Vpc(stack, "V"),
    }),
  });
  expect(() => deploy(shop({ taskQueues }), (stack) => ({ container: container(stack) }), stackIn(IRELAND))).toThrow(
    "container.cluster: must be of the account of its stack, which is 111111111111; given: one of 222222222222",
  );
});

test("what is of the same place, or may be, is taken", () => {
  const own = (stack: Stack) => ({
    table: dynamodb.Table.fromTableArn(stack, "T", "arn:aws:dynamodb:eu-west-1:111111111111:table/t"),
    encryptionKey: kms.Key.fromKeyArn(stack, "K", "arn:aws:kms:eu-west-1:222222222222:key/k"),
  });
  deploy(shop(), own, stackIn(IRELAND));
  deploy(shop(), own);
  const made = (stack: Stack, other: Stack) => ({
    table: new dynamodb.TableV2(stack, "T", { partitionKey: { name: "id", type: dynamodb.AttributeType.STRING } }),
    encryptionKey: new kms.Key(other, "K"),
    vpc: new ec2.Vpc(other, "V"),
    payloadStore: new s3.Bucket(other, "B"),
  });
  deploy(shop(), (stack) => made(stack, elsewhere(stack, IRELAND.account)), stackIn(IRELAND)).template();
  deploy(shop(), (stack) => made(stack, elsewhere(stack))).template();
});

test("a bucket is told with its region: who sends may be in another, and so may the bucket", () => {
  const urlOf = (payloadStore: (stack: Stack) => boolean | s3.IBucket, stack = stackIn(IRELAND)) => {
    const { tasks } = deploy(shop(), (stack) => ({ payloadStore: payloadStore(stack) }), stack);
    return stack.resolve(tasks.payloads?.url) as unknown;
  };
  expect(JSON.stringify(urlOf(() => true))).toMatch(/\?region=eu-west-1"/);
  expect(JSON.stringify(urlOf(() => true, new Stack(unbundled(), "Shop")))).toMatch(
    /\?region=",\{"Ref":"AWS::Region"\}/,
  );
  const away = { bucketName: "away", region: "us-east-1" };
  expect(urlOf((stack) => s3.Bucket.fromBucketAttributes(stack, "B", away))).toBe("s3://away?region=us-east-1");
});

test.each([
  ["eu-west-1", "eu-west-1.console.aws.amazon.com"],
  ["cn-north-1", "cn-north-1.console.amazonaws.cn"],
  ["eusc-de-east-1", "eusc-de-east-1.console.amazonaws-eusc.eu"],
  ["us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"],
])("the dashboard's address in %s is of that partition's console", (region, host) => {
  const { template } = deploy(shop(), {}, stackIn({ account: "111111111111", region }));
  const [{ Value } = { Value: "" }] = Object.values(template().findOutputs("LovageDashboardUrl"));
  expect(JSON.stringify(Value)).toContain(`https://${host}/cloudwatch/home?region=${region}#`);
});

test.each(["us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "ap-isog-east-1"])(
  "in %s, an isolated region, whose console nobody outside knows, the dashboard has no address",
  (region) => {
    const { template } = deploy(shop(), {}, stackIn({ account: "111111111111", region }));
    expect(template().findOutputs("LovageDashboardUrl")).toEqual({});
  },
);

test("in a stack that does not say its region the deployment sees which console it is", () => {
  const { template } = deploy(shop());
  const [{ Value, Condition } = { Value: {} as unknown, Condition: "" }] = Object.values(
    template().findOutputs("LovageDashboardUrl") as Readonly<Record<string, { Value: unknown; Condition: string }>>,
  );
  type Equals = { readonly "Fn::Equals": readonly [unknown, string] };
  const conditions = template().findConditions("*") as Readonly<Record<string, Equals>>;
  const shown = (value: unknown, partition: string): string => {
    if (typeof value === "string") return value;
    const [[name, of] = ["", []]] = Object.entries(value as Readonly<Record<string, unknown>>);
    if (name === "Ref") return of === "AWS::Region" ? "here" : String(of);
    const [first, ...others] = of as readonly [unknown, ...unknown[]];
    if (name === "Fn::Join") return (others[0] as unknown[]).map((part) => shown(part, partition)).join(String(first));
    const condition = conditions[String(first)]?.["Fn::Equals"];
    expect(condition?.[0]).toEqual({ Ref: "AWS::Partition" });
    return shown(others[condition?.[1] === partition ? 0 : 1], partition);
  };
  const host = (partition: string) => /^https:\/\/here\.([^/]*)/.exec(shown(Value, partition))?.[1];
  expect(host("aws")).toBe("console.aws.amazon.com");
  expect(host("aws-cn")).toBe("console.amazonaws.cn");
  expect(host("aws-us-gov")).toBe("console.amazonaws-us-gov.com");
  // In the isolated ones, whose consoles nobody outside knows, there is no such output.
  const known = template().findConditions(Condition)[Condition] as { readonly "Fn::Or": readonly Equals[] };
  const partitions = ["aws", "aws-cn", "aws-eusc", "aws-us-gov"];
  expect(known["Fn::Or"].map(({ "Fn::Equals": equals }) => equals)).toEqual(
    partitions.map((partition) => [{ Ref: "AWS::Partition" }, partition]),
  );
});

test("a function of another account is pointed at queues and results, and at no beat, which it may not steer", () => {
  const variables = (account: string) => {
    const app = unbundled();
    const inAccount = (id: string, account: string) => new Stack(app, id, { env: { account, region: "eu-west-1" } });
    const { tasks } = deploy(shop({ beatSchedule: { often } }), {}, inAccount("Shop", "111111111111"));
    const stack = inAccount("Api", account);
    const roleName = "caller";
    const role = new iam.Role(stack, "Role", { roleName, assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com") });
    const code = { runtime: lambda.Runtime.NODEJS_24_X, handler: "i.h", code: lambda.Code.fromInline("0"), role };
    const fn = new lambda.Function(stack, "Api", code);
    tasks.environmentFor(fn);
    tasks.grantSend(fn);
    const [found] = Object.values(Template.fromStack(stack).findResources("AWS::Lambda::Function"));
    return Object.keys(
      (found as { Properties: { Environment: { Variables: object } } }).Properties.Environment.Variables,
    );
  };
  const always = ["LOVAGE_BROKER_URL", "LOVAGE_RESULT_BACKEND"];
  expect(variables("222222222222")).toEqual(always);
  expect(variables("111111111111")).toEqual([...always, "LOVAGE_BEAT_FUNCTION"]);
});

test("two whose roles would be one for IAM, which knows no capitals, are refused", () => {
  const stack = new Stack(unbundled(), "Shop");
  const make = (id: string, prefix: string) =>
    new TaskQueues(stack, id, { app: shop(), ...entries, prefix, longDelays: true });
  make("One", "shop-");
  expect(() => make("Two", "Shop-")).toThrow(
    /prefix: the role of the queue shop-celery of Shop\/Two\/LongDelays is made by Shop\/One\/LongDelays already/,
  );
});

test("two that would meet are refused, each naming the other", () => {
  const stack = new Stack(unbundled(), "Shop");
  new TaskQueues(stack, "One", { app: shop(), ...entries });
  expect(() => new TaskQueues(stack, "Two", { app: shop(), ...entries })).toThrow(
    /prefix: the queue Shop-celery of Shop\/Two is made by Shop\/One already.* a prefix of its own.* If they are of one app, make one of them:.*\(entry\).*\(beatEntry\)/,
  );
});

test("a table that would be called as the journal is told of its own name", () => {
  expect(() => deploy(shop(), { prefix: "shop-", tableName: "shop-journal" })).toThrow(
    /tableName: two of Test\/Tasks would be called shop-journal: give the table another name/,
  );
});

test("so are two in two stacks of one account and region, and not those in two", () => {
  const env = (account: string) => ({ env: { account, region: "eu-west-1" } });
  const app = unbundled();
  const make = (id: string, account: string, props: Partial<TaskQueuesProps> = { prefix: "shop-" }) =>
    new TaskQueues(new Stack(app, id, env(account)), "Tasks", { app: shop(), ...entries, ...props });
  make("A", "111111111111");
  make("B", "222222222222");
  expect(() => make("C", "111111111111")).toThrow(/the queue shop-celery of C\/Tasks is made by A\/Tasks already/);
  expect(() => make("D", "111111111111", { prefix: "d-", tableName: "shop-celery" })).toThrow(
    /the table shop-celery of D\/Tasks is made by A\/Tasks/,
  );
});

test.each([
  ["Shop", "Shop-Staging", true],
  ["Shop-Staging", "Shop", true],
  ["ShopStaging", "Shop", false],
])("of the stacks %s and %s synth warns where one finds the queues of the other: %s", (first, second, isWarned) => {
  const app = unbundled();
  const stacks = [first, second].map((id) => new Stack(app, id));
  for (const stack of stacks) new TaskQueues(stack, "Tasks", { app: shop(), ...entries });
  const elsewhere = new Stack(app, "Away", { env: { account: "111111111111", region: "eu-west-1" } });
  new TaskQueues(elsewhere, "Tasks", { app: shop(), ...entries, prefix: "Shop-" });
  const warnings = [...stacks, elsewhere].flatMap((stack) =>
    Warnings.fromStack(stack).findWarning("*", Match.stringLikeRegexp("begin like those of")),
  );
  expect(warnings.map(({ entry }) => String(entry.data))).toEqual(
    isWarned
      ? [expect.stringMatching(/^the names of Shop-Staging\/Tasks \(Shop-Staging-\) .* of Shop\/Tasks \(Shop-\)/)]
      : [],
  );
});

test("two in a stack, with prefixes of their own, are two, and their outputs say whose they are", () => {
  const stack = new Stack(unbundled(), "Shop");
  for (const prefix of ["one", "two"]) {
    new TaskQueues(stack, prefix, { app: shop({ beatSchedule: { often } }), ...entries, prefix: `${prefix}-` });
  }
  expect(namesOf(stack, "AWS::Events::Rule", "Name")).toEqual(["one-beat-often", "two-beat-often"]);
  const outputs = Object.keys(Template.fromStack(stack).findOutputs("*")).filter((name) => name.endsWith("Url"));
  expect(outputs.filter((name) => name.endsWith("BrokerUrl"))).toEqual(["LovageBrokerUrl", "twoLovageBrokerUrl"]);
  // Of two that say the same the CDK warns at each synth.
  const conditions = Object.values(Template.fromStack(stack).findConditions("*")).map((one) => JSON.stringify(one));
  expect(conditions).toEqual([...new Set(conditions)]);
});

test("a queue may be called as anything that the deployment makes", () => {
  const taken = ["Results", "Dashboard", "Default", "Resource", "BeatRules", "LongDelays", "TableName", "Tasks"];
  const { template } = deploy(
    shop({ taskQueues: Object.fromEntries(["celery", ...taken].map((name) => [name, {}])) }),
    { longDelays: true },
  );
  template().resourceCountIs("AWS::SQS::Queue", 2 * 9 + 1);
});

test("entries may be called as anybody likes: each has its rule, whose name is its own", () => {
  const names = ["a/b", "a--b", "a-b", "a b", "Default", "Resource", "утро", "晚上", "a.b", "x".repeat(200), " "];
  const { template } = deploy(
    shop({ beatSchedule: Object.fromEntries(names.map((name) => [name, { task: "shop.add", schedule: 60 }])) }),
  );
  const rules = Object.values(template().findResources("AWS::Events::Rule")).map(({ Properties }) => Properties.Name);
  expect(new Set(rules).size).toBe(names.length);
});

test.each([
  ["A-B", /environment\.A-B: is not a name that Lambda takes.*given: "A-B"/],
  ["A", /environment\.A: is not a name that Lambda takes/],
  ["1ST", /is not a name/],
  ["AWS_REGION", /environment\.AWS_REGION: is set by Lambda/],
  ["LOVAGE_PAYLOAD_STORE", /is set by the deployment/],
])("the environment variable %s is refused where the app is made, and where it is deployed", (name, message) => {
  expect(() => shop({ taskQueues: { celery: { environment: { [name]: "x" } } } })).toThrow(message);
  expect(() => deploy(shop(), { queues: { celery: { environment: { [name]: "x" } } } })).toThrow(message);
});

test("an environment above 4 KB is refused, also where declaration and options have it together", () => {
  const half = (name: string) => ({ [name]: "é".repeat(1020) });
  expect(() =>
    shop({ taskQueues: { celery: { environment: { ...half("ONE"), ...half("TWO"), X1: "xxxxxxxxxxxxxx" } } } }),
  ).toThrow(/environment: must have at most 4096 bytes.*given: 4102/);
  expect(() =>
    deploy(shop({ taskQueues: { celery: { environment: half("ONE") } } }), {
      queues: { celery: { environment: { ...half("TWO"), THREE: "xxxxxxxxxxxxxx" } } },
    }),
  ).toThrow(/environment: must have at most 4096 bytes/);
});

test("so is one that is too large with what the deployment adds, at synth", () => {
  const synth = (bytes: number) => {
    const { stack } = deploy(shop(), { queues: { celery: { environment: { LONG: "x".repeat(bytes - 4) } } } });
    (stack.node.root as App).synth();
  };
  synth(3800);
  expect(() => synth(4096)).toThrow(
    /the environment of Test\/Tasks\/Queue-celery\/Worker\/Function has 4\d+ bytes or more, and Lambda takes 4096/,
  );
});

test("what the deployment sets for its functions is in its outputs, from which lovage env makes a shell's, and is refused by hand", () => {
  const { stack, tasks, template } = deploy(shop(), { payloadStore: true });
  const fn = tasks.queue("celery").function.node.defaultChild as lambda.CfnFunction;
  const { Environment } = template().findResources("AWS::Lambda::Function")[stack.getLogicalId(fn)]?.Properties ?? {};
  const set = Object.entries((Environment as { Variables: object }).Variables).filter(([name]) =>
    /^LOVAGE_/.test(name),
  );
  const outputs = template().findOutputs("*") as Record<string, { readonly Value: unknown }>;
  for (const [name, value] of set)
    expect(outputs[outputOf(name as keyof typeof ENVIRONMENT)]?.Value, name).toEqual(value);
  expect(set.map(([name]) => name).sort()).toEqual(Object.keys(ENVIRONMENT).sort());
  for (const name of Object.keys(ENVIRONMENT))
    expect(() => shop({ taskQueues: { celery: { environment: { [name]: "x" } } } })).toThrow(
      /is set by the deployment/,
    );
});

test("what was deployed for the first time, and failed, is gone, and its names are free again", () => {
  const stack = new Stack(unbundled(), "Shop");
  new TaskQueues(stack, "Tasks", { app: shop({ beatSchedule: { often } }), ...entries, longDelays: true });
  const { Resources } = Template.fromStack(stack).toJSON() as {
    Resources: Record<string, { DeletionPolicy?: string; UpdateReplacePolicy?: string }>;
  };
  const policies = Object.values(Resources).map(({ DeletionPolicy }) => DeletionPolicy);
  expect(policies).not.toContain("Retain");
  expect(policies.filter((policy) => policy === "RetainExceptOnCreate").length).toBe(6);
});

test("two syntheses of an app are the same to the byte", () => {
  const text = () => {
    const app = new App({ context: { "aws:cdk:bundling-stacks": [] } });
    const stack = new Stack(app, "Shop");
    new TaskQueues(stack, "Tasks", {
      app: shop({ taskQueues: { celery: {}, media: {} }, beatSchedule: { often, "a b": often } }),
      ...entries,
      longDelays: true,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    return JSON.stringify(Template.fromStack(stack).toJSON());
  };
  expect(text()).toBe(text());
});
