import { expect, test } from "vitest";
import { Stop } from "../../src/workers/stop.ts";

test("a signal that is asked for after the stop has aborted, with the first reason", () => {
  const stop = new Stop();
  stop.stop("first");
  stop.stop("second");
  expect(stop.signal.aborted).toBe(true);
  expect(stop.signal.reason).toBe("first");
});

test("a signal that was asked for before aborts with it", () => {
  const stop = new Stop();
  const { signal } = stop;
  expect(signal.aborted).toBe(false);
  stop.stop("why");
  expect(signal.reason).toBe("why");
});

test("a follower is stopped along, and stops by itself alone", () => {
  const stop = new Stop();
  const soft = stop.follower();
  soft.stop("soft");
  expect(stop.isStopped).toBe(false);

  const second = stop.follower();
  stop.stop("told");
  expect(second.reason).toBe("told");
  expect(stop.follower().reason).toBe("told");
});

test("one that has left is not stopped along", () => {
  const stop = new Stop();
  const over = stop.follower();
  stop.leave();
  stop.stop("told");
  expect(over.isStopped).toBe(false);
});
