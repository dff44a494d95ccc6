import fc from "fast-check";
import { expect, test } from "vitest";
import { DecodeError } from "../../src/errors.ts";
import { decodeEnvelope, peekEnvelope } from "../../src/protocol/envelope.ts";
import { decodeMeta } from "../../src/protocol/meta.ts";
import { payloadOf, type RecordedItem, type RecordedMessage, recordings } from "./recordings.ts";

const bodies = recordings<RecordedMessage>("messages").map(([, { sqsBody }]) => sqsBody);
const envelopes = bodies.map((body) => (body.startsWith("{") ? body : Buffer.from(body, "base64").toString()));
const metas = recordings<{ item: RecordedItem | null }>("results").flatMap(([, { item }]) =>
  item ? [payloadOf(item)] : [],
);

/** A change of a text: something replaced by something else that means something to JSON, base64 or Celery. */
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  drop: fc.oneof({ weight: 4, arbitrary: fc.nat(2) }, fc.nat(20)),
  insert: fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom("a", "1", " ") },
    fc.constantFrom(
      "",
      "null",
      "{}",
      "[]",
      '"',
      "}",
      "]",
      ",",
      "NaN",
      "9".repeat(20),
      '{"__type__": "datetime", "__value__": 1}',
      "\\u0000",
      "=",
      "\ud800",
      "[".repeat(2000),
    ),
    fc.string({ maxLength: 5 }),
  ),
});

function apply(
  text: string,
  edits: readonly { readonly at: number; readonly drop: number; readonly insert: string }[],
): string {
  let result = text;
  for (const { at, drop, insert } of edits) {
    const start = Math.floor(at * result.length);
    result = result.slice(0, start) + insert + result.slice(start + drop);
  }
  return result;
}

const SEED = { seed: 20_261_124 };

test("a damaged message is read, or is a DecodeError, and nothing else", async () => {
  const sources = fc.constantFrom(...bodies, ...envelopes);
  let readable = 0;
  await fc.assert(
    fc.asyncProperty(sources, fc.array(edit, { minLength: 1, maxLength: 3 }), async (body, edits) => {
      const text = apply(body, edits);
      expect(() => peekEnvelope(text)).not.toThrow();
      try {
        const message = await decodeEnvelope(text, {
          accept: ["json", "yaml", "msgpack"],
          maxInflatedBytes: 1_000_000,
        });
        readable += 1;
        expect([typeof message.id, typeof message.task, Array.isArray(message.args)]).toEqual([
          "string",
          "string",
          true,
        ]);
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }),
    { ...SEED, numRuns: 4000 },
  );
  // Or the test would say nothing about either kind.
  expect(readable).toBeGreaterThan(100);
  expect(readable).toBeLessThan(3900);
});

test("a message with one member replaced is read, or is a DecodeError, and nothing else", async () => {
  const member = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>(undefined, "", "base64", "hex", "application/x-msgpack", "gzip", "zstd", -1, 1e300),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...envelopes), fc.nat(), member, async (source, index, value) => {
      const envelope = JSON.parse(source) as Record<string, Record<string, unknown>>;
      const places = Object.keys(envelope).flatMap((key) => [
        [envelope, key],
        ...(typeof envelope[key] === "object" ? Object.keys(envelope[key]).map((inner) => [envelope[key], inner]) : []),
      ]);
      const [holder, key] = places[index % places.length] as [Record<string, unknown>, string];
      holder[key] = value;
      try {
        await decodeEnvelope(JSON.stringify(envelope), { accept: ["json", "yaml", "msgpack"] });
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }),
    { ...SEED, numRuns: 2000 },
  );
});

test("a damaged result is read, or is a DecodeError, and nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...metas),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      async (payload, flips) => {
        const damaged = payload.slice();
        for (const [at, byte] of flips) damaged[at % damaged.length] = byte;
        try {
          await decodeMeta(damaged, { maxInflatedBytes: 1_000_000 });
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      },
    ),
    { ...SEED, numRuns: 2000 },
  );
});
