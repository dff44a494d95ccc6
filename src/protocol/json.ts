/** Reading JSON as Python writes it: with bare `NaN` and infinities, integers of any size, and kombu's type tags. */
import { DecodeError } from "../errors.ts";

/** How many brackets may be open at once. Python's own JSON gives up at about as many. */
export const MAX_NESTING = 1000;

/** The longest integer in digits that Python reads from text (`sys.int_info.default_max_str_digits`). */
export const MAX_DIGITS = 4300;

/** Whether an object has the two keys of a tag and no others. */
export function isTag(object: object): object is { readonly __type__: unknown; readonly __value__: unknown } {
  return Object.hasOwn(object, "__type__") && Object.hasOwn(object, "__value__") && Object.keys(object).length === 2;
}

/** An integer of so many digits that a number may not hold it. The fraction of a float does not count. */
const LONG_INTEGER = /(?:^|[^.\d])\d{16}/;

/**
 * The value of a text. `revive` says what a tagged object becomes; `undefined` leaves it an object. Throws `DecodeError`:
 * no JSON, or more than {@link MAX_NESTING} levels.
 */
export function parseJson(text: string, revive: (marker: unknown, value: unknown) => unknown): unknown {
  // A shorter text has not enough brackets.
  if (text.length > 2 * MAX_NESTING && hasManyBrackets(text) && nesting(text) > MAX_NESTING) {
    throw new DecodeError(`the text is nested more than ${MAX_NESTING} levels deep`);
  }
  if (!isSpecial(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // NaN or an infinity, or no JSON at all, which is told by its position below.
    }
  }
  return parseSlowly(text, revive);
}

/** Whether a text may hold a tag or a long integer. It may say so for nothing: the slow way reads everything. */
function isSpecial(text: string): boolean {
  // The first look is by far the faster one, and mostly enough.
  if (text.includes("__type__") && text.includes('"__type__"')) return true;
  // ASCII letters written as escapes could spell a tag, though no encoder writes them so.
  if (text.includes("\\u00") && /\\u00[2-7]/.test(text)) return true;
  return LONG_INTEGER.test(text);
}

/** Whether so many brackets open, in strings or out of them, that {@link MAX_NESTING} could be passed: a hundred times quicker to tell. */
function hasManyBrackets(text: string): boolean {
  let count = 0;
  for (const bracket of ["[", "{"]) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      if (++count > MAX_NESTING) return true;
    }
  }
  return false;
}

/** How many brackets are open at once, at most. */
function nesting(text: string): number {
  let depth = 0;
  let most = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) {
      for (i += 1; i < text.length; i++) {
        const inside = text.charCodeAt(i);
        if (inside === 0x22) break;
        if (inside === 0x5c) i += 1;
      }
    } else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > most) most = depth;
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
  return most;
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const WORDS: readonly (readonly [string, unknown])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
];

/** JSON by hand: Python's dialect, big integers and tags. The nesting is known to be within bounds. */
function parseSlowly(text: string, revive: (marker: unknown, value: unknown) => unknown): unknown {
  let at = 0;

  const fail = (expected: string): never => {
    throw new DecodeError(`the text is not JSON: ${expected} is missing at position ${at} of ${text.length}`);
  };
  const skip = (): number => {
    for (;;) {
      const code = text.charCodeAt(at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code;
      at += 1;
    }
  };
  const string = (): string => {
    const start = at;
    let plain = true;
    for (at += 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        at += 1;
        return plain ? text.slice(start + 1, at - 1) : escaped(start);
      }
      if (code < 0x20) plain = false;
      else if (code === 0x5c) {
        plain = false;
        at += 1;
      }
    }
    return fail("a closing quote");
  };
  const escaped = (start: number): string => {
    try {
      return JSON.parse(text.slice(start, at));
    } catch (error) {
      throw new DecodeError(
        `the text is not JSON: the string at position ${start} has a bad escape or a control character`,
        { cause: error },
      );
    }
  };
  const number = (): unknown => {
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    if (!match) return fail("a value");
    at = NUMBER.lastIndex;
    const near = Number(match[0]);
    if (match[1] !== undefined || match[2] !== undefined || Number.isSafeInteger(near)) return near;
    if (match[0].length > MAX_DIGITS)
      throw new DecodeError(`the text has an integer of more than ${MAX_DIGITS} digits`);
    return BigInt(match[0]);
  };
  const array = (): unknown[] => {
    const items: unknown[] = [];
    at += 1;
    if (skip() !== 0x5d) {
      for (;;) {
        items.push(value());
        const code = skip();
        if (code === 0x5d) break;
        if (code !== 0x2c) fail("a comma or ]");
        at += 1;
      }
    }
    at += 1;
    return items;
  };
  const object = (): unknown => {
    const members: Record<string, unknown> = {};
    at += 1;
    if (skip() !== 0x7d) {
      for (;;) {
        if (skip() !== 0x22) fail("a key");
        const key = string();
        if (skip() !== 0x3a) fail("a colon");
        at += 1;
        const member = value();
        // As data, never as a change of prototype.
        if (key === "__proto__")
          Object.defineProperty(members, key, { value: member, writable: true, enumerable: true, configurable: true });
        else members[key] = member;
        const code = skip();
        if (code === 0x7d) break;
        if (code !== 0x2c) fail("a comma or }");
        at += 1;
      }
    }
    at += 1;
    if (!isTag(members)) return members;
    const revived = revive(members.__type__, members.__value__);
    return revived === undefined ? members : revived;
  };
  const value = (): unknown => {
    const code = skip();
    if (code === 0x22) return string();
    if (code === 0x5b) return array();
    if (code === 0x7b) return object();
    for (const [word, meaning] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    return number();
  };

  const result = value();
  skip();
  if (at < text.length) fail("the end");
  return result;
}
