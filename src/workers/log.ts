/** What a worker says, before anybody decides how it looks, and the one form that machines read. */
import { clip, MAX_LINE_LENGTH, toJson } from "../brief.ts";

export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;
/** The levels of a worker's log. The first writes the most lines. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * Takes a line and its facts. `fields` are for machines: the line says the same in words. A `message` among them is what
 * machines get in the line's place.
 */
export type Log = (level: LogLevel, line: string, fields?: Readonly<Record<string, unknown>>) => void;

export const silent: Log = () => {};

/** Lambda tells levels apart by these names, and drops what is below the lowest that it is to show. */
const NAMES = { debug: "DEBUG", info: "INFO", warning: "WARN", error: "ERROR" } as const satisfies Record<
  LogLevel,
  string
>;

/**
 * A line as JSON, in the form that Lambda reads: `timestamp`, `level`, who speaks, `message`, then the facts. The first
 * attempt is 1; a message counts the `retries` before it.
 */
export function jsonLine(
  now: number,
  level: LogLevel,
  speaker: Readonly<Record<string, string>>,
  line: string,
  { message = line, retries, ...facts }: Readonly<Record<string, unknown>> = {},
): string {
  return toJson({
    timestamp: new Date(now).toISOString(),
    level: NAMES[level],
    ...speaker,
    message: clip(String(message), MAX_LINE_LENGTH),
    attempt: typeof retries === "number" ? retries + 1 : undefined,
    ...facts,
  });
}
