/**
 * Errors that nobody caught, and ends that nobody else asked for. The task that one came from is named by its async context,
 * and pays alone: Node would end the process, and with it all that runs beside.
 */
import type { Lovage } from "../app.ts";
import { SystemExit } from "../errors.ts";
import { originScope, type RunScope } from "../tasks/context.ts";
import type { Log } from "./log.ts";
import { listenLastingly } from "./lasting.ts";
import { nameOf, stackOf } from "./report.ts";

/** How it came: a promise that rejected and that nobody awaited, a throw out of a timer or an event, or `process.exit()`. */
export type FaultKind = "unhandledRejection" | "uncaughtException" | "exit";

export interface FaultWatcher {
  readonly app: Lovage;
  /** The process is the worker's own: a task's `process.exit()` ends the task. */
  readonly ownsProcess: boolean;
  /** A task of the app left it; the task may have ended long ago. */
  ofTask(kind: FaultKind, error: unknown, scope: RunScope): void;
  /** It came from elsewhere, and the process ends of it, as it would without a worker. Resolves when that may happen. */
  ofProcess?(): Promise<void>;
  /** The process ends now, by the task whose scope it is, or by nobody's: what is in hand is to be given back before this returns. */
  lastWords?(scope: RunScope | undefined): void;
}

/** What is in hand is given back within this, in milliseconds, before the process ends. */
const LAST_WORDS_MS = 5_000;

const watchers = new Set<FaultWatcher>();
/** Each ends one of their listeners. */
let listening: (() => void)[] = [];

/** What was told of when it was thrown, and is not to be told again where nobody catches it. */
const told = new WeakSet<object>();

/** Watches for as long as a worker runs; returns what ends it. */
export function watchFaults(watcher: FaultWatcher): () => void {
  if (watchers.size === 0) {
    listening = [
      listenLastingly("unhandledRejection", onRejection),
      listenLastingly("uncaughtException", onException),
      listenLastingly("exit", onExit),
      interceptExit(),
    ];
  }
  watchers.add(watcher);
  return () => {
    watchers.delete(watcher);
    if (watchers.size > 0) return;
    for (const end of listening.splice(0)) end();
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
  interceptExit();
}

/** `process.exit` stays what it was to all but the tasks of a worker whose own the process is. Returns what ends that. */
function interceptExit(): () => void {
  const { exit } = process;
  const own: typeof exit = (code) => {
    const error = new SystemExit(code);
    if (!isOfTask("exit", error)) return Reflect.apply(exit, process, [code]);
    told.add(error);
    throw error;
  };
  process.exit = own;
  return () => {
    // Not what another has put in its place since, as a test does.
    if (process.exit === own) process.exit = exit;
  };
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

const FAULTS: Readonly<Record<FaultKind, string>> = {
  unhandledRejection: "left a promise that rejected and that nobody awaited",
  uncaughtException: "threw where nobody could catch it",
  exit: "was about to end its process",
};

/** Tells a fault in the log, by the name of its task. A run that it left open ends of it: what that waits for may never come. */
export function reportFault(
  log: Log,
  kind: FaultKind,
  error: unknown,
  { message, fields, isOpen, fail }: RunScope,
): void {
  const what = FAULTS[kind];
  const when = isOpen ? "" : ", after it had ended";
  log("error", `Task ${nameOf(message)} ${what}${when}: ${stackOf(error)}`, {
    ...fields,
    error: stackOf(error),
  });
  if (isOpen && kind !== "unhandledRejection") fail(error);
}

function isOfTask(kind: FaultKind, error: unknown): boolean {
  if (told.has(Object(error))) return true;
  const scope = originScope();
  const watcher = watcherOf(scope);
  if (scope === undefined || watcher === undefined || (kind === "exit" && !watcher.ownsProcess)) return false;
  watcher.ofTask(kind, error, scope);
  return true;
}

const watcherOf = (scope: RunScope | undefined): FaultWatcher | undefined =>
  [...watchers].find(({ app }) => app === scope?.self.app);

function onExit(): void {
  const scope = originScope();
  const culprits = watcherOf(scope);
  for (const watcher of watchers) watcher.lastWords?.(watcher === culprits ? scope : undefined);
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
  void Promise.allSettled([...watchers].map((watcher) => watcher.ofProcess?.())).then(end);
}
