/** What commands print: log lines in Celery's form or as JSON, values, progress. */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { styleText } from "node:util";
import { clip, harmless, harmlessLine, MAX_LINE_LENGTH } from "../brief.ts";
import { jsonLine, LOG_LEVELS, type Log, type LogLevel } from "../workers/log.ts";

export { toJson } from "../brief.ts";

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LogOptions {
  readonly logFormat: LogFormat;
  /** The least that is printed. */
  readonly loglevel: LogLevel;
  /** Celery's name of the process that speaks: `MainProcess`, `Beat`. */
  readonly process: string;
}

/** A log on standard output: `[2026-11-24 08:30:00,123: INFO/MainProcess] line`, or one JSON object a line. */
export function createLog({ logFormat, loglevel, process: name }: LogOptions): Log {
  const least = LOG_LEVELS.indexOf(loglevel);
  const write = process.stdout.write.bind(process.stdout);
  return (level, line, fields) => {
    if (LOG_LEVELS.indexOf(level) < least) return;
    const now = new Date();
    write(
      logFormat === "json"
        ? `${jsonLine(now.getTime(), level, { process: name }, line, fields)}\n`
        : `[${localTime(now)}: ${level.toUpperCase()}/${name}] ${logLine(line)}\n`,
    );
  };
}

/** What follows the first line, set in: no error or id of anybody's begins a line that looks like one of ours. */
export const setIn = (text: string): string => text.replace(/\n(?=\S)/g, "\n  ");

const logLine = (line: string): string => setIn(harmless(clip(line, MAX_LINE_LENGTH)));

/** Writes to standard output, as all commands do: nothing that comes from a message, a row or a URL tells a terminal what to do. */
export const print = (text: string): void => console.log(harmless(text));

/** One complaint to standard error, of one line or set in from the second on. */
export const complain = (text: string): void => console.error(setIn(harmless(text)));

/** `2026-11-24 08:30:00,123` in the machine's own zone, as Python's logging writes it. */
function localTime(date: Date): string {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().replace("T", " ").replace(".", ",").slice(0, -1);
}

/**
 * Makes log lines of what tasks print themselves, as Celery does: a reader of JSON lines is to find nothing else. What
 * was made before, by {@link createLog}, still writes to standard output.
 */
export function redirectPrints(log: Log): void {
  let rest = "";
  process.once("exit", () => rest !== "" && log("warning", rest));
  process.stdout.write = ((chunk: string | Uint8Array, encoding?: unknown, callback?: unknown) => {
    const lines = (rest + (typeof chunk === "string" ? chunk : Buffer.from(chunk).toString())).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) log("warning", line);
    const done = typeof encoding === "function" ? encoding : callback;
    if (typeof done === "function") process.nextTick(done as () => void);
    return true;
  }) as typeof process.stdout.write;
}

/** Colours of the names in {@link prefixer}, in their order. */
const COLORS = ["gray", "green", "magenta", "cyan", "blue"] as const;

/**
 * The lines of several processes on one terminal: each begins with the name of whose it is, in a colour of its own where the
 * terminal has colours and NO_COLOR is not set. Warnings are yellow and errors red.
 */
export function prefixer(names: readonly string[]): {
  line(name: string, text: string): void;
  follow(name: string, stream: Readable): void;
} {
  const width = Math.max(...names.map((name) => name.length));
  const paint = (color: Parameters<typeof styleText>[0], text: string) =>
    styleText(color, text, { stream: process.stdout });
  const line = (name: string, text: string) => {
    const start = paint(COLORS[names.indexOf(name)] ?? "gray", `${name.padEnd(width)} |`);
    const color = /^\[[^\]]*: ERROR\/|^lovage: /.test(text)
      ? "red"
      : /^\[[^\]]*: WARNING\//.test(text)
        ? "yellow"
        : undefined;
    process.stdout.write(`${start} ${color === undefined ? text : paint(color, text)}\n`);
  };
  return {
    line,
    follow: (name, stream) =>
      void createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on("line", (text) =>
        line(name, text),
      ),
  };
}

/** Columns as wide as their widest cell: numbers to the right, names to the left. */
export function table(given: readonly (readonly (string | number)[])[]): string {
  const rows = given.map((row) => row.map((cell) => harmlessLine(String(cell))));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return column === 0 ? String(cell).padEnd(width) : String(cell).padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A line on a terminal that says how far a wait has come, and is gone afterwards. Where there is no terminal, nothing. */
export async function withProgress<T>(
  line: (seconds: number) => string,
  work: Promise<T>,
  terminal: Pick<NodeJS.WriteStream, "isTTY" | "write"> = process.stderr,
): Promise<T> {
  if (!terminal.isTTY) return work;
  const began = performance.now();
  const draw = () => terminal.write(`\r\u001b[K${harmlessLine(line(Math.floor((performance.now() - began) / 1000)))}`);
  draw();
  const timer = setInterval(draw, 200);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    terminal.write("\r\u001b[K");
  }
}
