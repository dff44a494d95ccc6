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
/** The median counts: a full collection of V8's own may fall into one of these, and other small ones into another. */
const ROUNDS = 5;
/** Bytes that may have grown old: the last of the tasks are ending. With what each leaves it were 10 MB. */
const MOST = 4 * 2 ** 20;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (options?: { readonly type: "minor" }) => void;
const old = () => getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space")?.space_used_size ?? 0;

// Anew where V8 had by chance made the table of a `Set` old: what leaks by itself does so each time.
test("what a task leaves is gone with the next small collections of garbage, and does not wait for a full one", {
  retry: 2,
}, async () => {
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

  // All that lives is old from here on, and what is old keeps what it points to.
  await run();
  collect();
  // Such a collection makes the young generation small, and while it grows again a task lives through two small ones.
  const grown: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = old();
    await run();
    // What lives through two of these is old.
    collect({ type: "minor" });
    collect({ type: "minor" });
    grown.push(old() - before);
  }
  await worker.stop();

  expect(ran).toBe((1 + ROUNDS) * BATCH * BATCHES);
  expect(grown.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)]).toBeLessThan(MOST);
});
