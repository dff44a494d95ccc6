import { offsetSpans } from "./offsets.ts";
import type { CrontabSchedule, IntervalSchedule, Schedule, SolarSchedule } from "./schedule.ts";
import { sunTimes } from "./sun.ts";

/**
 * The minutes of UTC in which an EventBridge rule fires: those at which all fields match. At most one of `dayOfMonth`
 * and `dayOfWeek` is restricted, since EventBridge takes no more. 0 of `dayOfWeek` is Sunday.
 */
export interface Rule {
  readonly minute: readonly number[];
  readonly hour: readonly number[];
  readonly dayOfMonth: readonly number[];
  readonly month: readonly number[];
  readonly dayOfWeek: readonly number[];
  /** Every year where absent. */
  readonly year?: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

const MINUTES = numbers(0, 59);
const HOURS = numbers(0, 23);
const DAYS = numbers(1, 31);
const MONTHS = numbers(1, 12);
const WEEKDAYS = numbers(0, 6);
const ALWAYS: Rule = { minute: MINUTES, hour: HOURS, dayOfMonth: DAYS, month: MONTHS, dayOfWeek: WEEKDAYS };

/**
 * The one rule that fires in every minute in which a schedule has a slot, at the price of firing in others too: a field
 * that stands for several offsets of the zone, or for a day of the week and one of the month, is widened until one
 * expression holds it. A firing without a slot costs one empty run of the beat function; a slot without a firing would
 * be lost.
 */
export function ruleOf(schedule: Schedule, zone: string): Rule {
  switch (schedule.type) {
    case "interval":
      return intervalRule(schedule, zone);
    case "crontab":
      return crontabRule(schedule, zone);
    case "solar":
      return solarRule(schedule);
    case "at": {
      const date = new Date(schedule.instant);
      return {
        minute: [date.getUTCMinutes()],
        hour: [date.getUTCHours()],
        dayOfMonth: [date.getUTCDate()],
        month: [date.getUTCMonth() + 1],
        dayOfWeek: WEEKDAYS,
        year: date.getUTCFullYear(),
      };
    }
    default:
      return schedule satisfies never;
  }
}

/** Whether a rule fires in the minute in which an instant (milliseconds since the epoch) lies. */
export function fires(rule: Rule, instant: number): boolean {
  const date = new Date(instant);
  return (
    rule.minute.includes(date.getUTCMinutes()) &&
    rule.hour.includes(date.getUTCHours()) &&
    rule.dayOfMonth.includes(date.getUTCDate()) &&
    rule.month.includes(date.getUTCMonth() + 1) &&
    rule.dayOfWeek.includes(date.getUTCDay()) &&
    (rule.year === undefined || rule.year === date.getUTCFullYear())
  );
}

/**
 * A rule as EventBridge writes it, such as `cron(0/5 * * * ? *)`: never longer than the 256 characters that it takes.
 */
export function cronExpression(rule: Rule): string {
  const byWeekday = rule.dayOfWeek.length < WEEKDAYS.length;
  const fields = [
    field(rule.minute, 0, 59),
    field(rule.hour, 0, 23),
    byWeekday ? "?" : field(rule.dayOfMonth, 1, 31),
    field(rule.month, 1, 12),
    byWeekday
      ? field(
          rule.dayOfWeek.map((day) => day + 1),
          1,
          7,
        )
      : "?",
    rule.year ?? "*",
  ];
  return `cron(${fields.join(" ")})`;
}

function field(values: readonly number[], min: number, max: number): string {
  const first = values[0] as number;
  if (values.length === max - min + 1) return "*";
  const step = (values[1] ?? max + 1) - first;
  const isStepped =
    step > 1 && values.every((value, i) => value === first + i * step) && first + values.length * step > max;
  if (isStepped && values.length > 2) return `${first}/${step}`;
  const ranges: string[] = [];
  for (let i = 0; i < values.length; ) {
    let j = i;
    while (values[j + 1] === (values[j] as number) + 1) j++;
    ranges.push(j - i > 1 ? `${values[i]}-${values[j]}` : values.slice(i, j + 1).join(","));
    i = j + 1;
  }
  return ranges.join(",");
}

// ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────────

function intervalRule(schedule: IntervalSchedule, zone: string): Rule {
  const step = Math.round(schedule.seconds * 1000);
  const rule: Rule = {
    ...ALWAYS,
    minute: residues(step, HOUR, MINUTE),
    hour: residues(step, DAY, HOUR),
    // The epoch was a Thursday.
    dayOfWeek: ascending(residues(step, WEEK, DAY).map((day) => (day + 4) % 7)),
  };
  if (!schedule.relative || step < HOUR) return rule;
  if (step >= DAY) {
    // The zone's day that holds a slot is the one of UTC, or the one before it.
    const dayOfWeek = step % DAY === 0 ? ascending(rule.dayOfWeek.flatMap((day) => [day, (day + 6) % 7])) : WEEKDAYS;
    return crontabRule(
      { type: "crontab", minute: [0], hour: [0], dayOfMonth: DAYS, monthOfYear: MONTHS, dayOfWeek },
      zone,
    );
  }
  const rounded = offsetMinutes(zone).flatMap((offset) =>
    rule.hour.flatMap((hour) => rule.minute.map((minute) => hour * 60 + minute - modulo(minute + offset, 60))),
  );
  return {
    ...ALWAYS,
    minute: ascending(rounded.map((at) => modulo(at, 60))),
    hour: ascending(rounded.map((at) => Math.floor(modulo(at, 1440) / 60))),
  };
}

/** Which units of a cycle the multiples of a step fall into: those of 90 min into the minutes 0 and 30 of an hour. */
function residues(step: number, cycle: number, unit: number): number[] {
  const common = gcd(step, cycle);
  if (common <= unit) return numbers(0, cycle / unit - 1);
  return ascending(Array.from({ length: cycle / common }, (_, i) => Math.floor((i * common) / unit)));
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

// ── crontabs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function crontabRule(schedule: CrontabSchedule, zone: string): Rule {
  const minutes = new Set<number>();
  const hours = new Set<number>();
  /** By how many days UTC is away from the zone's date: -1, 0 or 1. */
  const shifts = new Set<number>();
  for (const offset of offsetMinutes(zone)) {
    for (const hour of schedule.hour) {
      for (const minute of schedule.minute) {
        const at = hour * 60 + minute - offset;
        minutes.add(modulo(at, 60));
        hours.add(Math.floor(modulo(at, 1440) / 60));
        shifts.add(Math.floor(at / 1440));
      }
    }
  }
  const months = new Set<number>();
  const days = new Set<number>();
  for (const date of datesOfTwoYears()) {
    if (!schedule.monthOfYear.includes(date.getUTCMonth() + 1) || !schedule.dayOfMonth.includes(date.getUTCDate()))
      continue;
    for (const shift of shifts) {
      const shifted = new Date(date.getTime() + shift * DAY);
      months.add(shifted.getUTCMonth() + 1);
      days.add(shifted.getUTCDate());
    }
  }
  const weekdays = ascending([...shifts].flatMap((shift) => schedule.dayOfWeek.map((day) => modulo(day + shift, 7))));
  const times: Rule = { ...ALWAYS, minute: ascending(minutes), hour: ascending(hours), month: ascending(months) };
  const byDay: Rule = { ...times, dayOfMonth: ascending(days) };
  const byWeekday: Rule = { ...times, dayOfWeek: weekdays };
  return firingDays(byWeekday) < firingDays(byDay) ? byWeekday : byDay;
}

/** A leap year and a common one: all dates that there are, before weekdays come into it. */
function datesOfTwoYears(): Date[] {
  return Array.from({ length: 366 + 365 }, (_, i) => new Date(Date.UTC(2000, 0, 1 + i)));
}

function firingDays(rule: Rule): number {
  const anyTime = { ...rule, minute: MINUTES, hour: HOURS };
  return datesOfTwoYears().filter((date) => fires(anyTime, date.getTime())).length;
}

/*
 * The offsets that a rule provides for: all that the zone has had since 2000 and is known to get until 2040. A rule
 * outlives what is known about the future, and a government that brings summer time back, or ends it, nearly always
 * returns to one of these.
 */
const OFFSETS_FROM = Date.UTC(2000);
const OFFSETS_TO = Date.UTC(2040);

/** In minutes east of UTC, rounded up where a zone counts seconds, as none does today. */
function offsetMinutes(zone: string): number[] {
  return ascending(offsetSpans(zone, OFFSETS_FROM, OFFSETS_TO).map(({ offset }) => Math.ceil(offset / MINUTE)));
}

// ── the sun ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Every minute of the hours into which the event falls within four years, and of the hour around each: the same date
 * moves by minutes from year to year.
 */
function solarRule(schedule: SolarSchedule): Rule {
  const [from, to] = [Date.UTC(2024), Date.UTC(2028)];
  const times = sunTimes(schedule, from, to);
  // Where there are days without the event, its first and last time of a season comes at any hour, another one each year.
  if (times.length < (to - from) / DAY - 1) return ALWAYS;
  const hours = times.flatMap((time) => [-HOUR, 0, HOUR].map((margin) => new Date(time + margin).getUTCHours()));
  return { ...ALWAYS, hour: ascending(hours) };
}

// ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function ascending(values: Iterable<number>): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

/** Never negative, unlike `%`. */
function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
