import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DecodeError, EncodeError, ImproperlyConfigured } from "../../src/errors.ts";
import { MAX_NESTING } from "../../src/protocol/json.ts";
import {
  Decimal,
  PlainDate,
  PlainTime,
  parseValue,
  registerType,
  stringifyValue,
  Uuid,
} from "../../src/protocol/values.ts";

const again = (value: unknown): unknown => parseValue(stringifyValue(value));

function refusal(value: unknown, path?: string): EncodeError {
  try {
    stringifyValue(value, path);
  } catch (error) {
    if (error instanceof EncodeError) return error;
    throw error;
  }
  throw new Error("it was encoded");
}

/** What the tag of a fresh process looks like, white space aside. */
const wire = (value: unknown): unknown => JSON.parse(stringifyValue(value));

describe("dates", () => {
  test("a fresh Date is written with milliseconds and +00:00, which every Python reads", () => {
    expect(wire(new Date("2026-08-20T01:02:03.004Z"))).toEqual({
      __type__: "datetime",
      __value__: "2026-08-20T01:02:03.004+00:00",
    });
  });

  test.each(["2026-08-20T01:02:03.004005+02:00", "2026-08-20T01:02:03", "2026-08-20T01:02:03Z"])(
    "a Date read from %s is written as the same text",
    (text) => {
      const tagged = { __type__: "datetime", __value__: text };
      expect(wire(parseValue(JSON.stringify(tagged)))).toEqual(tagged);
    },
  );

  test("a Date that was changed after it was read is written with its new time", () => {
    const date = parseValue('{"__type__": "datetime", "__value__": "2026-08-20T01:02:03.004005+02:00"}') as Date;
    date.setUTCFullYear(2030);
    expect(wire(date)).toEqual({ __type__: "datetime", __value__: "2030-08-19T23:02:03.004+00:00" });
  });

  test("a time without an offset is UTC", () => {
    expect(parseValue('{"__type__": "datetime", "__value__": "2026-08-20T01:02:03"}')).toEqual(
      new Date("2026-08-20T01:02:03Z"),
    );
  });

  test("what no datetime of Python's can hold is refused", () => {
    expect(refusal([new Date(Number.NaN)], "args").path).toBe("args[0]");
    expect(refusal(new Date("+010000-01-01T00:00:00Z")).message).toContain("1 to 9999");
    expect(refusal(new Date("0000-12-31T23:59:59Z")).message).toContain("1 to 9999");
  });
});

test("each of Python's types is written as kombu's tag and comes back equal", () => {
  const cases: [unknown, unknown][] = [
    [new PlainDate("2026-08-20"), { __type__: "date", __value__: "2026-08-20" }],
    [new PlainTime("01:02:03.000005+00:00"), { __type__: "time", __value__: "01:02:03.000005+00:00" }],
    [new Decimal("1.10"), { __type__: "decimal", __value__: "1.10" }],
    [
      new Uuid("00000000-0000-0000-0000-0000000000FF"),
      { __type__: "uuid", __value__: { hex: "000000000000000000000000000000ff" } },
    ],
    [new TextEncoder().encode("\ufeffgrüß"), { __type__: "bytes", __value__: "\ufeffgrüß" }],
    [new Uint8Array([255, 0]), { __type__: "base64", __value__: "/wA=" }],
  ];
  for (const [value, tagged] of cases) {
    expect(wire(value)).toEqual(tagged);
    expect(again(value)).toEqual(value);
  }
});

test("Python's other spellings of its types are read", () => {
  expect(parseValue('{"__type__": "date", "__value__": "2026-08-20T01:02:03"}')).toEqual(new PlainDate("2026-08-20"));
  expect(parseValue('{"__type__": "uuid", "__value__": {"hex": "00000000-0000-0000-0000-0000000000ff"}}')).toEqual(
    new Uuid(`${"0".repeat(30)}ff`),
  );
  expect(parseValue(String.raw`{"\u005f_type__": "decimal", "__value\u005f_": "1"}`)).toEqual(new Decimal("1"));
});

test.each([
  () => new PlainDate("2026-02-30"),
  () => new PlainDate("2026-2-3"),
  () => new PlainTime("25:00"),
  () => new PlainTime("noon"),
  () => new Decimal("1,10"),
  () => new Decimal(""),
  () => new Uuid("ff"),
])("a value class takes no text that is none of its own: %s", (make) => {
  expect(make).toThrow(RangeError);
});

test("a Buffer is bytes", () => {
  expect(again(Buffer.from([255, 1]))).toEqual(new Uint8Array([255, 1]));
});

describe("numbers", () => {
  test("bigints travel in full, and small integers come back as numbers", () => {
    expect(stringifyValue([10n ** 30n, 2n ** 53n, 1n])).toBe("[1000000000000000000000000000000, 9007199254740992, 1]");
    expect(again([10n ** 30n, 2n ** 53n, -(2n ** 53n), 1n])).toEqual([10n ** 30n, 2n ** 53n, -(2n ** 53n), 1]);
  });

  test("an integer of sixteen digits is read in full where a number would round it, and is a number where not", () => {
    expect(parseValue("[9007199254740993]")).toEqual([9007199254740993n]);
    expect(parseValue("9007199254740993")).toBe(9007199254740993n);
    expect(parseValue("[9007199254740991]")).toEqual([9007199254740991]);
  });

  test("numbers beyond 2^53 are floats to Python and numbers to us", () => {
    expect(stringifyValue([2 ** 53, 1e21, -1e20])).toBe("[9007199254740992.0, 1e+21, -100000000000000000000.0]");
    expect(again([2 ** 53, 1e21, -1e20])).toEqual([2 ** 53, 1e21, -1e20]);
  });

  test("integers with more digits than Python takes are refused both ways", () => {
    expect(refusal({ n: 10n ** 4300n }).path).toBe("n");
    expect(() => parseValue("9".repeat(4301))).toThrow(DecodeError);
    expect(parseValue("9".repeat(4300))).toBe(10n ** 4300n - 1n);
  });

  test("the fraction of a float is not taken for a long integer", () => {
    expect(parseValue("[0.1234567890123456, 1234567890123456.5]")).toEqual([0.1234567890123456, 1234567890123456.5]);
  });
});

describe("what JSON cannot carry is refused, with the place where it stands", () => {
  class Odd {
    readonly #secret = 1;
    get value() {
      return this.#secret;
    }
  }
  const fail = (): never => {
    throw new Error("not readable");
  };
  const cycle: Record<string, unknown> = { name: "x" };
  cycle.self = { inner: cycle };

  test.each([
    ["a function", [{ callback: () => 1 }], "args[0].callback"],
    ["a symbol", [Symbol("x")], "args[0]"],
    ["a Map", [new Map()], "args[0]"],
    ["a Set", [[new Set([1])]], "args[0][0]"],
    ["a Promise", [Promise.resolve(1)], "args[0]"],
    ["a RegExp", [/x/], "args[0]"],
    ["an Error", [new Error("x")], "args[0]"],
    ["a Float32Array", [new Float32Array(1)], "args[0]"],
    ["an ArrayBuffer", [new ArrayBuffer(1)], "args[0]"],
    ["a DataView", [new DataView(new ArrayBuffer(1))], "args[0]"],
    ["a cycle", [cycle], "args[0].self.inner"],
    ["a tag of Python's", [{ __type__: "datetime", __value__: "x" }], "args[0]"],
    ["a tag of nobody's", [{ __type__: 1, __value__: 2, gone: undefined }], "args[0]"],
    ["a getter that throws", [Object.defineProperty({}, "x", { enumerable: true, get: () => fail() })], "args"],
    ["an odd key", [{ "two words": () => 1 }], 'args[0]["two words"]'],
  ])("%s", (_, value, path) => {
    expect(refusal(value, "args").path).toBe(path);
  });

  test.each<[string, unknown, RegExp]>([
    ["Response", new Response("x"), /pass await response.json/],
    ["Request", new Request("http://x.example/"), /pass its url/],
    ["Headers", new Headers({ a: "b" }), /Object.fromEntries/],
    ["URLSearchParams", new URLSearchParams("a=b"), /params.toString/],
    ["FormData", new FormData(), /Object.fromEntries/],
    ["Blob", new Blob(["x"]), /blob.bytes/],
    ["File", new File(["x"], "x"), /file.arrayBuffer/],
    ["ReadableStream", new ReadableStream(), /what it holds/],
    ["WritableStream", new WritableStream(), /a WritableStream whose data/],
    ["AbortSignal", AbortSignal.abort(), /signal.aborted/],
    ["AbortController", new AbortController(), /whose data/],
    ["Intl.NumberFormat", new Intl.NumberFormat(), /Intl.NumberFormat whose data/],
    ["Intl.Locale", new Intl.Locale("en"), /Intl.Locale whose data/],
    ["TextEncoder", new TextEncoder(), /whose data/],
    ["Map Iterator", new Map().entries(), /whose data/],
    [
      "a class with getters",
      new (class Money {
        #cents = 1;
        get cents() {
          return this.#cents;
        }
      })(),
      /instance of Money whose data/,
    ],
    [
      "a class with private fields alone",
      new (class Secret {
        #text = "a";
        shown(): string {
          return `*${this.#text.length}`;
        }
      })(),
      /instance of Secret whose data/,
    ],
  ])("a %s is refused, with what to pass instead", (_, value, remedy) => {
    expect(() => stringifyValue({ a: [value] }, "result")).toThrow(EncodeError);
    expect(() => stringifyValue({ a: [value] }, "result")).toThrow(/^result\.a\[0\] is /);
    expect(() => stringifyValue({ a: [value] }, "result")).toThrow(remedy);
  });

  test("an instance of a class is its own fields, or what its toJSON says", () => {
    expect(() => stringifyValue(new Odd())).toThrow(/instance of Odd whose data/);
    expect(again(new (class Empty {})())).toEqual({});
    expect(again(Object.assign(new Odd(), { a: 1 }))).toEqual({ a: 1 });
    expect(again({ url: new URL("http://x.example/") })).toEqual({ url: "http://x.example/" });
    expect(again({ toJSON: () => ({ when: new Date(0) }) })).toEqual({ when: new Date(0) });
  });
});

test("an object that stands in two places is no cycle", () => {
  const shared = { when: new Date(0) };
  expect(again({ a: shared, b: [shared, shared] })).toEqual({ a: shared, b: [shared, shared] });
});

test("undefined is null in arrays and at the top, and left out of objects", () => {
  expect(again([undefined, new Date(0)])).toEqual([null, new Date(0)]);
  expect(again([undefined, 1])).toEqual([null, 1]);
  expect(stringifyValue({ a: undefined, b: 1n })).toBe('{"b": 1}');
  expect(stringifyValue(undefined)).toBe("null");
});

test("an object with one more key than a tag, or one fewer, is an object", () => {
  const objects = [{ __type__: "datetime", __value__: "x", extra: 1 }, { __type__: "datetime" }, { __value__: 1 }];
  expect(again(objects)).toEqual(objects);
});

test.each([
  "nope",
  "{",
  "[1,]",
  '{"a" 1}',
  "{a: 1}",
  '["x]',
  '["\u0001", NaN]',
  '[NaN, "\\x"]',
  "[NaN] x",
  "01",
  "-",
  "+1",
  "",
  '{"__type__": "nope", "__value__": 1}',
  '{"__type__": null, "__value__": 1}',
  '{"__type__": ["datetime"], "__value__": 1}',
  '{"__type__": "datetime", "__value__": 1}',
  '{"__type__": "datetime", "__value__": "soon"}',
  '{"__type__": "uuid", "__value__": "ff"}',
  '{"__type__": "base64", "__value__": "%%%"}',
  '{"__type__": "bytes", "__value__": "\\ud800"}',
])("%s is a DecodeError", (text) => {
  expect(() => parseValue(text)).toThrow(DecodeError);
});

test("keys that mean something to objects are data", () => {
  const text = '{"__proto__": {"polluted": 1}, "constructor": 2, "hasOwnProperty": 3, "n": NaN}';
  for (const value of [parseValue(text), parseValue(text.replace("NaN", "1"))] as Record<string, unknown>[]) {
    expect(Object.keys(value)).toEqual(["__proto__", "constructor", "hasOwnProperty", "n"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(again(value) as object)).toEqual(Object.keys(value));
    expect((value as { polluted?: unknown }).polluted).toBeUndefined();
  }
});

describe("nesting", () => {
  const nested = (levels: number, inner: unknown): unknown => {
    let value = inner;
    for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { a: value };
    return value;
  };
  const text = (levels: number, inner: string) => "[".repeat(levels) + inner + "]".repeat(levels);

  test.each([
    ["plain", 1, "1"],
    ["tagged", new Date(0), "NaN"],
  ])("%s values pass up to the bound and are refused beyond, both ways", (_, inner, innerText) => {
    const tags = inner instanceof Date ? 1 : 0;
    expect(stringifyValue(nested(MAX_NESTING - tags, inner))).toContain("a");
    expect(refusal(nested(MAX_NESTING + 1, inner)).message).toMatch(/nested/);
    expect(refusal(nested(10_000, inner)).message).toMatch(/nested/);
    expect(() => parseValue(text(MAX_NESTING, innerText))).not.toThrow();
    expect(() => parseValue(text(MAX_NESTING + 1, innerText))).toThrow(DecodeError);
    expect(() => parseValue(text(10_000, innerText))).toThrow(/nested/);
    expect(() => parseValue("[".repeat(1_000_000))).toThrow(DecodeError);
  });

  test("brackets that will stand around the value count", () => {
    expect(() => stringifyValue(nested(MAX_NESTING - 1, 1), "", 1)).not.toThrow();
    expect(() => stringifyValue(nested(MAX_NESTING, 1), "", 1)).toThrow(EncodeError);
  });

  test("brackets in strings do not count", () => {
    const value = ["[".repeat(5000), '\\"[['.repeat(2000)];
    expect(again(value)).toEqual(value);
  });

  test("many brackets side by side are no nesting", () => {
    const value = Array.from({ length: 5000 }, () => [{}]);
    expect(again(value)).toEqual(value);
  });
});

describe("registerType", () => {
  class Money {
    readonly amount: Decimal;
    readonly currency: string;
    constructor(amount: string, currency: string) {
      this.amount = new Decimal(amount);
      this.currency = currency;
    }
  }

  test("lets a class travel under its own tag", () => {
    const read = (value: unknown) => {
      const [amount, currency] = value as [Decimal, string];
      return new Money(amount.text, currency);
    };
    registerType(Money, "shop.money", (money) => [money.amount, money.currency], read);
    const price = new Money("1.10", "EUR");
    expect(again({ price })).toEqual({ price });
    expect((again({ price }) as { price: unknown }).price).toBeInstanceOf(Money);
    expect(wire(price)).toMatchObject({ __type__: "shop.money" });
  });

  test("does not take kombu's own markers", () => {
    expect(() => registerType(Money, "datetime", String, () => new Money("1", "EUR"))).toThrow(ImproperlyConfigured);
  });

  test("what a decoder throws is a DecodeError", () => {
    registerType(
      Odd,
      "odd",
      () => 1,
      () => {
        throw new Error("not today");
      },
    );
    expect(() => again(new Odd())).toThrow(DecodeError);
  });
  class Odd {}
});

/** Everything that can travel, but for what JavaScript itself cannot keep: -0 and the order of keys like "1" are kept too. */
const carried = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false, Number.NaN, -0, Number.POSITIVE_INFINITY),
    fc.double(),
    fc.integer(),
    fc
      .bigInt()
      .map((n) => (n >= BigInt(Number.MIN_SAFE_INTEGER) && n <= BigInt(Number.MAX_SAFE_INTEGER) ? n + 2n ** 60n : n)),
    fc.string({ unit: "binary" }),
    fc.date({ min: new Date("0001-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59.999Z"), noInvalidDate: true }),
    fc.uint8Array(),
    fc.uuid().map((id) => new Uuid(id)),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => new Decimal(String(n))),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "__type__")), tie("value"), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
  ),
})).value;

test("whatever can travel comes back equal", () => {
  fc.assert(
    fc.property(carried, (value) => {
      expect(again(value)).toEqual(value);
    }),
    { numRuns: 500 },
  );
});

test("the fast way and the slow way read JSON alike", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      // NaN sends the text the slow way.
      expect(parseValue(`[NaN, ${text}]`)).toEqual([Number.NaN, parseValue(text)]);
    }),
    { numRuns: 300 },
  );
});

test("any text gives a value or a DecodeError", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom(
          '"',
          "\\",
          "[",
          "]",
          "{",
          "}",
          ",",
          ":",
          "1",
          "-",
          ".",
          "e",
          "NaN",
          "null",
          '"__type__"',
          "u0041",
          " ",
        ),
        { maxLength: 12 },
      ),
      (parts) => {
        try {
          parseValue(parts.join(""));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
