import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { slots } from "../../src/beat/due.ts";
import { cronExpression, fires, ruleOf } from "../../src/beat/rules.ts";
import { at, every, type Schedule, SOLAR_EVENTS, scheduleEntries, solar } from "../../src/beat/schedule.ts";
import { firesAt } from "./eventbridge.ts";

const RUNS = Number(process.env["BEAT_RUNS"] ?? 1);
const MINUTE = 60_000;
const DAY = 86_400_000;

const expression = (schedule: Schedule, zone = "UTC") => cronExpression(ruleOf(schedule, zone));
const relative = (seconds: number) => {
  const [entry] = scheduleEntries({ a: { task: "t", schedule: seconds, relative: true } });
  return entry?.schedule as Schedule;
};

describe("the rule of an interval", () => {
  test.each([
    [30, "cron(* * * * ? *)"],
    [0.5, "cron(* * * * ? *)"],
    [60, "cron(* * * * ? *)"],
    [
      90,
      "cron(0,1,3,4,6,7,9,10,12,13,15,16,18,19,21,22,24,25,27,28,30,31,33,34,36,37,39,40,42,43,45,46,48,49,51,52,54,55,57,58 * * * ? *)",
    ],
    [120, "cron(0/2 * * * ? *)"],
    [300, "cron(0/5 * * * ? *)"],
    [420, "cron(* * * * ? *)"],
    [1_800, "cron(0,30 * * * ? *)"],
    [3_600, "cron(0 * * * ? *)"],
    [5_400, "cron(0,30 0,1,3,4,6,7,9,10,12,13,15,16,18,19,21,22 * * ? *)"],
    [21_600, "cron(0 0/6 * * ? *)"],
    [86_400, "cron(0 0 * * ? *)"],
    [604_800, "cron(0 0 ? * 5 *)"],
  ])("of %d s is %s", (seconds, expected) => {
    expect(expression({ type: "interval", seconds })).toBe(expected);
  });

  test("that is relative fires when the zone's hour or day begins", () => {
    expect(expression(relative(86_400), "Asia/Shanghai")).toBe("cron(0 16 * * ? *)");
    expect(expression(relative(86_400), "America/New_York")).toBe("cron(0 4,5 * * ? *)");
    expect(expression(relative(3_600), "Asia/Kolkata")).toBe("cron(30 * * * ? *)");
  });
});

describe("the rule of a crontab", () => {
  test.each([
    [{ hour: 9, minute: 10 }, "UTC", "cron(10 9 * * ? *)"],
    [{ hour: 9, minute: 10 }, "Asia/Shanghai", "cron(10 1 * * ? *)"],
    [{ hour: 9, minute: 10 }, "America/New_York", "cron(10 13,14 * * ? *)"],
    [{ hour: 9, minute: 10 }, "Australia/Lord_Howe", "cron(10,40 22 * * ? *)"],
    [{ hour: 9, minute: 10, dayOfWeek: "mon-fri" }, "UTC", "cron(10 9 ? * 2-6 *)"],
    [{ hour: 7, minute: 0, dayOfWeek: "mon-fri" }, "Asia/Shanghai", "cron(0 23 ? * 1-5 *)"],
    [{ hour: 0, minute: 0, dayOfMonth: 1 }, "Asia/Shanghai", "cron(0 16 28-31 * ? *)"],
    [{ hour: 0, minute: 0, dayOfMonth: 1, monthOfYear: 1 }, "Asia/Shanghai", "cron(0 16 31 12 ? *)"],
    [{ hour: 0, minute: 0, dayOfMonth: 1, monthOfYear: 3 }, "Asia/Shanghai", "cron(0 16 28,29 2 ? *)"],
    [{ hour: 0, minute: 0, dayOfWeek: "fri", dayOfMonth: 13 }, "UTC", "cron(0 0 13 * ? *)"],
    [{ hour: 0, minute: 0, dayOfWeek: "mon", dayOfMonth: "1-14" }, "UTC", "cron(0 0 ? * 2 *)"],
    [{ minute: "*/15" }, "America/New_York", "cron(0/15 * * * ? *)"],
    [{ minute: "0,5,10" }, "UTC", "cron(0,5,10 * * * ? *)"],
    [{ minute: "20-59/10" }, "UTC", "cron(20/10 * * * ? *)"],
    [{}, "UTC", "cron(* * * * ? *)"],
  ])("%j in %s is %s", (fields, zone, expected) => {
    expect(expression(crontab(fields), zone)).toBe(expected);
  });

  test("restricts one of the day fields, so that it fires when its text does", () => {
    const rule = ruleOf(crontab({ hour: 0, minute: 0, dayOfWeek: "mon", dayOfMonth: "1-14" }), "UTC");
    expect([rule.dayOfWeek, rule.dayOfMonth.length]).toEqual([[1], 31]);
  });

  test("provides for an offset that the zone gave up after 2000", () => {
    expect(expression(crontab({ hour: 9, minute: 0 }), "America/Sao_Paulo")).toBe("cron(0 11,12 * * ? *)");
  });
});

test("a rule of one instant names its year", () => {
  expect(expression(at(new Date("2027-06-03T10:05:30Z")))).toBe("cron(5 10 3 6 ? 2027)");
});

describe("the rule of the sun", () => {
  test("fires in the hours around the event alone", () => {
    expect(expression(solar("sunset", 1.35, 103.8))).toBe("cron(* 9-12 * * ? *)");
  });

  test("fires always where nothing is known", () => {
    expect(expression(solar("sunrise", 90, 0))).toBe("cron(* * * * ? *)");
  });
});

test("no rule is longer than EventBridge takes", () => {
  // Two of three values make the longest list.
  const scattered = (min: number, max: number) =>
    Array.from({ length: max - min + 1 }, (_, i) => min + i).filter((_, i) => i % 3 !== 2);
  const fields = {
    minute: scattered(0, 59),
    hour: scattered(0, 23),
    dayOfMonth: scattered(1, 31),
    monthOfYear: scattered(1, 12),
  };
  const text = expression(crontab(fields), "UTC");
  expect(text.length).toBeLessThanOrEqual(256);
  expect(() => firesAt(text)).not.toThrow();
});

// ── every schedule ───────────────────────────────────────────────────────────────────────────────────────────────────

const some = (min: number, max: number, maxLength: number) =>
  fc.oneof(fc.constant<"*">("*"), fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength }));

const schedules: fc.Arbitrary<Schedule> = fc.oneof(
  fc.integer({ min: 1, max: 400_000 }).map((seconds): Schedule => ({ type: "interval", seconds })),
  fc
    .constantFrom(1, 60, 90, 300, 3_600, 5_400, 43_200, 86_400, 172_800, 604_800)
    .map((seconds): Schedule => ({ type: "interval", seconds })),
  fc.constantFrom(90, 3_600, 5_400, 7_200, 86_400, 100_000, 172_800, 604_800).map(relative),
  fc
    .record({
      minute: some(0, 59, 3),
      hour: some(0, 23, 3),
      dayOfWeek: some(0, 6, 3),
      dayOfMonth: some(1, 28, 5),
      monthOfYear: some(1, 12, 6),
    })
    .map(crontab),
  fc
    .tuple(fc.constantFrom(...SOLAR_EVENTS), fc.integer({ min: -75, max: 75 }), fc.integer({ min: -180, max: 180 }))
    .map(([event, lat, lon]) => solar(event, lat, lon)),
  fc.integer({ min: Date.UTC(2015), max: Date.UTC(2045) }).map((instant) => at(new Date(instant))),
);

/** Where the clock does what it does elsewhere and more: half hours, large offsets, changes at midnight, on Fridays, in Ramadan, no changes. */
const zones = fc.oneof(
  fc.constantFrom(
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Pacific/Apia",
    "America/St_Johns",
  ),
  fc.constantFrom(
    "Africa/Casablanca",
    "Africa/Cairo",
    "America/Santiago",
    "Asia/Beirut",
    "Europe/Dublin",
    "America/Nuuk",
    "Pacific/Kiritimati",
  ),
  fc.constantFrom(...Intl.supportedValuesOf("timeZone")),
);

test("every slot from 2015 to 2044 lies in a minute at which the rule fires, as EventBridge reads it", {
  timeout: 120_000 + 3_000 * RUNS,
}, () => {
  fc.assert(
    fc.property(schedules, zones, fc.integer({ min: Date.UTC(2015), max: Date.UTC(2044) }), (schedule, zone, from) => {
      const dense = schedule.type === "interval" && schedule.seconds < 600;
      const found = slots(schedule, zone, { from, to: from + (dense ? 1 : 60) * DAY });
      const rule = ruleOf(schedule, zone);
      const text = cronExpression(rule);
      const fired = firesAt(text);
      for (const slot of found) {
        if (!fired(slot)) throw new Error(`${text} does not fire at ${new Date(slot).toISOString()}`);
        if (!fires(rule, slot)) throw new Error(`the rule of ${text} does not know of ${new Date(slot).toISOString()}`);
      }
    }),
    { numRuns: 250 * RUNS },
  );
});

test("where there are days without the event, its first and last of a season may come in any minute", () => {
  // Seen on 22 October 2037 at 06:21, in none of the hours of the years that other places are judged by.
  expect(cronExpression(ruleOf(solar("dusk_civil", -73, 0), "UTC"))).toBe("cron(* * * * ? *)");
  expect(cronExpression(ruleOf(solar("dusk_civil", 52, 13), "UTC"))).not.toBe("cron(* * * * ? *)");
});

test("the rule and its text fire in the same minutes", { timeout: 120_000 + 3_000 * RUNS }, () => {
  fc.assert(
    fc.property(schedules, zones, fc.integer({ min: Date.UTC(2015), max: Date.UTC(2044) }), (schedule, zone, from) => {
      const rule = ruleOf(schedule, zone);
      const fired = firesAt(cronExpression(rule));
      for (let minute = from; minute < from + 40 * DAY; minute += 37 * MINUTE)
        expect(fired(minute)).toBe(fires(rule, minute));
    }),
    { numRuns: 40 * RUNS },
  );
});

describe("firings without a slot, in the year 2027", () => {
  const wasted = (schedule: Schedule, zone: string) => {
    const fired = firesAt(expression(schedule, zone));
    const from = Date.UTC(2027);
    const useful = new Set(
      slots(schedule, zone, { from: from - 1, to: from + 365 * DAY - 1 }).map((slot) => Math.floor(slot / MINUTE)),
    );
    let firings = 0;
    for (let minute = from; minute < from + 365 * DAY; minute += MINUTE) if (fired(minute)) firings++;
    return firings - useful.size;
  };

  test.each([
    [every({ minutes: 5 }), "America/New_York", 0],
    [every({ seconds: 30 }), "UTC", 0],
    [crontab({ minute: "*/15" }), "America/New_York", 0],
    [crontab({ hour: 9, minute: 10 }), "Asia/Shanghai", 0],
    [crontab({ hour: 9, minute: 10 }), "America/New_York", 365],
    // Two minutes in one hour, one of them a slot.
    [crontab({ hour: 9, minute: 10 }), "Australia/Lord_Howe", 365],
    [crontab({ hour: 9, minute: 0, dayOfWeek: "mon-fri" }), "UTC", 0],
    // 12 firings on a 13th, and one of them a Friday.
    [crontab({ hour: 0, minute: 0, dayOfWeek: "fri", dayOfMonth: 13 }), "UTC", 11],
    [crontab({ hour: 0, minute: 0, dayOfMonth: 1 }), "Asia/Shanghai", 29],
    [every({ minutes: 90 }), "UTC", 365 * 16],
  ])("%j in %s: %d", (schedule, zone, expected) => {
    expect(wasted(schedule, zone)).toBe(expected);
  });
});
