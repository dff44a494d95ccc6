/** Chords and a chain: how long from the call to the last result. */
import { check, compare, type Measures, type Metric } from "./compare.ts";
import { type Processes, withSides } from "./sides.ts";

const CHORDS = (process.env["BENCH_CHORDS"] ?? "10,100,1000,10000").split(",").map(Number);
const CHAIN = 100;

async function work({ submitter }: Processes): Promise<Measures> {
  const measures: Record<string, number> = {};
  for (let index = 0; index <= CHORDS.length; index++) {
    const { name, ms, right } = await submitter.next("canvas");
    check(right === true, `of the ${String(name)}`);
    measures[String(name)] = Number(ms);
  }
  return measures;
}

export async function canvas(): Promise<void> {
  const metric: Metric = { unit: "ms", better: "less" };
  await withSides(["bullmq", "celery"], "canvas", [CHORDS.join(","), String(CHAIN)], work, (contenders) =>
    compare({
      name: "canvas",
      work: "a chord whose body adds up its members' results, and a chain of steps that add 1",
      metrics: Object.fromEntries(
        [...CHORDS.map((size) => `chord of ${size}`), `chain of ${CHAIN}`].map((name) => [name, metric]),
      ),
      contenders,
    }),
  );
}
