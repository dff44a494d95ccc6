import type { Clock } from "../clock.ts";

/** A clock that stands still until it is moved: what sleeps on it wakes when it passes, and nobody waits in real time. */
export interface VirtualClock extends Clock {
  /**
   * Moves the clock to an instant, in milliseconds since the epoch, and wakes what has slept until then, the earliest
   * first. It may go back, as a machine's clock does when it is set; nothing wakes by that.
   */
  moveTo(time: number): void;
  /** When the next sleeper wakes, in milliseconds since the epoch; `undefined` where nobody sleeps. */
  next(): number | undefined;
}

interface Sleeper {
  readonly due: number;
  wake(): void;
}

/** Makes a clock that stands at an instant, in milliseconds since the epoch. Default: 2026-01-01T00:00:00Z. */
export function virtualClock(start: number = Date.UTC(2026, 0, 1)): VirtualClock {
  let time = start;
  const sleepers = new Set<Sleeper>();

  function next(): number | undefined {
    let first: number | undefined;
    for (const { due } of sleepers) if (first === undefined || due < first) first = due;
    return first;
  }

  return {
    now: () => time,
    next,
    sleep(ms, signal) {
      if (!(ms > 0) || signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const sleeper: Sleeper = {
          due: time + ms,
          wake() {
            sleepers.delete(sleeper);
            signal?.removeEventListener("abort", sleeper.wake);
            resolve();
          },
        };
        signal?.addEventListener("abort", sleeper.wake);
        sleepers.add(sleeper);
      });
    },
    moveTo(target) {
      time = target;
      const awake = [...sleepers].filter(({ due }) => due <= target).sort((a, b) => a.due - b.due);
      for (const sleeper of awake) sleeper.wake();
    },
  };
}
