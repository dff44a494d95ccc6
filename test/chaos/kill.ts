/** Real workers under `kill -9`. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "../../src/app.ts";
import { chord } from "../../src/canvas/canvas.ts";
import { taskKey } from "../../src/results/backend.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { evidence, isExplained, readRuns, recordRows } from "./witness.ts";

export interface Figures {
  readonly seed: number;
  readonly tasks: number;
  /** Tasks with all that follows from them: each has a row and an effect. */
  readonly outcomes: number;
  readonly kills: number;
  /** How many of them took which process of a worker: the main one, the one that runs the tasks, both at once, or as a deploy does, SIGTERM first. */
  readonly killed: Readonly<Record<Victim, number>>;
  /** Accepted, or to follow from what was accepted, and without its final row or without its effect. */
  readonly lost: number;
  /** Effects counted more often than once by the claimed path. */
  readonly twice: number;
  /** Outcomes that the journal has not told of once. */
  readonly misreported: number;
  /** Attempts that ran again: each because the process that ran it had been killed. */
  readonly repeated: number;
  /** Attempts that ran again although nobody had killed who ran them: all that is known of each. */
  readonly unexplained: readonly string[];
  /** Processes that still ran tasks at the end although their main process had been killed. */
  readonly outlived: number;
  /** Tasks that left a promise which rejected after they had ended. */
  readonly leaks: number;
  /** Messages left in a queue, and dead letters. */
  readonly left: number;
  readonly seconds: number;
}

type Victim = "main" | "pool" | "both" | "deploy";

/** A deploy's grace, in milliseconds: SIGTERM, this, SIGKILL. */
const DEPLOY_MS = 150;
/** For so many kills one task leaks. */
const KILLS_A_LEAK = 5;

const WORKERS = 3;
const CONCURRENCY = 8;
/** A task and what follows from it, about. */
const RUNS_A_TASK = 2.5;
/** Of the tasks so many wait at first; the others come with the kills. */
const AT_FIRST = 0.2;
/** How fast kills come is taken for this at first, in seconds; after so many it is known. */
const SECONDS_A_KILL = 0.6;
const STEADY_KILLS = 10;
/** A process may be killed so long after it has begun a task: one that dies at once is kept waiting by its supervisor … */
const GROWN_MS = 1_100;
/** … and where there is none for it so long after it was seen. */
const IDLE_MS = 10_000;
const PATIENCE_MS = 40 * 60_000;

const here = import.meta.dirname;
const launcher = resolve(here, "../../bin/lovage.js");

const KINDS = ["plain", "link", "retry", "fail", "steps", "chord"] as const;

export async function chaos(tasks: number, kills: number, seed: number): Promise<Figures> {
  const random = seededRandom(seed);
  const folder = mkdtempSync(join(tmpdir(), "lovage-chaos-"));
  const runs = join(folder, "runs");
  const ledgerFile = join(folder, "ledger.db");
  writeFileSync(runs, "");
  const ledger = new DatabaseSync(ledgerFile, { timeout: 10_000 });
  // No unique index on what was done: a follow-up under a second id would be counted twice.
  ledger.exec("PRAGMA journal_mode = WAL; CREATE TABLE effects (task TEXT PRIMARY KEY, what TEXT)");
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  const app = new Lovage("chaos", { brokerUrl: url });
  await app.engine.backend();
  const database = new DatabaseSync(join(folder, "lovage.db"), { timeout: 10_000 });
  recordRows(database);
  const env = {
    ...process.env,
    LOVAGE_BROKER_URL: url,
    CHAOS_RUNS: runs,
    CHAOS_LEDGER: ledgerFile,
  };
  const began = performance.now();

  interface Keeper {
    readonly main: ChildProcess;
    readonly since: number;
  }
  let struck = 0;
  const logs: string[] = [];
  const start = (): Keeper => {
    // So slow that the work takes about as long as the kills: whoever dies has something in hand.
    const pace = struck < STEADY_KILLS ? SECONDS_A_KILL * 1000 : (performance.now() - began) / struck;
    const nap = (kills * pace * WORKERS * CONCURRENCY) / (tasks * RUNS_A_TASK);
    const options = ["-c", String(CONCURRENCY), "-l", "warning", "--log-format", "json"];
    const file = join(folder, `worker-${logs.length + 1}.log`);
    const log = openSync(file, "a");
    logs.push(file);
    const main = spawn(process.execPath, [launcher, "worker", "-A", join(here, "child.ts"), ...options], {
      cwd: folder,
      env: { ...env, CHAOS_NAP_MS: String(nap) },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    return { main, since: performance.now() };
  };
  /** Since when each process is there, and since when it has had tasks. */
  const pools = new Map<number, number>();
  const working = new Map<number, number>();
  /** Whether a process has begun a task. */
  const hasBegun = (pid: number) => readFileSync(runs, "utf8").includes(`"processes":[${pid}]`);
  const struckAt = new Map<number, number>();
  const strike = (pid: number) => struckAt.set(pid, struckAt.get(pid) ?? Date.now());
  const victims: Record<Victim, number> = { main: 0, pool: 0, both: 0, deploy: 0 };
  const orphans: number[] = [];
  const keepers = Array.from({ length: WORKERS }, start);

  try {
    let sent = 0;
    /** Accepts tasks until there is such a share of them: some come while workers die. */
    const sendUntil = async (share: number) => {
      const count = Math.floor(tasks * share);
      while (sent < count) {
        const from = sent;
        sent = Math.min(count, from + 500);
        await Promise.all(Array.from({ length: sent - from }, (_, at) => send(app, from + at)));
      }
    };
    await sendUntil(AT_FIRST);

    const broker = await app.engine.broker();
    const waiting = async () => {
      const { ready, delayed, inFlight } = await broker.size("celery");
      return ready + delayed + inFlight;
    };
    let leaks = 0;
    while (struck < kills || sent < tasks || (await waiting()) > 0) {
      if (performance.now() - began > PATIENCE_MS) break;
      await sleep(20 + random() * 200);
      await sendUntil(AT_FIRST + (1 - AT_FIRST) * Math.min(1, struck / Math.max(1, kills)));
      // One whose tasks' process was killed before it was ready for the first time gives up: whoever runs it starts it again.
      for (const [index, { main }] of keepers.entries()) if (main.exitCode !== null) keepers[index] = start();
      if (struck >= kills) continue;
      const index = Math.floor(random() * keepers.length);
      const keeper = keepers[index] as Keeper;
      const pool = poolOf(keeper.main.pid);
      const now = performance.now();
      if (pool === undefined) continue;
      if (!pools.has(pool)) pools.set(pool, now);
      if (!working.has(pool) && hasBegun(pool)) working.set(pool, now);
      const since = working.get(pool);
      if (since === undefined ? now - (pools.get(pool) ?? now) < IDLE_MS : now - since < GROWN_MS) continue;
      struck++;
      const draw = random();
      const victim: Victim = draw < 0.2 ? "main" : draw < 0.4 ? "both" : draw < 0.6 ? "deploy" : "pool";
      victims[victim]++;
      if (struck % KILLS_A_LEAK === 0) {
        leaks++;
        await app.sendTask("chaos.leak");
      }
      if (victim === "deploy") {
        keeper.main.kill("SIGTERM");
        // The next one is there already.
        keepers[index] = start();
        await sleep(DEPLOY_MS);
        strike(pool);
        keeper.main.kill("SIGKILL");
        if (isAlive(pool)) process.kill(pool, "SIGKILL");
        continue;
      }
      strike(pool);
      // Whose main process dies ends by itself, as if killed: nobody would replace it, and nobody would tell it to stop.
      if (victim !== "pool") keeper.main.kill("SIGKILL");
      if (victim !== "main") process.kill(pool, "SIGKILL");
      else orphans.push(pool);
      if (victim !== "pool") keepers[index] = start();
    }
    const outlived = orphans.filter(isAlive).length;
    const seconds = (performance.now() - began) / 1000;

    const expected = Array.from({ length: tasks }, (_, n) => effectsOf(n)).flat();
    const counted = new Map<string, number>();
    for (const { what } of ledger.prepare("SELECT what FROM effects").all() as { what: string }[])
      counted.set(what, (counted.get(what) ?? 0) + 1);
    const rows = new Map<string, boolean>();
    const ids = (ledger.prepare("SELECT task FROM effects").all() as { task: string }[]).map(({ task }) => task);
    const all = [...new Set([...ids, ...Array.from({ length: tasks }, (_, n) => `id-${n}`)])];
    const backend = await app.engine.backend();
    for (let from = 0; from < all.length; from += 1000) {
      const some = all.slice(from, from + 1000);
      const found = await backend.read(some.map(taskKey), { consistent: true });
      for (const [at, id] of some.entries()) rows.set(id, found[at]?.done === true);
    }
    const told = new Map<string | undefined, number>();
    for await (const { id } of app.journal.find({ kind: "task", state: ["SUCCESS", "FAILURE"] }))
      told.set(id, (told.get(id) ?? 0) + 1);
    const again = [...readRuns(runs).values()].filter(({ length }) => length > 1);
    const dead = await broker.size("celery-dlq");
    return {
      seed,
      tasks,
      outcomes: expected.length,
      kills: struck,
      killed: victims,
      outlived,
      lost: expected.filter((what) => !counted.has(what)).length + [...rows.values()].filter((done) => !done).length,
      twice: [...counted.values()].filter((count) => count > 1).length,
      misreported: [...rows].filter(([id, done]) => (told.get(id) ?? 0) !== (done ? 1 : 0)).length,
      repeated: again.length,
      leaks,
      unexplained: again
        .filter((runsOf) => !isExplained(runsOf, struckAt))
        .map((runsOf) => evidence(runsOf, struckAt, database, logs).join("\n")),
      left: (await waiting()) + dead.ready + dead.delayed + dead.inFlight,
      seconds,
    };
  } finally {
    for (const { main } of keepers) main.kill("SIGQUIT");
    await Promise.all(
      keepers.map(
        ({ main }) =>
          new Promise((done) =>
            (main.exitCode ?? main.signalCode) === null ? main.once("exit", done) : done(undefined),
          ),
      ),
    );
    await app.close();
    ledger.close();
    database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends a task by its number. */
async function send(app: Lovage, n: number): Promise<void> {
  const taskId = `id-${n}`;
  const follow = app.signature("chaos.follow");
  switch (KINDS[n % KINDS.length]) {
    case "link":
      return void (await app.sendTask("chaos.plain", [n], { taskId, link: follow }));
    case "retry":
      return void (await app.sendTask("chaos.retry", [n], { taskId, link: follow }));
    case "fail":
      return void (await app.sendTask("chaos.fail", [n], { taskId, linkError: app.signature("chaos.errback") }));
    case "steps": {
      const step = app.signature("chaos.step", [], { link: follow.set({ taskId: `${taskId}-last` }) });
      return void (await app.sendTask("chaos.plain", [n], { taskId, link: step }));
    }
    case "chord": {
      const members = [app.signature("chaos.plain", [n]).set({ taskId }), app.signature("chaos.step", [n])];
      return void (await chord(members, app.signature("chaos.body")).delay());
    }
    default:
      return void (await app.sendTask("chaos.plain", [n], { taskId }));
  }
}

function effectsOf(n: number): readonly string[] {
  switch (KINDS[n % KINDS.length]) {
    case "link":
      return [`plain ${n}`, `follow ${n}`];
    case "retry":
      return [`retry ${n}`, `follow ${n}`];
    case "fail":
      return [`fail ${n}`, `errback ${n}`];
    case "steps":
    case "chord":
      return [`plain ${n}`, `step ${n}`, `follow ${n}`];
    default:
      return [`plain ${n}`];
  }
}

/** The process that runs the tasks: the child of the one that was started. */
function poolOf(main: number | undefined): number | undefined {
  try {
    const [child] = execFileSync("pgrep", ["-P", String(main)])
      .toString()
      .trim()
      .split("\n");
    return child ? Number(child) : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** What is wrong with figures: a sentence each. */
export function faults(figures: Figures, kills: number): readonly string[] {
  const { lost, twice, misreported, unexplained, outlived, left } = figures;
  return [
    lost > 0 && `${lost} outcomes or effects are lost`,
    twice > 0 && `${twice} effects were counted twice`,
    misreported > 0 && `${misreported} outcomes are not in the journal, or are there twice`,
    unexplained.length > 0 &&
      `${unexplained.length} attempts ran again although nobody had killed their process:\n${unexplained.join("\n")}`,
    outlived > 0 && `${outlived} processes outlived their main process`,
    left > 0 && `${left} messages were left in the queue or among the dead letters`,
    figures.kills < kills && `only ${figures.kills} of ${kills} kills came before the work was done`,
  ].filter((fault) => fault !== false);
}
