import { expect, test } from "vitest";
import { summarizer } from "../../src/journal/summary.ts";

test("percentiles are values that there were: half, 95 and 99 of a hundred took no longer", () => {
  const summary = summarizer({ from: 0, to: 1000, step: 1000 });
  for (let n = 100; n >= 1; n--) summary.add({ time: n, kind: "task", state: "SUCCESS", runtime: n, waited: n / 10 });
  expect(summary.list()).toMatchObject([
    {
      time: 0,
      ended: 100,
      throughput: 100,
      runtime: { p50: 50, p95: 95, p99: 99 },
      waited: { p50: 5, p95: 9.5, p99: 9.9 },
    },
  ]);
});

test("a step has its first instant and not its last, and the last step may be shorter than the others", () => {
  const summary = summarizer({ from: 0, to: 2500, step: 1000 });
  for (const time of [-1, 0, 999, 1000, 2499, 3000]) summary.add({ time, kind: "task", state: "FAILURE" });
  expect(summary.list().map(({ time, failed, throughput }) => [time, failed, throughput])).toEqual([
    [0, 2, 2],
    [1000, 1, 1],
    [2000, 1, 2],
  ]);
});

test("only attempts count: what else is told is no work", () => {
  const summary = summarizer({ from: 0, to: 10, step: 10 });
  summary.add({ time: 1, kind: "join", state: "FAILURE" });
  summary.add({ time: 1, kind: "running", state: "STARTED", runtime: 5 });
  summary.add({ time: 1, kind: "task", state: "RETRY" });
  summary.add({ time: 1, kind: "task", state: "REVOKED" });
  expect(summary.list()).toMatchObject([{ ended: 2, retried: 1, revoked: 1, failed: 0, runtime: { p50: null } }]);
});
