/** pg-boss as its documentation advises for speed: `insert` in bulk, large batches, workers that PostgreSQL wakes. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { nodePeers } from "../cache.ts";
import { drive } from "./drive.ts";

const load = nodePeers();
const { PgBoss } = load("pg-boss");
const { Pool } = load("pg");
const connection = { host: process.env.BENCH_POSTGRES, user: "bench", database: "postgres" };
const QUEUE = "bench";
const CHUNK = 1000;
/** pg-boss tells nobody of a result: it is looked for so often. */
const LOOK_MS = 5;

async function open() {
  const boss = new PgBoss({ ...connection, useListenNotify: true });
  boss.on("error", console.error);
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  return boss;
}

await drive({
  async worker() {
    const boss = await open();
    await boss.work(QUEUE, { batchSize: CHUNK, burstWhenBatchFull: true, perJobResults: true }, async (jobs) =>
      jobs.map(({ id, data }) => ({ id, status: "completed", output: { sum: data.x + data.y } })),
    );
    return () => boss.stop();
  },
  async submit() {
    const boss = await open();
    const pool = new Pool(connection);
    const done = "FROM pgboss.job WHERE name = $1 AND state = 'completed' AND id = ANY($2::uuid[])";
    async function resultsOf(ids) {
      for (;;) {
        const { rows } = await pool.query(`SELECT count(*)::int AS n ${done}`, [QUEUE, ids]);
        if (rows[0].n === ids.length) break;
        await sleep(LOOK_MS);
      }
      const { rows } = await pool.query(`SELECT id, output ${done}`, [QUEUE, ids]);
      const sums = new Map(rows.map(({ id, output }) => [id, output.sum]));
      return ids.map((id) => sums.get(id));
    }
    return {
      async bulk(count) {
        const ids = Array.from({ length: count }, () => randomUUID());
        for (let from = 0; from < count; from += CHUNK) {
          const chunk = ids.slice(from, from + CHUNK);
          await boss.insert(
            QUEUE,
            chunk.map((id, index) => ({ id, data: { x: from + index, y: 1 } })),
          );
        }
        const results = [];
        for (let from = 0; from < count; from += CHUNK)
          results.push(...(await resultsOf(ids.slice(from, from + CHUNK))));
        return results;
      },
      async one(x, y) {
        const [result] = await resultsOf([await boss.send(QUEUE, { x, y })]);
        return result;
      },
      async close() {
        await pool.end();
        await boss.stop();
      },
    };
  },
});
