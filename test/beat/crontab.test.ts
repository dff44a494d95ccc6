import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type CrontabFields, crontab } from "../../src/beat/crontab.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";

const FIELDS = ["minute", "hour", "dayOfWeek", "dayOfMonth", "monthOfYear"] as const satisfies (keyof CrontabFields)[];

/** What Celery 5.7.0 makes of a text in each of the five fields; null is refused. */
const celery: Record<string, (number[] | null)[]> = JSON.parse(
  readFileSync(new URL("./celery-crontab.json", import.meta.url), "utf8"),
);

function values(field: keyof CrontabFields, text: string): readonly number[] | null {
  try {
    return crontab({ [field]: text })[field];
  } catch (error) {
    expect(error).toBeInstanceOf(ImproperlyConfigured);
    expect((error as ImproperlyConfigured).setting).toBe(`crontab.${field}`);
    return null;
  }
}

describe("a field's text", () => {
  test(`means what it means to Celery, in ${Object.keys(celery).length} recorded texts and all five fields`, () => {
    for (const [text, expected] of Object.entries(celery)) {
      FIELDS.forEach((field, i) => {
        expect([text, field, values(field, text)]).toEqual([text, field, expected[i]]);
      });
    }
  });

  test.each([
    ["minute", "50-10/5", [0, 5, 10, 50, 55]],
    ["dayOfWeek", "fri-mon", [0, 1, 5, 6]],
    ["monthOfYear", "nov-feb", [1, 2, 11, 12]],
    ["dayOfWeek", "*/2", [0, 2, 4, 6]],
    ["monthOfYear", "*/3", [1, 4, 7, 10]],
    ["dayOfWeek", "mar", [3]],
  ] as const)("%s %j is %j", (field, text, expected) => {
    expect(values(field, text)).toEqual(expected);
  });
});

describe("crontab", () => {
  test("takes numbers, arrays, sets and texts, and sorts and merges what it is given", () => {
    const schedule = crontab({ minute: [30, 0, 30], hour: new Set([12, 9]), dayOfWeek: 1, dayOfMonth: "1-3" });
    expect(schedule).toMatchObject({ minute: [0, 30], hour: [9, 12], dayOfWeek: [1], dayOfMonth: [1, 2, 3] });
    expect(schedule.monthOfYear).toHaveLength(12);
  });

  test("is plain frozen data that goes through JSON", () => {
    const schedule = crontab({ hour: 9, minute: 10 });
    expect(Object.isFrozen(schedule) && Object.isFrozen(schedule.minute)).toBe(true);
    expect(crontab(JSON.parse(JSON.stringify(schedule)))).toEqual(schedule);
  });

  test("without fields runs every minute", () => {
    expect(crontab()).toEqual(crontab({ minute: "*", hour: "*", dayOfWeek: "*", dayOfMonth: "*", monthOfYear: "*" }));
  });

  test.each([
    [{ minute: 60 }, /crontab\.minute: 60 is not in the range; allowed are 0 to 59, and the value is 60/],
    [{ dayOfWeek: 7 }, /crontab\.dayOfWeek: 7 is not in the range; allowed are 0 to 6/],
    [{ hour: [1, 24] }, /crontab\.hour: 24 is not in the range.*1,24/],
    [{ hour: 1.5 }, /crontab\.hour: 1.5 is not in the range/],
    [{ hour: Number.NaN }, /crontab\.hour: NaN/],
    [{ minute: [] }, /crontab\.minute: an empty list never runs/],
    [{ minute: "5/15" }, /crontab\.minute: "5\/15" is neither a number nor the name of a month or weekday/],
    [{ minute: true }, /crontab\.minute: must be a number, a text or a list of numbers/],
    [{ hours: 9 }, /crontab\.hours: is no field of a crontab; did you mean "hour"\?/],
    [{ day_of_week: 1 }, /crontab\.day_of_week: .*did you mean "dayOfWeek"\?/],
  ])("refuses %j", (fields, message) => {
    expect(() => crontab(fields as CrontabFields)).toThrow(message);
  });

  test.each([
    [{ dayOfMonth: 31, monthOfYear: 2 }],
    [{ dayOfMonth: 30, monthOfYear: "feb" }],
    [{ dayOfMonth: 31, monthOfYear: "4,6,9,11" }],
  ])("refuses a date that no year has: %j", (fields) => {
    expect(() => crontab(fields)).toThrow(/crontab\.dayOfMonth: no month of/);
  });

  test("takes 29 February, and a date that only one of its months has", () => {
    crontab({ dayOfMonth: 29, monthOfYear: 2 });
    crontab({ dayOfMonth: 31, monthOfYear: "feb,mar" });
  });
});

describe("crontab.fromString", () => {
  test("takes the fields in the order of cron, not of Celery's arguments", () => {
    expect(crontab.fromString("10 9 13 jan fri")).toEqual(
      crontab({ minute: 10, hour: 9, dayOfMonth: 13, monthOfYear: 1, dayOfWeek: 5 }),
    );
  });

  test.each(["* * * *", "* * * * * *", "*  * * * *", "", "@daily"])("refuses %j", (line) => {
    expect(() => crontab.fromString(line)).toThrow(ImproperlyConfigured);
  });
});
