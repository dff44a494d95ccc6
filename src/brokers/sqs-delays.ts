/** Which delays beyond SQS's own are given to EventBridge Scheduler, and what is needed for it. */
import { type AwsUrl, numberOption, textOption } from "../aws/connection.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { type Due, isFifo, type Outgoing, sizeOf } from "./broker.ts";

/** Where entries go, and by whose hand they come back. */
export interface Scheduler {
  /** In both `{queue}` stands for the queue's name on SQS. */
  readonly role: string;
  readonly group: string;
  readonly key: string | undefined;
  /** Seconds of the shortest delay that an entry is made for. */
  readonly minDelay: number;
}

/** A text that is worth an entry. */
export type FarOff = Outgoing & { readonly due: Due };

/**
 * An entry fires within the minute that begins at its time, so it is aimed a minute early. What is early is sent again
 * for the rest of its time, by SQS's own delay, which is exact.
 */
export const LEAD_MS = 60_000;
/** Time for the request itself: an entry must not be made for an instant that is over. */
const MARGIN_MS = 15_000;
/**
 * An hour: four delays of SQS's, with three hops between them. An entry spares two of these (the last stays, and brings
 * the text from the entry's minute to its second), which cost more than the entry does as soon as they are not in large
 * batches. And a text that comes and goes by entry is late where Scheduler is; below an hour nothing is won by that.
 */
const MIN_DELAY_S = 3600;
/** Scheduler's limit of a target's input is 256 KB; this is below it, however a KB is counted. */
const MAX_INPUT = 256_000;
/** The end of the last year that Scheduler's expressions name. */
const LATEST = Date.UTC(2200, 0, 1);
/** What Scheduler would put something else in the place of. */
const PLACEHOLDER = "<aws.scheduler.";

export function schedulerOf({ options }: AwsUrl): Scheduler | undefined {
  const setting = "brokerTransportOptions";
  const text = (name: string) => textOption(setting, options, name);
  const refuse = (why: string) => {
    throw new ImproperlyConfigured(setting, why);
  };
  const minDelay = numberOption(setting, options, "scheduler_min_delay") ?? MIN_DELAY_S;
  if (minDelay < (LEAD_MS + MARGIN_MS) / 1000) {
    return refuse(
      `scheduler_min_delay must be at least ${(LEAD_MS + MARGIN_MS) / 1000} seconds, as an entry is aimed a minute early; given: ${minDelay}`,
    );
  }
  const role = text("scheduler_role_arn");
  if (role === undefined) return undefined;
  if (!/^arn:[\w-]+:iam::\d{12}:role\/\S+$/.test(role)) {
    return refuse(
      `scheduler_role_arn must be the ARN of a role, such as arn:aws:iam::123456789012:role/name; given: ${JSON.stringify(role)}`,
    );
  }
  const group = text("scheduler_group") ?? "default";
  if (!/^[\w.-]{1,64}$/.test(group.replaceAll("{queue}", "q"))) {
    return refuse(
      `scheduler_group must have 1 to 64 letters, digits, "-", "_" and ".", or {queue} for the queue's name; given: ${JSON.stringify(group)}`,
    );
  }
  return { role, group, key: text("scheduler_key_arn"), minDelay };
}

/** Whether an entry is made for a text: it is due late enough to be worth one, and comes out of it as it went in. */
export function isFarOff(entry: Outgoing, { minDelay }: Scheduler, now: number): entry is FarOff {
  return (
    entry.due !== undefined &&
    entry.due.at - now >= minDelay * 1000 &&
    entry.due.at < LATEST &&
    !isFifo(entry.queue) &&
    // An entry has a body alone: what says that a dead letter was sent back would be lost.
    Object.keys(entry.attributes ?? {}).length === 0 &&
    sizeOf(entry) <= MAX_INPUT &&
    !entry.body.includes(PLACEHOLDER)
  );
}
