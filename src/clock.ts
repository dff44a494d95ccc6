/** Where time comes from. Everything that waits or looks at the time does so through one of these, so that tests need not wait. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after so many milliseconds, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Milliseconds since some moment, which no setting of the clock changes; it stands still while the machine sleeps. Default: `now`. */
  readonly elapsed?: (() => number) | undefined;
}

/** What a clock says of how much time has passed: for limits, which a clock that is set forward must not end. */
export const elapsedOf = (clock: Clock): number => clock.elapsed?.() ?? clock.now();

/** The longest time a platform's timer takes: 2^31 - 1 milliseconds. Longer ones fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: Date.now,
  elapsed: () => performance.now(),
  async sleep(ms, signal) {
    for (let left = ms; left > 0 && !signal?.aborted; left -= MAX_TIMER_MS) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, Math.min(left, MAX_TIMER_MS));
        function done() {
          clearTimeout(timer);
          signal?.removeEventListener("abort", done);
          resolve();
        }
        signal?.addEventListener("abort", done);
      });
    }
  },
};
