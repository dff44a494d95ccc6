/** What commands print: log lines in Celery's form or as JSON, values, progress. */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { styleText } from "node:util";
import type { Order } from "../control/rows.ts";
import { clip, harmless, harmlessLine, MAX_LINE_LENGTH, toJson } from "../brief.ts";
import { jsonLine, LOG_LEVELS, type Log, type LogLevel } from "../workers/log.ts";

export { toJson };

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

/** Writes lines to standard output as they are, whatever {@link redirectPrints} does later. */
export function lineWriter(): (line: string) => void {
  const write = process.stdout.write.bind(process.stdout);
  return (line) => void write(`${line}\n`);
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

type Cells = readonly (string | number)[];

/** A longer cell is cut, in characters. */
const MAX_CELL = 120;
const GAP = "  ";
const isNumeric = (cell: string): boolean => /^(|\?|-?[\d.]+( m?s)?)$/.test(cell);

/**
 * Columns as wide as their widest cell, numbers to the right and names to the left. What does not fit into `width` characters
 * stands below its row, behind the column's name.
 */
export function table(given: readonly Cells[], width = Number.POSITIVE_INFINITY): string {
  const [head = [], ...rows] = given.map((row) => row.map((cell) => clip(harmlessLine(String(cell)), MAX_CELL)));
  const columns = head.map((name, column) => {
    const cells = rows.map((row) => row[column] ?? "");
    const widest = cells.reduce((most, { length }) => Math.max(most, length), name.length);
    return { widest, pad: cells.every(isNumeric) ? ("padStart" as const) : ("padEnd" as const) };
  });
  const fitting = fittingOf(
    columns.map(({ widest }) => widest),
    width,
  );
  const line = (row: readonly string[]) =>
    clip(
      columns
        .slice(0, fitting)
        .map(({ widest, pad }, column) => (row[column] ?? "")[pad](widest))
        .join(GAP)
        .trimEnd(),
      width,
    );
  const below = (row: readonly string[]) =>
    wrapped(
      head.slice(fitting).flatMap((name, at) => {
        const cell = row[fitting + at] ?? "";
        if (cell === "") return [];
        return [name === "" ? cell : `${name}: ${cell}`];
      }),
      width,
    );
  return [line(head), ...rows.flatMap((row) => [line(row), ...below(row)])].join("\n");
}

/** A last column that has so much room is cut rather than put below. */
const ENOUGH = 40;

/** How many columns stand beside each other: one at least. */
function fittingOf(widths: readonly number[], most: number): number {
  let used = 0;
  for (const [at, width] of widths.entries()) {
    const room = most - used;
    if (width > room && !(at === widths.length - 1 && room >= ENOUGH)) return Math.max(1, at);
    used += width + GAP.length;
  }
  return widths.length;
}

/** As many to a line as there is room for, set in. */
function wrapped(parts: readonly string[], width: number): readonly string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + GAP.length + part.length <= width) lines[lines.length - 1] += GAP + part;
    else lines.push(clip(`    ${part}`, width));
  }
  return lines;
}

/** How many characters a line of standard output may have: to a pipe, any number. */
const terminalWidth = (): number => (process.stdout.isTTY ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY);

/** Prints a table that fits into the terminal. */
export const printTable = (rows: readonly Cells[]): void => print(table(rows, terminalWidth()));

/** An app, of which its zone alone is asked. */
interface Zoned {
  readonly config: { readonly timezone: string };
}

/** `3 min ago`. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** A time in the app's zone, and how long ago that is. */
export const when = (app: Zoned, time: number): string => `${timeIn(app, time)} (${ago(Date.now() - time)})`;

/** A narrower terminal has no room for the date of what happened today. */
const ROOM_FOR_DATES = 140;

export function timeIn({ config: { timezone: timeZone } }: Zoned, time: number): string {
  const date = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short" });
  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone, timeStyle: "medium" }).format(time);
  const isToday = date.format(time) === date.format(Date.now());
  return isToday && terminalWidth() < ROOM_FOR_DATES ? clock : `${date.format(time)} ${clock}`;
}

/** Loud, as nothing of the queue is begun; of one that is not paused, nothing. */
export const pausedText = (app: Zoned, paused: Order | undefined): string =>
  paused === undefined ? "" : `PAUSED by ${paused.by}, ${when(app, paused.at)}`;

/** It can go back neither in a line nor in a page, such as that of an editor. */
const isDumb = (): boolean => process.env["TERM"] === "dumb";

/** A line on a terminal that says how far a wait has come, and is gone afterwards. Where there is no terminal, nothing. */
export async function withProgress<T>(
  line: (seconds: number) => string,
  work: Promise<T>,
  terminal: Pick<NodeJS.WriteStream, "isTTY" | "write"> = process.stderr,
): Promise<T> {
  if (!terminal.isTTY || isDumb()) return work;
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

interface Watched {
  readonly watch?: boolean;
}

/** Does it once, or again and again. */
export async function repeatedly({ watch }: Watched, look: () => Promise<void>): Promise<void> {
  do {
    if (watch && process.stdout.isTTY && !isDumb()) process.stdout.write("\u001b[H\u001b[2J");
    await look();
    if (watch) await sleep(2000);
  } while (watch);
}

/** For people one thing after the other; what comes again and again is a line each time, for a reader of lines. */
export const printJson = (value: unknown, { watch }: Watched): void => print(toJson(value, watch ? undefined : 2));
