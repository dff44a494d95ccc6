/** The queues that run on one machine: how each one's worker and submitter are started, and the server between them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bun, CACHE, PeerMissing, pythonPeers } from "./cache.ts";
import type { Contender, Measures } from "./compare.ts";
import { type Child, start, type StartOptions } from "./processes.ts";
import { type Server, startBunqueue, startPostgres, startRedis } from "./servers.ts";

const PEERS = join(import.meta.dirname, "peers");
const SOURCE = join(import.meta.dirname, "..", "scripts", "source.ts");

export type Role = "submit" | "canvas" | "turns";

/** The processes of one round. */
export interface Processes {
  readonly submitter: Child;
  /** All whose work counts: worker, submitter and server. */
  readonly pids: readonly number[];
}

/** What a round does with the processes, once the worker is up. */
export type Work = (processes: Processes) => Promise<Measures>;

interface Side {
  readonly name: string;
  readonly server?: Server;
  /** Whether its worker says when it is up. */
  readonly tellsReady: boolean;
  /** Absent where the worker is a part of the submitter. */
  readonly worker?: (cwd: string) => Child;
  /** How many of them there are. Default: one. */
  readonly workers?: number;
  readonly submitter: (cwd: string, role: Role, args: readonly string[]) => Child;
}

/** Where `BENCH_PROFILE` has the processes of Lovage leave their CPU profiles. */
const PROFILES = join(CACHE, "profiles");

/** @param before A command that starts it, with its arguments. */
function node(script: string, args: readonly string[], options: StartOptions, before: readonly string[] = []): Child {
  const isProfiled = process.env["BENCH_PROFILE"] !== undefined && script === "lovage.ts";
  const profile = isProfiled ? ["--cpu-prof", "--cpu-prof-dir", PROFILES] : [];
  // The peers are JavaScript, and so is the package. Our sources are stripped of their types once, then come from the cache: what does
  // that is 30 MB of a process.
  const env = { NODE_COMPILE_CACHE: join(CACHE, "compiled"), ...options.env };
  const own = [process.execPath, ...profile, "--import", SOURCE, join(PEERS, script), ...args];
  const [command = "", ...rest] = [...before, ...own];
  return start(command, rest, { ...options, env });
}

/** Lovage with so many workers, and all processes on the core of this number, if it is given. */
function spread(name: string, workers: number, core?: number): Side {
  const before = core === undefined ? [] : ["taskset", "--cpu-list", String(core)];
  return {
    name,
    workers,
    tellsReady: true,
    worker: (cwd) => node("lovage.ts", ["worker"], { cwd }, before),
    submitter: (cwd, role, args) => node("lovage.ts", [role, ...args], { cwd }, before),
  };
}

/** A contender whose two halves are one script of Node. */
const scripted = (name: string, script: string, server?: Server, env: Readonly<Record<string, string>> = {}): Side => ({
  name,
  ...(server && { server }),
  tellsReady: true,
  worker: (cwd) => node(script, ["worker"], { cwd, env }),
  submitter: (cwd, role, args) => node(script, [role, ...args], { cwd, env }),
});

const LOVAGE = scripted("Lovage", "lovage.ts");
const WITHOUT_JOURNAL = scripted("Lovage without its journal", "lovage.ts", undefined, { BENCH_JOURNAL: "off" });

/** Under Bun. Without a server it is embedded: one process is both halves. */
function bunqueue(command: string, server?: Server): Side {
  const run = (cwd: string, args: readonly string[]) =>
    start(command, [join(PEERS, "bunqueue.js"), ...args], {
      cwd,
      env: server ? { BENCH_BUNQUEUE: server.socket } : {},
    });
  return {
    name: server ? "bunqueue, server" : "bunqueue, embedded",
    ...(server && { server, worker: (cwd: string) => run(cwd, ["worker"]) }),
    tellsReady: true,
    submitter: (cwd, role, args) => run(cwd, [role, ...args]),
  };
}

function celery(server: Server, python: string): Side {
  const options = { env: { BENCH_REDIS: server.socket, PYTHONDONTWRITEBYTECODE: "1" }, cwd: PEERS };
  const quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"];
  return {
    name: "Celery on Redis",
    server,
    tellsReady: false,
    worker: () =>
      start(python, ["-m", "celery", "-A", "celery_app", "worker", "-P", "prefork", "-c", "2", ...quiet], options),
    submitter: (_, role, args) => start(python, [`celery_${role}.py`, ...args], options),
  };
}

/** Starts a side's worker, or workers, and its submitter, in a folder of their own. */
async function up(side: Side, role: Role, args: readonly string[]): Promise<Processes & { stop(): Promise<void> }> {
  const cwd = mkdtempSync(join(tmpdir(), "lovage-bench-"));
  const children: Child[] = [];
  const stop = async () => {
    // The last one first: the submitter before those that it sends to.
    for (const child of children.toReversed()) await child.stop();
    rmSync(cwd, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    await side.server?.clear();
    const { worker, workers = 1 } = side;
    if (worker) for (let started = 0; started < workers; started++) children.push(worker(cwd));
    if (side.tellsReady) await Promise.all(children.map((worker) => worker.next("ready")));
    const submitter = side.submitter(cwd, role, args);
    children.push(submitter);
    return { submitter, pids: [...children.map(({ pid }) => pid), side.server?.pid ?? []].flat(), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function round(side: Side, role: Role, args: readonly string[], work: Work): Promise<Measures> {
  const { stop, ...processes } = await up(side, role, args);
  try {
    return await work(processes);
  } finally {
    await stop();
  }
}

export type PeerKind =
  | "cores"
  | "unjournaled"
  | "bounded"
  | "full"
  | "bullmq"
  | "celery"
  | "postgres"
  | "sqlite"
  | "bunqueue";

/**
 * Starts the servers of those peers that this machine can have, and runs `use` with all contenders, ours first. What is
 * missing is said. `BENCH_ONLY=Celery,pg-boss` leaves out peers that are not named.
 */
export async function withSides(
  kinds: readonly PeerKind[],
  role: Role,
  args: readonly string[],
  work: Work,
  use: (contenders: readonly Contender[]) => Promise<void>,
): Promise<void> {
  const servers: Server[] = [];
  const sides: Side[] = [LOVAGE];
  const opened = async (starting: Promise<Server>) => {
    const server = await starting;
    servers.push(server);
    return server;
  };
  const make: Readonly<Record<PeerKind, () => Promise<readonly Side[]>>> = {
    cores: async () => [
      spread("2 workers", 2),
      spread("4 workers", 4),
      ...(process.platform === "linux" ? [spread("1 worker, all on one core", 1, 0)] : []),
    ],
    unjournaled: async () => [WITHOUT_JOURNAL],
    bounded: async () => [
      scripted("Lovage, young heap bounded", "lovage.ts", undefined, { NODE_OPTIONS: "--max-semi-space-size=16" }),
    ],
    full: async () => [scripted("Lovage, synchronous=full", "lovage.ts", undefined, { BENCH_SYNCHRONOUS: "full" })],
    sqlite: async () => [scripted("plainjob", "plainjob.js"), scripted("liteque", "liteque.js")],
    async bunqueue() {
      const command = bun();
      return [bunqueue(command, await opened(startBunqueue())), bunqueue(command)];
    },
    async bullmq() {
      const redis = await opened(startRedis());
      return [scripted("BullMQ on Redis", "bullmq.js", redis, { BENCH_REDIS: redis.socket })];
    },
    async celery() {
      const python = pythonPeers();
      return [celery(await opened(startRedis()), python)];
    },
    async postgres() {
      const server = await opened(startPostgres());
      const env = { BENCH_POSTGRES: server.socket };
      return [
        scripted("pg-boss", "pg-boss.js", server, env),
        scripted("graphile-worker", "graphile-worker.js", server, env),
      ];
    },
  };
  try {
    for (const kind of kinds) {
      try {
        sides.push(...(await make[kind]()));
      } catch (error) {
        if (!(error instanceof PeerMissing)) throw error;
        console.error(`Without a peer: ${error.message}`);
      }
    }
    const only = process.env["BENCH_ONLY"]?.split(",");
    const wanted = sides.filter(
      ({ name }, index) => index === 0 || (only?.some((text) => name.includes(text)) ?? true),
    );
    await use(wanted.map((side) => ({ name: side.name, round: () => round(side, role, args, work) })));
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Runs `use` with the processes of Lovage and of Lovage without its journal, which live at the same time. */
export async function withBoth(use: (journaled: Processes, without: Processes) => Promise<void>): Promise<void> {
  const journaled = await up(LOVAGE, "turns", []);
  try {
    const without = await up(WITHOUT_JOURNAL, "turns", []);
    try {
      await use(journaled, without);
    } finally {
      await without.stop();
    }
  } finally {
    await journaled.stop();
  }
}
