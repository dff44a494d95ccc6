/**
 * A third party that takes so many requests and counts them, and real workers on one SQLite file that call it while some of
 * them are killed. `node --import ./scripts/source.ts test/limits/third-party.ts [seconds] [rate] [seed]`: ten minutes of 100/m.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "../../src/app.ts";
import { parseRate } from "../../src/limits/rate.ts";
import { seededRandom } from "../../src/testing/random.ts";

export interface Counted {
  readonly seed: number;
  readonly seconds: number;
  readonly kills: number;
  /** Requests that came, and tasks that they were of. */
  readonly requests: number;
  readonly tasks: number;
  /** The most requests that came within a window of the period, and in one of a tenth of the seconds. */
  readonly mostInPeriod: number;
  readonly mostInTenth: number;
  /** Requests that the rate would have allowed in that time. */
  readonly allowed: number;
}

const here = import.meta.dirname;
const launcher = resolve(here, "../../bin/lovage.js");
const WORKERS = 3;
/** Between two kills, on average, in milliseconds. */
const A_KILL_MS = 12_000;

/** The most instants, in their order, that lie in any window of so many milliseconds. */
export function mostWithin(at: readonly number[], window: number): number {
  let most = 0;
  for (let from = 0, to = 0; to < at.length; to++) {
    while ((at[from] as number) <= (at[to] as number) - window) from++;
    most = Math.max(most, to - from + 1);
  }
  return most;
}

export async function callThirdParty(seconds: number, rate: string, seed: number, aKill = A_KILL_MS): Promise<Counted> {
  const random = seededRandom(seed);
  const { limit, period } = parseRate(rate, "rate");
  const allowed = Math.floor((seconds * 1000 * limit) / period) + 1;
  const at: number[] = [];
  const tasks = new Set<string | undefined>();
  const server = createServer((request, answer) => {
    at.push(performance.now());
    tasks.add(request.url);
    answer.end("ok");
  });
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  const folder = mkdtempSync(join(tmpdir(), "lovage-party-"));
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  const env = {
    ...process.env,
    LOVAGE_BROKER_URL: url,
    PARTY_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    PARTY_RATE: rate,
  };
  const app = new Lovage("party", { brokerUrl: url });
  const start = (): ChildProcess =>
    spawn(process.execPath, [launcher, "worker", "-A", join(here, "child.ts"), "-c", "4", "-l", "error"], {
      cwd: folder,
      env,
      stdio: ["ignore", "ignore", "inherit"],
    });
  const workers = Array.from({ length: WORKERS }, start);
  let kills = 0;
  try {
    // More than there is time for, so that there is a backlog all the while.
    for (let n = 0; n < allowed * 1.2; n++) await app.sendTask("party.push", [n]);
    while (at.length === 0) await sleep(50);
    const end = performance.now() + seconds * 1000;
    for (;;) {
      await sleep(Math.max(0, Math.min(end - performance.now(), aKill * (0.5 + random()))));
      if (performance.now() >= end) break;
      const index = Math.floor(random() * WORKERS);
      workers[index]?.kill("SIGKILL");
      workers[index] = start();
      kills++;
    }
    return {
      seed,
      seconds,
      kills,
      requests: at.length,
      tasks: tasks.size,
      mostInPeriod: mostWithin(at, period),
      mostInTenth: mostWithin(at, seconds * 100),
      allowed,
    };
  } finally {
    for (const worker of workers) worker.kill("SIGQUIT");
    await Promise.all(workers.map((worker) => (worker.exitCode ?? worker.signalCode) === null && once(worker, "exit")));
    await app.close();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const [seconds = "600", rate = "100/m", seed = String(Date.now() % 1_000_000)] = process.argv.slice(2);
  const counted = await callThirdParty(Number(seconds), rate, Number(seed));
  console.error(JSON.stringify(counted, null, 2));
  // A burst of 1 is declared.
  const isKept = counted.mostInPeriod <= parseRate(rate, "rate").limit + 1;
  console.error(isKept ? "The rate was kept." : "FAILED: the rate was not kept.");
  process.exitCode = isKept ? 0 : 1;
}
