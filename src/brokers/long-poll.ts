/** The wait of a receive, for brokers that live on this machine: look, take, else sleep until there may be something. */
import type { Delivery, ReceiveOptions } from "./broker.ts";

export interface LongPoll extends Pick<ReceiveOptions, "max" | "wait" | "signal"> {
  readonly now: () => number;
  /** The broker closes. */
  readonly closing: AbortSignal;
  /** Looks without writing: something can be taken, or from when on (milliseconds since the epoch; `Infinity`: nobody knows). */
  readonly look: (now: number) => "ready" | number;
  /** Empty when another receiver was faster. */
  readonly take: (max: number) => readonly Delivery[] | Promise<readonly Delivery[]>;
  /** Resolves when `look` may say something new, no commit after the last look missed, or the signal aborts. */
  readonly changed: (signal: AbortSignal) => Promise<void>;
}

/** A longer timer than this fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export async function longPoll(poll: LongPoll): Promise<readonly Delivery[]> {
  const max = Math.max(1, Math.floor(poll.max));
  const deadline = performance.now() + poll.wait;
  const over = () => performance.now() >= deadline || poll.signal?.aborted === true;
  for (;;) {
    if (poll.closing.aborted) return [];
    const time = poll.now();
    const next = poll.look(time);
    if (next === "ready") {
      const taken = await poll.take(max);
      if (taken.length > 0 || over()) return taken;
    } else {
      if (over()) return [];
      await sleep(Math.min(deadline - performance.now(), next - time), poll);
    }
  }
}

async function sleep(ms: number, poll: LongPoll): Promise<void> {
  const awake = new AbortController();
  // With a reason, so that none is made up: an error with a stack for every wait.
  const wake = () => awake.abort("woken");
  const signals = [poll.closing, ...(poll.signal ? [poll.signal] : [])];
  const timer = setTimeout(wake, Math.min(Math.ceil(ms), LONGEST_TIMER_MS));
  for (const signal of signals) signal.addEventListener("abort", wake, { once: true });
  try {
    await poll.changed(awake.signal);
  } finally {
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", wake);
  }
}
