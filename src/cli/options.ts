/** Options that several commands share. */
import { parseTime } from "../protocol/time.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import { harmlessLine } from "../brief.ts";
import { didYouMean } from "../nearest.ts";
import { LOG_LEVELS, type LogLevel } from "../workers/log.ts";
import { EXIT_HELP } from "./exit.ts";
import { LOG_FORMATS } from "./output.ts";

export const appOption = (): Option =>
  new Option(
    "-A, --app <module[:export]>",
    "the module or package that exports the app, such as ./tasks.ts or @shop/tasks; without an export: app, default, or the only one",
  )
    .env("LOVAGE_APP")
    .makeOptionMandatory();

export const logLevelOption = (): Option =>
  new Option("-l, --loglevel <level>", "the lowest level that is printed, in small or capital letters")
    .argParser(parseLevel)
    .default("info");

export const logOptions = (): readonly Option[] => [
  logLevelOption(),
  new Option("--log-format <format>", "text as Celery prints it, or one JSON object a line")
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

/** `celery -A proj worker`, and `lovage control -A ./tasks.ts pause`: what stands before the command is given behind it. */
export function appLast(argv: readonly string[]): string[] {
  const [node = "", script = "", ...args] = argv;
  const at = args.slice(0, 2).findIndex((one) => /^(-A|--app=|--app$)/.test(one));
  if (at === -1 || (at === 1 && args[0]?.startsWith("-"))) return [...argv];
  const isApart = /^(-A|--app)$/.test(args[at] ?? "");
  const app = args.splice(at, isApart ? 2 : 1);
  // What stands behind `--` is another program's.
  const end = args.indexOf("--");
  args.splice(end === -1 ? args.length : end, 0, ...app);
  return [node, script, ...args];
}

/** `lovage help dlq show` is `lovage dlq show --help`: by itself commander looks at the first name alone. */
export function helpLast(argv: readonly string[]): string[] {
  const [node = "", script = "", ...args] = argv;
  const [help, ...names] = args;
  return help === "help" && names.length > 1 ? [node, script, ...names, "--help"] : [...argv];
}

/** Ends with what was meant: what commander says by itself, also where it has no word, as behind `help`. */
export function unknownCommand(command: Command, name: string): never {
  const known = command.commands.map((one) => one.name());
  return command.error(`error: unknown command '${harmlessLine(name)}'${didYouMean(name, known)}`);
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

function parseLimit(value: string): number {
  const count = parseCount(value);
  if (count < 0 || !Number.isSafeInteger(count))
    throw new InvalidArgumentError("It must be a whole number, 0 or more.");
  return count;
}

export interface HealthAddress {
  readonly host: string;
  readonly port: number;
}

/** Where it listens where nothing is said: nobody else's port on most machines, and reached from this one alone. */
export const DEFAULT_ADDRESS: HealthAddress = { host: "127.0.0.1", port: 9808 };

/** `9808`, `0.0.0.0:9808` or `[::]:9808`; nothing: {@link DEFAULT_ADDRESS}. */
export function parseAddress(value: string): HealthAddress {
  const {
    host = DEFAULT_ADDRESS.host,
    v6,
    port,
  } = /^(?:(?:\[(?<v6>[^\]]+)\]|(?<host>[^:[\]]+)):)?(?<port>\d{1,5})$/.exec(value)?.groups ?? {};
  if (port === undefined || Number(port) > 65_535)
    throw new InvalidArgumentError("It must be a port, or host:port, as 9808, 0.0.0.0:9808 or [::]:9808.");
  return { host: v6 ?? host, port: Number(port) };
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

const UNITS: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, min: 60, h: 3600, d: 86_400 };

/** So long ago (`3600`, `90s`, `30m`, `2h`, `7d`), or a time in ISO 8601. In milliseconds since the epoch. */
function parseInstant(value: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?$/.exec(value.trim()) ?? [];
  if (number !== "") return Date.now() - Number(number) * (UNITS[unit] ?? 1) * 1000;
  const time = readTime(value);
  if (time === undefined) throw new InvalidArgumentError("It must be a time in ISO 8601, or so long ago: 30m, 2h, 7d.");
  return time;
}

// ── the same words, wherever they are asked for ─────────────────────────────────────────────────────────────────────

/** @param shape What it prints, in the names of the API where it has one. */
export const jsonOption = (shape: string) => new Option("--json", `as JSON: ${shape}`).default(false);
export const watchOption = () => new Option("--watch", "repeat every two seconds, until Ctrl-C").default(false);
export const byOption = () => new Option("--by <name>", "the user that the journal names (default: the caller)");
export const yesOption = () => new Option("-y, --yes", "do not ask").default(false);
export const dryRunOption = () => new Option("--dry-run", "only count").default(false);
export const fromOption = () =>
  new Option("--from <time>", "from this time on: 30m, 2h or 7d ago, or a time in ISO 8601").argParser(parseInstant);
export const toOption = () => new Option("--to <time>", "before this time, in the same forms").argParser(parseInstant);
export const limitOption = (most?: number) => {
  const option = new Option("--limit <n>", "at most so many").argParser(parseLimit);
  return most === undefined ? option : option.default(most);
};
export const taskOption = () => listOption("--task <names>", "tasks, or patterns such as media.*");
export const textOption = () =>
  new Option("--text <part>", "a part of the id, the task's name, the arguments or the error");
export const queueOption = (which = "queues") => listOption("-Q, --queue <names>", which);

/** Without what was not given: the app refuses what it does not know. */
export const given = <T extends object>(options: T): { readonly [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;

/** What all commands are given that look at an app. */
export interface AppOptions {
  readonly app: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** Which entries of the journal are meant. */
export interface FilterOptions {
  readonly state?: readonly string[];
  readonly task?: readonly string[];
  readonly queue?: readonly string[];
  readonly worker?: readonly string[];
  readonly root?: readonly string[];
  readonly text?: string;
  readonly from?: number;
  readonly to?: number;
  readonly limit?: number;
}

/** What a person would stare at. */
export const watched = (command: Command, shape: string): Command =>
  command.addOption(appOption()).addOption(jsonOption(shape)).addOption(watchOption()).addHelpText("after", EXIT_HELP);
