/** What the text of a crontab seems to say and does not: steps and names that Celery takes, and that mean something else. */
import {
  type CrontabFields,
  type CronField,
  FIELDS,
  PYTHON_INT,
  RANGE,
  RANGE_STEPS,
  RANGES,
  STAR_STEPS,
  writtenAs,
} from "./crontab.ts";
import type { CrontabSchedule } from "./schedule.ts";

/** Sentences about it. */
export function crontabSlips(schedule: CrontabSchedule): readonly string[] {
  const fields = writtenAs(schedule);
  return FIELDS.flatMap((field) => slipsOf(field, fields[field]));
}

function slipsOf(field: keyof CrontabFields, given: CronField | undefined): string[] {
  const [, stepText] = typeof given === "string" ? (/^\*\/(\d+)$/.exec(given) ?? []) : [];
  const step = Number(stepText);
  const [min, max] = RANGES[field];
  const count = max - min + 1;
  if (typeof given === "string") {
    const unread = given.split(",").filter((part) => !isReadWhole(part));
    if (unread.length > 0)
      return unread.map((part) => `of ${field} ${part} only the beginning is read, as in Celery: see its runs`);
  }
  if (stepText === undefined || step === 1) return [];
  if (step > count)
    return [
      `${field} ${given} is ${min} alone, as the field has only ${count} values; use every() for longer intervals`,
    ];
  if (count % step === 0 || field === "dayOfMonth" || field === "dayOfWeek") return [];
  return [
    `${field} ${given} begins anew at ${min} each time, so the last distance is ${count % step}, and not ${step}`,
  ];
}

const NAMES =
  "january february march april may june july august september october november december sunday monday tuesday wednesday thursday friday saturday".split(
    " ",
  );

/** Whether a part says no more than what is taken of it: of `mon#2` that is `mon`. */
function isReadWhole(part: string): boolean {
  const found = RANGE_STEPS.exec(part) ?? RANGE.exec(part) ?? STAR_STEPS.exec(part);
  if (found !== null) return found[0].length === part.trimEnd().length;
  const text = part.trim().toLowerCase();
  return text === "*" || PYTHON_INT.test(text) || NAMES.some((name) => name.startsWith(text));
}
