/** What a schedule will do, before it does it: pure, as data. */
import { nextSlots, slots } from "./due.ts";
import { offsetSpans } from "./offsets.ts";
import { cronExpression, ruleOf } from "./rules.ts";
import { crontabSlips } from "./slips.ts";
import type { CrontabSchedule, Schedule, ScheduleEntry } from "./schedule.ts";

export interface PlanOptions {
  /** Of entries that have none of their own. */
  readonly zone: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** How far to look, in days. */
  readonly days: number;
  /** Shows the runs before and after the next change of the zone's clock, in place of the next ones. */
  readonly aroundDst: boolean;
  /** How long a run of a task may take, in seconds; `undefined`: not known. */
  readonly timeLimit: (task: string) => number | undefined;
}

/** A run in the zone's time, such as `2026-10-25 02:30:00 +02:00`, and in UTC, in ISO 8601. */
export interface PlannedRun {
  readonly local: string;
  readonly utc: string;
}

export interface PlannedChange {
  readonly at: PlannedRun;
  /** By how many minutes the clock goes forward; negative: back. */
  readonly minutes: number;
  /** What that means for the entry, in sentences. */
  readonly effects: readonly string[];
}

export interface EntryPlan {
  readonly name: string;
  readonly task: string;
  readonly enabled: boolean;
  readonly schedule: Schedule;
  readonly zone: string;
  /** The first of them. */
  readonly runs: readonly PlannedRun[];
  /** The rule that EventBridge gets; `null` for an entry that is not enabled, which gets none. */
  readonly rule: string | null;
  /** The next change of the clock within a year, if any. */
  readonly change: PlannedChange | null;
  readonly warnings: readonly string[];
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Runs that are listed of each entry, on either side of a change. */
const SHOWN = 5;
/** More than this at once, after a stop, is worth a warning. */
const MANY = 100;

export function planOf(entries: readonly ScheduleEntry[], options: PlanOptions): readonly EntryPlan[] {
  return entries.map((entry) => planEntry(entry, { ...options, zone: entry.zone ?? options.zone }));
}

interface Change {
  readonly at: number;
  readonly before: number;
  readonly after: number;
}

function nextChange(zone: string, now: number): Change | undefined {
  const spans = offsetSpans(zone, now, now + 366 * DAY);
  const index = spans.findIndex((span, i) => span.from > now && span.offset !== spans[i - 1]?.offset && i > 0);
  const [before, after] = [spans[index - 1], spans[index]];
  return before && after && { at: after.from, before: before.offset, after: after.offset };
}

function planEntry(entry: ScheduleEntry, options: PlanOptions): EntryPlan {
  const { zone, now, days, aroundDst } = options;
  const change = nextChange(zone, now);
  const { schedule } = entry;
  const show = (instant: number) => shownRun(instant, zone);
  const next = nextSlots(schedule, zone, now, 2 * SHOWN);
  const runs =
    aroundDst && change !== undefined
      ? [...lastSlots(schedule, zone, change.at), ...nextSlots(schedule, zone, change.at - 1, SHOWN)]
      : next.filter((slot) => slot <= now + days * DAY).slice(0, SHOWN);
  return {
    name: entry.name,
    task: entry.task,
    enabled: entry.enabled,
    schedule,
    zone,
    runs: entry.enabled ? runs.map(show) : [],
    rule: entry.enabled ? cronExpression(ruleOf(schedule, zone)) : null,
    change:
      change === undefined
        ? null
        : {
            at: show(change.at),
            minutes: (change.after - change.before) / MINUTE,
            effects: effectsOf(schedule, change, zone),
          },
    warnings: warningsOf(entry, next, options),
  };
}

/** The last runs before an instant, of the 8 days before it. */
function lastSlots(schedule: Schedule, zone: string, before: number): readonly number[] {
  for (let length = schedule.type === "interval" ? schedule.seconds * 1000 * SHOWN : HOUR; ; length *= 4) {
    const found = slots(schedule, zone, { from: before - length - 1, to: before - 1 });
    if (found.length >= SHOWN || length > 8 * DAY) return found.slice(-SHOWN);
  }
}

/** An instant in a zone and in UTC, to the second. */
function shownRun(instant: number, zone: string): PlannedRun {
  const offset = (offsetSpans(zone, instant, instant)[0]?.offset ?? 0) / MINUTE;
  const minutes = Math.abs(offset);
  const pad = (value: number) => String(Math.floor(value)).padStart(2, "0");
  const sign = offset < 0 ? "-" : "+";
  return {
    local: `${wallText(instant + offset * MINUTE)} ${sign}${pad(minutes / 60)}:${pad(minutes % 60)}`,
    utc: `${new Date(instant).toISOString().slice(0, 19)}Z`,
  };
}

const wallText = (wall: number): string => new Date(wall).toISOString().slice(0, 19).replace("T", " ");

function effectsOf(schedule: Schedule, change: Change, zone: string): readonly string[] {
  switch (schedule.type) {
    case "interval":
      return [
        schedule.relative
          ? "is rounded by the new time from then on"
          : "none: an interval counts real time, so its wall times move along",
      ];
    case "solar":
    case "at":
      return ["none: it is an instant, whatever the clock shows"];
    case "crontab":
      return crontabEffects(schedule, change, zone);
    default:
      return schedule satisfies never;
  }
}

function crontabEffects(schedule: CrontabSchedule, { at, before, after }: Change, zone: string): readonly string[] {
  const forward = after > before;
  const [from, to] = [at + Math.min(before, after), at + Math.max(before, after)];
  // The wall times that are left out, or come twice, of those that the crontab has: on a clock without changes.
  const walls = slots(schedule, "UTC", { from: from - 1, to: to - 1 });
  const hours = Math.abs(after - before) / HOUR;
  const moved = `none of its times is left out or comes twice; in UTC they come ${hours} h ${forward ? "earlier" : "later"} from then on`;
  if (walls.length === 0) return [moved];
  const text =
    walls
      .slice(0, SHOWN)
      .map((wall) => wallText(wall).slice(0, 16))
      .join(", ") + (walls.length > SHOWN ? `, and ${walls.length - SHOWN} more` : "");
  if (!forward) {
    return [
      `${text} ${walls.length === 1 ? "comes" : "come"} twice: ${schedule.hour.length === 24 ? "runs both times, as its hour is *" : "runs the first time alone"}`,
    ];
  }
  const first = walls[0] as number;
  const instead = shownRun(first - before, zone);
  return [
    `${text} ${walls.length === 1 ? "does" : "do"} not exist: runs as far after the gap as it lay in it, ${wallText(first).slice(11, 16)} at ${instead.local.slice(11, 16)}, once where another run falls there`,
  ];
}

function warningsOf(
  entry: ScheduleEntry,
  next: readonly number[],
  { now, zone, timeLimit }: PlanOptions,
): readonly string[] {
  const { schedule } = entry;
  const warnings: string[] = [];
  if (!entry.enabled) warnings.push("it is not enabled: nothing is sent");
  if (next.length === 0)
    warnings.push(schedule.type === "at" ? "its time has passed: it will not run" : "it has no run ahead");
  if (schedule.type === "crontab") warnings.push(...crontabSlips(schedule), ...crontabWarnings(schedule));
  if (schedule.type === "interval" && !schedule.relative && schedule.seconds >= 86_400) {
    const [first] = next;
    if (first !== undefined)
      warnings.push(
        `it is counted from the epoch in UTC, so it runs at ${shownRun(first, zone).local.slice(11)}; crontab() names a wall time`,
      );
  }
  const limit = timeLimit(entry.task);
  const shortest = Math.min(...next.slice(1).map((slot, i) => slot - (next[i] as number))) / 1000;
  if (limit !== undefined && shortest < limit)
    warnings.push(
      `it runs again after ${shortest} s and a run may take ${limit} s (its time limit): runs can overlap, or pile up in the queue`,
    );
  if (entry.catchUp === "all") {
    const missed =
      schedule.type === "interval"
        ? Math.floor(entry.within / schedule.seconds)
        : slots(schedule, zone, { from: now, to: now + entry.within * 1000 }).length;
    if (missed > MANY)
      warnings.push(
        `catchUp: "all" may send ${missed} at once after a stop; bound it by within (now ${entry.within} s), or use "last"`,
      );
  }
  return warnings;
}

const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function crontabWarnings(schedule: CrontabSchedule): string[] {
  const warnings: string[] = [];
  if (schedule.minute.length === 60)
    warnings.push("it runs every minute of its hours, as minute is *; minute: 0 runs once an hour");
  const first = Math.min(...schedule.dayOfMonth);
  const without = schedule.monthOfYear.filter((month) => first > (MONTH_DAYS[month - 1] ?? 31));
  if (without.length > 0)
    warnings.push(`it does not run in the months ${without.join(", ")}, which have no day ${first}`);
  if (schedule.dayOfMonth.length < 31 && schedule.dayOfWeek.length < 7)
    warnings.push("both its day of the month and its day of the week must match, unlike in Unix cron");
  return warnings;
}
