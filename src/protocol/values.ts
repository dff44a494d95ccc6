/**
 * The values that travel: JSON as kombu writes it, with tags (`{"__type__": …, "__value__": …}`) for what JSON has no
 * form for, bare `NaN` and infinities, and integers of any size. Both directions are without loss, but for what
 * JavaScript cannot tell apart: Python's `1.0` arrives as `1`, and its tuples as arrays.
 *
 * Most messages hold nothing special. They take the engine's own JSON, after a look that costs less than that.
 */
import { base64ToBytes, bytesToBase64, bytesToText } from "./bytes.ts";
import { DecodeError, EncodeError, ImproperlyConfigured, LovageError } from "../errors.ts";
import { MAX_DIGITS, MAX_NESTING, parseJson } from "./json.ts";
import { isPythonTime, parseTime } from "./time.ts";

// ── Python's types that JavaScript has no value for ─────────────────────────────────────────────────────────────────

/** Python's `datetime.date`: a day without a time, such as `new PlainDate("2026-08-20")`. Throws `RangeError`. */
export class PlainDate {
  /** The year, 1 to 9999: what Python's `date` can hold. */
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  /** The day of the month, from 1. */
  readonly day: number;
  constructor(text: string) {
    if (!/^\d{4}-\d\d-\d\d$/.test(text) || !isTime(text))
      throw new RangeError(`${JSON.stringify(text)} is not a date, such as 2026-08-20`);
    this.year = Number(text.slice(0, 4));
    this.month = Number(text.slice(5, 7));
    this.day = Number(text.slice(8));
    Object.freeze(this);
  }
  /** `YYYY-MM-DD`. */
  toString(): string {
    const two = (n: number) => String(n).padStart(2, "0");
    return `${String(this.year).padStart(4, "0")}-${two(this.month)}-${two(this.day)}`;
  }
  /** `YYYY-MM-DD`. */
  toJSON(): string {
    return this.toString();
  }
}

/** Python's `datetime.time`: a time of day, with an offset or without, such as `new PlainTime("01:02:03.000005+00:00")`. Throws `RangeError`. */
export class PlainTime {
  /** The time as Python's `time.isoformat()` writes it. */
  readonly text: string;
  constructor(text: string) {
    if (
      !/^\d\d(:\d\d(:\d\d([.,]\d+)?)?)?(Z|[+-]\d\d(:?\d\d(:?\d\d)?)?)?$/.test(text) ||
      !isTime(`2000-01-01T${text}`)
    ) {
      throw new RangeError(`${JSON.stringify(text)} is not a time of day, such as 01:02:03`);
    }
    this.text = text;
    Object.freeze(this);
  }
  /** The time as text. */
  toString(): string {
    return this.text;
  }
  /** The time as text. */
  toJSON(): string {
    return this.text;
  }
}

/** Python's `decimal.Decimal`, digit for digit as text: `new Decimal("1.10")`. It does no arithmetic. Throws `RangeError`. */
export class Decimal {
  /** The number as it was written: `"1.10"`. */
  readonly text: string;
  constructor(text: string) {
    if (!/^[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|s?nan\d*)$/i.test(text)) {
      throw new RangeError(`${JSON.stringify(text)} is not a decimal number, such as 1.10`);
    }
    this.text = text;
    Object.freeze(this);
  }
  /** The number as text. */
  toString(): string {
    return this.text;
  }
  /** The number as text. */
  toJSON(): string {
    return this.text;
  }
}

/** Python's `uuid.UUID`, from 32 hexadecimal digits with or without dashes. Throws `RangeError`. */
export class Uuid {
  /** 32 digits in lower case, without dashes. */
  readonly hex: string;
  constructor(text: string) {
    const hex = text
      .replace(/^urn:uuid:/i, "")
      .replaceAll(/[{}-]/g, "")
      .toLowerCase();
    if (!/^[0-9a-f]{32}$/.test(hex)) throw new RangeError(`${JSON.stringify(text)} is not a UUID`);
    this.hex = hex;
    Object.freeze(this);
  }
  /** The usual form, with dashes. */
  toString(): string {
    return this.hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }
  /** The UUID as text. */
  toJSON(): string {
    return this.toString();
  }
}

function isTime(text: string): boolean {
  try {
    parseTime(text);
    return true;
  } catch {
    return false;
  }
}

// ── tags ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The text that a `Date` was read from. It says more than the `Date` can: microseconds, an offset, or that there was none. */
const originalText = new WeakMap<Date, { readonly text: string; readonly ms: number }>();

function readDate(value: unknown): Date {
  const text = expectText(value);
  const ms = parseTime(text);
  const date = new Date(ms);
  originalText.set(date, { text, ms });
  return date;
}

/** The text of a date; `undefined` where Python cannot hold it, unless it came from there: its own zone may bring it within. */
export function dateText(date: Date): string | undefined {
  const original = originalText.get(date);
  if (original?.ms === date.getTime()) return original.text;
  // Python <= 3.10 reads no `Z`, and fractions of three or six digits only.
  return isPythonTime(date.getTime()) ? `${date.toISOString().slice(0, -1)}+00:00` : undefined;
}

function expectText(value: unknown): string {
  if (typeof value === "string") return value;
  throw new DecodeError("its value is not text");
}

function readUuid(value: unknown): Uuid {
  if (typeof value === "object" && value !== null && "hex" in value) return new Uuid(expectText(value.hex));
  throw new DecodeError('its value is not {"hex": …}');
}

function readBytes(value: unknown): Uint8Array {
  const text = expectText(value);
  if (!text.isWellFormed()) throw new DecodeError("its text has half a surrogate pair, which no bytes stand for");
  return new TextEncoder().encode(text);
}

const BUILT_IN: ReadonlyMap<unknown, (value: unknown) => unknown> = new Map<unknown, (value: unknown) => unknown>([
  ["datetime", readDate],
  // Python takes a whole datetime here as well, and keeps its day.
  ["date", (value: unknown) => new PlainDate(expectText(value).slice(0, 10))],
  ["time", (value: unknown) => new PlainTime(expectText(value))],
  ["decimal", (value: unknown) => new Decimal(expectText(value))],
  ["uuid", readUuid],
  ["bytes", readBytes],
  ["base64", (value: unknown) => base64ToBytes(expectText(value))],
]);

interface RegisteredType {
  readonly type: abstract new (...args: never[]) => object;
  readonly marker: string;
  readonly encode: (value: never) => unknown;
  readonly decode: (value: unknown) => unknown;
}

const registered = new Map<string, RegisteredType>();

/**
 * Lets instances of a class of yours travel under a tag of their own, as kombu's `register_type` does. `encode` gives a
 * value that can travel, `decode` takes it back. Every reader of the queue must know the tag: to all others, Python
 * included, the message is unreadable. A second registration of a marker replaces the first. Throws `ImproperlyConfigured`
 * for a marker that kombu uses itself.
 */
export function registerType<T extends object>(
  type: abstract new (...args: never[]) => T,
  marker: string,
  encode: (value: T) => unknown,
  decode: (value: unknown) => T,
): void {
  if (marker === "" || BUILT_IN.has(marker)) {
    throw new ImproperlyConfigured(
      "registerType",
      `the marker ${JSON.stringify(marker)} is taken; use a name of your own, such as "shop.money"`,
    );
  }
  registered.set(marker, { type, marker, encode, decode });
}

/** What a tagged object stands for. Throws `DecodeError` for a tag nobody knows. */
export function readTag(marker: unknown, value: unknown): unknown {
  const decode = BUILT_IN.get(marker) ?? (typeof marker === "string" ? registered.get(marker)?.decode : undefined);
  if (!decode) throw new DecodeError(`the type tag ${JSON.stringify(marker)} is not known; registerType() teaches it`);
  try {
    return decode(value);
  } catch (error) {
    throw new DecodeError(
      `a value tagged ${JSON.stringify(marker)} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

// ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A value as text. `path` names it in errors (`args` gives `args[0].callback`), `depth` counts the brackets that will
 * stand around it. `undefined` becomes `null`, and is left out of objects, as in JSON. Throws `EncodeError` for what
 * cannot travel: functions, symbols, Map, Set, cycles, more than {@link MAX_NESTING} levels, and objects that look like a tag.
 */
export function stringifyValue(value: unknown, path = "", depth = 0): string {
  try {
    if (isPlain(value, depth)) return JSON.stringify(value) ?? "null";
    return write(value, { path, keys: [], ancestors: [], depth }) ?? "null";
  } catch (error) {
    if (error instanceof LovageError) throw error;
    // A getter or a toJSON() of the user's threw, or the stack was nearly full before we came.
    throw new EncodeError(path, `cannot be encoded: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** Whether `JSON.stringify` says all there is to say. A cycle ends at the depth, and is named by `write`. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "undefined":
      return true;
    case "number":
      // Beyond 2^53 the digits would come back as an integer, and JSON has no sign for zero. NaN fails the comparisons.
      return value <= Number.MAX_SAFE_INTEGER && value >= -Number.MAX_SAFE_INTEGER && (value !== 0 || 1 / value > 0);
    case "object": {
      if (value === null) return true;
      if (depth >= MAX_NESTING) return false;
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype === Array.prototype) {
        const array = value as readonly unknown[]; // its prototype says so
        for (let i = 0; i < array.length; i++) if (!isPlain(array[i], depth + 1)) return false;
        return !("toJSON" in array);
      }
      if (prototype !== Object.prototype && prototype !== null) return false;
      const object = value as Readonly<Record<string, unknown>>;
      for (const key of Object.keys(object)) {
        if (key === "__type__" || !isPlain(object[key], depth + 1)) return false;
      }
      return true;
    }
    default:
      return false;
  }
}

interface Place {
  readonly path: string;
  readonly keys: (string | number)[];
  readonly ancestors: object[];
  readonly depth: number;
}

function refuse(place: Place, reason: string): never {
  let path = place.path;
  for (const key of place.keys) {
    if (typeof key === "number") path += `[${key}]`;
    else if (/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key)) path += path === "" ? key : `.${key}`;
    else path += `[${JSON.stringify(key)}]`;
  }
  throw new EncodeError(path, reason);
}

const tag = (marker: string, value: string): string => `{"__type__": ${JSON.stringify(marker)}, "__value__": ${value}}`;

/** What JSON would turn into `{}`, by its built-in tag, with what to do instead. */
const REFUSED: Readonly<Record<string, string>> = {
  Map: "is a Map; pass Object.fromEntries(map) or [...map]",
  Set: "is a Set; pass [...set]",
  WeakMap: "is a WeakMap",
  WeakSet: "is a WeakSet",
  WeakRef: "is a WeakRef",
  Promise: "is a Promise; await it first",
  RegExp: "is a RegExp; pass its source",
  Error: "is an Error; pass its message",
  ArrayBuffer: "is an ArrayBuffer; pass new Uint8Array(buffer)",
  SharedArrayBuffer: "is a SharedArrayBuffer; pass bytes",
  DataView: "is a DataView; pass a Uint8Array",
  Generator: "is a generator; pass an array",
  AsyncGenerator: "is a generator; pass an array",
  Response: "is a Response; pass await response.json(), or its text",
  Request: "is a Request; pass its url, or await request.json()",
  Headers: "is a Headers; pass Object.fromEntries(headers)",
  URLSearchParams: "is a URLSearchParams; pass Object.fromEntries(params), or params.toString()",
  FormData: "is a FormData; pass Object.fromEntries(form), with files as bytes",
  Blob: "is a Blob; pass await blob.bytes(), or new Uint8Array(await blob.arrayBuffer())",
  File: "is a File; pass new Uint8Array(await file.arrayBuffer())",
  ReadableStream: "is a ReadableStream; pass what it holds",
  AbortSignal: "is an AbortSignal; pass signal.aborted",
};

/** `undefined` where JSON leaves the value out. */
function write(value: unknown, place: Place): string | undefined {
  // TypeScript holds this to every type there is.
  switch (typeof value) {
    case "undefined":
      return undefined;
    case "string":
    case "boolean":
      return JSON.stringify(value);
    case "number":
      if (Object.is(value, -0)) return "-0.0";
      if (!Number.isFinite(value) || Math.abs(value) <= Number.MAX_SAFE_INTEGER) return String(value);
      // A point or an exponent: a float to Python, and no bigint when it comes back.
      return /e/.test(String(value)) ? String(value) : `${value}.0`;
    case "bigint": {
      const digits = value.toString();
      if (digits.length > MAX_DIGITS) refuse(place, `has ${digits.length} digits; Python reads ${MAX_DIGITS} at most`);
      return digits;
    }
    case "function":
      return refuse(place, "is a function, which cannot travel");
    case "symbol":
      return refuse(place, "is a symbol, which cannot travel");
    case "object":
      return value === null ? "null" : writeObject(value, place);
  }
}

function writeObject(value: object, place: Place): string {
  if (place.ancestors.includes(value)) refuse(place, "contains itself");
  if (place.depth + place.ancestors.length >= MAX_NESTING)
    refuse(place, `is nested more than ${MAX_NESTING} levels deep`);
  place.ancestors.push(value);
  const text = writeNested(value, place);
  place.ancestors.pop();
  return text;
}

function writeNested(value: object, place: Place): string {
  const kind = Object.prototype.toString.call(value).slice("[object ".length, -1);
  if (Array.isArray(value) && !("toJSON" in value)) {
    const parts: string[] = [];
    for (let i = 0; i < value.length; i++) {
      place.keys.push(i);
      parts.push(write(value[i], place) ?? "null");
      place.keys.pop();
    }
    return `[${parts.join(", ")}]`;
  }
  for (const { type, marker, encode } of registered.values()) {
    // The class was registered together with its encoder.
    if (value instanceof type) return tag(marker, write(encode(value as never), place) ?? "null");
  }
  if (kind === "Date") {
    const date = value as Date; // the engine's own tag: no class of a user's has it
    const text = dateText(date) ?? refuse(place, "is no date that Python can hold (the years 1 to 9999)");
    return tag("datetime", JSON.stringify(text));
  }
  if (value instanceof PlainDate) return tag("date", JSON.stringify(value));
  if (value instanceof PlainTime) return tag("time", JSON.stringify(value));
  if (value instanceof Decimal) return tag("decimal", JSON.stringify(value));
  if (value instanceof Uuid) return tag("uuid", `{"hex": "${value.hex}"}`);
  if (value instanceof Uint8Array) {
    const text = bytesToText(value);
    return text === undefined ? tag("base64", `"${bytesToBase64(value)}"`) : tag("bytes", JSON.stringify(text));
  }
  // Not left out, as JSON would, where it gives nothing: a result must be there.
  if ("toJSON" in value && typeof value.toJSON === "function")
    return write(value.toJSON(String(place.keys.at(-1) ?? "")), place) ?? "null";
  if (value instanceof Number || value instanceof String || value instanceof Boolean)
    return write(value.valueOf(), place) ?? "null";
  if (ArrayBuffer.isView(value) && kind !== "DataView")
    refuse(place, `is a ${kind}; pass Array.from(array), or a Uint8Array for bytes`);
  const reason = Object.hasOwn(REFUSED, kind) ? REFUSED[kind] : undefined;
  if (reason !== undefined) refuse(place, `${reason}: JSON cannot carry it`);

  if (Object.keys(value).length === 0 && hidesData(value, kind)) {
    const { name } = value.constructor ?? {};
    refuse(
      place,
      `is ${kind === "Object" ? `an instance of ${name || "a class"}` : `a ${kind}`} whose data are not properties of its own: JSON would make {} of it; pass its data, or give it a toJSON()`,
    );
  }

  const parts: string[] = [];
  let tagKeys = 0;
  for (const [key, member] of Object.entries(value)) {
    place.keys.push(key);
    const text = write(member, place);
    place.keys.pop();
    if (text === undefined) continue;
    if (key === "__type__" || key === "__value__") tagKeys += 1;
    parts.push(`${JSON.stringify(key)}: ${text}`);
  }
  if (tagKeys === 2 && parts.length === 2) {
    refuse(
      place,
      "has exactly the keys __type__ and __value__, which every reader takes for a type tag; add a third key or rename one",
    );
  }
  return `{${parts.join(", ")}}`;
}

/** In the text of a class. */
const PRIVATE_FIELD = /[\s;{}]#[\p{ID_Start}_$]/u;

/** Whether an object without properties has data all the same: it is the platform's, or its class has getters or private fields. */
function hidesData(value: object, kind: string): boolean {
  let holder: unknown = Object.getPrototypeOf(value);
  if (holder === null) return false;
  if (kind !== "Object" && kind !== "Arguments") return true;
  for (; holder !== null; holder = Object.getPrototypeOf(holder)) {
    // The last one is Object's own, of this realm or another one.
    if (Object.getPrototypeOf(holder) === null) return false;
    const members = Object.values(Object.getOwnPropertyDescriptors(holder));
    if (members.some(({ get }) => get !== undefined)) return true;
    // Nothing but its text says that a class has private fields.
    const own: unknown = Object.getOwnPropertyDescriptor(holder, "constructor")?.value;
    if (typeof own === "function" && PRIVATE_FIELD.test(String(own))) return true;
  }
  return false;
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The value of a text. Throws `DecodeError`: not JSON (Python's dialect), an unknown tag, more than {@link MAX_NESTING} levels. */
export function parseValue(text: string): unknown {
  return parseJson(text, readTag);
}
