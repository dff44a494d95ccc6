import fc from "fast-check";
import { expect, test } from "vitest";
import { type JournalEntry, readEntries, writeEntries } from "../../src/journal/entry.ts";

/** Seconds to the millisecond and to the microsecond, large and small, and what has no end of digits. */
const number = fc.oneof(
  fc.integer(),
  fc.integer({ min: 0 }).map((parts) => parts / 1e3),
  fc.integer({ min: 0 }).map((parts) => parts / 1e6),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
);
const field = fc.oneof(fc.string({ maxLength: 3 }), fc.integer(), fc.boolean(), fc.constant({ type: "Error" }));
const entry = fc.record(
  {
    time: fc.integer({ min: 0 }),
    kind: fc.constantFrom("task", "later") as fc.Arbitrary<JournalEntry["kind"]>,
    id: fc.string(),
    toString: fc.string(),
    begins: fc.array(fc.string()),
    runtime: number,
    one: field,
    two: fc.oneof(field, number),
  },
  { requiredKeys: ["time", "kind"] },
);

test("whatever they have in common, entries are read as they were written", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
      expect(readEntries(writeEntries(entries))).toEqual(entries);
    }),
  );
});

test("entries that were stored one by one, as at first, are read too", () => {
  const entries = [
    { time: 1, kind: "task", id: "a" },
    { time: 2, kind: "task" },
  ];
  expect(readEntries(JSON.stringify([...entries, { id: "no entry" }]))).toEqual(entries);
});

test("times and seconds are written as short integers", () => {
  const entries = [0, 1, 2].map((index) => ({
    time: 1_790_000_000_000 + index,
    kind: "task" as const,
    waited: (index * 7) / 1e3,
    runtime: (index * 13) / 1e6,
  }));
  expect(JSON.parse(writeEntries(entries)).each).toEqual({ time: [0, 1, 2], waited: [0, 7, 14], runtime: [0, 13, 26] });
  expect(readEntries(writeEntries(entries))).toEqual(entries);
});

test("what all of them have is written once", () => {
  const entries = Array.from({ length: 100 }, (_, index) => ({
    time: 1_790_000_000_000 + index,
    kind: "task" as const,
    task: "shop.send_receipt",
    queue: "celery",
    state: "SUCCESS",
    worker: "celery@a-long-name-of-a-host",
  }));
  expect(writeEntries(entries).split("shop.send_receipt")).toHaveLength(2);
  expect(writeEntries(entries).length).toBeLessThan(JSON.stringify(entries).length / 5);
});

test.each([
  "",
  "[]",
  "null",
  "{}",
  '{"count":1e9}',
  '{"count":2,"same":null,"each":{}}',
  '{"count":1e9,"same":{"time":1,"kind":"task"},"each":{}}',
  '{"count":-1,"same":{},"each":{}}',
  '{"count":1,"same":{"kind":"task"},"each":{"time":[1]},"scales":null}',
  '{"count":1,"same":{"kind":"task"},"each":{"time":[1]},"scales":{"time":{}}}',
])("%j is no entries", (text) => {
  expect(readEntries(text)).toEqual([]);
});
