/** What it means to be a result backend: one sentence a test, and a model test. Every implementation runs it. */
import { type Backend, joinKey, type Payload, type Row, taskKey } from "../results/backend.ts";
import {
  type Claim,
  type Command,
  decide,
  type Final,
  isExpired,
  type Join,
  LEASE_MARGIN_MS,
  type Outcome,
} from "../results/record.ts";
import type { ContractRunner } from "./contract-runner.ts";
import { seededRandom } from "./random.ts";

/** A backend with a clock of its own. */
export interface ContractBackend {
  /** The backend under test. */
  readonly backend: Backend;
  /** Milliseconds since the epoch: what the backend takes for now. */
  now(): number;
  /** Moves the backend's clock on, in milliseconds. */
  advance(ms: number): void;
  /** What Python does: replaces the whole row by one with nothing but these. Absent where Python cannot write. */
  readonly putRaw?: ((key: string, payload: Payload, timestamp: number) => Promise<void> | void) | undefined;
  /** The reply to the next write is lost on its way, and whoever asked asks again by itself, as an SDK does. Absent where nothing lies in between. */
  readonly loseReply?: (() => void) | undefined;
  /** Closes it, and removes what it left. */
  close(): Promise<void> | void;
}

const LEASE_MS = 60_000;
const REPLACED = 2 ** 32;

const meta = (status: string, result: unknown = null) =>
  JSON.stringify({ status, result, traceback: null, children: [] });

/** Node's Buffer is a Uint8Array, and no test should mind. */
function plain<T>(value: T): T {
  if (value instanceof Uint8Array) return Uint8Array.from(value) as T;
  if (typeof value !== "object" || value === null || value instanceof Error) return value;
  if (Array.isArray(value)) return value.map(plain) as T;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)])) as T;
}

/** Whether a row says the same as another: a field that one has not is `undefined` in the other. */
function isAlike(one: Row | undefined, other: Row | undefined): boolean {
  const [a, b] = [one, other].map((row) => {
    const fields = Object.entries(row ?? {}).filter(([, value]) => value !== undefined);
    return JSON.stringify(fields.sort(([x], [y]) => (x < y ? -1 : 1)));
  });
  return a === b;
}

/**
 * Tells a test runner what a result backend must do: sentences, and random histories that are compared with the model,
 * `runs` of them (default 100; fewer where each step is a request). An error names the seed of its history.
 */
export function backendContract(
  name: string,
  make: () => Promise<ContractBackend>,
  { describe, test, expect, beforeAll, afterAll }: ContractRunner,
  { runs = 100, seed = Date.now() }: { readonly runs?: number | undefined; readonly seed?: number | undefined } = {},
): void {
  describe(`the contract of a result backend: ${name}`, () => {
    let harness: ContractBackend;
    let backend: Backend;
    beforeAll(async () => {
      harness = await make();
      backend = harness.backend;
    });
    afterAll(async () => {
      await harness.close();
    });

    const newKey = () => taskKey(crypto.randomUUID());
    const claimOf = (key: string, owner: string, more: Partial<Claim> = {}): Claim => ({
      type: "claim",
      key,
      now: harness.now(),
      attempt: 0,
      owner,
      lease: harness.now() + LEASE_MS,
      result: meta("STARTED"),
      hidden: false,
      ...more,
    });
    const finalOf = (key: string, owner: string, more: Partial<Final> = {}): Final => ({
      type: "final",
      key,
      now: harness.now(),
      attempt: 0,
      owner,
      result: meta("SUCCESS", 3),
      done: true,
      hidden: false,
      ...more,
    });
    const apply = async (command: Command) => {
      const [outcome] = await backend.apply([command]);
      return plain(outcome);
    };
    const read = async (key: string) => {
      const [row] = await backend.read([key], { consistent: true });
      return plain(row);
    };

    describe("reading", () => {
      test("a row that does not exist is undefined", async () => {
        expect(await read(newKey())).toBeUndefined();
      });

      test("rows come in the order of the keys, also where some are missing or asked for twice", async () => {
        const [a, b, missing] = [newKey(), newKey(), newKey()];
        await backend.apply([claimOf(a, "of a"), claimOf(b, "of b")]);
        const rows = await backend.read([b, missing, a, b], { consistent: true });
        expect(rows.map((row) => row?.owner)).toEqual(["of b", undefined, "of a", "of b"]);
      });

      test("a task's id may be any text of up to 10 KB", async () => {
        const long = "i".repeat(10_000);
        const ids = [
          `it's "so" \\ \``,
          "one\ntwo\u0000\u001b",
          "\u{1f49a} \u6f22",
          "\ud83d",
          long,
          `${long}1`,
          "\u6f22".repeat(2_000),
        ];
        const keys = ids.map((id) => `${newKey()} ${taskKey(id)}`);
        const outcomes = await backend.apply(keys.map((key, index) => claimOf(key, `owner ${index}`)));
        expect(outcomes.map((outcome) => (outcome instanceof Error ? outcome : outcome.type))).toEqual(
          keys.map(() => "claimed"),
        );
        const rows = await backend.read(keys, { consistent: true });
        expect(rows.map((row) => row?.owner)).toEqual(keys.map((_, index) => `owner ${index}`));
      });

      test("nothing asked is nothing answered", async () => {
        expect(await backend.read([])).toEqual([]);
        expect(await backend.apply([])).toEqual([]);
      });

      test("150 rows are read in one go", async () => {
        const keys = Array.from({ length: 150 }, newKey);
        await backend.apply(keys.map((key, index) => claimOf(key, `owner ${index}`)));
        const rows = await backend.read(keys, { consistent: true });
        expect(rows.map((row) => row?.owner)).toEqual(keys.map((_, index) => `owner ${index}`));
      });

      test("every field of a row comes back as it was written", async () => {
        const key = newKey();
        const ttl = Math.floor(harness.now() / 1000) + 3600;
        await apply(claimOf(key, "a", { attempt: 3 * REPLACED + 5, redrive: 1_795_000_000_123, hidden: true, ttl }));
        const claimed: Row = {
          result: meta("STARTED"),
          timestamp: harness.now() / 1000,
          ttl,
          attempt: 3 * REPLACED + 5,
          owner: "a",
          lease: harness.now() + LEASE_MS,
          runs: 1,
          hidden: true,
          redrive: 1_795_000_000_123,
        };
        expect(await read(key)).toEqual(claimed);
        const { lease: _, ...kept } = claimed;
        await apply(finalOf(key, "a", { attempt: 3 * REPLACED + 5, next: '{"é": "😀"}', buried: true }));
        expect(await read(key)).toEqual({
          ...kept,
          result: meta("SUCCESS", 3),
          settled: true,
          done: true,
          next: '{"é": "😀"}',
          buried: true,
        });
        const failed = newKey();
        await apply(claimOf(failed, "a"));
        await apply(finalOf(failed, "a", { result: meta("FAILURE"), kept: KEPT }));
        expect(await read(failed)).toMatchObject({ done: true, kept: KEPT });
      });

      const payloads: readonly (readonly [string, Payload])[] = [
        ["JSON", meta("SUCCESS", "plain")],
        ["JSON beyond ASCII", meta("SUCCESS", "Ünïcödé 😀 \u2028 \u0000")],
        ["JSON of 200 KB", meta("SUCCESS", "x".repeat(200_000))],
        ["bytes", new Uint8Array([0x82, 0x00, 0xff, 0xc3, 0x28])],
      ];
      for (const [what, payload] of payloads) {
        test(`a payload comes back as it was written: ${what}`, async () => {
          const key = newKey();
          await apply({ type: "store", key, now: harness.now(), result: payload });
          expect((await read(key))?.result).toEqual(payload);
        });
      }

      test("a row is read until the second of its ttl, and is absent from then on", async () => {
        const key = newKey();
        const ttl = Math.floor(harness.now() / 1000) + 60;
        await backend.apply([claimOf(key, "a", { ttl }), finalOf(key, "a")]);
        harness.advance(ttl * 1000 - harness.now() - 1);
        expect(await read(key)).toMatchObject({ done: true });
        harness.advance(1);
        expect(await read(key)).toBeUndefined();
        expect(await apply(claimOf(key, "b"))).toEqual({ type: "claimed", runs: 1, revoked: undefined });
        expect(await read(key)).toEqual({
          result: meta("STARTED"),
          timestamp: harness.now() / 1000,
          attempt: 0,
          owner: "b",
          lease: harness.now() + LEASE_MS,
          runs: 1,
        });
      });
    });

    describe("applying", () => {
      test("a task's two writes: its claim, and its outcome", async () => {
        const key = newKey();
        expect(await apply(claimOf(key, "a"))).toEqual({ type: "claimed", runs: 1, revoked: undefined });
        expect(await apply(finalOf(key, "a"))).toEqual({ type: "written", revoked: undefined });
        expect(await read(key)).toEqual({
          result: meta("SUCCESS", 3),
          timestamp: harness.now() / 1000,
          attempt: 0,
          owner: "a",
          runs: 1,
          settled: true,
          done: true,
        });
      });

      test("a duplicate of a settled attempt gets the row, with all that follows from it", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply(finalOf(key, "a", { done: false, result: meta("RETRY"), next: "the next message" }));
        expect(await apply(claimOf(key, "b"))).toEqual({
          type: "settled",
          row: {
            result: meta("RETRY"),
            timestamp: harness.now() / 1000,
            attempt: 0,
            owner: "a",
            runs: 1,
            settled: true,
            next: "the next message",
          },
        });
      });

      test("a duplicate of a running attempt is told until when to hide", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        const until = harness.now() + LEASE_MS + LEASE_MARGIN_MS;
        expect(await apply(claimOf(key, "b"))).toEqual({ type: "running", until });
      });

      test("a lease that is over by the margin is taken over, and its owner has lost the row", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        harness.advance(LEASE_MS + LEASE_MARGIN_MS);
        expect(await apply(claimOf(key, "b"))).toEqual({ type: "claimed", runs: 2, revoked: undefined });
        expect(await apply(finalOf(key, "a"))).toMatchObject({ type: "refused", row: { owner: "b", runs: 1 } });
      });

      test("an owner that was told to stop, and is heard of no more, has not died of its run", async () => {
        const key = newKey();
        await apply(claimOf(key, "told"));
        const now = harness.now();
        const told: Command = { type: "extend", key, now, owner: "told", lease: now + LEASE_MS, excused: true };
        expect(await apply(told)).toMatchObject({ type: "written" });
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "running" });
        harness.advance(LEASE_MS + LEASE_MARGIN_MS);
        expect(await apply(claimOf(key, "b"))).toEqual({ type: "claimed", runs: 1, revoked: undefined });
        // That one was not told.
        harness.advance(LEASE_MS + LEASE_MARGIN_MS);
        expect(await apply(claimOf(key, "c"))).toEqual({ type: "claimed", runs: 2, revoked: undefined });
        expect(await apply(finalOf(key, "c"))).toMatchObject({ type: "written" });
        expect((await read(key))?.accounted).toBeUndefined();
      });

      test("an owner that is known to have died is counted once, and waited for by nobody", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        for (let said = 0; said < 2; said++)
          expect(await apply({ type: "release", key, now: harness.now(), owner: "a", died: true })).toMatchObject({
            type: "written",
          });
        expect(await apply(claimOf(key, "b"))).toEqual({ type: "claimed", runs: 2, revoked: undefined });
      });

      test("commands for one row are applied in their order, and each sees what the one before it did", async () => {
        const key = newKey();
        const now = harness.now();
        const outcomes = await backend.apply([
          claimOf(key, "a"),
          { type: "update", key, now, owner: "a", result: meta("PROGRESS") },
          claimOf(key, "b"),
          { type: "release", key, now, owner: "a" },
          claimOf(key, "b"),
          finalOf(key, "b"),
          claimOf(key, "c"),
        ]);
        expect(outcomes.map((outcome) => (outcome instanceof Error ? outcome.message : outcome.type))).toEqual([
          "claimed",
          "written",
          "running",
          "written",
          "claimed",
          "written",
          "settled",
        ]);
      });

      test("each command has its own outcome: what is refused does not hold up the others", async () => {
        const [a, b, c] = [newKey(), newKey(), newKey()];
        const outcomes = await backend.apply([claimOf(a, "a"), finalOf(b, "nobody"), claimOf(c, "c")]);
        expect(outcomes).toMatchObject([{ type: "claimed" }, { type: "refused" }, { type: "claimed" }]);
        expect(await read(b)).toBeUndefined();
      });

      test("200 commands in one go", async () => {
        const keys = Array.from({ length: 100 }, newKey);
        const outcomes = await backend.apply([
          ...keys.map((key) => claimOf(key, "a")),
          ...keys.map((key) => finalOf(key, "a")),
        ]);
        expect(outcomes).toMatchObject([
          ...keys.map(() => ({ type: "claimed" })),
          ...keys.map(() => ({ type: "written" })),
        ]);
      });

      test("50 owners claim at once, and one of them owns it", async () => {
        const key = newKey();
        const owners = Array.from({ length: 50 }, (_, index) => `owner ${index}`);
        const outcomes = await Promise.all(owners.map((owner) => apply(claimOf(key, owner))));
        const winners = owners.filter((_, index) => (outcomes[index] as Outcome).type === "claimed");
        expect(winners).toHaveLength(1);
        expect(outcomes.filter((outcome) => (outcome as Outcome).type === "running")).toHaveLength(49);
        expect(await read(key)).toMatchObject({ owner: winners[0], runs: 1 });
      });

      test("50 owners take over at once, and one death is counted", async () => {
        const key = newKey();
        await apply(claimOf(key, "dead"));
        harness.advance(LEASE_MS + LEASE_MARGIN_MS);
        const outcomes = await Promise.all(
          Array.from({ length: 50 }, (_, index) => apply(claimOf(key, `owner ${index}`))),
        );
        expect(outcomes.filter((outcome) => (outcome as Outcome).type === "claimed")).toEqual([
          { type: "claimed", runs: 2, revoked: undefined },
        ]);
      });
    });

    describe("interleavings", () => {
      const PAST_LEASE_MS = LEASE_MS + LEASE_MARGIN_MS;
      const began = (runs = 1) => ({ type: "claimed", runs, revoked: undefined });
      const wrote = { type: "written", revoked: undefined };
      const retryOf = (key: string, owner: string, next: string, more: Partial<Final> = {}) =>
        finalOf(key, owner, { done: false, result: meta("RETRY"), next, ...more });

      test("a retry lost between its row and its message", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply(retryOf(key, "a", "the retry's message"));
        // Its worker died before it was sent. The message comes again, to two workers.
        for (const owner of ["b", "c"]) {
          expect(await apply(claimOf(key, owner))).toMatchObject({
            type: "settled",
            row: { settled: true, next: "the retry's message" },
          });
        }
        expect(await apply(claimOf(key, "d", { attempt: 1 }))).toEqual(began());
        expect(await apply(claimOf(key, "e"))).toMatchObject({ type: "superseded" });
        expect((await read(key))?.next).toBeUndefined();
      });

      test("a replacement with the same id", async () => {
        const key = newKey();
        await apply(claimOf(key, "a", { attempt: 2 }));
        await apply(finalOf(key, "a", { attempt: 2, done: false, result: undefined, next: "the replacement" }));
        expect(await apply(claimOf(key, "b", { attempt: 2 }))).toMatchObject({
          type: "settled",
          row: { result: meta("STARTED"), next: "the replacement" },
        });
        expect(await apply(claimOf(key, "c", { attempt: REPLACED }))).toEqual(began());
        expect(await apply(claimOf(key, "d", { attempt: 2 }))).toMatchObject({ type: "superseded" });
        expect(await apply(finalOf(key, "c", { attempt: REPLACED }))).toEqual(wrote);
        expect(await apply(claimOf(key, "e", { attempt: 2 }))).toMatchObject({ type: "superseded" });
        expect(await apply(claimOf(key, "f", { attempt: REPLACED }))).toMatchObject({ type: "settled" });
      });

      test("a retry that arrives before its row", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        expect(await apply(claimOf(key, "b", { attempt: 1 }))).toEqual(began());
        expect(await apply(retryOf(key, "a", "late"))).toMatchObject({
          type: "refused",
          row: { attempt: 1, owner: "b" },
        });
        expect(await apply(finalOf(key, "b", { attempt: 1 }))).toEqual(wrote);
      });

      test("a second final", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply(finalOf(key, "a"));
        const before = await read(key);
        harness.advance(1000);
        expect(await apply(finalOf(key, "a", { result: meta("FAILURE") }))).toEqual(wrote);
        expect(await apply(finalOf(key, "b", { result: meta("FAILURE") }))).toMatchObject({ type: "refused" });
        expect(await read(key)).toEqual(before);
      });

      test("a claim whose reply is lost", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        harness.advance(1000);
        // The same owner asks again. It is still its first run, and its lease counts from now.
        expect(await apply(claimOf(key, "a"))).toEqual(began());
        expect(await read(key)).toMatchObject({ runs: 1, lease: harness.now() + LEASE_MS });
        harness.advance(PAST_LEASE_MS);
        expect(await apply(claimOf(key, "a"))).toEqual(began());
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "running" });
        expect(await apply(finalOf(key, "a"))).toEqual(wrote);
      });

      test("a duplicate of a live run", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        const before = await read(key);
        const until = harness.now() + PAST_LEASE_MS;
        for (const ms of [0, LEASE_MS, LEASE_MARGIN_MS - 1]) {
          harness.advance(ms);
          expect(await apply(claimOf(key, "b"))).toEqual({ type: "running", until });
        }
        expect(await read(key)).toEqual(before);
        harness.advance(1);
        expect(await apply(claimOf(key, "b"))).toEqual(began(2));
      });

      test("a take-over and the late loser", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        harness.advance(PAST_LEASE_MS);
        expect(await apply(claimOf(key, "b"))).toEqual(began(2));
        const before = await read(key);
        const now = harness.now();
        const late: readonly Command[] = [
          finalOf(key, "a"),
          retryOf(key, "a", "late"),
          finalOf(key, "a", { result: undefined }),
          { type: "update", key, now, owner: "a", result: meta("PROGRESS") },
          { type: "extend", key, now, owner: "a", lease: now + 10 * LEASE_MS },
          { type: "release", key, now, owner: "a" },
        ];
        for (const command of late)
          expect(await apply(command)).toMatchObject({ type: "refused", row: { owner: "b", runs: 1 } });
        // It lives, so its death was none.
        expect(await read(key)).toEqual({ ...before, runs: 1, accounted: undefined });
        expect(await apply(finalOf(key, "b"))).toEqual(wrote);
        expect(await apply(finalOf(key, "a", { result: meta("FAILURE") }))).toMatchObject({ type: "refused" });
      });

      test("an innocent neighbour of a record that kills the process", async () => {
        const [killer, neighbour] = [newKey(), newKey()];
        await backend.apply([claimOf(killer, "a"), claimOf(neighbour, "b")]);
        // Each further worker takes both, gives up the neighbour, and dies of the other.
        for (let deaths = 1; deaths <= 3; deaths++) {
          harness.advance(PAST_LEASE_MS);
          const claims = [claimOf(killer, `a ${deaths}`), claimOf(neighbour, `b ${deaths}`)];
          expect((await backend.apply(claims)).map(plain)).toEqual([began(deaths + 1), began(2)]);
          const release = { type: "release", key: neighbour, now: harness.now(), owner: `b ${deaths}` } as const;
          expect(await apply(release)).toEqual(wrote);
        }
        expect(await apply(claimOf(neighbour, "alone"))).toEqual(began(2));
        expect(await apply(finalOf(neighbour, "alone"))).toEqual(wrote);
      });

      test("Ignore", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply({ type: "update", key, now: harness.now(), owner: "a", result: meta("PROGRESS", 50) });
        expect(await apply(finalOf(key, "a", { result: undefined }))).toEqual(wrote);
        expect(await read(key)).toMatchObject({ result: meta("PROGRESS", 50), settled: true, done: true });
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "settled" });
      });

      test("Reject, and its dead letter sent back", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply(finalOf(key, "a", { result: meta("FAILURE"), buried: true }));
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "settled", row: { buried: true } });
        expect(await apply(claimOf(key, "c", { redrive: 1000 }))).toEqual({ ...began(), redrive: 1000 });
        // A second copy of the letter that was sent back, while the first runs, and when it has ended.
        expect(await apply(claimOf(key, "d", { redrive: 1000 }))).toMatchObject({ type: "running" });
        await apply(finalOf(key, "c", { result: meta("FAILURE"), buried: true }));
        expect(await apply(claimOf(key, "d", { redrive: 1000 }))).toMatchObject({ type: "settled" });
        expect(await apply(claimOf(key, "e", { redrive: 1001 }))).toEqual({ ...began(), redrive: 1001 });
        // Whoever goes on with it is told, also by a copy of the message as it was before, and whoever ends it.
        await apply({ type: "release", key, now: harness.now(), owner: "e" });
        expect(await apply(claimOf(key, "f"))).toEqual({ ...began(), redrive: 1001 });
        await apply({ type: "release", key, now: harness.now(), owner: "f" });
        const buried = { type: "bury" as const, key, now: harness.now(), result: meta("FAILURE"), next: "{}" };
        expect(await apply(buried)).toEqual({ ...wrote, redrive: 1001 });
        expect(await read(key)).toMatchObject({ done: true, buried: true, next: "{}" });
      });

      test("a failure that kept its message, run again once for each time that it is asked for", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply(finalOf(key, "a", { result: meta("FAILURE"), kept: KEPT }));
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "settled", row: { kept: KEPT } });
        expect(await apply(claimOf(key, "c", { redrive: 1 }))).toEqual({ ...began(), redrive: 1 });
        // While it runs it cannot be run again, and what is read of it is no failure.
        expect((await read(key))?.kept).toBeUndefined();
        expect(await apply(claimOf(key, "d", { redrive: 1 }))).toMatchObject({ type: "running" });
        await apply(finalOf(key, "c", { result: meta("FAILURE"), kept: `${KEPT} again` }));
        expect(await read(key)).toMatchObject({ kept: `${KEPT} again`, redrive: 1 });
        expect(await apply(claimOf(key, "d", { redrive: 1 }))).toMatchObject({ type: "settled" });
        expect(await apply(claimOf(key, "e", { redrive: 2 }))).toEqual({ ...began(), redrive: 2 });
        await apply(finalOf(key, "e"));
        expect((await read(key))?.kept).toBeUndefined();
        expect(await apply(claimOf(key, "f", { redrive: 3 }))).toMatchObject({ type: "settled" });
      });

      test("a failure that is forgotten keeps no message, and runs once more where that is on its way already", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply(finalOf(key, "a", { result: meta("FAILURE"), kept: KEPT }));
        await apply({ type: "forget", key, now: harness.now(), at: harness.now() });
        expect(await read(key)).toMatchObject({ kept: "", hidden: true });
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "settled" });
        expect(await apply(claimOf(key, "c", { redrive: 1 }))).toEqual({ ...began(), redrive: 1 });
        expect(await read(key)).toMatchObject({ hidden: true });
      });

      test("a task that does not claim stores over a failure that it is run again for, and over no other", async () => {
        const key = newKey();
        const final = (owner: string, changes: object) =>
          apply({ ...finalOf(key, owner, { result: meta("FAILURE"), ...changes }), unclaimed: true });
        expect(await final("a", { kept: KEPT })).toEqual(wrote);
        expect(await final("b", { kept: KEPT })).toMatchObject({ type: "refused" });
        expect(await final("c", { result: meta("SUCCESS", 1), redrive: 1 })).toEqual({ ...wrote, redrive: 1 });
        expect(await read(key)).toMatchObject({ result: meta("SUCCESS", 1) });
        expect((await read(key))?.kept).toBeUndefined();
      });

      test("requeue", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        for (const owner of ["a", "b", "c", "d"]) {
          expect(await apply({ type: "release", key, now: harness.now(), owner })).toEqual(wrote);
          expect(await apply(claimOf(key, String.fromCharCode(owner.charCodeAt(0) + 1)))).toEqual(began());
        }
      });

      test("an expired duplicate of a running task", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        const before = await read(key);
        expect(await apply(claimOf(key, "late", { result: meta("REVOKED") }))).toMatchObject({ type: "running" });
        expect(await apply(finalOf(key, "late", { result: meta("REVOKED") }))).toMatchObject({ type: "refused" });
        expect(await read(key)).toEqual(before);
        expect(await apply(finalOf(key, "a"))).toEqual(wrote);
      });

      test("a forgotten row and its duplicate", async () => {
        const key = newKey();
        await apply(claimOf(key, "a"));
        await apply({ type: "forget", key, now: harness.now(), at: harness.now() });
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "running" });
        expect(await apply(finalOf(key, "a"))).toEqual(wrote);
        expect(await read(key)).toMatchObject({ hidden: true, done: true, result: meta("SUCCESS", 3) });
        expect(await apply(claimOf(key, "b"))).toMatchObject({ type: "settled", row: { hidden: true } });
        expect(await apply(claimOf(key, "b", { attempt: 1 }))).toMatchObject({ type: "superseded" });
      });

      test("a forgotten row and what is sent again under its id", async () => {
        const key = newKey();
        const now = harness.now();
        await apply(claimOf(key, "a", { attempt: 2, sent: now - 0.5 }));
        await apply(finalOf(key, "a", { attempt: 2 }));
        await apply({ type: "forget", key, now, at: now + 0.5 });
        // Copies of what was sent before, of the first one too.
        for (const sent of [undefined, now - 0.5, now + 0.25])
          expect(await apply(claimOf(key, "copy", { sent }))).toMatchObject({ type: "superseded" });
        const sent = now + 0.75;
        expect(await apply(claimOf(key, "b", { sent }))).toEqual({ ...began(), again: sent });
        const { hidden, forgotten, ...row } = (await read(key)) as Row;
        expect([hidden, forgotten]).toEqual([undefined, undefined]);
        expect(row).toMatchObject({ attempt: 0, owner: "b", runs: 1, again: sent });
        expect(await apply(claimOf(key, "c", { sent }))).toMatchObject({ type: "running" });
        expect(await apply(finalOf(key, "b"))).toEqual(wrote);
        expect(await apply(claimOf(key, "c", { sent: now + 5 }))).toMatchObject({ type: "settled" });
      });

      test("a forgotten row that waits for a retry, and what is sent again under its id", async () => {
        const key = newKey();
        const now = harness.now();
        await apply(claimOf(key, "a"));
        await apply({ type: "forget", key, now, at: now });
        expect(await apply(claimOf(key, "b", { sent: now + 1 }))).toMatchObject({ type: "running" });
        expect((await read(key))?.hidden).toBe(undefined);
        await apply({ type: "forget", key, now, at: now + 2 });
        await apply(finalOf(key, "a", { result: meta("RETRY"), done: false, next: "{}" }));
        expect(await apply(claimOf(key, "b", { sent: now + 3 }))).toMatchObject({
          type: "settled",
          row: { next: "{}" },
        });
        expect(await apply(claimOf(key, "c", { attempt: 1, sent: now + 3 }))).toEqual(began());
        expect((await read(key))?.hidden).toBe(undefined);
      });

      test("an outcome without a claim, of what is sent again under a forgotten id", async () => {
        const key = newKey();
        const now = harness.now();
        const of = (owner: string, sent: number) => finalOf(key, owner, { unclaimed: true, sent });
        expect(await apply(of("a", now))).toEqual(wrote);
        await apply({ type: "forget", key, now, at: now + 1 });
        expect(await apply(of("copy", now))).toMatchObject({ type: "refused" });
        expect(await apply(of("b", now + 2))).toEqual({ ...wrote, again: now + 2 });
        expect(await apply(of("b", now + 2))).toEqual({ ...wrote, again: now + 2 });
        const row = await read(key);
        expect([row?.owner, row?.hidden]).toEqual(["b", undefined]);
      });

      test("a Python writer that replaces the item", async () => {
        if (!harness.putRaw) return;
        const key = newKey();
        await apply(claimOf(key, "a"));
        await harness.putRaw(key, meta("STARTED"), harness.now() / 1000);
        expect(await apply(finalOf(key, "a"))).toMatchObject({ type: "refused" });
        expect(await apply(claimOf(key, "b"))).toEqual(began());
        await harness.putRaw(key, meta("SUCCESS", 9), harness.now() / 1000);
        expect(await apply(finalOf(key, "b"))).toMatchObject({ type: "refused" });
        expect(await apply(claimOf(key, "c"))).toMatchObject({ type: "superseded" });
        expect(await read(key)).toMatchObject({ result: meta("SUCCESS", 9) });
      });
    });

    describe("joining", () => {
      const hash = (n: number) => `member-${String(n).padStart(4, "0")}`;
      const joinOf = (key: string, more: Partial<Join> = {}): Join => ({
        type: "join",
        key,
        now: harness.now(),
        ...more,
      });

      test("a member counts once, however often its end is told", async () => {
        const key = joinKey(crypto.randomUUID());
        const joined = (count: number, size?: number) => ({ type: "joined", count, members: count, size, added: [] });
        expect(await backend.apply([joinOf(key, { size: 3 })])).toEqual([joined(0, 3)]);
        expect(await backend.apply([joinOf(key, { member: hash(1) })])).toEqual([joined(1, 3)]);
        expect(await backend.apply([joinOf(key, { member: hash(1) })])).toEqual([joined(1, 3)]);
        expect(await backend.apply([joinOf(key, { member: hash(2) }), joinOf(key, { member: hash(3) })])).toEqual([
          joined(2, 3),
          joined(3, 3),
        ]);
        // The row is not made anew by who sends the chord a second time.
        expect(await backend.apply([joinOf(key, { size: 5 })])).toEqual([joined(3, 3)]);
      });

      test("members may end before the size is known", async () => {
        const key = joinKey(crypto.randomUUID());
        await backend.apply([joinOf(key, { member: hash(1) })]);
        expect(await backend.apply([joinOf(key, { size: 1 })])).toMatchObject([{ members: 1, size: 1 }]);
      });

      test("members are added once each", async () => {
        const key = joinKey(crypto.randomUUID());
        await backend.apply([joinOf(key, { size: 1, added: "a" }), joinOf(key, { added: "b" })]);
        expect(await backend.apply([joinOf(key, { added: "a" })])).toMatchObject([{ size: 1, added: ["a", "b"] }]);
      });

      test("30 members end at once, and one of them is told that it was the last", async () => {
        const key = joinKey(crypto.randomUUID());
        const answers = await Promise.all(
          Array.from({ length: 30 }, (_, n) => backend.apply([joinOf(key, { member: hash(n), size: 30 })])),
        );
        const counts = answers.flat().map((answer) => ("count" in answer ? answer.count : answer));
        expect(counts.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 30 }, (_, n) => n + 1));
      });
    });

    describe("waiting", () => {
      test("a change ends the wait", async () => {
        if (!backend.changed) return;
        const { over } = backend.changed();
        await apply(claimOf(newKey(), "a"));
        await over;
      });

      test("who waits ends the wait, once or twice", async () => {
        if (!backend.changed) return;
        const { over, end } = backend.changed();
        end();
        end();
        await over;
      });

      test("close ends the wait, and those that are begun after it", async () => {
        if (!backend.changed) return;
        const other = await make();
        const wait = other.backend.changed?.();
        await other.backend.close();
        await wait?.over;
        await other.backend.changed?.().over;
        await other.close();
      });
    });

    const model =
      "any history of owners, attempts, deaths, lost replies, revokes and Python writers is that of the model";
    const tell = async () => {
      let isLossy = false;
      for (let run = 0; run < runs; run++) {
        const history = randomHistory(seededRandom(seed + run), harness.putRaw !== undefined);
        const where = `seed ${seed + run}`;
        const keys = KEYS.map(newKey);
        const model = new Map<string, Row>();
        const decided = (command: Command, answer: Outcome | Error | undefined) => {
          const row = model.get(command.key);
          const { write, outcome } = decide(row, command);
          if (write !== undefined) model.set(command.key, write);
          // Who asks again as a reply was lost, and finds what it would have written, cannot tell it from its own.
          const isOwnOrAlike = isLossy && outcome.type === "refused" && isAlike(row, decide(undefined, command).write);
          return isOwnOrAlike && answer !== undefined && "type" in answer && answer.type === "written"
            ? answer
            : outcome;
        };
        for (const step of history) {
          switch (step.type) {
            case "advance":
              harness.advance(step.ms);
              break;
            case "python": {
              const key = keys[step.key] as string;
              const timestamp = harness.now() / 1000;
              await harness.putRaw?.(key, step.result, timestamp);
              model.set(key, { result: step.result, timestamp });
              break;
            }
            case "apply": {
              const commands = step.commands.map((draft) => {
                const key = keys[draft.key] as string;
                return toCommand(draft, key, model.get(key), harness.now());
              });
              if (step.lost) harness.loseReply?.();
              // It may be the reply to a later write, of a later history too.
              isLossy ||= step.lost && harness.loseReply !== undefined;
              // A reply may be lost, and the commands sent again: everything must stay as the model has it.
              for (let sent = 0; sent < (step.again ? 2 : 1); sent++) {
                const answers = await backend.apply(commands);
                const expected = commands.map((command, at) => decided(command, answers[at]));
                expect([where, plain(answers)]).toEqual([where, plain(expected)]);
              }
              break;
            }
            default:
              step satisfies never;
          }
          const rows = keys
            .map((key) => model.get(key))
            .map((row) => (row && !isExpired(row, harness.now()) ? row : undefined));
          expect([where, plain(await backend.read(keys, { consistent: true }))]).toEqual([where, plain(rows)]);
        }
      }
    };
    test(model, tell, 120_000);
  });
}

// ── random histories ─────────────────────────────────────────────────────────────────────────────────────────────────

/** Few of each, so that they meet. */
export const KEYS = [0, 1];
/** A message that a failure keeps: any text. */
const KEPT = '{"queue": "celery", "body": "😀"}';
const OWNERS = ["a", "b", "c"];
const ATTEMPTS = [0, 1, REPLACED];
const RESULTS: readonly Payload[] = [
  meta("STARTED"),
  meta("RETRY"),
  meta("SUCCESS", 1),
  new Uint8Array([0x81, 0xa6, 0xff]),
];

/** A command without its key and its time, which are known when the history is told. */
interface Draft {
  /** A join has rows of its own. */
  readonly type: Exclude<Command["type"], "join">;
  readonly key: number;
  readonly attempt: number;
  readonly owner: string;
  /** It comes from whoever owns the row by then, at the row's attempt: else few histories would get anywhere. */
  readonly asHolder: boolean;
  readonly leaseMs: number;
  readonly ttlSeconds: number | undefined;
  readonly result: Payload;
  readonly keepsResult: boolean;
  readonly hidden: boolean;
  readonly redrive: number | undefined;
  /** From when the command is applied, in milliseconds. */
  readonly sentMs: number | undefined;
  readonly done: boolean;
  readonly buried: boolean;
  readonly kept: string | undefined;
  readonly next: string | undefined;
  readonly unclaimed: boolean;
  readonly terminate: boolean;
  /** Of an `extend`, that it is excused; of a `release`, that its owner died. */
  readonly telling: boolean;
}

/** `again`: applied a second time; `lost`: the reply to a write of it is lost. */
type Step =
  | {
      readonly type: "apply";
      readonly commands: readonly Draft[];
      readonly again: boolean;
      readonly lost: boolean;
    }
  | { readonly type: "advance"; readonly ms: number }
  | { readonly type: "python"; readonly key: number; readonly result: Payload };

/** What happens to a few rows, at random: the same for the same numbers. */
export function randomHistory(random: () => number, withPython: boolean): readonly Step[] {
  const below = (count: number) => Math.floor(random() * count);
  const pick = <T>(...choices: readonly T[]): T => choices[below(choices.length)] as T;
  const seldom = () => below(8) === 0;
  // One in two is of an attempt that kills worker after worker.
  const deadly = below(2) === 0;
  const draft = (): Draft => ({
    type: deadly
      ? pick<Draft["type"]>("claim", "extend", pick("update", "extend", "release", seldom() ? "final" : "extend"))
      : pick<Draft["type"]>(
          "claim",
          "claim",
          pick("final", "update", "extend"),
          pick("final", "release", "revoke"),
          pick("forget", "bury", "store"),
        ),
    key: deadly ? 0 : pick(...KEYS),
    attempt: deadly ? 0 : pick(...ATTEMPTS),
    owner: pick(...(deadly ? OWNERS.slice(1) : OWNERS)),
    asHolder: pick(true, false),
    leaseMs: pick(1000, 30_000),
    ttlSeconds: pick(undefined, undefined, undefined, undefined, 60, 600, 600),
    result: pick(...RESULTS),
    keepsResult: seldom(),
    hidden: seldom(),
    redrive: pick(undefined, 1, 2),
    sentMs: pick(undefined, undefined, -1000, 1),
    done: pick(true, false),
    buried: seldom(),
    kept: pick(undefined, KEPT, KEPT, KEPT),
    next: pick(undefined, '{"retries": 1}'),
    unclaimed: seldom(),
    terminate: pick(true, false),
    telling: pick(true, false),
  });
  const step = (): Step => {
    const kind = below(withPython ? 12 : 11);
    if (kind < (deadly ? 6 : 8))
      return { type: "apply", commands: Array.from({ length: 1 + below(4) }, draft), again: seldom(), lost: seldom() };
    const ms = deadly ? pick(32_000, 61_000) : pick(1, 999, 2000, 3000, 32_000, 61_000);
    if (kind < 11) return { type: "advance", ms };
    return { type: "python", key: pick(...KEYS), result: pick(...RESULTS) };
  };
  return Array.from({ length: 5 + below(26) }, step);
}

/** The command that a draft is when it is applied. */
export function toCommand(draft: Draft, key: string, row: Row | undefined, now: number): Command {
  const { type, result, hidden, redrive, done, buried, kept, next, unclaimed, terminate } = draft;
  // A claim of the holder's would only be its own lost reply: its attempt is that of the row, and its owner another.
  const sent = draft.sentMs === undefined ? undefined : now + draft.sentMs;
  const attempt = (draft.asHolder ? row?.attempt : undefined) ?? draft.attempt;
  const owner = (draft.asHolder && type !== "claim" ? row?.owner : undefined) ?? draft.owner;
  const lease = now + draft.leaseMs;
  const ttl = draft.ttlSeconds === undefined ? undefined : Math.floor(now / 1000) + draft.ttlSeconds;
  const addressed = { key, now, ttl };
  switch (type) {
    case "claim":
      return { type, ...addressed, attempt, owner, lease, result, hidden, redrive, sent, next };
    case "final": {
      const outcome = draft.keepsResult ? undefined : result;
      return {
        type,
        ...addressed,
        attempt,
        owner,
        result: outcome,
        done,
        hidden,
        next,
        buried: buried && done,
        kept: done ? kept : undefined,
        redrive: unclaimed ? redrive : undefined,
        unclaimed,
        sent,
      };
    }
    case "update":
      return { type, ...addressed, owner, result };
    case "extend":
      return { type, ...addressed, owner, lease, excused: draft.telling };
    case "release":
      return { type, ...addressed, owner, result: draft.keepsResult ? undefined : result, died: draft.telling };
    case "revoke":
      return { type, ...addressed, terminate, result, redrive: done ? redrive : undefined };
    case "forget":
      return { type, ...addressed, at: now };
    case "bury":
    case "store":
      return { type, ...addressed, result };
    default:
      return type satisfies never;
  }
}
