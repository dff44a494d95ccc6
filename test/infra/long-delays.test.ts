import { RemovalPolicy, Stack } from "aws-cdk-lib";
import { Annotations, Match } from "aws-cdk-lib/assertions";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import { Lovage, type ConfigInput } from "lovage";
import type { TaskQueuesProps } from "lovage/cdk";
import { expect, test } from "vitest";
import { schedulerOf } from "../../src/brokers/sqs-delays.ts";
import { parseAwsUrl, SQS_OPTIONS } from "../../src/aws/connection.ts";
import { deploy, resources, shop, unbundled } from "./deployment.ts";

const taskQueues: ConfigInput["taskQueues"] = { celery: {}, "media.large": {}, "orders.fifo": {} };
const late = (props: Partial<TaskQueuesProps> = {}) =>
  deploy(shop({ taskQueues }), { longDelays: true, prefix: "shop-", ...props });

const region = { Ref: "AWS::Region" };
const account = { Ref: "AWS::AccountId" };
const partition = { Ref: "AWS::Partition" };
const join = (...parts: readonly unknown[]) => ({ "Fn::Join": ["", parts] });
const arnOf = (id: string) => ({ "Fn::GetAtt": [Match.stringLikeRegexp(id), "Arn"] });
const GROUP = "lovage-shop-media-large";

test("there is for each standard queue a group for its entries, and a role of Scheduler's for that group alone", () => {
  const { template } = late();
  template().hasResourceProperties("AWS::Scheduler::ScheduleGroup", { Name: GROUP });
  const roles = template().findResources("AWS::IAM::Role", {
    Properties: { AssumeRolePolicyDocument: { Statement: [{ Principal: { Service: "scheduler.amazonaws.com" } }] } },
  });
  expect(Object.values(roles).map(({ Properties }) => Properties.RoleName)).toEqual([
    join("lovage-", region, "-shop-celery"),
    join("lovage-", region, "-shop-media-large"),
  ]);
  template().hasResourceProperties("AWS::IAM::Role", {
    RoleName: join("lovage-", region, "-shop-media-large"),
    AssumeRolePolicyDocument: {
      Statement: [
        {
          Action: "sts:AssumeRole",
          Effect: "Allow",
          Principal: { Service: "scheduler.amazonaws.com" },
          Condition: {
            StringEquals: { "aws:SourceAccount": account },
            ArnEquals: {
              "aws:SourceArn": join("arn:", partition, ":scheduler:", region, ":", account, `:schedule-group/${GROUP}`),
            },
          },
        },
      ],
    },
    Policies: [
      {
        PolicyDocument: {
          Statement: [
            {
              Action: "sqs:SendMessage",
              Effect: "Allow",
              Resource: [arnOf("medialargeQueue"), arnOf("medialargeDeadLetters")],
            },
          ],
        },
      },
    ],
  });
});

test("workers, beat and whoever may send to a queue may have messages to it delayed, and to no other", () => {
  const { stack, tasks, template } = late();
  const sender = new iam.Role(stack, "Sender", { assumedBy: new iam.AccountRootPrincipal() });
  const inOrder = new iam.Role(stack, "InOrder", { assumedBy: new iam.AccountRootPrincipal() });
  tasks.grantSend(sender, ["media.large"]);
  tasks.grantSend(inOrder, ["orders.fifo"]);
  const create = {
    Action: "scheduler:CreateSchedule",
    Effect: "Allow",
    Resource: join("arn:", partition, ":scheduler:", region, ":", account, `:schedule/${GROUP}/*`),
  };
  const pass = (Resource: unknown) => ({
    Action: "iam:PassRole",
    Condition: { StringEquals: { "iam:PassedToService": "scheduler.amazonaws.com" } },
    Effect: "Allow",
    Resource,
  });
  const of = (role: string, statements: readonly unknown[]) =>
    template().hasResourceProperties("AWS::IAM::Policy", {
      Roles: [{ Ref: Match.stringLikeRegexp(role) }],
      PolicyDocument: { Statement: Match.arrayWith(statements as unknown[]) },
    });
  of("Sender", [pass(arnOf("LongDelaysRolemedialarge")), create]);
  of("medialargeWorkerRole", [pass(arnOf("LongDelaysRolemedialarge")), create]);
  for (const worker of ["celeryWorkerRole", "ordersfifoWorkerRole"]) {
    const found = Object.entries(template().findResources("AWS::IAM::Policy")).filter(([id]) => id.includes(worker));
    expect(found).toHaveLength(1);
    expect(JSON.stringify(found)).not.toContain("media");
  }
  const policies = template().findResources("AWS::IAM::Policy");
  const [ordered] = Object.entries(policies).filter(([id]) => id.startsWith("InOrder"));
  expect(JSON.stringify(ordered)).not.toMatch(/scheduler|PassRole/);
});

test("the broker's URL names group and role, and is what the broker reads", () => {
  const { template } = late();
  const url = [
    "sqs://",
    region,
    `?queue_name_prefix=shop-&scheduler_group=lovage-{queue}&scheduler_role_arn=arn:`,
    partition,
    ":iam::",
    account,
    ":role/lovage-",
    region,
    "-{queue}",
  ];
  template().hasResourceProperties("AWS::Lambda::Function", {
    Environment: { Variables: Match.objectLike({ LOVAGE_BROKER_URL: join(...url) }) },
  });
  const values = new Map<unknown, string>([
    [region, "eu-west-1"],
    [partition, "aws"],
    [account, "123456789012"],
  ]);
  const resolved = url.map((part) => values.get(part) ?? part).join("");
  expect(schedulerOf(parseAwsUrl("brokerUrl", resolved, {}, SQS_OPTIONS))).toEqual({
    role: "arn:aws:iam::123456789012:role/lovage-eu-west-1-{queue}",
    group: "lovage-{queue}",
    key: undefined,
    minDelay: 3600,
  });
  const app = new Lovage("shop", { resultBackend: "memory://" }, { env: { LOVAGE_BROKER_URL: resolved } });
  expect(app.config.brokerTransportOptions.queueNamePrefix).toBe("shop-");
});

test("a key of one's own encrypts the entries, for those who make them and for Scheduler", () => {
  const { template } = deploy(shop(), (stack) => ({ longDelays: true, encryptionKey: new kms.Key(stack, "Key") }));
  const key = arnOf("^Key");
  template().hasResourceProperties("AWS::Lambda::Function", {
    Environment: {
      Variables: {
        LOVAGE_BROKER_URL: join(
          ...Array.from({ length: 8 }, () => Match.anyValue()),
          "-{queue}&scheduler_key_arn=",
          key,
        ),
      },
    },
  });
  template().hasResourceProperties("AWS::IAM::Role", {
    RoleName: Match.anyValue(),
    Policies: [
      {
        PolicyDocument: {
          Statement: [
            Match.anyValue(),
            { Action: ["kms:Decrypt", "kms:GenerateDataKey"], Effect: "Allow", Resource: key },
            { Action: "kms:Decrypt", Effect: "Allow", Resource: key },
          ],
        },
      },
    ],
  });
  template().hasResourceProperties("AWS::IAM::Policy", {
    Roles: [{ Ref: Match.stringLikeRegexp("celeryWorkerRole") }],
    PolicyDocument: {
      Statement: Match.arrayWith([
        { Action: ["kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt"], Effect: "Allow", Resource: key },
      ]),
    },
  });
});

test("what waits outlives the stack, with the roles that it needs, unless it is told otherwise", () => {
  const policies = (props: Partial<TaskQueuesProps>) => {
    const { template } = late(props);
    const groups = Object.values(template().findResources("AWS::Scheduler::ScheduleGroup"));
    const roles = Object.values(
      template().findResources("AWS::IAM::Role", { Properties: { RoleName: Match.anyValue() } }),
    );
    return [...groups, ...roles].map(({ DeletionPolicy }) => DeletionPolicy);
  };
  expect(policies({})).toEqual(Array(4).fill("RetainExceptOnCreate"));
  expect(policies({ removalPolicy: RemovalPolicy.DESTROY })).toEqual(Array(4).fill("Delete"));
});

test("nothing of it is there unless it is asked for", () => {
  const { template } = deploy(shop());
  template().resourceCountIs("AWS::Scheduler::ScheduleGroup", 0);
  expect(JSON.stringify(template().toJSON())).not.toContain("scheduler");
});

test.each<[string, ConfigInput["taskQueues"], Partial<TaskQueuesProps>, RegExp]>([
  [
    "queues that are all FIFO",
    { "celery.fifo": {} },
    {},
    /longDelays: is for standard queues, and there is none: .*\(declared: celery\.fifo\)/,
  ],
  [
    "a queue whose name makes too long a role's",
    { celery: {}, ["m".repeat(43)]: {} },
    {},
    /taskQueues\.m+: must have a name of at most 42 characters.*\(43\)/,
  ],
])("%s are refused", (_, taskQueues, props, message) => {
  const [taskDefaultQueue = ""] = Object.keys(taskQueues ?? {});
  const app = new Lovage("shop", { taskQueues, taskDefaultQueue }, { env: {} });
  expect(() => deploy(app, { longDelays: true, beatEntry: undefined as never, ...props })).toThrow(message);
});

test.each<[string, (stack: Stack) => iam.IGrantable]>([
  ["an account", () => new iam.AccountPrincipal("222222222222")],
  ["a role of another account", (stack) => iam.Role.fromRoleArn(stack, "There", "arn:aws:iam::222222222222:role/web")],
])("%s may send, and synth warns that it can make no entries", (_, grantee) => {
  const here = new Stack(unbundled(), "Here", { env: { account: "111111111111", region: "eu-west-1" } });
  const { stack, tasks, template } = deploy(shop(), { longDelays: true }, here);
  tasks.grantSend(grantee(stack));
  expect(
    Annotations.fromStack(stack).findWarning("*", Match.stringLikeRegexp("make no entries of Scheduler")),
  ).toHaveLength(1);
  const policies = Object.values(resources(template(), "AWS::IAM::Policy"));
  expect(policies.filter(({ Properties }) => JSON.stringify(Properties["Roles"]).includes("web"))).toEqual([]);
});

test("two queues of which IAM would take the roles for one are refused, where roles are made of them", () => {
  const app = shop({ taskQueues: { celery: {}, media: {}, Media: {} } });
  expect(() => deploy(app, { longDelays: true })).toThrow(
    /taskQueues\.Media: must differ from media in more than capitals/,
  );
  deploy(app);
  const bands = shop({ taskQueues: { celery: { priorities: [0, 5] }, "Celery-Priority-5": {} } });
  expect(() => deploy(bands, { longDelays: true })).toThrow(
    /taskQueues\.Celery-Priority-5: must differ from celery in more than capitals/,
  );
});
