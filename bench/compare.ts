/** Contenders take turns at the same work, round after round; what counts is the median, and the ratio within a round. */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { CACHE } from "./cache.ts";

/** What one round measured, by the metric's name. `undefined`: this contender has no such thing. */
export type Measures = Readonly<Record<string, number | undefined>>;

export interface Metric {
  readonly unit: string;
  /** Whether more is better (a rate) or less (a time, a size). */
  readonly better: "more" | "less";
}

export interface Contender {
  readonly name: string;
  /** Does the work once, checks that what came out is right, and says what it took. Throws where a result is wrong. */
  readonly round: () => Promise<Measures>;
}

export interface Comparison {
  /** The bench's name, and the part of it where it has several. */
  readonly name: string;
  /** What was done, in a sentence. */
  readonly work: string;
  readonly metrics: Readonly<Record<string, Metric>>;
  /** The first one is ours. */
  readonly contenders: readonly Contender[];
  /** Default {@link rounds}. */
  readonly rounds?: number;
}

/** Odd, so that a median is a value that was measured. `BENCH_ROUNDS` says otherwise. */
export const rounds = (): number => Number(process.env["BENCH_ROUNDS"] ?? 5);

/** Runs the rounds, prints a table of medians and ratios, and writes all values as JSON. */
export async function compare({
  name,
  work,
  metrics,
  contenders,
  rounds: times = rounds(),
}: Comparison): Promise<void> {
  const measured = new Map<string, Measures[]>(contenders.map((contender) => [contender.name, []]));
  console.log(`\n${name}: ${work}\n${times} rounds on ${machine()}`);
  for (let round = 0; round < times; round++) {
    // Each round begins with the next of them: none has the warm, or the tired, machine to itself.
    const order = contenders.map((_, index) => contenders[(index + round) % contenders.length] as Contender);
    for (const contender of order) {
      try {
        measured.get(contender.name)?.push(await contender.round());
      } catch (cause) {
        throw new Error(`${name}: ${contender.name} failed in round ${round + 1}`, { cause });
      }
      if (process.stderr.isTTY) process.stderr.write(".");
    }
  }
  if (process.stderr.isTTY) process.stderr.write("\n");

  const [ours, ...peers] = contenders.map((contender) => contender.name);
  const summary = Object.entries(metrics).map(([metric, { unit, better }]) => {
    const valuesOf = (contender: string) => (measured.get(contender) ?? []).map((round) => round[metric]);
    const medians = Object.fromEntries(contenders.map((c) => [c.name, median(present(valuesOf(c.name)))]));
    const ratios = Object.fromEntries(
      peers.flatMap((peer) => {
        const theirs = valuesOf(peer);
        const each = valuesOf(ours as string).map((own, round) => ratio(own, theirs[round], better));
        const known = present(each);
        if (known.length === 0) return [];
        return [[peer, { median: median(known), least: Math.min(...known), most: Math.max(...known) }]];
      }),
    );
    return { metric, unit, better, medians, ratios };
  });

  for (const { metric, unit, medians, ratios } of summary) {
    console.log(`  ${metric} (${unit})`);
    for (const { name: contender } of contenders) {
      const spread = ratios[contender];
      const against =
        spread === undefined
          ? ""
          : `   ${ours} is ${format(spread.median)} × as good (${format(spread.least)} to ${format(spread.most)})`;
      console.log(`    ${contender.padEnd(24)} ${format(medians[contender]).padStart(10)}${against}`);
    }
  }

  writeReport(name, { work, summary, rounds: Object.fromEntries(measured) });
}

/** Writes what was measured as JSON. */
export function writeReport(name: string, measured: object): void {
  const folder = join(CACHE, "results");
  mkdirSync(folder, { recursive: true });
  const report = { name, at: new Date().toISOString(), machine: machine(), ...measured };
  writeFileSync(join(folder, `${name.replaceAll(/[^\w-]+/g, "-")}.json`), `${JSON.stringify(report, null, 2)}\n`);
}

/** How many times as good as theirs ours is; above 1 we are ahead. */
function ratio(ours: number | undefined, theirs: number | undefined, better: Metric["better"]): number | undefined {
  if (ours === undefined || theirs === undefined || ours === 0 || theirs === 0) return undefined;
  return better === "more" ? ours / theirs : theirs / ours;
}

const present = (values: readonly (number | undefined)[]): number[] => values.filter((value) => value !== undefined);

export function median(values: readonly number[]): number | undefined {
  return quantile(values, 0.5);
}

/** The value below which such a share of the values lies: the nearest one that was measured. */
export function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function format(value: number | undefined): string {
  if (value === undefined) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return value.toPrecision(3);
}

function machine(): string {
  const { model = "unknown CPU" } = cpus()[0] ?? {};
  return `${cpus().length} × ${model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.versions.node}`;
}

/** Whether what came out is what was to come out; the text says of what. */
export function check(right: boolean, what: string): asserts right {
  if (!right) throw new Error(`the result is wrong: ${what}`);
}
