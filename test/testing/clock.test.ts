import { Lovage } from "lovage";
import { testApp, virtualClock } from "lovage/testing";
import { expect, test } from "vitest";

test("sleepers wake when the clock passes them, the earliest first", async () => {
  const clock = virtualClock(0);
  const woken: string[] = [];
  const sleeps = [
    clock.sleep(200).then(() => woken.push("late")),
    clock.sleep(100).then(() => woken.push("early")),
    clock.sleep(300).then(() => woken.push("never")),
  ];
  clock.moveTo(99);
  await undefined;
  expect([woken, clock.next()]).toEqual([[], 100]);
  clock.moveTo(250);
  await Promise.all(sleeps.slice(0, 2));
  expect([woken, clock.now(), clock.next()]).toEqual([["early", "late"], 250, 300]);
});

test("a sleep of nothing, or with a signal that has aborted, ends at once", async () => {
  const clock = virtualClock();
  await clock.sleep(0);
  await clock.sleep(-1);
  await clock.sleep(1000, AbortSignal.abort());
  expect(clock.next()).toBeUndefined();
});

test("a sleep ends when its signal aborts", async () => {
  const clock = virtualClock();
  const stop = new AbortController();
  const sleep = clock.sleep(1000, stop.signal);
  stop.abort();
  await sleep;
  expect(clock.next()).toBeUndefined();
});

test("the clock may go back, and nobody wakes by that", () => {
  const clock = virtualClock(1_000);
  void clock.sleep(500);
  clock.moveTo(0);
  expect([clock.now(), clock.next()]).toEqual([0, 1_500]);
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, { hours: -1 }, undefined])(
  "an app's clock moves on by no other than a duration: not by %o",
  async (by) => {
    await using t = testApp(new Lovage("tests"));
    const before = t.clock.now();
    await expect(t.advance(by as number)).rejects.toThrow(/^advance:? must be /);
    expect(t.clock.now()).toBe(before);
  },
);
