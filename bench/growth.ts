/** Ten times the work, four times over: whether time and memory keep to a line. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CACHE } from "./cache.ts";
import { check, median, rounds } from "./compare.ts";
import { start } from "./processes.ts";

const SCRIPT = join(import.meta.dirname, "peers", "growth.ts");
const SOURCE = join(import.meta.dirname, "..", "scripts", "source.ts");
const KINDS = ["backlog", "group", "calls", "results", "schedule"];
const SIZES = [10, 100, 1000, 10_000, 100_000, 1_000_000].filter(
  (size) => size <= Number(process.env["BENCH_GROWTH"] ?? 100_000),
);
/** Time for one more, against what one took when there were a tenth of them: above this it is no line. */
const LINEAR = 1.5;

interface Point {
  readonly size: number;
  readonly ms: number;
  readonly megabytes: number;
}

async function measure(kind: string, size: number): Promise<Point> {
  const cwd = mkdtempSync(join(tmpdir(), "lovage-bench-"));
  const child = start(process.execPath, ["--import", SOURCE, SCRIPT, kind, String(size)], { cwd });
  try {
    const { ms, megabytes, right } = await child.next("grown");
    check(right === true, `of ${kind} ${size}`);
    return { size, ms: Number(ms), megabytes: Number(megabytes) };
  } finally {
    await child.stop();
    rmSync(cwd, { recursive: true, force: true, maxRetries: 3 });
  }
}

export async function growth(): Promise<void> {
  const report: Record<string, readonly Point[]> = {};
  for (const kind of KINDS) {
    console.log(`\ngrowth of ${kind}, ${rounds()} rounds`);
    const points: Point[] = [];
    for (const size of SIZES) {
      const each: Point[] = [];
      for (let round = 0; round < rounds(); round++) each.push(await measure(kind, size));
      const point = {
        size,
        ms: median(each.map(({ ms }) => ms)) ?? Number.NaN,
        megabytes: median(each.map(({ megabytes }) => megabytes)) ?? Number.NaN,
      };
      const last = points.at(-1);
      // What it takes to begin weighs on the small ones: what counts is what one more takes.
      const slope = last && (point.ms - last.ms) / (point.size - last.size);
      const before = points.at(-2);
      const former = last && before && (last.ms - before.ms) / (last.size - before.size);
      const bent = slope !== undefined && former !== undefined && former > 0 ? slope / former : undefined;
      const verdict =
        bent === undefined
          ? ""
          : bent > LINEAR
            ? `${bent.toFixed(2)} × as long for one more: NOT LINEAR`
            : `${bent.toFixed(2)} × as long for one more`;
      console.log(
        `  ${String(size).padStart(7)} ${point.ms.toFixed(1).padStart(10)} ms ${((point.ms * 1000) / size).toFixed(1).padStart(9)} µs each ${point.megabytes.toFixed(0).padStart(6)} MB   ${verdict}`,
      );
      points.push(point);
    }
    report[kind] = points;
  }
  const folder = join(CACHE, "results");
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "growth.json"),
    `${JSON.stringify({ name: "growth", at: new Date().toISOString(), report }, null, 2)}\n`,
  );
}
