/**
 * bunqueue under Bun: a server on a SQLite file that worker and submitter talk to (`BENCH_BUNQUEUE` is its port), or embedded,
 * where both are one process. `addBulk`, a concurrent worker, results by its events.
 */
import { nodePeers } from "../cache.ts";
import { drive } from "./drive.ts";

const port = process.env.BENCH_BUNQUEUE;
const where =
  port === undefined
    ? { embedded: true, dataPath: "bench.db" }
    : { connection: { host: "127.0.0.1", port: Number(port) } };
const { Queue, QueueEvents, Worker } = await import(nodePeers().resolve("bunqueue/client"));
const CHUNK = 1000;

const startWorker = () => new Worker("bench", async ({ data: { x, y } }) => x + y, { ...where, concurrency: 100 });

await drive({
  async worker() {
    const worker = startWorker();
    return () => worker.close();
  },
  async submit() {
    const queue = new Queue("bench", where);
    const events = new QueueEvents("bench", where);
    const worker = port === undefined ? startWorker() : undefined;
    const waiting = new Map();
    const early = new Map();
    events.on("completed", ({ jobId, returnvalue }) => {
      const resolve = waiting.get(jobId);
      if (resolve === undefined) early.set(jobId, returnvalue);
      else {
        waiting.delete(jobId);
        resolve(returnvalue);
      }
    });
    await events.waitUntilReady?.();
    const resultOf = (jobId) => {
      if (early.has(jobId)) {
        const value = early.get(jobId);
        early.delete(jobId);
        return value;
      }
      return new Promise((resolve) => waiting.set(jobId, resolve));
    };
    return {
      async bulk(count) {
        const results = [];
        for (let from = 0; from < count; from += CHUNK) {
          const length = Math.min(CHUNK, count - from);
          const jobs = await queue.addBulk(
            Array.from({ length }, (_, index) => ({ name: "add", data: { x: from + index, y: 1 } })),
          );
          for (const job of jobs) results.push(resultOf(job.id));
        }
        return Promise.all(results);
      },
      async one(x, y) {
        const job = await queue.add("add", { x, y });
        return resultOf(job.id);
      },
      async close() {
        await worker?.close();
        await events.close();
        await queue.close();
      },
    };
  },
});
