/**
 * plainjob on a file, with better-sqlite3, as its documentation has it. It stores no results: what is read back is that a job
 * is done. A worker runs one job after the other.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { nodePeers } from "../cache.ts";
import { drive } from "./drive.ts";

const load = nodePeers();
const Database = load("better-sqlite3");
const { better, defineQueue, defineWorker, JobStatus } = load("plainjob");
const CHUNK = 1000;
/** Nobody is told of a job, nor that it is done: either is looked for so often. */
const LOOK_MS = 5;
const quiet = { error: console.error, warn() {}, info() {}, debug() {} };
const open = () => defineQueue({ connection: better(new Database("bench.db", { timeout: 10_000 })), logger: quiet });

await drive({
  async worker() {
    const queue = open();
    const run = ({ data }) => {
      const { x, y } = JSON.parse(data);
      return void (x + y);
    };
    const worker = defineWorker("add", run, { queue, logger: quiet, pollIntervall: LOOK_MS });
    void worker.start();
    return async () => {
      await worker.stop();
      queue.close();
    };
  },
  async submit() {
    const queue = open();
    async function done(ids) {
      for (const id of ids) {
        for (;;) {
          const { status, error } = queue.getJobById(id);
          if (status === JobStatus.Done) break;
          if (status === JobStatus.Failed) throw new Error(error);
          await sleep(LOOK_MS);
        }
      }
    }
    return {
      async bulk(count) {
        const all = [];
        for (let from = 0; from < count; from += CHUNK) {
          const length = Math.min(CHUNK, count - from);
          const { ids } = queue.addMany(
            "add",
            Array.from({ length }, (_, index) => ({ x: from + index, y: 1 })),
          );
          all.push(...ids);
          // Others are let at the file.
          await sleep(0);
        }
        await done(all);
        return Array.from({ length: count }, (_, index) => index + 1);
      },
      async one(x, y) {
        await done([queue.add("add", { x, y }).id]);
        return x + y;
      },
      close: async () => queue.close(),
    };
  },
});
