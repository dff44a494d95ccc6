/**
 * The broker's port: what Lovage asks of a queue service. It is SQS's model (visibility, receipts, at least once), and
 * every implementation keeps to it; `testing/broker-contract.ts` says what that means, sentence by sentence.
 *
 * A broker moves text. It knows neither tasks nor messages.
 */
import { OperationalError, PayloadTooLarge } from "../errors.ts";
import type { Store, Unit } from "../unit.ts";

/** A text on its way into a queue. */
export interface Outgoing {
  /** The queue that it goes to. */
  readonly queue: string;
  /** The text of the message. */
  readonly body: string;
  /** Seconds, 0 to {@link BrokerLimits.maxDelaySeconds}; may have a fraction where the broker can. Refused on a FIFO queue. */
  readonly delaySeconds?: number;
  /** Set where `delaySeconds` ends before the text is due: a worker that gets it early sends it again for the rest of the time. */
  readonly due?: Due;
  /** 0 to 255, the higher the sooner, where {@link BrokerLimits.priority} says so; elsewhere it is only carried in the body. */
  readonly priority?: number;
  /** FIFO: the group whose order is kept (`"default"` when absent). Elsewhere: the tenant of a fair queue; of those of the same priority tenants take turns. */
  readonly groupId?: string;
  /** FIFO: a second text of the same id within five minutes is accepted and dropped. On other queues SQLite and memory do the same; SQS has no such thing there. */
  readonly deduplicationId?: string;
  /** Text attributes beside the body: what a dead letter says about itself. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Where it is put that cannot be put into its queue by who keeps it until it is {@link due}. Default: {@link deadLetterQueue} of its queue. */
  readonly deadLetters?: string;
}

/**
 * When a text is due that a single delay does not reach. A broker with somewhere to keep it may do so in place of the
 * delay: it hands the text out after `delaySeconds` at the earliest and when it is due at the latest, and counts a second
 * one of the same `id` and `at` as sent while the first is kept. Any other ignores it, and the text comes by hops.
 */
export interface Due {
  /** In milliseconds since the epoch. */
  readonly at: number;
  /** The same for every copy of the text. */
  readonly id: string;
}

/** A text handed out by a queue, hidden from others until its visibility ends. */
export interface Delivery {
  /** The queue that it came from. */
  readonly queue: string;
  /** Where the queue is several (`priorities`), and it was taken from another one than that of this name: which. */
  readonly band?: string;
  /** The text of the message. */
  readonly body: string;
  /** The broker's id of the text, the same at every delivery of it. */
  readonly messageId: string;
  /** What names this delivery to the broker; stale once the text was handed out again. */
  readonly receipt: string;
  /** How often it was handed out, this time included: 1 at first. */
  readonly receiveCount: number;
  /** When it was sent, in milliseconds since the epoch. */
  readonly sentAt: number;
  /** FIFO queues: the group whose order is kept. Standard queues: the tenant. */
  readonly groupId?: string;
  /** FIFO queues: the id by which a second message of the same id is dropped. */
  readonly deduplicationId?: string;
  /** Attributes of the message, by name, as `Outgoing.attributes` gave them. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** How messages are fetched. */
export interface ReceiveOptions {
  /** How many at most; the broker may hand out fewer. At least 1. */
  readonly max: number;
  /** How long to wait for the first one, in milliseconds; 0: do not. */
  readonly wait: number;
  /** For how long others shall not see it, in milliseconds. Default: the queue's own. */
  readonly visibility?: number;
  /** Ends the wait early. What was handed out until then is still returned. */
  readonly signal?: AbortSignal;
  /**
   * Only where the broker has a {@link Broker.store}: is told what is handed out in the unit in which it is taken, so that
   * more can be done in it. What it was told is returned too. Where the unit fails, nothing was taken, and its receipts name nothing.
   */
  readonly taken?: (deliveries: readonly Delivery[], unit: Unit) => void;
}

/** How many messages a queue has. */
export interface QueueSize {
  /** Could be received now. */
  readonly ready: number;
  /** Waits for its delay to pass. */
  readonly delayed: number;
  /** Handed out, neither deleted nor visible again. */
  readonly inFlight: number;
}

/** What a broker's service takes at most. */
export interface BrokerLimits {
  /** The largest text of any queue, attributes included, in bytes of UTF-8. SQS: 1 MiB. A queue may take less: {@link Broker.maxBytes}. */
  readonly maxBytes: number;
  /** The longest delay of one message, in seconds; `Infinity` where there is none. SQS: 900. */
  readonly maxDelaySeconds: number;
  /** The longest time a delivery can stay hidden, in seconds. SQS: 43,200. */
  readonly maxVisibilitySeconds: number;
  /** Whether a priority changes the order. */
  readonly priority: boolean;
  /** How long the workers of a broker may need to learn a new task, in seconds: so long a task that none knows is hidden before the next try. SQS: 60, a deploy that rolls out; embedded: 1. */
  readonly rolloutSeconds: number;
  /** How many texts one receive hands out at most, where there is a limit: what asks for more has to ask several times. SQS: 10. */
  readonly maxReceive?: number;
  /**
   * How often a text is handed out before the service itself makes it a dead letter, without a word to anybody. Where there
   * is such a number, a worker ends a task by itself before that. SQS: 1000, its largest `maxReceiveCount`.
   */
  readonly maxReceives?: number;
  /** Whether the broker itself tries again what failed for a passing reason, so that nobody else need. Default false. */
  readonly retries?: boolean;
}

/** One answer for each thing asked, in order: `undefined` for done, else why not. */
export type Settled = readonly (Error | undefined)[];

/**
 * A broker: queues that give a message out again until it is deleted, as SQS does. What each method promises is held by
 * `brokerContract` of `lovage/testing`.
 */
export interface Broker {
  /** What the service takes at most. */
  readonly limits: BrokerLimits;
  /** The same object as that of a result backend which is the same store: steps on both can be done together. Absent: this one offers no units. */
  readonly store?: Store | undefined;
  /**
   * Puts texts into queues. Each entry settles by itself: the others are sent when one is refused. Refusals are
   * `PayloadTooLarge`, `QueueNotFound`, or `OperationalError`.
   *
   * @param unit A unit of {@link store} that this is done in. The answer comes before it is durable.
   */
  send(entries: readonly Outgoing[], unit?: Unit): Promise<Settled>;
  /** Takes texts out of one queue. Throws `QueueNotFound` or `OperationalError`. */
  receive(queue: string, options: ReceiveOptions): Promise<readonly Delivery[]>;
  /** Deletes what was handed out. A stale receipt is no error and deletes nothing. `unit`: as for {@link send}. */
  delete(deliveries: readonly Delivery[], unit?: Unit): Promise<Settled>;
  /** Hides deliveries for so many milliseconds from now; 0 hands them back at once. A stale receipt is no error and changes nothing. */
  changeVisibility(entries: readonly { readonly delivery: Delivery; readonly visibility: number }[]): Promise<Settled>;
  /** The queues that exist, dead-letter queues included, sorted. */
  queues(): Promise<readonly string[]>;
  /** How many messages a queue has. It may be an estimate, as SQS's is. */
  size(queue: string): Promise<QueueSize>;
  /** The largest text of this queue, in bytes. Asked only of texts over {@link LEAST_MAX_BYTES}. Absent: it is the same for all. Never throws. */
  readonly maxBytes?: ((queue: string) => Promise<number>) | undefined;
  /**
   * When the oldest message was sent that could be received now, in milliseconds since the epoch; `undefined`: there is none.
   * Absent where the service does not say: SQS tells it to CloudWatch alone.
   */
  readonly oldest?: ((queue: string) => Promise<number | undefined>) | undefined;
  /** Deletes all texts of a queue, those in flight too. Returns how many, or `undefined` where the service does not say. */
  purge(queue: string): Promise<number | undefined>;
  /** Ends waits and closes what is open. The broker is not used afterwards. */
  close(): Promise<void>;
}

/** SQS's limit of a message, its attributes included, in bytes: 1 MiB. */
export const MAX_BYTES = 1024 * 1024;

/**
 * What a queue takes that says nothing else, or did so before August 2025, as Python's do: 256 KiB. Who sets less than that
 * is told by SQS.
 */
export const LEAST_MAX_BYTES = 256 * 1024;

/** SQS's limit of the attributes of a message. */
const MAX_ATTRIBUTES = 10;

/** The largest `maxReceiveCount` of SQS. */
export const MAX_RECEIVES = 1000;

/** The limits of a broker on this machine: SQS's size, so that what is sent here can be sent there, and no other. */
export const EMBEDDED_LIMITS: BrokerLimits = {
  maxBytes: MAX_BYTES,
  maxDelaySeconds: Number.POSITIVE_INFINITY,
  maxVisibilitySeconds: Number.POSITIVE_INFINITY,
  priority: true,
  rolloutSeconds: 1,
};
/** SQS's default visibility, in milliseconds. */
export const VISIBILITY_MS = 30_000;
/** For how long SQS knows a deduplication id again, in milliseconds. */
export const DEDUPLICATION_MS = 5 * 60_000;

/**
 * Why a broker cannot take an entry, by its limits alone: `PayloadTooLarge`, or an `OperationalError` that trying again
 * does not cure.
 */
export function refusal(entry: Outgoing, limits: BrokerLimits): Error | undefined {
  const refuse = (why: string) =>
    new OperationalError(`queue ${JSON.stringify(entry.queue)} refused a message: ${why}`, { retryable: false });
  const delay = entry.delaySeconds ?? 0;
  if (!(delay >= 0 && delay <= limits.maxDelaySeconds)) {
    return refuse(`a delay is 0 to ${limits.maxDelaySeconds} s, not ${delay}`);
  }
  if (delay > 0 && isFifo(entry.queue)) return refuse("a FIFO queue takes no delay for a single message");
  const count = Object.keys(entry.attributes ?? {}).length;
  if (count > MAX_ATTRIBUTES) return refuse(`a message has at most ${MAX_ATTRIBUTES} attributes, not ${count}`);
  // A character has three bytes at most, so that most texts need not be measured.
  if (entry.attributes === undefined && entry.body.length * 3 <= limits.maxBytes) return undefined;
  const size = sizeOf(entry);
  return size > limits.maxBytes ? new PayloadTooLarge("the message", size, limits.maxBytes) : undefined;
}

/** What SQS counts of an entry, in bytes: the body, and name, type and value of each attribute. */
export function sizeOf(entry: Outgoing): number {
  return Object.entries(entry.attributes ?? {}).reduce(
    (sum, [name, value]) => sum + utf8Bytes(name) + "String".length + utf8Bytes(value),
    utf8Bytes(entry.body),
  );
}

/** The entry with those of further attributes that there is room for, the first ones first. */
export function withAttributes(
  entry: Outgoing,
  attributes: Readonly<Record<string, string>>,
  maxBytes: number,
): Outgoing {
  let fits = entry;
  for (const [name, text] of Object.entries(attributes)) {
    const more = { ...fits, attributes: { ...fits.attributes, [name]: text } };
    if (Object.keys(more.attributes).length <= MAX_ATTRIBUTES && sizeOf(more) <= maxBytes) fits = more;
  }
  return fits;
}

const encoder = new TextEncoder();
const utf8Bytes = (text: string): number => encoder.encode(text).length;

/** FIFO queues end in `.fifo`, as in SQS. */
export const isFifo = (queue: string): boolean => queue.endsWith(".fifo");

/** The queue that takes the dead letters of a queue: `media` → `media-dlq`, `orders.fifo` → `orders-dlq.fifo`. */
export function deadLetterQueue(queue: string): string {
  return isFifo(queue) ? `${queue.slice(0, -".fifo".length)}-dlq.fifo` : `${queue}-dlq`;
}

/** Whether a queue is one that takes dead letters. */
export const isDeadLetterQueue = (queue: string): boolean => /-dlq(\.fifo)?$/.test(queue);

/** What opens a broker: `now` is milliseconds since the epoch, `random` a number in [0, 1). */
export interface BrokerContext {
  /** Milliseconds since 1970. Read the time from here alone, so that tests can set it. */
  readonly now: () => number;
  /** A number from 0 up to 1, for waits between tries. */
  readonly random: () => number;
  /** The setting `brokerTransportOptions`. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Opens a broker for a URL: what the module of `registerBroker` exports as `open`. */
export type OpenBroker = (url: string, context: BrokerContext) => Broker | Promise<Broker>;
