import { expect, test } from "vitest";
import { createLambdaLog } from "../../src/lambda/log.ts";
import { createMetrics } from "../../src/lambda/metrics.ts";
import { runTime } from "../../src/lambda/deadline.ts";

test("lines below Lambda's log level are not written, and the others are as those of `lovage worker`", () => {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLambdaLog({ now: () => 0, write, level: "WARN", requestId: () => "r" });
  log("info", "Received", { id: "1", task: "t", queue: "q", retries: 2 });
  log("error", "t[1]: failed", { id: "1", task: "t", queue: "q", retries: 2, message: "failed" });
  const facts = { message: "failed", id: "1", task: "t", queue: "q", attempt: 3 };
  const own = { timestamp: "1970-01-01T00:00:00.000Z", level: "ERROR", requestId: "r" };
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([{ ...own, ...facts }]);
});

test("a line of metrics has at most a hundred values of each, and counts are sums", () => {
  const metrics = createMetrics("task", () => true);
  for (let i = 0; i < 250; i++) {
    metrics.add("Received", "q", "t");
    metrics.add("RunTime", "q", "t", i);
  }
  const lines = metrics.flush(0).map((line) => JSON.parse(line) as { RunTime: number[]; Received?: number });
  expect(lines.map(({ RunTime }) => RunTime.length)).toEqual([100, 100, 50]);
  expect(lines.map(({ Received }) => Received)).toEqual([250, undefined, undefined]);
  expect(metrics.flush(0)).toEqual([]);
});

test("metrics pass a log level above INFO, and say nothing of a level where there is none", () => {
  const flushed = (level?: string) => {
    const metrics = createMetrics("task", () => true, level);
    metrics.add("Received", "q", "t");
    return JSON.parse(metrics.flush(0)[0] ?? "") as Record<string, unknown>;
  };
  // Lambda reads both, and takes a line that lacks either for INFO.
  expect(flushed("WARN")).toMatchObject({ level: "WARN", timestamp: "1970-01-01T00:00:00.000Z" });
  expect(flushed("FATAL")).toMatchObject({ level: "FATAL" });
  expect(Object.keys(flushed())).toEqual(["_aws", "QueueName", "TaskName", "Received"]);
});

test("five seconds of a function are kept for storing outcomes, and a fifth of a short one", () => {
  expect(runTime(70_000)).toBe(65_000);
  expect(runTime(10_000)).toBe(8_000);
});
