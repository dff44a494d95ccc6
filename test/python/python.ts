/** Python with Celery in it, for tests that have one at the other end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { skipped } from "../skipped.ts";

/** The exit status by which the script says that this machine has no Python for it (EX_UNAVAILABLE). */
const UNAVAILABLE = 69;

/**
 * The Python of an environment with this Celery, made where there is none yet. `undefined` where the machine has no Python:
 * the file's tests are to be {@link skipped}.
 */
export async function celeryPython(version: "5.7" | "5.4" | "suite" | "traced"): Promise<string | undefined> {
  const script = spawn(join(import.meta.dirname, "celery.sh"), ["install", version], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err, [code]] = await Promise.all([text(script.stdout), text(script.stderr), once(script, "close")]);
  if (code === 0) return out.trim();
  const said = err.trim().slice(-2000);
  if (code !== UNAVAILABLE) throw new Error(`celery.sh failed: ${said}`);
  return skipped(`the tests beside Celery ${version} did not run. ${said}`);
}

/** A Python program that answers lines of JSON, in whatever order it gets done with them. */
export interface Answering {
  /** Throws with Python's traceback where answering raised, and when the program ends. */
  ask(question: object): Promise<unknown>;
  stop(): Promise<void>;
}

export function startAnswering(python: string, script: string, env: Readonly<Record<string, string>> = {}): Answering {
  const child = spawn(python, [script], { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  const exited = once(child, "close");
  const open = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  let next = 0;
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (more: string) => {
    said = (said + more).slice(-4000);
  });
  // A write to a program that has ended is answered by its end.
  child.stdin.on("error", () => undefined);
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { id, answer, raised } = JSON.parse(line) as { id: number; answer?: unknown; raised?: string };
    const waiting = open.get(id);
    open.delete(id);
    if (raised === undefined) waiting?.resolve(answer);
    else waiting?.reject(new Error(`Python raised:\n${raised}`));
  });
  let ended: Error | undefined;
  child.on("close", (code, signal) => {
    ended = new Error(`Python ended (${code ?? signal}): ${said}`);
    for (const { reject } of open.values()) reject(ended);
  });
  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        const id = next++;
        open.set(id, { resolve, reject });
        child.stdin.write(`${JSON.stringify({ id, ...question })}\n`);
      }),
    async stop() {
      child.stdin.end();
      const late = setTimeout(() => child.kill("SIGKILL"), 2000);
      await exited;
      clearTimeout(late);
    },
  };
}
