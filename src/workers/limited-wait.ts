/** Who waits for a limit is sent anew for its own time, and says beside its text what it waits with. */
import { isFifo, type Outgoing } from "../brokers/broker.ts";
import type { Engine } from "../engine.ts";
import { PayloadTooLarge } from "../errors.ts";
import { formatTime, parseTime } from "../protocol/time.ts";
import { pack } from "../tasks/publish.ts";
import type { Job, WorkerContext } from "./context.ts";
import { DELETE, type Disposition } from "./disposition.ts";
import { isKept, waitingEntry } from "./note.ts";
import { fieldsOf, nameOf } from "./report.ts";

/** Where nothing bounds a delay, who waits looks so often whether its rate has changed, in milliseconds. */
const LOOK_MS = 60_000;

/** The option of a declaration that a task waits for. */
export type LimitName = "rateLimit" | "concurrency" | "debounce";

/** What a message carries that has waited: the text attribute `waits`, as JSON. */
export interface Waits {
  /** Until when, in milliseconds since the epoch, by the clock of who sent it; 0: it was woken. */
  readonly until: number;
  /** What it was told by the row of its rate. */
  readonly told?: { readonly at: number; readonly rate: string };
  /** Its turn among those who wait for a place. */
  readonly ticket?: number;
}

export function waitsOf({ attributes: { waits } }: Job["delivery"]): Waits | undefined {
  if (waits === undefined) return undefined;
  try {
    return JSON.parse(waits) as Waits;
  } catch {
    return undefined;
  }
}

/** Sends a message anew for its own time, and has the one that came deleted. `why`: it is told that it waits, and for what. */
export async function wait(context: WorkerContext, job: Job, waits: Waits, why?: LimitName): Promise<Disposition> {
  const { engine, log } = context;
  const { delivery, message } = job;
  const { queue } = delivery;
  const now = engine.clock.now();
  // What expires meanwhile is to end then, and not later.
  const expires = message.expires === null ? Number.POSITIVE_INFINITY : parseTime(message.expires) + 1;
  const until = Math.min(waits.until, expires);
  const stay: Disposition = { type: "handBack", visibility: until - now };
  // A FIFO queue takes no delay of a message: the declaration refuses one, and a call; this one came from elsewhere.
  if (isFifo(queue)) return stay;
  try {
    await engine.outbox.send(await packed(engine, job, Math.max(0, until - now), { ...waits, until }));
  } catch (error) {
    // It fills a message, and leaves no room to say that it waits.
    if (error instanceof PayloadTooLarge) return stay;
    throw error;
  }
  if (why === undefined) return DELETE;
  log("debug", `${nameOf(message)} waits for its ${why} until ${formatTime(until)}`, fieldsOf(message, queue));
  if (isKept(engine)) await context.note(waitingEntry(context, job, why, until));
  return DELETE;
}

/** The message as it came, to be had after so many milliseconds. */
export async function packed(engine: Engine, { message, delivery }: Job, ms: number, waits: Waits): Promise<Outgoing> {
  const { queue, body } = delivery;
  const attributes = { ...delivery.attributes, waits: JSON.stringify(waits) };
  const { limits } = await engine.broker();
  // What looks now and then sees that its rate was changed.
  const longest = Number.isFinite(limits.maxDelaySeconds) ? ms : Math.min(ms, LOOK_MS);
  return pack(engine, { message, queue, body, attributes, at: engine.clock.now() + longest });
}
