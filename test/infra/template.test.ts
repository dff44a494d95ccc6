import { Duration, Stack } from "aws-cdk-lib";
import { Match, Template } from "aws-cdk-lib/assertions";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as actions from "aws-cdk-lib/aws-cloudwatch-actions";
import * as sns from "aws-cdk-lib/aws-sns";
import { crontab, type MetricsChoice } from "lovage";
import { expect, test } from "vitest";
import { LovageStack } from "../../infra/stack.ts";
import { allowed, deploy, type Resource, resources, roleOf, shop, unbundled } from "./deployment.ts";

const queueNamed = (template: Template, QueueName: string): [string, Resource] => {
  const [found] = Object.entries(template.findResources("AWS::SQS::Queue", { Properties: { QueueName } }));
  if (found === undefined) throw new Error(`there is no queue ${QueueName}`);
  return found as [string, Resource];
};

const tablesOf = (template: Template): readonly unknown[] =>
  Object.values(resources(template, "AWS::DynamoDB::Table")).map(({ Properties }) => Properties["TableName"]);

test("each declared queue is there under its name, with its dead letters after as many deliveries as SQS allows", () => {
  const template = deploy(shop({ taskQueues: { celery: {}, "media.large": {} } }), { prefix: "shop-" }).template();
  for (const name of ["shop-celery", "shop-media-large"]) {
    const [deadLetters] = queueNamed(template, `${name}-dlq`);
    const [, queue] = queueNamed(template, name);
    expect(queue.Properties["RedrivePolicy"]).toEqual({
      deadLetterTargetArn: { "Fn::GetAtt": [deadLetters, "Arn"] },
      maxReceiveCount: 1000,
    });
  }
});

test.each([
  [45, 0],
  [60, 300],
  [600, 20],
])(
  "a message of a %d s task stays hidden for its batching window of %d s and its function's timeout, and hardly longer",
  (timeLimit, maxBatchingWindow) => {
    const app = shop({ taskQueues: { celery: { timeLimit, maxBatchingWindow } } });
    const template = deploy(app).template();
    const visibility = Number(queueNamed(template, "celery")[1].Properties["VisibilityTimeout"]);
    const timeout = timeLimit + 10;
    template.hasResourceProperties("AWS::Lambda::Function", { Timeout: timeout });
    // The claim ends two seconds after the function does.
    expect(visibility).toBeGreaterThan(maxBatchingWindow + timeout + 2);
    expect(visibility).toBeLessThanOrEqual(maxBatchingWindow + timeout + 10);
  },
);

test("a queue that says nothing leaves room in an account of ten invocations", () => {
  deploy(shop())
    .template()
    .hasResourceProperties("AWS::Lambda::EventSourceMapping", {
      ScalingConfig: { MaximumConcurrency: 5 },
      // A deployment leaves a queue paused that somebody has paused.
      Enabled: Match.absent(),
    });
});

test("a task that may run longer than its queue says makes its function's timeout longer", () => {
  const app = shop({
    taskTimeLimit: 10,
    taskRoutes: { "shop.resize": "media" },
    taskQueues: { celery: {}, media: {} },
  });
  const { tasks, stack, template } = deploy(app);
  const timeout = (queue: string) => {
    const id = stack.getLogicalId(tasks.queue(queue).function.node.defaultChild as lambda.CfnFunction);
    return resources(template(), "AWS::Lambda::Function")[id]?.Properties["Timeout"];
  };
  expect(timeout("celery")).toBe(20);
  expect(timeout("media")).toBe(40);
});

test("messages are kept for seven days and dead letters for fourteen", () => {
  const template = deploy(shop()).template();
  expect(queueNamed(template, "celery")[1].Properties["MessageRetentionPeriod"]).toBe(7 * 86_400);
  expect(queueNamed(template, "celery-dlq")[1].Properties["MessageRetentionPeriod"]).toBe(14 * 86_400);
});

test("a queue ending in .fifo is one, and so are its dead letters", () => {
  const template = deploy(shop({ taskQueues: { celery: {}, "orders.fifo": {} } })).template();
  expect(queueNamed(template, "orders.fifo")[1].Properties["FifoQueue"]).toBe(true);
  expect(queueNamed(template, "orders-dlq.fifo")[1].Properties["FifoQueue"]).toBe(true);
  expect(queueNamed(template, "celery")[1].Properties).not.toHaveProperty("FifoQueue");
});

test("an event source reports failures record by record, and keeps to batch, window and concurrency", () => {
  const app = shop({ taskQueues: { celery: { batchSize: 20, maxBatchingWindow: 3, maxConcurrency: 7 } } });
  deploy(app)
    .template()
    .hasResourceProperties("AWS::Lambda::EventSourceMapping", {
      FunctionResponseTypes: ["ReportBatchItemFailures"],
      BatchSize: 20,
      MaximumBatchingWindowInSeconds: 3,
      ScalingConfig: { MaximumConcurrency: 7 },
    });
  deploy(app, { queues: { celery: { batchSize: 1, maxBatchingWindow: Duration.seconds(0), maxConcurrency: 2 } } })
    .template()
    .hasResourceProperties("AWS::Lambda::EventSourceMapping", {
      BatchSize: 1,
      MaximumBatchingWindowInSeconds: Match.absent(),
      ScalingConfig: { MaximumConcurrency: 2 },
    });
});

test("pollers are provisioned instead of a bound on what runs at a time", () => {
  deploy(shop(), { queues: { celery: { provisionedPollers: { minimum: 5, maximum: 100 } } } })
    .template()
    .hasResourceProperties("AWS::Lambda::EventSourceMapping", {
      ProvisionedPollerConfig: { MinimumPollers: 5, MaximumPollers: 100 },
      ScalingConfig: Match.absent(),
    });
});

test("a function writes what its level lets through", () => {
  const logging = (LoggingConfig: object) => ({ LoggingConfig: Match.objectLike(LoggingConfig) });
  deploy(shop(), { queues: { celery: { logLevel: lambda.ApplicationLogLevel.WARN } } })
    .template()
    .hasResourceProperties("AWS::Lambda::Function", logging({ ApplicationLogLevel: "WARN" }));
  deploy(shop(), { beatEntry: undefined as never })
    .template()
    .hasResourceProperties("AWS::Lambda::Function", logging({ ApplicationLogLevel: Match.absent() }));
});

test("a FIFO queue's limits count for each of its groups where that is asked for", () => {
  const app = shop({ taskQueues: { celery: {}, "orders.fifo": {}, "audit.fifo": {} } });
  const template = deploy(app, { queues: { "orders.fifo": { highThroughput: true } } }).template();
  const wide = { DeduplicationScope: "messageGroup", FifoThroughputLimit: "perMessageGroupId" };
  expect(queueNamed(template, "orders.fifo")[1].Properties).toMatchObject(wide);
  expect(queueNamed(template, "audit.fifo")[1].Properties).not.toHaveProperty("FifoThroughputLimit");
});

test("the table is as warm from the first second on as is asked for", () => {
  deploy(shop(), { warmThroughput: { writeUnitsPerSecond: 40_000 } })
    .template()
    .hasResourceProperties("AWS::DynamoDB::Table", { WarmThroughput: { WriteUnitsPerSecond: 40_000 } });
  deploy(shop()).template().hasResourceProperties("AWS::DynamoDB::Table", { WarmThroughput: Match.absent() });
  const given = (stack: Stack) => ({
    table: dynamodb.Table.fromTableName(stack, "Given", "celery"),
    warmThroughput: { writeUnitsPerSecond: 40_000 },
  });
  expect(() => deploy(shop(), given)).toThrow(/warmThroughput: is for a new table/);
});

test("the table is Celery's, pays per request, forgets by ttl and can be restored", () => {
  deploy(shop(), { prefix: "shop-" })
    .template()
    .hasResource("AWS::DynamoDB::Table", {
      DeletionPolicy: "RetainExceptOnCreate",
      UpdateReplacePolicy: "Retain",
      Properties: {
        TableName: "shop-celery",
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        BillingMode: "PAY_PER_REQUEST",
        TimeToLiveSpecification: { AttributeName: "ttl", Enabled: true },
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      },
    });
});

test("the table and the options of the app's own resultBackend are kept", () => {
  const app = shop({ brokerUrl: "sqs://eu-west-1", resultBackend: "dynamodb://eu-west-1/results?keys=python" });
  const { template } = deploy(app);
  template().hasResourceProperties("AWS::DynamoDB::Table", { TableName: "results" });
  template().hasResourceProperties("AWS::Lambda::Function", {
    Environment: {
      Variables: Match.objectLike({
        LOVAGE_RESULT_BACKEND: {
          "Fn::Join": ["", ["dynamodb://", { Ref: "AWS::Region" }, "/", { Ref: Match.anyValue() }, "?keys=python"]],
        },
      }),
    },
  });
});

test("tables and dead letters outlive the stack, but not a first deployment that failed, unless it is told otherwise", () => {
  const kept = (stack: LovageStack) => {
    const template = Template.fromStack(stack);
    return ["AWS::DynamoDB::Table", "AWS::SQS::Queue"]
      .flatMap((type) => Object.values(resources(template, type)))
      .filter(({ DeletionPolicy }) => DeletionPolicy === "RetainExceptOnCreate")
      .map(({ Properties }) => Properties["QueueName"] ?? Properties["TableName"]);
  };
  expect(kept(new LovageStack(unbundled(), "A"))).toEqual([
    "A-celery",
    "A-journal",
    "A-celery-dlq",
    "A-media-dlq",
    "lovage-A-beat-dead-letters",
  ]);
  expect(kept(new LovageStack(unbundled(), "B", { removeData: true }))).toEqual([]);
});

test("queues are encrypted and refuse what comes without TLS", () => {
  const { template } = deploy(shop({ beatSchedule: { often: { task: "shop.add", schedule: 60 } } }));
  const queues = resources(template(), "AWS::SQS::Queue");
  expect(Object.keys(queues)).toHaveLength(3);
  const policies = Object.values(resources(template(), "AWS::SQS::QueuePolicy"));
  for (const [id, { Properties }] of Object.entries(queues)) {
    expect(Properties["SqsManagedSseEnabled"]).toBe(true);
    const policy = policies.find((one) => JSON.stringify(one.Properties["Queues"]) === JSON.stringify([{ Ref: id }]));
    if (policy === undefined) throw new Error(`${id} has no policy`);
    const { Statement } = policy.Properties["PolicyDocument"] as { Statement: unknown[] };
    expect(Statement).toContainEqual({
      Action: "sqs:*",
      Condition: { Bool: { "aws:SecureTransport": "false" } },
      Effect: "Deny",
      Principal: { AWS: "*" },
      Resource: { "Fn::GetAtt": [id, "Arn"] },
    });
  }
});

test("a key of one's own encrypts queues and table, and the workers may use it", () => {
  const deployment = deploy(shop(), (stack) => ({
    encryptionKey: new kms.Key(stack, "Key"),
    beatEntry: undefined as never,
  }));
  const template = deployment.template();
  template.allResourcesProperties("AWS::SQS::Queue", { KmsMasterKeyId: Match.anyValue() });
  template.hasResourceProperties("AWS::DynamoDB::Table", { SSESpecification: { SSEEnabled: true, SSEType: "KMS" } });
  const rights = allowed(deployment, roleOf(deployment.tasks.queue("celery").function));
  expect(rights.filter((right) => right.startsWith("kms:Decrypt"))).not.toEqual([]);
});

test("the journal is a table of the deployment's own, that forgets", () => {
  const { template, tasks } = deploy(shop(), { prefix: "shop-" });
  template().hasResourceProperties("AWS::DynamoDB::Table", {
    TableName: "shop-journal",
    KeySchema: [
      { AttributeName: "bucket", KeyType: "HASH" },
      { AttributeName: "at", KeyType: "RANGE" },
    ],
    TimeToLiveSpecification: { AttributeName: "ttl", Enabled: true },
    BillingMode: "PAY_PER_REQUEST",
  });
  expect(tasks.journal?.tableName).toBeDefined();
});

test("without a journal there is neither its table nor a right on it", () => {
  const deployment = deploy(shop({ journal: false, beatSchedule: { tick: { task: "shop.resize", schedule: 60 } } }));
  const { tasks, template } = deployment;
  expect(tablesOf(template())).toEqual(["celery"]);
  expect(tasks.journal).toBeUndefined();
  expect(allowed(deployment, roleOf(tasks.queue("celery").function)).join()).not.toContain("Journal");
});

test("a key of one's own encrypts the journal too, and who writes it may use the key", () => {
  const deployment = deploy(shop(), (stack) => ({ encryptionKey: new kms.Key(stack, "Key") }));
  deployment.template().hasResourceProperties("AWS::DynamoDB::Table", {
    TableName: "journal",
    SSESpecification: { SSEEnabled: true, SSEType: "KMS" },
  });
});

test("a queue is a grantee: its function gets the right", () => {
  const deployment = deploy(shop());
  const table = new dynamodb.Table(deployment.stack, "Own", {
    partitionKey: { name: "id", type: dynamodb.AttributeType.STRING },
  });
  table.grant(deployment.tasks.queue("celery"), "dynamodb:Query");
  expect(allowed(deployment, roleOf(deployment.tasks.queue("celery").function))).toContain("dynamodb:Query Own");
});

test("environmentFor points a function of one's own at the queues and the results", () => {
  const { stack, tasks, template } = deploy(shop(), { prefix: "a&b-" });
  const fn = new lambda.Function(stack, "Api", {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: "index.handler",
    code: lambda.Code.fromInline("0"),
  });
  tasks.environmentFor(fn);
  template().hasResourceProperties("AWS::Lambda::Function", {
    Handler: "index.handler",
    Environment: {
      Variables: {
        LOVAGE_BROKER_URL: { "Fn::Join": ["", ["sqs://", { Ref: "AWS::Region" }, "?queue_name_prefix=a%26b-"]] },
        LOVAGE_RESULT_BACKEND: {
          "Fn::Join": ["", ["dynamodb://", { Ref: "AWS::Region" }, "/", { Ref: Match.stringLikeRegexp("Results") }]],
        },
      },
    },
  });
});

test("functions run Node 24 on arm64, log in JSON to a group of their own for a month", () => {
  const { template } = deploy(shop());
  template().allResourcesProperties("AWS::Lambda::Function", {
    Runtime: "nodejs24.x",
    Architectures: ["arm64"],
    LoggingConfig: { LogFormat: "JSON", LogGroup: { Ref: Match.stringLikeRegexp("Logs") } },
  });
  template().allResourcesProperties("AWS::Logs::LogGroup", { RetentionInDays: 30 });
});

test("a task may retry, and a chain go on, as often as it likes: Lambda does not stop it as a loop", () => {
  const { template } = deploy(shop());
  template().allResourcesProperties("AWS::Lambda::Function", { RecursiveLoop: "Allow" });
});

test.each(["us-gov-west-1", "us-isob-east-1", "mx-central-1", "ap-southeast-6"])(
  "nothing is said of loops in %s, whose Lambda looks for none and would refuse it",
  (region) => {
    const { template } = deploy(shop(), {}, new Stack(unbundled(), "Test", { env: { region } }));
    template().allResourcesProperties("AWS::Lambda::Function", { RecursiveLoop: Match.absent() });
  },
);

test("a queue's function takes memory, environment, VPC and layers from its options, over its declaration", () => {
  const app = shop({ taskQueues: { celery: { memorySize: 256, environment: { FIRST: "1", SECOND: "1" } } } });
  const { template } = deploy(app, (stack) => ({
    queues: {
      celery: {
        memorySize: 2048,
        environment: { SECOND: "2" },
        reservedConcurrency: 200,
        vpc: new ec2.Vpc(stack, "Vpc", { maxAzs: 1 }),
        layers: [
          lambda.LayerVersion.fromLayerVersionArn(stack, "Layer", "arn:aws:lambda:eu-west-1:123456789012:layer:one:1"),
        ],
      },
    },
  }));
  template().hasResourceProperties("AWS::Lambda::Function", {
    MemorySize: 2048,
    ReservedConcurrentExecutions: 200,
    Environment: { Variables: Match.objectLike({ FIRST: "1", SECOND: "2" }) },
    Layers: ["arn:aws:lambda:eu-west-1:123456789012:layer:one:1"],
    VpcConfig: Match.anyValue(),
  });
});

test("a table that exists already is used and not made", () => {
  const { template } = deploy(shop(), (stack) => ({
    table: dynamodb.Table.fromTableName(stack, "Python", "celery-python"),
  }));
  expect(tablesOf(template())).toEqual(["journal"]);
  template().hasResourceProperties("AWS::Lambda::Function", {
    Environment: {
      Variables: Match.objectLike({
        LOVAGE_RESULT_BACKEND: { "Fn::Join": ["", ["dynamodb://", { Ref: "AWS::Region" }, "/celery-python"]] },
      }),
    },
  });
});

test("dead letters and an old message raise an alarm for each queue, and tell who is to be told", () => {
  const { template } = deploy(shop({ beatSchedule: { often: { task: "shop.add", schedule: 60 } } }), (stack) => ({
    alarmActions: [new actions.SnsAction(new sns.Topic(stack, "Topic"))],
    queues: { celery: { oldestMessageAge: Duration.minutes(3) } },
  }));
  template().allResourcesProperties("AWS::CloudWatch::Alarm", {
    AlarmActions: [{ Ref: Match.stringLikeRegexp("Topic") }],
  });
  template().hasResourceProperties("AWS::CloudWatch::Alarm", {
    MetricName: "ApproximateNumberOfMessagesVisible",
    Dimensions: [
      { Name: "QueueName", Value: { "Fn::GetAtt": [Match.stringLikeRegexp("celeryDeadLetters"), "QueueName"] } },
    ],
    Threshold: 1,
  });
  template().hasResourceProperties("AWS::CloudWatch::Alarm", {
    MetricName: "ApproximateAgeOfOldestMessage",
    Threshold: 180,
  });
});

test("there is one dashboard, with the metrics that the workers write", () => {
  const { template } = deploy(shop({ taskQueues: { celery: {}, media: {} } }));
  const boards = Object.values(resources(template(), "AWS::CloudWatch::Dashboard"));
  expect(boards).toHaveLength(1);
  const body = JSON.stringify(boards[0]?.Properties["DashboardBody"]);
  for (const metric of ["Received", "Succeeded", "Failed", "Retried", "DeadLettered", "QueueToStart", "RunTime"])
    expect(body).toContain(`\\"Lovage\\",\\"${metric}\\"`);
});

test("no widget of the dashboard has more alarms than CloudWatch takes, and each alarm is on one", () => {
  const taskQueues = Object.fromEntries(
    ["celery", ...Array.from({ length: 29 }, (_, i) => `q${i}`)].map((q) => [q, {}]),
  );
  const { template } = deploy(shop({ taskQueues }));
  const [board] = Object.values(resources(template(), "AWS::CloudWatch::Dashboard"));
  const { DashboardBody } = (board?.Properties ?? {}) as { DashboardBody?: { "Fn::Join": [string, unknown[]] } };
  const [, parts = []] = DashboardBody?.["Fn::Join"] ?? [];
  const body = parts.map((part) => (typeof part === "string" ? part : Object.values(part as object).join())).join("");
  const { widgets } = JSON.parse(body) as { widgets: { properties: { alarms?: string[] } }[] };
  const alarms = widgets.flatMap(({ properties }) => (properties.alarms === undefined ? [] : [properties.alarms]));
  for (const each of alarms) expect(each.length).toBeLessThanOrEqual(100);
  expect(new Set(alarms.flat()).size).toBe(Object.keys(resources(template(), "AWS::CloudWatch::Alarm")).length);
  expect(alarms).toHaveLength(2);
});

test.each<[MetricsChoice, readonly string[], readonly string[]]>([
  ["queue", ["celery: tasks", "celery: times (ms)"], ["by task", "celery: invocations"]],
  ["task", ["celery: tasks", "celery: failed, by task", "{Lovage,QueueName,TaskName}"], ["celery: invocations"]],
  [false, ["celery: waiting", "celery: invocations"], ['\\"Lovage\\"', "by task"]],
])("the dashboard goes by metrics: %j", (metrics, there, absent) => {
  const { template } = deploy(shop({ metrics }));
  const [board] = Object.values(resources(template(), "AWS::CloudWatch::Dashboard"));
  const body = JSON.stringify(board?.Properties["DashboardBody"]);
  for (const part of there) expect(body).toContain(part);
  for (const part of absent) expect(body).not.toContain(part);
});

test("each enabled entry has a cron rule for one function, which one permission of each kind of rules lets all of them call", () => {
  const { template } = deploy(
    shop({
      timezone: "Asia/Shanghai",
      beatSchedule: {
        "every 30 seconds": { task: "shop.add", schedule: 30 },
        morning: { task: "shop.add", schedule: crontab({ hour: 9, minute: 10 }) },
        never: { task: "shop.add", schedule: 60, enabled: false },
      },
    }),
    { prefix: "p-" },
  );
  template().resourceCountIs("AWS::Events::Rule", 2);
  const target = (entry: string) => [
    {
      Arn: { "Fn::GetAtt": [Match.stringLikeRegexp("Beat"), "Arn"] },
      DeadLetterConfig: { Arn: { "Fn::GetAtt": [Match.stringLikeRegexp("DeadLetters"), "Arn"] } },
      Id: Match.anyValue(),
      InputTransformer: { InputPathsMap: { time: "$.time" }, InputTemplate: `{"entry":"${entry}","time":<time>}` },
    },
  ];
  template().hasResourceProperties("AWS::Events::Rule", {
    Name: Match.stringLikeRegexp("^p-beat-every-30-seconds-[0-9a-f]{8}$"),
    ScheduleExpression: "cron(* * * * ? *)",
    Targets: target("every 30 seconds"),
  });
  template().hasResourceProperties("AWS::Events::Rule", {
    Name: "p-beat-morning",
    ScheduleExpression: "cron(10 1 * * ? *)",
    Targets: target("morning"),
  });
  const rules = rulesNamed("p-beat-*");
  const permissions = Object.values(resources(template(), "AWS::Lambda::Permission"));
  expect(permissions.map(({ Properties }) => Properties)).toEqual(
    [rules, rulesNamed("p-beat.*")].map((SourceArn) => ({
      Action: "lambda:InvokeFunction",
      FunctionName: { "Fn::GetAtt": [expect.stringMatching("BeatFunction"), "Arn"] },
      Principal: "events.amazonaws.com",
      SourceArn,
    })),
  );
  template().hasResourceProperties("AWS::Lambda::Function", { DeadLetterConfig: { TargetArn: Match.anyValue() } });
  // The rules that are put at run time know it by its name, which no queue of the app begins like.
  template().hasResourceProperties("AWS::SQS::Queue", { QueueName: "lovage-p-beat-dead-letters" });
  template().hasResourceProperties("AWS::SQS::QueuePolicy", {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Action: "sqs:SendMessage",
          Principal: { Service: "events.amazonaws.com" },
          Condition: { ArnLike: { "aws:SourceArn": [rules, rulesNamed("p-beat.*")] } },
        }),
      ]),
    },
  });
});

/** The ARN of rules, as it is in a template. */
function rulesNamed(pattern: string): unknown {
  const [partition, region, account] = ["Partition", "Region", "AccountId"].map((name) => ({ Ref: `AWS::${name}` }));
  return { "Fn::Join": ["", ["arn:", partition, ":events:", region, ":", account, `:rule/${pattern}`]] };
}

test("grantSchedule lets someone work on rules put at run time alone, which call the beat function alone", () => {
  const deployment = deploy(shop(), { prefix: "p-" });
  const { stack, tasks } = deployment;
  const role = new iam.Role(stack, "Scheduler", { assumedBy: new iam.AccountRootPrincipal() });
  tasks.grantSchedule(role);
  const rules = JSON.stringify(rulesNamed("p-beat.*"));
  expect(allowed(deployment, role)).toEqual(
    [
      `events:DeleteRule ${rules}`,
      `events:DisableRule ${rules}`,
      `events:EnableRule ${rules}`,
      `events:ListTargetsByRule ${rules}`,
      `events:PutRule ${rules}`,
      `events:PutTargets ${rules}`,
      `events:RemoveTargets ${rules}`,
      'events:ListRules "*"',
    ].sort(),
  );
  deployment.template().hasResourceProperties("AWS::IAM::Policy", {
    Roles: [{ Ref: Match.stringLikeRegexp("^Scheduler") }],
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectEquals({
          Action: "events:PutTargets",
          Condition: { ArnEquals: { "events:TargetArn": { "Fn::GetAtt": [Match.stringLikeRegexp("Beat"), "Arn"] } } },
          Effect: "Allow",
          Resource: Match.anyValue(),
        }),
      ]),
    },
  });
});

test("a queue is a grantee of schedules: its tasks may put entries", () => {
  const deployment = deploy(shop());
  deployment.tasks.grantSchedule(deployment.tasks.queue("celery"));
  expect(allowed(deployment, roleOf(deployment.tasks.queue("celery").function)).join()).toContain("events:PutRule");
});

test("workers, and functions that ask for it, are told the beat function; its ARN is an output", () => {
  const { stack, tasks, template } = deploy(shop());
  const fn = new lambda.Function(stack, "Api", {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: "api.handler",
    code: lambda.Code.fromInline("0"),
  });
  tasks.environmentFor(fn);
  const LOVAGE_BEAT_FUNCTION = { "Fn::GetAtt": [Match.stringLikeRegexp("BeatFunction"), "Arn"] };
  const told = template().findResources("AWS::Lambda::Function", {
    Properties: { Environment: { Variables: Match.objectLike({ LOVAGE_BEAT_FUNCTION }) } },
  });
  expect(Object.keys(told).map((id) => id.replace(/[0-9A-F]{8}$/, ""))).toEqual([
    "TasksQueueceleryWorkerFunction",
    "Api",
  ]);
  template().hasOutput("*", { Value: LOVAGE_BEAT_FUNCTION });
});

test("two entries whose names differ only in what a rule's name cannot have are two rules", () => {
  const beatSchedule = {
    "a b": { task: "shop.add", schedule: 60 },
    "a c": { task: "shop.add", schedule: 60 },
    ["x".repeat(100)]: { task: "shop.add", schedule: 60 },
  };
  const names = Object.values(resources(deploy(shop({ beatSchedule })).template(), "AWS::Events::Rule")).map(
    ({ Properties }) => String(Properties["Name"]),
  );
  expect(new Set(names).size).toBe(3);
  for (const name of names) expect(name).toMatch(/^beat-[\w.-]{1,59}$/);
});

test("an app without a schedule has no beat", () => {
  const { stack, tasks, template } = deploy(shop(), { beatEntry: undefined as never });
  expect(tasks.beat).toBeUndefined();
  expect(() => tasks.grantSchedule(new iam.Role(stack, "Role", { assumedBy: new iam.AccountRootPrincipal() }))).toThrow(
    /beatEntry: is needed for entries put at run time/,
  );
  template().resourceCountIs("AWS::Events::Rule", 0);
  template().resourceCountIs("AWS::Lambda::Permission", 0);
  expect(JSON.stringify(template().toJSON())).not.toContain("LOVAGE_BEAT_FUNCTION");
});

test("a beat function without a schedule is there for entries put at run time", () => {
  const { tasks, template } = deploy(shop());
  expect(tasks.beat).toBeDefined();
  template().resourceCountIs("AWS::Events::Rule", 0);
});

test("the outputs are called by names that stay: queues, table, dashboard and what a process needs", () => {
  const outputs = (config: Parameters<typeof shop>[0]) => Object.keys(deploy(shop(config)).template().findOutputs("*"));
  expect(outputs({ taskQueues: { celery: {}, media: {}, "media.large": {} } }).sort()).toEqual([
    "LovageBeatFunction",
    "LovageBrokerUrl",
    "LovageDashboardUrl",
    "LovageQueueUrlcelery",
    "LovageQueueUrlmedia",
    expect.stringMatching(/^LovageQueueUrlmedialarge[0-9a-f]{8}$/),
    "LovageResultBackend",
    "LovageTableName",
  ]);
});
