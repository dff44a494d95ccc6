/** Bytes as base64, by what Node has of its own and by what every runtime has. */
import fc from "fast-check";
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
