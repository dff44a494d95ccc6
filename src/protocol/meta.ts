/** What is stored of a task: Celery's meta, to and from a payload. */
import { base64ToBytes, bytesToBase64, bytesToText, textToBytes } from "./bytes.ts";
import { compress, compressionType, decompress } from "./compression.ts";
import { DecodeError, EncodeError } from "../errors.ts";
import { holdsException, isReady, PENDING, RETRY, type State } from "../states.ts";
import { defined } from "../parse.ts";
import { isSafeBuiltin } from "../python-builtins.ts";
import { type MaybePromise, type Payload, SERIALIZERS, type SerializerName, whenReady } from "./serializers.ts";
import type { ReadText } from "./long-reader.ts";
import { type LongText, longText } from "./long-text.ts";
import { roomForKept } from "./room.ts";
import { parseTime } from "./time.ts";
import { stringifyValue } from "./values.ts";

export type { Payload } from "./serializers.ts";

/** How Celery writes a result's id: `[[id, parent], null]` for a task, `[[id, parent], [member …]]` for a group. */
export type ResultTuple = readonly [
  head: readonly [id: string, parent: ResultTuple | null],
  members: readonly ResultTuple[] | null,
];

export interface Meta {
  readonly status: State;
  /** What the task returned; an `ExceptionData` in FAILURE, RETRY and REVOKED; the value given to `updateState` in states of the user's own. */
  readonly result: unknown;
  readonly traceback: string | null;
  /** The tasks it sent, as result tuples. */
  readonly children: readonly unknown[] | null;
  /** When it ended, in ISO 8601, as it was stored; `null` in states that are not final, and where nothing readable was stored. */
  readonly dateDone: string | null;
  /** `""` where the meta does not say. */
  readonly taskId: string;
  readonly groupId?: string | undefined;
  readonly parentId?: string | undefined;
  /** What is stored beside it with `resultExtended`. */
  readonly extended?: ExtendedMeta | undefined;
  /** Members this version does not know, as they came. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** A missing one was not stored. */
export interface ExtendedMeta {
  readonly name?: string | undefined;
  readonly args?: readonly unknown[] | undefined;
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** The worker's name. */
  readonly worker?: string | undefined;
  readonly retries?: number | undefined;
  /** The queue's name. */
  readonly queue?: string | undefined;
  readonly stampedHeaders?: readonly string[] | undefined;
  readonly stamps?: Readonly<Record<string, unknown>> | undefined;
}

/** What a reader is told of an id that nothing is stored of. */
export const pendingMeta = (id: string): Meta => ({
  status: PENDING,
  result: null,
  traceback: null,
  children: null,
  dateDone: null,
  taskId: id,
});

/** How results are stored. Nothing in a row says which serializer it was: writers and readers must agree. */
export interface MetaCodec {
  /** Default `json`. */
  readonly serializer?: SerializerName | undefined;
  /** One of kombu's names, or a MIME type. Default: none. Celery reads compressed results from 5.7 on. */
  readonly compression?: string | undefined;
  /** For reading: the largest size of a result that was compressed, in bytes. Default 64 MiB, less in a process with less than 2 GiB of memory. */
  readonly maxInflatedBytes?: number | undefined;
  /** For reading: the text that a pointer leads to, where a result is kept outside its row. */
  readonly fetch?: ((pointer: string) => Promise<ReadText>) | undefined;
  /** For writing: keeps the text of a result outside its row, and returns the pointer to it. Default: it stays in the row. */
  readonly keep?: ((text: string | LongText) => Promise<string>) | undefined;
}

/** Beside a pointer in the place of a result: how the text that it leads to holds the result. */
const KEPT = "result_kept";

const KNOWN: ReadonlySet<string> = new Set([
  "status",
  "result",
  "traceback",
  "children",
  "date_done",
  "group_id",
  "parent_id",
  "name",
  "args",
  "kwargs",
  "worker",
  "retries",
  "queue",
  "stamped_headers",
  "task_id",
]);

/**
 * A meta as Celery stores it, its keys in Celery's order. Throws `EncodeError` for what cannot travel, and for what would
 * make Python's readers throw: an outcome that holds no exception in a state that must, children that are no tuples.
 * What is stored beside the outcome is worth less than that: arguments that cannot be written are left out.
 */
export function encodeMeta(meta: Meta, codec: MetaCodec = {}): MaybePromise<Payload> {
  const without = (error: unknown): MaybePromise<Payload> => {
    const { extended } = meta;
    if (!(error instanceof EncodeError) || extended === undefined) throw error;
    const { args: _, kwargs: __, stamps: ___, stampedHeaders: ____, ...rest } = extended;
    return encodeWhole({ ...meta, extended: rest }, codec);
  };
  try {
    const payload = encodeWhole(meta, codec);
    return payload instanceof Promise ? payload.catch(without) : payload;
  } catch (error) {
    return without(error);
  }
}

function encodeWhole(meta: Meta, codec: MetaCodec): MaybePromise<Payload> {
  const { keep, ...within } = codec;
  if (keep !== undefined) return encodeOutside(meta, within, keep);
  checkReadable(meta);
  const { extended } = meta;
  const members: Record<string, unknown> = {
    status: meta.status,
    // Python's readers need the key.
    result: meta.result ?? null,
    traceback: meta.traceback,
    children: meta.children,
    date_done: isReady(meta.status) ? meta.dateDone : null,
  };
  if (meta.groupId) members["group_id"] = meta.groupId;
  if (meta.parentId) members["parent_id"] = meta.parentId;
  if (extended) {
    const { stampedHeaders, stamps, ...fields } = extended;
    for (const name of ["name", "args", "kwargs", "worker", "retries", "queue"] as const) {
      if (fields[name] !== undefined) members[name] = fields[name];
    }
    if (stampedHeaders) members["stamped_headers"] = stampedHeaders;
    for (const stamp of stampedHeaders ?? []) if (!KNOWN.has(stamp)) put(members, stamp, stamps?.[stamp]);
  }
  if (meta.extra) for (const [key, value] of Object.entries(meta.extra)) if (!KNOWN.has(key)) put(members, key, value);
  members["task_id"] = meta.taskId;
  return encodePayload(members, codec);
}

/** The row has the pointer in the place of the result, for Python's readers too. */
async function encodeOutside(meta: Meta, codec: MetaCodec, keep: NonNullable<MetaCodec["keep"]>): Promise<Payload> {
  const { compression: _, ...plain } = codec;
  const isJson = (plain.serializer ?? "json") === "json";
  const long = isJson ? longText(meta.result, 1, stringifyValue) : undefined;
  const payload = long === undefined ? await encodePayload(meta.result ?? null, plain) : "";
  const pointer = await keep(long ?? (typeof payload === "string" ? payload : bytesToBase64(payload)));
  const form = typeof payload === "string" ? "text" : "base64";
  return encodeWhole({ ...meta, result: JSON.parse(pointer), extra: { ...meta.extra, [KEPT]: form } }, plain);
}

async function fetchResult(meta: Meta, codec: MetaCodec): Promise<Meta> {
  const { [KEPT]: form, ...extra } = meta.extra ?? {};
  if (codec.fetch === undefined || form === undefined) return meta;
  const { text, restored } = await codec.fetch(JSON.stringify(meta.result));
  const result = await decodePayload(form === "text" ? text : base64ToBytes(text), codec, roomForKept());
  return { ...meta, result: restored(result), extra: Object.keys(extra).length === 0 ? undefined : extra };
}

/** Sets a member whose name is somebody else's, `__proto__` too. */
const put = (object: object, name: string, value: unknown): void =>
  void Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });

function checkReadable(meta: Meta): void {
  if (holdsException(meta.status) && !(meta.result === null && meta.status === RETRY)) {
    const data =
      typeof meta.result === "object" && meta.result !== null ? (meta.result as Record<string, unknown>) : {};
    if (typeof data.exc_type !== "string" || data.exc_type === "") {
      throw new EncodeError(
        "result",
        `must be an exception in Celery's form ({ exc_type, exc_message, exc_module }) in the state ${meta.status}`,
      );
    }
    if (data.exc_module === "builtins" && !isSafeBuiltin(data.exc_type)) {
      throw new EncodeError("result", `must not be builtins.${data.exc_type}, which a Python reader does not survive`);
    }
  }
  if (meta.children?.some((child) => !Array.isArray(child) || child.length !== 2)) {
    throw new EncodeError("children", "must hold result tuples, such as [[id, null], null]");
  }
}

/** Reads a meta as leniently as Celery does, and more. Throws `DecodeError` where it is no object or has no status. */
export function decodeMeta(payload: Payload, codec: MetaCodec = {}): MaybePromise<Meta> {
  return whenReady(decodeRow(payload, codec), (meta) => withResult(meta, codec));
}

/** What the row itself says: a result that is kept outside it is not read, and a pointer is in its place. Throws the same. */
export const decodeRow = (payload: Payload, codec: MetaCodec = {}): MaybePromise<Meta> =>
  whenReady(decodePayload(payload, codec), toMeta);

/** What {@link decodeRow} has read, with its result in the place of a pointer. */
export const withResult = (meta: Meta, codec: MetaCodec): MaybePromise<Meta> =>
  meta.extra !== undefined && Object.hasOwn(meta.extra, KEPT) ? fetchResult(meta, codec) : meta;

/** The state alone; an empty text where there is no row, or none in it yet. Throws the same. */
export const decodeStatus = (payload: Payload | undefined, codec: MetaCodec = {}): MaybePromise<string> =>
  payload === undefined || payload.length === 0 ? "" : whenReady(decodeRow(payload, codec), ({ status }) => status);

function toMeta(value: unknown): Meta {
  const raw = asObject(value, "the stored result");
  const { status } = raw;
  if (typeof status !== "string") throw new DecodeError("the stored result has no status");
  const stampedHeaders = Array.isArray(raw.stamped_headers)
    ? raw.stamped_headers.filter((name) => typeof name === "string")
    : undefined;
  const stampNames = stampedHeaders?.filter((name) => !KNOWN.has(name) && Object.hasOwn(raw, name)) ?? [];
  const extra = Object.keys(raw).filter((key) => !KNOWN.has(key) && !stampNames.includes(key));
  const extended: ExtendedMeta = defined({
    name: textOf(raw.name),
    args: Array.isArray(raw.args) ? raw.args : undefined,
    kwargs: typeof raw.kwargs === "object" && raw.kwargs !== null ? (raw.kwargs as Record<string, unknown>) : undefined,
    worker: textOf(raw.worker),
    retries: typeof raw.retries === "number" ? raw.retries : undefined,
    queue: textOf(raw.queue),
    stampedHeaders,
    stamps: stampedHeaders && Object.fromEntries(stampNames.map((name) => [name, raw[name]])),
  });
  return {
    status,
    result: raw.result ?? null,
    traceback: textOf(raw.traceback) ?? null,
    children: Array.isArray(raw.children) ? raw.children : null,
    dateDone: readableTime(raw.date_done),
    taskId: textOf(raw.task_id) ?? "",
    ...defined({
      groupId: textOf(raw.group_id),
      parentId: textOf(raw.parent_id),
      extended: Object.keys(extended).length > 0 ? extended : undefined,
      extra: extra.length > 0 ? Object.fromEntries(extra.map((key) => [key, raw[key]])) : undefined,
    }),
  };
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function readableTime(value: unknown): string | null {
  if (typeof value !== "string") return null;
  try {
    parseTime(value);
    return value;
  } catch {
    return null;
  }
}

function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw new DecodeError(`${what} is not an object`);
}

/** A saved group (`GroupResult.save`, a chord's header), as Celery stores it. */
export function encodeGroupMeta(group: ResultTuple, codec: MetaCodec = {}): MaybePromise<Payload> {
  return encodePayload({ result: group }, codec);
}

/** The tuple of a saved group. Throws `DecodeError`. */
export function decodeGroupMeta(payload: Payload, codec: MetaCodec = {}): MaybePromise<ResultTuple> {
  return whenReady(decodePayload(payload, codec), (value) => {
    const { result } = asObject(value, "the stored group");
    if (!isResultTuple(result) || result[1] === null)
      throw new DecodeError("the stored group holds no group's result tuple");
    return result;
  });
}

function isResultTuple(value: unknown): value is ResultTuple {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [head, members] = value as [unknown, unknown];
  if (!Array.isArray(head) || typeof head[0] !== "string" || (head[1] !== null && !isResultTuple(head[1])))
    return false;
  return members === null || (Array.isArray(members) && members.every(isResultTuple));
}

// ── payloads ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What Celery >= 5.7 puts before a compressed value: this, the MIME type, a NUL, the compressed bytes. */
const MARKER = "\0celery-compressed\0";

function encodePayload(value: unknown, codec: MetaCodec): MaybePromise<Payload> {
  const serializer = SERIALIZERS[codec.serializer ?? "json"];
  const { compression } = codec;
  const plain = serializer.dumps(value);
  if (compression === undefined) return plain;
  // One that is not known is refused by what compresses.
  const type = compressionType(compression) ?? compression;
  return whenReady(plain, async (data) => {
    const compressed = await compress(typeof data === "string" ? textToBytes(data) : data, type);
    const marker = textToBytes(`${MARKER}${type}\0`);
    const payload = new Uint8Array(marker.length + compressed.length);
    payload.set(marker);
    payload.set(compressed, marker.length);
    return payload;
  });
}

function decodePayload(payload: Payload, codec: MetaCodec, room?: number): MaybePromise<unknown> {
  const name = codec.serializer ?? "json";
  // Nothing in a row says how it was written: whoever reads it in another way learns it here.
  const refuse = (error: unknown): never => {
    if (!(error instanceof DecodeError)) throw error;
    throw new DecodeError(`the row cannot be read as ${name} (resultSerializer): ${error.message}`, { cause: error });
  };
  const load = (data: Payload, limit?: number): MaybePromise<unknown> => {
    try {
      const value = SERIALIZERS[name].loads(data, limit);
      return value instanceof Promise ? value.catch(refuse) : value;
    } catch (error) {
      return refuse(error);
    }
  };
  const marked = typeof payload === "string" ? undefined : readMarker(payload);
  if (marked === undefined) return load(payload, room);
  return decompress(marked.bytes, marked.type, codec.maxInflatedBytes).then((data) => load(data));
}

function readMarker(payload: Uint8Array): { readonly type: string; readonly bytes: Uint8Array } | undefined {
  if (payload[0] !== 0 || bytesToText(payload.subarray(0, MARKER.length)) !== MARKER) return undefined;
  const end = payload.indexOf(0, MARKER.length);
  const type = end < 0 ? undefined : bytesToText(payload.subarray(MARKER.length, end));
  if (type === undefined) throw new DecodeError("the stored result is marked as compressed, but does not say how");
  return { type, bytes: payload.subarray(end + 1) };
}
