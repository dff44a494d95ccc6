/**
 * What the journal takes of a drain. Three in a hundred are less than one round of `embedded` differs from the next, so a worker with
 * its journal and one without live at the same time and take turns at few tasks: what slows the machine slows both.
 */
import { check, median, quantile, writeReport } from "./compare.ts";
import { usage } from "./processes.ts";
import { type Processes, withBoth } from "./sides.ts";

/** Of each side. Odd numbers of them begin with the one, even ones with the other. */
const TURNS = Number(process.env["BENCH_TURNS"] ?? 300);
/** In a turn: about a tenth of a second. */
const TASKS = 1000;
/** Turns that nobody counts: the heaps grow to their size in them. */
const WARM_UP = 20;

async function turn({ submitter, pids }: Processes) {
  const before = usage(pids)?.seconds ?? Number.NaN;
  submitter.send(String(TASKS));
  const { ms, right } = await submitter.next("turn");
  check(right === true, "of a turn");
  return { ms: Number(ms), cpu: (usage(pids)?.seconds ?? Number.NaN) - before };
}

export const journal = (): Promise<void> =>
  withBoth(async (journaled, without) => {
    await journaled.submitter.next("begin");
    await without.submitter.next("begin");
    console.log(
      `\njournal: ${TURNS} turns of ${TASKS} no-op tasks, every result read, with the journal and without it`,
    );
    const turns: { readonly with: Turn; readonly without: Turn }[] = [];
    for (let index = -WARM_UP; index < TURNS; index++) {
      const first = await turn(index % 2 === 0 ? journaled : without);
      const second = await turn(index % 2 === 0 ? without : journaled);
      if (index >= 0) turns.push(index % 2 === 0 ? { with: first, without: second } : { with: second, without: first });
    }
    report(turns);
  });

type Turn = Awaited<ReturnType<typeof turn>>;

function report(turns: readonly { readonly with: Turn; readonly without: Turn }[]): void {
  const sum = (side: "with" | "without", what: keyof Turn) => turns.reduce((all, pair) => all + pair[side][what], 0);
  const percent = (ratio: number) => `${((ratio - 1) * 100).toFixed(1)} %`;
  const ratios = turns.map((pair) => pair.with.ms / pair.without.ms);
  const [low, high] = bounds(ratios);
  const time = median(ratios) ?? Number.NaN;
  const cpu = sum("with", "cpu") / sum("without", "cpu");
  const each = (side: "with" | "without", what: keyof Turn, scale: number) =>
    ((sum(side, what) / turns.length / TASKS) * scale).toFixed(1);
  console.log(
    `  a task          with the journal ${each("with", "ms", 1000)} µs, without ${each("without", "ms", 1000)} µs`,
  );
  console.log(
    `  CPU a task      with the journal ${each("with", "cpu", 1e6)} µs, without ${each("without", "cpu", 1e6)} µs`,
  );
  console.log(
    `  more time       ${percent(time)} in the median of the pairs, by chance ${percent(low)} to ${percent(high)}`,
  );
  console.log(`  more CPU        ${percent(cpu)}`);
  writeReport("journal", { time, low, high, cpu, turns });
}

/** Between which values the median lies 19 times in 20, by the ranks of a binomial distribution. */
function bounds(values: readonly number[]): readonly [low: number, high: number] {
  const off = 0.98 / Math.sqrt(values.length);
  return [quantile(values, 0.5 - off) ?? Number.NaN, quantile(values, 0.5 + off) ?? Number.NaN];
}
