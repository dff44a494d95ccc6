/**
 * How long a free place stays free: a task of which one may run at a time, called many times at once, on two workers. What is
 * measured is the time from the end of a run to the beginning of the next.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { RequirementMissing, startEmulator } from "../scripts/emulator.ts";
import { createQueues } from "../src/brokers/sqs.ts";
import { createJournalTable, createTable } from "../src/results/dynamodb.ts";
import { PeerMissing } from "./cache.ts";
import { check } from "./compare.ts";
import { startProxy } from "./proxy.ts";

const CALLS = Number(process.env["BENCH_WAKE_CALLS"] ?? 60);
const RUN_MS = 20;
/** About what lies between two availability zones and a service's own time. */
const DELAY_MS = 5;

/** In milliseconds. */
interface Gaps {
  readonly median: number;
  readonly p95: number;
  readonly most: number;
}

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] as number;

/** Has so many calls run one after the other by two workers, and gives the gaps between their runs. */
async function measureGaps(brokerUrl: string, resultBackend: string, calls: number): Promise<Gaps> {
  const began: number[] = [];
  const ended: number[] = [];
  let running = 0;
  const apps = [0, 1].map(() => {
    const app = new Lovage("wake", { brokerUrl, resultBackend });
    app.task("wake.work", { concurrency: 1 }, async () => {
      check(++running === 1, "one at a time");
      began.push(performance.now());
      await new Promise((resolve) => setTimeout(resolve, RUN_MS));
      ended.push(performance.now());
      running--;
    });
    return app;
  });
  const [app] = apps as [Lovage, Lovage];
  const work = app.tasks.get("wake.work");
  check(work !== undefined, "the task");
  const results = await Promise.all(Array.from({ length: calls }, () => app.sendTask("wake.work", [])));
  const workers = await Promise.all(apps.map((one) => startWorker(one, { concurrency: 5 })));
  await Promise.all(results.map((result) => result.get({ timeout: 300 })));
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(apps.map((one) => one.close()));
  const gaps = began
    .slice(1)
    .map((time, at) => time - (ended[at] as number))
    .toSorted((a, b) => a - b);
  return { median: quantile(gaps, 0.5), p95: quantile(gaps, 0.95), most: gaps.at(-1) as number };
}

const tell = (where: string, { median, p95, most }: Gaps): void =>
  console.log(
    `${where.padEnd(28)} median ${median.toFixed(0).padStart(6)} ms   p95 ${p95.toFixed(0).padStart(6)} ms   most ${most.toFixed(0).padStart(6)} ms`,
  );

export async function wake(): Promise<void> {
  console.log(`From a release to the next start: ${CALLS} calls of a task with concurrency 1, two workers`);
  const folder = await mkdtemp(join(tmpdir(), "lovage-wake-"));
  const file = `sqlite:///${join(folder, "lovage.db")}`;
  tell("embedded (SQLite)", await measureGaps(file, file, CALLS));
  await rm(folder, { recursive: true });
  const emulator = await startEmulator("ministack").catch((error: unknown) => {
    if (error instanceof RequirementMissing) throw new PeerMissing(error.message, { cause: error });
    throw error;
  });
  const proxy = await startProxy(emulator.endpoint, DELAY_MS);
  const host = `127.0.0.1:${proxy.port}`;
  const name = `wake-${randomUUID().slice(0, 8)}`;
  const broker = `sqs://test:test@${host}?queue_name_prefix=${name}-`;
  const backend = `dynamodb://test:test@${host}/${name}`;
  try {
    await createQueues(broker, ["celery"]);
    await createTable(backend);
    await createJournalTable(backend, `${name}-journal`);
    tell(`SQS, ${DELAY_MS} ms away`, await measureGaps(broker, backend, CALLS));
  } finally {
    await proxy.close();
    await emulator.stop();
  }
}
