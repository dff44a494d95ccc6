/** Rates by a simulation: workers whose clocks differ, that die and come back, messages that come twice or late. */
import { describe, expect, test } from "vitest";
import {
  askRate,
  CLOCK_SKEW_MS,
  holdRate,
  intervalOf,
  parseRate,
  type Rate,
  type RateAnswer,
  rateText,
} from "../../src/limits/rate.ts";
import { seededRandom } from "../../src/testing/random.ts";

interface Coming {
  readonly at: number;
  readonly task: number;
  readonly told?: { readonly at: number; readonly rate: string };
}

interface Worker {
  readonly skew: number;
  behind: number;
}

/** Plays a history and gives the true instants of all starts, and how often was asked. */
function simulate(seed: number, rate: Rate, tasks: number) {
  const random = seededRandom(seed);
  const text = rateText(rate);
  const workers: Worker[] = Array.from({ length: 1 + Math.floor(random() * 4) }, () => ({
    skew: random() * CLOCK_SKEW_MS,
    behind: 0,
  }));
  const began = Date.UTC(2026, 0);
  const span = random() < 0.3 ? 0 : random() * 2 * rate.period;
  const coming: Coming[] = Array.from({ length: tasks }, (_, task) => ({ at: began + random() * span, task }));
  // From then on nobody works, for a while.
  const outage = began + random() * 2 * rate.period;
  const outageEnd = outage + (random() < 0.5 ? random() * 5 * rate.period : 0);
  // Delays of whole seconds, that end late.
  const lateness = random() < 0.5 ? 0 : 1_500;
  let state: string | undefined;
  let asks = 0;
  const starts: number[] = [];
  const ended = new Set<number>();
  for (let rounds = 0; coming.length > 0 && rounds < 100_000; rounds++) {
    coming.sort((a, b) => b.at - a.at);
    const { at: due, task, told } = coming.pop() as Coming;
    const now = due >= outage && due < outageEnd ? outageEnd : due;
    if (now !== due) {
      coming.push({ at: now, task, ...(told && { told }) });
      continue;
    }
    const worker = workers[Math.floor(random() * workers.length)] as Worker;
    // A worker dies, and another one takes its place, which knows nothing.
    if (random() < 0.02) worker.behind = 0;
    asks++;
    const asked = { now: now + worker.skew + worker.behind, rate, text, patience: 0, ...(told && { told }) };
    const { write, answer } = askRate(state, asked);
    state = write?.state;
    worker.behind = Math.max(worker.behind, answer.clock - now - worker.skew);
    // It dies before it has started, or sent: the message comes again.
    if (random() < 0.02) {
      coming.push({ at: now + 30_000, task, ...(told && { told }) });
      continue;
    }
    if (!answer.admitted) {
      const late = lateness === 0 ? 0 : random() * lateness;
      coming.push({ at: now + answer.at - answer.clock + late, task, told: { at: answer.at, rate: text } });
      if (random() < 0.02) coming.push({ at: now + answer.at - answer.clock, task });
      continue;
    }
    if (ended.has(task)) continue;
    ended.add(task);
    starts.push(now);
  }
  return { starts, asks, ended: ended.size };
}

function mostWithin(starts: readonly number[], period: number): number {
  let most = 0;
  for (let first = 0, last = 0; last < starts.length; last++) {
    while ((starts[last] as number) - (starts[first] as number) >= period) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

describe("random histories, with clocks up to two seconds apart, deaths, duplicates and outages", () => {
  const rates: readonly (readonly [number | string, number])[] = [
    ["100/m", 1],
    ["100/m", 10],
    ["10/s", 1],
    ["10/s", 5],
    ["3/m", 1],
    ["5/h", 4],
    ["60/m", 60],
    ["20/s", 40],
    [1, 1],
  ];
  test.each(rates)("%s with a burst of %i: no window has more starts than limit and burst", (limit, burst) => {
    const rate = parseRate(limit, "rateLimit", burst);
    for (let seed = 1; seed <= 12; seed++) {
      const { starts, ended } = simulate(seed, rate, 120);
      expect({ seed, ended }).toEqual({ seed, ended: 120 });
      const most = mostWithin(starts, rate.period);
      expect({ seed, most: Math.max(most, rate.limit + burst) }).toEqual({ seed, most: rate.limit + burst });
    }
  });

  test("the windows are nearly full: the limit is used, and not only kept", () => {
    const rate = parseRate("100/m", "rateLimit");
    const most = Array.from({ length: 10 }, (_, seed) => mostWithin(simulate(seed + 1, rate, 300).starts, rate.period));
    expect(Math.max(...most)).toBeGreaterThanOrEqual(99);
  });
});

describe("a schedule", () => {
  const rate = parseRate("60/m", "rateLimit");
  const ask = (state: string | undefined, now: number, told?: RateAnswer) =>
    askRate(state, {
      now,
      rate,
      text: "r",
      patience: 0,
      ...(told && { told: { at: told.at, rate: "r" } }),
    });

  test("tells each who waits a time of its own, and lets nobody pass those", () => {
    let state: string | undefined;
    const answers: RateAnswer[] = [];
    for (let n = 0; n < 4; n++) {
      const { write, answer } = ask(state, 1_000_000);
      state = write?.state;
      answers.push(answer);
    }
    expect(answers.map(({ at }) => at)).toEqual([1_000_000, 1_001_000, 1_002_000, 1_003_000]);
    const newcomer = ask(state, 1_001_000);
    expect(newcomer.answer).toMatchObject({ admitted: false, at: 1_004_000 });
    expect(ask(newcomer.write?.state, 1_001_000, answers[1]).answer).toMatchObject({ admitted: true });
  });

  test("is held for as long as a service says, from the latest clock on", () => {
    const held = holdRate(undefined, { now: 1_000_000, rate, text: "r", patience: 0 }, 30_000);
    expect(held.answer).toMatchObject({ admitted: false, at: 1_030_000 });
    expect(ask(held.write?.state, 1_029_999).answer).toMatchObject({ admitted: false, at: 1_031_000 });
    expect(ask(held.write?.state, 1_030_000, held.answer).answer).toMatchObject({ admitted: true });
  });

  test.each<[number | string, number, number]>([
    [10, 1, 100],
    ["100/m", 1, 600],
    ["5/h", 1, 720_000],
    // Ten that are given back too soon must not come on top.
    ["100/m", 10, 62_000 / 101],
  ])("of %s and a burst of %i has %d ms between two starts", (limit, burst, interval) => {
    expect(intervalOf(parseRate(limit, "rateLimit", burst))).toBeCloseTo(interval, 6);
  });
});
