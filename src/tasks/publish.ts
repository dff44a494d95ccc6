/** The way of a call: options merged and checked → message → route → envelope → outbox. */
import { type Around, sendSteps, surround } from "../around.ts";
import { brief } from "../brief.ts";
import { signatureList } from "../canvas/wire-options.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { type Broker, isFifo, LEAST_MAX_BYTES, type Outgoing, sizeOf, withAttributes } from "../brokers/broker.ts";
import type { Outbox } from "../brokers/outbox.ts";
import type { Unit } from "../unit.ts";
import { type Destination, over, type Router } from "../brokers/routes.ts";
import { ImproperlyConfigured, PayloadTooLarge } from "../errors.ts";
import { compressionName, compressionType } from "../protocol/compression.ts";
import { decodeEnvelope, encodeEnvelope, encodeLong } from "../protocol/envelope.ts";
import type { LongText } from "../protocol/long-text.ts";
import { attemptOf, createMessage, type Message, type SignatureData } from "../protocol/message.ts";
import { contentTypeOf, type MaybePromise, serializerName } from "../protocol/serializers.ts";
import { formatTime, parseTime } from "../protocol/time.ts";
import { PlainDate } from "../protocol/values.ts";
import type { Payloads } from "../payloads/store.ts";
import { defined } from "../parse.ts";
import { isPointer, MESSAGE_DAYS, readKey, readPointer, SIZE_ATTRIBUTE } from "../protocol/pointer.ts";
import type { Emitter } from "../signals.ts";
import { currentScope } from "./context.ts";
import { checkKeys } from "./limits.ts";
import type { CallOptions, TaskOptions } from "./options.ts";
import { checkInput } from "./schema.ts";
import type { Task } from "./task.ts";

/** Whether a task of the app that is bundled has limits. */
declare const LOVAGE_LIMITS: boolean;

/** Options that only the engine and signatures give: where a message stands among others. */
export interface PublishOptions extends CallOptions {
  readonly rootId?: string | undefined;
  readonly parentId?: string | null | undefined;
  readonly groupId?: string | undefined;
  readonly groupIndex?: number | undefined;
  readonly chain?: readonly SignatureData[] | undefined;
  readonly chord?: SignatureData | undefined;
  readonly stamps?: Readonly<Record<string, unknown>> | undefined;
  readonly replacedTaskNesting?: number | undefined;
  /** Where the broker can: a second send under this id, within five minutes, is dropped. It does not travel. */
  readonly deduplicationId?: string | undefined;
}

/** What a call needs of its app. */
export interface PublishHost {
  readonly config: Config;
  readonly clock: Clock;
  readonly uuid: () => string;
  readonly emitter: Emitter;
  readonly arounds: ReadonlySet<Around>;
  readonly reportAround: (error: unknown) => void;
  readonly outbox: Outbox;
  readonly router: Router;
  /** At once where it is open. */
  brokerAtOnce(): MaybePromise<Broker>;
  /** What keeps texts that are too large for a message. */
  payloads(): Promise<Pick<Payloads, "put" | "renew"> | undefined>;
  /** What is declared of a task, whether its code is here or not. */
  declared(name: string): Task | undefined;
  /** The options in force: the declaration's, with the annotations of the config over them. */
  optionsOf(task: Task): TaskOptions;
}

/** A message and the queue it goes to. */
export interface Addressed {
  readonly message: Message;
  readonly queue: string;
  /** Its text, where it is at hand. */
  readonly body?: string | LongText;
  /** It follows from a task that had failed and was sent again: this may claim the row of what had failed along with it. */
  readonly redrive?: number;
  /** When it may be acted upon, in place of the message's own time, in milliseconds since the epoch. */
  readonly at?: number;
  /** In place of the group that the message says. */
  readonly groupId?: string;
  /** What stands beside the text of a message that is sent anew. A sender's own go along as far as there is room for them. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/**
 * Makes the message of a call, and its text before anything is awaited: what the caller does to the arguments after the
 * call changes nothing. Throws `ImproperlyConfigured`, `EncodeError`, `ValidationError`, `QueueNotFound`.
 */
export async function createCall(
  host: PublishHost,
  name: string,
  args: readonly unknown[],
  call: PublishOptions,
): Promise<Addressed> {
  const { config, clock } = host;
  const task = host.declared(name);
  const declared = task === undefined ? {} : host.optionsOf(task);
  const scope = currentScope();
  const kwargs = call.kwargs ?? {};
  const { kwargs: _, ...own } = call;
  const options = routed(host, name, args, kwargs, own);
  const queue = options.queue;
  const now = clock.now();
  const eta = etaOf(options, now);
  if (eta !== null && isFifo(queue)) {
    throw new ImproperlyConfigured(
      options.eta === undefined ? "countdown" : "eta",
      `the FIFO queue ${queue} takes no delay of a single message; send ${name} to a standard queue`,
    );
  }
  const id = options.taskId ?? host.uuid();
  const inherited = config.taskInheritParentPriority ? scope?.parent?.priority : undefined;
  const message = createMessage({
    id,
    task: name,
    args,
    kwargs,
    callbacks: signatureList(options.link),
    errbacks: signatureList(options.linkError),
    chain: options.chain ?? [],
    chord: options.chord ?? null,
    eta: eta === null ? null : formatTime(eta),
    expires: expiresOf(options.expires, now),
    // A signature of Python's may have 0, which is no limit there.
    timelimit: [call.timeLimit || null, call.softTimeLimit || null],
    ignoreResult: options.ignoreResult ?? config.taskIgnoreResult,
    rootId: options.rootId ?? scope?.parent?.rootId ?? id,
    parentId: options.parentId ?? scope?.parent?.id ?? null,
    group: options.groupId ?? null,
    groupIndex: options.groupIndex ?? null,
    replacedTaskNesting: options.replacedTaskNesting ?? 0,
    stampedHeaders: options.stamps === undefined ? null : Object.keys(options.stamps),
    stamps: options.stamps ?? {},
    shadow: options.shadow ?? null,
    argsrepr: options.argsrepr ?? null,
    kwargsrepr: options.kwargsrepr ?? null,
    headers: {
      ...options.headers,
      // A limit of this one call travels as a header of its own; Python's workers hand it through.
      ...(call.maxRetries === undefined ? {} : { max_retries: call.maxRetries }),
    },
    replyTo: "",
    priority: options.priority ?? inherited ?? config.taskDefaultPriority ?? null,
    deliveryInfo: { exchange: options.exchange, routingKey: options.routingKey },
    properties: groupProperties(options, queue),
    contentType: contentTypeFor(options.serializer ?? config.taskSerializer),
    compression: compressionOf(options.compression ?? config.taskCompression),
  });
  const body = encodeLong(message) ?? encodeEnvelope(message);
  if (task !== undefined) {
    const checking = checkInput(task, args, kwargs);
    if (checking !== undefined) await checking;
    if (declared.rateLimit !== undefined || declared.concurrency !== undefined)
      await checkLimited(task, declared, queue, { args, kwargs });
  }
  return { message, queue, body: body instanceof Promise ? await body : body };
}

/**
 * The options of a call and where it goes. As in Celery: the call's options come over the declaration's, and both over the
 * route's. Throws as the router does.
 */
export function routed(
  host: Pick<PublishHost, "declared" | "optionsOf" | "router">,
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  call: PublishOptions,
): PublishOptions & Destination {
  const task = host.declared(name);
  const declared = task === undefined ? {} : deliveryOptions(host.optionsOf(task));
  return host.router(routedAs(name, kwargs), args, kwargs, withoutAbsent(over(call, declared)), task);
}

/** Throws `LimitKeyError`, and `ImproperlyConfigured` for a queue on which nothing can wait. */
async function checkLimited(
  task: Task,
  options: TaskOptions,
  queue: string,
  call: { readonly args: readonly unknown[]; readonly kwargs: Readonly<Record<string, unknown>> },
): Promise<void> {
  if (isFifo(queue))
    throw new ImproperlyConfigured(
      options.rateLimit === undefined ? "concurrency" : "rateLimit",
      `a message of the FIFO queue ${queue} cannot wait by itself, as what is behind it would wait too; send ${task.name} to a standard queue`,
    );
  // Else the worker that the message comes to says what is wrong with a key.
  if (typeof LOVAGE_LIMITS === "undefined" || LOVAGE_LIMITS) await checkKeys(task, options, call);
}

/** What calls a task for each of its items goes where that task is known, as in Celery. */
function routedAs(name: string, kwargs: Readonly<Record<string, unknown>>): string {
  if (!["celery.map", "celery.starmap", "celery.chunks"].includes(name)) return name;
  const inner = kwargs["task"] as { readonly task?: unknown } | null | undefined;
  return typeof inner?.task === "string" ? inner.task : name;
}

/** Encodes a message and hands it to the broker; resolves when the broker has it. */
export async function send(
  host: PublishHost,
  addressed: Addressed,
  options: PublishOptions = {},
  unit?: Unit,
): Promise<void> {
  if (host.arounds.size === 0) return sendNow(host, addressed, options, unit);
  const { body, ...rest } = addressed;
  const { queue } = rest;
  const message = body === undefined ? rest.message : await reread(rest.message, body);
  const headers: Record<string, unknown> = {};
  const facts = { message, queue, headers };
  const steps = sendSteps(host.arounds, facts);
  // Whoever looks on sees what is sent, and no step towards it.
  const work = () => sendNow(host, { ...rest, message: withHeaders(message, headers) }, options, undefined);
  return surround(steps, work, () => {}, host.reportAround);
}

async function sendNow(
  host: PublishHost,
  addressed: Addressed,
  options: PublishOptions,
  unit: Unit | undefined,
): Promise<void> {
  const { config, emitter } = host;
  const { queue } = addressed;
  const sent = emitter.has("beforeTaskPublish") ? await announce(host, addressed) : addressed;
  const { deduplicationId } = options;
  const packed = await pack(host, sent);
  const entry = deduplicationId === undefined ? packed : { ...packed, deduplicationId };
  const opened = host.brokerAtOnce();
  const { limits } = opened instanceof Promise ? await opened : opened;
  const retry = options.retry ?? (config.taskPublishRetry && !limits.retries);
  await host.outbox.send(
    entry,
    retry ? { ...config.taskPublishRetryPolicy, ...defined(options.retryPolicy ?? {}) } : undefined,
    // Who is told that it was sent is told the truth.
    emitter.has("afterTaskPublish") ? undefined : unit,
  );
  if (emitter.has("afterTaskPublish")) await emitter.emit("afterTaskPublish", { message: sent.message, queue });
}

/** A message as the broker takes it: encoded, within its size, delayed until its `eta` or as long as the broker can. */
export async function pack(host: PublishHost, addressed: Addressed): Promise<Outgoing> {
  const { message, queue, body, redrive } = addressed;
  const opened = host.brokerAtOnce();
  const broker = opened instanceof Promise ? await opened : opened;
  const at = addressed.at ?? dueAt(message);
  // A FIFO queue takes no delay of one message: whoever receives it waits with it.
  const delay = isFifo(queue) ? 0 : Math.max(0, (at - host.clock.now()) / 1000);
  const longest = Math.min(broker.limits.maxDelaySeconds, host.config.brokerTransportOptions.maxDelay);
  const { MessageGroupId, MessageDeduplicationId } = message.properties;
  const groupId = addressed.groupId ?? MessageGroupId;
  const whole = body ?? encodeLong(message) ?? (await encodeEnvelope(message));
  const { redrivenAt = redrive, waits, ...others } = addressed.attributes ?? {};
  const own = {
    ...(redrivenAt === undefined ? {} : { redrivenAt: String(redrivenAt) }),
    ...(waits === undefined ? {} : { waits }),
  };
  const beside = Object.keys(own).length === 0 ? 0 : sizeOf({ queue, body: "", attributes: own });
  const text = isSmall(whole, leastOf(broker) - beside) ? whole : await fitted(host, queue, message, whole, at, beside);
  const attributes = { ...own, ...(text === whole ? {} : sizeAttribute(text)) };
  const entry: Outgoing = {
    queue,
    body: text,
    ...(delay > 0 ? { delaySeconds: Math.min(delay, longest) } : {}),
    ...(delay > longest ? { due: { at, id: `${message.id}\n${attemptOf(message)}` } } : {}),
    ...(message.priority === null ? {} : { priority: message.priority }),
    ...(typeof groupId === "string" ? { groupId } : {}),
    ...(typeof MessageDeduplicationId === "string" ? { deduplicationId: MessageDeduplicationId } : {}),
    ...(Object.keys(attributes).length === 0 ? {} : { attributes }),
  };
  if (Object.keys(others).length === 0) return entry;
  return withAttributes(entry, others, await mostOf(broker, queue, text.length * 3));
}

/**
 * The text of a message; where it is larger than a broker takes, compressed as every Celery reads it; where that does not help
 * either, and there is a store for it, a pointer to it. A pointer that comes in its place is renewed.
 *
 * @param at When it may be acted upon, in milliseconds since the epoch.
 * @param beside The bytes of what stands beside it.
 */
export async function fitted(
  host: PublishHost,
  queue: string,
  message: Message,
  text: string | LongText,
  at = dueAt(message),
  beside = 0,
): Promise<string> {
  const broker = await host.brokerAtOnce();
  const wait = Math.max(0, at - host.clock.now());
  const days = wait / DAY_MS + MESSAGE_DAYS;
  if (typeof text !== "string") {
    const { maxBytes } = broker.limits;
    if (text.least * 3 <= maxBytes) return [...text.pieces()].join("");
    const payloads = await host.payloads();
    if (payloads === undefined) throw new PayloadTooLarge("the message", text.least, maxBytes);
    return payloads.put(text, message.id, days);
  }
  // Without a store nobody here has put it.
  if (isPointer(text)) return (await host.payloads())?.renew(text, days) ?? text;
  // A character has a byte at least: what is far too large need not be measured, which takes as much memory again.
  const size = text.length > broker.limits.maxBytes * MOST_COMPRESSIBLE ? text.length : bytesOf(text);
  const taken = beside + ROOM_BESIDE;
  const maxBytes = (await mostOf(broker, queue, size + taken)) - taken;
  if (size <= maxBytes) return text;
  // Compression makes JSON a tenth of its size, rarely less: beyond that it would only keep the caller waiting.
  if (message.compression === null && size <= maxBytes * MOST_COMPRESSIBLE) {
    const again = await reread(message, text);
    const compressed = await encodeEnvelope(createMessage({ ...again, compression: compressionOf("gzip") }));
    if (bytesOf(compressed) <= maxBytes) return compressed;
  }
  const payloads = await host.payloads();
  // What nobody keeps is refused by the broker, which says how large it is.
  if (payloads === undefined) return text;
  return payloads.put(text, message.id, days);
}

/** What no queue of it refuses, in bytes. */
const leastOf = ({ maxBytes, limits }: Broker): number => (maxBytes === undefined ? limits.maxBytes : LEAST_MAX_BYTES);

/** What this queue of it takes, in bytes, of which so many are asked for at most. */
async function mostOf(broker: Broker, queue: string, asked: number): Promise<number> {
  const least = leastOf(broker);
  return asked <= least ? least : ((await broker.maxBytes?.(queue)) ?? broker.limits.maxBytes);
}

/** Whether it surely fits. A character has three bytes at most, so that most texts need not be measured. */
const isSmall = (text: string | LongText, least: number): text is string =>
  typeof text === "string" && text.length * 3 <= least && !isPointer(text);

const dueAt = ({ eta }: Message): number => (eta === null ? 0 : parseTime(eta));

const DAY_MS = 86_400_000;

/** What AWS's own libraries know a pointer by. */
function sizeAttribute(text: string): Readonly<Record<string, string>> {
  const pointer = readPointer(text);
  const facts = pointer && readKey(pointer.key);
  return facts === undefined ? {} : { [SIZE_ATTRIBUTE]: String(facts.length) };
}

/** The message as its reader has it, and as it was when its text was made: the caller may have changed what it holds since. */
export async function reread(message: Message, text: string | LongText): Promise<Message> {
  const accept = [message.contentType];
  if (typeof text === "string") return decodeEnvelope(text, { accept });
  const { args, kwargs, ...rest } = await decodeEnvelope(text.marked, { accept });
  return createMessage({ ...rest, ...text.restored({ args, kwargs }) });
}

/** Lets those who listen put headers of theirs on a message. */
async function announce({ emitter }: PublishHost, addressed: Addressed): Promise<Addressed> {
  const { body, ...rest } = addressed;
  const { message, queue } = rest;
  const kept = body === undefined ? message : await reread(message, body);
  const headers: Record<string, unknown> = {};
  await emitter.emit("beforeTaskPublish", { message: kept, queue, headers });
  return { ...rest, message: withHeaders(kept, headers) };
}

const withHeaders = (message: Message, headers: Readonly<Record<string, unknown>>): Message =>
  createMessage({ ...message, headers: { ...message.headers, ...headers } });

/**
 * Bytes that stay free beside a text where they can: for what is said of a dead letter, without which its task cannot be claimed once
 * the letter is sent back, and of a message that waits for its limits.
 */
const ROOM_BESIDE = 256;

/** How many times too large a text may be to be worth compressing. */
const MOST_COMPRESSIBLE = 16;

const encoder = new TextEncoder();
const bytesOf = (text: string): number => encoder.encode(text).length;

/** A signature that was made elsewhere may name any serializer. */
function contentTypeFor(serializer: string): string {
  const name = serializerName(serializer);
  if (name !== undefined) return contentTypeOf(name);
  throw new ImproperlyConfigured(
    "serializer",
    `${JSON.stringify(serializer)} cannot be written here; use json, msgpack or yaml`,
  );
}

function compressionOf(name: string | undefined): string | null {
  if (name === undefined) return null;
  const type = compressionType(name);
  if (type === undefined)
    throw new ImproperlyConfigured("compression", `${JSON.stringify(name)} is not known; use gzip, brotli or zstd`);
  // A signature of Python's may name one that JavaScript does not have. A message says itself how it is compressed.
  return compressionName(name) === undefined ? null : type;
}

/** When the message may be acted upon, in milliseconds since the epoch; `null`: at once. As in Celery, a countdown of 0 is none. */
function etaOf(options: Pick<CallOptions, "countdown" | "eta">, now: number): number | null {
  if (options.eta !== undefined) return toInstant(options.eta, "eta");
  return options.countdown ? now + options.countdown * 1000 : null;
}

export function expiresOf(expires: number | Date | string | undefined, now: number): string | null {
  if (expires === undefined) return null;
  return formatTime(typeof expires === "number" ? now + expires * 1000 : toInstant(expires, "expires"));
}

/** A signature that was made elsewhere may have anything in its place. */
function toInstant(given: unknown, name: string): number {
  if (given instanceof Date) return given.getTime();
  if (typeof given === "string" || given instanceof PlainDate) return parseTime(String(given));
  throw new ImproperlyConfigured(name, `must be a time in ISO 8601; given: ${brief(given, 200)}`);
}

/** On a FIFO queue the group keeps the order; on a standard one it is the tenant that the queue is shared fairly by. */
function groupProperties(options: CallOptions, queue: string): Record<string, string> {
  const group = options.MessageGroupId ?? options.tenant;
  if (options.MessageDeduplicationId !== undefined && !isFifo(queue)) {
    throw new ImproperlyConfigured(
      "MessageDeduplicationId",
      `only a FIFO queue drops duplicates, and ${queue} is none; give the task a taskId`,
    );
  }
  return {
    ...(group === undefined ? {} : { MessageGroupId: group }),
    ...(options.MessageDeduplicationId === undefined ? {} : { MessageDeduplicationId: options.MessageDeduplicationId }),
  };
}

/** What a declaration says about its messages, beside what it says about its runs. */
const deliveryOptions = ({
  queue,
  exchange,
  routingKey,
  priority,
  serializer,
  compression,
  expires,
  ignoreResult,
}: TaskOptions): CallOptions => ({
  queue,
  exchange,
  routingKey,
  priority,
  serializer,
  compression,
  expires,
  ignoreResult,
});

function withoutAbsent<T extends object>(options: T): T {
  // Every call passes here: a loop takes a fifth of what entries and a filter do.
  const present: Partial<T> = {};
  for (const key of Object.keys(options) as (keyof T)[]) {
    const value = options[key];
    if (value !== undefined && value !== null) present[key] = value;
  }
  return present as T;
}

/**
 * Throws `ImproperlyConfigured` where a limit of the call and one that is said elsewhere do not go together: a soft limit
 * that is not below the hard one never comes into force.
 */
export function checkLimits(host: PublishHost, name: string, call: CallOptions): void {
  if (call.timeLimit === undefined && call.softTimeLimit === undefined) return;
  const { taskTimeLimit, taskSoftTimeLimit } = host.config;
  const task = host.declared(name);
  const declared: TaskOptions = task === undefined ? {} : host.optionsOf(task);
  const hard = limitOf(call.timeLimit, declared.timeLimit, ["taskTimeLimit", taskTimeLimit]);
  const soft = limitOf(call.softTimeLimit, declared.softTimeLimit, ["taskSoftTimeLimit", taskSoftTimeLimit]);
  if (hard === undefined || soft === undefined || soft.seconds < hard.seconds) return;
  throw new ImproperlyConfigured(
    "softTimeLimit",
    `a call of ${name}: softTimeLimit (${soft.seconds} s, of ${soft.by}) must be below timeLimit (${hard.seconds} s, of ${hard.by}), or it never comes into force; give the call both`,
  );
}

/** The limit in force, and who says it. */
function limitOf(
  ofCall: number | undefined,
  declared: number | undefined,
  [setting, configured]: readonly [name: string, seconds: number | null | undefined],
): { readonly seconds: number; readonly by: string } | undefined {
  if (typeof ofCall === "number") return { seconds: ofCall, by: "the call" };
  if (declared !== undefined) return { seconds: declared, by: "its declaration" };
  return typeof configured === "number" ? { seconds: configured, by: setting } : undefined;
}
