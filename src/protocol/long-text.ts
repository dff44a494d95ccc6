/**
 * A text that is not made as a whole: its longest parts, which a caller holds anyway, are escaped piece by piece as it is
 * written to where large texts are kept. All the rest of it is a text in which a mark stands for each of them.
 */
import { base64ToBytes, bytesToBase64 } from "./bytes.ts";

/** From so many characters or bytes on a value is such a part. It is far beyond what a message may be after compression. */
export const LONG = 16 * 2 ** 20;
/** Characters that are escaped at a time. */
const PIECE = 2 ** 19;
/** Bytes that are encoded at a time, a multiple of three. What Node makes of more than a million characters lies outside of the heap, and goes late. */
const PIECE_OF_BYTES = 3 * 2 ** 17;

export type Part = string | Uint8Array;

export interface LongText {
  /** The text with its marks: JSON, which can be read as any other, see {@link LongText.restored}. */
  readonly marked: string;
  /** Characters at least, and as many bytes. */
  readonly least: number;
  /** The whole of it, each time it is asked for. */
  pieces(): Iterable<string>;
  /** A value that was read from {@link LongText.marked}, with its longest parts as they were. */
  restored<T>(value: T): T;
}

/**
 * The text that `write` makes of a value that holds something long; `undefined`: it holds nothing of that kind.
 *
 * @param escapes How often a text in the value is escaped in what is written: once where that is JSON, twice where it is the JSON of a JSON text.
 */
export function longText<T>(value: T, escapes: number, write: (marked: T) => string): LongText | undefined {
  if (!holdsLong(value)) return undefined;
  const parts = new Map<string, Part>();
  const marked = write(replaced(value, (part) => markOf(part, parts)) as T);
  const marks = new RegExp(`(${[...parts.keys()].join("|").replaceAll("+", "\\+")})`);
  const least = [...parts.values()].reduce((sum, part) => sum + part.length, marked.length);
  return {
    marked,
    least,
    *pieces() {
      for (const piece of marked.split(marks)) {
        const part = parts.get(piece);
        if (part === undefined) yield piece;
        else if (typeof part === "string") yield* escaped(part, escapes);
        else yield* encoded(part);
      }
    },
    restored: (read) => restoredBy(read, parts),
  };
}

/** A value that was read from a text with marks, with what they stand for. */
export const restoredBy = <T>(read: T, parts: ReadonlyMap<string, Part>): T =>
  // However deep it is.
  replaced(read, (leaf) => parts.get(markIn(leaf)), 0, Number.NEGATIVE_INFINITY) as T;

const MARK_BYTES = 24;
const markIn = (leaf: Part): string =>
  typeof leaf === "string" ? leaf : leaf.length === MARK_BYTES ? bytesToBase64(leaf) : "";

const isPart = (value: unknown): value is Part => typeof value === "string" || value instanceof Uint8Array;

/** Deeper nobody looks: what contains itself is refused by who writes it. */
const MAX_DEPTH = 50;

/** Whether it is a list or a plain object, whose items are looked at. */
function hasItems(value: unknown, depth: number): value is object {
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Array.isArray(value);
}

/** Whether a value has a text, or bytes, of {@link LONG} or more. What cannot be read, as of a getter that throws, is refused by who writes it. */
export function holdsLong(value: unknown, depth = 0): boolean {
  try {
    if (isPart(value)) return value.length >= LONG;
    return hasItems(value, depth) && Object.values(value).some((item) => holdsLong(item, depth + 1));
  } catch {
    return false;
  }
}

/** A copy with other values for some of its texts and bytes; what holds none, or cannot be read, is the same object. */
function replaced(value: unknown, by: (leaf: Part) => unknown, least = LONG, depth = 0): unknown {
  try {
    if (isPart(value)) return value.length < least ? value : (by(value) ?? value);
    if (!hasItems(value, depth)) return value;
    const next = (item: unknown) => replaced(item, by, least, depth + 1);
    if (Array.isArray(value)) return value.map(next);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, next(item)]));
  } catch {
    return value;
  }
}

/** A mark for a part, which nobody else can write. It is the same however often it is escaped, and that of bytes is what they are in JSON. */
export function markFor(part: Part, parts: Map<string, Part>): string {
  const random = globalThis.crypto.getRandomValues(new Uint8Array(MARK_BYTES));
  // No UTF-8, or they would be written as text.
  random[0] = 0xff;
  const mark = bytesToBase64(random);
  parts.set(mark, part);
  return mark;
}

function markOf(part: Part, parts: Map<string, Part>): Part {
  if (typeof part === "string") return markFor(part, parts);
  // Its owner may change it meanwhile.
  return base64ToBytes(markFor(part.slice(), parts));
}

function* escaped(text: string, times: number): Generator<string> {
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + PIECE);
    // A character of two halves stays whole.
    if (end < text.length && isHigh(text.charCodeAt(end - 1))) end--;
    let piece = text.slice(at, end);
    for (let time = 0; time < times; time++) piece = JSON.stringify(piece).slice(1, -1);
    yield piece;
    at = end;
  }
}

export const isHigh = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;

function* encoded(bytes: Uint8Array): Generator<string> {
  for (let at = 0; at < bytes.length; at += PIECE_OF_BYTES)
    yield bytesToBase64(bytes.subarray(at, at + PIECE_OF_BYTES));
}
