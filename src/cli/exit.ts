/** How a command ends, and how it says what went wrong. */
import { inspect } from "node:util";
import { oneLine } from "../brief.ts";
import {
  ImproperlyConfigured,
  LovageError,
  NotRegistered,
  QueueNotFound,
  ValidationError,
  WorkerNotFound,
} from "../errors.ts";
import { complain } from "./output.ts";

export const EXIT = {
  ok: 0,
  /** The command could not do it: a task failed, a broker is out of reach, a worker was ended cold. */
  failure: 1,
  /** What was asked cannot be done as it was asked: a wrong option, module, setting, task or queue. */
  usage: 2,
  /** Ctrl-C ended it before it was through: 128 and the signal's number, as shells have it. */
  interrupted: 130,
} as const;

export const EXIT_HELP = `
Exit codes: 0 done, 1 failed, 2 wrong usage (option, module, setting, task or queue).`;

const USAGE = [ImproperlyConfigured, NotRegistered, QueueNotFound, ValidationError, WorkerNotFound];

/** Says in one line what was wrong and returns the exit code. The stack is for those who ask for it. */
export function report(error: unknown, debug = false): number {
  const line = error instanceof LovageError ? error.message : `${oneLine(error)} (LOVAGE_DEBUG=1 shows the stack)`;
  complain(`lovage: ${line}`);
  if (debug || process.env["LOVAGE_DEBUG"]) complain(inspect(error));
  return USAGE.some((Class) => error instanceof Class) ? EXIT.usage : EXIT.failure;
}

/** Who stops a service sends one of these: a supervisor, a terminal by Ctrl-C or by closing, nodemon. */
export const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"] as const;

/**
 * One signal comes twice where it goes to a whole group, and who started this process passes its own on: a package manager after Ctrl-C,
 * `timeout`, a supervisor. Within this, in milliseconds, it is one.
 */
const ONE_SIGNAL_MS = 500;

/** Calls `stop` each time that somebody stops this process. */
export function onStop(stop: (signal: (typeof STOP_SIGNALS)[number]) => void): void {
  for (const signal of STOP_SIGNALS) {
    let last = Number.NEGATIVE_INFINITY;
    process.on(signal, () => {
      const now = performance.now();
      if (now - last < ONE_SIGNAL_MS) return;
      last = now;
      stop(signal);
    });
  }
}

/** Aborts when somebody stops this process. Told twice, it does not finish what it does. */
export function stopped(): AbortSignal {
  const stopping = new AbortController();
  onStop((signal) => {
    if (stopping.signal.aborted) process.exit(EXIT.failure);
    stopping.abort(new LovageError(`${signal} ended it behind what was in hand`));
  });
  return stopping.signal;
}

/**
 * Ctrl-C ends it behind what is in hand, so that dead letters are there again at once, and what was done is told of. The second one is
 * the system's own, and kills.
 */
export async function interruptible<T>(done: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once("SIGINT", interrupt);
  try {
    return await work(interrupted.signal);
  } finally {
    process.off("SIGINT", interrupt);
    if (interrupted.signal.aborted) {
      complain(`lovage: interrupted; the rest was not ${done}`);
      process.exitCode = EXIT.interrupted;
    }
  }
}
