import { expect, test } from "vitest";
import { shareJob } from "../../src/unit.ts";

function make(beginsAtOnce: boolean) {
  const ran: number[][] = [];
  const share = shareJob<number, number>(async (items, _, begun) => {
    if (!beginsAtOnce) await Promise.resolve();
    begun();
    ran.push([...items]);
    return items.map((item) => item * 2);
  });
  return { ran, ask: (...items: number[]) => share(items, undefined) };
}

test("what is asked for until a job begins is one job, and each is told of its own", async () => {
  const { ran, ask } = make(false);
  expect(await Promise.all([ask(1, 2), ask(3), ask(4, 5)])).toEqual([[2, 4], [6], [8, 10]]);
  expect(ran).toEqual([[1, 2, 3, 4, 5]]);
});

test.each([true, false])("what is asked for after one that asked for nothing is done (at once: %s)", async (atOnce) => {
  const { ran, ask } = make(atOnce);
  expect(await ask()).toEqual([]);
  expect(await ask(1)).toEqual([2]);
  expect(await ask(2)).toEqual([4]);
  expect(ran).toEqual([[1], [2]]);
});
