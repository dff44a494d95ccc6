import { describe, expect, test } from "vitest";
import { parseAwsUrl, SQS_OPTIONS } from "../../src/aws/connection.ts";
import type { Outgoing } from "../../src/brokers/broker.ts";
import { open } from "../../src/brokers/sqs.ts";
import { type FarOff, isFarOff, schedulerOf } from "../../src/brokers/sqs-delays.ts";
import { entryOf } from "../../src/brokers/sqs-scheduler.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";

const NOW = Date.UTC(2026, 0, 1);
const ROLE = "arn:aws-cn:iam::123456789012:role/lovage-{queue}";
const scheduler = { role: ROLE, group: "shop", key: undefined, minDelay: 3600 };
const inSeconds = (seconds: number, more: Partial<Outgoing> = {}): FarOff => ({
  queue: "media",
  body: "{}",
  delaySeconds: 900,
  due: { at: NOW + seconds * 1000, id: "id\n0" },
  ...more,
});

describe("an entry is made for a text", () => {
  test.each<[string, Outgoing]>([
    ["that is due in an hour", inSeconds(3600)],
    ["that is due in a hundred years", inSeconds(100 * 365.25 * 86_400)],
    ["of 256,000 bytes", inSeconds(7200, { body: "x".repeat(256_000) })],
  ])("%s", (_, text) => expect(isFarOff(text, scheduler, NOW)).toBe(true));
});

describe("a text goes by hops", () => {
  const { due: _, ...near } = inSeconds(900);
  test.each<[string, Outgoing]>([
    ["that one delay of SQS's reaches", near],
    ["that is due before an entry is worth its price", inSeconds(3599)],
    ["that is due when Scheduler has no more years", inSeconds(200 * 365.25 * 86_400)],
    ["that is too large for an entry, in bytes", inSeconds(7200, { body: "é".repeat(128_001) })],
    ["that Scheduler would change", inSeconds(7200, { body: '{"args":["<aws.scheduler.execution-id>"]}' })],
    ["with attributes, which an entry has not", inSeconds(7200, { attributes: { redrivenAt: "1" } })],
    ["of a FIFO queue, which refuses a delay", inSeconds(7200, { queue: "orders.fifo" })],
  ])("%s", (_, text) => expect(isFarOff(text, scheduler, NOW)).toBe(false));
});

describe("an entry", () => {
  const url = "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/shop-media";
  const entry = (text: FarOff, queueUrl = url, more = {}) =>
    entryOf(text, queueUrl, "shop-media-dlq", "cn-north-1", { ...scheduler, ...more });

  test("fires once, a minute early, sends the body as it is, and leaves nothing behind", () => {
    expect(entry(inSeconds(86_400.7, { body: '{"task":"a"}' }))).toEqual({
      Name: expect.stringMatching(/^[0-9a-f-]{36}$/),
      GroupName: "shop",
      ScheduleExpression: "at(2026-01-01T23:59:00)",
      ScheduleExpressionTimezone: "UTC",
      FlexibleTimeWindow: { Mode: "OFF" },
      ActionAfterCompletion: "DELETE",
      Description: "a message to media",
      Target: {
        Arn: "arn:aws-cn:sqs:cn-north-1:123456789012:shop-media",
        RoleArn: "arn:aws-cn:iam::123456789012:role/lovage-shop-media",
        Input: '{"task":"a"}',
        RetryPolicy: { MaximumEventAgeInSeconds: 86_400, MaximumRetryAttempts: 185 },
        DeadLetterConfig: { Arn: "arn:aws-cn:sqs:cn-north-1:123456789012:shop-media-dlq" },
      },
    });
  });

  test("is in the group of its queue, where each has its own", () => {
    expect(entry(inSeconds(7200), url, { group: "lovage-{queue}" })).toMatchObject({ GroupName: "lovage-shop-media" });
  });

  test("is encrypted with the key that is named", () => {
    const key = "arn:aws-cn:kms:cn-north-1:123456789012:key/k";
    expect(entry(inSeconds(7200), url, { key })).toMatchObject({ KmsKeyArn: key });
  });

  test("has one name for all copies of a text, and another for any other text", () => {
    const first = inSeconds(7200, { body: "first" });
    const copy = { ...first };
    const others = [
      entry({ ...first, due: { ...first.due, id: "id\n1" } }),
      entry(inSeconds(7201)),
      entry(first, url.replace("shop-", "other-")),
      entry(first, url.replace("123456789012", "210987654321")),
      // Who knows id and time of a task does not know its name.
      entry(inSeconds(7200, { body: "somebody else's" })),
    ].map(({ Name }) => Name);
    expect(entry(copy).Name).toBe(entry(first).Name);
    expect(new Set([entry(first).Name, ...others]).size).toBe(6);
  });
});

describe("the settings", () => {
  const read = (query: string, options = {}) =>
    schedulerOf(parseAwsUrl("brokerUrl", `sqs://eu-west-1${query}`, options, SQS_OPTIONS));

  test("are read from the URL or from brokerTransportOptions, and the URL's come first", () => {
    expect(read("")).toBeUndefined();
    expect(read(`?scheduler_role_arn=${ROLE}`)).toEqual({
      role: ROLE,
      group: "default",
      key: undefined,
      minDelay: 3600,
    });
    const options = { schedulerRoleArn: ROLE, schedulerGroup: "a", schedulerKeyArn: "k", schedulerMinDelay: 75 };
    expect(read(`?scheduler_role_arn=${ROLE}&scheduler_group=g-{queue}`)?.group).toBe("g-{queue}");
    expect(read("?scheduler_group=b", options)).toEqual({ role: ROLE, group: "b", key: "k", minDelay: 75 });
  });

  test.each([
    ["?scheduler_role_arn=shop", /scheduler_role_arn must be the ARN of a role/],
    [`?scheduler_role_arn=${ROLE}&scheduler_group=a%20b`, /scheduler_group must have 1 to 64 letters/],
    ["?scheduler_min_delay=74", /scheduler_min_delay must be at least 75 seconds.*given: 74/],
    ["?scheduler_role=x", /no option "scheduler_role"/],
  ])("%s is refused", (query, message) => {
    const openIt = () => open(`sqs://eu-west-1${query}`, { now: () => NOW, random: () => 0, options: {} });
    expect(openIt).toThrow(ImproperlyConfigured);
    expect(openIt).toThrow(message);
  });
});
