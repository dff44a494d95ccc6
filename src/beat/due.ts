import { Temporal } from "temporal-polyfill";
import { type OffsetSpan, offsetSpans } from "./offsets.ts";
import type { CrontabSchedule, IntervalSchedule, Schedule } from "./schedule.ts";
import { sunTimes } from "./sun.ts";
import { checkZone } from "./zone.ts";

/** A stretch of time in milliseconds since the epoch: `from` lies outside of it, `to` inside. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * The instants at which a schedule runs, after `from` and up to and including `to`, ascending, each once. Every host
 * gets the same.
 *
 * Where the zone's clock changes, a crontab follows Temporal's `compatible`: a wall time that does not exist runs as
 * far after the gap as it lay in it (02:30 runs at 03:30), one that comes twice runs the first time. A crontab of all
 * 24 hours runs every real hour, so it also runs in the repeated one. Throws {@link ImproperlyConfigured} on an unknown
 * zone.
 */
export function slots(schedule: Schedule, zone: string, window: Window): number[] {
  checkZone(zone);
  switch (schedule.type) {
    case "interval":
      return intervalSlots(schedule, zone, window);
    case "crontab":
      return crontabSlots(schedule, zone, window);
    case "solar":
      return sunTimes(schedule, window.from, window.to);
    case "at":
      return schedule.instant > window.from && schedule.instant <= window.to ? [schedule.instant] : [];
    default:
      return schedule satisfies never;
  }
}

/**
 * The next `n` slots after `from`; fewer where the schedule ends, or where the sun does not do it again within two
 * years.
 */
export function nextSlots(schedule: Schedule, zone: string, from: number, n: number): number[] {
  if (schedule.type === "at") return slots(schedule, zone, { from, to: schedule.instant }).slice(0, n);
  // Longest waits: 29 February on one weekday across a year like 2100, 40 years; an interval, a year.
  const horizon = from + (schedule.type === "solar" ? 2 : 41) * 366 * DAY;
  const found: number[] = [];
  let length = schedule.type === "interval" ? schedule.seconds * 1000 * Math.min(n, 1000) : HOUR;
  for (let start = from; found.length < n && start < horizon; ) {
    const end = Math.min(start + length, horizon);
    for (const slot of slots(schedule, zone, { from: start, to: end })) found.push(slot);
    start = end;
    length = Math.min(length * 8, 366 * DAY);
  }
  return found.slice(0, n);
}

// ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────────

function intervalSlots(schedule: IntervalSchedule, zone: string, { from, to }: Window): number[] {
  const step = Math.round(schedule.seconds * 1000);
  const round = schedule.relative ? rounding(step) : undefined;
  // Rounding moves a slot back by less than its unit; a day has at most 25 hours, and a zone that skipped one, 48.
  const last = round === undefined ? to : to + 2 * DAY;
  const found: number[] = [];
  for (let slot = (Math.floor(from / step) + 1) * step; slot <= last; slot += step) {
    const rounded = round === undefined ? slot : roundDown(slot, zone, round);
    if (rounded > from && rounded <= to && rounded !== found.at(-1)) found.push(rounded);
  }
  return found;
}

function rounding(step: number): number | undefined {
  return [DAY, HOUR, MINUTE].find((unit) => step >= unit);
}

/** The beginning of the day, hour or minute of the zone's clock in which an instant lies. */
function roundDown(instant: number, zone: string, unit: number): number {
  if (unit === DAY)
    return Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(zone).startOfDay().epochMilliseconds;
  const [span] = offsetSpans(zone, instant, instant);
  const offset = span?.offset ?? 0;
  return Math.floor((instant + offset) / unit) * unit - offset;
}

// ── crontabs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function crontabSlots(schedule: CrontabSchedule, zone: string, { from, to }: Window): number[] {
  // Two days each way: what a wall time means depends on changes as far away as the largest of them, a day.
  const spans = offsetSpans(zone, from - 2 * DAY, to + 2 * DAY);
  const everyHour = schedule.hour.length === 24;
  const found: number[] = [];
  spans.forEach((span, i) => {
    const start = Math.max(span.from, from + 1);
    const end = Math.min(span.to, to + 1);
    if (start < end) {
      for (const wall of walls(schedule, start + span.offset, end + span.offset)) {
        const instant = wall - span.offset;
        if (everyHour || firstInstant(spans, wall) === instant) found.push(instant);
      }
    }
    const previous = spans[i - 1];
    if (previous === undefined) return;
    // The gap between the two: empty where the clock went back.
    for (const wall of walls(schedule, span.from + previous.offset, span.from + span.offset)) {
      if (firstInstant(spans, wall) !== undefined) continue;
      const instant = afterGap(wall, zone);
      if (instant > from && instant <= to) found.push(instant);
    }
  });
  return [...new Set(found)].sort((a, b) => a - b);
}

/** The first instant at which the clock shows a wall time, if it ever does. */
function firstInstant(spans: readonly OffsetSpan[], wall: number): number | undefined {
  const span = spans.find(({ from, to, offset }) => wall - offset >= from && wall - offset < to);
  return span && wall - span.offset;
}

function afterGap(wall: number, zone: string): number {
  const date = new Date(wall);
  return Temporal.PlainDateTime.from({
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
  }).toZonedDateTime(zone, { disambiguation: "compatible" }).epochMilliseconds;
}

/**
 * The wall times of a crontab from `from` to before `to`, written as if they were UTC. Months that do not match are
 * jumped over.
 */
function* walls(schedule: CrontabSchedule, from: number, to: number): Generator<number> {
  for (let day = Math.floor(from / DAY) * DAY; day < to; ) {
    const date = new Date(day);
    if (!schedule.monthOfYear.includes(date.getUTCMonth() + 1)) {
      day = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
      continue;
    }
    if (schedule.dayOfMonth.includes(date.getUTCDate()) && schedule.dayOfWeek.includes(date.getUTCDay())) {
      for (const hour of schedule.hour) {
        const start = day + hour * HOUR;
        if (start + HOUR <= from) continue;
        if (start >= to) break;
        for (const minute of schedule.minute) {
          const wall = start + minute * MINUTE;
          if (wall >= from && wall < to) yield wall;
        }
      }
    }
    day += DAY;
  }
}
