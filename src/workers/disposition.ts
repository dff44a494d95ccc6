/** What is to happen to a message, and when it is to come back. */
import type { BrokerLimits, Delivery } from "../brokers/broker.ts";

/** Return it to its queue, hidden for so many milliseconds. */
export interface HandBack {
  readonly type: "handBack";
  readonly visibility: number;
}

/** What a host does with the message of a delivery. */
export type Disposition =
  /** Its outcome is durable, and all that follows is sent: delete it. */
  | {
      readonly type: "delete";
      /** It was deleted in the unit in which its outcome was stored. */
      readonly done?: true;
    }
  | HandBack
  /** Another worker has it by now: do nothing. */
  | { readonly type: "leave" };

export const DELETE: Disposition = { type: "delete" };
export const DELETED: Disposition = { type: "delete", done: true };
export const LEAVE: Disposition = { type: "leave" };
/** Somebody shall take it again at once. */
export const HAND_BACK: Disposition = { type: "handBack", visibility: 0 };

/** A failed system is tried again after 5 s at first … */
const HAND_BACK_MIN_MS = 5_000;
/** … and after 300 s at last. */
const HAND_BACK_MAX_MS = 300_000;

/** Hands a message back, for longer the more often it came, and by chance, so that all who met a fault do not come back together. */
export function handBack(delivery: Pick<Delivery, "receiveCount">, random: () => number): HandBack {
  const ceiling = Math.min(HAND_BACK_MAX_MS, HAND_BACK_MIN_MS * 2 ** Math.min(delivery.receiveCount, 10));
  return { type: "handBack", visibility: Math.round(HAND_BACK_MIN_MS + random() * (ceiling - HAND_BACK_MIN_MS)) };
}

/**
 * The same, for no longer than a broker hides a message. SQS counts its twelve hours from when the message was received, and refuses
 * more: half of them may be over.
 */
export function withinLimits(disposition: HandBack, { maxVisibilitySeconds }: BrokerLimits): HandBack {
  return { ...disposition, visibility: Math.min(disposition.visibility, (maxVisibilitySeconds * 1000) / 2) };
}
