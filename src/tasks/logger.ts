/** A task's own lines in the log, with its id: Celery's `get_task_logger`. */
import { brief, clip, harmless, MAX_LINE_LENGTH, plain } from "../brief.ts";
import { errorStack } from "../protocol/exceptions.ts";
import type { Log, LogLevel } from "../workers/log.ts";
import { currentScope } from "./context.ts";

/** Facts of a line, in JSON an object `extra` of their own, and in text behind the message. */
export type LogExtra = Readonly<Record<string, unknown>>;

/**
 * Writes lines into the log of the worker, from its `--loglevel` on; on Lambda from the function's log level on. An error in
 * place of a message is written with its stack. Long lines are shortened, and control characters are escaped. Never throws.
 */
export interface TaskLogger {
  /** Writes a line at level `debug`. */
  debug(message: string | Error, extra?: LogExtra): void;
  /** Writes a line at level `info`. */
  info(message: string | Error, extra?: LogExtra): void;
  /** Writes a line at level `warning`. */
  warning(message: string | Error, extra?: LogExtra): void;
  /** Writes a line at level `error`. */
  error(message: string | Error, extra?: LogExtra): void;
}

/** Takes a line of a run; `logger` is the name of who writes. */
export type Say = (level: LogLevel, message: unknown, extra?: LogExtra, logger?: string) => void;

/** Most characters of what comes with a line. */
const EXTRA_LENGTH = 10_000;

/** Lines that begin with a name, and carry the facts that machines know it by. */
export const sayer =
  (log: Log, name: string, facts: Readonly<Record<string, unknown>>): Say =>
  (level, given, extra, logger) => {
    const message = textOf(given);
    const line = extra === undefined ? message : `${message} ${brief(extra, EXTRA_LENGTH)}`;
    log(level, name === "" ? line : `${name}: ${line}`, {
      ...facts,
      message,
      ...(logger === undefined ? {} : { logger }),
      ...(extra === undefined ? {} : { extra: plain(extra, EXTRA_LENGTH) }),
    });
  };

export const loggerOf = (say: Say): TaskLogger => ({
  debug: (message, extra) => say("debug", message, extra),
  info: (message, extra) => say("info", message, extra),
  warning: (message, extra) => say("warning", message, extra),
  error: (message, extra) => say("error", message, extra),
});

/** For what runs in no worker. */
export const consoleLog: Log = (level, line) =>
  console[level === "warning" ? "warn" : level](harmless(clip(line, MAX_LINE_LENGTH)));

const toConsole = sayer(consoleLog, "", {});

/**
 * A logger for modules that tasks use, made once in a module: `const log = getTaskLogger("shop.mail")`. Each line carries the
 * id of the task that writes it; outside of a task it goes to the console.
 *
 * @param name In JSON it is the line's `logger`.
 */
export const getTaskLogger = (name?: string): TaskLogger =>
  loggerOf((level, message, extra) => (currentScope()?.say ?? toConsole)(level, message, extra, name));

function textOf(given: unknown): string {
  if (typeof given === "string") return given;
  return given instanceof Error ? errorStack(given) : brief(given, EXTRA_LENGTH);
}
