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
    time: fc.oneof(fc.integer({ min: 0 }), fc.double({ min: 0, max: 2 ** 45, noNaN: true })),
    kind: fc.constantFrom("task", "later") as fc.Arbitrary<JournalEntry["kind"]>,
    id: fc.string(),
    task: fc.constantFrom("a", "b"),
    state: fc.constantFrom("SUCCESS", "FAILURE"),
    args: fc.string(),
    waited: number,
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

test("entries that were stored one by one are read too", () => {
  const entries = [
    { time: 1, kind: "task", id: "a" },
    { time: 2, kind: "task" },
  ];
  expect(readEntries(JSON.stringify([...entries, { id: "no entry" }]))).toEqual(entries);
});

test("times and seconds are written as short integers", () => {
  const entries = [0, 1, 2].map((index) => ({
    time: 2 ** 20 + 5 + index,
    kind: "task" as const,
    waited: (index * 7) / 1e3,
    runtime: (index * 13) / 1e6,
  }));
  expect(JSON.parse(writeEntries(entries))).toMatchObject({
    same: [{ kind: "task", time: 2 ** 20 }],
    time: [5, 6, 7],
    waited: [0, 7000, 14_000],
    runtime: [0, 13, 26],
  });
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
  expect(writeEntries(entries).length).toBeLessThan(JSON.stringify(entries).length / 3);
});

test.each([
  "",
  "[]",
  "null",
  "{}",
  '{"same":[]}',
  '{"same":[{"time":1,"kind":"task"}],"place":0,"time":[1],"id":[],"args":[],"waited":[],"runtime":[],"rest":{}}',
  '{"same":[{"time":1,"kind":"task"}],"place":[1],"time":[1],"id":[],"args":[],"waited":[],"runtime":[],"rest":{}}',
  '{"same":[{"time":1,"kind":"task"}],"place":[],"time":["a"],"id":[],"args":[],"waited":[],"runtime":[],"rest":{}}',
  '{"same":[{"time":1,"kind":"task"}],"place":[],"time":[1],"id":[],"args":[],"waited":[],"runtime":[],"rest":null}',
  '{"same":[{"time":1}],"place":[],"time":[1],"id":[],"args":[],"waited":[],"runtime":[],"rest":{}}',
  '{"same":[null],"place":[],"time":[1],"id":[],"args":[],"waited":[],"runtime":[],"rest":{}}',
])("%j is no entries", (text) => {
  expect(readEntries(text)).toEqual([]);
});
