/** Runs the `lovage` command as its users do, and waits for what it says. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Lovage } from "lovage";
import { onTestFinished, vi } from "vitest";
import { createProgram } from "../../src/cli/program.ts";

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");
export const module = join(import.meta.dirname, "child.ts");

/** For `beforeEach`: a command that runs in the test's process leaves its exit code and environment as they were. */
export function asItWas(): void {
  const { exitCode } = process;
  onTestFinished(() => {
    process.exitCode = exitCode;
    vi.unstubAllEnvs();
  });
}

export interface Running {
  readonly process: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the first match in what it has printed; rejects when it ends without one. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  readonly exited: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;
}

export interface Place {
  readonly folder: string;
  /** The app, as another process has it. */
  readonly app: Lovage;
  /** Starts a command here. */
  start(args: readonly string[], env?: Readonly<Record<string, string>>, stdin?: "ignore" | "pipe"): Running;
  /** Starts a worker of the app and waits until it is ready. */
  worker(args?: readonly string[], env?: Readonly<Record<string, string>>): Promise<Running>;
  /** What tasks have noted: the process and the words. */
  runs(): readonly (readonly [pid: number, ...words: string[]])[];
}

/**
 * A folder with a database of its own, gone after the test with all that was started in it.
 *
 * @param given Where messages and results are, the results by the name of a file of their own too. Default: both in the database.
 */
export function place(
  given: { readonly brokerUrl?: string; readonly resultBackend?: string; readonly results?: string } = {},
): Place {
  const folder = mkdtempSync(join(tmpdir(), "lovage-cli-"));
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  const notes = join(folder, "runs");
  writeFileSync(notes, "");
  const { brokerUrl = url, results } = given;
  const resultBackend = results === undefined ? given.resultBackend : `sqlite:///${join(folder, results)}`;
  const own = resultBackend === undefined ? {} : { resultBackend };
  const app = new Lovage("cli", { brokerUrl, ...own });
  const started: Running[] = [];
  onTestFinished(async () => {
    for (const { process } of started) process.kill("SIGQUIT");
    await Promise.all(started.map(({ exited }) => exited));
    await app.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const start: Place["start"] = (args, env = {}, stdin = "ignore") => {
    const child = spawn(process.execPath, [launcher, ...args], {
      cwd: folder,
      env: {
        ...process.env,
        LOVAGE_BROKER_URL: brokerUrl,
        ...(own.resultBackend !== undefined && { LOVAGE_RESULT_BACKEND: own.resultBackend }),
        RUNS: notes,
        ...env,
      },
      stdio: [stdin, "pipe", "pipe"],
    });
    const running = follow(child);
    started.push(running);
    return running;
  };
  return {
    folder,
    app,
    start,
    async worker(args = [], env) {
      const running = start(["worker", "-A", module, ...args], env);
      await running.says(/ ready\./);
      return running;
    },
    runs: () =>
      readFileSync(notes, "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line) => {
          const [pid, ...words] = line.split(" ");
          return [Number(pid), ...words] as const;
        }),
  };
}

/** What a process says that was started with its output in pipes. */
export function follow(child: ChildProcess): Running {
  let stdout = "";
  let stderr = "";
  let over = false;
  const looking = new Set<() => void>();
  const look = () => {
    for (const one of looking) one();
  };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    look();
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    look();
  });
  const exited = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on("close", (code) => {
      over = true;
      look();
      resolve({ code, stdout, stderr });
    });
  });
  return {
    process: child,
    stdout: () => stdout,
    stderr: () => stderr,
    exited,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const one = () => {
          const found = pattern.exec(stdout) ?? pattern.exec(stderr);
          if (found === null && !over) return;
          looking.delete(one);
          if (found === null) reject(new Error(`ended without saying ${pattern}:\n${stdout}\n${stderr}`));
          else resolve(found);
        };
        looking.add(one);
        one();
      }),
  };
}

/** Runs a command in this process. */
export async function lovage(...args: string[]): Promise<string> {
  const lines: string[] = [];
  const spies = [
    vi.spyOn(console, "log").mockImplementation((line: string) => void lines.push(line)),
    vi.spyOn(console, "error").mockImplementation((line: string) => void lines.push(line)),
  ];
  try {
    await (await createProgram(args[0])).parseAsync(["node", "lovage", ...args, "-A", module]);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return lines.join("\n");
}

/** Whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
