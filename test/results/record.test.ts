import { describe, expect, test } from "vitest";
import type { Payload, Row } from "../../src/results/backend.ts";
import {
  type Bury,
  type Claim,
  type Command,
  decide,
  type Extend,
  type Final,
  type Forget,
  LEASE_MARGIN_MS,
  type Outcome,
  type Release,
  type Revoke,
  type Store,
  type Update,
} from "../../src/results/record.ts";

const START = Date.UTC(2026, 10, 24);
const LEASE_MS = 60_000;
const meta = (status: string, result: unknown = null) =>
  JSON.stringify({ status, result, traceback: null, children: [] });

/** One row and a clock: what a backend is to a task. */
function scene(stored?: Row) {
  let row = stored;
  let now = START;
  const apply = (command: Command): Outcome => {
    const { write, outcome } = decide(row, command);
    row = write ?? row;
    return outcome;
  };
  const key = "celery-task-meta-1";
  return {
    get row() {
      return row;
    },
    get now() {
      return now;
    },
    advance(ms: number) {
      now += ms;
    },
    /** What Python does: the whole item anew, with nothing of ours. */
    python(result: Payload) {
      row = { result, timestamp: now / 1000 };
    },
    claim: (owner: string, more: Partial<Claim> = {}) =>
      apply({
        type: "claim",
        key,
        now,
        attempt: 0,
        owner,
        lease: now + LEASE_MS,
        result: meta("STARTED"),
        hidden: false,
        ...more,
      }),
    final: (owner: string, more: Partial<Final> = {}) =>
      apply({
        type: "final",
        key,
        now,
        attempt: 0,
        owner,
        result: meta("SUCCESS", 3),
        done: true,
        hidden: false,
        ...more,
      }),
    retry: (owner: string, more: Partial<Final> = {}) =>
      apply({
        type: "final",
        key,
        now,
        attempt: 0,
        owner,
        result: meta("RETRY"),
        done: false,
        hidden: false,
        next: "next",
        ...more,
      }),
    update: (owner: string, more: Partial<Update> = {}) =>
      apply({ type: "update", key, now, owner, result: meta("PROGRESS"), ...more }),
    extend: (owner: string, more: Partial<Extend> = {}) =>
      apply({ type: "extend", key, now, owner, lease: now + LEASE_MS, ...more }),
    release: (owner: string, more: Partial<Release> = {}) => apply({ type: "release", key, now, owner, ...more }),
    revoke: (more: Partial<Revoke> = {}) =>
      apply({ type: "revoke", key, now, terminate: false, result: meta("REVOKED"), ...more }),
    forget: (more: Partial<Forget> = {}) => apply({ type: "forget", key, now, at: now, ...more }),
    bury: (more: Partial<Bury> = {}) => apply({ type: "bury", key, now, result: meta("FAILURE"), ...more }),
    store: (more: Partial<Store> = {}) => apply({ type: "store", key, now, result: meta("CUSTOM"), ...more }),
  };
}

const claimed = (runs = 1, revoked?: "revoke" | "terminate") => ({ type: "claimed", runs, revoked });
const written = (revoked?: "revoke" | "terminate") => ({ type: "written", revoked });
const REPLACED = 2 ** 32;

describe("named interleavings", () => {
  test("a retry lost between its row and its message: the duplicate is told the stored outcome and what follows", () => {
    const task = scene();
    task.claim("a");
    task.retry("a", { next: "the retry's message" });
    // The worker died before it sent the retry; its message comes again.
    expect(task.claim("b")).toMatchObject({ type: "settled", row: { next: "the retry's message", settled: true } });
    expect(task.claim("c", { attempt: 1 })).toEqual(claimed());
    expect(task.row).toEqual({
      result: meta("STARTED"),
      timestamp: START / 1000,
      attempt: 1,
      owner: "c",
      lease: START + LEASE_MS,
      runs: 1,
    });
    expect(task.claim("d")).toMatchObject({ type: "superseded" });
  });

  test("a replacement with the same id: it claims over what it replaces, whose duplicates are superseded", () => {
    const task = scene();
    task.claim("a", { attempt: 2 });
    expect(task.final("a", { attempt: 2, done: false, result: undefined, next: "the replacement" })).toEqual(written());
    expect(task.row?.result).toBe(meta("STARTED"));
    expect(task.claim("dup", { attempt: 2 })).toMatchObject({ type: "settled", row: { next: "the replacement" } });
    expect(task.claim("b", { attempt: REPLACED })).toEqual(claimed());
    expect(task.claim("dup", { attempt: 2 })).toMatchObject({ type: "superseded" });
    expect(task.final("b", { attempt: REPLACED })).toEqual(written());
    expect(task.claim("dup", { attempt: 2 })).toMatchObject({ type: "superseded" });
    expect(task.claim("dup", { attempt: REPLACED })).toMatchObject({ type: "settled" });
  });

  test("a retry that arrives before its row: it claims, and the late row of the attempt before is refused", () => {
    const task = scene();
    task.claim("a");
    expect(task.claim("b", { attempt: 1 })).toEqual(claimed());
    expect(task.retry("a")).toMatchObject({ type: "refused", row: { attempt: 1, owner: "b" } });
    expect(task.final("b", { attempt: 1 })).toEqual(written());
  });

  test("a second final of the same owner is written already, and changes nothing", () => {
    const task = scene();
    task.claim("a");
    task.final("a");
    const before = task.row;
    task.advance(1000);
    expect(task.final("a", { result: meta("FAILURE") })).toEqual(written());
    expect(task.row).toBe(before);
  });

  test("a claim whose reply is lost is claimed again, by the same owner in the same run, with a lease renewed", () => {
    const task = scene();
    task.claim("a");
    task.advance(LEASE_MS + LEASE_MARGIN_MS - 1);
    expect(task.claim("a")).toEqual(claimed(1));
    expect(task.row?.lease).toBe(task.now + LEASE_MS);
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    expect(task.claim("a")).toEqual(claimed(1));
  });

  test("a duplicate of a live run is told until when to hide, the margin included", () => {
    const task = scene();
    task.claim("a");
    const before = task.row;
    const running = { type: "running", until: START + LEASE_MS + LEASE_MARGIN_MS };
    expect(task.claim("b")).toEqual(running);
    task.advance(LEASE_MS + LEASE_MARGIN_MS - 1);
    expect(task.claim("b")).toEqual(running);
    expect(task.row).toBe(before);
    task.advance(1);
    expect(task.claim("b")).toEqual(claimed(2));
  });

  test("a take-over counts a death, and the late loser can write nothing", () => {
    const task = scene();
    task.claim("a");
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    expect(task.claim("b")).toEqual(claimed(2));
    const before = task.row;
    for (const late of [task.final("a"), task.retry("a"), task.update("a"), task.extend("a"), task.release("a")]) {
      expect(late).toMatchObject({ type: "refused", row: { owner: "b" } });
    }
    // It is heard of, so it has not died.
    expect(task.row).toEqual({ ...before, runs: 1, accounted: undefined });
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    expect(task.claim("c")).toEqual(claimed(2));
    expect(task.final("c")).toEqual(written());
    expect(task.row).toMatchObject({ runs: 2, owner: "c", done: true });
    expect(task.final("b")).toMatchObject({ type: "refused", row: { owner: "c" } });
    expect(task.row).toMatchObject({ runs: 2, done: true });
  });

  test("a loser of whom nobody took over is late, and still the owner", () => {
    const task = scene();
    task.claim("a");
    task.advance(10 * LEASE_MS);
    expect(task.extend("a")).toEqual(written());
    expect(task.claim("b")).toMatchObject({ type: "running" });
    task.advance(10 * LEASE_MS);
    expect(task.final("a")).toEqual(written());
  });

  test("a hand-back is no death: the next claim need not wait and keeps the count", () => {
    const task = scene();
    task.claim("a");
    expect(task.release("a")).toEqual(written());
    expect(task.release("a")).toEqual(written());
    expect(task.claim("b")).toEqual(claimed(1));
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    expect(task.claim("c")).toEqual(claimed(2));
    task.release("c");
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    expect(task.claim("d")).toEqual(claimed(2));
  });

  test("a hand-back may say what is to be read until the next claim, and shows nothing that is hidden", () => {
    const task = scene();
    task.claim("a", { result: "STARTED" });
    expect(task.release("a", { result: "PENDING" })).toEqual(written());
    expect(task.row).toMatchObject({ result: "PENDING", owner: "a" });
    const hidden = scene();
    hidden.claim("a", { hidden: true, result: "STARTED" });
    expect(hidden.release("a", { result: "PENDING" })).toEqual(written());
    expect(hidden.row).toMatchObject({ result: "STARTED", hidden: true });
  });

  test("a heartbeat that comes after the hand-back does not bring the lease back", () => {
    const task = scene();
    task.claim("a");
    task.release("a");
    expect(task.extend("a")).toMatchObject({ type: "refused" });
    expect(task.update("a")).toMatchObject({ type: "refused" });
    expect(task.claim("b")).toEqual(claimed(1));
  });

  test("a final that was only slow still counts after the hand-back, unless another owner was faster", () => {
    const task = scene();
    task.claim("a");
    task.release("a");
    expect(task.final("a")).toEqual(written());
    expect(task.claim("b")).toMatchObject({ type: "settled" });

    const raced = scene();
    raced.claim("a");
    raced.release("a");
    raced.claim("b");
    expect(raced.final("a")).toMatchObject({ type: "refused" });
  });

  test("Ignore, a final without a result, keeps the state last stored and guards the task", () => {
    const task = scene();
    task.claim("a");
    task.update("a", { result: meta("PROGRESS", 50) });
    expect(task.final("a", { result: undefined })).toEqual(written());
    expect(task.row).toMatchObject({ result: meta("PROGRESS", 50), done: true, settled: true });
    expect(task.claim("b")).toMatchObject({ type: "settled" });
  });

  test("an expired duplicate of a running task finds it running, and never overwrites it", () => {
    const task = scene();
    task.claim("a");
    const before = task.row;
    expect(task.claim("late", { result: meta("REVOKED") })).toMatchObject({ type: "running" });
    expect(task.final("late", { result: meta("REVOKED") })).toMatchObject({ type: "refused" });
    expect(task.row).toBe(before);
  });

  test("a forgotten row still guards against its duplicate", () => {
    const task = scene();
    task.claim("a");
    task.final("a");
    expect(task.forget()).toEqual(written());
    expect(task.row).toMatchObject({ hidden: true, done: true });
    expect(task.claim("b")).toMatchObject({ type: "settled", row: { hidden: true } });
    expect(task.claim("b", { attempt: 1 })).toMatchObject({ type: "superseded" });
  });

  test("a row forgotten while it runs stays forgotten through its outcome, its retry and its next run", () => {
    const task = scene();
    task.claim("a");
    task.forget();
    task.update("a");
    task.retry("a");
    expect(task.row).toMatchObject({ hidden: true, settled: true });
    task.claim("b", { attempt: 1 });
    expect(task.row?.hidden).toBe(true);
    task.final("b", { attempt: 1 });
    expect(task.row).toMatchObject({ hidden: true, done: true });
  });

  test("a row that was forgotten stays forgotten when it is revoked or buried", () => {
    for (const end of ["revoke", "bury"] as const) {
      const task = scene();
      task.claim("a");
      task.retry("a");
      task.forget();
      task[end]();
      expect(task.row).toMatchObject({ hidden: true, done: true });
    }
  });

  test("a revoke before the task started is final, and whatever message comes is told it", () => {
    const task = scene();
    expect(task.revoke()).toEqual(written("revoke"));
    expect(task.row).toEqual({
      result: meta("REVOKED"),
      timestamp: START / 1000,
      settled: true,
      done: true,
      revoked: "revoke",
    });
    for (const attempt of [0, 7, REPLACED]) {
      expect(task.claim("a", { attempt })).toMatchObject({ type: "settled", row: { revoked: "revoke" } });
    }
    expect(task.final("a")).toMatchObject({ type: "refused" });
    expect(task.revoke({ terminate: true })).toMatchObject({ type: "refused", row: { revoked: "revoke" } });
  });

  test("a revoke during a run is a mark, which the owner sees at its heartbeat and at its end", () => {
    const task = scene();
    task.claim("a");
    expect(task.revoke()).toEqual(written("revoke"));
    expect(task.row).toMatchObject({ result: meta("STARTED"), revoked: "revoke", owner: "a" });
    expect(task.row?.done).toBeUndefined();
    expect(task.extend("a")).toEqual(written("revoke"));
    expect(task.update("a")).toEqual(written("revoke"));
    expect(task.revoke({ terminate: true })).toEqual(written("terminate"));
    expect(task.extend("a")).toEqual(written("terminate"));
    expect(task.revoke()).toEqual(written("terminate"));
    expect(task.final("a")).toEqual(written("terminate"));
    expect(task.row).toMatchObject({ result: meta("SUCCESS", 3), done: true });
  });

  test("a mark outlives the owner that could not act on it: the next claim is told", () => {
    const task = scene();
    task.claim("a");
    task.revoke();
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    expect(task.claim("b")).toEqual(claimed(2, "revoke"));
    task.retry("b");
    expect(task.claim("c", { attempt: 1 })).toEqual(claimed(1, "revoke"));
    task.release("c");
    expect(task.claim("d", { attempt: 1 })).toEqual(claimed(1, "revoke"));
  });

  test("a revoke after the end is refused", () => {
    const task = scene();
    task.claim("a");
    task.final("a");
    const before = task.row;
    expect(task.revoke({ terminate: true })).toMatchObject({ type: "refused", row: { done: true } });
    expect(task.row).toBe(before);
  });

  test("a revoke between two attempts is final, and the retry's message is told it, so that its chord hears of it", () => {
    const task = scene();
    task.claim("a");
    task.retry("a");
    expect(task.revoke()).toEqual(written("revoke"));
    expect(task.row).toMatchObject({ result: meta("REVOKED"), done: true });
    expect(task.row?.next).toBeUndefined();
    expect(task.claim("b", { attempt: 1 })).toMatchObject({ type: "settled", row: { revoked: "revoke" } });
    expect(task.claim("b")).toMatchObject({ type: "settled", row: { revoked: "revoke" } });
  });

  test("a revoke over an owner that seems dead is final, and the owner cannot take it for its own outcome", () => {
    const task = scene();
    task.claim("a");
    task.advance(LEASE_MS + LEASE_MARGIN_MS - 1);
    expect(task.revoke()).toEqual(written("revoke"));
    expect(task.row?.done).toBeUndefined();
    task.advance(1);
    expect(task.revoke()).toEqual(written("revoke"));
    expect(task.row).toMatchObject({ result: meta("REVOKED"), done: true });
    expect(task.final("a")).toMatchObject({ type: "refused", row: { done: true } });
    expect(task.extend("a")).toMatchObject({ type: "refused" });
    expect(task.release("a")).toMatchObject({ type: "refused" });
  });

  test("a Python writer that replaces the item takes the row from its owner, and an outcome of its own is the outcome", () => {
    const task = scene();
    task.claim("a");
    task.python(meta("SUCCESS", 9));
    expect(task.final("a")).toMatchObject({ type: "refused", row: { result: meta("SUCCESS", 9) } });
    expect(task.update("a")).toMatchObject({ type: "refused" });
    expect(task.claim("b")).toMatchObject({ type: "superseded", row: { result: meta("SUCCESS", 9) } });
    expect(task.claim("b", { attempt: 5 })).toMatchObject({ type: "superseded" });
  });
});

describe("claim over a row that Python wrote", () => {
  test.each(["SUCCESS", "FAILURE", "REVOKED"])("%s is an end", (status) => {
    const task = scene({ result: meta(status), timestamp: 1 });
    expect(task.claim("a")).toMatchObject({ type: "superseded" });
  });

  test.each(["PENDING", "STARTED", "RETRY", "PROGRESS"])("%s can be claimed", (status) => {
    const task = scene({ result: meta(status), timestamp: 1 });
    expect(task.claim("a")).toEqual(claimed());
  });

  test("the bytes of a JSON text are read as well", () => {
    const bytes = (status: string) => new TextEncoder().encode(meta(status));
    expect(scene({ result: bytes("SUCCESS"), timestamp: 1 }).claim("a")).toMatchObject({ type: "superseded" });
    expect(scene({ result: bytes("STARTED"), timestamp: 1 }).claim("a")).toEqual(claimed());
  });

  test("a state inside the result is not the task's state", () => {
    const task = scene({ result: meta("STARTED", { status: "SUCCESS" }), timestamp: 1 });
    expect(task.claim("a")).toEqual(claimed());
  });

  test.each<[string, Payload]>([
    ["compressed", new Uint8Array([0, 99, 101])],
    ["empty", new Uint8Array()],
    ["cut off", '{"status": "SUCC'],
    ["a number", "1"],
    ["null", "null"],
    ["without a status", "{}"],
  ])("what cannot be read counts as not ready (%s)", (_, result) => {
    expect(scene({ result, timestamp: 1 }).claim("a")).toEqual(claimed());
  });

  test("our own state of the user's is not looked into: a running row is running whatever it stores", () => {
    const task = scene();
    task.claim("a");
    task.update("a", { result: meta("SUCCESS") });
    expect(task.claim("b")).toMatchObject({ type: "running" });
  });
});

describe("claim", () => {
  test("a first claim makes the row", () => {
    const task = scene();
    expect(task.claim("a", { attempt: 3, ttl: 99_999_999_999, hidden: true })).toEqual(claimed());
    expect(task.row).toEqual({
      result: meta("STARTED"),
      timestamp: START / 1000,
      ttl: 99_999_999_999,
      attempt: 3,
      owner: "a",
      lease: START + LEASE_MS,
      runs: 1,
      hidden: true,
    });
  });

  test("nothing is claimed over the last outcome, neither before nor after it", () => {
    const task = scene();
    task.claim("a", { attempt: 1 });
    task.final("a", { attempt: 1 });
    expect(task.claim("b", { attempt: 0 })).toMatchObject({ type: "superseded" });
    expect(task.claim("b", { attempt: 1 })).toMatchObject({ type: "settled" });
    expect(task.claim("b", { attempt: 2 })).toMatchObject({ type: "superseded" });
  });

  test("a later attempt starts its runs anew", () => {
    const task = scene();
    task.claim("a");
    task.advance(LEASE_MS + LEASE_MARGIN_MS);
    task.claim("b");
    task.retry("b");
    expect(task.claim("c", { attempt: 1 })).toEqual(claimed(1));
    expect(task.row?.next).toBeUndefined();
    expect(task.row?.settled).toBeUndefined();
  });
});

describe("a row whose ttl has passed", () => {
  const old: Row = {
    result: meta("SUCCESS"),
    timestamp: 1,
    ttl: START / 1000,
    attempt: 9,
    owner: "a",
    settled: true,
    done: true,
  };

  test("counts as absent for every command", () => {
    expect(scene(old).claim("b")).toEqual(claimed());
    expect(scene(old).final("a", { attempt: 9 })).toEqual({ type: "refused", row: undefined });
    expect(scene(old).update("a")).toEqual({ type: "refused", row: undefined });
    expect(scene(old).extend("a")).toEqual({ type: "refused", row: undefined });
    expect(scene(old).release("a")).toEqual({ type: "refused", row: undefined });
    expect(scene(old).forget()).toEqual({ type: "refused", row: undefined });
    expect(scene(old).revoke()).toEqual(written("revoke"));
    expect(scene(old).bury()).toEqual(written());
    expect(scene(old).store()).toEqual(written());
  });

  test("leaves nothing behind in the row that follows it", () => {
    const task = scene({ ...old, hidden: true, revoked: "terminate", redrive: 5, next: "x" });
    task.claim("b");
    expect(task.row).toEqual({
      result: meta("STARTED"),
      timestamp: START / 1000,
      attempt: 0,
      owner: "b",
      lease: START + LEASE_MS,
      runs: 1,
    });
  });

  test("is there until its second begins", () => {
    expect(scene({ ...old, ttl: START / 1000 + 1 }).claim("b")).toMatchObject({ type: "superseded" });
  });

  test("is renewed by every write that brings a ttl, and kept by those that do not", () => {
    const task = scene();
    const ttl = START / 1000 + 1000;
    task.claim("a", { ttl });
    task.update("a");
    expect(task.row?.ttl).toBe(ttl);
    task.extend("a", { ttl: ttl + 1 });
    expect(task.row?.ttl).toBe(ttl + 1);
    task.final("a");
    expect(task.row?.ttl).toBe(ttl + 1);
    task.forget({ ttl: ttl + 2 });
    expect(task.row?.ttl).toBe(ttl + 2);
  });
});

describe("final", () => {
  test("stores the outcome, keeps the owner and drops the lease", () => {
    const task = scene();
    task.claim("a");
    task.advance(500);
    task.final("a", { next: "next", hidden: true });
    expect(task.row).toEqual({
      result: meta("SUCCESS", 3),
      timestamp: (START + 500) / 1000,
      attempt: 0,
      owner: "a",
      runs: 1,
      settled: true,
      done: true,
      next: "next",
      hidden: true,
    });
  });

  test("is refused without a row, and for another attempt of the same owner", () => {
    expect(scene().final("a")).toEqual({ type: "refused", row: undefined });
    const task = scene();
    task.claim("a", { attempt: 1 });
    expect(task.final("a", { attempt: 0 })).toMatchObject({ type: "refused" });
    expect(task.final("a", { attempt: 2 })).toMatchObject({ type: "refused" });
  });

  describe("of a task that does not claim", () => {
    const unclaimed = { unclaimed: true };

    test("is written where there is no row, over Python's, and over an attempt before it", () => {
      const task = scene();
      expect(task.retry("a", unclaimed)).toEqual(written());
      expect(task.row).toMatchObject({ attempt: 0, owner: "a", settled: true });
      expect(task.final("b", { ...unclaimed, attempt: 1 })).toEqual(written());
      expect(scene({ result: meta("STARTED"), timestamp: 1 }).final("a", unclaimed)).toEqual(written());
    });

    test("is written over a run that claimed, which then has lost the row", () => {
      const task = scene();
      task.claim("a");
      expect(task.final("b", unclaimed)).toEqual(written());
      expect(task.final("a")).toMatchObject({ type: "refused", row: { owner: "b" } });
    });

    test("is refused where the task is done, ahead, or settled at this attempt", () => {
      const done = scene();
      done.claim("a");
      done.final("a");
      expect(done.final("b", { ...unclaimed, attempt: 1 })).toMatchObject({ type: "refused" });
      const ahead = scene();
      ahead.claim("a", { attempt: 1 });
      expect(ahead.final("b", unclaimed)).toMatchObject({ type: "refused" });
      const settled = scene();
      settled.claim("a");
      settled.retry("a");
      expect(settled.final("b", unclaimed)).toMatchObject({ type: "refused" });
      const revoked = scene();
      revoked.revoke();
      expect(revoked.final("b", unclaimed)).toMatchObject({ type: "refused", row: { revoked: "revoke" } });
      expect(scene({ result: meta("SUCCESS"), timestamp: 1 }).final("a", unclaimed)).toMatchObject({ type: "refused" });
    });

    test("is written once, however often it is sent", () => {
      const task = scene();
      task.final("a", unclaimed);
      const before = task.row;
      expect(task.final("a", unclaimed)).toEqual(written());
      expect(task.row).toBe(before);
    });

    test("without a result and without a row writes nothing", () => {
      const task = scene();
      expect(task.final("a", { ...unclaimed, result: undefined })).toEqual(written());
      expect(task.row).toBeUndefined();
    });

    test("of a redriven message is written over the dead letter's row", () => {
      const task = scene();
      task.bury();
      expect(task.final("a", unclaimed)).toEqual(written());
      expect(task.row).toMatchObject({ result: meta("SUCCESS", 3), done: true });
      expect(task.row?.buried).toBeUndefined();
    });
  });
});

describe("update and extend", () => {
  test("update touches result, timestamp and ttl only", () => {
    const task = scene();
    task.claim("a");
    const before = task.row;
    task.advance(500);
    expect(task.update("a", { ttl: 99_999_999_999 })).toEqual(written());
    expect(task.row).toEqual({
      ...before,
      result: meta("PROGRESS"),
      timestamp: (START + 500) / 1000,
      ttl: 99_999_999_999,
    });
  });

  test("extend touches the lease only", () => {
    const task = scene();
    task.claim("a");
    const before = task.row;
    task.advance(500);
    expect(task.extend("a")).toEqual(written());
    expect(task.row).toEqual({ ...before, lease: START + 500 + LEASE_MS });
  });

  test("both are refused without a row, to others, and after the end", () => {
    const task = scene();
    expect(task.update("a")).toEqual({ type: "refused", row: undefined });
    expect(task.extend("a")).toEqual({ type: "refused", row: undefined });
    task.claim("a");
    expect(task.update("b")).toMatchObject({ type: "refused" });
    expect(task.extend("b")).toMatchObject({ type: "refused" });
    task.retry("a");
    expect(task.update("a")).toMatchObject({ type: "refused" });
    expect(task.extend("a")).toMatchObject({ type: "refused" });
    expect(task.release("a")).toMatchObject({ type: "refused" });
  });
});

describe("dead letters", () => {
  test("bury ends a row that nobody runs, and whatever message comes is told it", () => {
    const task = scene();
    expect(task.bury()).toEqual(written());
    expect(task.row).toEqual({
      result: meta("FAILURE"),
      timestamp: START / 1000,
      settled: true,
      done: true,
      buried: true,
    });
    expect(task.claim("a", { attempt: 4 })).toMatchObject({ type: "settled" });
  });

  test("bury is refused over a lease that lives, and over an end", () => {
    const task = scene();
    task.claim("a");
    task.advance(LEASE_MS + LEASE_MARGIN_MS - 1);
    expect(task.bury()).toMatchObject({ type: "refused" });
    task.advance(1);
    expect(task.bury()).toEqual(written());
    expect(task.final("a")).toMatchObject({ type: "refused" });
    expect(task.bury()).toMatchObject({ type: "refused" });
    expect(scene({ result: meta("SUCCESS"), timestamp: 1 }).bury()).toMatchObject({ type: "refused" });
  });

  test("a redriven message claims the row again, once for each redrive", () => {
    const task = scene();
    task.claim("a");
    task.final("a", { result: meta("FAILURE"), buried: true });
    expect(task.claim("dup")).toMatchObject({ type: "settled" });
    expect(task.claim("b", { redrive: 100 })).toEqual({ ...claimed(), redrive: 100 });
    expect(task.row).toMatchObject({ owner: "b", redrive: 100 });
    expect(task.row?.done).toBeUndefined();
    expect(task.row?.buried).toBeUndefined();
    expect(task.claim("dup")).toMatchObject({ type: "running" });
    task.final("b", { result: meta("FAILURE"), buried: true });
    expect(task.claim("c", { redrive: 100 })).toMatchObject({ type: "settled" });
    expect(task.claim("c", { redrive: 99 })).toMatchObject({ type: "settled" });
    expect(task.claim("c", { redrive: 200 })).toEqual({ ...claimed(), redrive: 200 });
    task.final("c");
    expect(task.claim("d", { redrive: 300 })).toMatchObject({ type: "settled" });
  });

  test("a redrive that waits can be revoked, and one that has claimed cannot", () => {
    const task = scene();
    task.claim("a");
    task.final("a", { result: meta("FAILURE"), kept: "the message" });
    expect(task.revoke()).toMatchObject({ type: "refused" });
    task.claim("b", { redrive: 1 });
    task.final("b", { result: meta("FAILURE"), kept: "the message" });
    expect(task.revoke({ redrive: 1 })).toMatchObject({ type: "refused" });
    expect(task.revoke({ redrive: 2 })).toEqual(written("revoke"));
    expect(task.row).toMatchObject({ result: meta("REVOKED"), done: true, redrive: 2 });
    expect(task.row?.kept).toBeUndefined();
    for (const redrive of [1, 2, 3]) expect(task.claim("c", { redrive })).toMatchObject({ type: "settled" });
  });

  test("a redriven message claims what an unreadable copy of it was buried for", () => {
    const task = scene();
    task.bury();
    expect(task.claim("a", { attempt: 2, redrive: 100 })).toEqual({ ...claimed(), redrive: 100 });
    expect(task.row).toMatchObject({ attempt: 2, owner: "a" });
  });

  test("a row that no dead letter ended is not open to a redrive", () => {
    const task = scene();
    task.claim("a");
    task.final("a");
    expect(task.claim("b", { redrive: 100 })).toMatchObject({ type: "settled" });
  });
});

describe("forget and store", () => {
  test("forget is refused where there is nothing, and leaves the rest as it is", () => {
    const task = scene();
    expect(task.forget()).toEqual({ type: "refused", row: undefined });
    task.claim("a");
    const before = task.row;
    task.forget();
    expect(task.row).toEqual({ ...before, hidden: true, forgotten: START });
  });

  test("store writes over anything that is not done, and takes the row from nobody", () => {
    const task = scene();
    expect(task.store()).toEqual(written());
    expect(task.row).toEqual({ result: meta("CUSTOM"), timestamp: START / 1000 });
    task.claim("a");
    task.store();
    expect(task.row).toMatchObject({ result: meta("CUSTOM"), owner: "a", lease: START + LEASE_MS });
    task.final("a");
    expect(task.store()).toMatchObject({ type: "refused" });
  });

  test("store over an outcome that Python stored is refused", () => {
    expect(scene({ result: meta("SUCCESS"), timestamp: 1 }).store()).toMatchObject({ type: "refused" });
  });

  test("what is stored after a forget is to be read", () => {
    const group = scene();
    group.store({ result: '{"result": []}' });
    group.forget();
    expect(group.row?.hidden).toBe(true);
    group.store({ result: '{"result": [1]}' });
    expect(group.row).toEqual({ result: '{"result": [1]}', timestamp: START / 1000 });
  });
});

test("a decision changes neither the row nor the command", () => {
  const row: Row = Object.freeze({
    result: meta("STARTED"),
    timestamp: 1,
    attempt: 0,
    owner: "a",
    lease: START,
    runs: 1,
  });
  const task = scene(row);
  task.update("a");
  task.final("a");
  expect(row).toEqual({ result: meta("STARTED"), timestamp: 1, attempt: 0, owner: "a", lease: START, runs: 1 });
});
