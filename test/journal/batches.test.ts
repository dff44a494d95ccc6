import fc from "fast-check";
import { expect, test } from "vitest";
import { type Batch, entriesOf, lastOf, mergeBatches } from "../../src/journal/batches.ts";
import type { JournalEntry } from "../../src/journal/entry.ts";

async function* listed(batches: readonly Batch[]): AsyncGenerator<Batch, void, undefined> {
  yield* batches;
}

test("whatever batches entries came in, and however these overlap, they come out newest first, each once", async () => {
  const batch = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 6 });
  const source = fc.array(batch, { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(source, { maxLength: 4 }),
      fc.integer({ min: 0, max: 50 }),
      fc.integer({ min: 0, max: 50 }),
      async (sources, from, to) => {
        let n = 0;
        const all: JournalEntry[] = [];
        const made = sources.map((batches) =>
          batches
            .map((times) => {
              const entries = times.map((time): JournalEntry => ({ time, kind: "task", id: String(n++) }));
              all.push(...entries);
              return { last: lastOf(entries), entries };
            })
            .sort((a, b) => b.last - a.last),
        );
        const out: JournalEntry[] = [];
        for await (const page of entriesOf(mergeBatches(made.map(listed)), { from, to })) out.push(...page);
        const wanted = all.filter(({ time }) => time >= from && time < to);
        expect(out.map(({ time }) => time)).toEqual(wanted.map(({ time }) => time).sort((a, b) => b - a));
        expect(new Set(out.map(({ id }) => id))).toEqual(new Set(wanted.map(({ id }) => id)));
      },
    ),
  );
});

test("no more of a source is asked for than is needed", async () => {
  let asked = 0;
  async function* endless(): AsyncGenerator<Batch, void, undefined> {
    for (let last = 1000; ; last--) {
      asked++;
      yield { last, entries: [{ time: last, kind: "task" }] };
    }
  }
  for await (const page of entriesOf(mergeBatches([endless()]), { from: 0, to: 2000 })) {
    expect(page).toHaveLength(1);
    break;
  }
  expect(asked).toBeLessThanOrEqual(3);
});
