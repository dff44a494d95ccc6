/** What it means to keep a journal beside rows: one sentence a test. Every implementation runs it. */
import type { JournalEntry } from "../journal/entry.ts";
import type { JournalRange } from "../journal/store.ts";
import { type Backend, taskKey } from "../results/backend.ts";
import type { Claim, Command, Final } from "../results/record.ts";
import type { ContractRunner } from "./contract-runner.ts";

/** A backend with a journal, and with a clock of its own. */
export interface ContractJournal {
  /** The backend under test, which keeps the journal. */
  readonly backend: Backend;
  /** Milliseconds since the epoch: what the backend takes for now. */
  now(): number;
  /** Moves the store's clock on, in milliseconds. */
  advance(ms: number): void;
  /** What was given as `journal.expires`. */
  readonly expires: number;
  /** Closes it, and removes what it left. */
  close(): Promise<void> | void;
}

const LEASE_MS = 60_000;
const ALWAYS: JournalRange = { failures: false, from: 0, to: Number.POSITIVE_INFINITY };

/** Tells a test runner what a backend must do that is given `BackendContext.journal`. `make` gives one with an empty journal. */
export function journalContract(
  name: string,
  make: () => Promise<ContractJournal>,
  { describe, test, expect, afterEach }: ContractRunner,
): void {
  describe(`the contract of a journal: ${name}`, () => {
    let opened: ContractJournal | undefined;
    afterEach(async () => {
      await opened?.close();
      opened = undefined;
    });

    async function open() {
      const harness = await make();
      opened = harness;
      const { backend } = harness;
      const { journal } = backend;
      if (journal === undefined) throw new Error("the backend has no journal");
      const entryOf = (id: string, more: Partial<JournalEntry> = {}): JournalEntry => ({
        time: harness.now(),
        kind: "task",
        id,
        task: "tasks.add",
        state: "SUCCESS",
        ...more,
      });
      const claimOf = (id: string, owner: string): Claim => ({
        type: "claim",
        key: taskKey(id),
        now: harness.now(),
        attempt: 0,
        owner,
        lease: harness.now() + LEASE_MS,
        result: "{}",
        hidden: false,
      });
      const finalOf = (id: string, owner: string, more: Partial<Final> = {}): Final => ({
        type: "final",
        key: taskKey(id),
        now: harness.now(),
        attempt: 0,
        owner,
        result: JSON.stringify({ status: "SUCCESS", result: null }),
        done: true,
        hidden: false,
        entry: entryOf(id),
        ...more,
      });
      return {
        harness,
        journal,
        entryOf,
        claimOf,
        finalOf,
        apply: (...commands: readonly Command[]) => backend.apply(commands),
        async read(range: Partial<JournalRange> = {}): Promise<JournalEntry[]> {
          const entries: JournalEntry[] = [];
          for await (const page of journal.read({ ...ALWAYS, ...range })) entries.push(...page);
          return entries;
        },
      };
    }
    const idsOf = (entries: readonly JournalEntry[]) => entries.map(({ id }) => id);
    const failed = { state: "FAILURE", error: { type: "Error", message: "no" } };

    test("an empty journal has no entries", async () => {
      const { read } = await open();
      expect(await read()).toEqual([]);
      expect(await read({ failures: true })).toEqual([]);
    });

    test("entries are read as they were written, what a later version added and any text included", async () => {
      const { journal, entryOf, read } = await open();
      const entry = entryOf("a", {
        args: '["\u0000\u001b[31m\'<b>", "\u{1f600}", "\ud800"]',
        retries: 2,
        runtime: 0.25,
        later: { of: ["a", "later", "version"] },
      });
      await journal.append([entry]);
      expect(await read()).toEqual([entry]);
    });

    test("entries are read newest first, whatever order they came in and whoever's clock went back", async () => {
      const { harness, journal, entryOf, read } = await open();
      const now = harness.now();
      await journal.append([entryOf("c", { time: now - 3000 }), entryOf("a", { time: now - 1000 })]);
      await journal.append([entryOf("e", { time: now - 50_000 }), entryOf("b", { time: now - 2000, ...failed })]);
      await journal.append([entryOf("d", { time: now - 4000 })]);
      expect(idsOf(await read())).toEqual(["a", "b", "c", "d", "e"]);
    });

    test("a range begins at its first instant and ends before its last", async () => {
      const { harness, journal, entryOf, read } = await open();
      const now = harness.now();
      await journal.append([3, 2, 1].map((n) => entryOf(String(n), { time: now - n * 1000 })));
      await journal.append([entryOf("2 as well", { time: now - 2000 })]);
      expect(idsOf(await read({ from: now - 2000, to: now - 1000 })).sort()).toEqual(["2", "2 as well"]);
      expect(idsOf(await read({ from: now - 1000 }))).toEqual(["1"]);
      expect(idsOf(await read({ to: now - 2000 }))).toEqual(["3"]);
    });

    test("failures, dead letters and what could not be sent can be read without the rest", async () => {
      const { harness, journal, entryOf, read } = await open();
      const time = (n: number) => ({ time: harness.now() - n });
      await journal.append([
        entryOf("fine", time(1)),
        entryOf("failed", { ...time(2), ...failed }),
        entryOf("retried", { ...time(3), state: "RETRY" }),
        entryOf("dead", { ...time(4), kind: "deadLetter" }),
        entryOf("unsent", { ...time(5), kind: "unsent" }),
      ]);
      expect(idsOf(await read({ failures: true }))).toEqual(["failed", "dead", "unsent"]);
      expect(idsOf(await read())).toEqual(["fine", "failed", "retried", "dead", "unsent"]);
    });

    test("the entry of an outcome is there when the outcome is", async () => {
      const { claimOf, finalOf, apply, read } = await open();
      await apply(claimOf("a", "me"));
      expect(await read()).toEqual([]);
      const final = finalOf("a", "me");
      expect(await apply(final)).toMatchObject([{ type: "written" }]);
      expect(await read()).toEqual([final.entry]);
    });

    test("outcomes that are stored together are told together, each once", async () => {
      const { claimOf, finalOf, apply, read } = await open();
      const ids = Array.from({ length: 60 }, (_, n) => `task-${String(n).padStart(2, "0")}`);
      await apply(...ids.map((id) => claimOf(id, "me")));
      await apply(
        ...ids
          .map((id, n) => finalOf(id, "me", n % 7 === 0 ? { entry: { time: 0, kind: "task", id, ...failed } } : {}))
          .map((final) => ({ ...final, entry: final.entry && { ...final.entry, time: final.now } })),
      );
      expect(idsOf(await read()).sort()).toEqual(ids);
      expect(await read({ failures: true })).toHaveLength(9);
    });

    test("what was not stored, or had been before, is not told", async () => {
      const { harness, claimOf, finalOf, apply, read } = await open();
      await apply(claimOf("a", "dead"), claimOf("b", "me"));
      harness.advance(LEASE_MS + 10_000);
      await apply(claimOf("a", "heir"));
      const [refused, written] = await apply(finalOf("a", "dead"), finalOf("b", "me"));
      expect([refused, written]).toMatchObject([{ type: "refused" }, { type: "written" }]);
      expect(idsOf(await read())).toEqual(["b"]);
      expect(await apply(finalOf("b", "me"))).toMatchObject([{ type: "written" }]);
      await apply({
        type: "bury",
        key: taskKey("b"),
        now: harness.now(),
        result: "{}",
        entry: finalOf("b", "x").entry,
      });
      expect(idsOf(await read())).toEqual(["b"]);
      await apply(finalOf("a", "heir"));
      expect(idsOf(await read()).sort()).toEqual(["a", "b"]);
    });

    test("what ends a row without a run is told too", async () => {
      const { harness, entryOf, apply, read } = await open();
      const now = harness.now();
      const revoked = entryOf("a", { time: now - 1, kind: "revoke" });
      const dead = entryOf("b", { time: now - 2, kind: "deadLetter" });
      await apply({ type: "revoke", key: taskKey("a"), now, terminate: false, result: "{}", entry: revoked });
      await apply({ type: "bury", key: taskKey("b"), now, result: "{}", entry: dead });
      expect(await read()).toEqual([revoked, dead]);
    });

    test("a task that does not claim is told of, also where it has no row", async () => {
      const { finalOf, apply, read } = await open();
      await apply(finalOf("a", "me", { unclaimed: true }));
      await apply(finalOf("b", "me", { unclaimed: true, result: undefined }));
      expect(idsOf(await read()).sort()).toEqual(["a", "b"]);
    });

    test("entries are shown no longer than they are kept for", async () => {
      const { harness, journal, entryOf, read } = await open();
      await journal.append([entryOf("old"), entryOf("old failure", failed)]);
      harness.advance(harness.expires * 1000 - 1000);
      await journal.append([entryOf("new")]);
      expect(await read()).toHaveLength(3);
      harness.advance(2000);
      expect(idsOf(await read())).toEqual(["new"]);
      expect(await read({ failures: true })).toEqual([]);
    });

    test("many entries are read in their order and once, and no more of them than are asked for", async () => {
      const { harness, journal, entryOf } = await open();
      const start = harness.now() - 3_000;
      const newest = Array.from({ length: 1500 }, (_, n) => String(1499 - n));
      for (let at = 0; at < 1500; at += 100) {
        await journal.append(Array.from({ length: 100 }, (_, n) => entryOf(String(at + n), { time: start + at + n })));
      }
      const seen: (string | undefined)[] = [];
      let pages = 0;
      for await (const page of journal.read(ALWAYS)) {
        pages++;
        seen.push(...idsOf(page));
      }
      expect(seen).toEqual(newest);
      expect(pages).toBeGreaterThan(1);
      for await (const page of journal.read(ALWAYS)) {
        expect(page.length).toBeLessThan(1500);
        break;
      }
    });
  });
}
