import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ContentDisallowed, DecodeError, EncodeError } from "../../src/errors.ts";
import { checkMsgpack } from "../../src/protocol/msgpack.ts";
import {
  acceptedSerializer,
  contentTypeOf,
  type Payload,
  SERIALIZERS,
  serializerName,
  type SerializerName,
} from "../../src/protocol/serializers.ts";
import { Decimal, PlainDate, Uuid } from "../../src/protocol/values.ts";

const { msgpack, yaml } = SERIALIZERS;

test("names and MIME types mean the same", () => {
  expect(
    ["json", "application/json", "msgpack", "application/x-msgpack", "YAML", "application/x-yaml"].map(serializerName),
  ).toEqual(["json", "json", "msgpack", "msgpack", "yaml", "yaml"]);
  expect(serializerName("pickle")).toBeUndefined();
  expect(serializerName("toString")).toBeUndefined();
  expect(contentTypeOf("msgpack")).toBe("application/x-msgpack");
  expect(acceptedSerializer("application/x-yaml", ["json", "yaml"])).toBe("yaml");
  expect(acceptedSerializer("application/x-yaml", ["application/x-yaml"])).toBe("yaml");
});

test.each([
  ["application/x-yaml", ["json"], /only json/],
  ["application/json", [], /only nothing/],
  ["application/x-python-serialize", ["pickle"], /runs code/],
  ["application/data", ["json"], /not a type that is known/],
])("%s with %j accepted is refused", (type, accept, reason) => {
  expect(() => acceptedSerializer(type, accept)).toThrow(ContentDisallowed);
  expect(() => acceptedSerializer(type, accept)).toThrow(reason);
});

describe.each([
  ["msgpack", msgpack],
  ["yaml", yaml],
] as const)("%s", (_, serializer) => {
  test("carries what JSON carries", async () => {
    const value = {
      text: "Grüße 🎉\n",
      lookalikes: ["yes", "no", "12:30", "1e3", "null", "0x10", "2026-01-02", "", " x", "=", "<<", "~"],
      numbers: [
        0,
        -1,
        2 ** 31,
        -(2 ** 31) - 1,
        2 ** 40,
        Number.MAX_SAFE_INTEGER,
        1.5,
        2n ** 62n,
        -(2n ** 63n),
        Number.POSITIVE_INFINITY,
        2 ** 53,
        -(2 ** 60),
        1e21,
        -1.5e-9,

        Number.NaN,
      ],
      when: new Date("2026-08-20T01:02:03.004Z"),
      bytes: new Uint8Array([0, 255, 10]),
      day: new PlainDate("2026-08-20"),
      price: new Decimal("1.10"),
      id: new Uuid("000000000000000000000000000000ff"),
      nested: [{ a: [null, true, false], "<<": { b: 1 }, "=": "<<" }],
    };
    expect(await serializer.loads(await serializer.dumps(value))).toEqual(value);
  });

  test("refuses what JSON refuses, with its place", async () => {
    await expect((async () => serializer.dumps({ on: () => 1 }, "kwargs"))()).rejects.toThrow(
      /kwargs\.on is a function/,
    );
  });

  test("comes back equal, whatever JSON it is", async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 3 }), async (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value).replaceAll("__proto__", "proto"));
        expect(await serializer.loads(await serializer.dumps(plain))).toEqual(plain);
      }),
      { numRuns: 300 },
    );
  });

  test("any bytes give a value or a DecodeError", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 30 }), async (bytes) => {
        try {
          await serializer.loads(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

test("msgpack says that it has no integers of more than 64 bits", async () => {
  await expect((async () => msgpack.dumps([2n ** 64n]))()).rejects.toThrow(EncodeError);
});

test("YAML has the form in which PyYAML takes floats for floats, and text for text", async () => {
  expect(await yaml.dumps({ "<<": "=" })).toBe('"<<": "="\n');
  expect(await yaml.dumps([2 ** 53, 1e21, -0, 1.5])).toBe("- 9007199254740992.0\n- 1.0e+21\n- -0.0\n- 1.5\n");
});

test("YAML that expands itself, or holds a type of its own, is refused", async () => {
  const bomb = ["a0: &a0 x", ...Array.from({ length: 7 }, (_, n) => `a${n + 1}: &a${n + 1} [${`*a${n},`.repeat(9)}]`)];
  await expect((async () => yaml.loads(bomb.join("\n")))()).rejects.toThrow(/expands itself/);
  await expect((async () => yaml.loads("&a [*a]"))()).rejects.toThrow(/alias of nothing whole/);
  await expect((async () => yaml.loads("!!set {a, b}"))()).rejects.toThrow(/no form for/);
});

test("YAML is read as PyYAML reads it", async () => {
  const read = async (text: string) => yaml.loads(text);
  expect(await read("a: &x {b: 1, c: 2}\nd: {c: 3, <<: *x, e: *x}\nf: {<<: [{g: 1}, {g: 2, h: 2}]}")).toEqual({
    a: { b: 1, c: 2 },
    d: { b: 1, c: 3, e: { b: 1, c: 2 } },
    f: { g: 1, h: 2 },
  });
  // The last of two equal keys counts, and so does the last of two equal anchors.
  expect(await read("a: 1\na: 2\n1: 3\nnull: 4")).toEqual({ a: 2, "1": 3, null: 4 });
  expect(await read("- &a 1\n- &a 2\n- *a\n- ~\n- <<")).toEqual([1, 2, 2, null, "<<"]);
  expect(await read("0001-01-01")).toEqual(new Date("0001-01-01T00:00:00Z"));
  expect(await read("2001-12-14 21:59:43.10 -5")).toEqual(new Date("2001-12-15T02:59:43.1Z"));
  expect(await read("2001-1-2t3:04:05+05:30")).toEqual(new Date("2001-01-01T21:34:05Z"));
});

test("bare text in YAML is text where it is text to PyYAML, as a key and as a value", async () => {
  const texts =
    "y Y n N 08 0684 016_18_ 1e5 1E5 1e+5 1.5e5 .5e5 -.5 . ._ +. E10 e3 0:59 2020-1-1 nan inf Infinity 0o17 1,5";
  for (const text of texts.split(" "))
    expect([text, await yaml.loads(`- ${text}\n- ${text}: 1\n`)]).toEqual([text, [text, { [text]: 1 }]]);
  // As PyYAML writes what is none.
  expect(
    await yaml.loads(
      "[true, off, 8, 010, 0x1F, 0b11, 1_000, 1:30, -1.5, .5, 1.0e+5, 1.5e-07, .inf, -.inf, .nan, null, ~]",
    ),
  ).toEqual([true, false, 8, 8, 31, 3, 1000, 90, -1.5, 0.5, 1e5, 1.5e-7, Infinity, -Infinity, Number.NaN, null, null]);
});

test("a date comes back from YAML as it was, microseconds and zone, at either end of time", async () => {
  for (const text of [
    "0001-01-01T00:00:00+08:06",
    "9999-12-31T23:59:59.999999-05:00",
    "2026-01-01T00:00:00.000001+00:00",
  ]) {
    const date = await yaml.loads(text);
    expect(await yaml.dumps([date])).toBe(`- ${text}\n`);
  }
  // As a day it would be a `date` in Python.
  expect(await yaml.dumps([new Date("2026-01-01T00:00:00Z")])).toBe("- 2026-01-01T00:00:00.000+00:00\n");
});

test("text that YAML 1.1 takes for line breaks, or for nothing, is escaped, and so is a tab, which PyYAML refuses where it is bare", async () => {
  const signs = "\u0085\u2028\u2029\u007f\u009b\ufeff\ufffe\uffff\r\t";
  for (const text of [...signs, `a${signs}b`, ...Array.from(signs, (sign) => `one${sign}two\n three `)]) {
    const written = await yaml.dumps({ [text]: text });
    expect(written).not.toMatch(/[\u0085\u2028\u2029\u007f\u009b\ufeff\ufffe\uffff\r\t]/);
    expect(await yaml.loads(written)).toEqual({ [text]: text });
  }
});

test.each<[string, (n: number) => string]>([
  ["keys", (n) => Array.from({ length: n }, (_, i) => `k${i}: 1`).join("\n")],
  ["keys of a flow map", (n) => `{${Array.from({ length: n }, (_, i) => `k${i}: 1`).join(", ")}}`],
  ["anchors with their aliases", (n) => Array.from({ length: n }, (_, i) => `- &a${i} x\n- *a${i}`).join("\n")],
  ["aliases of one anchor", (n) => `- &a x\n${"- *a\n".repeat(n)}`],
  ["members of an ordered map", (n) => `!!omap\n${Array.from({ length: n }, (_, i) => `- k${i}: 1`).join("\n")}`],
  ["bad escapes", (n) => `"${"\\q".repeat(4 * n)}"`],
  ["brackets that close nothing", (n) => "]".repeat(40 * n)],
])("YAML of many %s is read or refused in time in proportion to it", async (_, text) => {
  const took = async (n: number) => {
    const began = performance.now();
    await Promise.resolve(yaml.loads(text(n))).catch((error: unknown) => expect(error).toBeInstanceOf(DecodeError));
    return performance.now() - began;
  };
  await took(500);
  const few = Math.min(await took(2_500), await took(2_500));
  // Eight times as much takes eight times as long, or 64 times where each is compared with all.
  expect(await took(20_000)).toBeLessThan(30 * Math.max(few, 5));
});

test("msgpack that announces more than it has is refused before room is made for it", async () => {
  const header = (first: number, size: number) => [
    first,
    size >>> 24,
    (size >>> 16) & 255,
    (size >>> 8) & 255,
    size & 255,
  ];
  const cases: readonly (readonly [readonly number[], RegExp])[] = [
    [header(0xdd, 30_000_000), /announces more/],
    // Each of them by itself could be true.
    [[0x93, ...header(0xdd, 4), ...header(0xdd, 4), 1, 2, 3], /announces more/],
    [header(0xdf, 2 ** 31), /announces more/],
    [header(0xdb, 100), /announces more/],
    [header(0xc6, 100), /announces more/],
    [[...header(0xc9, 100), 1], /announces more/],
    [[0xd4], /announces more/],
    [[0xd9], /announces more/],
    [[0xc1], /means nothing/],
    [[1, 1], /goes on/],
    [[], /too early/],
    [Array.from({ length: 1001 }, () => 0x91).concat(1), /nested more than/],
  ];
  for (const [bytes, reason] of cases) {
    const reading = (async () => msgpack.loads(new Uint8Array(bytes)))();
    await expect(reading).rejects.toThrow(DecodeError);
    await expect(reading).rejects.toThrow(reason);
  }
});

test("the look at msgpack finds what an encoder writes right, and counts it", () => {
  const values = fc.letrec((tie) => ({
    any: fc.oneof(
      fc.integer(),
      fc.maxSafeInteger(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.double(),
      fc.string({ maxLength: 400 }),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 300 }),
      fc.date({ noInvalidDate: true }),
      fc.array(tie("any"), { maxLength: 20 }),
      fc.dictionary(fc.string(), tie("any"), { maxKeys: 20 }),
    ),
  })).any;
  const countOf = (value: unknown): number => {
    if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + countOf(item), 1);
    if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return 1;
    return Object.values(value).reduce<number>((sum, item) => sum + 1 + countOf(item), 1);
  };
  fc.assert(
    fc.property(values, (value) => {
      const bytes = encode(value, { useBigInt64: true });
      expect(checkMsgpack(bytes)).toBe(countOf(value));
      expect(() => checkMsgpack(bytes.subarray(0, -1))).toThrow(DecodeError);
    }),
  );
});

test.each<[SerializerName, Payload]>([
  ["json", `[${"[],".repeat(10_000)}0]`],
  ["msgpack", new Uint8Array([0xdc, 0x75, 0x30, ...Array.from({ length: 30_000 }, () => 0x80)])],
  ["yaml", "- a\n".repeat(10_000)],
])("%s is read where there is memory for what it says, and only there", async (name, data) => {
  expect(await SERIALIZERS[name].loads(data, 64 * 2 ** 20)).toBeInstanceOf(Array);
  await expect((async () => SERIALIZERS[name].loads(data, 2 ** 19))()).rejects.toThrow(/MB of memory/);
});
