/** How a body or a result becomes text or bytes. JSON is always there; the others load when they are first needed. */
import { bytesToText, textToBytes } from "./bytes.ts";
import { ContentDisallowed, DecodeError, EncodeError, LovageError } from "../errors.ts";
import { isTag, MAX_NESTING, parseJson } from "./json.ts";
import { checkMsgpack } from "./msgpack.ts";
import { checkRoom, ITEM_BYTES, SMALL_BYTES } from "./room.ts";
import { isPythonTime } from "./time.ts";
import { dateText, parseValue, readTag, stringifyValue } from "./values.ts";

/** How arguments and results are written. */
export type SerializerName = "json" | "msgpack" | "yaml";

/** A value at hand, or on its way where something had to be loaded or decompressed first. */
export type MaybePromise<T> = T | Promise<T>;

/** Goes on with a value, at once where it is at hand. */
export function whenReady<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/**
 * What is stored or sent: the text of JSON or YAML, or bytes where it is msgpack, or compressed. Text may be read back as
 * bytes of UTF-8: where a store knows only bytes, those that begin with `{` are text.
 */
export type Payload = string | Uint8Array;

/** The text of a payload that holds text, whichever of the two a store has made of it. */
export const payloadText = (payload: Payload): string =>
  typeof payload === "string" ? payload : new TextDecoder().decode(payload);

interface Serializer {
  readonly contentType: string;
  /** What kombu writes as `content-encoding`. */
  readonly contentEncoding: "utf-8" | "binary";
  /** `path` names the value in an `EncodeError`, `depth` counts the brackets around it. */
  readonly dumps: (value: unknown, path?: string, depth?: number) => MaybePromise<Payload>;
  /** Throws `DecodeError`. `room`: how many bytes of memory the value may take, by default what this process has for one. */
  readonly loads: (data: Payload, room?: number) => MaybePromise<unknown>;
}

/** Defined by who bundles for an app that has JSON alone (esbuild's `--define:LOVAGE_JSON_ONLY=true`): the others are then left out. */
declare const LOVAGE_JSON_ONLY: unknown;

async function loadYamlPackage() {
  // An import() that a bundler reads costs a function around each module behind it, even where nothing comes to it.
  if (typeof LOVAGE_JSON_ONLY === "undefined") return { yaml: await import("yaml"), ...(await import("./yaml.ts")) };
  throw notBundled("application/x-yaml");
}

type Codec = Pick<Serializer, "dumps" | "loads">;

/** In place of what a bundle for JSON alone has not. */
function leftOut(contentType: string): Codec {
  const refuse = async () => {
    throw notBundled(contentType);
  };
  return { dumps: refuse, loads: refuse };
}

const notBundled = (contentType: string) =>
  new ContentDisallowed(
    contentType,
    "this bundle was made for JSON alone; name the serializer in acceptContent and deploy again",
  );

export const SERIALIZERS: Readonly<Record<SerializerName, Serializer>> = {
  json: {
    contentType: "application/json",
    contentEncoding: "utf-8",
    dumps: stringifyValue,
    loads: loadJson,
  },
  msgpack: {
    contentType: "application/x-msgpack",
    contentEncoding: "binary",
    ...(typeof LOVAGE_JSON_ONLY === "undefined"
      ? { dumps: dumpMsgpack, loads: loadMsgpack }
      : leftOut("application/x-msgpack")),
  },
  yaml: {
    contentType: "application/x-yaml",
    contentEncoding: "utf-8",
    ...(typeof LOVAGE_JSON_ONLY === "undefined" ? { dumps: dumpYaml, loads: loadYaml } : leftOut("application/x-yaml")),
  },
};

const NAMES: ReadonlyMap<string, SerializerName | "pickle"> = new Map([
  ["json", "json"],
  ["application/json", "json"],
  ["msgpack", "msgpack"],
  ["application/x-msgpack", "msgpack"],
  ["yaml", "yaml"],
  ["application/x-yaml", "yaml"],
  ["pickle", "pickle"],
  ["application/x-python-serialize", "pickle"],
]);

/** The serializer of a name or a MIME type; `undefined` where there is none, as for pickle. */
export function serializerName(nameOrType: string): SerializerName | undefined {
  const name = NAMES.get(nameOrType.toLowerCase());
  return name === "pickle" ? undefined : name;
}

/** The MIME type of a serializer. */
export const contentTypeOf = (name: SerializerName): string => SERIALIZERS[name].contentType;

/** The serializer that may read a content type. `accept` holds names or MIME types. Throws `ContentDisallowed`. */
export function acceptedSerializer(contentType: string, accept: readonly string[]): SerializerName {
  const name = NAMES.get(contentType);
  if (name === "pickle")
    throw new ContentDisallowed(contentType, "reading pickle runs code that the sender chose; send JSON");
  if (name === undefined)
    throw new ContentDisallowed(contentType, "it is not a type that is known; application/json is, exactly so written");
  if (!accept.some((entry) => serializerName(entry) === name)) {
    throw new ContentDisallowed(contentType, `acceptContent has only ${accept.join(", ") || "nothing"}`);
  }
  return name;
}

function toText(data: Payload): string {
  if (typeof data === "string") return data;
  const text = bytesToText(data);
  if (text === undefined) throw new DecodeError("the bytes are not UTF-8");
  return text;
}

function loadJson(data: Payload, room?: number): unknown {
  const text = toText(data);
  checkRoomForText(text, room);
  return parseValue(text);
}

/** Throws `DecodeError` where the value of a JSON text would take more memory than there is for one. */
export function checkRoomForText(text: string, room?: number): void {
  if (text.length <= SMALL_BYTES && room === undefined) return;
  // As bytes, as text, and as the texts in it, which may have two bytes a character. Where somebody has said what there is room
  // for, the value alone counts.
  const each = room === undefined ? 4 : WIDE.test(text) ? 2 : 1;
  checkRoom(each * text.length + ITEM_BYTES * countOfValues(text), room);
}

/** Such a character makes all others of its text take two bytes. */
const WIDE = /[^\0-\xff]/;

/** How many values a JSON text has at most: signs outside of texts that begin a value, or go before one. */
function countOfValues(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x5b: // [
      case 0x7b: // {
      case 0x2c: // ,
      case 0x3a: // :
        count++;
        break;
      case 0x22: {
        at = endOfText(text, at);
        break;
      }
      default:
    }
  }
  return count;
}

/** Where the text ends that begins at a quote. */
function endOfText(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}

/** How often any of the signs stands in a text. */
function countOf(text: string, signs: string): number {
  const wanted = new Set(Array.from(signs, (sign) => sign.charCodeAt(0)));
  let count = 0;
  for (let i = 0; i < text.length; i++) if (wanted.has(text.charCodeAt(i))) count++;
  return count;
}

// ── msgpack and YAML ────────────────────────────────────────────────────────────────────────────────────────────────
// Both carry what JSON carries, by the same rules. Dates and bytes they have forms of their own for; all else keeps
// kombu's tag, which only Lovage reads back.

function toTree(value: unknown, path: string | undefined, depth: number | undefined): unknown {
  return parseJson(stringifyValue(value, path, depth), (marker, tagged) =>
    marker === "datetime" || marker === "bytes" || marker === "base64" ? readTag(marker, tagged) : undefined,
  );
}

/** A tree as a decoder made it: integers become numbers where those hold them, tags what they stand for. */
function fromTree(value: unknown, depth = 0): unknown {
  if (typeof value === "bigint")
    return BigInt.asIntN(54, value) === value && value !== -(2n ** 53n) ? Number(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date) {
    if (isPythonTime(value.getTime()) || dateText(value) !== undefined) return value;
    throw new DecodeError("the data holds a date outside of the years 1 to 9999");
  }
  // A copy: what the libraries give is a Buffer, or a view of the whole message.
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (depth >= MAX_NESTING) throw new DecodeError(`the data is nested more than ${MAX_NESTING} levels deep`);
  if (Array.isArray(value)) return value.map((item) => fromTree(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new DecodeError("the data holds a type that JSON has no form for");
  const object = Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fromTree(member, depth + 1)]));
  return isTag(object) ? readTag(object.__type__, object.__value__) : object;
}

/** What a foreign decoder throws is ours to explain. */
function decoded(what: string, read: () => unknown): unknown {
  try {
    return fromTree(read());
  } catch (error) {
    if (error instanceof LovageError) throw error;
    throw new DecodeError(
      `the ${what} data cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** The library writes integers beyond 32 bits as floats, unless they are bigints. */
function widen(value: unknown, path: string | undefined): unknown {
  if (typeof value === "bigint" && (value >= 2n ** 64n || value < -(2n ** 63n))) {
    throw new EncodeError(
      path ?? "",
      `has an integer of more than 64 bits (${value}), which msgpack cannot carry; use JSON`,
    );
  }
  if (typeof value === "number" && Number.isSafeInteger(value) && Math.abs(value) >= 2 ** 31 && !Object.is(value, -0))
    return BigInt(value);
  // The zone that brought it within is not written.
  if (value instanceof Date && !isPythonTime(value.getTime()))
    throw new EncodeError(
      path ?? "",
      "has a date outside of the years 1 to 9999 in UTC, which msgpack cannot carry; use JSON",
    );
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item) => widen(item, path));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, widen(member, path)]));
}

async function dumpMsgpack(value: unknown, path?: string, depth?: number): Promise<Payload> {
  const { encode } = await import("@msgpack/msgpack");
  return encode(widen(toTree(value, path, depth), path), { useBigInt64: true, maxDepth: MAX_NESTING + 1 });
}

async function loadMsgpack(data: Payload, room?: number): Promise<unknown> {
  const { decode } = await import("@msgpack/msgpack");
  return decoded("msgpack", () => {
    const bytes = typeof data === "string" ? textToBytes(data) : data;
    // Twice: as the library makes it, and the copy of that.
    checkRoom(2 * bytes.length + 2 * ITEM_BYTES * checkMsgpack(bytes), room);
    return decode(bytes, { useBigInt64: true });
  });
}

async function dumpYaml(value: unknown, path?: string, depth?: number): Promise<Payload> {
  const { yaml, writeYaml } = await loadYamlPackage();
  return writeYaml(yaml, toTree(value, path, depth));
}

async function loadYaml(data: Payload, room?: number): Promise<unknown> {
  const { yaml, readYaml, YAML_ITEM_BYTES, YAML_MARKS } = await loadYamlPackage();
  return decoded("YAML", () => {
    const text = toText(data);
    checkRoom(4 * text.length + YAML_ITEM_BYTES * countOf(text, YAML_MARKS), room);
    return readYaml(yaml, text);
  });
}
