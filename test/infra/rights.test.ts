/** Who may do what: workers, beat, and whoever is granted something. */
import { readFileSync } from "node:fs";
import { App, Stack } from "aws-cdk-lib";
import { Annotations, Match, Template } from "aws-cdk-lib/assertions";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import { Lovage } from "lovage";
import type { BeatRules, TaskQueuesProps } from "lovage/cdk";
import { expect, test } from "vitest";
import { allowed, deploy, resources, roleOf, shop, unbundled } from "./deployment.ts";

const taskQueues = { celery: {}, media: {} };
const TASKS = "celery-task-meta-*";
const GROUPS = "celery-taskset-meta-*";
const CHORDS = "chord-unlock-*";
const often = { task: "shop.add", schedule: 60 };
const rowsOf = (actions: readonly string[], keys: string) =>
  actions.map((action) => `dynamodb:${action} Results ${keys}`);

test("a worker may do what it does, and no more: it sends to its own queue, and writes rows of the app's kinds", () => {
  const deployment = deploy(shop({ taskQueues }));
  expect(allowed(deployment, roleOf(deployment.tasks.queue("media").function))).toEqual(
    [
      ...rowsOf(["BatchGetItem", "PartiQLInsert", "PartiQLUpdate", "PutItem", "UpdateItem"], TASKS),
      ...rowsOf(["BatchGetItem", "PutItem", "UpdateItem"], `${GROUPS} ${CHORDS}`),
      ...rowsOf(["BatchGetItem"], "lovage-control-retry-*"),
      "dynamodb:PartiQLInsert Journal",
      "dynamodb:PutItem Journal",
      "logs:CreateLogStream mediaWorkerLogs",
      "logs:PutLogEvents mediaWorkerLogs",
      "sqs:ChangeMessageVisibility mediaQueue",
      "sqs:DeleteMessage mediaQueue",
      "sqs:GetQueueAttributes mediaQueue",
      "sqs:GetQueueAttributes mediaQueue",
      "sqs:GetQueueUrl mediaDeadLetters",
      "sqs:GetQueueUrl mediaQueue",
      "sqs:ReceiveMessage mediaQueue",
      "sqs:SendMessage mediaDeadLetters",
      "sqs:SendMessage mediaQueue",
    ].sort(),
  );
});

test("of a text in place of a list, as JavaScript lets it through, the queue of that name is meant", () => {
  const rights = (queues: readonly string[]) => {
    const deployment = deploy(shop({ taskQueues, beatSchedule: { often } }));
    const { stack, tasks } = deployment;
    const role = new iam.Role(stack, "Caller", { assumedBy: new iam.AccountRootPrincipal() });
    tasks.grantSend(role, queues);
    tasks.grantOperate(role, queues);
    tasks.grantWork(role, queues);
    tasks.grantSchedule(role, queues);
    return [role, roleOf((tasks.beat as BeatRules).function)].map((one) => allowed(deployment, one));
  };
  expect(rights("media" as never)).toEqual(rights(["media"]));
  for (const wrong of [5, { media: true }, [["media"]]])
    expect(() => rights(wrong as never)).toThrow(/^queues(\[0\])?: must be a /);
});

test.each<[string, Partial<TaskQueuesProps>, readonly string[], readonly string[]]>([
  ["a queue's declaration", { queues: { celery: { sendsTo: ["media"] } } }, ["celery", "media"], ["media"]],
  ["a queue's choice of all", { queues: { celery: { sendsTo: "all" } } }, ["audit", "celery", "media"], ["media"]],
  ["that of all queues", { sendsTo: "all" }, ["audit", "celery", "media"], ["audit", "celery", "media"]],
  [
    "a queue's own over that",
    { sendsTo: "all", queues: { media: { sendsTo: [] } } },
    ["audit", "celery", "media"],
    ["media"],
  ],
])("tasks may send where %s says", (_, props, celery, media) => {
  const deployment = deploy(shop({ taskQueues: { ...taskQueues, audit: {} } }), props);
  const sends = (queue: string) =>
    allowed(deployment, roleOf(deployment.tasks.queue(queue).function))
      .filter((right) => /^sqs:SendMessage (?!.*DeadLetters)/.test(right))
      .map((right) => right.replace(/^sqs:SendMessage (.*)Queue$/, "$1"));
  expect(sends("celery")).toEqual(celery);
  expect(sends("media")).toEqual(media);
});

test.each<[string, Partial<TaskQueuesProps>, RegExp]>([
  ["a queue", { queues: { celery: { sendsTo: ["medai"] } } }, /queues\.celery\.sendsTo: "medai" is not in taskQueues/],
  ["all queues", { sendsTo: ["medai"] }, /^sendsTo: "medai" is not in taskQueues.*did you mean "media"/],
])("a queue that is not declared is refused in the sendsTo of %s", (_, props, message) => {
  expect(() => deploy(shop({ taskQueues }), props)).toThrow(message);
});

test("beat may send where its entries go and to its dead letters, and where somebody may put entries for", () => {
  const beatSchedule = { often };
  const mayBeat = (...granted: readonly (readonly string[])[]) => {
    const deployment = deploy(shop({ taskQueues: { ...taskQueues, audit: {} }, beatSchedule }));
    for (const queues of granted) deployment.tasks.grantSchedule(deployment.tasks.queue("celery"), queues);
    const { beat } = deployment.tasks;
    if (beat === undefined) throw new Error("there is no beat");
    return allowed(deployment, roleOf(beat.function)).filter((right) => right.startsWith("sqs:SendMessage"));
  };
  const always = ["sqs:SendMessage BeatRulesDeadLetters", "sqs:SendMessage celeryQueue"];
  expect(mayBeat()).toEqual(always);
  expect(mayBeat(["media"])).toEqual([...always, "sqs:SendMessage mediaQueue"]);
});

test("beat may send to the queue that the task of an entry is declared for", () => {
  const app = new Lovage(
    "shop",
    { taskQueues, beatSchedule: { cut: { task: "media.cut", schedule: 60 } } },
    { env: {} },
  );
  app.task("media.cut", { queue: "media" }, () => null);
  const deployment = deploy(app);
  const { beat } = deployment.tasks;
  const rights = allowed(deployment, roleOf((beat as NonNullable<typeof beat>).function));
  expect(rights.filter((right) => right.startsWith("sqs:SendMessage"))).toEqual([
    "sqs:SendMessage BeatRulesDeadLetters",
    "sqs:SendMessage mediaQueue",
  ]);
});

test("each grant allows what its name says and nothing else", () => {
  const deployment = deploy(shop({ taskQueues }));
  const { stack, tasks } = deployment;
  const role = (id: string) => new iam.Role(stack, id, { assumedBy: new iam.AccountRootPrincipal() });
  const [sender, anySender, reader, revoker, chords] = ["A", "B", "C", "D", "E"].map(role) as [
    iam.Role,
    iam.Role,
    iam.Role,
    iam.Role,
    iam.Role,
  ];
  tasks.grantSend(sender, ["media"]);
  tasks.grantSend(anySender);
  tasks.grantReadResults(reader);
  tasks.grantRevoke(revoker);
  tasks.grantSendChords(chords);
  expect(allowed(deployment, sender)).toEqual([
    "sqs:GetQueueAttributes mediaQueue",
    "sqs:GetQueueUrl mediaQueue",
    "sqs:SendMessage mediaQueue",
  ]);
  expect(allowed(deployment, anySender)).toEqual([
    "sqs:GetQueueAttributes celeryQueue",
    "sqs:GetQueueAttributes mediaQueue",
    "sqs:GetQueueUrl celeryQueue",
    "sqs:GetQueueUrl mediaQueue",
    "sqs:SendMessage celeryQueue",
    "sqs:SendMessage mediaQueue",
  ]);
  // Python's Celery looks whether the table is there.
  const table = "dynamodb:DescribeTable Results";
  const [read, got] = rowsOf(["BatchGetItem", "GetItem"], `${TASKS} ${GROUPS}`);
  expect(allowed(deployment, reader)).toEqual([read, table, got]);
  expect(allowed(deployment, revoker)).toEqual([
    ...rowsOf(["BatchGetItem"], `${TASKS} ${GROUPS}`),
    ...rowsOf(["BatchGetItem"], "lovage-control-retry-*"),
    "dynamodb:PutItem Journal",
    ...rowsOf(["PutItem", "UpdateItem"], `${TASKS} ${GROUPS}`),
  ]);
  const [seen, ...written] = rowsOf(["BatchGetItem", "PutItem", "UpdateItem"], `${GROUPS} ${CHORDS}`);
  expect(allowed(deployment, chords)).toEqual([seen, table, ...written]);
  expect(() => tasks.grantSend(sender, ["medai"])).toThrow('there is no queue "medai"');
});

const CONTROL = "lovage-control-*";
const inspecting = [
  ...rowsOf(["BatchGetItem"], `${TASKS} ${GROUPS} ${CONTROL}`),
  'cloudwatch:GetMetricData "*"',
  "dynamodb:Query Journal",
  'lambda:ListEventSourceMappings "*"',
  "sqs:ChangeMessageVisibility celeryDeadLetters",
  "sqs:ChangeMessageVisibility mediaDeadLetters",
  "sqs:GetQueueAttributes celeryDeadLetters",
  "sqs:GetQueueAttributes celeryQueue",
  "sqs:GetQueueAttributes mediaDeadLetters",
  "sqs:GetQueueAttributes mediaQueue",
  "sqs:GetQueueUrl celeryDeadLetters",
  "sqs:GetQueueUrl celeryQueue",
  "sqs:GetQueueUrl mediaDeadLetters",
  "sqs:GetQueueUrl mediaQueue",
  'sqs:ListQueues "*"',
  "sqs:ReceiveMessage celeryDeadLetters",
  "sqs:ReceiveMessage mediaDeadLetters",
];

test("who looks may read all there is, and who steers may change the queues that are named", () => {
  const deployment = deploy(shop({ taskQueues }));
  const { stack, tasks } = deployment;
  const role = (id: string) => new iam.Role(stack, id, { assumedBy: new iam.AccountRootPrincipal() });
  const [inspector, operator] = [role("Inspector"), role("Operator")];
  tasks.grantInspect(inspector);
  tasks.grantOperate(operator, ["media"]);
  const may = (one: iam.Role) =>
    allowed(deployment, one)
      .filter((right) => !right.startsWith("events:"))
      .map((right) => right.replace(/\{.*:event-source-mapping:.*Queue([a-z]+Messages).*/, "$1"));
  expect(may(inspector)).toEqual([...inspecting].sort());
  expect(may(operator)).toEqual(
    [
      ...inspecting,
      ...rowsOf(["PutItem", "UpdateItem"], `${TASKS} ${GROUPS} ${CONTROL}`),
      "dynamodb:PutItem Journal",
      "lambda:UpdateEventSourceMapping mediaMessages",
      "sqs:DeleteMessage mediaDeadLetters",
      "sqs:PurgeQueue mediaDeadLetters",
      "sqs:PurgeQueue mediaQueue",
      "sqs:SendMessage mediaQueue",
    ].sort(),
  );
  expect(() => tasks.grantOperate(operator, ["medai"])).toThrow('there is no queue "medai"');
});

test("the page about operating lists every action of both, and no others", () => {
  const retried = shop({ taskQueues, beatSchedule: { often } });
  retried.task("shop.limited", { rateLimit: "1/s" }, () => 1);
  const deployment = deploy(retried, { payloadStore: true });
  const role = (id: string) => new iam.Role(deployment.stack, id, { assumedBy: new iam.AccountRootPrincipal() });
  const [inspector, operator] = [role("Inspector"), role("Operator")];
  deployment.tasks.grantInspect(inspector);
  deployment.tasks.grantOperate(operator, ["media"]);
  const actions = (one: iam.Role) => new Set(allowed(deployment, one).map((right) => right.replace(/ .*/, "")));
  const page = readFileSync(new URL("../../docs/how-to/operate.md", import.meta.url), "utf8");
  const [, inspecting_ = "", operating = ""] = page.split(/^\| \*\*`grant.*$/m);
  /** Of the first column: a service is named once in a row. */
  const listed = (table: string) =>
    [...table.matchAll(/^\| (`[a-z0-9]+:[^|]*) \|/gm)].flatMap(([, cell = ""]) => {
      const [service = "", first = "", ...rest] = [...cell.matchAll(/\w+/g)].map(([word]) => word);
      return [first, ...rest.filter((word) => word !== service)].map((name) => `${service}:${name}`);
    });
  expect([...new Set(listed(inspecting_))].sort()).toEqual([...actions(inspector)].sort());
  expect([...new Set([...listed(inspecting_), ...listed(operating)])].sort()).toEqual([...actions(operator)].sort());
});

test.each<[string, (stack: Stack) => iam.IGrantable]>([
  ["an account", () => new iam.AccountPrincipal("222222222222")],
  ["a service", () => new iam.ServicePrincipal("events.amazonaws.com")],
  ["a role of another account", (stack) => iam.Role.fromRoleArn(stack, "There", "arn:aws:iam::222222222222:role/web")],
])("%s cannot look, steer or schedule: it takes a role of the account", (_, grantee) => {
  const { stack, tasks } = deploy(
    shop({ taskQueues }),
    {},
    new Stack(unbundled(), "Here", { env: { account: "111111111111", region: "eu-west-1" } }),
  );
  const to = grantee(stack);
  const refused = /grantee: cannot (look at an app|put entries).*needs a role of this account/;
  for (const grant of [tasks.grantInspect, tasks.grantOperate, tasks.grantSchedule])
    expect(() => grant.call(tasks, to)).toThrow(refused);
});

test("a role that was looked up is told of the env by which its account can be known", () => {
  const { stack, tasks } = deploy(shop({ taskQueues }));
  const role = iam.Role.fromRoleArn(stack, "Looked", "arn:aws:iam::111111111111:role/web");
  expect(() => tasks.grantInspect(role)).toThrow(/only be told where the stack has an env/);
});

test("with beat who looks sees its entries, and with a key of one's own may read what it encrypts", () => {
  const deployment = deploy(shop({ taskQueues, beatSchedule: { often } }), (stack) => ({
    encryptionKey: new kms.Key(stack, "Key"),
  }));
  const role = new iam.Role(deployment.stack, "Role", { assumedBy: new iam.AccountRootPrincipal() });
  deployment.tasks.grantInspect(role);
  const rights = allowed(deployment, role).filter((right) => /^(events|kms):/.test(right));
  expect([...new Set(rights.map((right) => right.replace(/ .*/, "")))]).toEqual([
    "events:ListRules",
    "events:ListTargetsByRule",
    "kms:Decrypt",
    "kms:DescribeKey",
  ]);
});

test("apps that share a table are kept to their own rows, in the spelling that they have", () => {
  const deployment = deploy(
    shop({
      resultBackend: "dynamodb://eu-west-1/shared?keys=python",
      brokerUrl: "sqs://eu-west-1",
      resultBackendTransportOptions: { globalKeyprefix: "a*b:" },
    }),
  );
  const role = new iam.Role(deployment.stack, "Role", { assumedBy: new iam.AccountRootPrincipal() });
  deployment.tasks.grantRevoke(role);
  const keys = `b?a\${*}b:${TASKS} b?a\${*}b:${GROUPS}`;
  expect(allowed(deployment, role)).toEqual(expect.arrayContaining([...rowsOf(["PutItem", "UpdateItem"], keys)]));
});

test.each([
  ["an account", new iam.AccountPrincipal("222222222222")],
  ["an ARN", new iam.ArnPrincipal("arn:aws:iam::222222222222:role/web")],
  ["a service", new iam.ServicePrincipal("events.amazonaws.com")],
])("%s, which has no policy here, is granted by those of queue and table", (_, principal) => {
  const { tasks, template } = deploy(shop({ taskQueues }));
  for (const grant of [tasks.grantSend(principal, ["media"]), tasks.grantReadResults(principal)])
    expect(grant.success).toBe(true);
  template().hasResourceProperties("AWS::SQS::QueuePolicy", {
    Queues: [{ Ref: Match.stringLikeRegexp("QueuemediaQueue") }],
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Action: ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"],
          Effect: "Allow",
          Principal: Match.anyValue(),
        }),
      ]),
    },
  });
  template().hasResourceProperties("AWS::DynamoDB::Table", {
    ResourcePolicy: {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Action: "dynamodb:DescribeTable" }),
          Match.objectLike({
            Action: ["dynamodb:BatchGetItem", "dynamodb:GetItem"],
            Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [TASKS, GROUPS] } },
          }),
        ],
      },
    },
  });
});

test("a role of another account is granted on both sides", () => {
  const app = new App({ context: { "aws:cdk:bundling-stacks": [] } });
  const env = (account: string) => ({ env: { account, region: "eu-west-1" } });
  const there = new Stack(app, "There", env("222222222222"));
  const role = new iam.Role(there, "Role", { roleName: "web", assumedBy: new iam.AccountRootPrincipal() });
  const { tasks, stack } = deploy(shop(), {}, new Stack(app, "Here", env("111111111111")));
  tasks.grantSend(role);
  Template.fromStack(there).hasResourceProperties("AWS::IAM::Policy", {
    PolicyDocument: {
      Statement: [Match.objectLike({ Action: ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"] })],
    },
  });
  Template.fromStack(stack).hasResourceProperties("AWS::SQS::QueuePolicy", {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({ Action: ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"], Effect: "Allow" }),
      ]),
    },
  });
});

test("a grant that nobody would get is refused", () => {
  const { tasks } = deploy(shop(), (stack) => ({ table: dynamodb.Table.fromTableName(stack, "Given", "celery") }));
  expect(() => tasks.grantReadResults(new iam.AccountPrincipal("222222222222"))).toThrow(
    /grantee: can be given no right on the table of results.*Add the statement where it is made/,
  );
});

test("one key may serve several deployments: no two of its statements have one Sid", () => {
  const app = unbundled();
  const keys = new Stack(app, "Keys");
  const encryptionKey = new kms.Key(keys, "Key");
  for (const prefix of ["a-", "b-"])
    deploy(shop({ beatSchedule: { often } }), { prefix, encryptionKey }, new Stack(app, `Shop-${prefix}`));
  const [key] = Object.values(resources(Template.fromStack(keys), "AWS::KMS::Key"));
  const { Statement = [] } = (key?.Properties["KeyPolicy"] ?? {}) as {
    readonly Statement?: { readonly Sid?: string }[];
  };
  const ids = Statement.flatMap(({ Sid }) => Sid ?? []);
  expect(new Set(ids).size).toBe(ids.length);
  // The owner's, that of the logs, which is one for both, and one for the rules of each.
  expect(Statement).toHaveLength(4);
});

test("an alias that was looked up is refused as a key: nobody would be given a right on it", () => {
  const ofAlias = (make: (stack: Stack) => kms.IKey) => deploy(shop(), (stack) => ({ encryptionKey: make(stack) }));
  expect(() => ofAlias((stack) => kms.Alias.fromAliasName(stack, "Key", "alias/shop"))).toThrow(
    "encryptionKey: must be the key, and Test/Key is an alias that was looked up",
  );
  const made = ofAlias((stack) => new kms.Key(stack, "Key").addAlias("alias/shop"));
  const rights = allowed(made, roleOf(made.tasks.queue("celery").function));
  expect(rights.join()).toContain("kms:GenerateDataKey");
});

test.each([
  ["an account", () => new iam.AccountPrincipal("222222222222"), 1],
  ["a service", () => new iam.ServicePrincipal("events.amazonaws.com"), 1],
  [
    "a role of another account",
    (stack: Stack) => iam.Role.fromRoleArn(stack, "R", "arn:aws:iam::222222222222:role/r"),
    1,
  ],
  ["a role of this account", (stack: Stack) => iam.Role.fromRoleArn(stack, "R", "arn:aws:iam::111111111111:role/r"), 0],
  ["a role of the app", (stack: Stack) => new iam.Role(stack, "R", { assumedBy: new iam.AccountRootPrincipal() }), 0],
])("of a key that was looked up %s is granted all that can be, and what cannot is said", (_, who, warnings) => {
  const stack = new Stack(unbundled(), "Test", { env: { account: "111111111111", region: "eu-west-1" } });
  const encryptionKey = kms.Key.fromKeyArn(stack, "Key", "arn:aws:kms:eu-west-1:333333333333:key/k");
  const { tasks } = deploy(shop(), { encryptionKey }, stack);
  tasks.grantSend(who(stack));
  expect(
    Annotations.fromStack(stack).findWarning("*", Match.stringLikeRegexp("no right on the key Test/Key.*kms:Decrypt")),
  ).toHaveLength(warnings);
});

test("a key of one's own encrypts all that is kept, for those who have to use it", () => {
  const deployment = deploy(shop({ beatSchedule: { often } }), (stack) => ({
    encryptionKey: new kms.Key(stack, "Key"),
  }));
  const template = deployment.template();
  const key = { "Fn::GetAtt": [Match.stringLikeRegexp("^Key"), "Arn"] };
  template.resourceCountIs("AWS::SQS::Queue", 3);
  template.allResourcesProperties("AWS::SQS::Queue", { KmsMasterKeyId: key });
  template.allResourcesProperties("AWS::Logs::LogGroup", { KmsKeyId: key });
  template.hasResourceProperties("AWS::DynamoDB::Table", { SSESpecification: { SSEEnabled: true, SSEType: "KMS" } });
  const services = Object.values(resources(template, "AWS::KMS::Key")).flatMap(({ Properties }) =>
    (Properties["KeyPolicy"] as { Statement: { Principal: { Service?: unknown } }[] }).Statement.flatMap(
      ({ Principal }) => Principal.Service ?? [],
    ),
  );
  expect(services).toEqual([
    { "Fn::Join": ["", ["logs.", { Ref: "AWS::Region" }, ".", { Ref: "AWS::URLSuffix" }]] },
    "events.amazonaws.com",
  ]);
  const { beat } = deployment.tasks;
  if (beat === undefined) throw new Error("there is no beat");
  for (const fn of [deployment.tasks.queue("celery").function, beat.function]) {
    const rights = allowed(deployment, roleOf(fn)).filter((right) => right.startsWith("kms:"));
    expect(rights.join()).toContain("kms:GenerateDataKey");
    expect(rights.join()).not.toContain("*");
  }
});
