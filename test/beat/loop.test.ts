import { describe, expect, onTestFinished, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { type BeatMemory, type BeatOptions, MAX_SLEEP_MS, runBeat, SETTLE_MS } from "../../src/beat/loop.ts";
import { type BeatEntry, every, scheduleEntries } from "../../src/beat/schedule.ts";
import { slotId } from "../../src/beat/slot-id.ts";
import { beatState } from "../../src/beat/tick.ts";
import { virtualClock } from "../../src/testing/clock.ts";
import { waitList } from "../../src/wait.ts";

const START = Date.parse("2026-05-01T09:00:00Z");

/** A beat on a clock that jumps from sleep to sleep, until `until` seconds after the start. */
function beat(
  given: Record<string, Partial<BeatEntry>>,
  until: number,
  more: Partial<BeatOptions> & { asleep?: (ms: number) => number } = {},
) {
  const entries = scheduleEntries(
    Object.fromEntries(Object.entries(given).map(([name, entry]) => [name, { task: "t", schedule: 30, ...entry }])),
  );
  const stop = new AbortController();
  let now = START;
  const sent: string[] = [];
  const ids: string[] = [];
  const sleeps: number[] = [];
  const lines: string[] = [];
  const seconds = (ms: number) => (ms - START) / 1000;
  const done = runBeat({
    app: "tasks",
    entries,
    zone: "UTC",
    clock: {
      now: () => now,
      async sleep(ms) {
        sleeps.push(ms);
        now += more.asleep?.(ms) ?? ms;
        if (seconds(now) > until) stop.abort();
      },
    },
    async send(entry, slot, id) {
      sent.push(`${entry.name} ${seconds(slot)} at ${seconds(now)}`);
      ids.push(id);
      return id;
    },
    log: { info() {}, warn: (message) => lines.push(message), error: (message) => lines.push(message) },
    signal: stop.signal,
    ...more,
  });
  return { done, sent, ids, sleeps, lines, stop, now: () => now, seconds };
}

function memory(covered?: number): BeatMemory & { readonly saved: number[] } {
  const saved: number[] = [];
  return {
    saved,
    load: async () => (covered === undefined ? undefined : { covered, gapless: covered, ahead: [] }),
    save: async (state) => void saved.push(state.covered),
  };
}

describe("a clock that was wrong", () => {
  const HOUR = 3_600_000;

  test("and ahead does not silence the beat after it: it is said at once, and the slots go on", async () => {
    const store = memory(START + 12 * HOUR);
    const run = beat({ a: { schedule: 20 } }, 60, { memory: store });
    await run.done;
    expect(run.sent).toEqual(["a 20 at 20", "a 40 at 40", "a 60 at 60"]);
    expect(run.lines).toEqual([expect.stringMatching(/clock is 43200 s behind.*goes on from the present/)]);
    // The next one begins where this one was.
    expect(store.saved[0]).toBe(START);
  });

  test.each([90, 12 * 3600, 30 * 86_400])(
    "and is set back by %d s while beat runs: each slot of the time that comes is sent once",
    async (seconds) => {
      const start = START + seconds * 1000;
      let now = start;
      let isSet = false;
      const run = beat({ a: { schedule: 20 } }, Number.POSITIVE_INFINITY, {
        clock: {
          now: () => now,
          async sleep(ms) {
            now += ms;
            if (now > start + 60_000 && !isSet) {
              isSet = true;
              now = START;
            }
            if (now > START + 200_000 && isSet) run.stop.abort();
          },
        },
      });
      await run.done;
      expect(run.lines).toEqual([expect.stringMatching(/from the present, and leaves out/)]);
      const slots = run.sent.map((line) => Number(line.split(" ")[1]));
      const wrong = [seconds + 20, seconds + 40, seconds + 60].map((slot) => Math.floor(slot / 20) * 20);
      expect(slots.slice(0, 3)).toEqual(wrong);
      const right = [20, 40, 60, 80, 100, 120, 140, 160, 180, 200];
      expect(slots.slice(3)).toEqual(right.filter((slot) => !wrong.includes(slot)));
    },
  );

  test("and is set back by less than a minute: what was sent is not sent again, and the silence is announced", async () => {
    const run = beat({ a: { schedule: 20 } }, 100, { memory: memory(START + 45_000) });
    await run.done;
    expect(run.sent).toEqual(["a 60 at 60", "a 80 at 80", "a 100 at 100"]);
    expect(run.lines).toEqual([expect.stringMatching(/clock is 45 s behind.*when that time has come/)]);
  });

  test("and by a few milliseconds, as NTP does it: nobody hears of it", async () => {
    const run = beat({ a: { schedule: 20 } }, 40, { memory: memory(START + 500) });
    await run.done;
    expect(run.lines).toEqual([]);
  });
});

describe("the loop", () => {
  test("sends each slot when it comes, and sleeps from slot to slot", async () => {
    const run = beat({ a: { schedule: 20 }, b: { schedule: crontab({ minute: 1 }) } }, 60);
    await run.done;
    expect(run.sent).toEqual(["a 20 at 20", "a 40 at 40", "a 60 at 60", "b 60 at 60"]);
    expect(run.sleeps).toEqual([20_000, 20_000, 20_000, 20_000]);
  });

  test("gives each slot the id that any other loop would", async () => {
    const run = beat({ a: { schedule: 20 } }, 20);
    await run.done;
    expect(run.ids).toEqual([slotId("tasks", "a", START + 20_000)]);
  });

  test("looks at the clock twice a minute, so that a laptop's sleep does not make a slot late", async () => {
    let naps = 0;
    const run = beat({ a: { schedule: every({ hours: 1 }) } }, 3_700, {
      asleep: (ms) => (naps++ === 3 ? 3_480_000 + ms : ms),
    });
    await run.done;
    expect(Math.max(...run.sleeps)).toBe(MAX_SLEEP_MS);
    expect(run.sent).toEqual(["a 3600 at 3600"]);
  });

  test("says what it missed and does not send", async () => {
    const run = beat({ a: { schedule: every({ minutes: 10 }) } }, 6_000, { asleep: () => 5_000_000 });
    await run.done;
    expect(run.lines).toEqual([
      'a: slots from 2026-05-01T09:10:00.000Z on were missed and are not sent (catchUp: "skip")',
    ]);
  });

  test("ends when the signal aborts, without another send", async () => {
    const stop = new AbortController();
    stop.abort();
    const run = beat({ a: {} }, 100, { signal: stop.signal });
    await run.done;
    expect(run.sleeps).toEqual([]);
  });
});

describe("a send that fails", () => {
  test("is tried again under the same id, and other slots are not held up", async () => {
    const tries: string[] = [];
    let failures = 2;
    const run = beat({ a: { schedule: every({ minutes: 1 }) }, b: { schedule: every({ minutes: 1 }) } }, 80, {
      async send(entry, _slot, id) {
        tries.push(`${entry.name} ${id} at ${run.seconds(run.now())}`);
        if (entry.name === "a" && failures-- > 0) throw new Error("locked");
        return id;
      },
    });
    await run.done;
    const [a, b] = [slotId("tasks", "a", START + 60_000), slotId("tasks", "b", START + 60_000)];
    expect(tries).toEqual([`a ${a} at 60`, `b ${b} at 60`, `a ${a} at 65`, `a ${a} at 70`]);
  });

  test("is not tried more often because other slots come, or fail too", async () => {
    const tries: number[] = [];
    const run = beat({ a: { schedule: every({ hours: 1 }) }, b: { schedule: 1 } }, 3_612, {
      async send(entry, _slot, id) {
        if (entry.name === "b" && run.now() < START + 3_603_000) return id;
        if (entry.name === "a") tries.push(run.seconds(run.now()));
        throw new Error("down");
      },
    });
    await run.done;
    expect(tries).toEqual([3600, 3605, 3610]);
  });

  test("is given up when the slot is too old for its catchUp, and says so", async () => {
    const tries: number[] = [];
    const run = beat({ a: { schedule: every({ hours: 1 }) } }, 3_700, {
      asleep: (ms) => (ms === MAX_SLEEP_MS ? 30_000 : ms),
      async send() {
        tries.push(run.seconds(run.now()));
        throw new Error("down");
      },
    });
    await run.done;
    expect(tries).toEqual([3600, 3605, 3610, 3615, 3620, 3625, 3630, 3635, 3640, 3645, 3650, 3655, 3660]);
    expect(run.lines.at(-1)).toBe("a: the slot of 2026-05-01T10:00:00.000Z could not be sent in time and is given up");
  });
});

describe("an outage", () => {
  const minutes = (count: number) => count * 60;

  test("is told of once a reason, and then each minute by how many slots wait, however many fail", async () => {
    const reasons = ["down", "down", "refused"];
    let tries = 0;
    const run = beat({ a: { schedule: 2 }, b: { schedule: 2 } }, minutes(3) + 10, {
      send: () => Promise.reject(new Error(reasons[tries++] ?? "down")),
    });
    await run.done;
    expect(tries).toBeGreaterThan(1000);
    const [first, second, ...others] = run.lines;
    expect(first).toMatch(/^a: t \[.*\] for 2026-05-01T09:00:02.000Z could not be sent; trying again every 5 s$/);
    expect(second).toMatch(/^a: t \[.*\] for 2026-05-01T09:00:04.000Z could not be sent; trying again every 5 s$/);
    // Slots wait for a minute, and each minute those are told that were given up in it.
    expect(others.filter((line) => line.startsWith("beat could not send"))).toEqual(
      Array.from({ length: 3 }, () => expect.stringMatching(/^beat could not send 6\d slots of 2 entries until now/)),
    );
    const givenUp = others.filter((line) => line.includes("given up"));
    expect(others).toHaveLength(3 + givenUp.length);
    expect(givenUp).toHaveLength(6);
    expect(givenUp.at(3)).toMatch(
      /^b: \d+ slots from 2026-05-01T09:01:.*Z to 2026-05-01T09:0[12]:.*Z could not be sent in time and are given up$/,
    );
  });

  test("that comes again is told of again", async () => {
    const run = beat({ a: { schedule: 20 } }, minutes(2), {
      async send(_entry, slot, id) {
        if (run.seconds(slot) % 60 === 20 && run.now() === slot) throw new Error("down");
        return id;
      },
    });
    await run.done;
    expect(run.lines).toEqual([
      expect.stringContaining("for 2026-05-01T09:00:20.000Z could not be sent"),
      expect.stringContaining("for 2026-05-01T09:01:20.000Z could not be sent"),
    ]);
  });

  test("whose reason is another one each time is told of with some of them", async () => {
    let tries = 0;
    const run = beat({ a: { schedule: 1 } }, 58, {
      send: () => Promise.reject(new Error(`request ${tries++} was refused`)),
    });
    await run.done;
    expect(tries).toBeGreaterThan(300);
    expect(run.lines).toHaveLength(20);
  });

  test("of what remembers is told of once", async () => {
    let failing = true;
    const run = beat({ a: { schedule: 1 } }, 30, {
      memory: {
        load: async () => ({ covered: START, gapless: START, ahead: [] }),
        async save() {
          failing = run.seconds(run.now()) !== 10;
          if (failing) throw new Error("disk full");
        },
      },
    });
    await run.done;
    expect(run.lines).toEqual([
      expect.stringMatching(/^beat could not save/),
      expect.stringMatching(/^beat could not save/),
    ]);
  });
});

test("a send that goes on failing is given up after within, where the entry catches up", async () => {
  const tries: number[] = [];
  const entry = { schedule: every({ hours: 1 }), catchUp: "all", within: { minutes: 2 } } as const;
  const run = beat({ a: entry }, 4_000, {
    async send() {
      tries.push(run.seconds(run.now()));
      throw new Error("down");
    },
  });
  await run.done;
  expect(tries.at(-1)).toBe(3_720);
  expect(run.lines.at(-1)).toMatch(/^a: the slot of .* is given up$/);
});

describe("the memory", () => {
  test("starts at the present where it is empty, and says so to the next start", async () => {
    const store = memory();
    await beat({ a: { schedule: every({ hours: 1 }) } }, 60, { memory: store }).done;
    expect(store.saved[0]).toBe(START);
  });

  test("lets a restart catch up from where the last loop was", async () => {
    const hourly = { schedule: every({ hours: 1 }), catchUp: "all" } as const;
    const run = beat({ a: hourly, b: { ...hourly, catchUp: "last" }, c: { ...hourly, catchUp: "skip" } }, 60, {
      memory: memory(START - 3 * 3_600_000 + 1),
    });
    await run.done;
    expect(run.sent).toEqual(["a -7200 at 0", "a -3600 at 0", "b -3600 at 0", "a 0 at 0", "b 0 at 0", "c 0 at 0"]);
  });

  test("sends nothing again that was covered", async () => {
    const run = beat({ a: { schedule: 20, catchUp: "all" } }, 20, { memory: memory(START + 10_000) });
    await run.done;
    expect(run.sent).toEqual(["a 20 at 20"]);
  });

  test("holds what is sent, but not what could not be sent yet", async () => {
    const store = memory();
    let down = true;
    const run = beat({ a: { schedule: 60 } }, 70, {
      memory: store,
      async send(_entry, _slot, id) {
        if (down) throw new Error("down");
        return id;
      },
      asleep: (ms) => {
        if (run.seconds(run.now()) >= 65) down = false;
        return ms;
      },
    });
    await run.done;
    expect(store.saved.map(run.seconds)).toEqual([0, 59.999, 59.999, 70, 70]);
  });

  test("that cannot save is logged and does not stop the loop", async () => {
    const run = beat({ a: { schedule: 20 } }, 40, {
      memory: {
        load: async () => ({ covered: START, gapless: START, ahead: [] }),
        save: () => Promise.reject(new Error("disk full")),
      },
    });
    await run.done;
    expect(run.sent).toHaveLength(2);
    expect(run.lines[0]).toMatch(/beat could not save how far it has come/);
  });
});

describe("entries that come and go", () => {
  /** A beat on a clock that is moved, and a list of entries that the test changes. */
  function following(
    first: Record<string, Partial<BeatEntry>> = {},
    declared: Record<string, Partial<BeatEntry>> = {},
  ) {
    const clock = virtualClock(START);
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const entriesOf = (given: Record<string, Partial<BeatEntry>>) =>
      scheduleEntries(
        Object.fromEntries(Object.entries(given).map(([name, entry]) => [name, { task: "t", schedule: 30, ...entry }])),
      ).map((entry) => ({ ...entry, since: clock.now() }));
    let entries = entriesOf(first);
    let failing = false;
    let tell = () => {};
    let lists = 0;
    const sent: string[] = [];
    const lines: string[] = [];
    const done = runBeat({
      app: "tasks",
      entries: scheduleEntries(declared as Record<string, BeatEntry>),
      coming: {
        async list() {
          lists++;
          if (failing) throw new Error("locked");
          return entries;
        },
        changed() {
          const wait = waitList().begin();
          tell = wait.end;
          return wait;
        },
      },
      zone: "UTC",
      clock,
      async send(entry, slot, id) {
        sent.push(`${entry.name} ${(slot - START) / 1000}`);
        return id;
      },
      log: { info() {}, warn: (message) => lines.push(message), error: (message) => lines.push(message) },
      signal: stop.signal,
    });
    const turns = async () => {
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    };
    return {
      done,
      sent,
      lines,
      stop,
      lists: () => lists,
      change(given: Record<string, Partial<BeatEntry>> | Error) {
        failing = given instanceof Error;
        if (!(given instanceof Error)) entries = entriesOf(given);
        tell();
      },
      /** The list can be had again, and nobody says so. */
      heal(given: Record<string, Partial<BeatEntry>>) {
        failing = false;
        entries = entriesOf(given);
      },
      /** Stands still at each instant at which somebody wakes. */
      async until(seconds: number) {
        const target = START + seconds * 1000;
        await turns();
        for (let next = clock.next(); next !== undefined && next <= target; next = clock.next()) {
          clock.moveTo(next);
          await turns();
        }
        clock.moveTo(target);
      },
    };
  }

  test("those there at the start are sent beside the others", async () => {
    const run = following({ b: { schedule: 20 } }, { a: { task: "t", schedule: 30 } });
    await run.until(40);
    expect(run.sent).toEqual(["b 20", "a 30", "b 40"]);
  });

  test("one that comes while the loop sleeps is sent at its next slot, and one that goes is not", async () => {
    const run = following({ a: { schedule: 20 } });
    await run.until(21);
    run.change({ b: { schedule: 2 } });
    await run.until(25);
    expect(run.sent).toEqual(["a 20", "b 22", "b 24"]);
    run.change({});
    await run.until(60);
    expect(run.sent).toHaveLength(3);
  });

  test("a slot between the change and its notice is due, and none before the change is", async () => {
    const run = following();
    await run.until(10.05);
    run.change({ a: { schedule: every({ seconds: 0.1 }) } });
    await run.until(10.35);
    expect(run.sent).toEqual(["a 10.1", "a 10.2", "a 10.3"]);
  });

  test("a list that cannot be had leaves the last one, and the next word of a change is heeded", async () => {
    const run = following({ a: { schedule: 20 } });
    await run.until(1);
    run.change(new Error("locked"));
    await run.until(25);
    expect(run.lines).toEqual(["beat could not read the entries put at run time, and goes on with those it knows"]);
    expect(run.sent).toEqual(["a 20"]);
    run.change({ b: { schedule: 5 } });
    await run.until(31);
    expect(run.sent).toEqual(["a 20", "b 30"]);
  });

  test("a list that cannot be had is asked for again every five seconds, and told of once, where each wait ends at once too", async () => {
    const run = following({ a: { schedule: 20 } });
    await run.until(1);
    run.change(new Error("damaged"));
    const before = run.lists();
    for (let second = 1; second < 16; second += 0.5) {
      run.change(new Error("damaged"));
      await run.until(second);
    }
    expect(run.lists() - before).toBeLessThanOrEqual(4);
    expect(run.lines).toHaveLength(1);
  });

  test("what changed while the list could not be had is found without another word of it", async () => {
    const run = following({ a: { schedule: 20 } });
    await run.until(1);
    run.change(new Error("locked"));
    await run.until(2);
    run.heal({ b: { schedule: 5 } });
    await run.until(11);
    expect(run.sent).toEqual(["b 5", "b 10"]);
  });

  test("a change of something else sends nothing twice, and lists at most once in a while", async () => {
    const run = following({ a: { schedule: 1 } });
    await run.until(1);
    const before = run.lists();
    for (let second = 1; second < 2.9; second += 0.05) {
      run.change({ a: { schedule: 1 } });
      await run.until(second);
    }
    expect(run.sent).toEqual(["a 1", "a 2"]);
    expect(run.lists() - before).toBeLessThanOrEqual(2000 / SETTLE_MS);
  });

  test("the loop ends while it waits for a change", async () => {
    const run = following();
    await run.until(1);
    run.stop.abort();
    await run.done;
    expect(run.sent).toEqual([]);
  });

  test("wall times are those of the zone that an entry was put in", () => {
    const [entry] = scheduleEntries({ a: { task: "t", schedule: crontab({ hour: 11, minute: 30 }) } });
    if (entry === undefined) throw new Error("no entry");
    const at = (zone?: string) =>
      beatState([{ ...entry, ...(zone !== undefined && { zone }) }], "UTC", { covered: START }).upcoming;
    expect(at()).toEqual([Date.parse("2026-05-01T11:30:00Z")]);
    expect(at("Europe/Berlin")).toEqual([Date.parse("2026-05-01T09:30:00Z")]);
  });
});
