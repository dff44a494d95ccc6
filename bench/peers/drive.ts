/** The two processes of a contender of `embedded`, `canvas` or `journal`: `worker` serves until it is ended, `submit` sends and reads. */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "../compare.ts";

export interface Submitter {
  /** Sends `add(i, 1)` for every i below `count`, and gives the results in that order as they were read back. */
  bulk(count: number): Promise<readonly unknown[]>;
  /** Sends one and waits for its result. */
  one(x: number, y: number): Promise<unknown>;
  /** A chord of so many `add(i, 1)` whose body adds up their results; gives its result. */
  chord?(members: number): Promise<unknown>;
  /** So many steps, each of which adds 1 to the result of the one before; gives the last one's result. */
  chain?(steps: number): Promise<unknown>;
  close(): Promise<void>;
}

export interface Sides {
  readonly worker: () => Promise<() => Promise<void>>;
  readonly submit: () => Promise<Submitter>;
}

/** Before anything is measured: connections are made, code is compiled. */
const WARM_UP = 2000;
/** At a light load, one task so often. */
const EVERY_MS = 20;

const tell = (event: string, more: object = {}) => console.log(JSON.stringify({ event, ...more }));

/** What the body of a chord of {@link Submitter.chord} comes to. */
const sumOf = (members: number): number => (members * (members + 1)) / 2;

/** Whether the results are those of {@link Submitter.bulk}. */
const isRight = (results: readonly unknown[], count: number): boolean =>
  results.length === count && results.every((result, index) => result === index + 1);

async function driveCanvas(submitter: Submitter, chords: readonly number[], chain: number): Promise<void> {
  await submitter.chord?.(10);
  await submitter.chain?.(2);
  for (const members of chords) {
    const from = performance.now();
    const sum = await submitter.chord?.(members);
    tell("canvas", { name: `chord of ${members}`, ms: performance.now() - from, right: sum === sumOf(members) });
  }
  const from = performance.now();
  const last = await submitter.chain?.(chain);
  tell("canvas", { name: `chain of ${chain}`, ms: performance.now() - from, right: last === chain });
  await submitter.close();
}

/** So many tasks for each line that comes in, which has their number; ends with the input. */
async function driveTurns(submitter: Submitter): Promise<void> {
  tell("begin");
  for await (const line of createInterface({ input: process.stdin })) {
    const count = Number(line);
    const from = performance.now();
    const results = await submitter.bulk(count);
    const ms = performance.now() - from;
    tell("turn", { ms, right: isRight(results, count) });
  }
  await submitter.close();
}

/** `worker`, `turns`, `submit <tasks in bulk> <tasks one by one>`, or `canvas <sizes of chords> <length of the chain>`. */
export async function drive({ worker, submit }: Sides): Promise<void> {
  const [role, bulk, light] = process.argv.slice(2);
  if (role === "worker") {
    const stop = await worker();
    tell("ready");
    process.once("SIGTERM", () => void stop().then(() => process.exit(0)));
    return;
  }
  const submitter = await submit();
  if (role === "canvas") return driveCanvas(submitter, (bulk ?? "").split(",").map(Number), Number(light));
  await submitter.bulk(WARM_UP);
  if (role === "turns") return driveTurns(submitter);
  for (let index = 0; index < 20; index++) await submitter.one(index, 1);

  const count = Number(bulk);
  tell("begin");
  const from = performance.now();
  const results = await submitter.bulk(count);
  const seconds = (performance.now() - from) / 1000;
  tell("bulk", { seconds, right: isRight(results, count) });

  const latencies: number[] = [];
  const wrong: unknown[] = [];
  const running: Promise<void>[] = [];
  const start = performance.now();
  for (let index = 0; index < Number(light); index++) {
    await sleep(Math.max(0, start + index * EVERY_MS - performance.now()));
    const sent = performance.now();
    running.push(
      submitter.one(index, 1).then((result) => {
        latencies.push(performance.now() - sent);
        if (result !== index + 1) wrong.push(result);
      }),
    );
  }
  await Promise.all(running);
  tell("light", { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), right: wrong.length === 0 });
  await submitter.close();
}
