import fc from "fast-check";
import { expect, test } from "vitest";
import { brief, clip, harmless, harmlessJson, harmlessLine, maskUrl } from "../src/brief.ts";
import { computing } from "./measured.ts";

const cycle: unknown[] = [];
cycle.push(cycle);

test.each<[unknown, string]>([
  ["text", '"text"'],
  [[1, { a: [true, null, undefined] }], '[1,{"a":[true,null,null]}]'],
  [{ a: undefined, b: () => 1, c: 1n }, '{"c":1}'],
  [undefined, "undefined"],
  [10n ** 20n, "100000000000000000000"],
  [Number.NaN, "NaN"],
  [new Uint8Array(10), '"(10 bytes)"'],
  [new Date(0), '"1970-01-01T00:00:00.000Z"'],
  [new RangeError("no"), '"RangeError: no"'],
  [cycle, '["(contains itself)"]'],
  [Symbol("s"), "Symbol(s)"],
])("%o is shown as %s", (value, text) => {
  expect(brief(value, 1000)).toBe(text);
});

test("whatever throws is said to be so", () => {
  const thrower = () => {
    throw new Error("no");
  };
  for (const value of [Object.defineProperty({}, "a", { get: thrower, enumerable: true }), { toJSON: thrower }])
    expect(brief([value], 1000)).toContain("(a value that cannot be shown)");
});

test("no more is written out than is shown", async () => {
  const large = { bytes: new Uint8Array(10_000_000), text: "x".repeat(10_000_000), list: Array(1_000_000).fill([1]) };
  const ms = await computing(() => {
    for (const value of [large, large.list, [large.text], Array(1000).fill(large)])
      expect(brief(value, 1024).length).toBeLessThanOrEqual(1024);
  });
  expect(ms).toBeLessThan(1000);
});

test("a value of JSON is shown as its JSON, or as the beginning of it", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.integer({ min: 1, max: 50 }), (value, length) => {
      const json = JSON.stringify(value);
      // Its -0 is shown.
      fc.pre(!json.includes("-0") && !JSON.stringify(value, (_, v) => (Object.is(v, -0) ? "-0" : v)).includes('"-0"'));
      expect(brief(value, json.length + 10)).toBe(json);
      const short = brief(value, length);
      expect(short.length).toBeLessThanOrEqual(length);
      if (json.length > length) expect(short.endsWith("…")).toBe(true);
    }),
  );
});

test("nothing shown controls a terminal, and JSON still says the same", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(harmless(text)).not.toMatch(/[^\t\n\P{Cc}]|[\u2028-\u202e\u2066-\u2069]/u);
      expect(harmlessLine(text)).not.toMatch(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
      const json = harmlessJson(JSON.stringify([text]));
      expect(json).not.toMatch(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
      expect(JSON.parse(json)).toEqual([text]);
    }),
  );
  expect(harmless("\u001b[2J\u009b1m\u202e")).toBe("\\x1b[2J\\x9b1m\\u202e");
  expect(clip("abcdef", 3)).toBe("ab…");
});

test.each([
  ["memory://me:secret@here", "memory://me:**@here"],
  ["sqlite:///jobs.db?password=secret&a=1", "sqlite:///jobs.db?password=**&a=1"],
  ["sqs://KEY:se/cr:et@@eu-west-1?queue_name_prefix=a", "sqs://KEY:**@eu-west-1?queue_name_prefix=a"],
  ["sqs://eu-west-1?secret_access_key=secret", "sqs://eu-west-1?secret_access_key=**"],
  ["dynamodb://eu-west-1/results?keys=python&api_key=secret", "dynamodb://eu-west-1/results?keys=python&api_key=**"],
  ["https://a/b?apikeys=secret&keys=python", "https://a/b?apikeys=**&keys=python"],
  ["sqlite:////var/jobs.db", "sqlite:////var/jobs.db"],
])("%s is shown as %s", (url, shown) => {
  expect(maskUrl(url)).toBe(shown);
});

test("a mask takes no longer than the text is", async () => {
  const ms = await computing(() => {
    maskUrl(`sqs://${"a:".repeat(200_000)}`);
    maskUrl(`sqs://a?${"key".repeat(100_000)}`);
    maskUrl("?".repeat(100_000));
  });
  expect(ms).toBeLessThan(500);
});
