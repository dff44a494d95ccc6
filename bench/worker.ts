/** The CPU that a record costs in a worker's function, claim and result included, over an AWS that answers at once. */
import { join } from "node:path";
import { type Bundle, bundle, ENV } from "./bundles.ts";
import { check, compare, type Contender } from "./compare.ts";
import { start } from "./processes.ts";

const INVOKE = join(import.meta.dirname, "handlers", "invoke.js");
const BATCHES = 300;
const SIZES = [100, 10_000];

function contender(name: string, { file, kind }: Bundle, size: number, env: Record<string, string> = {}): Contender {
  return {
    name,
    async round() {
      const child = start(process.execPath, [INVOKE, file, kind, String(BATCHES), String(size)], {
        env: { ...ENV, BENCH_WIRE: "none", ...env },
      });
      const { cpu, batchMs, requests } = await child.next("warm");
      await child.stop();
      check(Number(requests) > 0, "no request was made");
      return { "CPU a record": Number(cpu), "a batch": Number(batchMs), "requests a record": Number(requests) };
    },
  };
}

export async function worker(): Promise<void> {
  const [ours, powertools, bare] = await Promise.all([bundle("lovage"), bundle("powertools"), bundle("bare")] as const);
  for (const size of SIZES) {
    await compare({
      name: `worker-${size}`,
      work: `batches of 10 records, each claimed and its result of ${size} B stored`,
      metrics: {
        "CPU a record": { unit: "µs", better: "less" },
        "a batch": { unit: "ms", better: "less" },
        "requests a record": { unit: "1", better: "less" },
      },
      contenders: [
        contender("Lovage", ours, size),
        contender("Lovage, row by row", ours, size, { BENCH_STATEMENTS: "refused" }),
        contender("Powertools", powertools, size),
        contender("bare handler", bare, size),
      ],
    });
  }
}
