/** What a worker is done with is garbage at once. A file of its own: V8 keeps more once it has seen calls that live long. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { expect, onTestFinished, test } from "vitest";

/** So many tasks at a time: of more than that some would rightly live through a collection. */
const BATCH = 50;
const BATCHES = 60;
/** Bytes that may have grown old: the last of the tasks are ending. With what each leaves it were 10 MB. */
const MOST = 4 * 2 ** 20;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (options?: { readonly type: "minor" }) => void;
const old = () => getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space")?.space_used_size ?? 0;

test("what a task leaves is gone with the next small collections of garbage, and does not wait for a full one", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-garbage-"));
  const app = new Lovage("garbage", { brokerUrl: `sqlite:///${join(folder, "lovage.db")}` });
  onTestFinished(async () => {
    await app.close();
    rmSync(folder, { recursive: true });
  });
  let ran = 0;
  let over = Promise.withResolvers<void>();
  const note = app.task("note", { ignoreResult: true }, (_: string) => {
    if (++ran % BATCH === 0) over.resolve();
  });
  const worker = await startWorker(app, { concurrency: BATCH });
  const run = async () => {
    for (let i = 0; i < BATCHES; i++) {
      over = Promise.withResolvers();
      await Promise.all(Array.from({ length: BATCH }, (_, at) => note.delay(String(at).padEnd(200, "x"))));
      await over.promise;
    }
  };

  await run();
  // All that lives is old from here on, and what is old keeps what it points to.
  collect();
  collect();
  const before = old();
  await run();
  // What lives through two of these is old.
  collect({ type: "minor" });
  collect({ type: "minor" });
  const after = old();
  await worker.stop();

  expect(ran).toBe(2 * BATCH * BATCHES);
  expect(after - before).toBeLessThan(MOST);
});
