/**
 * A task that waits for something (a rate, a place, calls that put it off, a batch that fills) beside all else that a call can say:
 * expiry, revoke, ETA, time limits, retries, chains and chords mean what they mean of a task that does not wait.
 */
import { type BatchCall, chain, chord, ImproperlyConfigured, Lovage, type RunningTask } from "lovage";
import { describe, expect, test } from "vitest";
import { stores } from "./stores.ts";

const SECOND = 1_000;
const HOUR = 3_600_000;

interface Kind {
  readonly options: object;
  /** Seconds that a call runs which is there first, and holds up the others; absent: there is none. */
  readonly first?: number;
  /** Seconds from when a call is due until it starts, where the first began at 0. */
  starts(due: number): number;
  /** When a retry starts that is due at this second, after a start at 60. */
  retries(due: number): number;
  /** Whether a step of a workflow waits too. Default true. */
  readonly inCanvas?: boolean;
  readonly batch?: object;
}

const key = () => "anna";
const minute = (due: number) => Math.max(60, due);

const KINDS: Readonly<Record<string, Kind>> = {
  "a rate": { options: { rateLimit: "1/m" }, first: 0, starts: minute, retries: () => 120 },
  "a rate of its key": {
    options: { rateLimit: { limit: "1/m", key } },
    first: 0,
    starts: minute,
    retries: () => 120,
  },
  "a place": { options: { concurrency: 1 }, first: 60, starts: minute, retries: (due) => due },
  "a place of its key": {
    options: { concurrency: { limit: 1, key } },
    first: 60,
    starts: minute,
    retries: (due) => due,
  },
  "a rate and a place": {
    options: { rateLimit: "2/m", concurrency: 1 },
    first: 60,
    starts: minute,
    retries: () => 90,
  },
  "a rate, with a key of its own": {
    options: { rateLimit: "1/m", unique: { key: (n: number) => String(n), for: "running" } },
    first: 0,
    starts: minute,
    retries: () => 120,
  },
  "further calls": {
    options: { debounce: { key, wait: 60 } },
    starts: () => 60,
    retries: (due) => due,
    inCanvas: false,
  },
  "a batch": { options: {}, batch: { size: 10, wait: 60 }, starts: (due) => due + 60, retries: (due) => due + 60 },
};

type Body = (self: Pick<RunningTask, "request" | "signal" | "retry">, seconds: number) => unknown;

describe.each(stores)("on %s", (_, start) => {
  describe.each(Object.entries(KINDS))("a task that waits for %s", (name, kind) => {
    async function begin(more: object = {}, body: Body = () => {}) {
      const app = new Lovage("tasks");
      const ran: number[] = [];
      const seen: (readonly [retries: number, deliveries: number])[] = [];
      const since = () => (t.clock.now() - began) / SECOND;
      const options = { ...kind.options, ...more };
      const work =
        kind.batch === undefined
          ? app.task("tasks.work", { ...options, bind: true }, async (self, n: number) => {
              if (n === 0) await t.clock.sleep((kind.first ?? 0) * SECOND);
              else {
                ran.push(since());
                seen.push([self.request.retries, self.request.deliveries]);
                await body(self, since());
              }
              return n;
            })
          : app.batchTask(
              "tasks.work",
              { ...options, ...kind.batch } as never,
              async (calls: readonly BatchCall<[n: number]>[]) => {
                ran.push(since());
                const results: unknown[] = [];
                for (const { args, request, signal } of calls) {
                  seen.push([request.retries, request.deliveries]);
                  const retry = (): never => {
                    throw new RangeError("again");
                  };
                  const failed = await (async () => body({ request, signal, retry } as never, since()))().catch(
                    (error: unknown) => error,
                  );
                  results.push(failed ?? args[0]);
                }
                return results as number[];
              },
            );
      const next = app.task("tasks.next", (n: number) => n + 100);
      const total = app.task("tasks.total", (all: readonly number[]) => all.reduce((sum, n) => sum + n, 0));
      const t = start(app, { concurrency: 20, config: { maxDeliveries: 1 } });
      const began = t.clock.now();
      if (kind.first !== undefined) await work.delay(0);
      await t.advance(1);
      return { app, work, next, total, t, ran, seen };
    }

    const starts = kind.starts(0);
    /** The clock has gone a millisecond before the call. */
    const near = (seconds: number) => expect.closeTo(seconds, 0);

    test("reads PENDING, and has used up neither a retry nor a delivery when it runs", async () => {
      const { work, t, ran, seen } = await begin({ maxRetries: 0 });
      const result = await work.delay(1);
      await t.advance(50 * SECOND);
      // A call that is gathered was claimed, and has begun.
      expect(await result.state()).toBe(kind.batch === undefined ? "PENDING" : "STARTED");
      await t.advance(20 * SECOND);
      expect([ran, seen, await result.get()]).toEqual([[near(starts)], [[0, 1]], 1]);
    });

    test("does not run once it has expired, and is REVOKED then", async () => {
      const { work, t, ran } = await begin();
      const result = await work.applyAsync([1], { expires: 30 });
      // What is gathered learns it with its batch, and what has a time to start at, as a delayed call, at that time.
      await t.advance((kind.batch === undefined && name !== "further calls" ? 31 : 61) * SECOND);
      expect(await result.state()).toBe("REVOKED");
      await t.advance(HOUR);
      expect(ran).toEqual([]);
      // And it stands in nobody's way.
      const other = await work.delay(2);
      await t.advance(61 * SECOND);
      expect(await other.get()).toBe(2);
    });

    test("does not run once it was revoked", async () => {
      const { work, t, ran } = await begin();
      const result = await work.delay(1);
      await t.advance(30 * SECOND);
      // A call that is gathered has begun.
      await result.revoke({ terminate: kind.batch !== undefined });
      if (kind.batch === undefined) expect(await result.state()).toBe("REVOKED");
      await t.advance(HOUR);
      expect([ran, await result.state()]).toEqual([[], "REVOKED"]);
      const other = await work.delay(2);
      await t.advance(61 * SECOND);
      expect(await other.get()).toBe(2);
    });

    test.each([30, 90])("is due in %i seconds, and starts no earlier", async (countdown) => {
      const { work, t, ran } = await begin();
      const calling = work.applyAsync([1], { countdown });
      if (name === "further calls") return await expect(calling).rejects.toThrow(ImproperlyConfigured);
      const result = await calling;
      await t.advance(200 * SECOND);
      expect([ran, await result.get()]).toEqual([[near(kind.starts(countdown))], 1]);
    });

    test("has the whole of its time limits once it runs", async () => {
      const aborted: number[] = [];
      const { work, t } = await begin({ softTimeLimit: 5, timeLimit: 10 }, async ({ signal }, seconds) => {
        signal.addEventListener("abort", () => aborted.push((t.clock.now() - T0) / SECOND));
        await t.clock.sleep(seconds < starts + 30 ? 3 * SECOND : HOUR);
      });
      const T0 = t.clock.now();
      const short = await work.delay(1);
      await t.advance((starts + 4) * SECOND);
      expect([await short.state(), aborted]).toEqual(["SUCCESS", []]);
      await t.advance(60 * SECOND);
      const long = await work.delay(2);
      await t.advance(100 * SECOND);
      expect(await long.state()).toBe("FAILURE");
      await expect(long.get()).rejects.toThrow(/10/);
      expect(aborted).toHaveLength(1);
    });

    test("is tried again by itself, and waits again", async () => {
      const { work, t, ran, seen } = await begin(
        kind.batch === undefined ? {} : { autoretryFor: [RangeError], retryKwargs: { countdown: 5 } },
        (self) => {
          if (self.request.retries === 0) self.retry({ countdown: 5 });
        },
      );
      const result = await work.delay(1);
      await t.advance(200 * SECOND);
      expect([ran, seen, await result.get()]).toEqual([
        [near(starts), near(kind.retries(65))],
        [
          [0, 1],
          [1, 1],
        ],
        1,
      ]);
    });

    test("keeps its place in a chain", async () => {
      const { work, next, t, ran } = await begin();
      const result = await chain(work.s(1), next.s()).delay();
      await t.advance(61 * SECOND);
      expect([ran, await result.get()]).toEqual([[near(kind.inCanvas === false ? 0 : starts)], 101]);
    });

    test("keeps its place in a chord, beside one that does not wait", async () => {
      const { work, next, total, t, ran } = await begin();
      const result = await chord([work.s(1), next.s(2)], total.s()).delay();
      await t.advance(61 * SECOND);
      expect([ran, await result.get()]).toEqual([[near(kind.inCanvas === false ? 0 : starts)], 103]);
    });
  });
});
