/** Delays that EventBridge Scheduler keeps, on ministack, which fires its entries. */
import { randomUUID } from "node:crypto";
import {
  CreateScheduleGroupCommand,
  GetScheduleCommand,
  ListSchedulesCommand,
  SchedulerClient,
} from "@aws-sdk/client-scheduler";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import type { Broker, Outgoing } from "../../src/brokers/broker.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import { OperationalError } from "../../src/errors.ts";
import { npmRun, outputs, stackOf, succeeds } from "./commands.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type FaultProxy, startFaultProxy, throttled } from "./fault-proxy.ts";

process.env["LOVAGE_EMULATOR_IAM"] = "true";
const ministack = await emulator("ministack");
const ROLE = "arn:aws:iam::000000000000:role/lovage-{queue}";
const HOUR = 3_600_000;

describe.skipIf(ministack === undefined)("on ministack", () => {
  const { endpoint } = (ministack ?? {}) as Emulator;
  const scheduler = new SchedulerClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  afterAll(() => scheduler.destroy());
  const entriesOf = async (group: string) => {
    const { Schedules = [] } = await scheduler.send(new ListSchedulesCommand({}));
    const names = Schedules.flatMap(({ Name, GroupName }) => (GroupName === group ? [Name] : []));
    return Promise.all(names.map((Name) => scheduler.send(new GetScheduleCommand({ Name, GroupName: group }))));
  };

  describe("the broker", () => {
    let proxy: FaultProxy;
    beforeAll(async () => {
      proxy = await startFaultProxy(endpoint);
    });
    afterAll(() => proxy.close());
    beforeEach(() => proxy.reset());

    async function setUp({ makeGroup = true, query = "" } = {}): Promise<{ broker: Broker; name: string }> {
      const name = randomUUID();
      const url = emulatorUrl("sqs", proxy, `?queue_name_prefix=${name}-&wait_time_seconds=1`);
      await sqs.createQueues(url, ["media"]);
      if (makeGroup) await scheduler.send(new CreateScheduleGroupCommand({ Name: name }));
      const broker = sqs.open(`${url}&scheduler_group=${name}&scheduler_role_arn=${ROLE}${query}`, {
        now: Date.now,
        random: () => 0,
        options: {},
      });
      onTestFinished(() => broker.close());
      proxy.reset();
      return { broker, name };
    }
    const later = (more: Partial<Outgoing> = {}, ms = 2 * HOUR): Outgoing => ({
      queue: "media",
      body: '{"n":1}',
      delaySeconds: 900,
      due: { at: Date.now() + ms, id: "id\n0" },
      ...more,
    });
    const hopped = { ready: 0, delayed: 1, inFlight: 0 };

    test("a far-off text is one entry and no message; what is sent beside it is sent", async () => {
      const { broker, name } = await setUp();
      expect(await broker.send([later(), { queue: "media", body: "now" }])).toEqual([undefined, undefined]);
      expect([proxy.count("CreateSchedule"), proxy.count("SendMessageBatch")]).toEqual([1, 1]);
      expect(await broker.size("media")).toEqual({ ready: 1, delayed: 0, inFlight: 0 });
      expect(await entriesOf(name)).toMatchObject([
        {
          ScheduleExpression: expect.stringMatching(/^at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)$/),
          ActionAfterCompletion: "DELETE",
          Target: {
            Arn: `arn:aws:sqs:us-east-1:000000000000:${name}-media`,
            RoleArn: ROLE.replace("{queue}", `${name}-media`),
            Input: '{"n":1}',
            DeadLetterConfig: { Arn: `arn:aws:sqs:us-east-1:000000000000:${name}-media-dlq` },
          },
        },
      ]);
    });

    test("it comes a minute before it is due, and its entry is gone", async () => {
      const { broker, name } = await setUp({ query: "&scheduler_min_delay=75" });
      const text = later({ body: '{"quotes":"\\"","ünï":"🌿"}' }, 76_000);
      expect(await broker.send([text])).toEqual([undefined]);
      expect(await broker.receive("media", { max: 1, wait: 1000 })).toEqual([]);
      const [came] = await broker.receive("media", { max: 1, wait: 40_000 });
      expect(came).toMatchObject({ body: text.body, receiveCount: 1 });
      expect(Date.now()).toBeGreaterThanOrEqual((text.due?.at ?? 0) - 61_000);
      expect(await entriesOf(name)).toEqual([]);
    });

    test("a copy of it counts as sent", async () => {
      const { broker, name } = await setUp();
      const text = later();
      expect([...(await broker.send([text])), ...(await broker.send([text, text]))]).toEqual(Array(3).fill(undefined));
      expect(await entriesOf(name)).toHaveLength(1);
    });

    test("an entry whose reply is lost counts as sent when it is asked for again", async () => {
      const { broker, name } = await setUp();
      proxy.spoil("CreateSchedule", { loseReply: true });
      expect(await broker.send([later()])).toEqual([undefined]);
      expect(proxy.count("CreateSchedule")).toBe(2);
      expect(await entriesOf(name)).toHaveLength(1);
      expect(await broker.size("media")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
    });

    test.each<[string, Parameters<FaultProxy["spoil"]>[1]]>([
      ["throttles", throttled("Scheduler")],
      ["fails", { reply: { status: 500, body: { __type: "InternalServerException", Message: "oops" } } }],
      ["is full", { reply: { status: 402, body: { __type: "ServiceQuotaExceededException", Message: "full" } } }],
      [
        "is deleting the group",
        { reply: { status: 409, body: { __type: "ConflictException", Message: "The group is being deleted." } } },
      ],
    ])("a text goes by hops where Scheduler %s", async (_, fault) => {
      const { broker, name } = await setUp();
      proxy.spoil("CreateSchedule", fault, 20);
      expect(await broker.send([later()])).toEqual([undefined]);
      expect(await broker.size("media")).toEqual(hopped);
      expect(await entriesOf(name)).toEqual([]);
    });

    test("a text goes by hops where it is too large for an entry", async () => {
      const { broker } = await setUp();
      expect(await broker.send([later({ body: "x".repeat(300_000) })])).toEqual([undefined]);
      expect(await broker.size("media")).toEqual(hopped);
      expect(proxy.count("CreateSchedule")).toBe(0);
    });

    test.each<[string, Record<string, string>]>([
      ["make entries", { Message: "User: u is not authorized to perform: scheduler:CreateSchedule" }],
      ["hand over the role", { Message: "User: u is not authorized to perform: iam:PassRole on resource: r" }],
    ])("who must not %s is told what it takes, and the text is nowhere", async (_, body) => {
      const { broker, name } = await setUp();
      proxy.spoil("CreateSchedule", { reply: { status: 403, body: { __type: "AccessDeniedException", ...body } } });
      const [error] = await broker.send([later()]);
      expect(error).toBeInstanceOf(OperationalError);
      expect(error).toMatchObject({ retryable: true });
      expect(error?.message).toContain(body["Message"]);
      expect(error?.message).toContain(
        `scheduler:CreateSchedule on that group, and iam:PassRole on ${ROLE.replace("{queue}", `${name}-media`)}`,
      );
      expect(await broker.size("media")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
    });

    test("a group that is not there is named, and so is a queue", async () => {
      const { broker, name } = await setUp({ makeGroup: false });
      const [noGroup, noQueue] = await broker.send([later(), later({ queue: "other" })]);
      expect(noGroup?.message).toContain(`is there a schedule group ${name} in this region and account?`);
      expect(noQueue).toMatchObject({ name: "QueueNotFound", queue: "other" });
    });
  });

  describe("deployed", () => {
    let live: typeof import("./stack/late-tasks.ts");
    // That of the queue which the messages are for.
    const group = "lovage-celery";
    beforeAll(async () => {
      await succeeds(npmRun(endpoint, "deploy:local", ...stackOf("late-app.ts")));
      const url = Object.entries(outputs(endpoint)).find(([name]) => name.includes("BrokerUrl"))?.[1] ?? "";
      Object.assign(process.env, {
        AWS_ENDPOINT_URL: endpoint,
        AWS_ACCESS_KEY_ID: "test",
        AWS_SECRET_ACCESS_KEY: "test",
        LOVAGE_BROKER_URL: url,
        LOVAGE_RESULT_BACKEND: emulatorUrl("dynamodb", { endpoint }, "/celery"),
      });
      live = await import("./stack/late-tasks.ts");
    }, 180_000);
    afterAll(async () => {
      await live.app.close();
      await succeeds(npmRun(endpoint, "destroy:local"));
    }, 180_000);

    test("a task of more than a minute's delay waits in an entry, and runs when it is due", {
      timeout: 150_000,
    }, async () => {
      const due = Date.now() + 80_000;
      const result = await live.now.applyAsync([], { eta: new Date(due) });
      expect(await entriesOf(group)).toHaveLength(1);
      const ran = await result.get({ timeout: 120 });
      expect(ran).toBeGreaterThanOrEqual(due);
      expect(ran).toBeLessThan(due + 10_000);
      expect(await entriesOf(group)).toEqual([]);
    });

    test("a worker may make entries", async () => {
      const result = await live.postpone.delay(7200);
      await result.get({ timeout: 60 });
      expect(await entriesOf(group)).toHaveLength(1);
    });

    test("a worker that may not is told so, and gives up nothing", async () => {
      const result = await live.postpone.applyAsync([7200], { queue: "denied" });
      await expect(result.get({ timeout: 60 })).rejects.toThrow(
        new RegExp(`scheduler:CreateSchedule on the schedule group ${group}: access was denied`),
      );
      const retried = await live.again.applyAsync([7200], { queue: "denied" });
      const broker = await live.app.engine.broker();
      await expect.poll(() => retried.state()).toBe("RETRY");
      await expect.poll(() => broker.size("denied")).toMatchObject({ inFlight: 1 });
      expect(await broker.size("denied-dlq")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
    });
  });
});
