/** Uniqueness: one call for each key, debounced and throttled ones too. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { chain, group, Ignore, ImproperlyConfigured, LimitKeyError, Lovage, Reject } from "lovage";
import { describe, expect, test, vi } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import { OperationalError, PayloadLost } from "../../src/errors.ts";
import { isTable, stores } from "./stores.ts";

const key = (id: string) => id;

/** Whose call has a twin looks whether that one is sent. `seen` resolves when it was seen that it is not. */
async function waiting(app: Lovage): Promise<{ readonly seen: Promise<void> }> {
  const seen = Promise.withResolvers<void>();
  const store = await app.engine.limits();
  const { decide } = store;
  vi.spyOn(store, "decide").mockImplementation(async (row, step) => {
    const answer = await decide.call(store, row, step);
    if (answer === false) seen.resolve();
    return answer as never;
  });
  return { seen: seen.promise };
}

describe.each(stores)("unique calls, on %s", (_, start) => {
  function makeApp(options: object, wrap?: (broker: Broker) => Broker) {
    const app = new Lovage("tasks");
    const ran: unknown[][] = [];
    let now = () => 0;
    let fails = 0;
    const sync = app.task(
      "tasks.sync",
      { ...options, defaultRetryDelay: 10, bind: true },
      (self, id: string, value?: number) => {
        ran.push([id, value, now() - began]);
        if (fails-- > 0) self.retry();
        return value ?? null;
      },
    );
    const t = start(app, { ...(wrap && { broker: wrap }) });
    now = t.clock.now;
    const began = now();
    const failTimes = (times: number) => {
      fails = times;
    };
    return { app, sync, ran, t, failTimes };
  }

  test("while one waits, another is not sent, and gives the result of that one", async () => {
    const { sync, ran, t } = makeApp({ unique: { key, for: "waiting" } });
    const first = await sync.delay("a", 1);
    const [twin, other] = await Promise.all([sync.delay("a", 2), sync.delay("b", 3)]);
    expect(twin.id).toBe(first.id);
    expect(other.id).not.toBe(first.id);
    await t.drain();
    // Messages of two keys have no order.
    expect(ran.toSorted()).toEqual([
      ["a", 1, 0],
      ["b", 3, 0],
    ]);
    expect(await twin.get()).toBe(1);
    expect((await sync.delay("a", 4)).id).not.toBe(first.id);
    await t.drain();
    expect(ran).toHaveLength(3);
  });

  test.each(["waiting", "running", 60] as const)("of a hundred callers at once one sends, for: %j", async (time) => {
    let messages = 0;
    const counting = (broker: Broker): Broker => ({
      ...broker,
      send: async (entries, unit) => {
        await others.seen;
        messages += entries.length;
        return broker.send(entries, unit);
      },
    });
    const { app, sync, ran, t } = makeApp({ unique: { key, for: time } }, counting);
    const others = await waiting(app);
    const results = await Promise.all(Array.from({ length: 100 }, (_, n) => sync.delay("a", n)));
    expect(new Set(results.map(({ id }) => id)).size).toBe(1);
    expect(messages).toBe(1);
    await t.drain();
    expect(ran).toHaveLength(1);
  });

  test("where the one that sends cannot, those who waited for it send it", async () => {
    let isAway = true;
    const away = (broker: Broker): Broker => ({
      ...broker,
      send: async (entries, unit) => {
        if (!isAway) return broker.send(entries, unit);
        await others.seen;
        isAway = false;
        return entries.map(() => new OperationalError("away", { retryable: false }));
      },
    });
    const { app, sync, ran, t } = makeApp({ unique: { key, for: "running" } }, away);
    const others = await waiting(app);
    const results = await Promise.allSettled([sync.delay("a", 1), sync.delay("a", 2), sync.delay("a", 3)]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    await t.drain();
    expect(ran).toHaveLength(1);
  });

  test("calls are in their order, however long their keys are", async () => {
    const { sync, ran, t } = makeApp({
      unique: { key: (id: string) => id.repeat(id.length > 1 ? 1 : 4_000_000), for: "waiting" },
    });
    await Promise.all([sync.delay("a", 1), sync.delay("bb", 2), sync.delay("a", 3)]);
    await t.drain();
    // In a table the rows of two keys are two requests at once, and either may be there first.
    expect(isTable ? ran.toSorted() : ran).toEqual([
      ["a", 1, 0],
      ["bb", 2, 0],
    ]);
  });

  test.each(["", " ", "ключ 🔑 \u0000", "\ud800", "x".repeat(10_000)])("a key may be any text", async (odd) => {
    const { sync, ran, t } = makeApp({ unique: { key, for: "running" } });
    const results = [await sync.delay(odd, 1), await sync.delay(odd, 2), await sync.delay(`${odd}.`, 3)];
    expect([results[1]?.id === results[0]?.id, results[2]?.id === results[0]?.id]).toEqual([true, false]);
    await t.drain();
    expect(ran.map(([, value]) => value)).toEqual([1, 3]);
  });

  test("until it ends, through its retries", async () => {
    const { sync, ran, t, failTimes } = makeApp({ unique: { key, for: "running" } });
    failTimes(1);
    const first = await sync.delay("a");
    await t.advance(5_000);
    expect((await sync.delay("a")).id).toBe(first.id);
    await t.advance(10_000);
    expect(ran).toHaveLength(2);
    expect((await sync.delay("a")).id).not.toBe(first.id);
  });

  test("for so many seconds from the call, also once it has ended", async () => {
    const { sync, t } = makeApp({ throttle: { key, wait: 60 } });
    const first = await sync.delay("a");
    await t.advance(59_000);
    expect((await sync.delay("a")).id).toBe(first.id);
    await t.advance(2_000);
    expect((await sync.delay("a")).id).not.toBe(first.id);
  });

  test.each([
    ["are kept outside of the row, which has a limit", false],
    ["and are gone from there: it fails, and says so", true],
  ])("large arguments of the last call %s", async (_, areGone) => {
    const app = new Lovage("tasks");
    const ran: string[] = [];
    const options = { debounce: { key: () => "k", wait: 10 } };
    const index = app.task("tasks.index", options, (text: string) => void ran.push(text.slice(0, 1)));
    const t = start(app, { config: { payloadStore: `memory://${randomUUID()}` } });
    const store = await app.engine.limits();
    let most = 0;
    app.engine.limits = async () => ({
      ...store,
      decide: (row, decision) =>
        store.decide(row, (state) => {
          const decided = decision(state);
          most = Math.max(most, decided.write?.state.length ?? 0);
          return decided;
        }),
    });
    for (const letter of "abc") await index.delay(letter.repeat(600_000));
    const last = await index.delay("d".repeat(600_000));
    if (areGone) {
      const payloads = await app.engine.payloads();
      Object.assign(payloads as object, { get: () => Promise.reject(new PayloadLost("bucket", "key")) });
    }
    await t.advance({ minutes: 1 });
    expect(most).toBeLessThan(1000);
    expect([ran, await last.state()]).toEqual(areGone ? [[], "FAILURE"] : [["d"], "SUCCESS"]);
    expect(await t.deadLetters()).toHaveLength(areGone ? 1 : 0);
  });

  test("the arguments of the last call replace those of the one that waits", async () => {
    const { sync, ran, t, failTimes } = makeApp({ unique: { key, for: "waiting", onConflict: "replace" } });
    failTimes(1);
    const first = await sync.delay("a", 1);
    expect((await sync.delay("a", 2)).id).toBe(first.id);
    expect((await sync.delay("a", 3)).id).toBe(first.id);
    await t.advance(20_000);
    // A retry has them too.
    expect(ran).toEqual([
      ["a", 3, 0],
      ["a", 3, 10_000],
    ]);
    expect(await first.get()).toBe(3);
  });

  test("they are not lost where the worker dies as it starts", async () => {
    const { sync, ran, t } = makeApp({ unique: { key, for: "waiting", onConflict: "replace" } });
    await sync.delay("a", 1);
    await sync.delay("a", 2);
    const { app } = sync;
    const apply = await app.engine.backend().then((backend) => backend.apply);
    const backend = await app.engine.backend();
    let fails = 1;
    Object.assign(backend, {
      async apply(...given: Parameters<typeof apply>) {
        if (fails-- > 0) return given[0].map(() => new OperationalError("away", { retryable: true }));
        return apply(...given);
      },
    });
    await t.advance(3_600_000);
    expect(ran.map((run) => run.slice(0, 2))).toEqual([["a", 2]]);
  });

  test("of a burst of calls the last one counts, at most so long after the first", async () => {
    const { sync, ran, t } = makeApp({ debounce: { key, wait: 10, max: 25 } });
    const results = [];
    for (let n = 0; n < 6; n++) {
      results.push(await sync.delay("a", n));
      await t.advance(5_000);
    }
    expect(ran).toEqual([["a", 4, 25_000]]);
    await t.advance(10_000);
    // The sixth came after that, and is a burst of its own.
    expect(ran).toEqual([
      ["a", 4, 25_000],
      ["a", 5, 35_000],
    ]);
    expect(new Set(results.map(({ id }) => id)).size).toBe(2);
  });

  test("a call that could not be sent leaves no key locked", async () => {
    let isAway = true;
    const away = (broker: Broker): Broker => ({
      ...broker,
      send: async (entries, unit) =>
        isAway ? entries.map(() => new OperationalError("away", { retryable: false })) : broker.send(entries, unit),
    });
    const { sync, ran, t } = makeApp({ unique: { key, for: "running" } }, away);
    await expect(sync.delay("a", 1)).rejects.toThrow("away");
    isAway = false;
    await sync.delay("a", 2);
    await t.drain();
    expect(ran.map((run) => run.slice(0, 2))).toEqual([["a", 2]]);
  });

  test("a caller that died between row and message leaves none locked either: the next one sends under its id", async () => {
    const { app, sync, ran, t } = makeApp({ unique: { key, for: "running" } });
    const store = await app.engine.limits();
    const { limits } = app.engine;
    let decisions = 0;
    // Dead after its first decision: nothing of it happens any more.
    app.engine.limits = async () => ({
      ...store,
      async decide(row, decision) {
        if (++decisions > 1) return new Promise(() => {});
        const answer = await store.decide(row, decision);
        throw Object.assign(new Error("dead"), { answer });
      },
    });
    const dead = await sync.delay("a", 1).catch((error: Error & { answer: { id: string } }) => error.answer);
    app.engine.limits = limits;
    const next = await sync.delay("a", 2);
    expect(next.id).toBe("id" in dead ? dead.id : "");
    await t.drain();
    expect(ran.map((run) => run.slice(0, 2))).toEqual([["a", 2]]);
  });

  test("one that was revoked while it waited is no twin, and neither is one that has expired", async () => {
    const { sync, ran, t } = makeApp({ unique: { key, for: "running" } });
    const first = await sync.applyAsync(["a", 1], { countdown: 60 });
    await first.revoke();
    const second = await sync.applyAsync(["a", 2], { countdown: 60, expires: 30 });
    expect(second.id).not.toBe(first.id);
    await t.advance(120_000);
    expect(await second.status()).toBe("REVOKED");
    const third = await sync.delay("a", 3);
    expect(third.id).not.toBe(second.id);
    await t.drain();
    expect(ran.map((run) => run.slice(0, 2))).toEqual([["a", 3]]);
  });

  test("one that has expired in its queue, where no worker came, is no twin", async () => {
    const { sync, t } = makeApp({ unique: { key, for: "waiting", onConflict: "replace" } });
    const first = await sync.applyAsync(["a", 1], { expires: 30 });
    t.clock.moveTo(t.clock.now() + 31_000);
    // A worker whose clock is behind may start it still.
    expect((await sync.delay("a", 2)).id).toBe(first.id);
    t.clock.moveTo(t.clock.now() + 2_000);
    const second = await sync.delay("a", 3);
    expect(second.id).not.toBe(first.id);
    await t.drain();
    expect([await first.status(), await second.get()]).toEqual(["REVOKED", 3]);
  });

  test("one that runs beyond the time at which it would have expired is a twin", async () => {
    const app = new Lovage("tasks");
    let sleep = async (_: number): Promise<void> => {};
    const long = app.task("tasks.long", { unique: { key, for: "running" } }, async (_: string) => sleep(60_000));
    const t = start(app);
    sleep = (ms) => t.clock.sleep(ms);
    const first = await long.applyAsync(["a"], { expires: 30 });
    await t.advance(50_000);
    expect((await long.delay("a")).id).toBe(first.id);
  });

  test("a signature of one task is a call, alone and among many; in a workflow each is sent", async () => {
    const { app, sync, ran, t } = makeApp({ unique: { key, for: "waiting" } });
    const first = await sync.delay("a", 1);
    const ids: string[] = [];
    const onSent = ({ id }: { readonly id: string }) => void ids.push(id);
    expect(await app.sendMany([sync.s("a", 2), sync.s("b", 3), sync.s("b", 4)], { onSent })).toMatchObject({ sent: 3 });
    expect([(await sync.s("a", 5).delay()).id, (await sync.s("a", 6).applyAsync()).id]).toEqual([first.id, first.id]);
    expect([ids.filter((id) => id === first.id).length, new Set(ids).size]).toEqual([1, 2]);
    await chain(sync.s("a", 7), app.task("tasks.next", () => {}).si()).applyAsync();
    await group([sync.s("a", 8)]).applyAsync();
    await t.drain();
    expect(ran.map(([id, value]) => `${id} ${value}`).toSorted()).toEqual(["a 1", "a 7", "a 8", "b 3"]);
  });

  test("the arguments of a retry of its own go before those of the last call", async () => {
    const app = new Lovage("tasks");
    const options = { unique: { key, for: "waiting", onConflict: "replace" }, bind: true } as const;
    const half = app.task("tasks.half", options, (self, id: string, value: number) => {
      if (self.request.retries === 0) self.retry({ args: [id, value / 2], countdown: 1 });
      return value;
    });
    const t = start(app);
    const first = await half.delay("a", 10);
    await half.delay("a", 20);
    await t.advance(5_000);
    expect(await first.get()).toBe(10);
  });

  test("so do those with which its dead letter is sent back", async () => {
    const app = new Lovage("tasks");
    const options = { unique: { key, for: "waiting", onConflict: "replace" } } as const;
    const odd = app.task("tasks.odd", options, (_: string, value: number) => {
      if (value % 2 === 0) throw new Reject("even");
      return value;
    });
    const t = start(app);
    const first = await odd.delay("a", 2);
    await odd.delay("a", 4);
    await t.drain();
    await app.control.deadLetters.redrive({ id: first.id, args: ["a", 5] });
    await t.drain();
    expect(await first.get()).toBe(5);
  });

  test("a key that cannot be told is an error of the call", async () => {
    const { sync, t } = makeApp({ unique: { key: () => 1 as never, for: "waiting" } });
    await expect(sync.delay("a")).rejects.toThrow(LimitKeyError);
    expect(await t.drain()).toEqual([]);
  });
});

/** How a run ends, by the argument of its call. */
const ENDS = [
  "return",
  "throw",
  "retry",
  "checkpoint",
  "replace",
  "ignore",
  "reject",
  "rateLimited",
  "expire",
] as const;

interface Plan {
  readonly time: "waiting" | "running";
  /** The calls: of which key, whose place they take, how they end, and how long after the one before they come, in seconds. */
  readonly calls: readonly (readonly [id: string, owner: string, end: (typeof ENDS)[number], after: number])[];
}

const plans: fc.Arbitrary<Plan> = fc.record({
  time: fc.constantFrom("waiting" as const, "running" as const),
  calls: fc.array(
    fc.tuple(
      fc.constantFrom("a", "b"),
      fc.constantFrom("x", "y"),
      fc.constantFrom(...ENDS),
      fc.integer({ min: 0, max: 9 }),
    ),
    { minLength: 2, maxLength: 14 },
  ),
});

const known: readonly Plan[] = [
  // It holds its key from one run to the next, and so does what takes its place.
  {
    time: "running",
    calls: [
      ["a", "x", "checkpoint", 0],
      ["a", "x", "return", 3],
    ],
  },
  {
    time: "running",
    calls: [
      ["a", "x", "replace", 0],
      ["a", "x", "return", 3],
    ],
  },
  // Its last call is another's than the one that it waits for.
  {
    time: "waiting",
    calls: [
      ["b", "x", "return", 0],
      ["a", "x", "return", 1],
      ["b", "y", "return", 0],
      ["a", "y", "return", 0],
    ],
  },
];

describe.each(stores)("whatever calls come and however they end, on %s", (_, start) => {
  async function simulate({ time, calls }: Plan) {
    const app = new Lovage("tasks");
    let sleep = async (_: number): Promise<void> => {};
    const ran = new Map<string, string>();
    /** Who is at work for an owner, and which ids of a key have begun and are not over. */
    const working = new Map<string, number>();
    const live = new Map<string, Set<string>>();
    let mostWorking = 0;
    let mostLive = 0;
    const begin = (id: string, task: string, owner: string) => {
      live.set(id, (live.get(id) ?? new Set()).add(task));
      mostLive = Math.max(mostLive, live.get(id)?.size ?? 0);
      working.set(owner, (working.get(owner) ?? 0) + 1);
      mostWorking = Math.max(mostWorking, working.get(owner) ?? 0);
    };
    const substitute = app.task("tasks.substitute", { bind: true }, async (self, id: string) => {
      await sleep(5_000);
      live.get(id)?.delete(self.request.id);
    });
    const work = app.task(
      "tasks.work",
      {
        bind: true,
        maxRetries: 1,
        rateLimit: { limit: "60/m", burst: 30 },
        unique: { key, for: time, ...(time === "waiting" && { onConflict: "replace" as const }) },
        concurrency: { limit: 1, key: (_: string, owner: string) => owner },
      },
      async (self, id: string, owner: string, end: string, call: number) => {
        const { request } = self;
        begin(id, request.id, owner);
        ran.set(request.id, `${id} ${call}`);
        let goesOn = false;
        try {
          await sleep(2_000);
          const isFirst = request.retries === 0 && request.checkpoint === undefined;
          goesOn = isFirst && ["retry", "checkpoint", "replace"].includes(end);
          if (isFirst && end === "retry") self.retry({ countdown: 4 });
          if (isFirst && end === "checkpoint") self.checkpoint(1);
          if (end === "replace") self.replace(substitute.s(id));
          if (end === "rateLimited" && !ended.has(request.id)) {
            ended.add(request.id);
            goesOn = true;
            self.rateLimited({ retryAfter: 1 });
          }
          if (end === "throw") throw new Error("no");
          if (end === "ignore") throw new Ignore();
          if (end === "reject") throw new Reject("no");
        } finally {
          working.set(owner, (working.get(owner) ?? 0) - 1);
          if (!goesOn) live.get(id)?.delete(request.id);
        }
      },
    );
    const ended = new Set<string>();
    const t = start(app, { concurrency: 8 });
    sleep = (ms) => t.clock.sleep(ms);
    /** The last call that each id was given for. */
    const last = new Map<string, string>();
    for (const [call, [id, owner, end, after]] of calls.entries()) {
      await t.advance(after * 1000);
      const given = await work.applyAsync([id, owner, end, call], end === "expire" ? { expires: 3 } : {});
      if (time === "waiting" || !last.has(given.id)) last.set(given.id, `${id} ${call}`);
    }
    await t.advance(3_600_000);
    const during = { mostWorking, mostLive };
    // Results are gone, and keys are not held for that.
    await t.advance({ days: 2 });
    const ids = new Set(last.keys());
    const free = [];
    for (const id of ["a", "b"]) free.push(ids.has((await work.delay(id, "z", "return", -1)).id));
    const lost = [...ran].filter(([id, call]) => last.get(id) !== undefined && last.get(id) !== call);
    return { ...during, free, lost };
  }

  test("no key is held by two or for ever, no place is taken twice, and the last call's arguments run", async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const { mostWorking, mostLive, free, lost } = await simulate(plan);
        expect({ free, lost }).toEqual({ free: [false, false], lost: [] });
        expect(mostWorking).toBeLessThanOrEqual(1);
        if (plan.time === "running") expect(mostLive).toBeLessThanOrEqual(1);
      }),
      {
        numRuns: Number(process.env["LOVAGE_SIMULATIONS"] ?? (isTable ? 1 : 10)),
        examples: known.map((plan) => [plan]),
      },
    );
  });
});

test.each<[object, RegExp]>([
  [{ unique: { key: "id", for: "waiting" } }, /unique\.key.*function/],
  [{ unique: { key } }, /unique\.for.*is needed/],
  [{ unique: { key, for: "ever" } }, /unique\.for/],
  [{ unique: { key, for: 0 } }, /unique\.for/],
  [{ unique: { key, for: "running", onConflict: "replace" } }, /unique\.onConflict.*waiting/],
  [{ debounce: { key } }, /debounce\.wait/],
  [{ debounce: { key, wait: 10, max: 5 } }, /debounce\.max.*below wait/],
  [{ throttle: { wait: 10 } }, /throttle\.key/],
  [{ throttle: { key, wait: 10 }, unique: { key, for: 1 } }, /throttle.*unique/],
  [{ throttle: { key, wait: 10 }, claim: false }, /throttle.*claim: false/],
  [{ debounce: { key, wait: 10 }, queue: "a.fifo" }, /debounce.*a\.fifo/],
])("%j is refused where it is declared", (options, message) => {
  const declare = () => new Lovage("tasks").task("tasks.unique", options, () => {});
  expect(declare).toThrow(ImproperlyConfigured);
  expect(declare).toThrow(message);
});
