/**
 * Limits under all that may go wrong at once: two groups of workers whose clocks differ, on one store, with duplicates, lost
 * replies, late and reordered messages, throttled queues, rows that cannot be had for a while, and workers that die. Whatever
 * happens, no window has more starts than limit and burst, and no place more holders than there are.
 */
import fc from "fast-check";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lovage, OperationalError } from "lovage";
import { hostileBroker, testApp } from "lovage/testing";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/testing/random.ts";

const MINUTE = 60_000;
const BEGAN = Date.UTC(2026, 0, 1);
/** Both groups are moved on by so much in turn, so that within a step their clocks differ by as much more. */
const STEP_MS = 1_000;
const MOST_SKEW_MS = 2_000 - STEP_MS;

/** What is not over by then is lost. */
const LONGEST_MS = 60 * MINUTE;

interface Plan {
  readonly limit: number;
  readonly burst: number;
  readonly places: number;
  readonly keys: number;
  readonly calls: number;
  /** The clock of the second group is ahead by so much, in milliseconds. */
  readonly skew: number;
  readonly isHostile: boolean;
  readonly outages: boolean;
  readonly crashes: boolean;
  readonly store: "memory" | "sqlite";
  readonly seed: number;
}

const plans: fc.Arbitrary<Plan> = fc.record({
  limit: fc.integer({ min: 2, max: 8 }),
  burst: fc.integer({ min: 1, max: 3 }),
  places: fc.integer({ min: 1, max: 4 }),
  keys: fc.integer({ min: 1, max: 2 }),
  calls: fc.integer({ min: 8, max: 30 }),
  skew: fc.integer({ min: 0, max: MOST_SKEW_MS }),
  isHostile: fc.boolean(),
  outages: fc.boolean(),
  crashes: fc.boolean(),
  store: fc.constantFrom("memory" as const, "sqlite" as const),
  seed: fc.nat(1_000_000),
});

interface Start {
  readonly key: string;
  /** By a clock that is nobody's, in milliseconds. */
  readonly at: number;
}

interface Seen {
  readonly starts: readonly Start[];
  /** The most of a key that held a place and were not dead. */
  readonly mostHeld: number;
  readonly states: readonly string[];
  readonly retries: number;
}

let homes = 0;

async function simulate(plan: Plan): Promise<Seen> {
  const random = seededRandom(plan.seed);
  const starts: Start[] = [];
  const held = new Map<string, Set<object>>();
  let mostHeld = 0;
  let retries = 0;
  const folder = plan.store === "sqlite" ? mkdtempSync(join(tmpdir(), "lovage-limits-")) : undefined;
  const url = folder === undefined ? `memory://limits-${++homes}` : `sqlite:///${join(folder, "lovage.db")}`;

  const groups = [0, plan.skew].map((skew, index) => {
    const app = new Lovage("limits");
    const alive = new Set<object>();
    let clock = { sleep: async (_: number): Promise<void> => {}, now: () => 0 };
    const key = (_: number, customer: string) => customer;
    const push = app.task(
      "crm.push",
      { rateLimit: { limit: `${plan.limit}/m`, burst: plan.burst, key }, bind: true },
      (self, _: number, customer: string) => {
        retries += self.request.retries;
        starts.push({ key: customer, at: clock.now() - skew });
        return customer;
      },
    );
    const work = app.task(
      "crm.work",
      { concurrency: { limit: plan.places, key } },
      async (_: number, customer: string) => {
        const run = {};
        const holders = held.get(customer) ?? new Set();
        held.set(customer, holders.add(run));
        alive.add(run);
        mostHeld = Math.max(mostHeld, holders.size);
        await clock.sleep(1_000 + random() * 4_000);
        holders.delete(run);
        alive.delete(run);
      },
    );
    const t = testApp(app, {
      concurrency: 6,
      seed: plan.seed + index,
      now: new Date(BEGAN + skew),
      config: { brokerUrl: url, resultBackend: url, maxDeliveries: 50 },
      ...(plan.isHostile && { broker: (broker) => hostileBroker(broker, plan.seed + index, { loseDelete: 0.05 }) }),
    });
    clock = t.clock;
    const { limits } = app.engine;
    let isOut = false;
    app.engine.limits = async () => {
      if (isOut) throw new OperationalError("the rows are away", { retryable: true });
      return limits.call(app.engine);
    };
    return {
      app,
      t,
      push,
      work,
      setOut: (out: boolean) => {
        isOut = out;
      },
      die() {
        t.crash();
        // Their places are theirs until the lease is over; they themselves do no more.
        for (const run of alive) for (const holders of held.values()) holders.delete(run);
        alive.clear();
      },
    };
  });
  const [first] = groups as [(typeof groups)[0]];

  try {
    // What was throttled is sent again once the clock has moved on.
    const send = async (n: number): Promise<void> => {
      const task = n % 3 === 0 ? first.work : first.push;
      const customer = `customer ${Math.floor(random() * plan.keys)}`;
      for (;;) {
        try {
          await task.applyAsync([n, customer], { taskId: `task-${n}` });
          return;
        } catch (error) {
          if (!(error instanceof OperationalError)) throw error;
        }
      }
    };
    let sent = 0;
    const sending: Promise<void>[] = [];
    const statesOf = () =>
      Promise.all(Array.from({ length: plan.calls }, (_, n) => first.app.result(`task-${n}`).state()));
    for (let time = 0; time < LONGEST_MS; time += STEP_MS) {
      // Half come at once, the others one by one.
      while (sent < plan.calls && (sent < plan.calls / 2 || random() < 0.3)) sending.push(send(sent++));
      for (const group of groups) {
        if (plan.outages && random() < 0.05) group.setOut(random() < 0.3);
        if (plan.crashes && time < MINUTE && random() < 0.02) group.die();
        await group.t.advance(STEP_MS);
      }
      if (time % 10_000 === 0 && sent === plan.calls && (await statesOf()).every((state) => state === "SUCCESS")) break;
    }
    await Promise.all(sending);
    return { starts, mostHeld, states: await statesOf(), retries };
  } finally {
    for (const { t } of groups) await t.close();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  }
}

test("in no window of a minute start more than limit and burst, and no place is held twice", async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const { starts, mostHeld, states, retries } = await simulate(plan);
      for (const [, of] of Map.groupBy(starts, ({ key }) => key)) {
        const at = of.map((start) => start.at);
        const most = Math.max(0, ...at.map((from) => at.filter((time) => time >= from && time < from + MINUTE).length));
        expect(most).toBeLessThanOrEqual(plan.limit + plan.burst);
      }
      expect(mostHeld).toBeLessThanOrEqual(plan.places);
      expect(retries).toBe(0);
      expect(states.filter((state) => state !== "SUCCESS")).toEqual([]);
    }),
    { numRuns: Number(process.env["LOVAGE_SIMULATIONS"] ?? 5) },
  );
});
