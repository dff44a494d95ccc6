/** Ten times the work, four times over: whether time and memory keep to a line. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, median, rounds, writeReport } from "./compare.ts";
import { start } from "./processes.ts";

const SCRIPT = join(import.meta.dirname, "peers", "growth.ts");
const SOURCE = join(import.meta.dirname, "..", "scripts", "source.ts");
const KINDS = ["backlog", "group", "calls", "results", "fifo", "schedule"];
const SIZES = [10, 100, 1000, 10_000, 100_000, 1_000_000].filter(
  (size) => size <= Number(process.env["BENCH_GROWTH"] ?? 100_000),
);
/**
 * Time for one more, against what one took when there were a tenth of them: above this it is no line, if it is so by the clock
 * and by the processor's time as well. Others on the machine stretch the one, the compiler of Node the other.
 */
const LINEAR = 1.5;
/** Milliseconds. Ten times the work that took less than so much longer says nothing of what one more takes. */
const TELLING_MS = 20;

interface Point {
  readonly size: number;
  readonly ms: number;
  /** The processor's time. */
  readonly cpuMs: number;
  readonly megabytes: number;
}

/** What one more takes between the last two points, against the two before them. */
function bend(points: readonly Point[], key: "ms" | "cpuMs"): number | undefined {
  const [before, last, point] = points.slice(-3);
  if (before === undefined || last === undefined || point === undefined) return undefined;
  // What it takes to begin weighs on the small ones: what counts is what one more takes.
  const slope = (point[key] - last[key]) / (point.size - last.size);
  const longer = last[key] - before[key];
  return longer < TELLING_MS ? undefined : slope / (longer / (last.size - before.size));
}

async function measure(kind: string, size: number): Promise<Point> {
  const cwd = mkdtempSync(join(tmpdir(), "lovage-bench-"));
  const child = start(process.execPath, ["--import", SOURCE, SCRIPT, kind, String(size)], { cwd });
  try {
    const { ms, cpuMs, megabytes, right } = await child.next("grown");
    check(right === true, `of ${kind} ${size}`);
    return { size, ms: Number(ms), cpuMs: Number(cpuMs), megabytes: Number(megabytes) };
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
        cpuMs: median(each.map(({ cpuMs }) => cpuMs)) ?? Number.NaN,
        megabytes: median(each.map(({ megabytes }) => megabytes)) ?? Number.NaN,
      };
      points.push(point);
      const none = Number.POSITIVE_INFINITY;
      const bent = Math.min(bend(points, "ms") ?? none, bend(points, "cpuMs") ?? none);
      const verdict =
        bent === none ? "" : `${bent.toFixed(2)} × as long for one more${bent > LINEAR ? ": NOT LINEAR" : ""}`;
      if (bent !== none && bent > LINEAR) process.exitCode = 1;
      console.log(
        `  ${String(size).padStart(7)} ${point.ms.toFixed(1).padStart(10)} ms ${((point.ms * 1000) / size).toFixed(1).padStart(9)} µs each, CPU ${point.cpuMs.toFixed(1).padStart(9)} ms ${point.megabytes.toFixed(0).padStart(6)} MB   ${verdict}`,
      );
    }
    report[kind] = points;
  }
  writeReport("growth", { report });
}
