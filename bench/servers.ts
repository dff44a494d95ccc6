/** The servers of the peers, from the system's packages, each on a folder of its own and reached by a socket in it. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { bun, nodePeers, PeerMissing } from "./cache.ts";
import { type Child, start } from "./processes.ts";

export interface Server {
  readonly pid: number;
  /** The path of the socket, or of its folder. */
  readonly socket: string;
  /** Forgets everything. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

/** Redis as its own documentation has it for a queue: append-only, synced every second, nothing evicted. */
export async function startRedis(): Promise<Server> {
  const command = find("redis-server", [], "apt-get install redis-server");
  const folder = mkdtempSync(join(tmpdir(), "lovage-bench-redis-"));
  const socket = join(folder, "redis.sock");
  const settings = { port: "0", unixsocket: socket, dir: folder, save: "", appendonly: "yes", appendfsync: "everysec" };
  const args = Object.entries({ ...settings, "maxmemory-policy": "noeviction" }).flatMap(([k, v]) => [`--${k}`, v]);
  const child = start(command, args);
  await until(() => answers(socket), child);
  return {
    pid: child.pid,
    socket,
    clear: () => redisCommand(socket, "FLUSHALL"),
    stop: () => end(child, folder),
  };
}

/** PostgreSQL as it comes, durable commits included. */
export async function startPostgres(): Promise<Server> {
  const versions = existsSync("/usr/lib/postgresql") ? readdirSync("/usr/lib/postgresql") : [];
  const folders = versions.map((version) => join("/usr/lib/postgresql", version, "bin"));
  const hint = "apt-get install postgresql";
  const initdb = find("initdb", folders, hint);
  const postgres = find("postgres", folders, hint);
  const folder = mkdtempSync(join(tmpdir(), "lovage-bench-postgres-"));
  const data = join(folder, "data");
  // PostgreSQL refuses to run as root: a user that the package made has to do it then.
  const as =
    process.getuid?.() === 0 ? { uid: Number(execFileSync("id", ["-u", "postgres"], { encoding: "utf8" })) } : {};
  if (as.uid !== undefined) execFileSync("chown", ["postgres", folder]);
  execFileSync(initdb, ["-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8"], {
    ...as,
    stdio: "ignore",
    cwd: folder,
  });
  writeFileSync(join(data, "postgresql.auto.conf"), `listen_addresses = ''\nunix_socket_directories = '${folder}'\n`);
  const child = start(postgres, ["-D", data], { ...as, cwd: folder });
  await until(() => answers(join(folder, ".s.PGSQL.5432")), child);
  return {
    pid: child.pid,
    socket: folder,
    clear: async () => undefined,
    stop: () => end(child, folder),
  };
}

/** bunqueue on a SQLite file, as `bunx bunqueue start --data-path …` starts it. Its `socket` is a port. */
export async function startBunqueue(): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), "lovage-bench-bunqueue-"));
  const [tcp, http] = [await freePort(), await freePort()];
  const script = join(dirname(nodePeers().resolve("bunqueue/package.json")), "dist", "main.js");
  const ports = ["--tcp-port", String(tcp), "--http-port", String(http), "--host", "127.0.0.1"];
  const child = start(bun(), [script, "start", "--data-path", join(folder, "bunq.db"), ...ports], { cwd: folder });
  await until(() => listens(tcp), child);
  return { pid: child.pid, socket: String(tcp), clear: async () => undefined, stop: () => end(child, folder) };
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const client = connect(port, "127.0.0.1", () => {
      client.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });

function find(command: string, folders: readonly string[], hint: string): string {
  for (const folder of [...folders, ...(process.env["PATH"] ?? "").split(delimiter)]) {
    if (existsSync(join(folder, command))) return join(folder, command);
  }
  throw new PeerMissing(`${command} is not on this machine (Debian: ${hint})`);
}

async function until(ready: () => Promise<boolean>, child: Child): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const ended = child.ended();
    if (ended !== undefined) throw ended;
    if (await ready()) return;
    await sleep(25);
  }
  throw new Error("the server did not come up in 10 s");
}

const answers = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    const client = connect(socket, () => {
      client.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });

const redisCommand = (socket: string, command: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const client = connect(socket, () => client.write(`${command}\r\n`)).on("error", reject);
    client.once("data", () => {
      client.destroy();
      resolve();
    });
  });

async function end(child: Child, folder: string): Promise<void> {
  await child.stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
