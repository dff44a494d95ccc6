import { describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../src/errors.ts";
import { open, pythonBytes } from "../../src/results/dynamodb.ts";

const context = { now: () => 0, random: () => 0, options: {} };

describe("Python's spelling of a key", () => {
  // What Python 3 prints for repr(key.encode()).
  test.each([
    ["celery-task-meta-3c0bc5bb", "b'celery-task-meta-3c0bc5bb'"],
    ["it's", `b"it's"`],
    ['say "x"', `b'say "x"'`],
    [`it's "x"`, `b'it\\'s "x"'`],
    ["back\\slash", "b'back\\\\slash'"],
    ["ü\u{1F33F}", "b'\\xc3\\xbc\\xf0\\x9f\\x8c\\xbf'"],
    ["\t\n\r\0\x1f\x7f~", "b'\\t\\n\\r\\x00\\x1f\\x7f~'"],
  ])("%j", (key, expected) => {
    expect(pythonBytes(key)).toBe(expected);
  });
});

describe("opening", () => {
  test("connects to nothing and needs no credentials", async () => {
    const backend = open("dynamodb://", context);
    expect(backend.maxBytes).toBe(409_600);
    await backend.close();
  });

  test.each([
    ["dynamodb://eu-west-1/a", /3 to 255/],
    ["dynamodb://eu-west-1/celery?ttl_seconds=0", /ttl_seconds must not be 0/],
    ["dynamodb://eu-west-1/celery?ttl_seconds=day", /ttl_seconds must be a whole number/],
    ["dynamodb://eu-west-1/celery?keys=ruby", /keys must be "plain" \(the default\) or "python"/],
    ["dynamodb://eu-west-1/celery?ttl=60", /no option "ttl"/],
  ])("%s is refused", (url, message) => {
    expect(() => open(url, context)).toThrow(ImproperlyConfigured);
    expect(() => open(url, context)).toThrow(message);
  });
});
