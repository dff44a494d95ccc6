/** Numbers, times and texts as a page shows them. */
import { clip, harmless } from "../../brief.ts";

/** Most characters of a text that a table shows, and of one that has room of its own. */
const LINE = 160;
const BLOCK = 20_000;

/** A text of anybody's on one line, shortened. What would turn its direction or end the line is written out. */
export const line = (value: string, length = LINE): string =>
  clip(
    harmless(value.slice(0, length + 1))
      .replaceAll("\n", "⏎")
      .replaceAll("\t", " "),
    length,
  );

/** The same of many lines. */
export function block(value: string, length = BLOCK): string {
  const shown = harmless(value.slice(0, length));
  return value.length > length ? `${shown}\n… ${count(value.length - length)} more characters` : shown;
}

const digits = new Intl.NumberFormat("en-US");

export const count = (value: number): string => digits.format(value);

/** `1 task`, `312 tasks`. */
export const some = (value: number, what: string, many = `${what}s`): string =>
  `${count(value)} ${value === 1 ? what : many}`;

/** Seconds in the largest unit that tells something: `12 ms`, `1.4 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 0) return "0 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(seconds / 3600);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

const two = (large: number, unit: string, small: number, of: string): string =>
  small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${of}`;

/** `3 min ago`, `in 2 h`, `now`. The script of the page has the same words, and keeps them true. */
export function relative(ms: number): string {
  const seconds = Math.abs(ms) / 1000;
  if (seconds < 1) return "now";
  const [size, unit] = UNITS.find(([from]) => seconds >= from) ?? [1, "s"];
  const text = `${Math.floor(seconds / size)} ${unit}`;
  return ms < 0 ? `${text} ago` : `in ${text}`;
}

const UNITS: readonly (readonly [number, string])[] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

export interface Instant {
  /** The time of day, with the day where it is not today. */
  readonly short: string;
  /** Day and time, to the millisecond, with the zone. */
  readonly exact: string;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function partsOf(time: number, zone: string): Readonly<Record<string, string>> {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "short",
      day: "numeric",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      fractionalSecondDigits: 3,
      timeZoneName: "shortOffset",
    });
    formats.set(zone, format);
  }
  return Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
}

/** An instant in a zone, seen from another instant. */
export function instant(time: number, zone: string, now: number): Instant {
  const at = partsOf(time, zone);
  const today = partsOf(now, zone);
  const day = `${at["day"]} ${at["month"]}`;
  const clock = `${at["hour"]}:${at["minute"]}:${at["second"]}`;
  const year = at["year"] === today["year"] ? "" : ` ${at["year"]}`;
  const isToday = year === "" && day === `${today["day"]} ${today["month"]}`;
  return {
    short: isToday ? clock : `${day}${year} ${clock}`,
    exact: `${day} ${at["year"]} ${clock}.${at["fractionalSecond"]} ${at["timeZoneName"]}`,
  };
}

/** Whether `Intl` can say it: what a foreign clock told may be out of its range. */
export const isInstant = (time: number | undefined): time is number => time !== undefined && Math.abs(time) <= 8.64e15;
