/** Three processes that write to one file in a loop, beside one that writes now and then: the share that each gets. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median, rounds, writeReport } from "./compare.ts";
import { start } from "./processes.ts";

const SCRIPT = join(import.meta.dirname, "peers", "writer.ts");
const SOURCE = join(import.meta.dirname, "..", "scripts", "source.ts");
const LOOPS = 3;
/** A third is fair. Below this, somebody starves. */
const LEAST_SHARE = 0.15;
/** Of the writes that are due, so many come in time. */
const LEAST_PACED = 0.5;

interface Round {
  /** Of what those in a loop wrote, the least that one of them did. */
  readonly share: number;
  /** Of the writes that were due, those which the other one made. */
  readonly paced: number;
  readonly writesASecond: number;
}

async function round(): Promise<Round> {
  const cwd = mkdtempSync(join(tmpdir(), "lovage-bench-"));
  const roles = [...Array.from({ length: LOOPS }, () => "loop"), "paced"];
  const children = roles.map((role) => start(process.execPath, ["--import", SOURCE, SCRIPT, role], { cwd }));
  try {
    await Promise.all(children.map((child) => child.next("ready")));
    for (const child of children) child.send("go");
    const wrote = await Promise.all(children.map((child) => child.next("wrote")));
    const loops = wrote.slice(0, LOOPS).map(({ writes }) => Number(writes));
    const all = loops.reduce((sum, writes) => sum + writes, 0);
    const { writes, due, seconds } = wrote[LOOPS] ?? {};
    return {
      share: Math.min(...loops) / all,
      paced: Number(writes) / Number(due),
      writesASecond: all / Number(seconds),
    };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    rmSync(cwd, { recursive: true, force: true, maxRetries: 3 });
  }
}

export async function writers(): Promise<void> {
  console.log(
    `\nwriters: ${LOOPS} processes that write 50 texts in a loop and one that writes every 5 ms, ${rounds()} rounds`,
  );
  const each: Round[] = [];
  while (each.length < rounds()) each.push(await round());
  const of = (key: keyof Round) => median(each.map((one) => one[key])) ?? Number.NaN;
  const percent = (value: number) => `${(value * 100).toFixed(0)} %`;
  const verdict = (value: number, least: number) =>
    value >= least ? "" : `: STARVED, at least ${percent(least)} is asked`;
  console.log(`  transactions a second      ${of("writesASecond").toFixed(0)}`);
  console.log(
    `  least share of a loop      ${percent(of("share"))} of a fair 33 %${verdict(of("share"), LEAST_SHARE)}`,
  );
  console.log(`  writes that came in time   ${percent(of("paced"))}${verdict(of("paced"), LEAST_PACED)}`);
  if (of("share") < LEAST_SHARE || of("paced") < LEAST_PACED) process.exitCode = 1;
  writeReport("writers", { rounds: each });
}
