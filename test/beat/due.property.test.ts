import fc from "fast-check";
import { Temporal } from "temporal-polyfill";
import { expect, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { slots } from "../../src/beat/due.ts";
import type { CrontabSchedule } from "../../src/beat/schedule.ts";

/** Crontabs tried around a change of each zone; `BEAT_RUNS=50 npx vitest run test/beat` for a long look. */
const RUNS = Number(process.env["BEAT_RUNS"] ?? 1);
const ZONES = Intl.supportedValuesOf("timeZone");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The first change of a zone's clock after an instant, or the instant itself where the clock stays as it is. */
function changeAfter(zone: string, instant: number): number {
  const next = Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(zone).getTimeZoneTransition("next");
  return next?.epochMilliseconds ?? instant;
}

const some = (min: number, max: number, maxLength: number) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant<"*">("*") },
    { weight: 3, arbitrary: fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength }) },
  );

const crontabs = fc.record({
  minute: fc.uniqueArray(fc.integer({ min: 0, max: 59 }), { minLength: 1, maxLength: 4 }),
  hour: fc.oneof(
    fc.constant<"*">("*"),
    fc.uniqueArray(fc.constantFrom(0, 1, 2, 3, 12, 22, 23), { minLength: 1, maxLength: 5 }),
    some(0, 23, 23),
  ),
  dayOfWeek: some(0, 6, 6),
  dayOfMonth: fc.constant<"*">("*"),
  monthOfYear: some(1, 12, 11),
});

const matches = (schedule: CrontabSchedule, wall: Temporal.PlainDateTime) =>
  schedule.minute.includes(wall.minute) &&
  schedule.hour.includes(wall.hour) &&
  schedule.dayOfWeek.includes(wall.dayOfWeek % 7) &&
  schedule.dayOfMonth.includes(wall.day) &&
  schedule.monthOfYear.includes(wall.month);

/** The same by walking: over the minutes of the wall clock, and, where every hour counts, over real time too. */
function walked(schedule: CrontabSchedule, zone: string, from: number, to: number): number[] {
  const found = new Set<number>();
  const keep = (instant: number) => {
    if (instant > from && instant <= to) found.add(instant);
  };
  const zoned = (instant: number) => Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(zone);
  const last = zoned(to).toPlainDateTime().add({ days: 1 });
  let wall = zoned(from).toPlainDateTime().subtract({ days: 1 }).round({ smallestUnit: "hour", roundingMode: "floor" });
  for (; Temporal.PlainDateTime.compare(wall, last) <= 0; wall = wall.add({ hours: 1 })) {
    for (const minute of schedule.minute) {
      const at = wall.with({ minute });
      if (matches(schedule, at)) keep(at.toZonedDateTime(zone, { disambiguation: "compatible" }).epochMilliseconds);
    }
  }
  if (schedule.hour.length === 24) {
    // Old local times had seconds in their offsets, so the minutes of the clock need not begin with those of UTC.
    for (let instant = Math.floor(from / MINUTE) * MINUTE; instant <= to; instant += MINUTE) {
      const local = zoned(instant);
      const start = local.round({ smallestUnit: "minute", roundingMode: "ceil" });
      if (start.second === 0 && matches(schedule, start.toPlainDateTime())) keep(start.epochMilliseconds);
    }
  }
  return [...found].sort((a, b) => a - b);
}

test(`in ${ZONES.length} zones, slots around a change of the clock are those of a walk over the wall clock`, {
  timeout: 120_000 + 3_000 * RUNS,
}, () => {
  for (const zone of ZONES) {
    fc.assert(
      fc.property(
        crontabs,
        fc.integer({ min: Date.UTC(1900), max: Date.UTC(2040) }),
        fc.integer({ min: -4 * 60, max: 3 * 60 }),
        fc.integer({ min: 1, max: 6 * 60 }),
        (fields, year, start, length) => {
          // Often around the change, and sometimes in the hours before or after it alone.
          const from = changeAfter(zone, year) + start * MINUTE;
          const to = from + length * MINUTE;
          const schedule = crontab(fields);
          expect(slots(schedule, zone, { from, to }), zone).toEqual(walked(schedule, zone, from, to));
        },
      ),
      { numRuns: RUNS },
    );
  }
});

test("days away from any change are walked alike, with every field in play", {
  timeout: 120_000 + 3_000 * RUNS,
}, () => {
  const schedules = fc.record({
    minute: some(0, 59, 3),
    hour: some(0, 23, 4),
    dayOfWeek: some(0, 6, 4),
    dayOfMonth: some(1, 31, 20),
    monthOfYear: some(1, 12, 8),
  });
  fc.assert(
    fc.property(schedules, fc.constantFrom(...ZONES), fc.integer({ min: 0, max: 2e9 }), (fields, zone, second) => {
      fc.pre(typeof fields.dayOfMonth === "string" || Math.min(...fields.dayOfMonth) <= 28);
      const schedule = crontab(fields);
      const from = second * 1000;
      const to = from + 2 * DAY;
      const found = slots(schedule, zone, { from, to });
      // Where every hour counts the walk over real time would be long, and the wall clock gives all but repeated hours.
      const withHours = schedule.hour.length === 24 ? { from, to: from + 3 * HOUR } : { from, to };
      expect(found.filter((slot) => slot <= withHours.to)).toEqual(
        walked(schedule, zone, withHours.from, withHours.to),
      );
    }),
    { numRuns: 60 * RUNS },
  );
});
