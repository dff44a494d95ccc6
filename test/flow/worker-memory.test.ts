/** A worker holds what it has in hand, however much there is in the queue and however much has gone through it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { expect, onTestFinished, test } from "vitest";

const TASKS = 3000;
/** Bytes of each message's argument, and of each result: 60 MB of either in all. */
const SIZE = 20_000;
/** What the worker may hold more at any time than after its first tenth, in bytes: some 50 of thousands of messages. */
const MOST = 2 * 2 ** 20;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const held = () => {
  collect();
  return process.memoryUsage().heapUsed;
};

test(`${TASKS} tasks of ${SIZE / 1000} KB need no more memory than the first of them`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-memory-"));
  const app = new Lovage("memory", { brokerUrl: `sqlite:///${join(folder, "lovage.db")}` });
  onTestFinished(async () => {
    await app.close();
    rmSync(folder, { recursive: true });
  });
  const heap: number[] = [];
  let ran = 0;
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const echo = app.task("echo", (text: string) => {
    if (ran % (TASKS / 10) === 0) heap.push(held());
    if (++ran === TASKS) resolve();
    return text;
  });
  const calls = function* () {
    for (let i = 0; i < TASKS; i++) yield echo.s(String(i).padEnd(SIZE, "x"));
  };
  await app.sendMany(calls());

  const worker = await startWorker(app, { concurrency: 10 });
  await done;
  await worker.stop();
  heap.push(held());

  const [, first = 0, ...later] = heap;
  expect(heap).toHaveLength(11);
  expect(Math.max(...later) - first).toBeLessThan(MOST);
});
