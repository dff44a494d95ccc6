/** Bytes as base64, by what Node has of its own and by what every runtime has. */
import fc from "fast-check";
import { DecodeError } from "lovage";
import { afterEach, expect, test, vi } from "vitest";
import { base64ToBytes, bytesToBase64 } from "../../src/protocol/bytes.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

test.each([true, false])("any bytes come back, and read alike, where there is a Buffer: %s", (isNode) => {
  const expected = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100_000 }), fc.nat(10), (all, from) => {
      // A view of a larger buffer, too.
      const bytes = all.subarray(from);
      const text = expected(bytes);
      if (!isNode) vi.stubGlobal("Buffer", undefined);
      expect(bytesToBase64(bytes)).toBe(text);
      expect(base64ToBytes(text)).toEqual(new Uint8Array(bytes));
      vi.unstubAllGlobals();
    }),
    { numRuns: 50 },
  );
});

const large = new Uint8Array(600_000).map((_, at) => at * 7);

test.each([
  ["whole groups", (text: string) => text],
  ["one that ends within a group", (text: string) => text.slice(0, -2)],
  ["one with padding", (text: string) => `${text.slice(0, -2)}==`],
  ["one of just so many characters as are read at a time", (text: string) => text.slice(0, 2 ** 19)],
  ["one with a line break after 76 characters", (text: string) => text.replaceAll(/.{76}/g, "$&\n")],
  ["one with a single space, far behind", (text: string) => `${text.slice(0, 500_001)} ${text.slice(500_001)}`],
])("a long text is read as a short one: %s", (_, change) => {
  const text = change(bytesToBase64(large));
  expect(Buffer.compare(base64ToBytes(text), Buffer.from(text, "base64"))).toBe(0);
});

test.each([
  ["a sign that is none", (text: string) => `${text.slice(0, 100)}!${text.slice(101)}`],
  ["padding in the middle", (text: string) => `${text.slice(0, 2 ** 18 - 2)}==${text.slice(2 ** 18)}`],
  ["one character too many", (text: string) => `${text}A`],
])("a long text with %s is refused", (_, change) => {
  expect(() => base64ToBytes(change(bytesToBase64(large)))).toThrow(DecodeError);
});
