/** What a caller sees of an AWS that is not set up, not there or not willing: our error, soon, with what to do. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { Lovage, OperationalError, QueueNotFound } from "lovage";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { ROOT, run, terminal } from "./commands.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type FaultProxy, startFaultProxy, throttled } from "./fault-proxy.ts";

const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("a caller", () => {
  let proxy: FaultProxy;
  beforeAll(async () => {
    const aws = (ministack ?? {}) as Emulator;
    await sqs.createQueues(emulatorUrl("sqs", aws), ["celery"]);
    await dynamodb.createTable(emulatorUrl("dynamodb", aws, "/celery"));
    proxy = await startFaultProxy(aws.endpoint);
  });
  afterAll(() => proxy.close());

  function caller(rest: { readonly broker?: string; readonly backend?: string } = {}) {
    const app = new Lovage("shop", {
      brokerUrl: emulatorUrl("sqs", proxy, rest.broker),
      resultBackend: emulatorUrl("dynamodb", proxy, rest.backend ?? "/celery"),
    });
    onTestFinished(async () => {
      proxy.reset();
      await app.close();
    });
    return { app, add: app.task("shop.add", (x: number, y: number) => x + y) };
  }

  test("of a queue that is not there is told its name on SQS, and what makes it", async () => {
    const error: unknown = await caller({ broker: "?queue_name_prefix=other-" })
      .add.delay(1, 2)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(QueueNotFound);
    expect(error).toMatchObject({ queue: "celery", message: expect.stringMatching(/"other-celery".*cdk deploy/) });
  });

  test("of results in a table that is not there is told its name, and what makes it", async () => {
    const { app } = caller({ backend: "/nowhere" });
    await expect(app.result(randomUUID()).state()).rejects.toThrow(/no table "nowhere".*deploy/);
    await expect(app.result(randomUUID()).get({ timeout: 60 })).rejects.toThrow(/no table "nowhere"/);
  });

  test("an operator is not kept from the app's queues by those of others, which it may not look at", async () => {
    await sqs.createQueues(emulatorUrl("sqs", (ministack ?? {}) as Emulator), ["others"]);
    const { app } = caller();
    const { control } = app;
    const refuse = (name: string) => {
      const reply = { status: 403, body: { __type: "com.amazon.coral.service#AccessDeniedException", message: "no" } };
      const only = (asked: object) => new RegExp(`\\b${name}(-dlq)?"`).test(JSON.stringify(asked));
      for (const action of ["GetQueueUrl", "GetQueueAttributes", "ReceiveMessage"])
        proxy.spoil(action, { reply, only }, 20);
    };
    refuse("others");
    const letters = async (which: { readonly queue?: readonly string[] } = {}) => {
      for await (const letter of control.deadLetters.list(which)) throw new Error(`there is one: ${letter.message}`);
    };
    const queues = async () => (await control.inspect().queues({ cloudWatch: false })).map(({ queue }) => queue);
    expect(await queues()).toEqual(["celery"]);
    await letters();
    await expect(letters({ queue: ["others"] })).rejects.toThrow(/access was denied/);
    refuse("celery");
    await expect(queues()).rejects.toThrow(/access was denied/);
    await expect(letters()).rejects.toThrow(/access was denied/);
  });

  test("who may not is told which action on which resource to allow", async () => {
    const { app, add } = caller();
    proxy.spoil("SendMessageBatch", {
      reply: { status: 403, body: { __type: "com.amazon.coral.service#AccessDeniedException", message: "no" } },
    });
    await expect(add.delay(1, 2)).rejects.toThrow(/sqs:SendMessage on the queue celery: access was denied.*grant/);
    proxy.spoil("BatchGetItem", { reply: { status: 400, body: { __type: "x#AccessDeniedException", message: "no" } } });
    await expect(app.result(randomUUID()).state()).rejects.toThrow(
      /dynamodb:BatchGetItem on .*celery.*: access was denied.*grant/,
    );
  });

  test("that AWS throttles is told so, and that it passes", async () => {
    const { add } = caller();
    proxy.spoil("SendMessageBatch", throttled("SQS"), 100);
    const error: unknown = await add.delay(1, 2).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OperationalError);
    expect(error).toMatchObject({ retryable: true, message: expect.stringContaining("throttled") });
  });

  test("of an endpoint that does not answer gets an error within the time-outs of the SDK's tries", async () => {
    const { app, add } = caller();
    proxy.spoil("GetQueueUrl", { hang: true }, 100);
    proxy.spoil("BatchGetItem", { hang: true }, 100);
    const began = performance.now();
    // Celery's `task_publish_retry` would have it tried four times over.
    const sent = add.delay(1, 2);
    const [sending, reading] = await Promise.allSettled([sent, app.result(randomUUID()).state()]);
    // Three tries of SQS, four of DynamoDB, of five seconds each.
    expect(performance.now() - began).toBeLessThan(40_000);
    for (const settled of [sending, reading]) {
      expect(settled).toMatchObject({ status: "rejected", reason: { name: "OperationalError", retryable: true } });
      expect(String((settled as PromiseRejectedResult).reason)).toContain("no answer in time");
    }
  });

  test.each([
    [
      "credentials",
      { LOVAGE_BROKER_URL: "sqs://eu-west-1" },
      /sqs:GetQueueUrl on the queue celery: no AWS credentials were found; set AWS_ACCESS_KEY_ID/,
    ],
    [
      "a region",
      { LOVAGE_BROKER_URL: "sqs://", AWS_ACCESS_KEY_ID: "k", AWS_SECRET_ACCESS_KEY: "s" },
      /no AWS region is known; name it in the URL/,
    ],
  ])("without %s is told where to put them, by the command line too", async (_, env, message) => {
    const nobody = {
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/celery",
    };
    const args = [
      "--import",
      join(ROOT, "scripts/source.ts"),
      join(ROOT, "src/cli/main.ts"),
      "call",
      "-A",
      join(ROOT, "functions/tasks.ts"),
      "tasks.add",
      "--args",
      "[1, 2]",
    ];
    const { code, output } = await run(process.execPath, args, { env: terminal({ ...nobody, ...env }) });
    expect(output).toMatch(message);
    expect(output).not.toContain("    at ");
    expect(code).not.toBe(0);
  });
});
