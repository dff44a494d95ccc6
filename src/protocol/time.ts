import { DecodeError } from "../errors.ts";

/** YYYY[-MM[-DD]] or YYYYMMDD, any one character, hh[:mm[:ss[.fraction]]] or without colons, Z or an offset. */
const ISO_8601 =
  /^(\d{4})(?:-(\d\d)(?:-(\d\d))?|(\d\d)(\d\d))?(?:[^\d](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?)?)?$/;

/**
 * Reads a time in ISO 8601 as dateutil's `isoparse` does, which is what Celery reads `eta`, `expires` and `date_done`
 * with: extended or basic, `T` or a space, `Z`, an offset or none, which means UTC. Week and ordinal dates are not read.
 * Returns milliseconds since the epoch; what is finer is cut off. Throws `DecodeError`.
 */
export function parseTime(text: string): number {
  if (text !== parsed.text) parsed = { text, ms: readTime(text) };
  return parsed.ms;
}

/** The last one: the rows of a batch were written in the same millisecond. */
let parsed = { text: "1970-01-01T00:00:00+00:00", ms: 0 };

function readTime(text: string): number {
  const match = ISO_8601.exec(text);
  if (match) {
    const year = Number(match[1]);
    const month = Number(match[2] ?? match[4] ?? 1);
    const day = Number(match[3] ?? match[5] ?? 1);
    const hour = Number(match[6] ?? 0);
    const minute = Number(match[7] ?? 0);
    const second = Number(match[8] ?? 0);
    const milli = Number((match[9] ?? "").slice(0, 3).padEnd(3, "0"));
    const offset = offsetMinutes(match[10]);
    // 24:00 is midnight at the end of the day, and the only time of that hour.
    const endOfDay = hour === 24 && minute === 0 && second === 0 && milli === 0;
    const date = new Date(Date.UTC(2000, 0, 1, hour, minute, second, milli));
    // setUTCFullYear, since Date.UTC takes the years 0 to 99 for 1900 to 1999.
    date.setUTCFullYear(year, month - 1, endOfDay ? day + 1 : day);
    const exists = new Date(Date.UTC(2000, 0, 1));
    exists.setUTCFullYear(year, month - 1, day);
    const inRange = (hour < 24 || endOfDay) && minute < 60 && second < 60 && Math.abs(offset) < 24 * 60;
    if (year > 0 && inRange && exists.getUTCMonth() === month - 1 && exists.getUTCDate() === day) {
      return Math.floor(date.getTime() - offset * 60_000);
    }
  }
  throw new DecodeError(
    `${JSON.stringify(text.slice(0, 100))} is not a time in ISO 8601, such as 2030-01-02T03:04:05+00:00`,
  );
}

function offsetMinutes(offset: string | undefined): number {
  if (offset === undefined || offset === "Z") return 0;
  const digits = offset.slice(1).replaceAll(":", "");
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2, 4)) + Number(digits.slice(4)) / 60;
  return offset.startsWith("-") ? -minutes : minutes;
}

/** The first and the last instant that Python's `datetime` can hold, in milliseconds since the epoch. */
const FIRST_MS = -62_135_596_800_000;
const LAST_MS = 253_402_300_799_999;

/** Whether Python's `datetime`, which knows the years 1 to 9999, can hold the instant. `NaN` is no instant. */
export const isPythonTime = (ms: number): boolean => ms >= FIRST_MS && ms <= LAST_MS;

/** Milliseconds since the epoch as Python's `isoformat()` writes them in UTC: no fraction where it is zero, else six digits. */
export function formatTime(ms: number): string {
  if (ms !== formatted.ms) {
    const iso = new Date(ms).toISOString();
    formatted = { ms, text: ms % 1000 === 0 ? `${iso.slice(0, -5)}+00:00` : `${iso.slice(0, -1)}000+00:00` };
  }
  return formatted.text;
}

/** The last one: the rows of a batch are written in the same millisecond. */
let formatted = { ms: 0, text: "1970-01-01T00:00:00+00:00" };
