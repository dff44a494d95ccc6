/** Tasks that compute, on two of each: in the event loop of a worker, in a pool of its processes, and in one of its threads. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lovage } from "lovage";
import { check, compare, type Contender } from "./compare.ts";
import { start } from "./processes.ts";

const LAUNCHER = join(import.meta.dirname, "..", "bin", "lovage.js");
const TASKS = join(import.meta.dirname, "peers", "compute.ts");
const CALLS = 8;
/** Rounds of a hash: about a third of a second. */
const WORK = 300_000;
/** Short ones, for what a delivery costs. */
const SHORT = 2_000;

const contender = (pool: string): Contender => ({
  name: pool,
  async round() {
    const folder = mkdtempSync(join(tmpdir(), "lovage-bench-"));
    const url = `sqlite:///${join(folder, "lovage.db")}`;
    const app = new Lovage("compute", { brokerUrl: url });
    const worker = start(
      process.execPath,
      [LAUNCHER, "worker", "-A", TASKS, "-l", "error", "-c", "2", "--pool", pool],
      {
        cwd: folder,
        env: { LOVAGE_BROKER_URL: url },
      },
    );
    const run = async (count: number, work: number) => {
      const from = performance.now();
      const calls = await Promise.all(Array.from({ length: count }, () => app.sendTask("compute.hash", [work])));
      for (const call of calls) check((await call.get({ timeout: 120 })) !== undefined, "a hash is missing");
      return (performance.now() - from) / 1000;
    };
    try {
      await run(10, 10);
      const seconds = await run(CALLS, WORK);
      const short = await run(SHORT, 1);
      return { seconds, "short tasks": SHORT / short };
    } finally {
      await worker.stop();
      await app.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    }
  },
});

export const pools = (): Promise<void> =>
  compare({
    name: "pools",
    work: `${CALLS} tasks that compute, and ${SHORT} that do next to nothing, two at a time`,
    metrics: { seconds: { unit: "s", better: "less" }, "short tasks": { unit: "a second", better: "more" } },
    contenders: [contender("processes"), contender("threads"), contender("async")],
  });
