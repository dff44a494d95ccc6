import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { slots } from "../../src/beat/due.ts";
import { at, type BeatEntry, every, scheduleEntries } from "../../src/beat/schedule.ts";
import { type BeatState, beatState, tick, withEntries } from "../../src/beat/tick.ts";
import { computing } from "../measured.ts";

const utc = (text: string) => Date.parse(text);
const clock = (instant: number | undefined) =>
  instant === undefined ? undefined : new Date(instant).toISOString().slice(11, 19);
const entriesOf = (given: Record<string, Partial<BeatEntry>>) =>
  scheduleEntries(
    Object.fromEntries(Object.entries(given).map(([name, entry]) => [name, { task: "t", schedule: 30, ...entry }])),
  );

/** One step from `covered` to `now`, with what is due as "name time". */
function step(given: Record<string, Partial<BeatEntry>>, covered: string, now: string) {
  const entries = entriesOf(given);
  const made = tick(entries, "UTC", beatState(entries, "UTC", { covered: utc(covered) }), utc(now));
  return {
    due: made.due.map(({ entry, slot }) => `${entry.name} ${clock(slot)}`),
    missed: made.missed.map(({ entry, slot }) => `${entry.name} ${clock(slot)}`),
    next: clock(made.next),
  };
}

describe("a step", () => {
  test("gives what has become due, by time and by the order of the entries, and the next slot", () => {
    const given = { a: { schedule: 30 }, b: { schedule: 20 }, c: { schedule: crontab({ hour: 9, minute: 1 }) } };
    expect(step(given, "2026-05-01T09:00:10Z", "2026-05-01T09:01:00Z")).toEqual({
      due: ["b 09:00:20", "a 09:00:30", "b 09:00:40", "a 09:01:00", "b 09:01:00", "c 09:01:00"],
      missed: [],
      next: "09:01:20",
    });
  });

  test("gives nothing before the next slot, and says when that is", () => {
    const given = { a: { schedule: crontab({ hour: 9, minute: 10 }) } };
    expect(step(given, "2026-05-01T09:00:00Z", "2026-05-01T09:09:59.999Z")).toEqual({
      due: [],
      missed: [],
      next: "09:10:00",
    });
  });

  test("leaves out an entry that is not enabled, and one that has ended", () => {
    const given = { a: { enabled: false }, b: { schedule: at(new Date("2026-05-01T08:00:00Z")) } };
    expect(step(given, "2026-05-01T09:00:00Z", "2026-05-01T10:00:00Z")).toEqual({
      due: [],
      missed: [],
      next: undefined,
    });
  });
});

describe("slots found more than a minute late", () => {
  const hourly = { schedule: every({ hours: 1 }) };
  const from = "2026-05-01T03:30:00Z";
  const late = "2026-05-01T09:30:00Z";

  test("are skipped by default", () => {
    expect(step({ a: hourly }, from, late)).toEqual({ due: [], missed: ["a 04:00:00"], next: "10:00:00" });
  });

  test("are all on time within a minute", () => {
    expect(step({ a: hourly }, from, "2026-05-01T04:01:00Z")).toMatchObject({ due: ["a 04:00:00"], missed: [] });
    expect(step({ a: hourly }, from, "2026-05-01T04:01:00.001Z")).toMatchObject({ due: [], missed: ["a 04:00:00"] });
  });

  test("are made good by the latest one with last", () => {
    expect(step({ a: { ...hourly, catchUp: "last" } }, from, late)).toEqual({
      due: ["a 09:00:00"],
      missed: ["a 04:00:00"],
      next: "10:00:00",
    });
    expect(step({ a: { ...hourly, catchUp: "last" } }, from, "2026-05-01T04:30:00Z")).toMatchObject({
      due: ["a 04:00:00"],
      missed: [],
    });
    expect(step({ a: { ...hourly, catchUp: "last", within: { minutes: 20 } } }, from, late)).toMatchObject({
      due: [],
      missed: ["a 04:00:00"],
    });
  });

  test("are all sent with all, as far back as within", () => {
    expect(step({ a: { ...hourly, catchUp: "all" } }, from, late).due).toHaveLength(6);
    expect(step({ a: { ...hourly, catchUp: "all", within: { hours: 2 } } }, from, late)).toMatchObject({
      due: ["a 08:00:00", "a 09:00:00"],
      missed: ["a 04:00:00"],
    });
  });

  test("do not hold up those that are on time", () => {
    expect(step({ a: { schedule: 30 } }, from, late)).toMatchObject({
      due: ["a 09:29:00", "a 09:29:30", "a 09:30:00"],
    });
    expect(step({ a: { schedule: 30, catchUp: "last" } }, from, late)).toMatchObject({
      due: ["a 09:28:30", "a 09:29:00", "a 09:29:30", "a 09:30:00"],
    });
  });

  test("cost nothing after a year away, a slot a second", async () => {
    const ms = await computing(() => {
      expect(step({ a: { schedule: 1 } }, "2025-05-01T00:00:00Z", "2026-05-01T00:00:00Z").due).toHaveLength(61);
    });
    expect(ms).toBeLessThan(1_000);
  });
});

test("a slot every few milliseconds costs nothing after a day away, where only the last is wanted", async () => {
  const ms = await computing(() => {
    const found = step({ a: { schedule: 0.005, catchUp: "last" } }, "2026-04-30T00:00:00Z", "2026-05-01T00:00:00Z");
    expect(found.due).toHaveLength(12_002);
  });
  expect(ms).toBeLessThan(500);
});

test("entries that come and go leave alone what is known of the others", () => {
  const covered = utc("2026-05-01T09:00:00Z");
  const [gone, other, come] = entriesOf({ gone: { schedule: 45 }, kept: { schedule: 30 }, come: { schedule: 7 } });
  if (gone === undefined || other === undefined || come === undefined) throw new Error("there are three");
  const looks = vi.fn(() => other.schedule);
  const kept = Object.defineProperty({ ...other }, "schedule", { get: looks });
  const state = beatState([gone, kept], "UTC", { covered });
  looks.mockClear();
  const entries = [kept, come];
  const found = withEntries([gone, kept], entries, "UTC", state);
  expect(looks).not.toHaveBeenCalled();
  expect(found).toEqual(beatState(entries, "UTC", { covered }));
});

describe("a clock that goes back", () => {
  const entries = entriesOf({ a: { schedule: 30 } });
  const start = utc("2026-05-01T09:00:00Z");

  test("by a little makes the loop wait for it, and sends nothing twice", () => {
    const { state } = tick(entries, "UTC", beatState(entries, "UTC", { covered: start }), start + 45_000);
    const back = tick(entries, "UTC", state, start + 20_000);
    expect(back).toEqual({
      due: [],
      missed: [],
      state,
      next: start + 60_000,
      behind: 25_000,
      restarted: false,
    });
    expect(tick(entries, "UTC", back.state, start + 60_000).due.map(({ slot }) => slot)).toEqual([start + 60_000]);
  });

  test("by more than a minute was wrong before, and the loop starts again from the present", () => {
    const back = tick(entries, "UTC", beatState(entries, "UTC", { covered: start }), start - 60_001);
    expect(back).toMatchObject({ due: [], restarted: true, next: start - 60_000 });
    expect(back.state.covered).toBe(start - 60_001);
  });
});

test("whatever a clock does, no slot is given twice, and none is lost while steps stay within the grace", () => {
  const entries = entriesOf({
    a: { schedule: 30 },
    b: { schedule: crontab({ minute: "*/2" }) },
    c: { schedule: 45, catchUp: "all" },
    d: { schedule: 7, catchUp: "last" },
  });
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: -40_000, max: 60_000 }), fc.integer({ min: -600_000, max: 60_000 })), {
        maxLength: 25,
      }),
      (moves) => {
        const start = utc("2026-03-08T06:30:00Z");
        let state: BeatState = beatState(entries, "America/New_York", { covered: start });
        let now = start;
        let latest = start;
        // Where it goes back behind the beginning by more than the grace, that is where the beat begins.
        let earliest = start;
        const given: string[] = [];
        const go = (move: number) => {
          // A leap of the clock past all it has shown is the one thing that can make slots late.
          now = Math.min(now + move, latest + 60_000);
          latest = Math.max(latest, now);
          const made = tick(entries, "America/New_York", state, now);
          state = made.state;
          if (made.restarted) earliest = Math.min(earliest, now);
          for (const { entry, slot } of made.due) given.push(`${entry.name} ${slot}`);
        };
        for (const move of moves) go(move);
        // In the end it has caught up.
        while (now < latest) go(60_000);
        const expected = entries.flatMap((entry) =>
          slots(entry.schedule, "America/New_York", { from: earliest, to: latest }).map(
            (slot) => `${entry.name} ${slot}`,
          ),
        );
        expect(given.toSorted()).toEqual(expected.toSorted());
      },
    ),
    { numRuns: 60 },
  );
});
