/** BullMQ as its documentation advises for speed: `addBulk`, a concurrent worker, results by its events. */
import { nodePeers } from "../cache.ts";
import { drive } from "./drive.ts";

const { FlowProducer, Queue, QueueEvents, Worker } = nodePeers()("bullmq");
const connection = { path: process.env.BENCH_REDIS, maxRetriesPerRequest: null };
/** Jobs of one `addBulk`: one MULTI each. */
const CHUNK = 1000;

async function run(job) {
  if (job.name === "add") return job.data.x + job.data.y;
  const values = Object.values(await job.getChildrenValues());
  return values.reduce((sum, value) => sum + value, job.name === "increment" ? 1 : 0);
}

await drive({
  async worker() {
    const worker = new Worker("bench", run, { connection, concurrency: 100 });
    await worker.waitUntilReady();
    return () => worker.close();
  },
  async submit() {
    const queue = new Queue("bench", { connection });
    const events = new QueueEvents("bench", { connection });
    await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
    const flows = new FlowProducer({ connection });
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
      async chord(members) {
        const children = Array.from({ length: members }, (_, x) => ({
          name: "add",
          queueName: "bench",
          data: { x, y: 1 },
        }));
        const { job } = await flows.add({ name: "total", queueName: "bench", children });
        return resultOf(job.id);
      },
      async chain(steps) {
        let flow = { name: "increment", queueName: "bench" };
        for (let step = 1; step < steps; step++) flow = { name: "increment", queueName: "bench", children: [flow] };
        const { job } = await flows.add(flow);
        return resultOf(job.id);
      },
      async close() {
        await flows.close();
        await events.close();
        await queue.close();
      },
    };
  },
});
