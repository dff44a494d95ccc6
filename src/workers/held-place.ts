/**
 * Retries on a FIFO queue. The message that was received first keeps its place: it stays in flight, so that those behind it in
 * its group wait. Each attempt after the first is a message of its own, sent anew into a group of its own, which goes for it,
 * and which deletes it when the task has ended. So a retry is no receive of the first message, nor of those behind it: a service
 * that counts receives (`maxReceiveCount` of SQS) counts none of it against them.
 */
import { type Delivery, isFifo } from "../brokers/broker.ts";
import { createMessage, type Message } from "../protocol/message.ts";
import { parseTime } from "../protocol/time.ts";
import { stableId } from "../stable-id.ts";
import type { Addressed } from "../tasks/publish.ts";
import type { WorkerContext } from "./context.ts";
import { type Disposition, handBack } from "./disposition.ts";
import type { RetryChange } from "./trace.ts";

/** The place of a message in its group. */
export interface HeldPlace {
  /** By which the message that keeps it is deleted. */
  readonly receipt: string;
  readonly group: string;
}

/** The property of a message that goes for another. */
const PROPERTY = "held_place";

/** The group of what goes for a task's first message: that one's own is kept back. */
const groupFor = (id: string): string => stableId("retry", id);

/**
 * The place that another message keeps for a delivery, if it goes for one. A dead letter that was sent back is in the group of
 * its task, and goes for nobody any more.
 */
export function carriedPlace({ queue, body, groupId }: Delivery): HeldPlace | undefined {
  if (!isFifo(queue) || !body.includes(PROPERTY)) return undefined;
  try {
    const { headers, properties } = JSON.parse(body);
    const { receipt, group } = properties[PROPERTY];
    return groupId === groupFor(headers.id) ? { receipt: String(receipt), group: String(group) } : undefined;
  } catch {
    // Somebody else's text.
    return undefined;
  }
}

/** A message on its way to go for another one. */
export const goingFor = (message: Message, place: HeldPlace): Pick<Addressed, "message" | "groupId"> => ({
  message: createMessage({ ...message, properties: { ...message.properties, [PROPERTY]: place } }),
  groupId: groupFor(message.id),
});

/** What a message has that is nobody's but its own: the place it goes for, and the id by which copies of it are dropped. */
export const OWN_PROPERTIES = { [PROPERTY]: undefined, MessageDeduplicationId: undefined } as const;

/** Whether a retry keeps its place: it does not leave the queue. */
export const keepsPlace = (queue: string, { queue: target = queue }: Pick<RetryChange, "queue">): boolean =>
  isFifo(queue) && target === queue;

/** A retry that needs the place of the message which was received first. */
export interface Kept {
  /** When it is due; `null`: at once, or it runs. */
  readonly eta: string | null;
}

/**
 * Beyond the time that the retry waits. It is not waited for: who ends the task deletes the message that keeps the place. Where
 * nobody does (the retry was purged, or a Python worker took it), the group waits so long. Attempts that take
 * longer cost a receive every few minutes from then on.
 */
const KEEP_MS = 3_600_000;

const waitOf = ({ engine }: WorkerContext, { eta }: Kept): number =>
  eta === null ? 0 : Math.max(0, parseTime(eta) - engine.clock.now());

/** The message stays hidden while the retry waits and runs. On SQS, where nothing is hidden for longer than twelve hours, it comes back now and then. */
export function keepPlace(context: WorkerContext, kept: Kept): Disposition {
  return { type: "handBack", visibility: waitOf(context, kept) + KEEP_MS };
}

/** It came back. Who ends the task knows it by its last receipt only, and deletes nothing: it is to be looked at soon after the retry. */
export function returnTo(context: WorkerContext, delivery: Delivery, kept: Kept): Disposition {
  const { visibility } = handBack(delivery, context.engine.platform.random);
  return { type: "handBack", visibility: Math.max(visibility, waitOf(context, kept)) };
}
