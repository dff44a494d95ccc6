/** What functions may be told, by queue and all at once, and what is watched. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Duration, Size } from "aws-cdk-lib";
import { Annotations, Match } from "aws-cdk-lib/assertions";
import * as actions from "aws-cdk-lib/aws-cloudwatch-actions";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { OutputFormat } from "aws-cdk-lib/aws-lambda-nodejs";
import * as sns from "aws-cdk-lib/aws-sns";
import { crontab, type ConfigInput } from "lovage";
import type { TaskQueuesProps } from "lovage/cdk";
import { expect, onTestFinished, test } from "vitest";
import { longestSilence } from "../../src/cdk/beat-rules.ts";
import { folderInCheckout } from "../temporary.ts";
import { deploy, FUNCTIONS, resources, shop } from "./deployment.ts";

const often = { task: "shop.add", schedule: 60 };
const twoQueues: ConfigInput = { taskQueues: { celery: {}, media: {} }, beatSchedule: { often } };

test("a VPC, an architecture and tracing are those of all functions, beat's too, unless a queue says otherwise", () => {
  const { stack, tasks, template } = deploy(shop(twoQueues), (stack) => ({
    vpc: new ec2.Vpc(stack, "Vpc", { maxAzs: 1 }),
    architecture: lambda.Architecture.X86_64,
    tracing: lambda.Tracing.ACTIVE,
    queues: { media: { architecture: lambda.Architecture.ARM_64, ephemeralStorageSize: Size.gibibytes(2) } },
  }));
  template().allResourcesProperties("AWS::Lambda::Function", {
    VpcConfig: { SubnetIds: Match.anyValue(), SecurityGroupIds: Match.anyValue() },
    TracingConfig: { Mode: "Active" },
  });
  const of = (fn: lambda.Function | undefined) => {
    const id = stack.getLogicalId(fn?.node.defaultChild as lambda.CfnFunction);
    const { Architectures, EphemeralStorage } = resources(template(), "AWS::Lambda::Function")[id]?.Properties ?? {};
    return [Architectures, EphemeralStorage];
  };
  expect(of(tasks.queue("celery").function)).toEqual([["x86_64"], undefined]);
  expect(of(tasks.queue("media").function)).toEqual([["arm64"], { Size: 2048 }]);
  expect(of(tasks.beat?.function)).toEqual([["x86_64"], undefined]);
});

test("a key, a VPC and those who are told are those of everything, whatever is deployed", () => {
  const { template } = deploy(
    shop({
      taskQueues: {
        celery: { priorities: [0, 5] },
        "orders.fifo": {},
        video: { worker: "container", priorities: [0, 5] },
        sound: { worker: "none" },
      },
      beatSchedule: { often },
    }),
    (stack) => ({
      encryptionKey: new kms.Key(stack, "Key"),
      vpc: new ec2.Vpc(stack, "Vpc", { maxAzs: 1 }),
      alarmActions: [new actions.SnsAction(new sns.Topic(stack, "Trouble"))],
      okActions: [new actions.SnsAction(new sns.Topic(stack, "Fine"))],
      longDelays: true,
      payloadStore: true,
      board: { entry: join(FUNCTIONS, "worker.ts") },
      container: { image: ecs.ContainerImage.fromRegistry("node:24") },
      queues: { celery: { failedPercent: 20 }, video: { failedPercent: 20 } },
    }),
  );
  const Key = Match.stringLikeRegexp("^Key");
  const key = { "Fn::GetAtt": [Key, "Arn"] };
  const of: Readonly<Record<string, object>> = {
    "AWS::SQS::Queue": { KmsMasterKeyId: key },
    "AWS::DynamoDB::Table": { SSESpecification: { KMSMasterKeyId: key } },
    "AWS::Logs::LogGroup": { KmsKeyId: key },
    "AWS::S3::Bucket": {
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [
          Match.objectLike({ ServerSideEncryptionByDefault: Match.objectLike({ KMSMasterKeyID: key }) }),
        ],
      },
    },
    "AWS::Lambda::Function": { VpcConfig: { SubnetIds: Match.anyValue() } },
    "AWS::ECS::Service": {
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: "DISABLED", Subnets: Match.anyValue() } },
    },
  };
  for (const [type, properties] of Object.entries(of)) template().allResourcesProperties(type, properties);
  template().resourceCountIs("AWS::EC2::VPC", 1);
  // Those of Application Auto Scaling tell its policies.
  const alarms = Object.entries(resources(template(), "AWS::CloudWatch::Alarm")).filter(
    ([id]) => !/(Lower|Upper)Alarm/.test(id),
  );
  expect(alarms.length).toBeGreaterThan(15);
  for (const [id, { Properties }] of alarms) {
    expect(JSON.stringify(Properties["AlarmActions"]), id).toContain("Trouble");
    expect(JSON.stringify(Properties["OKActions"]), id).toContain("Fine");
  }
});

test("a queue may have a module of its own", () => {
  const entry = join(FUNCTIONS, "none.ts");
  expect(() => deploy(shop(twoQueues), { queues: { media: { entry } } })).toThrow(/none\.ts/);
});

test.each([
  [511, /ephemeralStorageSize: .*512 to 10240 MB; given: 511/],
  [10_241, /given: 10241/],
])("%d MB in /tmp are refused", (mebibytes, message) => {
  const ephemeralStorageSize = Size.mebibytes(mebibytes);
  expect(() => deploy(shop(), { queues: { celery: { ephemeralStorageSize } } })).toThrow(message);
});

test("modules that are installed here for another machine are warned of", () => {
  const here = process.arch === "x64" ? lambda.Architecture.X86_64 : lambda.Architecture.ARM_64;
  const other = process.arch === "x64" ? lambda.Architecture.ARM_64 : lambda.Architecture.X86_64;
  const warnings = (architecture: lambda.Architecture, bundling = {}) =>
    Annotations.fromStack(
      deploy(shop(), { architecture, bundling: { nodeModules: ["hono"], ...bundling } }).stack,
    ).findWarning("*", Match.stringLikeRegexp("nodeModules \\(hono\\) are installed on this machine"));
  expect(warnings(other)).not.toEqual([]);
  expect(warnings(other, { nodeModules: [] })).toEqual([]);
  if (process.platform === "linux") expect(warnings(here)).toEqual([]);
});

test("a module that exports no handler is refused, and one of which that cannot be told is taken", () => {
  const folder = folderInCheckout("entry-");
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const made = 'import { createWorkerHandler } from "lovage/lambda";\nimport { app } from "./tasks.ts";\n';
  const entryOf = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const [tasks, misspelled, unexported] = [
    entryOf("tasks.ts", "export const app = 1, add = 2;"),
    entryOf("misspelled.ts", `${made}export const handle = createWorkerHandler(app);`),
    entryOf("unexported.ts", `${made}const handler = createWorkerHandler(app);`),
  ];
  const refused = (props: Partial<TaskQueuesProps>) => expect(() => deploy(shop(twoQueues), props));
  refused({ entry: tasks }).toThrow(
    `entry: ${tasks} exports no handler, which Lambda calls: write export const handler = createWorkerHandler(app) in it, or give the module that does (it exports add, app)`,
  );
  refused({ queues: { media: { entry: misspelled } } }).toThrow("no handler, which Lambda calls, but handle: write");
  refused({ beatEntry: unexported }).toThrow(
    /^beatEntry: .*createBeatHandler\(app\) in it, or .*\(it exports nothing\)/,
  );
  refused({ board: { entry: tasks } }).toThrow(/^board\.entry: .*createBoardHandler\(app\)/);
  for (const [name, text] of [
    ["star.ts", 'export * from "./worker.ts";'],
    ["renamed.ts", `${made}const work = createWorkerHandler(app);\nexport { work as handler };`],
    ["again.mjs", 'export { handler } from "./worker.ts";'],
  ] as const)
    deploy(shop(), { entry: entryOf(name, text) });
});

test.each([
  ["common.cjs", "exports.handler = () => 0;"],
  ["assigned.cts", "export = { handler: () => 0 };"],
  ["required.cjs", 'const { app } = require("./tasks.js");\nmodule.exports = { handler: () => app };'],
])("%s, of which an ES module has no names, is refused unless the bundle is CommonJS", (name, text) => {
  const folder = folderInCheckout("entry-");
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const entry = join(folder, name);
  writeFileSync(entry, text);
  expect(() => deploy(shop(), { entry })).toThrow(
    `entry: ${entry} is a CommonJS module, and of its exports Lambda finds none in the bundle, which is an ES module: write import,`,
  );
  deploy(shop(), { entry, bundling: { format: OutputFormat.CJS } });
});

test("an entry that requires Lovage, all of which is then in its bundle, is warned of", () => {
  const folder = folderInCheckout("entry-");
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const entry = join(folder, "worker.cjs");
  writeFileSync(entry, 'exports.handler = require("lovage/lambda").createWorkerHandler(require("./tasks.cjs").app);');
  const { stack } = deploy(shop(), { entry, bundling: { format: OutputFormat.CJS } });
  const said = Match.stringLikeRegexp("worker\\.cjs requires lovage/lambda, .* Write import, and export");
  expect(Annotations.fromStack(stack).findWarning("*", said)).toHaveLength(1);
  const isLean = deploy(shop(), { bundling: { format: OutputFormat.CJS } });
  expect(Annotations.fromStack(isLean.stack).findWarning("*", Match.anyValue())).toEqual([]);
});

test("a container image takes the place of a bundle by the CDK's own escape hatch, as the page says", () => {
  const { tasks, template } = deploy(shop());
  const fn = tasks.queue("celery").function.node.defaultChild as lambda.CfnFunction;
  fn.addPropertyOverride("PackageType", "Image");
  fn.addPropertyOverride("Code", { ImageUri: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1" });
  for (const name of ["Handler", "Runtime", "Code.S3Bucket", "Code.S3Key"]) fn.addPropertyDeletionOverride(name);
  template().hasResourceProperties("AWS::Lambda::Function", {
    PackageType: "Image",
    Code: { ImageUri: Match.anyValue(), S3Bucket: Match.absent() },
    Handler: Match.absent(),
    Runtime: Match.absent(),
    Environment: { Variables: Match.objectLike({ LOVAGE_BROKER_URL: Match.anyValue() }) },
  });
});

test("each queue has five alarms where it says a share of failures, and beat three, and each tells when it begins and when it is over", () => {
  const { template } = deploy(shop({ beatSchedule: { often } }), (stack) => ({
    alarmActions: [new actions.SnsAction(new sns.Topic(stack, "Trouble"))],
    okActions: [new actions.SnsAction(new sns.Topic(stack, "Fine"))],
    queues: { celery: { oldestMessageAge: Duration.minutes(3), failedPercent: 20 } },
  }));
  template().resourceCountIs("AWS::CloudWatch::Alarm", 8);
  template().allResourcesProperties("AWS::CloudWatch::Alarm", {
    AlarmActions: [{ Ref: Match.stringLikeRegexp("Trouble") }],
    OKActions: [{ Ref: Match.stringLikeRegexp("Fine") }],
  });
  const lambdas = (MetricName: string, fn: string, more = {}) =>
    template().hasResourceProperties("AWS::CloudWatch::Alarm", {
      Namespace: "AWS/Lambda",
      MetricName,
      Statistic: "Sum",
      Threshold: 1,
      Dimensions: [{ Name: "FunctionName", Value: { Ref: Match.stringLikeRegexp(fn) } }],
      ...more,
    });
  lambdas("Errors", "celeryWorker");
  lambdas("Throttles", "celeryWorker", { EvaluationPeriods: 3 });
  lambdas("Errors", "Beat");
  lambdas("Invocations", "Beat", {
    Period: 900,
    ComparisonOperator: "LessThanThreshold",
    TreatMissingData: "breaching",
  });
  template().hasResourceProperties("AWS::CloudWatch::Alarm", {
    Threshold: 20,
    Metrics: Match.arrayWith([
      Match.objectLike({ Expression: "IF(failed + succeeded >= 10, 100 * failed / (failed + succeeded), 0)" }),
      Match.objectLike({ MetricStat: { Metric: Match.objectLike({ Namespace: "Lovage", MetricName: "Failed" }) } }),
    ]),
  });
});

test("an alarm on failures is refused where nothing counts them", () => {
  expect(() => deploy(shop({ metrics: false }), { queues: { celery: { failedPercent: 20 } } })).toThrow(
    /failedPercent: needs the metrics of the queue/,
  );
});

test.each([0, 101, 1.5])("an alarm at %d % of failures is refused", (failedPercent) => {
  expect(() => deploy(shop(), { queues: { celery: { failedPercent } } })).toThrow(/failedPercent: .*1 to 100 %; given/);
});

test.each<[string, readonly string[], number | undefined]>([
  ["nothing, where there are no rules", [], undefined],
  ["nothing of a rule for some days", ["cron(0 9 ? * 2 *)", "cron(0 9 1 * ? *)"], undefined],
  ["a day", ["cron(10 1 * * ? *)", "cron(0 9 ? * 2 *)"], 86_400],
  ["two hours", ["cron(30 * * * ? *)", "cron(10 1 * * ? *)"], 7200],
  ["a quarter of an hour", ["cron(10 1 * * ? *)", "cron(* * * * ? *)"], 900],
])("beat's silence is noticed after %s", (_, rules, seconds) => {
  expect(longestSilence(rules)?.toSeconds()).toBe(seconds);
});

test("an entry for one day of the week makes no alarm of silence", () => {
  const weekly = { task: "shop.add", schedule: crontab({ hour: 9, minute: 0, dayOfWeek: 1 }) };
  deploy(shop({ beatSchedule: { weekly } }))
    .template()
    .resourceCountIs("AWS::CloudWatch::Alarm", 6);
});

test("more queues than a stack can hold are refused, with the numbers", () => {
  const queues = (count: number) =>
    shop({
      taskQueues: Object.fromEntries(
        ["celery", ...Array.from({ length: count - 1 }, (_, n) => `q${n}`)].map((name) => [name, {}]),
      ),
    });
  // Made, and not synthesized: it is the constructor that counts.
  deploy(queues(37));
  deploy(queues(32), { longDelays: true });
  expect(() => deploy(queues(46))).toThrow(
    /taskQueues: are too many for one stack: 46 queues and 0 entries are \d+ resources, and CloudFormation takes 500/,
  );
  expect(() => deploy(queues(30)).template()).not.toThrow();
});
