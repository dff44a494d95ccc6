/**
 * Errors that nobody caught. The task that one came from is named by its async context, and pays alone: Node would end the
 * process, and with it all that runs beside.
 */
import type { Lovage } from "../app.ts";
import { originScope, type RunScope } from "../tasks/context.ts";
import type { Log } from "./log.ts";
import { fieldsOf, nameOf, stackOf } from "./report.ts";

/** How it came: a promise that rejected and that nobody awaited, or a throw out of a timer or an event. */
export type FaultKind = "unhandledRejection" | "uncaughtException";

export interface FaultWatcher {
  readonly app: Lovage;
  /** A task of the app left it; the task may have ended long ago. */
  ofTask(kind: FaultKind, error: unknown, scope: RunScope): void;
  /** It came from elsewhere, and the process ends of it, as it would without a worker. Resolves when that may happen. */
  ofProcess(): Promise<void>;
}

/** What is in hand is given back within this, in milliseconds, before the process ends. */
const LAST_WORDS_MS = 5_000;

const watchers = new Set<FaultWatcher>();

/** Watches for as long as a worker runs; returns what ends it. */
export function watchFaults(watcher: FaultWatcher): () => void {
  if (watchers.size === 0) {
    process.on("unhandledRejection", onRejection);
    process.on("uncaughtException", onException);
  }
  watchers.add(watcher);
  return () => {
    watchers.delete(watcher);
    if (watchers.size > 0) return;
    process.off("unhandledRejection", onRejection);
    process.off("uncaughtException", onException);
  };
}

/**
 * Watches for good, in front of who listens already and is asked only about what is of no task: Lambda's runtime would end
 * the process of it, whatever others say.
 */
export function interceptFaults(watcher: FaultWatcher): void {
  watchers.add(watcher);
  intercept("unhandledRejection", onRejection);
  intercept("uncaughtException", onException);
}

function intercept(kind: FaultKind, otherwise: (error: unknown) => void): void {
  const before = process.rawListeners(kind);
  process.removeAllListeners(kind);
  process.on(kind, (error: unknown, detail: unknown) => {
    if (isOfTask(kind, error)) return;
    if (before.length === 0) otherwise(error);
    for (const listener of before) Reflect.apply(listener, process, [error, detail]);
  });
}

/** Tells a fault in the log, by the name of its task. A run that it left open ends of it: what that waits for may never come. */
export function reportFault(
  log: Log,
  kind: FaultKind,
  error: unknown,
  { self, message, isOpen, fail }: RunScope,
): void {
  const what =
    kind === "unhandledRejection"
      ? "left a promise that rejected and that nobody awaited"
      : "threw where nobody could catch it";
  const when = isOpen ? "" : ", after it had ended";
  log("error", `Task ${nameOf(message)} ${what}${when}: ${stackOf(error)}`, {
    ...fieldsOf(message, self.request.queue),
    error: stackOf(error),
  });
  if (isOpen && kind === "uncaughtException") fail(error);
}

function isOfTask(kind: FaultKind, error: unknown): boolean {
  const scope = originScope();
  const watcher = [...watchers].find(({ app }) => app === scope?.self.app);
  if (scope === undefined || watcher === undefined) return false;
  watcher.ofTask(kind, error, scope);
  return true;
}

function onRejection(error: unknown): void {
  if (isOfTask("unhandledRejection", error) || process.listenerCount("unhandledRejection") > 1) return;
  // As Node does where nobody listens.
  throw error;
}

function onException(error: unknown): void {
  // Whoever else listens has its own way.
  if (isOfTask("uncaughtException", error) || process.listenerCount("uncaughtException") > 1) return;
  console.error(error);
  const end = () => process.exit(1);
  setTimeout(end, LAST_WORDS_MS);
  void Promise.allSettled([...watchers].map((watcher) => watcher.ofProcess())).then(end);
}
