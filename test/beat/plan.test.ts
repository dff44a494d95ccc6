import { expect, test } from "vitest";
import { crontab, type CrontabFields } from "../../src/beat/crontab.ts";
import { type PlanOptions, planOf } from "../../src/beat/plan.ts";
import { at, type BeatEntry, every, scheduleEntries } from "../../src/beat/schedule.ts";

function plan(entry: Partial<BeatEntry>, options: Partial<PlanOptions> = {}) {
  const entries = scheduleEntries({ a: { task: "t", schedule: 60, ...entry } });
  const [found] = planOf(entries, {
    zone: "Europe/Berlin",
    now: Date.parse("2026-10-20T00:00:00Z"),
    days: 14,
    aroundDst: false,
    timeLimit: () => undefined,
    ...options,
  });
  if (found === undefined) throw new Error("no plan");
  return found;
}
const cron = (fields: CrontabFields) => ({ schedule: crontab(fields) });
const effects = (fields: CrontabFields, now: string) =>
  plan(cron(fields), { now: Date.parse(now) }).change?.effects.join();

test("a plan has the next runs in both times, and the rule", () => {
  const { runs, rule } = plan(cron({ hour: 2, minute: 30 }), { aroundDst: true });
  expect(runs.map(({ local }) => local)).toContain("2026-10-25 02:30:00 +02:00");
  expect(runs.map(({ local }) => local)).not.toContain("2026-10-25 02:30:00 +01:00");
  expect(rule).toBe("cron(30 0,1 * * ? *)");
});

test("days bound what is shown", () => {
  expect(plan(cron({ hour: 2, minute: 0 }), { days: 2 }).runs).toHaveLength(2);
});

test("a change of the clock says what becomes of the runs", () => {
  expect(effects({ hour: 2, minute: 30 }, "2026-03-01T00:00:00Z")).toMatch(/02:30 does not exist.*02:30 at 03:30/);
  expect(effects({ hour: 2, minute: 30 }, "2026-10-20T00:00:00Z")).toMatch(/comes twice: runs the first time alone/);
  expect(effects({ minute: 30 }, "2026-10-20T00:00:00Z")).toMatch(/comes twice: runs both times/);
  expect(effects({ hour: 9, minute: 0 }, "2026-10-20T00:00:00Z")).toMatch(/^none .* 1 h later/);
  expect(plan({}, { zone: "UTC" }).change).toBeNull();
});

test.each<[string, Partial<BeatEntry>, RegExp]>([
  ["a step longer than its field", cron({ minute: "*/120" }), /\*\/120 is 0 alone/],
  ["a step that does not divide its field", cron({ minute: "*/7" }), /last distance is 4/],
  ["a weekday's number", cron({ minute: 0, hour: 9, dayOfWeek: "fri,mon#2" }), /of dayOfWeek mon#2 only the beginning/],
  ["a range with spaces", cron({ minute: 0, hour: 9, dayOfWeek: "mon - fri" }), /mon - fri only the beginning/],
  ["a step of a step", cron({ minute: "1-5/2/3" }), /1-5\/2\/3 only the beginning/],
  ["a name that is none", cron({ minute: 0, hour: 9, dayOfWeek: "monthly" }), /monthly only the beginning/],
  ["a minute that was left out", cron({ hour: 9 }), /every minute of its hours/],
  ["a day that some months lack", cron({ minute: 0, hour: 0, dayOfMonth: 31 }), /months 2, 4, 6, 9, 11/],
  ["both kinds of day", cron({ minute: 0, hour: 0, dayOfMonth: 13, dayOfWeek: "fri" }), /both/],
  ["an interval of days", { schedule: every({ days: 1 }) }, /runs at 02:00:00 \+02:00/],
  ["an instant that has passed", { schedule: at(new Date(0)) }, /has passed/],
  ["much to catch up", { schedule: 30, catchUp: "all" }, /2880 at once/],
  ["an entry that is not enabled", { enabled: false }, /not enabled/],
])("%s is warned of", (_, entry, warning) => {
  expect(plan(entry).warnings.join("\n")).toMatch(warning);
});

test.each(["*", "*/15", "0-30/10", "5,10", " 5", "mon-fri", "Tues", "sunday,Wed", "jan-March", "sept"])(
  "%s is read whole",
  (text) => {
    const field = /[js]an|sept/i.test(text) ? "monthOfYear" : /[a-z]/i.test(text) ? "dayOfWeek" : "minute";
    expect(plan(cron({ minute: 0, hour: 9, [field]: text })).warnings.join()).not.toContain("beginning");
  },
);

test("an interval shorter than the task's time limit is warned of, and one as long is not", () => {
  expect(plan({ schedule: 60 }, { timeLimit: () => 61 }).warnings.join()).toMatch(/again after 60 s .* 61 s/);
  expect(plan({ schedule: 60 }, { timeLimit: () => 60 }).warnings).toEqual([]);
});

test("31 February is refused before anybody plans it", () => {
  expect(() => crontab({ dayOfMonth: 31, monthOfYear: 2 })).toThrow(/no month/);
});
