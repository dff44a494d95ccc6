/** The wait of a receive, for brokers that live on this machine: look, take, else sleep until there may be something. */
import { OperationalError } from "../errors.ts";
import { overOrAborted, type Wait } from "../wait.ts";
import type { Delivery, ReceiveOptions } from "./broker.ts";

export interface LongPoll extends Pick<ReceiveOptions, "max" | "wait" | "signal"> {
  readonly now: () => number;
  /** The broker has closed, and has ended the wait. */
  readonly isClosed: () => boolean;
  /** Looks without writing: something can be taken, or from when on (milliseconds since the epoch; `Infinity`: nobody knows). */
  readonly look: (now: number) => "ready" | number;
  /** Empty when another receiver was faster. */
  readonly take: (max: number) => readonly Delivery[] | Promise<readonly Delivery[]>;
  /** Begins to wait until `look` may say something new: nothing that came after the last look is missed. */
  readonly changed: () => Wait;
}

/** A longer timer than this fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export async function longPoll(poll: LongPoll): Promise<readonly Delivery[]> {
  // Who asks again and again would never let the event loop turn, if there were just nothing.
  if (poll.isClosed()) throw new OperationalError("the broker is closed already", { retryable: true });
  const max = Math.max(1, Math.floor(poll.max));
  const deadline = performance.now() + poll.wait;
  const over = () => performance.now() >= deadline || poll.signal?.aborted === true;
  for (;;) {
    if (poll.isClosed()) return [];
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
  const wait = poll.changed();
  const timer = setTimeout(wait.end, Math.min(Math.ceil(ms), LONGEST_TIMER_MS));
  await overOrAborted(wait, poll.signal);
  clearTimeout(timer);
}
