/** Options that several commands share. */
import { parseTime } from "../protocol/time.ts";
import { InvalidArgumentError, Option } from "commander";
import { LOG_LEVELS, type LogLevel } from "../workers/log.ts";
import { LOG_FORMATS } from "./output.ts";

export const appOption = (): Option =>
  new Option(
    "-A, --app <module[:export]>",
    "the module that exports the app, as ./tasks.ts; without an export: app, default, or the only one",
  )
    .env("LOVAGE_APP")
    .makeOptionMandatory();

export const logLevelOption = (): Option =>
  new Option("-l, --loglevel <level>", "the least that is printed, in small letters or large")
    .argParser(parseLevel)
    .default("info");

export const logOptions = (): readonly Option[] => [
  logLevelOption(),
  new Option("--log-format <format>", "text in Celery's form, or one JSON object a line")
    .choices(LOG_FORMATS)
    .default("text"),
];

/** Celery's levels too, which are written large. */
function parseLevel(value: string): LogLevel {
  const given = value.toLowerCase().replace(/^(critical|fatal)$/, "error");
  const level = LOG_LEVELS.find((one) => one === given);
  if (level === undefined) throw new InvalidArgumentError(`Allowed choices are ${LOG_LEVELS.join(", ")}.`);
  return level;
}

/** `celery -A proj worker`: what stands before the command is given behind it. */
export function appLast(argv: readonly string[]): string[] {
  const [node = "", script = "", ...args] = argv;
  const [first = "", second, ...rest] = args;
  if (/^--app=|^-A./.test(first)) return [node, script, ...args.slice(1), first];
  if (/^(-A|--app)$/.test(first) && second !== undefined) return [node, script, ...rest, first, second];
  return [...argv];
}

/** A list with commas, or the option several times. */
export const listOption = (flags: string, description: string): Option =>
  new Option(flags, description).argParser((value: string, before: readonly string[] = []) => [
    ...before,
    ...value
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean),
  ]);

export function parseSeconds(value: string): number {
  const seconds = Number(value);
  if (value.trim() === "" || !Number.isFinite(seconds) || seconds < 0) {
    throw new InvalidArgumentError("It must be a number of seconds, 0 or more.");
  }
  return seconds;
}

export function parseCount(value: string): number {
  const count = Number(value);
  if (value.trim() === "" || !Number.isInteger(count)) throw new InvalidArgumentError("It must be a whole number.");
  return count;
}

export const jsonParser =
  <T>(what: string, isRight: (value: unknown) => value is T) =>
  (text: string): T => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new InvalidArgumentError(`It must be ${what} in JSON: ${String(error)}`);
    }
    if (!isRight(value)) throw new InvalidArgumentError(`It must be ${what} in JSON.`);
    return value;
  };

/** A time in ISO 8601, in milliseconds since the epoch; without an offset it is UTC. `undefined` where it is none. */
export function readTime(value: string): number | undefined {
  try {
    return parseTime(value);
  } catch {
    return undefined;
  }
}
