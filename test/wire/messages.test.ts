import { describe, expect, test } from "vitest";
import { ContentDisallowed, DecodeError } from "../../src/errors.ts";
import { decodeEnvelope, encodeEnvelope, peekEnvelope } from "../../src/protocol/envelope.ts";
import { Decimal, PlainDate, PlainTime, stringifyValue, Uuid } from "../../src/protocol/values.ts";
import { type RecordedMessage, recordings } from "./recordings.ts";

const ACCEPT = { accept: ["json", "yaml"] };
const UNREADABLE = new Set(["pickle", "lzma"]);

const all = recordings<RecordedMessage>("messages").flatMap(([name, recording]) =>
  [recording, ...(recording.others ?? [])].map((message, index) => ({
    name: index === 0 ? name : `${name}, message ${index + 1}`,
    message,
  })),
);
const readable = all.filter(({ name }) => !UNREADABLE.has(name));
const find = (name: string): RecordedMessage => {
  const found = all.find((entry) => entry.name === name);
  if (!found) throw new Error(`there is no recording ${name}`);
  return found.message;
};

/** Values as the recordings show them: tags as objects, what is not finite as `$nonfinite`. */
function shown(value: unknown): unknown {
  return JSON.parse(stringifyValue(value).replaceAll(/(?<![\w"])(-?Infinity|NaN)(?![\w"])/g, '{"$nonfinite":"$1"}'));
}

const given = (object: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined));

test("there are recordings", () => {
  expect(all.length).toBeGreaterThan(100);
});

describe.each(readable)("$name", ({ message }) => {
  test("decodes to the values that were sent", async () => {
    const { decoded } = message;
    const read = await decodeEnvelope(message.sqsBody, ACCEPT);
    expect(read.id).toBe(decoded.headers.id);
    expect(read.task).toBe(decoded.headers.task);
    if (decoded.body) {
      const [args, kwargs, embed] = decoded.body;
      expect(shown(read.args)).toEqual(args);
      expect(shown(read.kwargs)).toEqual(kwargs);
      expect(shown(read.callbacks)).toEqual(embed.callbacks ?? []);
      expect(shown(read.errbacks)).toEqual(embed.errbacks ?? []);
      expect(shown(read.chain)).toEqual(embed.chain ?? []);
      expect(shown(read.chord)).toEqual(embed.chord);
    }
  });

  test("keeps every header and property, and comes back the same from our own envelope", async () => {
    const { decoded } = message;
    const read = await decodeEnvelope(message.sqsBody, ACCEPT);
    const text = await encodeEnvelope(read, 0);
    const envelope = JSON.parse(text) as RecordedMessage["decoded"];
    expect(envelope.headers).toMatchObject(given(decoded.headers));
    const { body_encoding: _, delivery_tag: __, expiration: ___, ...properties } = decoded.properties;
    expect(envelope.properties).toMatchObject(given(properties));
    expect("expiration" in envelope.properties).toBe("expiration" in decoded.properties);
    expect(await decodeEnvelope(text, ACCEPT)).toEqual(read);
  });

  test("can be named without being read", () => {
    const { headers, properties } = message.decoded;
    expect(peekEnvelope(message.sqsBody)).toEqual({
      id: headers.id,
      task: headers.task,
      ...(typeof properties["priority"] === "number" && { priority: properties["priority"] }),
    });
  });
});

test("Python's types arrive as values of their own", async () => {
  const { args } = await decodeEnvelope(find("types").sqsBody, ACCEPT);
  const utf8 = new TextEncoder();
  expect(args).toEqual([
    [
      new Date("2030-01-02T03:04:05.678Z"),
      new Date("2030-01-02T03:04:05.000Z"),
      new PlainDate("2030-01-02"),
      new PlainTime("03:04:05.000006"),
      new Decimal("1.10"),
      new Uuid("00000000-0000-0000-0000-0000000000ff"),
      utf8.encode("abc"),
      new Uint8Array([255, 0]),
      [1, 2],
    ],
  ]);
});

test("integers beyond 2^53 arrive in full and leave in full", async () => {
  const { bodyText, sqsBody } = find("big-integers");
  const { args } = await decodeEnvelope(sqsBody, ACCEPT);
  expect(args).toEqual([[2n ** 53n, 2n ** 53n + 1n, -(2n ** 63n), 10n ** 30n]]);
  expect(bodyText?.startsWith(`[${stringifyValue(args)},`)).toBe(true);
});

test("NaN and the infinities arrive and leave as Python writes them", async () => {
  const { args } = await decodeEnvelope(find("non-finite-numbers").sqsBody, ACCEPT);
  expect(args).toEqual([[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, 1e300]]);
  expect(stringifyValue(args)).toBe("[[NaN, Infinity, -Infinity, 1, 1e+300]]");
});

test("an object that has more than a tag's two keys is an object", async () => {
  const { args } = await decodeEnvelope(find("type-lookalikes").sqsBody, ACCEPT);
  expect(args).toEqual([
    [
      { __type__: "datetime", __value__: "2030-01-02T03:04:05", extra: 1 },
      { 1: "bool key", null: "none key" },
    ],
  ]);
});

test("a body in YAML is read where the app accepts YAML, and refused elsewhere", async () => {
  const { sqsBody } = find("yaml");
  expect((await decodeEnvelope(sqsBody, { accept: ["application/x-yaml"] })).args).toEqual([[1, "é"]]);
  expect(() => decodeEnvelope(sqsBody, { accept: ["json"] })).toThrow(ContentDisallowed);
});

test("pickle is refused whatever the app accepts", () => {
  expect(() => decodeEnvelope(find("pickle").sqsBody, { accept: ["json", "pickle"] })).toThrow(ContentDisallowed);
  expect(() => decodeEnvelope(find("pickle").sqsBody, { accept: ["pickle"] })).toThrow(/runs code/);
});

test("lzma is refused with what can be used instead", async () => {
  await expect(decodeEnvelope(find("lzma").sqsBody, ACCEPT)).rejects.toThrow(DecodeError);
  await expect(decodeEnvelope(find("lzma").sqsBody, ACCEPT)).rejects.toThrow(/no lzma; use gzip, brotli or zstd/);
});

test("the bound on a decompressed body holds for Celery's messages too", async () => {
  await expect(decodeEnvelope(find("gzip").sqsBody, { ...ACCEPT, maxInflatedBytes: 100 })).rejects.toThrow(
    /more than 100 bytes/,
  );
  await expect(decodeEnvelope(find("brotli").sqsBody, { ...ACCEPT, maxInflatedBytes: 100 })).rejects.toThrow(
    /more than 100 bytes/,
  );
});
