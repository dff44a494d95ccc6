import { Duration, RemovalPolicy, type Stack } from "aws-cdk-lib";
import * as actions from "aws-cdk-lib/aws-cloudwatch-actions";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as ecs from "aws-cdk-lib/aws-ecs";
import type { RetentionDays } from "aws-cdk-lib/aws-logs";
import type { ConfigInput, Lovage } from "lovage";
import type { TaskQueuesProps } from "lovage/cdk";
import { expect, test } from "vitest";
import { z } from "zod";
import { deploy, shop } from "./deployment.ts";

const board = { entry: "functions/board.ts" };
const often = { task: "shop.add", schedule: 60 };

const refused: readonly (readonly [
  what: string,
  config: ConfigInput,
  props: Partial<TaskQueuesProps>,
  message: RegExp,
])[] = [
  [
    "a time limit that no function has",
    { taskQueues: { celery: { timeLimit: 891 } } },
    {},
    /taskQueues\.celery\.timeLimit: must be at most 890 seconds.*given: 891/,
  ],
  ["the same for all tasks", { taskTimeLimit: 3600 }, {}, /taskTimeLimit: must be at most 890 seconds.*given: 3600/],
  [
    "a batch of none",
    {},
    { queues: { celery: { batchSize: 0 } } },
    /batchSize: must be a whole number from 1 to 10000 messages; given: 0/,
  ],
  [
    "a batch over 10,000",
    {},
    { queues: { celery: { batchSize: 10_001, maxBatchingWindow: Duration.seconds(1) } } },
    /batchSize: .* 1 to 10000 .*given: 10001/,
  ],
  [
    "a large batch without a window",
    { taskQueues: { celery: { batchSize: 11 } } },
    {},
    /batchSize: may be above 10 only with a maxBatchingWindow of at least a second; given: 11/,
  ],
  [
    "a batch of 11 on a FIFO queue",
    { taskQueues: { celery: {}, "a.fifo": {} } },
    { queues: { "a.fifo": { batchSize: 11 } } },
    /batchSize: .*1 to 10 messages on a FIFO queue; given: 11/,
  ],
  [
    "a window on a FIFO queue",
    { taskQueues: { celery: {}, "a.fifo": {} } },
    { queues: { "a.fifo": { maxBatchingWindow: Duration.seconds(1) } } },
    /maxBatchingWindow: is not for FIFO queues; given: 1/,
  ],
  [
    "a window over five minutes",
    {},
    { queues: { celery: { maxBatchingWindow: Duration.seconds(301) } } },
    /maxBatchingWindow: .*0 to 300 seconds; given: 301/,
  ],
  [
    "a concurrency of 1",
    {},
    { queues: { celery: { maxConcurrency: 1 } } },
    /maxConcurrency: .*2 to 1000 invocations; given: 1/,
  ],
  ["a concurrency over 1,000", {}, { queues: { celery: { maxConcurrency: 1001 } } }, /maxConcurrency: .*given: 1001/],
  [
    "a reserved concurrency below maxConcurrency",
    { taskQueues: { celery: { maxConcurrency: 10, reservedConcurrency: 5 } } },
    {},
    /reservedConcurrency: must not be below maxConcurrency, which is 10.*given: 5/,
  ],
  [
    "provisioned pollers beside a bound on what runs at a time",
    { taskQueues: { celery: { maxConcurrency: 10 } } },
    { queues: { celery: { provisionedPollers: { minimum: 2, maximum: 10 } } } },
    /provisionedPollers: and maxConcurrency, which is 10, cannot both be given/,
  ],
  [
    "a single provisioned poller",
    {},
    { queues: { celery: { provisionedPollers: { minimum: 1, maximum: 10 } } } },
    /provisionedPollers\.minimum: .*2 to 200 pollers; given: 1/,
  ],
  [
    "provisioned pollers over 2,000",
    {},
    { queues: { celery: { provisionedPollers: { minimum: 2, maximum: 2001 } } } },
    /provisionedPollers\.maximum: .*2 to 2000 pollers; given: 2001/,
  ],
  [
    "fewer pollers at most than at least",
    {},
    { queues: { celery: { provisionedPollers: { minimum: 9, maximum: 8 } } } },
    /provisionedPollers\.maximum: must not be below the minimum, which is 9; given: 8/,
  ],
  [
    "a reserved concurrency below what the pollers run",
    {},
    { queues: { celery: { provisionedPollers: { minimum: 2, maximum: 8 }, reservedConcurrency: 79 } } },
    /reservedConcurrency: must not be below what 8 pollers run at a time, which is 80.*given: 79/,
  ],
  [
    "FIFO's high throughput on a standard queue",
    {},
    { queues: { celery: { highThroughput: true } } },
    /highThroughput: is for FIFO queues/,
  ],
  [
    "a retention under a minute",
    {},
    { queues: { celery: { retentionPeriod: Duration.seconds(59) } } },
    /retentionPeriod: .*60 to 1209600 seconds .*given: 59/,
  ],
  [
    "a retention over 14 days",
    {},
    { queues: { celery: { retentionPeriod: Duration.days(15) } } },
    /retentionPeriod: .*given: 1296000/,
  ],
  [
    "an alarm at an age that each message has",
    {},
    { queues: { celery: { oldestMessageAge: Duration.seconds(0) } } },
    /queues\.celery\.oldestMessageAge: .*from 1 to 604799 seconds.*given: 0/i,
  ],
  [
    "an alarm at an age that no message lives to",
    {},
    { queues: { celery: { oldestMessageAge: Duration.hours(1), retentionPeriod: Duration.hours(1) } } },
    /oldestMessageAge: .*from 1 to 3599 seconds, as no message is older than 3600 \(retentionPeriod\); given: 3600/,
  ],
  [
    "a table that is not to be warm",
    {},
    { warmThroughput: {} },
    /warmThroughput: needs readUnitsPerSecond, writeUnits/,
  ],
  [
    "a table that is colder than a new one",
    {},
    { warmThroughput: { writeUnitsPerSecond: 3999 } },
    /warmThroughput\.writeUnitsPerSecond: must be a whole number of at least 4000 writes a second; given: 3999/,
  ],
  [
    "a log that is kept as CloudWatch keeps none",
    {},
    { logRetention: 2 as number as RetentionDays },
    /logRetention: .*RetentionDays: 1, 3, 5, .*9999; given: 2/,
  ],
  ["a snapshot of queues", {}, { removalPolicy: RemovalPolicy.SNAPSHOT }, /removalPolicy: must not be SNAPSHOT/],
  [
    "six who are told of an alarm",
    {},
    { alarmActions: Array.from({ length: 6 }, () => new actions.SsmAction(actions.OpsItemSeverity.HIGH)) },
    /alarmActions: must be at most 5 for an alarm; given: 6/,
  ],
  [
    "a board whose environment the deployment sets",
    {},
    { board: { ...board, environment: { LOVAGE_BROKER_URL: "sqs://" } } },
    /board\.environment\.LOVAGE_BROKER_URL: is set by the deployment/,
  ],
  ["too little memory", {}, { queues: { celery: { memorySize: 127 } } }, /memorySize: .*128 to 10240 MB; given: 127/],
  ["too much memory", {}, { queues: { celery: { memorySize: 10_241 } } }, /memorySize: .*given: 10241/],
  ["a name too long with its prefix", {}, { prefix: "p".repeat(71) }, /has 81 characters and SQS takes 80/],
  ["a table's name that is too long", {}, { tableName: "t".repeat(256) }, /tableName: must have 3 to 255.*\(256\)/],
  [
    "options of a queue that is not declared",
    { taskQueues: { celery: {}, "orders.fifo": {} } },
    { queues: { orders: {} } },
    /queues\.orders: "orders" is not in taskQueues.*did you mean "orders\.fifo"/,
  ],
  [
    "a route to a queue that is not declared",
    { taskRoutes: { "shop.*": { queue: "medai" } }, taskQueues: { celery: {}, media: {} } },
    {},
    /taskRoutes\["shop\.\*"\]: "medai" is not in taskQueues.*did you mean "media"/,
  ],
  [
    "the same, in short",
    { taskRoutes: [[["shop.add", "elsewhere"]]] },
    {},
    /"elsewhere" is not in taskQueues.*declared: celery/,
  ],
  [
    "a route to a binding that is not there",
    { taskRoutes: { "shop.*": { exchange: "x", routingKey: "y" } } },
    {},
    /exchange "x" and routing key "y" reach no queue/,
  ],
  [
    "a default queue that is not declared",
    { taskQueues: { media: {} } },
    {},
    /taskDefaultQueue: "celery" is not in taskQueues/,
  ],
  [
    "an entry for a task that nobody registered",
    { beatSchedule: { often: { ...often, task: "shop.ad" } } },
    {},
    /beatSchedule\["often"\]\.task: .*did you mean shop\.add/,
  ],
  [
    "an entry for a queue that is not declared",
    { beatSchedule: { often: { ...often, options: { queue: "medai" } } } },
    {},
    /beatSchedule\["often"\]\.options\.queue: "medai" is not in taskQueues/,
  ],
  [
    "an entry every 0 seconds",
    { beatSchedule: { often: { ...often, schedule: 0 } } },
    {},
    /beatSchedule\["often"\]\.schedule: .*from 0\.001.* is 0$/,
  ],
  [
    "an entry of NaN seconds",
    { beatSchedule: { often: { ...often, schedule: Number.NaN } } },
    {},
    /schedule: .*from 0\.001.* is NaN$/,
  ],
  [
    "an entry every year and a day",
    { beatSchedule: { often: { ...often, schedule: 366 * 86_400 } } },
    {},
    /schedule: .*365 days/,
  ],
  [
    "an entry with an option that no call takes",
    { beatSchedule: { often: { ...often, options: { countdwon: 1 } } } },
    {},
    /countdwon.*did you mean countdown/,
  ],
  ["a prefix that leaves no room for the names of rules", {}, { prefix: "p".repeat(44) }, /prefix: .*at most 43/],
  [
    "seconds on a FIFO queue",
    {
      taskQueues: { celery: {}, "a.fifo": {} },
      beatSchedule: { often: { task: "shop.add", schedule: 30, options: { queue: "a.fifo" } } },
    },
    {},
    /FIFO queue a\.fifo takes no delay.*whole minutes; given: 30 seconds/,
  ],
  [
    "a countdown on a FIFO queue",
    {
      taskQueues: { celery: {}, "a.fifo": {} },
      beatSchedule: { often: { ...often, options: { queue: "a.fifo", countdown: 5 } } },
    },
    {},
    /options\.countdown: the FIFO queue a\.fifo takes no delay.*given: 5/,
  ],
  [
    "more entries than an account may have rules",
    { beatSchedule: Object.fromEntries(Array.from({ length: 301 }, (_, i) => [`e${i}`, often])) },
    {},
    /beatSchedule: .*at most 300 .*given: 301; fold .*: 301 entries have the rule cron\(\* \* \* \* \? \*\), such as "e0", "e1"/,
  ],
  [
    "a schedule without its function",
    { beatSchedule: { often } },
    { beatEntry: undefined as never },
    /beatEntry: is needed, as beatSchedule has 1 entries/,
  ],
];

test.each(refused)("%s is refused at synth, with the limit and the value", (_, config, props, message) => {
  expect(() => deploy(shop(config), props)).toThrow(message);
});

const image = ecs.ContainerImage.fromRegistry("example.com/worker");
const container = (options: object): Numbered => [
  { taskQueues: { celery: { worker: "container" } } },
  { container: { image, ...options } },
];
const queue = (options: object): Numbered => [{}, { queues: { celery: options } }];
type Numbered = readonly [ConfigInput, Partial<TaskQueuesProps>];
/** All numbers that a deployment can be told. */
const NUMBERS: Readonly<Record<string, (value: number) => Numbered>> = {
  memorySize: (memorySize) => queue({ memorySize }),
  "memorySize of the board": (memorySize) => [{}, { board: { ...board, memorySize } }],
  batchSize: (batchSize) => queue({ batchSize }),
  maxConcurrency: (maxConcurrency) => queue({ maxConcurrency }),
  reservedConcurrency: (reservedConcurrency) => queue({ reservedConcurrency }),
  minimum: (minimum) => queue({ provisionedPollers: { minimum, maximum: 100 } }),
  maximum: (maximum) => queue({ provisionedPollers: { minimum: 2, maximum } }),
  failedPercent: (failedPercent) => queue({ failedPercent }),
  readUnitsPerSecond: (readUnitsPerSecond) => [{}, { warmThroughput: { readUnitsPerSecond } }],
  writeUnitsPerSecond: (writeUnitsPerSecond) => [{}, { warmThroughput: { writeUnitsPerSecond } }],
  logRetention: (logRetention) => [{}, { logRetention }],
  concurrency: (concurrency) => container({ concurrency }),
  cpu: (cpu) => container({ cpu }),
  memoryLimitMiB: (memoryLimitMiB) => container({ memoryLimitMiB }),
  ephemeralStorageGiB: (ephemeralStorageGiB) => container({ ephemeralStorageGiB }),
  minTasks: (minTasks) => container({ minTasks }),
  maxTasks: (maxTasks) => container({ maxTasks }),
  backlogPerTask: (backlogPerTask) => container({ backlogPerTask }),
};

test.each(Object.keys(NUMBERS))("what is no number for AWS is refused as %s", (name) => {
  for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    const [config, props] = NUMBERS[name]?.(value) ?? [{}, {}];
    expect(() => deploy(shop(config), props), String(value)).toThrow(name.split(" ")[0]);
  }
});

test("of a short retentionPeriod the alarm on the age goes off at half", () => {
  const { template } = deploy(shop(), { queues: { celery: { retentionPeriod: Duration.minutes(10) } } });
  template().hasResourceProperties("AWS::CloudWatch::Alarm", {
    MetricName: "ApproximateAgeOfOldestMessage",
    Threshold: 300,
  });
});

test("a name of a given table is refused: it has one", () => {
  const given = (stack: Stack) => ({ table: dynamodb.Table.fromTableName(stack, "T", "t"), tableName: "other" });
  expect(() => deploy(shop(), given)).toThrow(/tableName: is for a new table/);
});

test("arguments of an entry that the task's schema refuses are named", () => {
  const app = shop({ beatSchedule: { often: { task: "shop.greet", schedule: 60, args: [1] } } });
  app.task("shop.greet", { schema: z.tuple([z.string()]) }, (who) => who);
  expect(() => deploy(app)).toThrow(
    /beatSchedule\["often"\]\.args: the arguments of shop\.greet do not match its schema/,
  );
});

test.each(["args", "kwargs", "headers", "link", "linkError"])(
  "what no message could carry in the %s of an entry is named",
  (at) => {
    const itself: unknown[] = [];
    itself.push(itself);
    let deep: unknown[] = [];
    for (let level = 0; level < 100_000; level++) deep = [deep];
    for (const [value, why] of [
      [itself, "contains itself"],
      [deep, "is nested more than 1000 levels deep"],
      [new Map(), "is a Map"],
    ] as const) {
      const given = {
        args: { args: [value] },
        kwargs: { kwargs: { value } },
        headers: { options: { headers: { value } } },
        link: { options: { link: { task: "shop.any", args: [value] } } },
        linkError: { options: { linkError: [{ task: "shop.any", args: [value] }] } },
      };
      const app = shop({ beatSchedule: { often: { task: "shop.any", schedule: 60, ...given[at as "args"] } } });
      app.task("shop.any", { params: ["value?"] }, () => 1);
      const places = {
        args: "args[0]",
        kwargs: "kwargs.value",
        headers: "options.headers.value",
        link: "options.link[0].args[0]",
        linkError: "options.linkError[0].args[0]",
      };
      expect(() => deploy(app), why).toThrow(`beatSchedule["often"].${places[at as "args"]}`);
      expect(() => deploy(app)).toThrow(why);
    }
  },
);

test("many arguments of an entry are as good as few", () => {
  const args = [Array.from({ length: 200_000 }, (_, i) => i)];
  const app = shop({ beatSchedule: { often: { task: "shop.all", schedule: 60, args } } });
  app.task("shop.all", () => 1);
  expect(() => deploy(app)).not.toThrow();
});

test("two queues whose names are one on SQS are refused when the app is made", () => {
  expect(() => shop({ taskQueues: { "media.large": {}, "media-large": {} }, taskDefaultQueue: "media-large" })).toThrow(
    /are both media-large on SQS/,
  );
});

test("a task that may run longer than any function is named", () => {
  const app = shop();
  app.task("shop.render", { timeLimit: 1200 }, () => 1);
  expect(() => deploy(app)).toThrow(/timeLimit of shop\.render: must be at most 890 seconds.*given: 1200/);
});

test.each<[unknown, string]>([
  [undefined, "undefined"],
  [null, "null"],
  [Promise.resolve({}), "an object of Promise"],
  [Object.assign(Object.create(null), { app: shop() }), "an object of a module"],
])("what is no app is refused: %j", (app, given) => {
  expect(() => deploy(app as Lovage)).toThrow(
    `app: must be a Lovage app; given: ${given}. It is what a module exports (import { app } from "./tasks.ts") or`,
  );
});

test("a task whose queue is not declared is named", () => {
  const app = shop();
  app.task("shop.render", { queue: "renders" }, () => 1);
  expect(() => deploy(app)).toThrow(/queue of shop\.render: "renders" is not in taskQueues/);
});

test("300 entries are deployed", () => {
  const beatSchedule = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`e${i}`, often]));
  deploy(shop({ beatSchedule })).template().resourceCountIs("AWS::Events::Rule", 300);
});
