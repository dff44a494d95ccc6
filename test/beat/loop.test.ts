import { describe, expect, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { type BeatMemory, type BeatOptions, MAX_SLEEP_MS, runBeat } from "../../src/beat/loop.ts";
import { type BeatEntry, every, scheduleEntries } from "../../src/beat/schedule.ts";
import { slotId } from "../../src/beat/slot-id.ts";

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
    },
    log: { info() {}, warn: (message) => lines.push(message), error: (message) => lines.push(message) },
    signal: stop.signal,
    ...more,
  });
  return { done, sent, ids, sleeps, lines, stop, now: () => now, seconds };
}

function memory(covered?: number): BeatMemory & { readonly saved: number[] } {
  const saved: number[] = [];
  return { saved, load: async () => covered, save: async (ms) => void saved.push(ms) };
}

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
      },
    });
    await run.done;
    const [a, b] = [slotId("tasks", "a", START + 60_000), slotId("tasks", "b", START + 60_000)];
    expect(tries).toEqual([`a ${a} at 60`, `b ${b} at 60`, `a ${a} at 65`, `a ${a} at 70`]);
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
      async send() {
        if (down) throw new Error("down");
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
      memory: { load: async () => START, save: () => Promise.reject(new Error("disk full")) },
    });
    await run.done;
    expect(run.sent).toHaveLength(2);
    expect(run.lines[0]).toMatch(/beat could not save how far it has come/);
  });
});
