import { expect, test } from "vitest";
import { callThirdParty, mostWithin } from "./third-party.ts";

test("the most in any window", () => {
  expect([mostWithin([], 10), mostWithin([0, 10, 20], 10), mostWithin([0, 9, 10, 18, 19], 10)]).toEqual([0, 1, 3]);
});

test("a third party of 60/m is asked no oftener by real workers of which some are killed", async () => {
  const counted = await callThirdParty(10, "60/m", 1, 3_000);
  expect(counted.kills).toBeGreaterThan(0);
  expect(counted.requests).toBeGreaterThanOrEqual(5);
  // A minute's windows hold all of it. What comes late on a machine that is busy may meet what is in time.
  expect(counted.mostInPeriod).toBeLessThanOrEqual(counted.allowed + 1);
  expect(counted.requests).toBeLessThanOrEqual(counted.allowed + 1);
});
