/** What S3 may answer in place of a text, and what is made of it. */
import { Readable } from "node:stream";
import { Lovage, type RequestHandler } from "lovage";
import { testApp } from "lovage/testing";
import { expect, onTestFinished, test } from "vitest";
import { createPayloads } from "../../src/payloads/payloads.ts";
import { open } from "../../src/payloads/s3.ts";
import { keyOf, writePointer } from "../../src/protocol/pointer.ts";

type Answer = readonly [status: number, body: string] | Error;

/** S3, as a handler of requests that always answers the same. */
const answering = (answer: () => Answer): RequestHandler => ({
  async handle() {
    const given = answer();
    if (given instanceof Error) throw given;
    const [statusCode, body] = given;
    const headers = { "content-type": "application/xml" };
    return { response: { statusCode, headers, body: Readable.from([Buffer.from(body)]) } };
  },
});

const says = (status: number, code: string, message = "no"): Answer => [
  status,
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
];
const URL = "s3://shop-texts/large?region=eu-west-1";
const storeOf = (answer: Answer) =>
  open(`${URL.replace("s3://", "s3://k:s@")}`, { now: Date.now, requestHandler: answering(() => answer) });
const KEY = keyOf(
  "large/",
  { days: 60, id: "an-id", length: 4, sha256: "0".repeat(64) },
  "01a223bf-efd9-7abc-b1ea-72f907aca0d3",
);
const slow = Object.assign(new Error("Connection timed out after 120000 ms"), { name: "TimeoutError" });

const FAULTS: readonly (readonly [string, Answer, RegExp])[] = [
  ["a bucket that is not there", says(404, "NoSuchBucket"), /there is no bucket shop-texts \(payloadStore\)/],
  ["a bucket in another region", says(301, "PermanentRedirect"), /shop-texts is in another region: say so.*\?region=/],
  [
    "a bucket in another region, as who signs for it is told",
    says(400, "AuthorizationHeaderMalformed", "the region 'eu-west-1' is wrong; expecting 'us-east-1'"),
    /shop-texts is in another region/,
  ],
  [
    "a right that is missing",
    says(403, "AccessDenied"),
    /s3:\w+Object on the object large\/60d\/an-id\/.* of the bucket shop-texts: access was denied/,
  ],
  ["a key of KMS that may not be used", says(400, "KMS.DisabledException"), /its key cannot be used/],
  ["a store that is slow", slow, /no answer in time/],
  ["a store that is busy", says(503, "SlowDown"), /throttled|503/],
];

test.each(FAULTS)("%s is a fault of the system, which names the bucket", async (_, answer, message) => {
  const store = await storeOf(answer);
  const expected = { name: "OperationalError", retryable: true, message: expect.stringMatching(message) };
  await expect(store.put(KEY, () => [new TextEncoder().encode("text")], 4)).rejects.toMatchObject(expected);
  await expect(store.get(KEY)).rejects.toMatchObject(expected);
});

test.each<[string, string]>([
  ["half of it", "te"],
  ["more than it", "text, and more"],
  ["something else of its length", "tent"],
])("%s is refused, never half a text", async (_, body) => {
  const payloads = createPayloads(await storeOf([200, body]), () => "", Date.now);
  await expect(payloads.get(writePointer({ bucket: "shop-texts", key: KEY }))).rejects.toMatchObject({
    name: "DecodeError",
    message: expect.stringMatching(/at shop-texts\/large\/60d\/.* is not the one that was kept/),
  });
});

test("a worker hands the message back while its text cannot be had, and runs it when it can", async () => {
  let answer: Answer = says(403, "AccessDenied");
  const app = new Lovage("tasks", {
    payloadStore: "s3://k:s@shop-texts/large?region=eu-west-1",
    brokerTransportOptions: { requestHandler: answering(() => answer) },
  });
  let runs = 0;
  app.task("tasks.note", () => ++runs);
  const t = testApp(app);
  onTestFinished(() => t.close());
  const { encodeEnvelope } = await import("../../src/protocol/envelope.ts");
  const { createMessage } = await import("../../src/protocol/message.ts");
  const text = await encodeEnvelope(
    createMessage({
      id: "an-id",
      task: "tasks.note",
      args: [],
      kwargs: {},
      contentType: "application/json",
      compression: null,
    }),
  );
  await t.put(writePointer({ bucket: "shop-texts", key: "large/anything" }));
  await t.advance({ minutes: 10 });
  expect(runs).toBe(0);
  expect(await app.result("an-id").state()).toBe("PENDING");
  expect(await t.deadLetters()).toEqual([]);
  expect(t.log.map(({ line }) => line).join("\n")).toMatch(
    /handed back: s3:GetObject on the object large\/anything of the bucket shop-texts/,
  );
  answer = [200, text];
  await t.advance({ minutes: 10 });
  expect(runs).toBe(1);
  expect(await app.result("an-id").get()).toBe(1);
});
