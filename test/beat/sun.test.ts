import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextSlots, slots } from "../../src/beat/due.ts";
import { type SolarEvent, SOLAR_EVENTS, solar } from "../../src/beat/schedule.ts";

/** Place, latitude, longitude, start, event, and when it comes next by Celery 5.7.0 with PyEphem 4.2; null where the sun does not do it that day. */
type Row = [string, number, number, string, SolarEvent, string | null];
const rows: Row[] = JSON.parse(readFileSync(new URL("./celery-solar.json", import.meta.url), "utf8"));
const DAY = 86_400_000;

test.each(SOLAR_EVENTS)(
  "%s is within a minute of Celery's, and does not come where the sun does not do it",
  (event) => {
    for (const [place, lat, lon, start, name, expected] of rows) {
      if (name !== event) continue;
      const from = Date.parse(start);
      const [next] = nextSlots(solar(event, lat, lon), "UTC", from, 1);
      if (expected === null) expect(next, `${place} ${start}`).toBeGreaterThan(from + DAY);
      else
        expect(
          Math.abs((next ?? 0) - Date.parse(expected)),
          `${place} ${start}: ${new Date(next ?? 0).toISOString()} and ${expected}`,
        ).toBeLessThan(60_000);
    }
  },
);

/** Place, latitude, longitude, event, and the last before and the first after days on which the sun does not do it, by the same. */
type Season = [string, number, number, SolarEvent, string, string];
const seasons: Season[] = JSON.parse(readFileSync(new URL("./celery-solar-seasons.json", import.meta.url), "utf8"));

test.each(SOLAR_EVENTS.filter((event) => event !== "solar_noon"))(
  "days without %s begin and end when Celery says, where the sun grazes the horizon",
  (event) => {
    for (const [place, lat, lon, name, last, first] of seasons) {
      if (name !== event) continue;
      const found = slots(solar(event, lat, lon), "UTC", {
        from: Date.parse(last) - DAY / 4,
        to: Date.parse(first) + DAY / 4,
      });
      const where = `${place} ${last}: ${found.map((slot) => new Date(slot).toISOString())}`;
      expect(found.length, where).toBe(2);
      expect(Math.abs((found[0] ?? 0) - Date.parse(last)), where).toBeLessThan(180_000);
      expect(Math.abs((found[1] ?? 0) - Date.parse(first)), where).toBeLessThan(180_000);
    }
  },
);

describe("the windows of a solar schedule", () => {
  const schedule = solar("sunset", -36.8485, 174.7633);

  test("give a year of sunsets, one a day, whichever way the year is cut", () => {
    const from = Date.UTC(2027, 0);
    const year = slots(schedule, "UTC", { from, to: from + 365 * DAY });
    expect(year).toHaveLength(365);
    const pieces = Array.from({ length: 365 * 4 }, (_, i) =>
      slots(schedule, "UTC", { from: from + (i * DAY) / 4, to: from + ((i + 1) * DAY) / 4 }),
    );
    expect(pieces.flat()).toEqual(year);
  });

  test("give the same however they are cut, at any longitude", () => {
    const places = fc.record({
      event: fc.constantFrom(...SOLAR_EVENTS),
      lat: fc.integer({ min: -90, max: 90 }),
      lon: fc.integer({ min: -180, max: 180 }),
      from: fc.integer({ min: Date.UTC(2020), max: Date.UTC(2040) }),
    });
    fc.assert(
      fc.property(places, ({ event, lat, lon, from }) => {
        const here = solar(event, lat, lon);
        const whole = slots(here, "UTC", { from, to: from + 10 * DAY });
        if (Math.abs(lat) <= 45) expect(Math.abs(whole.length - 10)).toBeLessThanOrEqual(1);
        const cuts = Array.from({ length: 40 }, (_, i) => from + (i * DAY) / 4);
        expect(cuts.flatMap((cut) => slots(here, "UTC", { from: cut, to: cut + DAY / 4 }))).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });

  test("leave their beginning out and have their end in", () => {
    const [sunset = 0] = nextSlots(schedule, "UTC", 0, 1);
    expect(slots(schedule, "UTC", { from: sunset - 1, to: sunset })).toEqual([sunset]);
    expect(slots(schedule, "UTC", { from: sunset, to: sunset + 1 })).toEqual([]);
  });

  test.each([90, 89.9, -89.9, -90])("have one sunrise and one sunset a year at the latitude %s", (lat) => {
    const year = { from: Date.UTC(2027, 5, 1), to: Date.UTC(2028, 5, 1) };
    const [sunrise, ...others] = slots(solar("sunrise", lat, 0), "UTC", year);
    expect(others).toEqual([]);
    const [sunset, ...more] = slots(solar("sunset", lat, 0), "UTC", year);
    expect(more).toEqual([]);
    const equinoxes = [Date.UTC(2027, 8, 23), Date.UTC(2028, 2, 20)];
    const [first, second] = lat > 0 ? [sunset, sunrise] : [sunrise, sunset];
    expect(Math.abs((first ?? 0) - (equinoxes[0] ?? 0))).toBeLessThan(4 * DAY);
    expect(Math.abs((second ?? 0) - (equinoxes[1] ?? 0))).toBeLessThan(4 * DAY);
  });
});
