/** A terminal for commands that ask: Python opens it. */
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { skipped } from "../skipped.ts";

/** It has to be as wide as the lines that are looked for. */
const TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
const WIDE = 'stty cols 200 rows 50; exec "$@"';

/** Whether there can be one. Where not, `what` is {@link skipped}. */
export function hasTerminal(what: string): boolean {
  if (spawnSync("python3", ["-c", "import pty"]).status === 0) return true;
  skipped(`${what}: python3, which opens a terminal, is not installed.`);
  return false;
}

/** Starts a command on a terminal: what is written to its `stdin` is typed there. */
export const onTerminal = (
  command: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string | undefined>> },
): ChildProcessByStdio<Writable, Readable, Readable> =>
  spawn("python3", ["-c", TERMINAL, "sh", "-c", WIDE, "sh", ...command], {
    ...options,
    stdio: ["pipe", "pipe", "pipe"],
  });
