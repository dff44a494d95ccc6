/** A message to the text of an SQS body and back: kombu's envelope around Celery's protocol 2, and for reading 1 as well. */
import { base64ToAscii, base64ToBytes, base64ToText, bytesToBase64, bytesToText, textToBytes } from "./bytes.ts";
import { compress, compressionType, decompress } from "./compression.ts";
import { ContentDisallowed, DecodeError, EncodeError, LovageError } from "../errors.ts";
import type { ReadText } from "./long-reader.ts";
import { type LongText, longText } from "./long-text.ts";
import type { Message, SignatureData } from "./message.ts";
import { createMessage } from "./message.ts";
import {
  acceptedSerializer,
  checkRoomForText,
  type MaybePromise,
  type Payload,
  SERIALIZERS,
  serializerName,
  whenReady,
} from "./serializers.ts";
import { roomForKept } from "./room.ts";
import { readKey, readPointer } from "./pointer.ts";
import { parseTime } from "./time.ts";
import { brief } from "../brief.ts";
import { parseValue, stringifyValue } from "./values.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Headers that a message has fields for. */
const HEADERS: ReadonlySet<string> = new Set([
  "lang",
  "task",
  "id",
  "shadow",
  "eta",
  "expires",
  "group",
  "group_index",
  "retries",
  "timelimit",
  "root_id",
  "parent_id",
  "argsrepr",
  "kwargsrepr",
  "origin",
  "ignore_result",
  "replaced_task_nesting",
  "stamped_headers",
  "stamps",
  "compression",
]);

/** Properties that a message has fields for, or that belong to one sending only. */
const PROPERTIES: ReadonlySet<string> = new Set([
  "correlation_id",
  "reply_to",
  "delivery_info",
  "priority",
  "body_encoding",
  "delivery_tag",
  "expiration",
]);

/** 2 is persistent. SQS knows no other mode. */
const DELIVERY_MODE = 2;

// ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The text of a message: raw JSON, its body readable text unless it is msgpack or compressed. It holds no character that
 * SQS refuses, and is whole: the headers, the `content-type` and the three body elements without which a Python worker's
 * process would end. `now` (milliseconds since the epoch) is for `expiration`, which says in how many milliseconds the
 * message expires. Throws `EncodeError` for values that cannot travel, and `ImproperlyConfigured` for a compression that
 * cannot be had.
 */
export function encodeEnvelope(message: Message, now = Date.now()): MaybePromise<string> {
  const name = serializerName(message.contentType);
  if (name === undefined)
    throw new EncodeError("contentType", `is ${JSON.stringify(message.contentType)}; use json, msgpack or yaml`);
  check(message);
  const { compression } = message;
  const body = encodeBody(message);
  if (compression === null) return whenReady(body, (data) => wrap(message, data, now));
  return whenReady(body, async (data) =>
    wrap(message, await compress(typeof data === "string" ? textToBytes(data) : data, compression), now),
  );
}

/** The same for a message that holds what is far too long to travel: no copy is made of that. `undefined`: this one does not. */
export function encodeLong(message: Message, now = Date.now()): LongText | undefined {
  if (message.compression !== null || serializerName(message.contentType) !== "json") return undefined;
  const { args, kwargs } = message;
  // JSON is at hand, so that nothing is waited for.
  const write = (marked: Pick<Message, "args" | "kwargs">) =>
    encodeEnvelope(createMessage({ ...message, ...marked }), now) as string;
  return longText({ args, kwargs }, 2, write);
}

/** What a Python worker, or the reader of this file, would not survive or would misread. */
function check(message: Message): void {
  const texts = { id: message.id, task: message.task, eta: message.eta, expires: message.expires };
  for (const [path, value] of Object.entries(texts)) {
    if (value !== null && typeof value !== "string") throw new EncodeError(path, "must be text");
  }
  if (message.id === "") throw new EncodeError("id", "must not be empty");
  if (message.task === "") throw new EncodeError("task", "must not be empty");
  if (!Array.isArray(message.args)) throw new EncodeError("args", "must be an array");
  if (!isObject(message.kwargs)) throw new EncodeError("kwargs", "must be an object");
  for (const key of Object.keys(message.headers)) {
    if (HEADERS.has(key)) throw new EncodeError(`headers.${key}`, "is a header of Celery's own; choose another name");
  }
  for (const key of Object.keys(message.properties)) {
    if (PROPERTIES.has(key))
      throw new EncodeError(`properties.${key}`, "is a property of Celery's own; choose another name");
  }
  for (const path of ["eta", "expires"] as const) {
    const time = message[path];
    if (time === null) continue;
    try {
      parseTime(time);
    } catch (error) {
      throw new EncodeError(path, `is ${JSON.stringify(time)}, which is not a time in ISO 8601`, { cause: error });
    }
  }
}

function encodeBody(message: Message): MaybePromise<Payload> {
  const embed = {
    callbacks: orNull(message.callbacks),
    errbacks: orNull(message.errbacks),
    chain: orNull(message.chain),
    chord: message.chord,
  };
  const name = serializerName(message.contentType);
  if (name !== undefined && name !== "json")
    return SERIALIZERS[name].dumps([message.args, message.kwargs, embed], "body");
  // One by one, so that an error can name its place as the caller knows it.
  const parts = [
    stringifyValue(message.args, "args", 1),
    stringifyValue(message.kwargs, "kwargs", 1),
    stringifyValue(embed, "", 1),
  ];
  return `[${parts.join(", ")}]`;
}

const orNull = (signatures: readonly SignatureData[]): readonly SignatureData[] | null =>
  signatures.length > 0 ? signatures : null;

function wrap(message: Message, body: Payload, now: number): string {
  const name = serializerName(message.contentType) ?? "json"; // checked on entry
  const { contentType, contentEncoding } = SERIALIZERS[name];
  const binary = typeof body !== "string";
  const compression = message.compression === null ? undefined : compressionType(message.compression);
  const text = stringifyValue({
    body: binary ? bytesToBase64(body) : body,
    "content-encoding": contentEncoding,
    "content-type": contentType,
    headers: {
      lang: message.lang,
      task: message.task,
      id: message.id,
      shadow: message.shadow,
      eta: message.eta,
      expires: message.expires,
      group: message.group,
      group_index: message.groupIndex,
      retries: message.retries,
      timelimit: message.timelimit,
      root_id: message.rootId,
      parent_id: message.parentId,
      // Absent ones mean what the worker's own settings say, and cost nothing to send.
      argsrepr: message.argsrepr ?? undefined,
      kwargsrepr: message.kwargsrepr ?? undefined,
      origin: message.origin ?? undefined,
      ignore_result: message.ignoreResult ?? undefined,
      replaced_task_nesting: message.replacedTaskNesting,
      stamped_headers: message.stampedHeaders,
      stamps: message.stamps,
      compression,
      ...message.headers,
    },
    properties: {
      correlation_id: message.correlationId,
      reply_to: message.replyTo ?? "",
      delivery_mode: DELIVERY_MODE,
      delivery_info: { exchange: message.deliveryInfo.exchange, routing_key: message.deliveryInfo.routingKey },
      priority: message.priority ?? undefined,
      // Absent it is text to every kombu; one before 5.4 ends its worker at "utf-8".
      body_encoding: binary ? "base64" : undefined,
      expiration:
        message.expires === null ? undefined : String(Math.max(0, parseTime(message.expires) - Math.floor(now))),
      ...message.properties,
    },
  });
  return legal(text);
}

/** SQS takes what XML 1.0 takes. JSON has escaped control characters and half surrogate pairs already; these two are left. */
function legal(text: string): string {
  return /[\uFFFE\uFFFF]/.test(text) ? text.replaceAll("\uFFFE", "\\ufffe").replaceAll("\uFFFF", "\\uffff") : text;
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A text that was kept elsewhere, since it is large. Whoever reads it takes it, so that nobody holds it beside what was read:
 * it is as large again.
 */
export class KeptText {
  #read: ReadText | undefined;
  constructor(read: ReadText) {
    this.#read = read;
  }
  /** Once. */
  take(): ReadText {
    const read = this.#read;
    if (read === undefined) throw new TypeError("the text was taken before");
    this.#read = undefined;
    return read;
  }
}

export interface DecodeOptions {
  /** Serializers that are taken, by name or MIME type: the setting `acceptContent`. */
  readonly accept: readonly string[];
  /** The largest size of a body that was compressed, in bytes. Default 64 MiB, less in a process with less than 2 GiB of memory. */
  readonly maxInflatedBytes?: number | undefined;
}

/**
 * The message in a text: base64 or raw, of Celery's protocol 2 or 1. What is missing but not needed gets its default;
 * headers and properties without a meaning here are kept. Throws `DecodeError`, or `ContentDisallowed`, with what is wrong.
 */
export function decodeEnvelope(text: string | KeptText, options: DecodeOptions): MaybePromise<Message> {
  if (typeof text !== "string") {
    const { text: whole, restored } = text.take();
    return decodeText(whole, options, roomForKept(), restored);
  }
  return decodeText(text, options, undefined, (body) => body);
}

function decodeText(
  text: string,
  options: DecodeOptions,
  room: number | undefined,
  restored: ReadText["restored"],
): MaybePromise<Message> {
  const envelope = openEnvelope(text);
  const headers =
    envelope.headers === undefined || envelope.headers === null ? {} : fields(envelope.headers, "headers");
  const properties = fields(envelope.properties, "properties");
  const contentType = envelope["content-type"];
  if (typeof contentType !== "string")
    throw new ContentDisallowed(
      "application/data",
      "the envelope has no content-type, and a task's body is application/json",
    );
  const serializer = SERIALIZERS[acceptedSerializer(contentType, options.accept)];

  const compression =
    headers.compression === undefined || headers.compression === null
      ? null
      : compressionType(String(headers.compression));
  if (compression === undefined)
    throw new DecodeError(`the compression ${show(headers.compression)} is not one that kombu knows`);
  const raw = rawBody(
    envelope.body,
    properties.body_encoding,
    compression !== null || serializer.contentEncoding === "binary",
  );
  const encoding = envelope["content-encoding"];
  const data =
    compression === null
      ? raw
      : decompress(typeof raw === "string" ? textToBytes(raw) : raw, compression, options.maxInflatedBytes);

  return whenReady(data, (plain) => {
    const readable =
      typeof plain === "string" || serializer.contentEncoding === "binary" ? plain : bodyText(plain, encoding);
    return whenReady(serializer.loads(readable, room), (body) =>
      toMessage(restored(body), headers, properties, { contentType: serializer.contentType, compression }),
    );
  });
}

function openEnvelope(text: string): Fields {
  const trimmed = text.trim();
  const json = trimmed.startsWith("{") ? trimmed : base64ToText(trimmed);
  const envelope = parseValue(json);
  if (!isObject(envelope)) throw new DecodeError("the envelope is not an object");
  if (envelope.properties === undefined)
    throw new DecodeError(
      "the text is JSON, but not an envelope: it has no properties; what is not a task's, as events of SNS or S3, needs a queue of its own",
    );
  return envelope;
}

/** Text where it came as text, or is base64 of nothing but ASCII; bytes where they are asked for, or mean other characters. */
function rawBody(body: unknown, encoding: unknown, binary: boolean): Payload {
  if (typeof body !== "string") throw new DecodeError("the envelope's body is not text");
  const name = typeof encoding === "string" ? encoding.toLowerCase() : (encoding ?? "utf-8");
  if (name === "utf-8") return body;
  if (name === "base64") return binary ? base64ToBytes(body) : base64ToAscii(body);
  throw new DecodeError(`the body_encoding ${show(encoding)} is not known; base64 and utf-8 are`);
}

/** The text of a body's bytes. Like Python's JSON it sees UTF-16 by itself; other encodings go by their name. */
function bodyText(bytes: Uint8Array, encoding: unknown): string {
  const [first, second] = bytes;
  let label = "utf-8";
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) label = "utf-16le";
  else if ((first === 0xfe && second === 0xff) || (first === 0 && second !== 0)) label = "utf-16be";
  const sniffed = decodeAs(bytes, label);
  if (sniffed !== undefined) return sniffed;
  const named = typeof encoding === "string" ? decodeAs(bytes, encoding) : undefined;
  if (named !== undefined) return named;
  throw new DecodeError(`the body is not text in UTF-8, nor in its content-encoding ${show(encoding ?? null)}`);
}

function decodeAs(bytes: Uint8Array, label: string): string | undefined {
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function toMessage(
  body: unknown,
  headers: Fields,
  properties: Fields,
  carried: Pick<Message, "contentType" | "compression">,
): Message {
  // Protocol 1 has everything in the body; a hybrid has such a body under headers of protocol 2, and they win.
  const old = isObject(body) ? body : undefined;
  if (old !== undefined && headers.task === undefined && old.task === undefined)
    throw new DecodeError("neither headers nor body name a task");
  const facts: Fields =
    old === undefined ? headers : { ...old, ...("taskset" in old ? { group: old.taskset } : {}), ...headers };
  const id = requiredText(facts.id, "id");
  const task = taskName(requiredText(facts.task, "task"));
  const [args, kwargs, embed] =
    old === undefined ? threeElements(body) : [old.args ?? [], old.kwargs ?? {}, { ...old, chain: null }];
  if (!Array.isArray(args)) throw new DecodeError("args is not a list");
  if (!isObject(kwargs)) throw new DecodeError("kwargs is not an object");
  const follow = embed === null || embed === undefined ? {} : fields(embed, "the third element of the body");

  return createMessage({
    id,
    task,
    args,
    kwargs,
    callbacks: signatures(follow.callbacks, "callbacks"),
    errbacks: signatures(follow.errbacks, "errbacks"),
    chain: signatures(follow.chain, "chain"),
    chord: follow.chord === null || follow.chord === undefined ? null : signature(follow.chord, "chord"),
    eta: time(facts.eta, "eta"),
    expires: time(facts.expires, "expires"),
    retries: count(facts.retries, "retries", MAX_RETRIES),
    timelimit: timelimit(facts.timelimit),
    ignoreResult: typeof facts.ignore_result === "boolean" ? facts.ignore_result : null,
    rootId: text(facts.root_id) ?? null,
    parentId: text(facts.parent_id) ?? null,
    group: textOrNull(facts.group, "group"),
    groupIndex:
      facts.group_index === null || facts.group_index === undefined ? null : count(facts.group_index, "group_index"),
    replacedTaskNesting: count(facts.replaced_task_nesting, "replaced_task_nesting", MAX_NESTED_REPLACEMENTS),
    stampedHeaders: Array.isArray(facts.stamped_headers)
      ? facts.stamped_headers.filter((name) => typeof name === "string")
      : null,
    stamps: isObject(facts.stamps) ? facts.stamps : {},
    shadow: text(facts.shadow) ?? null,
    lang: text(facts.lang) ?? "py",
    origin: text(facts.origin) ?? null,
    argsrepr: text(facts.argsrepr) ?? null,
    kwargsrepr: text(facts.kwargsrepr) ?? null,
    headers: without(headers, HEADERS),
    correlationId: text(properties.correlation_id) ?? null,
    replyTo: text(properties.reply_to) || null,
    priority: priority(properties.priority),
    deliveryInfo: deliveryInfo(properties.delivery_info),
    properties: without(
      properties.delivery_mode === DELIVERY_MODE ? { ...properties, delivery_mode: undefined } : properties,
      PROPERTIES,
    ),
    contentType: carried.contentType,
    compression: carried.compression,
  });
}

function threeElements(body: unknown): readonly unknown[] {
  if (!Array.isArray(body)) throw new DecodeError("the body is not a list of args, kwargs and embed");
  if (body.length !== 3)
    throw new DecodeError(`the body has ${body.length} elements; it must be args, kwargs and embed`);
  return body;
}

/** A value of somebody's message in an error's text. */
const show = (value: unknown): string => brief(value, 200);

function isObject(value: unknown): value is Fields {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function fields(value: unknown, what: string): Fields {
  if (isObject(value)) return value;
  throw new DecodeError(`${what} is not an object`);
}

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

const present = <K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> =>
  value === undefined ? {} : ({ [key]: value } as Record<K, string>); // the one key it is about

function requiredText(value: unknown, name: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new DecodeError(
    value === undefined ? `the message has no ${name}` : `the message's ${name} is not a text, or empty`,
  );
}

function time(value: unknown, name: string): string | null {
  if (value === null || value === undefined) return null;
  // A tagged datetime was read to a Date already; its text is what counts.
  const given = value instanceof Date ? value.toISOString() : value;
  if (typeof given !== "string") throw new DecodeError(`${name} is ${show(value)}, not a time in ISO 8601`);
  try {
    parseTime(given);
  } catch (error) {
    throw new DecodeError(`${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  return given;
}

/** The attempt's number is made of both: the retries have its lower 32 bits, and it has 53. One more of either is to have room. */
const MAX_RETRIES = 2 ** 32 - 2;
const MAX_NESTED_REPLACEMENTS = 2 ** 21 - 2;

function count(value: unknown, name: string, max = Number.MAX_SAFE_INTEGER): number {
  if (value === null || value === undefined) return 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max) return value;
  throw new DecodeError(`${name} is not a whole number from 0 to ${max} (${show(value)})`);
}

/** A wish, which decides nothing: what is out of its range counts as the end of it, and what is no number as none. */
function priority(value: unknown): number | null {
  if (typeof value !== "number" || Number.isNaN(value)) return null;
  return Math.min(255, Math.max(0, Math.round(value)));
}

/** A hundred years: a longer limit is none, and some clocks cannot wait for it. */
const MAX_LIMIT_S = 100 * 365 * 86_400;

function timelimit(value: unknown): readonly [number | null, number | null] {
  if (value === null || value === undefined) return [null, null];
  const [hard = null, soft = null] = Array.isArray(value) ? (value as unknown[]) : [undefined, undefined];
  const limit = (seconds: unknown): seconds is number | null =>
    seconds === null || (typeof seconds === "number" && seconds >= 0 && seconds <= MAX_LIMIT_S);
  // To Python 0 is no limit.
  if (Array.isArray(value) && limit(hard) && limit(soft)) return [hard || null, soft || null];
  throw new DecodeError(`timelimit is ${show(value)}, not a pair of seconds from 0 to ${MAX_LIMIT_S}, or nulls`);
}

/** Registered names have no more, and routes look at each character. */
const MAX_NAME_LENGTH = 255;

function taskName(name: string): string {
  if (name.length <= MAX_NAME_LENGTH) return name;
  throw new DecodeError(`the task's name has ${name.length} characters, and may have ${MAX_NAME_LENGTH}`);
}

// ── canvases in a message ───────────────────────────────────────────────────────────────────────────────────────────
// All of it is looked at before the task runs: afterwards, what cannot be sent would keep its message coming back.

function signatures(value: unknown, name: string): readonly SignatureData[] {
  if (value === null || value === undefined) return [];
  return (Array.isArray(value) ? value : [value]).map((item) => signature(item, name));
}

/** Python needs no more of a signature than its task. Those in it stay as they are. */
function signature(value: unknown, name: string): SignatureData {
  if (!isObject(value) || typeof value.task !== "string" || value.task === "")
    throw new DecodeError(`${name} holds something that is not a signature: it names no task (${show(value)})`);
  const { args, kwargs, options } = value;
  const task = taskName(value.task);
  const wrong =
    (args ?? null) !== null && !Array.isArray(args)
      ? "args"
      : [kwargs ?? {}, options ?? {}].every(isObject)
        ? undefined
        : "kwargs or options";
  if (wrong !== undefined)
    throw new DecodeError(`${name} holds a signature of ${JSON.stringify(task)} whose ${wrong} cannot be used`);
  const read: SignatureData = {
    ...value,
    task,
    args: Array.isArray(args) ? args : [],
    kwargs: isObject(kwargs) ? kwargs : {},
    options: isObject(options) ? options : {},
    subtask_type: text(value.subtask_type) ?? null,
    immutable: value.immutable === true,
  };
  checkParts(read, name);
  checkOptions(read.options, name);
  return read;
}

/** What a canvas is made of, as Celery writes it. */
function checkParts({ task, subtask_type, kwargs }: SignatureData, name: string): void {
  switch (`celery.${(subtask_type ?? task).replace(/^celery\./, "")}`) {
    case "celery.chain":
    case "celery.group":
      if (!Array.isArray(kwargs.tasks)) throw new DecodeError(`${name} holds a ${task} without a list of its tasks`);
      signatures(kwargs.tasks, name);
      break;
    case "celery.chord":
      if (!Array.isArray(kwargs.header)) signature(kwargs.header, `the header of a chord in ${name}`);
      signatures(kwargs.header, name);
      signature(kwargs.body, `the body of a chord in ${name}`);
      break;
    case "celery.chunks": {
      const size = kwargs.n;
      if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 1 || !Array.isArray(kwargs.it))
        throw new DecodeError(`${name} holds ${task} without a list and a size of 1 or more`);
      signature(kwargs.task, name);
      break;
    }
    default:
  }
}

/** Those that say where a call stands among others. The rest are checked as any call's, when it is sent. */
function checkOptions(options: SignatureData["options"], name: string): void {
  for (const key of ["link", "link_error", "chain"]) signatures(options[key], `${key} in ${name}`);
  if (options.chord !== null && options.chord !== undefined) signature(options.chord, `the chord in ${name}`);
  for (const key of ["task_id", "group_id", "root_id", "parent_id"]) textOrNull(options[key], `${key} in ${name}`);
  count(options.group_index, `group_index in ${name}`);
  count(options.replaced_task_nesting, `replaced_task_nesting in ${name}`, MAX_NESTED_REPLACEMENTS);
  count(options.retries, `retries in ${name}`, MAX_RETRIES);
}

function textOrNull(value: unknown, name: string): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  throw new DecodeError(`${name} is ${show(value)}, not a text`);
}

function deliveryInfo(value: unknown): Message["deliveryInfo"] {
  const info = isObject(value) ? value : {};
  return { exchange: text(info.exchange) ?? "", routingKey: text(info.routing_key) ?? "celery" };
}

function without(object: Fields, known: ReadonlySet<string>): Fields {
  // Mostly there is nothing else.
  const others = Object.keys(object).filter((key) => !known.has(key) && object[key] !== undefined);
  return others.length === 0 ? {} : Object.fromEntries(others.map((key) => [key, object[key]]));
}

// ── what cannot be read ─────────────────────────────────────────────────────────────────────────────────────────────

/** Id, task and priority of a text that `decodeEnvelope` may refuse, as far as they can be made out: for a dead letter. Never throws. */
export function peekEnvelope(text: string): Peeked {
  const pointer = readPointer(text);
  if (pointer !== undefined) {
    const { id } = readKey(pointer.key) ?? {};
    return id === undefined ? {} : { id };
  }
  let json = text.trim();
  try {
    if (!json.startsWith("{")) json = base64ToText(json);
  } catch (error) {
    if (!(error instanceof LovageError)) throw error;
    return {};
  }
  return peekParsed(json) ?? peekText(json);
}

interface Peeked {
  readonly id?: string;
  readonly task?: string;
  readonly priority?: number;
}

function peekParsed(json: string): Peeked | undefined {
  try {
    // By JSON itself: an unknown tag is no obstacle here.
    const envelope: unknown = JSON.parse(json);
    if (!isObject(envelope)) return {};
    const properties = isObject(envelope.properties) ? envelope.properties : {};
    const wish = priority(properties.priority);
    const found: Peeked = { ...named(envelope.headers), ...(wish !== null && { priority: wish }) };
    if (found.id !== undefined || typeof envelope.body !== "string") return found;
    const body =
      properties.body_encoding === "base64" ? (bytesToText(base64ToBytes(envelope.body)) ?? "") : envelope.body;
    return { ...named(JSON.parse(body)), ...found };
  } catch {
    return undefined;
  }
}

/**
 * What can be made out of a message that `decodeEnvelope` refuses and whose body is JSON all the same: who it is, where it
 * stands among others, and what follows from its failure. It is not to be run. `undefined` where its id cannot be read.
 * Never throws.
 */
export async function salvageMessage(source: string): Promise<Message | undefined> {
  try {
    const trimmed = source.trim();
    const envelope = reread(trimmed.startsWith("{") ? trimmed : base64ToText(trimmed));
    if (!isObject(envelope)) return undefined;
    const headers = isObject(envelope.headers) ? envelope.headers : {};
    const body = await salvageBody(envelope, headers);
    const old = isObject(body) ? body : {};
    const facts: Fields = { ...old, ...("taskset" in old ? { group: old.taskset } : {}), ...headers };
    const [, , embed] = Array.isArray(body) ? (body as unknown[]) : [undefined, undefined, { ...old, chain: null }];
    const follow = isObject(embed) ? embed : {};
    const id = named(facts).id;
    if (id === undefined) return undefined;
    const wholeNumber = (value: unknown, max?: number) => attempt(() => count(value, "", max)) ?? 0;
    // Each by itself: those beside one that cannot be read are told all the same.
    const readable = (value: unknown) =>
      (Array.isArray(value) ? (value as unknown[]) : [value]).flatMap(
        (item) => attempt(() => signatures(item, "")) ?? [],
      );
    return createMessage({
      id,
      task: named(facts).task ?? "",
      errbacks: readable(follow.errbacks),
      chain: readable(follow.chain),
      chord: readable(follow.chord)[0] ?? null,
      group: text(facts.group) ?? null,
      groupIndex: typeof facts.group_index === "number" ? wholeNumber(facts.group_index) : null,
      retries: wholeNumber(facts.retries, MAX_RETRIES),
      replacedTaskNesting: wholeNumber(facts.replaced_task_nesting, MAX_NESTED_REPLACEMENTS),
      parentId: text(facts.parent_id) ?? null,
      rootId: text(facts.root_id) ?? null,
    });
  } catch {
    return undefined;
  }
}

async function salvageBody(envelope: Fields, headers: Fields): Promise<unknown> {
  if (typeof envelope.body !== "string") return undefined;
  try {
    const properties = isObject(envelope.properties) ? envelope.properties : {};
    if (properties.body_encoding !== "base64") return reread(envelope.body);
    const bytes = base64ToBytes(envelope.body);
    const compression = text(headers.compression);
    const plain =
      compression === undefined ? bytes : await decompress(bytes, compressionType(compression) ?? compression);
    return reread(bytesToText(plain) ?? "");
  } catch {
    return undefined;
  }
}

/** JSON with its tags where all of them are known, else as it stands. Nothing that there is no room for. */
function reread(json: string): unknown {
  return attempt(() => SERIALIZERS.json.loads(json)) ?? readPlain(json);
}

function readPlain(json: string): unknown {
  checkRoomForText(json);
  return JSON.parse(json);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof LovageError) return undefined;
    throw error;
  }
}

function named(value: unknown): { readonly id?: string; readonly task?: string } {
  if (!isObject(value)) return {};
  return { ...present("id", text(value.id) || undefined), ...present("task", text(value.task) || undefined) };
}

/** Damaged JSON: what stands after the first such keys of the headers. */
function peekText(json: string): { readonly id?: string; readonly task?: string } {
  const headers = json.slice(Math.max(0, json.indexOf('"headers"')));
  const after = (key: string) => new RegExp(`"${key}"\\s*:\\s*"([^"\\\\]+)"`).exec(headers)?.[1];
  return { ...present("id", after("id")), ...present("task", after("task")) };
}
