/** A schedule in words. */
import type { CrontabSchedule, Schedule } from "../../beat/schedule.ts";
import { duration } from "./words.ts";

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;

export function scheduleText(schedule: Schedule): string {
  switch (schedule.type) {
    case "interval":
      return `every ${duration(schedule.seconds)}`;
    case "crontab":
      return crontabText(schedule);
    case "solar":
      return `${schedule.event.replaceAll("_", " ")} at ${schedule.lat}, ${schedule.lon}`;
    case "at":
      return "once";
    default:
      return schedule satisfies never;
  }
}

/** Its five fields, as crontab writes them. */
function crontabText({ minute, hour, dayOfWeek, dayOfMonth, monthOfYear }: CrontabSchedule): string {
  const days = dayOfWeek.length === 7 ? "*" : dayOfWeek.map((day) => DAYS[day]).join(",");
  return [field(minute, 0, 59), field(hour, 0, 23), field(dayOfMonth, 1, 31), field(monthOfYear, 1, 12), days].join(
    " ",
  );
}

function field(values: readonly number[], from: number, to: number): string {
  if (values.length === to - from + 1) return "*";
  const [first = from, second] = values;
  const step = second === undefined ? 0 : second - first;
  const isSteps =
    values.length > 2 &&
    first === from &&
    values.every((value, at) => value === from + at * step) &&
    (values.at(-1) ?? 0) + step > to;
  return isSteps ? `*/${step}` : values.join(",");
}
