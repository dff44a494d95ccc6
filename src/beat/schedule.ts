import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { show } from "../parse.ts";
import { crontab } from "./crontab.ts";

/**
 * Every `seconds`, counted from the epoch (1970-01-01T00:00:00Z), so that all hosts agree without talking to each
 * other.
 */
export interface IntervalSchedule {
  /** Tells it from the other schedules. */
  readonly type: "interval";
  /** From 0.001 to 31,536,000 (365 days), in whole milliseconds. */
  readonly seconds: number;
  /**
   * Moves each slot back to the start of its day, hour or minute in the app's zone: the day where the interval is a day
   * or longer, the hour from an hour, the minute from a minute; a shorter interval is left alone. Default false.
   */
  readonly relative?: boolean;
}

/**
 * The wall times at which all five fields match. Each field holds its values in ascending order; 0 of `dayOfWeek` is
 * Sunday.
 */
export interface CrontabSchedule {
  /** Tells it from the other schedules. */
  readonly type: "crontab";
  /** Minutes, 0 to 59, in order. */
  readonly minute: readonly number[];
  /** Hours, 0 to 23, in order. */
  readonly hour: readonly number[];
  /** Days of the week, 0 (Sunday) to 6, in order. */
  readonly dayOfWeek: readonly number[];
  /** Days of the month, 1 to 31, in order. */
  readonly dayOfMonth: readonly number[];
  /** Months, 1 to 12, in order. */
  readonly monthOfYear: readonly number[];
}

/** What the sun can do, in Celery's names. */
export const SOLAR_EVENTS = [
  "dawn_astronomical",
  "dawn_nautical",
  "dawn_civil",
  "sunrise",
  "solar_noon",
  "sunset",
  "dusk_civil",
  "dusk_nautical",
  "dusk_astronomical",
] as const;

/** A moment of the sun's day, as Celery names it. */
export type SolarEvent = (typeof SOLAR_EVENTS)[number];

/**
 * When the sun does `event` at a place; on days when it does not (a polar night), never. Degrees, north and east
 * positive.
 */
export interface SolarSchedule {
  /** Tells it from the other schedules. */
  readonly type: "solar";
  /** The moment. */
  readonly event: SolarEvent;
  /** Latitude in degrees, north above 0. */
  readonly lat: number;
  /** Longitude in degrees, east above 0. */
  readonly lon: number;
}

/** Once, at an instant. */
export interface AtSchedule {
  /** Tells it from the other schedules. */
  readonly type: "at";
  /** Milliseconds since the epoch. */
  readonly instant: number;
}

/** When an entry runs: plain frozen data, the same for a beat loop, a Lambda function and a deployment. */
export type Schedule = IntervalSchedule | CrontabSchedule | SolarSchedule | AtSchedule;

const UNITS = { seconds: 1, minutes: 60, hours: 3_600, days: 86_400, weeks: 604_800 } as const;

/** A length of time; its parts add up. */
export type Duration = { readonly [unit in keyof typeof UNITS]?: number | undefined };

const YEAR_SECONDS = 365 * 86_400;

/**
 * A schedule that runs at a fixed interval: `every({ minutes: 5 })`. Slots are counted from the epoch, so that
 * `every({ days: 1 })` runs at midnight UTC. Throws {@link ImproperlyConfigured} unless the sum lies between
 * 1 millisecond and 365 days.
 */
export function every(duration: Duration): IntervalSchedule {
  return interval("every", durationSeconds("every", duration));
}

/**
 * A schedule that follows the sun: `solar("sunset", -37.81, 144.96)`. Throws {@link ImproperlyConfigured} on an unknown
 * event or an impossible place.
 */
export function solar(event: SolarEvent, lat: number, lon: number): SolarSchedule {
  if (!SOLAR_EVENTS.includes(event)) {
    throw new ImproperlyConfigured(
      "solar.event",
      `${show(event)} is no event of the sun${didYouMean(String(event), SOLAR_EVENTS)}; the events are ${SOLAR_EVENTS.join(", ")}`,
    );
  }
  const degrees = (field: string, value: number, limit: number) => {
    if (typeof value === "number" && Math.abs(value) <= limit) return;
    throw new ImproperlyConfigured(
      `solar.${field}`,
      `must be a number of degrees from -${limit} to ${limit}, and is ${show(value)}`,
    );
  };
  degrees("lat", lat, 90);
  degrees("lon", lon, 180);
  return Object.freeze({ type: "solar", event, lat, lon });
}

/** The years that EventBridge's expressions can name. */
const FIRST_YEAR = 1970;
const LAST_YEAR = 2199;

/**
 * A schedule that runs once. Throws {@link ImproperlyConfigured} on an invalid date, or one outside the years 1970 to
 * 2199.
 */
export function at(date: Date): AtSchedule {
  const instant = date instanceof Date ? date.getTime() : Number.NaN;
  if (!(instant >= Date.UTC(FIRST_YEAR) && instant < Date.UTC(LAST_YEAR + 1))) {
    throw new ImproperlyConfigured(
      "at",
      `must be a valid Date in the years ${FIRST_YEAR} to ${LAST_YEAR}, and is ${show(date)}`,
    );
  }
  return Object.freeze({ type: "at", instant });
}

/** What happens to slots that passed while no beat was running. See {@link BeatEntry.catchUp}. */
export type CatchUp = "skip" | "last" | "all";

/** One value of `beatSchedule`, as it is written in the config. */
export interface BeatEntry {
  /** The task's name. */
  readonly task: string;
  /** A number is seconds. */
  readonly schedule: number | Schedule;
  /** Arguments of the call. Default: none. */
  readonly args?: readonly unknown[] | undefined;
  /** Keyword arguments of the call. Default: none. */
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Options of `applyAsync`, such as `queue` or `expires`. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Celery's: rounds the slots of an interval, see {@link IntervalSchedule.relative}. Refused for any other schedule.
   */
  readonly relative?: boolean | undefined;
  /** `false` keeps the entry and sends nothing. Default true. */
  readonly enabled?: boolean | undefined;
  /**
   * What is done about late slots: `"skip"` (default) sends none of them, `"last"` the latest one, `"all"` each. Late is
   * for a beat loop what it finds after more than a minute, as after a sleep or a restart, and for the beat function what
   * an event brings that is more than five minutes old, as after an outage.
   */
  readonly catchUp?: CatchUp | undefined;
  /**
   * How late a slot may still be sent by `catchUp: "last"` or `"all"`; a number is seconds. Default one day, at most
   * 365 days, and with `"all"` no more than 100,000 slots of the schedule.
   */
  readonly within?: number | Duration | undefined;
}

/** A {@link BeatEntry} that has been checked: every default filled in, frozen. */
export interface ScheduleEntry {
  /** The key of `beatSchedule`. */
  readonly name: string;
  /** The name of the task that is called. */
  readonly task: string;
  /** When it is due. */
  readonly schedule: Schedule;
  /** Arguments of the call. */
  readonly args: readonly unknown[];
  /** Keyword arguments of the call. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Options of the call, as `applyAsync` takes them. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Whether beat sends it. */
  readonly enabled: boolean;
  /** What is done about slots that were missed. */
  readonly catchUp: CatchUp;
  /** Seconds. */
  readonly within: number;
  /** Slots up to and including this instant (milliseconds since the epoch) are not the entry's; absent: all are. */
  readonly since?: number;
  /** The zone of its wall times; absent: the app's. */
  readonly zone?: string;
}

/** What the names of entries put at run time begin with where they stand beside those of `beatSchedule`. */
export const RUNTIME_PREFIX = "put:";

const ENTRY_KEYS = [
  "task",
  "schedule",
  "args",
  "kwargs",
  "options",
  "relative",
  "enabled",
  "catchUp",
  "within",
] satisfies (keyof BeatEntry)[];
const CATCH_UPS = ["skip", "last", "all"] satisfies CatchUp[];
const DAY_SECONDS = 86_400;
/** So many missed slots of an entry are sent at once at most: they are all in memory then. A day of seconds has fewer. */
const MAX_CAUGHT_UP = 100_000;

/**
 * Checks a `beatSchedule`. Throws {@link ImproperlyConfigured} that names the entry and the field, what is allowed and
 * what was given.
 */
export function scheduleEntries(beatSchedule: Readonly<Record<string, BeatEntry>>): readonly ScheduleEntry[] {
  if (!isPlainObject(beatSchedule)) {
    throw new ImproperlyConfigured(
      "beatSchedule",
      `must be an object of entries by name, and is ${show(beatSchedule)}`,
    );
  }
  return Object.freeze(
    Object.entries(beatSchedule).map(([name, entry]) => {
      const where = `beatSchedule[${JSON.stringify(name)}]`;
      if (name.startsWith(RUNTIME_PREFIX)) {
        throw new ImproperlyConfigured(
          where,
          `names that begin with ${RUNTIME_PREFIX} are those of entries put at run time; choose another name`,
        );
      }
      return scheduleEntry(name, entry, where);
    }),
  );
}

/** Checks one entry; `where` is what errors call it. Throws {@link ImproperlyConfigured}. */
export function scheduleEntry(name: string, entry: BeatEntry, where: string): ScheduleEntry {
  const wrong = (field: string, allowed: string, value: unknown) =>
    new ImproperlyConfigured(`${where}.${field}`, `must be ${allowed}, and is ${show(value)}`);
  if (!isPlainObject(entry)) {
    throw new ImproperlyConfigured(where, `must be an object with task and schedule, and is ${show(entry)}`);
  }
  for (const key of Object.keys(entry)) {
    if (!(ENTRY_KEYS as string[]).includes(key)) {
      throw new ImproperlyConfigured(
        `${where}.${key}`,
        `is not part of an entry${didYouMean(key, ENTRY_KEYS)}; an entry has ${ENTRY_KEYS.join(", ")}`,
      );
    }
  }
  const { task, args = [], kwargs = {}, options = {}, relative, enabled = true, catchUp = "skip", within } = entry;
  if (typeof task !== "string" || task === "") throw wrong("task", "the name of a task", task);
  if (!Array.isArray(args)) throw wrong("args", "an array", args);
  if (!isPlainObject(kwargs)) throw wrong("kwargs", "an object", kwargs);
  if (!isPlainObject(options)) throw wrong("options", "an object of options of applyAsync", options);
  if (relative !== undefined && typeof relative !== "boolean") throw wrong("relative", "true or false", relative);
  if (typeof enabled !== "boolean") throw wrong("enabled", "true or false", enabled);
  if (!CATCH_UPS.includes(catchUp)) throw wrong("catchUp", CATCH_UPS.map(show).join(" or "), catchUp);
  if (within !== undefined && catchUp === "skip") {
    throw new ImproperlyConfigured(
      `${where}.within`,
      `says how late a missed slot may be sent, so it needs catchUp: "last" or "all" (given: ${show(within)})`,
    );
  }

  const schedule = toSchedule(`${where}.schedule`, entry.schedule);
  if (relative && schedule.type !== "interval") {
    throw new ImproperlyConfigured(
      `${where}.relative`,
      `is only for an interval, and the schedule is of type ${show(schedule.type)}`,
    );
  }
  const late =
    within === undefined
      ? DAY_SECONDS
      : bounded(`${where}.within`, typeof within === "number" ? within : durationSeconds(`${where}.within`, within));
  const missed = Math.floor(late / distance(schedule));
  if (catchUp === "all" && missed > MAX_CAUGHT_UP) {
    throw new ImproperlyConfigured(
      `${where}.within`,
      `lets ${missed} slots of ${late} seconds be sent at once after a stop (catchUp: "all"), and may let ${MAX_CAUGHT_UP}: give a shorter time, or use catchUp: "last"`,
    );
  }
  return Object.freeze({
    name,
    task,
    schedule:
      schedule.type === "interval" && relative !== undefined ? interval(where, schedule.seconds, relative) : schedule,
    args: Object.freeze([...args]),
    kwargs: Object.freeze({ ...kwargs }),
    options: Object.freeze({ ...options }),
    enabled,
    catchUp,
    within: late,
  });
}

/** Seconds from one slot to the next, on the average of a day that has any. */
function distance(schedule: Schedule): number {
  if (schedule.type === "interval") return schedule.seconds;
  return schedule.type === "crontab" ? DAY_SECONDS / (schedule.minute.length * schedule.hour.length) : DAY_SECONDS;
}

/** Plain data may have been written by hand or come out of JSON, so it passes the checks of its maker again. */
function toSchedule(setting: string, value: number | Schedule): Schedule {
  if (typeof value === "number") return interval(setting, value);
  try {
    switch (value?.type) {
      case "interval":
        return interval("seconds", value.seconds, value.relative);
      case "crontab":
        return crontab(value);
      case "solar":
        return solar(value.event, value.lat, value.lon);
      case "at":
        return at(new Date(value.instant));
      default:
        value satisfies never;
    }
  } catch (error) {
    if (error instanceof ImproperlyConfigured) throw new ImproperlyConfigured(setting, error.message, { cause: error });
    throw error;
  }
  throw new ImproperlyConfigured(
    setting,
    `must be a number of seconds, every(), crontab(), crontab.fromString(), solar() or at(), and is ${show(value)}`,
  );
}

function interval(setting: string, seconds: number, relative = false): IntervalSchedule {
  const whole = Math.round(bounded(setting, seconds) * 1000) / 1000;
  return Object.freeze(
    relative ? { type: "interval", seconds: whole, relative } : { type: "interval", seconds: whole },
  );
}

function bounded(setting: string, seconds: number): number {
  if (typeof seconds === "number" && seconds >= 0.001 && seconds <= YEAR_SECONDS) return seconds;
  throw new ImproperlyConfigured(
    setting,
    `must be from 0.001 to ${YEAR_SECONDS} seconds (365 days), and is ${show(seconds)}`,
  );
}

/** Seconds of a length of time, and an error that names `setting` where it is none. */
export function durationSeconds(setting: string, duration: Duration): number {
  const units = Object.keys(UNITS);
  if (!isPlainObject(duration)) {
    throw new ImproperlyConfigured(setting, `must be an object of ${units.join(", ")}, and is ${show(duration)}`);
  }
  let sum = 0;
  for (const [unit, value] of Object.entries(duration)) {
    if (!units.includes(unit)) {
      throw new ImproperlyConfigured(
        `${setting}.${unit}`,
        `is no unit of time${didYouMean(unit, units)}; the units are ${units.join(", ")}`,
      );
    }
    if (value === undefined) continue;
    if (!Number.isFinite(value))
      throw new ImproperlyConfigured(`${setting}.${unit}`, `must be a number, and is ${show(value)}`);
    sum += value * UNITS[unit as keyof typeof UNITS];
  }
  return sum;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
