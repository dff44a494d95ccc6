import { expect, test } from "vitest";
import { chaos, faults } from "./kill.ts";
import { isExplained } from "./witness.ts";

test.each([
  ["its process was killed in between", [7], true],
  ["who had started its process was killed in between", [8, 7], true],
  ["nobody was killed", [8], false],
  ["its process was killed when it had long run again", [9], false],
])("that a task runs again: %s", (_, processes, explained) => {
  const kills = new Map([
    [7, 150],
    [9, 250],
  ]);
  const runs = [
    { id: "id-1", retries: 0, at: 100, processes },
    { id: "id-1", retries: 0, at: 200, processes: [10] },
  ];
  expect(isExplained(runs, kills)).toBe(explained);
});

test("300 tasks on real workers of which ten are killed: nothing is lost, and nothing is counted twice", {
  timeout: 300_000,
}, async () => {
  const figures = await chaos(300, 10, Math.floor(Math.random() * 1_000_000));
  expect([figures, faults(figures, 10)]).toEqual([figures, []]);
});
