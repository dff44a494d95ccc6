import fc from "fast-check";
import { expect, test } from "vitest";
import { MaxRetriesExceededError, Retry } from "../../src/errors.ts";
import { autoretryCountdown, exhausted, isAutoretried, mayRetry, retryTime } from "../../src/workers/retry.ts";

const half = () => 0.5;
const never = () => {
  throw new Error("nothing is drawn here");
};

test.each([
  [0, 3, true],
  [2, 3, true],
  [3, 3, false],
  [0, 0, false],
  [1_000_000, null, true],
])("after %i retries of %s another is allowed: %s", (retries, maxRetries, allowed) => {
  expect(mayRetry(retries, maxRetries)).toBe(allowed);
});

test.each([
  ["Celery's default of three minutes", {}, 180],
  ["the task's own delay", { defaultRetryDelay: 30 }, 30],
  ["the countdown of retryKwargs over it", { defaultRetryDelay: 30, retryKwargs: { countdown: 5 } }, 5],
  ["a countdown of 0", { retryKwargs: { countdown: 0 } }, 0],
])("without backoff, an automatic retry waits for %s, and draws nothing", (_, options, seconds) => {
  expect(autoretryCountdown(4, options, never)).toBe(seconds);
});

test.each([
  [true, [1, 2, 4, 8, 16]],
  [3, [3, 6, 12, 24, 48]],
  [2.9, [2, 4, 8, 16, 32]],
  [0.5, [1, 2, 4, 8, 16]],
])("retryBackoff %s waits for %j seconds", (retryBackoff, seconds) => {
  const options = { retryBackoff, retryJitter: false };
  expect(seconds.map((_, retries) => autoretryCountdown(retries, options, never))).toEqual(seconds);
});

test("a backoff is 600 s at most, or its own maximum, however many retries there were", () => {
  expect(autoretryCountdown(2_000, { retryBackoff: true, retryJitter: false }, never)).toBe(600);
  expect(autoretryCountdown(5, { retryBackoff: true, retryBackoffMax: 20, retryJitter: false }, never)).toBe(20);
  expect(autoretryCountdown(5, { retryBackoff: true, retryBackoffMax: 0, retryJitter: false }, never)).toBe(0);
});

test("jitter draws a whole number from 0 to the backoff, both ends included", () => {
  const options = { retryBackoff: true };
  expect(autoretryCountdown(4, options, () => 0)).toBe(0);
  expect(autoretryCountdown(4, options, half)).toBe(8);
  expect(autoretryCountdown(4, options, () => 1 - Number.EPSILON)).toBe(16);
  fc.assert(
    fc.property(
      fc.nat(2_000),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 1, max: 5_000 }),
      (retries, drawn, max) => {
        const countdown = autoretryCountdown(retries, { retryBackoff: true, retryBackoffMax: max }, () => drawn);
        expect(Number.isInteger(countdown)).toBe(true);
        expect(countdown).toBeGreaterThanOrEqual(0);
        expect(countdown).toBeLessThanOrEqual(Math.min(max, 2 ** retries));
      },
    ),
  );
});

test("an error is retried by itself when it is of a class named, subclasses included, and of none excepted", () => {
  class Busy extends Error {}
  class Gone extends Busy {}
  const options = { autoretryFor: [Busy], dontAutoretryFor: [Gone] };
  expect([new Busy(), new Gone(), new Error(), "text"].map((error) => isAutoretried(error, options))).toEqual([
    true,
    false,
    false,
    false,
  ]);
  expect(isAutoretried(new Busy(), {})).toBe(false);
});

test("the end of all retries is the last reason, or an error that counts them", () => {
  const reason = new RangeError("why");
  expect(exhausted("t", "id", 3, reason)).toBe(reason);
  const error = exhausted("tasks.t", "id", 1, undefined);
  expect(error).toBeInstanceOf(MaxRetriesExceededError);
  expect((error as Error).message).toBe("can't retry tasks.t[id] again: it has had 1 retry");
});

test("a retry is due at its instant, after its countdown, or after the default", () => {
  const due = (request: ConstructorParameters<typeof Retry>[1]) => retryTime(new Retry(undefined, request), 180, 1_000);
  expect([due({ eta: new Date(5_000) }), due({ countdown: 2 }), due({ countdown: 0 }), due({})]).toEqual([
    5_000, 3_000, 1_000, 181_000,
  ]);
});
