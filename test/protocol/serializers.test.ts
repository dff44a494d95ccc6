import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ContentDisallowed, DecodeError, EncodeError } from "../../src/errors.ts";
import { acceptedSerializer, contentTypeOf, SERIALIZERS, serializerName } from "../../src/protocol/serializers.ts";
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
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]`;
  await expect((async () => yaml.loads(bomb))()).rejects.toThrow(DecodeError);
  await expect((async () => yaml.loads("!!set {a, b}"))()).rejects.toThrow(/no form for/);
});
