/** No-op tasks on one machine: a worker, a submitter, and whatever server stands between them. */
import { check, compare, type Measures } from "./compare.ts";
import { usage } from "./processes.ts";
import { type PeerKind, type Processes, withSides } from "./sides.ts";

const BULK = Number(process.env["BENCH_TASKS"] ?? 20_000);
/** Five seconds at 50 a second. */
const LIGHT = Number(process.env["BENCH_LIGHT"] ?? 250);

async function work({ submitter, pids }: Processes): Promise<Measures> {
  // The submitter's warm-up has waited for the worker.
  await submitter.next("begin");
  const before = usage(pids);
  const bulk = await submitter.next("bulk");
  const after = usage(pids);
  check(bulk["right"] === true, "of the tasks in bulk");
  const light = await submitter.next("light");
  check(light["right"] === true, "of the tasks one by one");
  return {
    "tasks a second": BULK / Number(bulk["seconds"]),
    "p50 latency": Number(light["p50"]),
    "p99 latency": Number(light["p99"]),
    "CPU a task": before && after && ((after.seconds - before.seconds) / BULK) * 1e6,
    memory: after?.megabytes,
  };
}

const bench = (name: string, kinds: readonly PeerKind[]) => () =>
  withSides(kinds, "submit", [String(BULK), String(LIGHT)], work, (contenders) =>
    compare({
      name,
      work: `${BULK} no-op tasks in bulk, every result read; then ${LIGHT} at 50 a second, one by one`,
      metrics: {
        "tasks a second": { unit: "1/s", better: "more" },
        "p50 latency": { unit: "ms", better: "less" },
        "p99 latency": { unit: "ms", better: "less" },
        "CPU a task": { unit: "µs", better: "less" },
        memory: { unit: "MB", better: "less" },
      },
      contenders,
    }),
  );

export const embedded = bench("embedded", [
  "unjournaled",
  "bounded",
  "full",
  "bullmq",
  "celery",
  "postgres",
  "sqlite",
  "bunqueue",
]);

/** One worker of Lovage beside several that share its file, and beside itself where all has one core. */
export const cores = bench("cores", ["cores"]);
