import { describe, expect, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import {
  at,
  type BeatEntry,
  type Duration,
  every,
  type SolarEvent,
  scheduleEntries,
  solar,
} from "../../src/beat/schedule.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";

const entry = (given: object): ReturnType<typeof scheduleEntries>[number] => {
  const [first] = scheduleEntries({ nightly: { task: "tasks.add", schedule: 30, ...given } as BeatEntry });
  if (!first) throw new Error("no entry");
  return first;
};

describe("every", () => {
  test("adds up its units", () => {
    expect(every({ weeks: 1, days: 1, hours: 1, minutes: 1, seconds: 0.5 })).toEqual({
      type: "interval",
      seconds: 604_800 + 86_400 + 3_600 + 60.5,
    });
  });

  test.each([
    [{}, /every: must be from 0\.001 to 31536000 seconds \(365 days\), and is 0/],
    [{ seconds: 0 }, /and is 0/],
    [{ seconds: -5 }, /and is -5/],
    [{ seconds: Number.NaN }, /every\.seconds: must be a number, and is NaN/],
    [{ minutes: "5" }, /every\.minutes: must be a number, and is "5"/],
    [{ days: 366 }, /and is 31622400/],
    [{ minute: 5 }, /every\.minute: is no unit of time; did you mean "minutes"\?/],
    [5, /every: must be an object of seconds, minutes, hours, days, weeks, and is 5/],
  ])("refuses %j", (duration, message) => {
    expect(() => every(duration as Duration)).toThrow(message);
  });

  test("takes up to 365 days", () => {
    expect(every({ days: 365 }).seconds).toBe(31_536_000);
  });
});

describe("solar", () => {
  test.each([
    [
      "sunris",
      0,
      0,
      /solar\.event: "sunris" is no event of the sun; did you mean "sunrise"\?; the events are dawn_astronomical/,
    ],
    ["sunset", 90.1, 0, /solar\.lat: must be a number of degrees from -90 to 90, and is 90\.1/],
    ["sunset", 0, -181, /solar\.lon: must be a number of degrees from -180 to 180, and is -181/],
    ["sunset", Number.NaN, 0, /solar\.lat: .*NaN/],
  ])("refuses %s at %d, %d", (event, lat, lon, message) => {
    expect(() => solar(event as SolarEvent, lat, lon)).toThrow(message);
  });
});

describe("at", () => {
  test("keeps the instant", () => {
    expect(at(new Date("2027-01-01T00:00:00.250Z"))).toEqual({ type: "at", instant: 1_798_761_600_250 });
  });

  test.each([new Date("nonsense"), new Date("2200-01-01T00:00:00Z"), new Date("1969-12-31T23:59:59Z"), "2027-01-01"])(
    "refuses %s",
    (date) => {
      expect(() => at(date as Date)).toThrow(/at: must be a valid Date in the years 1970 to 2199/);
    },
  );
});

describe("an entry of beatSchedule", () => {
  test("gets its name and every default, and is frozen", () => {
    const made = entry({});
    expect(made).toEqual({
      name: "nightly",
      task: "tasks.add",
      schedule: { type: "interval", seconds: 30 },
      args: [],
      kwargs: {},
      options: {},
      enabled: true,
      catchUp: "skip",
      within: 86_400,
    });
    expect([made, made.args, made.kwargs, made.options, made.schedule].every(Object.isFrozen)).toBe(true);
  });

  test("takes every kind of schedule, also as data that went through JSON", () => {
    for (const schedule of [every({ hours: 1 }), crontab({ hour: 9 }), solar("sunset", 1, 2), at(new Date(0))]) {
      expect(entry({ schedule }).schedule).toEqual(schedule);
      expect(entry({ schedule: JSON.parse(JSON.stringify(schedule)) }).schedule).toEqual(schedule);
    }
  });

  test("puts relative into its interval", () => {
    expect(entry({ relative: true }).schedule).toEqual({ type: "interval", seconds: 30, relative: true });
    expect(entry({ schedule: { type: "interval", seconds: 60, relative: true } }).schedule).toMatchObject({
      relative: true,
    });
    expect(entry({ schedule: { type: "interval", seconds: 60, relative: true }, relative: false }).schedule).toEqual({
      type: "interval",
      seconds: 60,
    });
  });

  test("takes within as seconds or as a duration", () => {
    expect(entry({ catchUp: "all", within: 90 }).within).toBe(90);
    expect(entry({ catchUp: "last", within: { hours: 6 } }).within).toBe(21_600);
  });

  test.each([
    [{ task: "" }, /beatSchedule\["nightly"\]\.task: must be the name of a task, and is ""/],
    [
      { schedule: 0 },
      /beatSchedule\["nightly"\]\.schedule: must be from 0\.001 to 31536000 seconds \(365 days\), and is 0/,
    ],
    [{ schedule: Number.NaN }, /\.schedule: .*NaN/],
    [{ schedule: Number.POSITIVE_INFINITY }, /\.schedule: .*Infinity/],
    [
      { schedule: undefined },
      /\.schedule: must be a number of seconds, every\(\), crontab\(\), crontab\.fromString\(\), solar\(\) or at\(\), and is undefined/,
    ],
    // Who has a line of cron reads what takes it.
    [{ schedule: "* * * * *" }, /\.schedule: must be a number of seconds.*crontab\.fromString\(\).*"\* \* \* \* \*"/],
    [
      { schedule: { type: "crontab", minute: [61] } },
      /\["nightly"\]\.schedule: crontab\.minute: 61 is not in the range/,
    ],
    [{ schedule: { type: "interval", seconds: 0 } }, /\["nightly"\]\.schedule: .*must be from/],
    [{ args: 5 }, /\.args: must be an array, and is 5/],
    [{ kwargs: [1] }, /\.kwargs: must be an object, and is \[1\]/],
    [{ options: null }, /\.options: must be an object of options of applyAsync, and is null/],
    [{ relative: 1 }, /\.relative: must be true or false, and is 1/],
    [
      { relative: true, schedule: crontab({}) },
      /\.relative: is only for an interval, and the schedule is of type "crontab"/,
    ],
    [{ enabled: "no" }, /\.enabled: must be true or false, and is "no"/],
    [{ catchUp: "some" }, /\.catchUp: must be "skip" or "last" or "all", and is "some"/],
    [{ within: 60 }, /\.within: says how late a missed slot may be sent, so it needs catchUp/],
    [{ catchUp: "all", within: 0 }, /\.within: must be from 0\.001 to 31536000 seconds/],
    [{ catchUp: "all", within: { hour: 6 } }, /\.within\.hour: is no unit of time; did you mean "hours"\?/],
    [
      { catchUp: "all", schedule: 0.001 },
      /\.within: lets 86400000 slots of 86400 seconds be sent at once after a stop .* may let 100000: give a shorter time/,
    ],
    [{ catchUp: "all", schedule: crontab({}), within: { days: 70 } }, /\.within: lets 100800 slots/],
    [{ kwarg: {} }, /beatSchedule\["nightly"\]\.kwarg: is not part of an entry; did you mean "kwargs"\?/],
    [{ catch_up: "all" }, /\.catch_up: is not part of an entry; did you mean "catchUp"\?/],
  ])("refuses %j", (given, message) => {
    expect(() => entry(given)).toThrow(message);
    expect(() => entry(given)).toThrow(ImproperlyConfigured);
  });

  test("is refused where it is no object", () => {
    expect(() => scheduleEntries({ a: 5 as unknown as BeatEntry })).toThrow(
      /beatSchedule\["a"\]: must be an object with task and schedule, and is 5/,
    );
    expect(() => scheduleEntries([] as unknown as Record<string, BeatEntry>)).toThrow(
      /beatSchedule: must be an object of entries by name/,
    );
    const itself: unknown[] = [];
    itself.push(itself);
    expect(() => scheduleEntries(itself as never)).toThrow(/beatSchedule: must be an object of entries by name/);
    expect(() => entry({ schedule: itself })).toThrow(/\["nightly"\]\.schedule: must be a number of seconds/);
    expect(() => entry({ schedule: 1n })).toThrow(/\["nightly"\]\.schedule: must be a number of seconds.* and is 1/);
  });
});
