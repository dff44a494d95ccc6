import { describe, expect, test } from "vitest";
import { booleanOption, clientConfig, numberOption, parseAwsUrl } from "../../src/aws/connection.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";

const parse = (url: string, options: Record<string, unknown> = {}) =>
  parseAwsUrl("brokerUrl", url, options, ["region", "is_secure", "queue_name_prefix"]);

describe("a URL of AWS", () => {
  test.each<[string, object]>([
    ["sqs://", { region: undefined, endpoint: undefined, credentials: undefined, path: "" }],
    ["sqs://eu-west-1", { region: "eu-west-1", endpoint: undefined }],
    [
      "sqs://us-gov-east-1?queue_name_prefix=shop-",
      { region: "us-gov-east-1", options: { queue_name_prefix: "shop-" } },
    ],
    ["sqs://@ap-southeast-2", { region: "ap-southeast-2", credentials: undefined }],
    ["sqs://?region=eu-west-1", { region: "eu-west-1", endpoint: undefined }],
    [
      "sqs://AKIA:se%2Fc%40ret@",
      { region: undefined, credentials: { accessKeyId: "AKIA", secretAccessKey: "se/c@ret" } },
    ],
    ["sqs://k:s@localhost:9324", { region: undefined, endpoint: "http://localhost:9324" }],
    ["sqs://k:s@127.0.0.1:4566?is_secure=true", { endpoint: "https://127.0.0.1:4566" }],
    ["sqs://localstack?region=eu-west-1", { region: "eu-west-1", endpoint: "http://localstack" }],
    ["dynamodb://@eu-west-1/celery", { region: "eu-west-1", path: "celery" }],
    ["dynamodb://@eu-west-1:8000/celery", { region: "eu-west-1", endpoint: undefined, path: "celery" }],
    ["dynamodb://@localhost:8000/my%2Dtable", { endpoint: "http://localhost:8000", path: "my-table" }],
    ["dynamodb:///celery", { region: undefined, endpoint: undefined, path: "celery" }],
  ])("%s", (url, expected) => {
    expect(parse(url)).toMatchObject(expected);
  });

  test("takes options in either spelling, and its own query first", () => {
    expect(parse("sqs://?queue_name_prefix=url-", { queueNamePrefix: "options-", region: "eu-west-1" })).toMatchObject({
      region: "eu-west-1",
      options: { queue_name_prefix: "url-" },
    });
  });

  test.each([
    ["sqs://?queue_name_prefx=shop-", /did you mean "queue_name_prefix"\?/],
    ["sqs://key@eu-west-1", /both KEY:SECRET/],
    ["sqs://:secret@eu-west-1", /both KEY:SECRET/],
    ["sqs://?is_secure=perhaps", /is_secure must be true or false, not "perhaps"/],
    ["nonsense", /must have the form/],
  ])("%s is refused", (url, message) => {
    expect(() => parse(url)).toThrow(ImproperlyConfigured);
    expect(() => parse(url)).toThrow(message);
  });

  test("never shows the secret in an error", () => {
    expect(() => parse("sqs://KEY:hush:hush@eu-west-1")).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining("hush") }),
    );
  });
});

describe("an option", () => {
  test("is a whole number, as a text too", () => {
    expect(numberOption("x", { n: "86400" }, "n")).toBe(86_400);
    expect(numberOption("x", {}, "n")).toBeUndefined();
    for (const n of ["", "1.5", "day", 1.5, null]) expect(() => numberOption("x", { n }, "n")).toThrow(/whole number/);
  });

  test("is true or false, as a text too", () => {
    expect([true, "True", "1", "no"].map((b) => booleanOption("x", { b }, "b"))).toEqual([true, true, true, false]);
  });
});

describe("credentials", () => {
  const connect = (url: string, env: Record<string, string | undefined>) => {
    const before = { ...process.env };
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"])
      delete process.env[name];
    Object.assign(process.env, env);
    try {
      return clientConfig(parse(url), 1000).credentials;
    } finally {
      process.env = before;
    }
  };
  const env = { AWS_ACCESS_KEY_ID: "A", AWS_SECRET_ACCESS_KEY: "S", AWS_SESSION_TOKEN: "T" };

  test("of the URL go before those of the environment", () => {
    expect(connect("sqs://k:s@", env)).toEqual({ accessKeyId: "k", secretAccessKey: "s" });
  });

  test("of the environment spare the SDK's chain of providers", () => {
    expect(connect("sqs://", env)).toEqual({ accessKeyId: "A", secretAccessKey: "S", sessionToken: "T" });
  });

  test("are left to the chain where there are none, or a profile is asked for", () => {
    expect(connect("sqs://", {})).toBeUndefined();
    expect(connect("sqs://", { ...env, AWS_PROFILE: "work" })).toBeUndefined();
  });
});
