/**
 * Dead letters: looked at, sent back, deleted. Nothing is lost wherever this is interrupted: a letter is deleted after
 * its copy was accepted, and one that was only looked at is hidden for a minute at most.
 */
import { DecodeError, PayloadTooLarge } from "../errors.ts";
import { matchGlob } from "../glob.ts";
import { compressionType } from "../protocol/compression.ts";
import { decodeEnvelope, encodeEnvelope, peekEnvelope } from "../protocol/envelope.ts";
import { createMessage, type Message, UNIQUE_HEADER } from "../protocol/message.ts";
import { parseTime } from "../protocol/time.ts";
import { type Broker, type Delivery, deadLetterQueue, type Outgoing } from "./broker.ts";

/** A dead letter, and what is known of it. What a worker did not write, as when SQS moved it itself, is not there. */
export interface DeadLetter {
  readonly delivery: Delivery;
  /** The queue that it came from. */
  readonly queue: string;
  readonly reason: string | undefined;
  /** The error's name. */
  readonly error: string | undefined;
  readonly task: string | undefined;
  /** Of the task. */
  readonly id: string | undefined;
  /** How often it was handed out before it was given up. */
  readonly deliveries: number | undefined;
  /** When it was sent first, and when it became a dead letter. */
  readonly sentAt: Date | undefined;
  readonly deadAt: Date | undefined;
}

/** Which letters are meant: those that match all that is given. */
export interface DeadLetterFilter {
  /** Tasks' names, or patterns such as `media.*`. */
  readonly task?: readonly string[] | undefined;
  /** A part of the reason or of the error's name, in upper or lower case. */
  readonly error?: string | undefined;
  /**
   * From this instant on, in milliseconds since the epoch, by when it became a dead letter, or where nobody wrote that, when
   * it was sent.
   */
  readonly from?: number | undefined;
  /** Before this instant. */
  readonly to?: number | undefined;
  /** Ids of tasks, or the broker's of messages. */
  readonly id?: readonly string[] | undefined;
}

export interface RedriveOptions {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** In place of the arguments that the message has. */
  readonly args?: readonly unknown[] | undefined;
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Default: a body is a text, and goes as it is. */
  readonly texts?: Texts;
}

/** What may be in a body's place. */
export interface Texts {
  /** The text that a body is, or leads to. */
  whole(body: string): Promise<string>;
  /** The text as it is sent to a queue: where it is too large for that, what is put in its place. */
  fit(queue: string, message: Message, text: string): Promise<string>;
  /** A body that is sent again: what it leads to is kept as long as for any other that is sent now. */
  renew(body: string): Promise<string>;
}

/** Taken at a time: what is in memory at most. */
const BATCH = 100;
/** So long nobody else sees a letter that is being looked at, in milliseconds. */
const VISIBILITY_MS = 60_000;
/** Without waiting, SQS asks only some of its machines, and a queue may look empty that is not. Who hands out all at once has one. */
const WAIT_MS = 1_000;

/**
 * The letters of a queue that match, each once, handed out to whoever asks for them: they are hidden meanwhile. Those
 * that do not match, and at the end those that nobody has deleted, are handed back. On a FIFO queue a letter that stays
 * keeps back the rest of its group.
 */
export async function* takeDeadLetters(
  broker: Broker,
  queue: string,
  filter: DeadLetterFilter,
  options: { readonly wait?: number } = {},
): AsyncGenerator<DeadLetter, void, undefined> {
  const seen = new Map<string, Delivery>();
  const dead = deadLetterQueue(queue);
  const matches = matcher(filter);
  if (!(await broker.queues()).includes(dead)) return;
  try {
    for (;;) {
      const wait = options.wait ?? (broker.limits.maxReceive === undefined ? 0 : WAIT_MS);
      const deliveries = await broker.receive(dead, { max: BATCH, wait, visibility: VISIBILITY_MS });
      const fresh = deliveries.filter(({ messageId }) => !seen.has(messageId));
      // Without its body: what is kept to be handed back is small.
      for (const delivery of deliveries) seen.set(delivery.messageId, { ...delivery, body: "" });
      // All of them come for the second time: the first of them are visible again, and there is no end to it.
      if (fresh.length === 0) return;
      for (const delivery of fresh) {
        const letter = readDeadLetter(delivery, queue);
        if (matches(letter)) yield letter;
      }
    }
  } finally {
    // Of those that are gone the receipt is stale, which is no error.
    await broker.changeVisibility([...seen.values()].map((delivery) => ({ delivery, visibility: 0 })));
  }
}

/** What is known of a dead letter, by its attributes and else by its body. Never throws. */
export function readDeadLetter(handedOut: Delivery, queue: string): DeadLetter {
  const delivery = unwrapped(handedOut);
  const { reason, error, deliveries, sentAt, deadAt, ...rest } = delivery.attributes;
  const peeked = rest["id"] === undefined || rest["task"] === undefined ? peekEnvelope(delivery.body) : {};
  return {
    delivery,
    queue,
    reason,
    error,
    task: rest["task"] ?? peeked.task,
    id: rest["id"] ?? peeked.id,
    deliveries: deliveries === undefined ? undefined : Number(deliveries),
    sentAt: sentAt === undefined ? new Date(delivery.sentAt) : toDate(sentAt),
    deadAt: deadAt === undefined ? undefined : toDate(deadAt),
  };
}

/**
 * A message that EventBridge Scheduler kept and could not send comes as the request that failed, and why in attributes of
 * Scheduler's own.
 */
function unwrapped(delivery: Delivery): Delivery {
  const { SCHEDULE_ARN, ERROR_CODE, ERROR_MESSAGE, ...others } = delivery.attributes;
  if (SCHEDULE_ARN === undefined) return delivery;
  return {
    ...delivery,
    body: messageBodyOf(delivery.body) ?? delivery.body,
    attributes: {
      ...others,
      ...(ERROR_CODE !== undefined && { error: ERROR_CODE }),
      reason: `EventBridge Scheduler could not send it: ${ERROR_MESSAGE ?? ERROR_CODE ?? "it does not say why"}`,
    },
  };
}

/** The body within a request to SQS. */
function messageBodyOf(request: string): string | undefined {
  try {
    const { MessageBody }: { readonly MessageBody?: unknown } = Object(JSON.parse(request));
    return typeof MessageBody === "string" ? MessageBody : undefined;
  } catch {
    return undefined;
  }
}

function toDate(text: string): Date | undefined {
  try {
    return new Date(parseTime(text));
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** Whether a letter is meant. */
function matcher({ task, error, from, to, id }: DeadLetterFilter): (letter: DeadLetter) => boolean {
  const patterns = task?.map(matchGlob);
  const sought = error?.toLowerCase();
  const ids = id && new Set(id);
  return (letter) => {
    const at = (letter.deadAt ?? letter.sentAt ?? new Date(0)).getTime();
    return (
      (patterns === undefined || patterns.some((matches) => letter.task !== undefined && matches(letter.task))) &&
      (sought === undefined || `${letter.error ?? ""} ${letter.reason ?? ""}`.toLowerCase().includes(sought)) &&
      (from === undefined || at >= from) &&
      (to === undefined || at < to) &&
      (ids === undefined || ids.has(letter.delivery.messageId) || (letter.id !== undefined && ids.has(letter.id)))
    );
  };
}

/**
 * Sends a letter back to its queue and then deletes it. Its copy says when it was sent back, by which it may claim the
 * task's row again, once; and it has a deduplication id of its own, or a FIFO queue would drop it as a duplicate.
 * Between the two steps it is there twice, which the row sorts out. Returns which redrive it is. Throws the broker's refusal, or `DecodeError` where
 * arguments are given and the body cannot be read; the letter stays.
 */
export async function redrive(broker: Broker, letter: DeadLetter, options: RedriveOptions): Promise<number> {
  const { delivery, queue } = letter;
  const whole = await (options.texts ?? AS_IS).whole(delivery.body).catch(() => delivery.body);
  const again: Again = {
    queue,
    body: await bodyOf(queue, delivery.body, options),
    priority: peekEnvelope(whole).priority,
    groupId: delivery.groupId,
    deduplicationId: `redrive-${delivery.messageId}-${options.now}`,
    // A clock may be behind that of who sent it back before.
    redrive: Math.max(options.now, (Number(delivery.attributes["redrivenAt"]) || 0) + 1),
  };
  const send = async (entry: Outgoing) => {
    const [refused] = await broker.send([entry]);
    if (refused !== undefined) throw refused;
  };
  await sendAgain(send, again, options.now);
  await discard(broker, letter);
  return again.redrive;
}

/** A message that is sent again, to run although its task has failed. */
export interface Again {
  readonly queue: string;
  readonly body: string;
  readonly priority: number | undefined;
  readonly groupId: string | undefined;
  /** Of its own, or a FIFO queue would drop it as a duplicate. */
  readonly deduplicationId: string;
  /** By which it may claim the task's row, once: larger than any before. */
  readonly redrive: number;
}

/** Throws what `send` throws. */
export async function sendAgain(
  send: (entry: Outgoing) => Promise<void>,
  { queue, body, priority, groupId, deduplicationId, redrive }: Again,
  now: number,
): Promise<void> {
  const attributes = { redrivenAt: String(redrive) };
  const copy = {
    queue,
    body,
    ...(priority !== undefined && { priority }),
    ...(groupId !== undefined && { groupId }),
    deduplicationId,
    attributes,
  };
  try {
    await send(copy);
  } catch (error) {
    if (!(error instanceof PayloadTooLarge)) throw error;
    // A body that fills a message leaves no room to say that it was sent back.
    const smaller = await compressed(body, now);
    // Where no row is to be claimed, that is not missed.
    await send(smaller === undefined ? { ...copy, attributes: {} } : { ...copy, body: smaller });
  }
}

/** Deletes a letter for ever. */
export async function discard(broker: Broker, { delivery }: DeadLetter): Promise<void> {
  const [refused] = await broker.delete([delivery]);
  if (refused !== undefined) throw refused;
}

/** The same message, smaller; nothing where it cannot be read. */
async function compressed(body: string, now: number): Promise<string | undefined> {
  try {
    const message = await decodeEnvelope(body, { accept: READABLE });
    return await encodeEnvelope(createMessage({ ...message, compression: compressionType("gzip") ?? null }), now);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** Whatever workers may read. */
export const READABLE = ["json", "yaml", "msgpack"];

const AS_IS: Texts = {
  whole: async (body) => body,
  fit: async (_queue, _message, text) => text,
  renew: async (body) => body,
};

async function bodyOf(
  queue: string,
  body: string,
  { now, args, kwargs, texts = AS_IS }: RedriveOptions,
): Promise<string> {
  if (args === undefined && kwargs === undefined) return texts.renew(body);
  const message = await decodeEnvelope(await texts.whole(body), { accept: READABLE });
  // Nor do the arguments of a later call take their place any more.
  const { [UNIQUE_HEADER]: _, ...headers } = message.headers;
  const changed = createMessage({
    ...message,
    headers,
    args: args ?? message.args,
    kwargs: kwargs ?? message.kwargs,
    // What they said of the arguments is no longer true.
    argsrepr: null,
    kwargsrepr: null,
  });
  return texts.fit(queue, changed, await encodeEnvelope(changed, now));
}
