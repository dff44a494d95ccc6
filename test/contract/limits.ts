/** What a store of limits promises, sentence by sentence. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import fc from "fast-check";
import type { Decide, LimitStore } from "../../src/limits/store.ts";

export interface ContractLimits {
  /** Two that share their rows, as of two processes. */
  readonly stores: readonly [LimitStore, LimitStore];
  /** Moves the time of both on. */
  advance(ms: number): void;
  now(): number;
  close(): Promise<void>;
}

const FAR = 1e15;

const count: Decide<number> = (state) => {
  const next = Number(state ?? 0) + 1;
  return { write: { state: String(next), expires: FAR }, answer: next };
};
const look: Decide<string | undefined> = (state) => ({ answer: state });

export function describeLimits(name: string, make: () => Promise<ContractLimits>, runs = 50): void {
  describe(`rows of limits: ${name}`, () => {
    let made: ContractLimits;
    let key = "";
    let keys = 0;
    const opened: ContractLimits[] = [];
    beforeEach(async () => {
      if (opened.length === 0) opened.push(await make());
      made = opened[0] as ContractLimits;
      key = `limit-${Date.now()}-${keys++}`;
    });
    afterEach(() => expect(opened).toHaveLength(1));
    afterAll(async () => {
      for (const one of opened) await one.close();
    });

    test("a decision sees what the last one wrote, whoever made it", async () => {
      const [one, other] = made.stores;
      expect(await one.decide(key, look)).toBeUndefined();
      expect(await one.decide(key, count)).toBe(1);
      expect(await other.decide(key, count)).toBe(2);
      expect(await one.decide(key, count)).toBe(3);
      expect(await other.decide(key, look)).toBe("3");
    });

    test("decisions that come together are made one after the other, and each has its own answer", async () => {
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, n) => (made.stores[n % 2] as LimitStore).decide(key, count)),
      );
      expect(answers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, n) => n + 1));
    });

    test("a decision that writes nothing leaves the row, and one of null removes it", async () => {
      const [one, other] = made.stores;
      await one.decide(key, count);
      await other.decide(key, () => ({ answer: undefined }));
      expect(await one.decide(key, look)).toBe("1");
      await other.decide(key, () => ({ write: null, answer: undefined }));
      expect(await one.decide(key, look)).toBeUndefined();
      expect(await one.decide(key, count)).toBe(1);
    });

    test("a row that has expired says nothing, and can be written anew", async () => {
      const [one, other] = made.stores;
      const until = made.now() + 1_000;
      await one.decide(key, () => ({ write: { state: "old", expires: until }, answer: undefined }));
      expect(await other.decide(key, look)).toBe("old");
      made.advance(1_001);
      expect(await other.decide(key, look)).toBeUndefined();
      expect(await one.decide(key, count)).toBe(1);
    });

    test("what a decision throws is thrown to who asked, and changes nothing", async () => {
      const [one] = made.stores;
      await one.decide(key, count);
      const throwing: Decide<never> = () => {
        throw new RangeError("no");
      };
      await expect(one.decide(key, throwing)).rejects.toThrow("no");
      expect(await one.decide(key, look)).toBe("1");
    });

    test("random histories end as in a map", async () => {
      const step = fc.record({
        key: fc.nat(2),
        store: fc.nat(1),
        does: fc.constantFrom("count", "look", "remove", "expire", "advance"),
      });
      let histories = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(step, { maxLength: 4 }), { maxLength: 8 }), async (turns) => {
          const history = histories++;
          const model = new Map<number, { state: string; expires: number }>();
          for (const turn of turns) {
            for (const { does } of turn) if (does === "advance") made.advance(600);
            const now = made.now();
            const decide: Record<string, Decide<string | undefined>> = {
              look,
              count: (state) => ({ ...count(state), answer: state }),
              remove: (state) => ({ write: null, answer: state }),
              expire: (state) => ({ write: { state: "short", expires: now + 1_000 }, answer: state }),
            };
            for (const { does, key: k, store } of turn) {
              if (does === "advance") continue;
              const decision = decide[does] as Decide<string | undefined>;
              const there = model.get(k);
              const { write, answer } = decision(there !== undefined && there.expires > now ? there.state : undefined);
              if (write === null) model.delete(k);
              else if (write !== undefined) model.set(k, write);
              const told = await (made.stores[store] as LimitStore).decide(`${key}-${history}-${k}`, (state) =>
                decision(state === "short" ? "short" : state),
              );
              expect(told).toBe(answer);
            }
          }
        }),
        { numRuns: runs, seed: 18 },
      );
    });
  });
}
