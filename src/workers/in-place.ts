/**
 * Retries on a FIFO queue. The message stays where it is, so that its group keeps its order, and comes back as it was
 * first sent; which attempt it stands for by now, and with what arguments, is what the row says.
 */
import { attemptOf, type Message } from "../protocol/message.ts";
import type { Row } from "../results/backend.ts";
import { type InPlace, isInPlace, readNext, retryMessage } from "./follow.ts";

export interface InPlaceAttempt {
  readonly message: Message;
  readonly place: InPlace;
}

/** The attempt that a FIFO queue's message stands for by its row, where that is a later one than the message says. */
export function attemptInPlace(queue: string, message: Message, row: Row): InPlaceAttempt | undefined {
  if (row.next === undefined) return undefined;
  const { inPlace, retry: asked } = readNext(row.next);
  // One that leaves the queue is sent, and the message stands for the attempt that asked for it.
  const retry = asked !== undefined && isInPlace(queue, asked) ? asked : undefined;
  const retries = inPlace?.retries ?? message.retries;
  if (retry === undefined && inPlace === undefined) return undefined;
  const change = { eta: null, ...inPlace?.change, ...retry };
  const headers = { ...inPlace?.change.headers, ...retry?.headers };
  const place: InPlace = {
    retries: retry === undefined ? retries : retries + 1,
    change: { ...change, ...(Object.keys(headers).length === 0 ? {} : { headers }) },
  };
  const later = retryMessage({ ...message, retries: place.retries - 1 }, place.change);
  // A row of another message of the task, such as its replacement, says nothing about this one.
  const isNext = attemptOf(later) === (row.attempt ?? 0) + (retry === undefined ? 0 : 1);
  return isNext && attemptOf(later) > attemptOf(message) ? { message: later, place } : undefined;
}
