/** `lovage worker --cloudwatch-metrics`: lines among those of the log, of which CloudWatch makes metrics. */
import { expect, test } from "vitest";
import { place } from "./run.ts";

test.each(["async", "processes"])("what runs is counted by queue, in the pool %s", async (pool) => {
  const { app, worker } = place();
  const running = await worker(["--cloudwatch-metrics", "--log-format", "json", "-c", "1", "--pool", pool]);
  await (await app.sendTask("cli.add", [1, 2])).get({ timeout: 60 });
  await expect((await app.sendTask("cli.fail")).get({ timeout: 60 })).rejects.toThrow("too far");
  // What ends without a run is received, and has neither waited for its start nor run.
  const expired = await app.sendTask("cli.add", [1, 2], { expires: new Date(0) });
  await expect(expired.get({ timeout: 60 })).rejects.toThrow("expired");
  // What a task prints is a line of the log, and does not pass for one of these.
  await (await app.sendTask("cli.note", ["this"])).get({ timeout: 60 });
  running.process.kill("SIGTERM");
  expect((await running.exited).code).toBe(0);

  const lines = running
    .stdout()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => "_aws" in line);
  const total = (metric: string) =>
    lines.flatMap((line) => line[metric] ?? []).reduce((sum: number, value) => sum + Number(value), 0);
  expect(lines[0]).toMatchObject({
    _aws: { CloudWatchMetrics: [{ Namespace: "Lovage", Dimensions: [["QueueName"]] }] },
    QueueName: "celery",
  });
  expect([total("Received"), total("Succeeded"), total("Failed")]).toEqual([4, 2, 1]);
  expect(lines.flatMap((line) => line["RunTime"] ?? [])).toHaveLength(3);
  expect(lines.flatMap((line) => line["QueueToStart"] ?? [])).toHaveLength(3);
});
