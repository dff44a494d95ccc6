/** The SDK's own errors, from a server that answers like AWS on a bad day, and what our users are told. */
import { createServer } from "node:net";
import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import * as sqs from "../../src/brokers/sqs.ts";
import { ImproperlyConfigured, OperationalError, QueueNotFound } from "../../src/errors.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { emulatorUrl } from "../live/emulators.ts";
import { type FaultProxy, startFaultProxy } from "../live/fault-proxy.ts";

const context = { now: () => 0, random: () => 0, options: {} };
let aws: FaultProxy;
beforeAll(async () => {
  aws = await startFaultProxy();
});
afterAll(() => aws.close());
beforeEach(() => aws.reset());

async function sendTo(url: string): Promise<unknown> {
  const broker = sqs.open(url, context);
  onTestFinished(() => broker.close());
  return (await broker.send([{ queue: "media", body: "x" }]))[0];
}
async function readFrom(url: string): Promise<unknown> {
  const backend = dynamodb.open(url, context);
  onTestFinished(() => backend.close());
  return backend.read(["key"]).then(
    () => undefined,
    (error: unknown) => error,
  );
}
const refuse = (type: string, message = "no") => ({ reply: { status: 400, body: { __type: type, message } } });

describe("what AWS refuses", () => {
  test.each<[string, RegExp, boolean]>([
    [
      "com.amazon.coral.service#AccessDeniedException",
      /sqs:GetQueueUrl on the queue shop-media: access was denied.*allow sqs:GetQueueUrl/,
      true,
    ],
    ["com.amazon.coral.service#InvalidClientTokenId", /does not accept the credentials/, true],
    ["com.amazon.coral.service#ExpiredTokenException", /does not accept the credentials.*renew/, true],
    ["com.amazon.coral.service#RequestThrottled", /throttled/, true],
    ["com.amazonaws.sqs#KmsInvalidState", /its key cannot be used.*KMS/, true],
    ["com.amazonaws.sqs#KmsThrottled", /throttled by KMS/, true],
    ["com.amazon.coral.service#InvalidParameterValue", /InvalidParameterValue/, false],
  ])("%s", async (type, message, retryable) => {
    aws.spoil("GetQueueUrl", refuse(type), 10);
    const error = await sendTo(emulatorUrl("sqs", aws, "?queue_name_prefix=shop-"));
    expect(error).toBeInstanceOf(OperationalError);
    expect(error).toMatchObject({ retryable, message: expect.stringMatching(message), cause: expect.any(Error) });
  });

  test("a missing queue, in both of SQS's spellings", async () => {
    for (const name of ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"]) {
      aws.spoil("GetQueueUrl", refuse(`com.amazonaws.sqs#${name}`));
      expect(await sendTo(emulatorUrl("sqs", aws))).toBeInstanceOf(QueueNotFound);
    }
  });

  test("a table that may not be read", async () => {
    aws.spoil("BatchGetItem", refuse("com.amazon.coral.service#AccessDeniedException"));
    expect(await readFrom(emulatorUrl("dynamodb", aws, "/celery"))).toMatchObject({
      retryable: true,
      message: expect.stringContaining("allow dynamodb:BatchGetItem"),
    });
  });

  test("a failure of its own passes", async () => {
    expect(await sendTo(emulatorUrl("sqs", aws))).toMatchObject({ name: "OperationalError", retryable: true });
    expect(aws.count("GetQueueUrl")).toBe(3);
  });
});

describe("what never gets to AWS", () => {
  test("an endpoint where nobody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    const error = await sendTo(`sqs://k:s@127.0.0.1:${port}`);
    expect(error).toMatchObject({
      name: "OperationalError",
      retryable: true,
      message: expect.stringMatching(/cannot be reached.*AWS_ENDPOINT_URL/),
    });
  });

  test("a reply that does not come", async () => {
    aws.spoil("GetQueueUrl", { hang: true });
    aws.spoil("GetQueueUrl", { reply: { status: 200, body: { QueueUrl: `${aws.endpoint}/1/media` } } });
    aws.spoil("SendMessageBatch", { reply: { status: 200, body: { Successful: [] } } });
    expect(await sendTo(emulatorUrl("sqs", aws))).toBeUndefined();
    expect(aws.count("GetQueueUrl")).toBe(2);
  });

  describe("for want of", () => {
    beforeEach(() => {
      const before = { ...process.env };
      for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
      // Neither the files of whoever runs this, nor the instance it may run on.
      Object.assign(process.env, {
        AWS_CONFIG_FILE: "/dev/null",
        AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
        AWS_EC2_METADATA_DISABLED: "true",
      });
      onTestFinished(() => {
        process.env = before;
      });
    });

    test("a region", async () => {
      const error = await sendTo("sqs://k:s@");
      expect(error).toBeInstanceOf(ImproperlyConfigured);
      expect(error).toMatchObject({ message: expect.stringMatching(/no AWS region is known/) });
    });

    test("credentials", async () => {
      const error = await sendTo("sqs://eu-west-1");
      expect(error).toMatchObject({
        name: "OperationalError",
        retryable: true,
        message: expect.stringMatching(/no AWS credentials were found/),
      });
    });
  });
});
