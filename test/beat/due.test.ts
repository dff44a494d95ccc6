import { Temporal } from "temporal-polyfill";
import { describe, expect, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { nextSlots, slots } from "../../src/beat/due.ts";
import { at, every, type IntervalSchedule, type Schedule } from "../../src/beat/schedule.ts";

const DAY = 86_400_000;
const utc = (text: string) => Date.parse(text);
const instants = (found: readonly number[]) => found.map((slot) => new Date(slot).toISOString().replace(".000Z", "Z"));

/** Slots of a window, as the zone's clock shows them. */
const walls = (schedule: Schedule, zone: string, from: string, to: string) =>
  slots(schedule, zone, { from: utc(from), to: utc(to) }).map((slot) =>
    Temporal.Instant.fromEpochMilliseconds(slot)
      .toZonedDateTimeISO(zone)
      .toString({ timeZoneName: "never", smallestUnit: "minute" }),
  );

describe("a window", () => {
  const schedules: Schedule[] = [every({ seconds: 30 }), crontab(), at(new Date("2026-05-01T00:00:00Z"))];
  test.each(schedules)("leaves its beginning out and has its end in ($type)", (schedule) => {
    const slot = utc("2026-05-01T00:00:00Z");
    expect(slots(schedule, "UTC", { from: slot - 1, to: slot })).toEqual([slot]);
    expect(slots(schedule, "UTC", { from: slot, to: slot + 1 })).toEqual([]);
    expect(slots(schedule, "UTC", { from: slot, to: slot })).toEqual([]);
    expect(slots(schedule, "UTC", { from: slot, to: slot - 1 })).toEqual([]);
  });

  test("needs a zone that exists", () => {
    for (const schedule of schedules) {
      expect(() => slots(schedule, "America/NewYork", { from: 0, to: 1 })).toThrow(
        /timezone: .*did you mean "America\/New_York"/,
      );
    }
  });
});

describe("an interval", () => {
  test("counts from the epoch, whatever the zone and the window", () => {
    const window = { from: utc("2026-05-01T00:00:10Z"), to: utc("2026-05-01T00:01:30Z") };
    const expected = ["2026-05-01T00:00:30Z", "2026-05-01T00:01:00Z", "2026-05-01T00:01:30Z"];
    expect(instants(slots(every({ seconds: 30 }), "UTC", window))).toEqual(expected);
    expect(instants(slots(every({ seconds: 30 }), "Asia/Kathmandu", window))).toEqual(expected);
  });

  test("may be a fraction of a second, without drifting", () => {
    const found = slots(every({ seconds: 0.1 }), "UTC", {
      from: utc("2026-05-01T00:00:00Z"),
      to: utc("2026-05-01T00:10:00Z"),
    });
    expect(found).toHaveLength(6_000);
    expect(found.at(-1)).toBe(utc("2026-05-01T00:10:00Z"));
  });

  test("of a day runs at midnight UTC, and of a week on the Thursdays of the epoch", () => {
    expect(instants(nextSlots(every({ days: 1 }), "America/New_York", utc("2026-05-01T12:00:00Z"), 1))).toEqual([
      "2026-05-02T00:00:00Z",
    ]);
    expect(instants(nextSlots(every({ weeks: 1 }), "UTC", utc("2026-05-01T12:00:00Z"), 1))).toEqual([
      "2026-05-07T00:00:00Z",
    ]);
  });
});

describe("a relative interval", () => {
  const relative = (schedule: IntervalSchedule): IntervalSchedule => ({ ...schedule, relative: true });

  test("of days runs at midnight of the zone, also over a change of its clock", () => {
    expect(
      walls(relative(every({ days: 1 })), "America/New_York", "2026-03-07T00:00:00Z", "2026-03-10T00:00:00Z"),
    ).toEqual(["2026-03-07T00:00-05:00", "2026-03-08T00:00-05:00", "2026-03-09T00:00-04:00"]);
    expect(
      walls(relative(every({ days: 1 })), "Asia/Shanghai", "2026-03-07T00:00:00Z", "2026-03-09T00:00:00Z"),
    ).toEqual(["2026-03-08T00:00+08:00", "2026-03-09T00:00+08:00"]);
  });

  test("is found in a window that ends before the slot that it was rounded from", () => {
    const midnight = utc("2026-03-07T05:00:00Z");
    const window = { from: midnight - 1, to: midnight };
    expect(slots(relative(every({ days: 1 })), "America/New_York", window)).toEqual([midnight]);
  });

  test("of hours runs at the full hour of the zone", () => {
    expect(
      instants(
        slots(relative(every({ hours: 6 })), "Asia/Kolkata", {
          from: utc("2026-05-01T00:00:00Z"),
          to: utc("2026-05-01T13:00:00Z"),
        }),
      ),
    ).toEqual(["2026-05-01T05:30:00Z", "2026-05-01T11:30:00Z"]);
  });

  test("of hours follows the zone through its half hour", () => {
    const [winter, summer] = ["2026-07-01T00:00:00Z", "2026-01-01T00:00:00Z"].map((text) =>
      walls(relative(every({ hours: 12 })), "Australia/Lord_Howe", text, new Date(utc(text) + DAY / 2).toISOString()),
    );
    expect(winter).toEqual(["2026-07-01T22:00+10:30"]);
    expect(summer).toEqual(["2026-01-01T23:00+11:00"]);
  });

  test("of minutes runs at the full minute, and of less stays as it is", () => {
    const window = { from: utc("2026-05-01T00:00:00Z"), to: utc("2026-05-01T00:06:00Z") };
    expect(instants(slots(relative(every({ seconds: 90 })), "UTC", window)).map((text) => text.slice(14, 19))).toEqual([
      "01:00",
      "03:00",
      "04:00",
      "06:00",
    ]);
    expect(slots(relative(every({ seconds: 50 })), "UTC", window)).toEqual(
      slots(every({ seconds: 50 }), "UTC", window),
    );
  });
});

describe("a crontab", () => {
  test("of 09:10 in Shanghai runs at 01:10 UTC", () => {
    expect(
      instants(nextSlots(crontab({ hour: 9, minute: 10 }), "Asia/Shanghai", utc("2026-11-24T00:00:00Z"), 2)),
    ).toEqual(["2026-11-24T01:10:00Z", "2026-11-25T01:10:00Z"]);
  });

  test("needs the day of the month and the day of the week: Friday the 13th", () => {
    const found = nextSlots(
      crontab({ hour: 0, minute: 0, dayOfMonth: 13, dayOfWeek: "fri" }),
      "UTC",
      utc("2026-01-01T00:00:00Z"),
      4,
    );
    expect(instants(found).map((text) => text.slice(0, 10))).toEqual([
      "2026-02-13",
      "2026-03-13",
      "2026-11-13",
      "2027-08-13",
    ]);
  });

  test("finds a 29 February on a Monday 40 years away, past a year like 2100", () => {
    const schedule = crontab({ hour: 12, minute: 0, dayOfMonth: 29, monthOfYear: 2, dayOfWeek: 1 });
    expect(instants(nextSlots(schedule, "UTC", utc("2072-03-01T00:00:00Z"), 1))).toEqual(["2112-02-29T12:00:00Z"]);
    expect(
      instants(slots(schedule, "UTC", { from: utc("2020-01-01T00:00:00Z"), to: utc("2075-01-01T00:00:00Z") })),
    ).toEqual(["2044-02-29T12:00:00Z", "2072-02-29T12:00:00Z"]);
  });

  test("has its slots found a second at a time as well as in one window", () => {
    const schedule = crontab({ minute: "*/2" });
    const from = utc("2026-03-08T06:58:30Z");
    const pieces = Array.from({ length: 600 }, (_, i) =>
      slots(schedule, "America/New_York", { from: from + i * 1000, to: from + (i + 1) * 1000 }),
    );
    expect(pieces.flat()).toEqual(slots(schedule, "America/New_York", { from, to: from + 600_000 }));
    expect(pieces.flat()).toHaveLength(5);
  });
});

describe("in New York, in the night to 8 March 2026 (02:00 to 03:00 does not exist)", () => {
  const night = ["2026-03-08T05:30:00Z", "2026-03-08T09:00:00Z"] as const;

  test("02:30 runs at 03:30, and at 02:30 the next day", () => {
    expect(
      walls(crontab({ hour: 2, minute: 30 }), "America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T12:00:00Z"),
    ).toEqual(["2026-03-08T03:30-04:00", "2026-03-09T02:30-04:00"]);
  });

  test("02:30 and 03:30 are one instant and run once", () => {
    expect(walls(crontab({ hour: "2,3", minute: 30 }), "America/New_York", ...night)).toEqual([
      "2026-03-08T03:30-04:00",
    ]);
  });

  test("every half hour goes on every real half hour", () => {
    expect(walls(crontab({ minute: "*/30" }), "America/New_York", ...night)).toEqual([
      "2026-03-08T01:00-05:00",
      "2026-03-08T01:30-05:00",
      "2026-03-08T03:00-04:00",
      "2026-03-08T03:30-04:00",
      "2026-03-08T04:00-04:00",
      "2026-03-08T04:30-04:00",
      "2026-03-08T05:00-04:00",
    ]);
  });
});

describe("in New York, in the night to 1 November 2026 (01:00 to 02:00 comes twice)", () => {
  const night = ["2026-11-01T04:30:00Z", "2026-11-01T07:00:00Z"] as const;

  test("01:30 runs once, the first time", () => {
    expect(walls(crontab({ hour: 1, minute: 30 }), "America/New_York", ...night)).toEqual(["2026-11-01T01:30-04:00"]);
  });

  test("01:30 does not run the second time either where the window begins between the two", () => {
    const second = ["2026-11-01T06:10:00Z", "2026-11-01T07:00:00Z"] as const;
    expect(walls(crontab({ hour: 1, minute: 30 }), "America/New_York", ...second)).toEqual([]);
  });

  test("a crontab of every hour runs in both, and one of some hours in the first alone", () => {
    const both = [
      "2026-11-01T01:00-04:00",
      "2026-11-01T01:30-04:00",
      "2026-11-01T01:00-05:00",
      "2026-11-01T01:30-05:00",
      "2026-11-01T02:00-05:00",
    ];
    expect(walls(crontab({ minute: "*/30" }), "America/New_York", ...night)).toEqual(both);
    expect(walls(crontab({ minute: "*/30", hour: "0-22" }), "America/New_York", ...night)).toEqual([
      both[0],
      both[1],
      both[4],
    ]);
  });
});

describe("on Lord Howe, whose clock moves by half an hour", () => {
  test("02:15, which 4 October 2026 does not have, runs at 02:45", () => {
    expect(
      walls(crontab({ hour: 2, minute: 15 }), "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z"),
    ).toEqual(["2026-10-04T02:45+11:00"]);
  });

  test("an hourly crontab skips no real hour: 02:00 runs at 02:30", () => {
    expect(
      walls(crontab({ minute: 0 }), "Australia/Lord_Howe", "2026-10-03T14:00:00Z", "2026-10-03T16:00:00Z"),
    ).toEqual(["2026-10-04T01:00+10:30", "2026-10-04T02:30+11:00", "2026-10-04T03:00+11:00"]);
  });

  test("01:45, which 5 April 2026 has twice, runs once, and the quarters of every hour run on", () => {
    expect(
      walls(crontab({ hour: 1, minute: 45 }), "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z"),
    ).toEqual(["2026-04-05T01:45+11:00"]);
    expect(
      walls(crontab({ minute: "*/15" }), "Australia/Lord_Howe", "2026-04-04T14:15:00Z", "2026-04-04T15:30:00Z"),
    ).toEqual([
      "2026-04-05T01:30+11:00",
      "2026-04-05T01:45+11:00",
      "2026-04-05T01:30+10:30",
      "2026-04-05T01:45+10:30",
      "2026-04-05T02:00+10:30",
    ]);
  });
});

test("a day that a zone left out (Samoa, 30 December 2011) runs on the day after, once", () => {
  expect(
    walls(crontab({ hour: 9, minute: 0 }), "Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z"),
  ).toEqual(["2011-12-29T09:00-10:00", "2011-12-31T09:00+14:00", "2012-01-01T09:00+14:00"]);
});

describe("nextSlots", () => {
  test("gives as many as there are", () => {
    expect(nextSlots(every({ seconds: 1 }), "UTC", 0, 5)).toEqual([1000, 2000, 3000, 4000, 5000]);
    expect(nextSlots(at(new Date(500)), "UTC", 0, 5)).toEqual([500]);
    expect(nextSlots(at(new Date(500)), "UTC", 500, 5)).toEqual([]);
    expect(nextSlots(every({ days: 365 }), "UTC", 0, 3)).toHaveLength(3);
    expect(nextSlots(crontab(), "UTC", 0, 0)).toEqual([]);
  });

  test("is what the windows give", () => {
    const schedule = crontab({ minute: "7,49", hour: "1-3", dayOfWeek: "sun" });
    const from = utc("2026-01-01T00:00:00Z");
    const found = nextSlots(schedule, "America/New_York", from, 300);
    expect(found).toHaveLength(300);
    expect(found).toEqual(slots(schedule, "America/New_York", { from, to: found.at(-1) ?? 0 }));
    expect((found.at(-1) ?? 0) - from).toBeGreaterThan(300 * DAY);
  });
});
