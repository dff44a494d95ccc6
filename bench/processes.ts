/** The processes of a contender: started with a line of JSON at a time in either direction, and what they use of the machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** A child that tells what happens in lines of JSON; anything else it says is kept for the error. */
export interface Child {
  readonly pid: number;
  /** The next line of JSON with this event. Rejects when the child ends before, or after 10 minutes. */
  next(event: string): Promise<Readonly<Record<string, unknown>>>;
  /** Gives it a line to read. */
  send(line: string): void;
  /** Why it is no more; `undefined` while it runs. */
  ended(): Error | undefined;
  stop(): Promise<void>;
}

/** Whatever ends this process ends its children. */
const living = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const PATIENCE_MS = 600_000;
/** From a polite end to a kill. */
const GRACE_MS = 10_000;

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
}

export function start(command: string, args: readonly string[], options: StartOptions = {}): Child {
  const { env = {}, ...rest } = options;
  const child = spawn(command, args, { ...rest, env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  living.add(child);
  child.once("close", () => living.delete(child));
  let said = "";
  const hear = (text: string) => {
    said = (said + text).slice(-4000);
  };
  child.stderr.setEncoding("utf8").on("data", hear);
  const seen: Record<string, unknown>[] = [];
  const listeners = new Set<() => void>();
  let ended: Error | undefined;
  const tell = () => {
    for (const listener of [...listeners]) listener();
  };
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return hear(`${line}\n`);
    seen.push(JSON.parse(line) as Record<string, unknown>);
    tell();
  });
  child.on("error", (error) => {
    ended = error;
    tell();
  });
  child.on("close", (code, signal) => {
    ended = new Error(`${command} ${args.join(" ")} ended (${code ?? signal}): ${said}`);
    tell();
  });
  return {
    pid: child.pid ?? -1,
    next: (event) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          listeners.delete(look);
          reject(new Error(`${command} ${args.join(" ")} did not say ${event}: ${said}`));
        }, PATIENCE_MS);
        function look(): void {
          const index = seen.findIndex((line) => line["event"] === event);
          const [line] = index < 0 ? [] : seen.splice(index, 1);
          if (line === undefined && ended === undefined) return;
          clearTimeout(timer);
          listeners.delete(look);
          if (line === undefined) reject(ended);
          else resolve(line);
        }
        listeners.add(look);
        look();
      }),
    send: (line) => void child.stdin.write(`${line}\n`),
    ended: () => ended,
    stop: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const closed = once(child, "close");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  await closed;
  clearTimeout(timer);
}

export interface Usage {
  /** CPU of the processes and their living children since each began. */
  readonly seconds: number;
  /** The most memory that each held, added up. */
  readonly megabytes: number;
}

/** Clock ticks a second in `/proc` (`getconf CLK_TCK`), 100 on every Linux that Node runs on. */
const TICKS = 100;

/** What processes use, their children included. `undefined` where there is no `/proc` to tell. */
export function usage(pids: readonly number[]): Usage | undefined {
  let entries: string[];
  try {
    entries = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return undefined;
  }
  const parents = new Map<number, { readonly parent: number; readonly ticks: number }>();
  for (const name of entries) {
    const stat = readText(`/proc/${name}/stat`);
    // The name of the program, in brackets, may itself have spaces.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields.length > 13)
      parents.set(Number(name), { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) });
  }
  let ticks = 0;
  let kilobytes = 0;
  for (const [pid, own] of parents) {
    let at: number | undefined = pid;
    while (at !== undefined && !pids.includes(at)) at = parents.get(at)?.parent;
    if (at === undefined) continue;
    ticks += own.ticks;
    kilobytes += Number(/VmHWM:\s+(\d+)/.exec(readText(`/proc/${pid}/status`))?.[1] ?? 0);
  }
  return { seconds: ticks / TICKS, megabytes: kilobytes / 1024 };
}

/** A process may end between the listing and the look. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
