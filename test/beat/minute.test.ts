import { describe, expect, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { minuteSlots } from "../../src/beat/minute.ts";
import { every, type Schedule } from "../../src/beat/schedule.ts";

const utc = (text: string) => Date.parse(text);
const found = (schedule: Schedule, zone: string, eventTime: string, now = eventTime) =>
  minuteSlots({ schedule, enabled: true }, zone, utc(eventTime), utc(now)).map(({ slot, delaySeconds }) => [
    new Date(slot).toISOString().slice(11, 19),
    delaySeconds,
  ]);

describe("an event within a minute of its rule", () => {
  test("stands for the slots of that minute, each with the seconds left to it", () => {
    expect(found(every({ seconds: 15 }), "UTC", "2026-05-01T09:10:00Z", "2026-05-01T09:10:20.300Z")).toEqual([
      ["09:10:00", 0],
      ["09:10:15", 0],
      ["09:10:30", 10],
      ["09:10:45", 25],
    ]);
  });

  test("stands for them wherever in the minute it comes, so that two events of a minute give the same slots", () => {
    for (const time of ["00.000", "31.500", "59.999"]) {
      expect(found(every({ seconds: 30 }), "UTC", `2026-05-01T09:10:${time}Z`, "2026-05-01T09:10:00Z")).toEqual([
        ["09:10:00", 0],
        ["09:10:30", 30],
      ]);
    }
  });

  test("gives each slot to one minute: consecutive events give all, once", () => {
    const schedule = every({ seconds: 7 });
    const start = utc("2026-05-01T09:00:00Z");
    const all = Array.from({ length: 60 }, (_, i) =>
      minuteSlots({ schedule, enabled: true }, "UTC", start + i * 60_000 + 700 * i, start),
    ).flat();
    expect(all.map(({ slot }) => slot)).toEqual(
      Array.from({ length: Math.ceil(3_600 / 7) }, (_, i) => Math.ceil(start / 7_000) * 7_000 + i * 7_000).filter(
        (slot) => slot < start + 3_600_000,
      ),
    );
  });

  test("stands for nothing where the rule is wider than the schedule", () => {
    const schedule = crontab({ hour: 9, minute: 10 });
    expect(found(schedule, "America/New_York", "2026-01-15T13:10:05Z")).toEqual([]);
    expect(found(schedule, "America/New_York", "2026-01-15T14:10:05Z")).toEqual([["14:10:00", 0]]);
    expect(found(schedule, "America/New_York", "2026-07-15T13:10:05Z")).toEqual([["13:10:00", 0]]);
  });
});

describe("an event outside of its rule's minutes", () => {
  const schedule = crontab({ hour: 9, minute: 10 });

  test("stands for the minute that begins within one, as on LocalStack, and waits for it", () => {
    expect(found(schedule, "Asia/Shanghai", "2026-11-24T01:09:01Z")).toEqual([["01:10:00", 59]]);
    expect(found(schedule, "Asia/Shanghai", "2026-11-24T01:09:59.500Z")).toEqual([["01:10:00", 1]]);
  });

  test("stands for the minute that ended within one", () => {
    expect(found(schedule, "Asia/Shanghai", "2026-11-24T01:11:00Z")).toEqual([["01:10:00", 0]]);
    expect(found(schedule, "Asia/Shanghai", "2026-11-24T01:11:59Z")).toEqual([["01:10:00", 0]]);
  });

  test("stands for nothing further away", () => {
    expect(found(schedule, "Asia/Shanghai", "2026-11-24T01:08:59Z")).toEqual([]);
    expect(found(schedule, "Asia/Shanghai", "2026-11-24T01:12:00Z")).toEqual([]);
  });

  test("stands for the nearer of two, and for the later of two that are as near", () => {
    const around = crontab({ minute: "9,11" });
    expect(found(around, "UTC", "2026-05-01T09:10:10Z")).toEqual([["09:09:00", 0]]);
    expect(found(around, "UTC", "2026-05-01T09:10:50Z")).toEqual([["09:11:00", 10]]);
    expect(found(around, "UTC", "2026-05-01T09:10:30Z")).toEqual([["09:11:00", 30]]);
  });
});

test("an entry that is not enabled has no slots", () => {
  const now = utc("2026-05-01T09:10:00Z");
  expect(minuteSlots({ schedule: every({ seconds: 30 }), enabled: false }, "UTC", now, now)).toEqual([]);
});
