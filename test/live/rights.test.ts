/**
 * Roles against requests, both ways: what a role's code sends is allowed, by the synthesized template's own policies, and what
 * they allow is sent by some test, or stands in a list with its reason.
 */
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { CreateScheduleGroupCommand, SchedulerClient } from "@aws-sdk/client-scheduler";
import { CreateQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
import { Stack } from "aws-cdk-lib";
import * as ecr from "aws-cdk-lib/aws-ecr";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import { chord, group, Lovage, Reject } from "lovage";
import { createBeatHandler, createWorkerHandler } from "lovage/lambda";
import { createBoard } from "lovage/board";
import { TaskQueues } from "lovage/cdk";
import { startWorker } from "lovage/worker";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { deadLetterQueue, type Delivery } from "../../src/brokers/broker.ts";
import { translateQueueName } from "../../src/brokers/queue-name.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { FUNCTIONS, roleOf, unbundled } from "../infra/deployment.ts";
import { type JudgingProxy, startJudgingProxy } from "../judge/proxy.ts";
import type { SentRequest } from "../judge/judge.ts";
import { toRecord } from "../lambda/function.ts";
import { keyActions, type Recorded, recorded } from "../rights/asked.ts";
import { type Asked, decide, isMeant, type Statement } from "../rights/policy.ts";
import { ACCOUNT, arnOf, mappingId, REGION, type Rights, rightsOf } from "../rights/template.ts";
import { Template } from "aws-cdk-lib/assertions";
import { celeryPython } from "../python/python.ts";
import { emulator } from "./emulators.ts";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.7")]);
const until = { timeout: 60_000, interval: 100 };

const PREFIX = "rights-";
/** No compression makes it fit. */
const large = randomBytes(900_000).toString("base64");
const hours = 3 * 3600;
/** Of the second bands of `media` and `bulk`. */
const HIGH = 9;

/** An app of all kinds of tasks. */
function shop(env: Readonly<Record<string, string>> = {}): Lovage {
  const app = new Lovage(
    "shop",
    {
      taskQueues: {
        celery: {},
        media: { worker: "container", priorities: [0, HIGH] },
        bulk: { priorities: [0, HIGH] },
        "orders.fifo": {},
      },
      beatSchedule: {
        often: { task: "shop.add", schedule: 60, args: [1, 2] },
        late: { task: "shop.add", schedule: 60, args: [1, 2], options: { countdown: hours } },
        large: { task: "shop.large", schedule: 60, args: [large] },
        one: { task: "shop.one", schedule: 60, args: ["beat"] },
      },
      brokerTransportOptions: { queueNamePrefix: PREFIX, waitTimeSeconds: 1 },
    },
    { env },
  );
  app.task("shop.add", (x: number, y: number) => x + y);
  app.task("shop.sum", (all: readonly number[]) => all.reduce((sum, one) => sum + one, 0));
  app.task("shop.fail", () => {
    throw new RangeError("no such thing");
  });
  app.task("shop.stop", async (id: string) => {
    await app.result(id).revoke();
  });
  app.task("shop.reject", () => {
    throw new Reject("not today");
  });
  app.task("shop.hand-back", { bind: true }, (self) => {
    const { id } = self.request;
    if (seen.has(id)) return "done";
    seen.add(id);
    throw new Reject("once more", { requeue: true });
  });
  app.task("shop.again", { bind: true, defaultRetryDelay: 0 }, (self) => {
    if (self.request.retries === 0) self.retry({ countdown: 0 });
    return "again";
  });
  app.task("shop.later", { bind: true, ignoreResult: true }, (self) => {
    if (self.request.retries === 0) self.retry({ countdown: hours });
  });
  app.task("shop.large", (text: string) => text.length);
  app.task("shop.grow", () => large);
  app.task("shop.words", { bind: true }, async (self) => {
    for (const word of ["a", "b"]) await self.write(word);
    return 2;
  });
  app.task("shop.limited", { rateLimit: "1000/s", concurrency: 5 }, () => 1);
  app.task("shop.one", { unique: { key: (id: string) => id, for: "running" } }, (id: string) => id);
  app.task("shop.family", { bind: true }, async (self) => {
    const { routingKey: queue, priority } = self.request.deliveryInfo;
    const place = {
      queue,
      ...(queue.endsWith(".fifo") ? { MessageGroupId: "a" } : {}),
      ...(priority === null ? {} : { priority }),
    };
    const add = (n: number) => app.signature("shop.add", [n, n], place);
    await app.sendTask("shop.large", [large], place);
    await chord([add(1), add(2)], app.signature("shop.sum", [], place)).delay();
    await group(Array.from({ length: 150 }, (_, n) => add(n))).delay();
    await app.sendTask("shop.one", [queue], place);
    await app.sendTask("shop.one", [queue], place);
  });
  return app;
}
const QUEUES = ["celery", "media", "bulk", "orders.fifo"];
const BANDED = ["media", "bulk"];
const seen = new Set<string>();
/** Ids of what was sent, for those who look later. */
const grown: string[] = [];
const failed: string[] = [];
const groups: string[] = [];
const words: string[] = [];
/** Ids of what Python's Celery has sent, and what becomes of them. */
const ofCelery = new Map<string, number>();

interface Deployed {
  readonly rights: Rights;
  readonly roles: Readonly<Record<Who, string>>;
  readonly env: Readonly<Record<string, string>>;
}

const WHO = [
  "worker",
  "orders",
  "bands",
  "beat",
  "sender",
  "chords",
  "reader",
  "revoker",
  "scheduler",
  "host",
  "inspector",
  "operator",
  "container",
  "board",
  "board that only looks",
  "execution of media",
  "delays of celery",
  "delays of bulk",
  "delays of bulk-priority-9",
  "delays of media",
  "delays of media-priority-9",
] as const;
type Who = (typeof WHO)[number];
/** What begins the names of those whom no code of ours is: Scheduler, which takes the role of a queue, and the agent of ECS. */
const DELAYS = "delays of ";
const EXECUTION = "execution of ";

interface Choices {
  /** With a key of one's own. */
  readonly isKeyed?: boolean;
  /** With a board that changes nothing. */
  readonly readOnly?: boolean;
}

function synth({ isKeyed = false, readOnly = false }: Choices = {}): Deployed {
  const stack = new Stack(unbundled(), "Rights", { env: { account: ACCOUNT, region: REGION } });
  const tasks = new TaskQueues(stack, "Tasks", {
    app: shop(),
    entry: join(FUNCTIONS, "worker.ts"),
    beatEntry: join(FUNCTIONS, "beat.ts"),
    prefix: PREFIX,
    longDelays: true,
    payloadStore: true,
    container: {
      image: ecs.ContainerImage.fromEcrRepository(ecr.Repository.fromRepositoryName(stack, "Images", "shop")),
    },
    board: { entry: join(FUNCTIONS, "board.ts"), readOnly },
    ...(isKeyed ? { encryptionKey: new kms.Key(stack, "Key") } : {}),
  });
  const role = (id: string) => new iam.Role(stack, id, { assumedBy: new iam.AccountRootPrincipal() });
  const granted = {
    sender: role("Sender"),
    chords: role("Chords"),
    reader: role("Reader"),
    revoker: role("Revoker"),
    scheduler: role("Scheduler"),
    host: role("Host"),
    inspector: role("Inspector"),
    operator: role("Operator"),
  };
  tasks.grantSend(granted.sender, ["celery"]);
  tasks.grantSend(granted.chords, ["celery"]);
  tasks.grantSendChords(granted.chords);
  tasks.grantReadResults(granted.reader);
  tasks.grantRevoke(granted.revoker);
  tasks.grantSchedule(granted.scheduler, ["celery"]);
  tasks.grantWork(granted.host, ["media"]);
  tasks.grantInspect(granted.inspector);
  tasks.grantOperate(granted.operator, ["celery"]);
  const { beat, board } = tasks;
  if (beat === undefined || board === undefined) throw new Error("there is no beat, or no board");
  const roles = {
    worker: roleOf(tasks.queue("celery").function),
    orders: roleOf(tasks.queue("orders.fifo").function),
    beat: roleOf(beat.function),
    [readOnly ? "board that only looks" : "board"]: roleOf(board.function),
    bands: roleOf(tasks.queue("bulk").function),
    container: tasks.queue("media").grantPrincipal as iam.Role,
    ...granted,
  };
  const template = Template.fromStack(stack);
  const rights = rightsOf(template.toJSON() as Parameters<typeof rightsOf>[0]);
  const text = (value: unknown) => String(rights.resolve(stack.resolve(value)));
  return {
    rights,
    roles: Object.fromEntries([
      ...Object.entries(roles).map(([who, one]) => [who, stack.getLogicalId(one.node.defaultChild as iam.CfnRole)]),
      ...rights.all("AWS::IAM::Role").flatMap(([id, { RoleName }]) => {
        const [, queue] = /^lovage-[\w-]+?-rights-(.*)$/.exec(String(RoleName)) ?? [];
        return queue === undefined ? [] : [[`${DELAYS}${queue}`, id]];
      }),
      ...rights
        .all("AWS::ECS::TaskDefinition")
        .map(([, { ExecutionRoleArn }]) => [`${EXECUTION}media`, String(ExecutionRoleArn).replace(/.*role\//, "")]),
    ]) as Record<Who, string>,
    env: {
      LOVAGE_BROKER_URL: text(tasks.brokerUrl),
      LOVAGE_RESULT_BACKEND: text(tasks.resultBackend),
      LOVAGE_PAYLOAD_STORE: text(tasks.payloads?.url),
      LOVAGE_BEAT_FUNCTION: text(beat.function.functionArn),
    },
  };
}

const plain = synth();
const keyed = synth({ isKeyed: true });
const looking = synth({ readOnly: true });
const deployedFor = (who: Who): Deployed => (who in plain.roles ? plain : looking);

describe.skipIf(aws === undefined || python === undefined)("rights", () => {
  const sent = new Map<string, Recorded[]>();
  /** Requests of which nobody has said which rights they take. */
  const unknown = new Set<string>();
  let proxy: JudgingProxy;

  /** Lambda's mappings and CloudWatch's numbers: what emulators have only with functions that run. */
  function answer({ url, method, headers }: SentRequest): object | undefined {
    if (url.startsWith("/2015-03-31/event-source-mappings")) {
      if (method === "PUT") return {};
      return {
        EventSourceMappings: plain.rights.all("AWS::Lambda::EventSourceMapping").map(([id, { EventSourceArn }]) => ({
          UUID: mappingId(id),
          EventSourceArn,
          FunctionArn: arnOf("lambda", `function:${id}`),
          State: "Enabled",
        })),
      };
    }
    if (headers["x-amz-target"] === "GraniteServiceVersion20100801.GetMetricData") return { MetricDataResults: [] };
    return undefined;
  }

  const env = (key: string) => ({
    AWS_ENDPOINT_URL: proxy.endpoint,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: key,
    AWS_SECRET_ACCESS_KEY: "secret",
  });

  beforeAll(async () => {
    proxy = await startJudgingProxy((aws as Emulator).endpoint, {
      answer,
      observe(request) {
        if (/Credential=setup\//.test(request.headers.authorization ?? "")) return;
        try {
          const one = recorded(request);
          sent.set(one.key, [...(sent.get(one.key) ?? []), one]);
        } catch (error) {
          unknown.add(String(error));
        }
      },
    });
    for (const [name, value] of Object.entries(env("setup"))) vi.stubEnv(name, value);
    await sqs.createQueues(plain.env["LOVAGE_BROKER_URL"] as string, QUEUES);
    // A band has no dead letters of its own.
    const client = new SQSClient({});
    for (const queue of BANDED)
      await client.send(new CreateQueueCommand({ QueueName: `${PREFIX}${queue}-priority-${HIGH}` }));
    client.destroy();
    await dynamodb.createTable(plain.env["LOVAGE_RESULT_BACKEND"] as string);
    await dynamodb.createJournalTable(plain.env["LOVAGE_RESULT_BACKEND"] as string, `${PREFIX}journal`);
    const s3 = new S3Client({ forcePathStyle: true });
    await s3.send(new CreateBucketCommand({ Bucket: new URL(plain.env["LOVAGE_PAYLOAD_STORE"] as string).hostname }));
    s3.destroy();
    const scheduler = new SchedulerClient({});
    for (const [, { Name }] of plain.rights.all("AWS::Scheduler::ScheduleGroup"))
      await scheduler.send(new CreateScheduleGroupCommand({ Name: String(Name) }));
    scheduler.destroy();

    // Each in turn: the SDK takes its credentials from the environment.
    for (const [who, work] of Object.entries(SCENARIOS)) {
      for (const [name, value] of Object.entries(env(who))) vi.stubEnv(name, value);
      const app = shop(plain.env);
      await work(app, () => unusedOf(plain, who as Who).length === 0);
      await app.close();
    }
    vi.unstubAllEnvs();
  }, 300_000);
  afterAll(async () => {
    await proxy?.close();
    expect([...unknown, ...(proxy?.faults() ?? [])]).toEqual([]);
  });

  const asked = (who: Who): readonly Asked[] => {
    if (who.startsWith(EXECUTION)) return askedByAgent(plain.rights);
    if (!who.startsWith(DELAYS))
      return (ALIKE[who] ?? [who]).flatMap((one) => sent.get(one) ?? []).flatMap(({ asked }) => asked);
    // What Scheduler sends one day is in the entries that it was given, whoever gave them.
    const arn = plain.rights.resolve({ "Fn::GetAtt": [plain.roles[who], "Arn"] });
    return [...sent.values()]
      .flat()
      .flatMap(({ passed }) => (passed !== undefined && passed.role === arn ? passed.asked : []));
  };
  const tls = (one: Asked, isTls = true): Asked => ({
    ...one,
    context: { ...one.context, "aws:SecureTransport": String(isTls) },
  });
  const spell = ({ action, resource, context }: Asked) => `${action} ${resource} ${JSON.stringify(context)}`;
  const principal = ({ roles }: Deployed, who: Who) => `arn:aws:iam::${ACCOUNT}:role/${roles[who]}`;

  /** With what the keys of the resources are asked for. */
  const withKeys = ({ rights }: Deployed, all: readonly Asked[]): readonly Asked[] =>
    all.flatMap((one) => {
      const key = rights.keyOf(one.resource);
      return key === undefined
        ? [one]
        : [one, ...keyActions(one.action).map((action) => ({ action, resource: key, context: {} }))];
    });

  /** What is granted, is sent by nothing here, and has no reason. */
  function unusedOf(deployed: Deployed, who: Who): readonly Statement[] {
    const all = withKeys(deployed, asked(who));
    const isSent = (one: Statement) => all.some((request) => isMeant(one, tls(request)));
    return granted(deployed.rights.of(deployed.roles[who])).filter(
      (one) => !isSent(one) && reasonOf(one, isSent) === undefined,
    );
  }

  describe.each<[kind: string, deployed: Deployed, all: readonly Who[]]>([
    ["as it is", plain, WHO.filter((who) => who in plain.roles)],
    ["with a key of one's own", keyed, WHO.filter((who) => who in keyed.roles)],
    ["with a board that only looks", looking, ["board that only looks"]],
  ])("%s", (_, deployed, all) => {
    test.each(all)("what the code of %s sends is allowed", (who) => {
      const { rights, roles } = deployed;
      expect(asked(who)).not.toEqual([]);
      const refused = withKeys(deployed, asked(who)).filter(
        (one) =>
          decide(tls(one), principal(deployed, who), rights.of(roles[who]), rights.on(one.resource)) !== "allowed",
      );
      expect([...new Set(refused.map(spell))].join("\n")).toBe("");
    });

    test.each(all)("what %s is allowed some test sends, or it has a reason", (who) => {
      expect(unusedOf(deployed, who).map(spellGrant).join("\n")).toBe("");
    });
  });

  test.each(WHO)("a right that %s has not is missed", (who) => {
    const { rights, roles } = deployedFor(who);
    const identity = rights.of(roles[who]);
    for (const action of new Set(asked(who).map((one) => one.action))) {
      const less = granted(identity).filter(({ Action }) => Action !== action);
      const one = asked(who).find((sent) => sent.action === action) as Asked;
      expect(`${action} ${decide(tls(one), principal(deployedFor(who), who), less, rights.on(one.resource))}`).toBe(
        `${action} implicit`,
      );
    }
  });

  test("functions in a VPC ask these services, and an endpoint's policy that lets an account ask itself alone lets all through", () => {
    const all = (["worker", "orders", "beat"] as const).flatMap((who) => asked(who));
    // Rights to pass a role are not asked for by a request of their own.
    const services = new Set(all.flatMap(({ action }) => (action === "iam:PassRole" ? [] : [action.split(":")[0]])));
    expect([...services].sort()).toEqual(["dynamodb", "s3", "scheduler", "sqs"]);
    const own = { "aws:PrincipalAccount": ACCOUNT, "aws:ResourceAccount": ACCOUNT };
    const policy: Statement[] = [
      { Effect: "Allow", Principal: "*", Action: "*", Resource: "*", Condition: { StringEquals: own } },
    ];
    const through = (one: Asked, context: object) =>
      decide({ ...one, context: { ...one.context, ...context } }, principal(plain, "worker"), [], policy);
    for (const one of all) expect(through(one, own)).toBe("allowed");
    expect(through(all[0] as Asked, { ...own, "aws:ResourceAccount": "222222222222" })).toBe("implicit");
  });

  test.each(WHO)("a wildcard in the rights of %s has a reason", (who) => {
    const { rights, roles } = who in keyed.roles ? keyed : looking;
    for (const { Action, Resource } of granted(rights.of(roles[who]))) {
      expect(String(Action)).not.toContain("*");
      if (!String(Resource).includes("*")) continue;
      expect(WILDCARDS.find(([pattern]) => pattern.test(String(Resource)))?.[1] ?? Resource).toMatch(/ /);
      if (Resource === "*") expect(UNBOUND).toContain(Action);
    }
  });

  test.each(WHO)("without TLS nothing reaches the queues and texts of %s", (who) => {
    for (const one of asked(who).filter(({ resource }) => /:(sqs|s3):.*[^*]$/.test(resource))) {
      const deployed = deployedFor(who);
      const { rights, roles } = deployed;
      const said = decide(tls(one, false), principal(deployed, who), rights.of(roles[who]), rights.on(one.resource));
      expect(`${spell(one)} ${said}`).toBe(`${spell(one)} denied`);
    }
  });
});

/**
 * What the agent of ECS asks in the name of a task's execution role, by the task's definition: the image of a private
 * repository, and the lines of the log
 * (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html).
 */
function askedByAgent(rights: Rights): readonly Asked[] {
  const right = (action: string, resource: string): Asked => ({ action, resource, context: {} });
  return rights.all("AWS::ECS::TaskDefinition").flatMap(([, { ContainerDefinitions }]) =>
    (ContainerDefinitions as ContainerDefinition[]).flatMap(({ Name, Image, LogConfiguration }) => {
      const { "awslogs-group": group, "awslogs-stream-prefix": prefix } = LogConfiguration.Options;
      const stream = arnOf("logs", `log-group:${group}:log-stream:${prefix}/${Name}/1`);
      const [, account, region, repository] = /^(\d+)\.dkr\.ecr\.([\w-]+)\.[^/]+\/([^:@]+)/.exec(Image) ?? [];
      return [
        right("logs:CreateLogStream", stream),
        right("logs:PutLogEvents", stream),
        ...(repository === undefined
          ? []
          : [
              right("ecr:GetAuthorizationToken", "*"),
              ...["BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage"].map((action) =>
                right(`ecr:${action}`, arnOf("ecr", `repository/${repository}`, region, account)),
              ),
            ]),
      ];
    }),
  );
}

interface ContainerDefinition {
  readonly Name: string;
  readonly Image: string;
  readonly LogConfiguration: { readonly Options: Readonly<Record<string, string>> };
}

// ── what each of them does ───────────────────────────────────────────────────────────────────────────────────────────

/** Whose code does what others here do: a container is the worker that `host` has, and the board looks and steers `celery` as others do. */
const ALIKE: Partial<Record<Who, readonly Who[]>> = {
  container: ["host"],
  board: ["operator", "board"],
  "board that only looks": ["inspector", "board that only looks"],
};

/** Sent to each queue. */
const EACH = ["shop.reject", "shop.hand-back", "shop.again", "shop.grow", "shop.words", "shop.family"];

/** One at a time, as `app` with the access key of this name. */
const SCENARIOS: Readonly<Record<string, (app: Lovage, isDone: () => boolean) => Promise<unknown>>> = {
  async sender(app) {
    await app.sendTask("shop.add", [1, 2]);
    await app.sendTask("shop.add", [1, 2], { countdown: hours });
    await app.sendTask("shop.large", [large]);
    await app.sendTask("shop.one", ["a"]);
    await app.sendTask("shop.one", ["a"]);
    await app.sendMany([app.signature("shop.add", [3, 4])]);
    ofCelery.set(await celery("print(add.delay(4, 3).id)"), 7);
  },
  async chords(app) {
    const members = (count: number) => Array.from({ length: count }, (_, n) => app.signature("shop.add", [n, 1]));
    await chord(members(3), app.signature("shop.sum")).delay();
    const many = await group(members(150)).delay();
    await many.save();
    groups.push(many.id);
    await app.sendTask("shop.add", [1, 2], { countdown: hours });
    await app.sendTask("shop.large", [large]);
    await app.sendTask("shop.one", ["a"]);
    await app.sendTask("shop.one", ["a"]);
    ofCelery.set(await celery('print(chord(add.clone((n, 1)) for n in range(3))(app.signature("shop.sum")).id)'), 6);
  },
  async setup(app) {
    words.push((await app.sendTask("shop.words", [])).id);
    grown.push((await app.sendTask("shop.grow", [])).id);
    const places = [...QUEUES.map((queue) => ({ queue })), ...BANDED.map((queue) => ({ queue, priority: HIGH }))];
    for (const to of places) {
      const { queue } = to;
      // What is handed back holds up its group.
      const placeOf = (MessageGroupId: string) => (queue === "orders.fifo" ? { queue, MessageGroupId } : to);
      const place = placeOf("a");
      for (const task of EACH) await app.sendTask(task, [], placeOf(task));
      const linkError = app.signature("shop.stop", [], placeOf("shop.fail"));
      failed.push((await app.sendTask("shop.fail", [], { ...placeOf("shop.fail"), linkError })).id);
      await app.sendTask("shop.large", [large], place);
      await app.sendTask("shop.unknown", [], place);
      // What may not wait in a group of a FIFO queue.
      if (queue !== "orders.fifo")
        for (const task of ["shop.limited", "shop.later"]) await app.sendTask(task, [], place);
      await chord(
        [1, 2].map((n) => app.signature("shop.add", [n, n], place)),
        app.signature("shop.sum", [], place),
      ).delay();
    }
  },
  worker: (app) => invoke(app, "celery"),
  orders: (app) => invoke(app, "orders.fifo"),
  bands: (app) => invoke(app, "bulk"),
  async beat(app) {
    const handler = createBeatHandler(app, { write: () => {} });
    // Of a unique task the second slot meets the first one's row.
    for (const entry of [...Object.keys(app.config.beatSchedule), "one"])
      await handler({ entry, time: new Date().toISOString() }, { awsRequestId: "1" });
  },
  async host(app, isDone) {
    const worker = await startWorker(app, { queues: ["media"], concurrency: 4 });
    // What it does not come to by then is told of as a right that nothing asks for.
    await vi.waitUntil(isDone, until).catch(() => {});
    await worker.stop();
  },
  async reader(app) {
    for (const id of grown) {
      expect(await app.result(id).get({ timeout: 60_000 })).toBe(large);
      await app.result(id).state();
    }
    for (const id of groups) await (await app.groupResult(id))?.join({ timeout: 60 });
    for await (const _ of app.result(words[0] as string).stream());
    for (const [id, value] of ofCelery)
      expect(await celery(`print(app.AsyncResult("${id}").get(timeout=60))`)).toBe(String(value));
    for (const id of groups) expect(await celery(`print(len(app.GroupResult.restore("${id}")))`)).toBe("150");
  },
  async scheduler(app) {
    await app.beat.put("kept", { task: "shop.add", schedule: 3600, args: [1, 2] });
    await app.beat.put("now and then", { task: "shop.add", schedule: 3600, args: [1, 2] });
    await app.beat.list();
    await app.beat.pause("now and then");
    await app.beat.resume("now and then");
    await app.beat.remove("now and then");
  },
  inspector: (app) => look(app),
  async "board that only looks"(app) {
    const board = createBoard(app, { readOnly: true });
    const ask = async (path: string): Promise<Response> => await board.fetch(new Request(`http://board${path}`));
    const { paths } = (await (await ask("/api/openapi.json")).json()) as { paths: Readonly<Record<string, object>> };
    const named: Readonly<Record<string, string>> = { id: grown[0] as string, queue: "celery", name: "celery" };
    const answers = Object.keys(paths).map(async (path) => {
      const asked = path.replace(/\{(\w+)\}/g, (_, name: string) => named[name] ?? name);
      return `${asked} ${(await ask(`/api${asked}`)).status}`;
    });
    // What is not there is told of as such; what AWS refuses would not be.
    for (const answer of await Promise.all(answers)) expect(answer).toMatch(/ (200|400|404)$/);
  },
  async operator(app) {
    await look(app);
    await steer(app, ["celery"]);
  },
  board: (app) => steer(app, ["media", "bulk", "orders.fifo"]),
  async revoker(app) {
    for (const id of [randomUUID(), ...grown, ...failed]) {
      await app.result(id).revoke();
      await app.result(id).forget();
    }
    for (const id of groups) {
      const found = await app.groupResult(id);
      await found?.revoke();
      await found?.forget();
    }
  },
};

/** Runs a line of Python in the module that docs/how-to/call-from-python.md has, and resolves to what it prints. */
async function celery(line: string): Promise<string> {
  const page = readFileSync(join(import.meta.dirname, "../../docs/how-to/call-from-python.md"), "utf8");
  const module = /```python title="shop.py"\n(.*?)```/s.exec(page)?.[1] ?? "";
  const folder = mkdtempSync(join(tmpdir(), "lovage-caller-"));
  try {
    writeFileSync(join(folder, "shop.py"), module.replaceAll("Shop-", PREFIX));
    const { stdout } = await promisify(execFile)(
      python as string,
      ["-c", `from celery import chord\nfrom shop import add, app\n${line}`],
      {
        cwd: folder,
        env: {
          ...process.env,
          QUEUE_URL: `${process.env["AWS_ENDPOINT_URL"]}/${ACCOUNT}/${PREFIX}celery`,
          RESULT_TABLE: `${PREFIX}celery`,
        },
        timeout: 120_000,
      },
    );
    return stdout.trim();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** All that may be done to these queues. */
async function steer(app: Lovage, queues: readonly string[]): Promise<void> {
  const { control } = app;
  for (const queue of queues) {
    for await (const { id } of app.journal.find({ state: "FAILURE", task: "shop.fail", queue, limit: 1 }))
      await control.retry(id as string);
    await control.retryFailed({ task: "shop.fail", queue, dryRun: true });
    await control.retryFailed({ task: "shop.fail", queue });
    await control.pause(queue);
    await control.resume(queue);
    await control.deadLetters.redrive({ queue, task: "shop.reject", args: [large] });
    await control.deadLetters.delete({ queue });
    await control.purge(queue);
    await control.purge(deadLetterQueue(queue));
  }
  await control.revoke(randomUUID());
  await control.revoke(randomUUID(), { terminate: true });
  await control.forget(randomUUID());
  await control.rateLimit("shop.limited", "10/m");
  await control.rateLimit("shop.limited", null);
  for (const worker of Object.keys(await control.inspect().ping())) await control.shutdown(worker);
}

async function look(app: Lovage): Promise<void> {
  const inspect = app.control.inspect();
  await inspect.queues();
  await inspect.functions();
  await inspect.active();
  await inspect.reserved();
  await inspect.waiting();
  await inspect.scheduled();
  await inspect.stats();
  await inspect.ping();
  await inspect.registered();
  await inspect.conf();
  await app.journal.failures();
  await app.journal.summary({ step: 3600 });
  const ids: string[] = [];
  for await (const { id } of app.journal.find({ limit: 3 })) if (id !== undefined) ids.push(id);
  for (const id of ids) await app.workflow(id);
  for await (const _ of app.control.deadLetters.list());
  for (const id of grown) await app.result(id).get({ timeout: 60 });
  await app.beat.list();
}

/** Lambda's event source, which fetches and deletes as the function: from each band by a mapping of its own. */
async function invoke(app: Lovage, queue: string): Promise<void> {
  const handler = createWorkerHandler(app, { write: () => {} });
  const broker = await app.engine.broker();
  const sourceOf = ({ band = queue }: Delivery) => arnOf("sqs", translateQueueName(PREFIX, band));
  for (let quiet = 0; quiet < 2; ) {
    const deliveries = await broker.receive(queue, { max: 10, wait: 1000, visibility: 30_000 });
    quiet = deliveries.length === 0 ? quiet + 1 : 0;
    if (deliveries.length === 0) continue;
    const { batchItemFailures } = await handler(
      { Records: deliveries.map((one) => ({ ...toRecord(one), eventSourceARN: sourceOf(one) })) },
      { awsRequestId: "1", getRemainingTimeInMillis: () => 60_000 },
    );
    const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    await broker.delete(deliveries.filter(({ messageId }) => !failed.has(messageId)));
  }
}

// ── what is granted ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Each right by itself: one action, one resource, one pattern of keys. */
function granted(statements: readonly Statement[]): readonly Statement[] {
  return statements.flatMap((statement) =>
    [statement.Action ?? []].flat().flatMap((Action) =>
      [statement.Resource ?? []].flat().flatMap((Resource) => {
        const patterns = statement.Condition?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"];
        if (patterns === undefined) return [{ ...statement, Action, Resource }];
        return [patterns].flat().map((pattern) => ({
          ...statement,
          Action,
          Resource,
          // A request of several rows counts for each of their kinds.
          Condition: { "ForAnyValue:StringLike": { "dynamodb:LeadingKeys": pattern } },
        }));
      }),
    ),
  );
}

const spellGrant = ({ Action, Resource, Condition }: Statement) =>
  `${Action} ${Resource}${Condition === undefined ? "" : ` ${Object.values(Object.values(Condition)[0] ?? {}).join()}`}`;

/** The actions by which a row of results is read and written: which of them, what is there decides. */
const ROW_ACTIONS = ["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];

/** What a role may do and no request here shows, with the reason. `undefined`: there is none. */
function reasonOf(one: Statement, isSent: (one: Statement) => boolean): string | undefined {
  const action = String(one.Action);
  if (/^logs:(CreateLogStream|PutLogEvents)$/.test(action)) return "Lambda writes the log in the name of the function";
  if (action === "sqs:GetQueueAttributes") return "Lambda's event source asks for it in the name of the function";
  if (action === "sqs:SendMessage" && /:lovage-.*beat-dead-letters$/.test(String(one.Resource)))
    return "Lambda puts events that beat failed at there, in the name of the function";
  if (action === "ecs:UpdateTaskProtection")
    return "the ECS agent asks for it in the name of the container, as test/workers/protection.test.ts has it";
  if (ROW_ACTIONS.includes(action) && ROW_ACTIONS.some((Action) => isSent({ ...one, Action })))
    return "what is there decides whether a row is read, put or updated; the backend's contract has all three";
  if (action === "dynamodb:PutItem" && isSent({ ...one, Action: "dynamodb:PartiQLInsert" }))
    return "an entry of the journal without an outcome beside it, such as a dead letter's, is put alone: who serves celery shows it";
  return undefined;
}

/** The wildcards that there are, each with its reason. The key is what stands in the template. */
const WILDCARDS: readonly (readonly [resource: RegExp, reason: string])[] = [
  [/^\*$/, "lists names and numbers, or gives a token, and takes no resource"],
  [/:log-group:\w+:\*$/, "the streams of one log"],
  [/:schedule\/[\w-]+\/\*$/, "an entry is named by a hash of its message, and the group has no others"],
  [/^arn:aws:s3:::[\w-]+\/\*$/, "texts have names that nobody can guess, in a bucket that has nothing else"],
  [/:task\/\w+\/\*$/, "containers of one cluster, which have names when they run"],
  [/:rule\/[\w.-]+\*$/, "entries put at run time are named by who puts them, behind the prefix of the app"],
];
const UNBOUND = [
  "ecr:GetAuthorizationToken",
  "sqs:ListQueues",
  "lambda:ListEventSourceMappings",
  "cloudwatch:GetMetricData",
  "events:ListRules",
];
