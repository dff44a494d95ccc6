/** Large texts in S3, by the SDK's client and by the one that a function's bundle has. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { Lovage, PayloadLost } from "lovage";
import { startWorker } from "lovage/worker";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { CreateBucketCommand, DeleteObjectsCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import type { Emulator } from "../../scripts/emulator.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import * as s3 from "../../src/payloads/s3.ts";
import { payloadStoreContract } from "../contract/payload-store.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const ministack = await emulator("ministack");

const noise = (bytes: number): string => randomBytes(Math.ceil((bytes * 3) / 4)).toString("base64");

describe.skipIf(ministack === undefined)("large texts on S3", () => {
  const { endpoint } = ministack as Emulator;
  const bucket = `payloads-${randomUUID()}`;
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  beforeAll(async () => {
    vi.stubEnv("AWS_ENDPOINT_URL", endpoint);
    vi.stubEnv("AWS_REGION", "us-east-1");
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  });
  afterAll(() => {
    vi.unstubAllEnvs();
    client.destroy();
  });

  const context = { now: Date.now };
  describe("the contract, by the SDK", () =>
    payloadStoreContract(async () => s3.open(`s3://${bucket}/by-the-SDK`, context)));

  test("what is large streams there and back, and the key says its hash", async () => {
    const { createPayloads } = await import("../../src/payloads/payloads.ts");
    const payloads = createPayloads(await s3.open(`s3://${bucket}`, context), () => randomUUID(), Date.now);
    const text = noise(20 * 1024 * 1024);
    const pointer = await payloads.put(text, "an-id", 1);
    expect(pointer).toContain(createHash("sha256").update(text).digest("hex"));
    expect((await payloads.get(pointer)) === text).toBe(true);
  });

  test.each([
    [
      "a bucket that is not there",
      "s3://nobody-has-made-this",
      /there is no bucket nobody-has-made-this \(payloadStore\)/,
    ],
  ])("%s is told of, and can be tried again", async (_, url, message) => {
    const store = await s3.open(url, context);
    await expect(store.put("60d/x", () => [new TextEncoder().encode("x")], 1)).rejects.toMatchObject({
      name: "OperationalError",
      retryable: true,
      message: expect.stringMatching(message),
    });
  });

  test.each(["s3://", "s3://Not_A_Bucket/x", "s3://x", "s3://bucket/a%20b"])("%s is refused", (url) => {
    expect(() => s3.open(url, context)).toThrow(/payloadStore: must (name a bucket|have letters)/);
  });

  test("a task of 2 MB goes by SQS and comes back, and its result too; without the object it fails", async () => {
    const prefix = `${randomUUID()}-`;
    const brokerUrl = emulatorUrl("sqs", ministack as Emulator, `?queue_name_prefix=${prefix}&wait_time_seconds=1`);
    await sqs.createQueues(brokerUrl, ["celery"]);
    const app = new Lovage("tasks", {
      brokerUrl,
      resultBackend: `memory://${prefix}`,
      payloadStore: `s3://${bucket}/${prefix}`,
    });
    const size = app.task("tasks.size", (text: string) => text.length);
    const lost = await size.delay(noise(2 ** 21));
    const listed = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
    const Objects = (listed.Contents ?? []).map(({ Key }) => ({ Key }));
    expect(Objects).toHaveLength(1);
    await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
    const sent = await size.delay(noise(2 ** 21));
    const worker = await startWorker(app, { concurrency: 2 });
    try {
      expect(await sent.get({ timeout: 60 })).toBe(2 ** 21);
      const error = await lost.get({ timeout: 60 }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ name: PayloadLost.name });
    } finally {
      await worker.stop();
      await app.close();
    }
  });
});
