import { withKeyPrefix } from "../../src/results/key-prefix.ts";
import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
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

test.each([
  ["plain", "shop_celery-task-meta-1"],
  ["python", "b'shop_celery-task-meta-1'"],
])("a prefix is part of the key in the %s spelling", async (keys, expected) => {
  const asked: unknown[] = [];
  const server = createServer(async (request, response) => {
    asked.push(await json(request));
    response.setHeader("content-type", "application/x-amz-json-1.0").end(JSON.stringify({ Responses: {} }));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number };
  const url = `dynamodb://key:secret@127.0.0.1:${port}/celery?keys=${keys}`;
  const backend = withKeyPrefix(open(url, context), "shop_");
  await backend.read(["celery-task-meta-1"]);
  await backend.close();
  expect(asked).toMatchObject([{ RequestItems: { celery: { Keys: [{ id: { S: expected } }] } } }]);
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
