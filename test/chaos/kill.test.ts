import { expect, test } from "vitest";
import { chaos, faults } from "./kill.ts";

test("300 tasks on real workers of which ten are killed: nothing is lost, and nothing is counted twice", {
  timeout: 300_000,
}, async () => {
  const figures = await chaos(300, 10, Math.floor(Math.random() * 1_000_000));
  expect([figures, faults(figures, 10)]).toEqual([figures, []]);
});
