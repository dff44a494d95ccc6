/** liteque on a file, in WAL mode as it is faster. It stores no results: done is a job that is gone, and what is read back is only that. */
import { setTimeout as sleep } from "node:timers/promises";
import { nodePeers } from "../cache.ts";
import { drive } from "./drive.ts";

const load = nodePeers();
const { buildDBClient, Runner, SqliteQueue } = load("liteque");
const { z } = load("zod");
const Database = load("better-sqlite3");
/**
 * It takes jobs in a transaction whose function is async, which better-sqlite3 refuses by now. Here that function runs without the
 * transaction: it would have ended at its first `await`. There is one worker, so nobody comes between.
 */
Database.prototype.transaction = (work) => ({ deferred: work, immediate: work, exclusive: work });
const CHUNK = 1000;
/** Nobody is told of a job, nor that it is done: either is looked for so often. */
const LOOK_MS = 5;
const job = z.object({ x: z.number(), y: z.number() });
const open = () =>
  new SqliteQueue("add", buildDBClient("bench.db", { runMigrations: true, walEnabled: true }), {
    defaultJobArgs: { numRetries: 2 },
    keepFailedJobs: true,
  });

await drive({
  async worker() {
    const funcs = {
      run: async ({ data: { x, y } }) => void (x + y),
      onError: async ({ error }) => console.error(error),
    };
    const runner = new Runner(open(), funcs, {
      concurrency: 100,
      pollIntervalMs: LOOK_MS,
      timeoutSecs: 60,
      validator: job,
    });
    const running = runner.run();
    return async () => {
      runner.stop();
      await running;
    };
  },
  async submit() {
    const queue = open();
    async function gone() {
      for (;;) {
        const { pending, pending_retry, running, failed } = await queue.stats();
        if (failed > 0) throw new Error(`${failed} jobs failed`);
        if (pending + pending_retry + running === 0) return;
        await sleep(LOOK_MS);
      }
    }
    return {
      async bulk(count) {
        for (let from = 0; from < count; from += CHUNK) {
          const length = Math.min(CHUNK, count - from);
          await Promise.all(Array.from({ length }, (_, index) => queue.enqueue({ x: from + index, y: 1 })));
          // Others are let at the file.
          await sleep(0);
        }
        await gone();
        return Array.from({ length: count }, (_, index) => index + 1);
      },
      async one(x, y) {
        await queue.enqueue({ x, y });
        await gone();
        return x + y;
      },
      async close() {},
    };
  },
});
