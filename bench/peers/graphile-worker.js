/**
 * graphile-worker with its local queue and batched completion, as its documentation advises for speed. It stores no
 * results: done is a job that is gone, and what is read back is only that.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { nodePeers } from "../cache.ts";
import { drive } from "./drive.ts";

const load = nodePeers();
const { makeWorkerUtils, run } = load("graphile-worker");
const { Pool } = load("pg");
const pool = () => new Pool({ host: process.env.BENCH_POSTGRES, user: "bench", database: "postgres", max: 10 });
const CHUNK = 1000;
/** Nobody is told that a job is done: it is looked for so often. */
const LOOK_MS = 5;
const quiet = { preset: { worker: { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0 } } };

await drive({
  async worker() {
    const runner = await run({
      ...quiet,
      pgPool: pool(),
      noHandleSignals: true,
      taskList: { add: async ({ x, y }) => void (x + y) },
    });
    return () => runner.stop();
  },
  async submit() {
    const pgPool = pool();
    const utils = await makeWorkerUtils({ pgPool });
    await utils.migrate();
    async function gone(ids) {
      for (;;) {
        const { rows } = await pgPool.query(
          "SELECT count(*)::int AS n FROM graphile_worker._private_jobs WHERE id = ANY($1::bigint[])",
          [ids],
        );
        if (rows[0].n === 0) return;
        await sleep(LOOK_MS);
      }
    }
    return {
      async bulk(count) {
        const ids = [];
        for (let from = 0; from < count; from += CHUNK) {
          const length = Math.min(CHUNK, count - from);
          const jobs = await utils.addJobs(
            Array.from({ length }, (_, index) => ({ identifier: "add", payload: { x: from + index, y: 1 } })),
          );
          for (const job of jobs) ids.push(job.id);
        }
        await gone(ids);
        return Array.from({ length: count }, (_, index) => index + 1);
      },
      async one(x, y) {
        const job = await utils.addJob("add", { x, y });
        await gone([job.id]);
        return x + y;
      },
      async close() {
        await utils.release();
        await pgPool.end();
      },
    };
  },
});
