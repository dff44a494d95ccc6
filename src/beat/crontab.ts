import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import type { CrontabSchedule } from "./schedule.ts";

/**
 * A field of a crontab: a number, Celery's text (`"*"`, `"mon-fri"`, `"50-10/5"`, `"1,13,30-45"`), or the values
 * themselves.
 */
export type CronField = number | string | Iterable<number>;

/** The fields of a {@link crontab}; each is `"*"` by default. */
export interface CrontabFields {
  /** 0 to 59. */
  readonly minute?: CronField | undefined;
  /** 0 to 23. */
  readonly hour?: CronField | undefined;
  /** 0 (Sunday) to 6, or names. */
  readonly dayOfWeek?: CronField | undefined;
  /** 1 to 31. */
  readonly dayOfMonth?: CronField | undefined;
  /** 1 to 12, or names. */
  readonly monthOfYear?: CronField | undefined;
}

export const RANGES = {
  minute: [0, 59],
  hour: [0, 23],
  dayOfWeek: [0, 6],
  dayOfMonth: [1, 31],
  monthOfYear: [1, 12],
} as const satisfies Record<keyof CrontabFields, readonly [number, number]>;

export const FIELDS = Object.keys(RANGES) as (keyof CrontabFields)[];
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const LONGEST = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * A schedule of wall times in the app's zone, in Celery's grammar: `crontab({ hour: 9, minute: 10, dayOfWeek: "mon-fri"
 * })`. All five fields must match: unlike in Unix cron, a day of the week *and* a day of the month are both required,
 * so that `{ dayOfWeek: "fri", dayOfMonth: 13 }` is Friday the 13th. Throws {@link ImproperlyConfigured} on what Celery
 * refuses, and on a date that no year has.
 */
export function crontab(fields: CrontabFields = {}): CrontabSchedule {
  for (const key of Object.keys(fields)) {
    if (key !== "type" && !(FIELDS as string[]).includes(key)) {
      throw new ImproperlyConfigured(
        `crontab.${key}`,
        `is no field of a crontab${didYouMean(key, FIELDS)}; the fields are ${FIELDS.join(", ")}`,
      );
    }
  }
  const values = (field: keyof CrontabFields) => expand(field, fields[field] ?? "*");
  const schedule: CrontabSchedule = {
    type: "crontab",
    minute: values("minute"),
    hour: values("hour"),
    dayOfWeek: values("dayOfWeek"),
    dayOfMonth: values("dayOfMonth"),
    monthOfYear: values("monthOfYear"),
  };
  const shortest = Math.min(...schedule.dayOfMonth);
  if (!schedule.monthOfYear.some((month) => shortest <= (LONGEST[month - 1] ?? 0))) {
    throw new ImproperlyConfigured(
      "crontab.dayOfMonth",
      `no month of ${schedule.monthOfYear.join(", ")} has a day ${schedule.dayOfMonth.join(", ")}`,
    );
  }
  written.set(schedule, written.get(fields) ?? { ...fields });
  return Object.freeze(schedule);
}

/** What a schedule was made of: its own fields do not show any more how they were written. */
const written = new WeakMap<object, CrontabFields>();

/** The fields as they were given. */
export const writtenAs = (schedule: CrontabSchedule): CrontabFields => written.get(schedule) ?? {};

/** A crontab from the line that cron uses: minute, hour, day of month, month, day of week, each parted by one space. */
crontab.fromString = (line: string): CrontabSchedule => {
  const parts = typeof line === "string" ? line.split(" ") : [];
  if (parts.length !== 5) {
    throw new ImproperlyConfigured(
      "crontab.fromString",
      `must be five fields with a single space between them (minute, hour, day of month, month, day of week), and is ${JSON.stringify(line)}`,
    );
  }
  const [minute, hour, dayOfMonth, monthOfYear, dayOfWeek] = parts as [string, string, string, string, string];
  return crontab({ minute, hour, dayOfWeek, dayOfMonth, monthOfYear });
};

function expand(field: keyof CrontabFields, given: CronField): readonly number[] {
  const [min, max] = RANGES[field];
  const refuse = (why: string): never => {
    const shown =
      typeof given === "string" || typeof given === "number"
        ? JSON.stringify(given)
        : String(isIterable(given) ? [...given] : given);
    throw new ImproperlyConfigured(
      `crontab.${field}`,
      `${why}; allowed are ${min} to ${max}, and the value is ${shown}`,
    );
  };
  let values: Iterable<number>;
  if (typeof given === "string") values = given.split(",").flatMap((part) => expandPart(part, min, max, refuse));
  else if (typeof given === "number") values = [given];
  else if (isIterable(given)) values = given;
  else return refuse("must be a number, a text or a list of numbers");

  const sorted = [...new Set(values)].sort((a, b) => a - b);
  for (const value of sorted) {
    if (!Number.isInteger(value) || value < min || value > max) refuse(`${String(value)} is not in the range`);
  }
  if (sorted.length === 0) refuse("an empty list never runs");
  return Object.freeze(sorted);
}

/*
 * The grammar of Celery's crontab_parser, its oddities included, since a schedule must mean here what it means there.
 * Like Python's `match`, the patterns look at the beginning only (`1-5/2/3` is `1-5/2`), and a name counts by its first
 * three letters (`"mon - fri"`, spaces inside, is Monday alone).
 */
export const RANGE_STEPS = /^([\p{L}\p{N}_]+?)-([\p{L}\p{N}_]+)\/([\p{L}\p{N}_]+)?/u;
export const RANGE = /^([\p{L}\p{N}_]+?)-([\p{L}\p{N}_]+)/u;
export const STAR_STEPS = /^\*\/([\p{L}\p{N}_]+)?/u;
export const PYTHON_INT = /^\s*[+-]?\d+(?:_\d+)*\s*$/;

function expandPart(part: string, min: number, max: number, refuse: (why: string) => never): number[] {
  if (part === "") return refuse("has an empty part");
  const all = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const number = (text: string): number => {
    if (text.startsWith("-")) return refuse("negative numbers are not supported");
    const value = PYTHON_INT.test(text) ? Number(text.replaceAll("_", "")) : byName(text);
    if (value === undefined)
      return refuse(`${JSON.stringify(text)} is neither a number nor the name of a month or weekday`);
    return value >= min && value <= max ? value : refuse(`${value} is not in the range`);
  };
  const range = (from: number, to: number) => (to < from ? [...all(from, max), ...all(min, to)] : all(from, to));
  const step = (values: number[], text: string | undefined) => {
    if (text === undefined) return refuse("has no step after the /");
    const n = PYTHON_INT.test(text) ? Number(text.replaceAll("_", "")) : 0;
    return n > 0 ? values.filter((_, i) => i % n === 0) : refuse(`${JSON.stringify(text)} is no step`);
  };

  let m = RANGE_STEPS.exec(part);
  if (m) return step(range(number(m[1] as string), number(m[2] as string)), m[3]);
  m = RANGE.exec(part);
  if (m) return range(number(m[1] as string), number(m[2] as string));
  m = STAR_STEPS.exec(part);
  if (m) return step(all(min, max), m[1]);
  return part === "*" ? all(min, max) : [number(part)];
}

/** Months are tried before weekdays, in every field, as in Celery. */
function byName(text: string): number | undefined {
  const name = text.slice(0, 3).toLowerCase();
  if (MONTHS.includes(name)) return MONTHS.indexOf(name) + 1;
  return WEEKDAYS.includes(name) ? WEEKDAYS.indexOf(name) : undefined;
}

function isIterable(value: unknown): value is Iterable<number> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}
