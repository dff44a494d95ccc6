/**
 * What is shown of texts and values that come from anybody, in logs, errors and on a terminal: no more is written out than is
 * shown, and none of it tells a terminal what to do.
 */

/** A longer line of a log is cut: it would keep the event loop from all else. */
export const MAX_LINE_LENGTH = 100_000;

/** Cuts a text that is longer, and says so by its last character. Half a character that is left at the cut is U+FFFD. */
export const clip = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, Math.max(0, length - 1)).toWellFormed()}…` : text;

/** `TypeError: x is not a function`, whatever was thrown. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replace(/\s+/g, " ").trim();
}

/**
 * A value as JSON, cut at so many characters. What JSON refuses is named instead: a bigint is its digits, bytes are their
 * number, a cycle or a getter that throws is said to be so. Takes time in proportion to `length`, whatever the value. Never throws.
 */
export function brief(value: unknown, length: number): string {
  const parts: string[] = [];
  let left = length + 1;
  const put = (text: string): void => {
    left -= text.length;
    parts.push(text);
  };
  const write = (item: unknown, above: readonly unknown[]): void => {
    if (left <= 0) return;
    switch (typeof item) {
      case "string":
        return put(JSON.stringify(item.slice(0, left)));
      case "object":
        return item === null ? put("null") : writeObject(item, above);
      case "undefined":
        return put(above.length === 0 ? "undefined" : "null");
      case "function":
        return put(`function ${clip(String(item.name), 100) || "(anonymous)"}`);
      default:
        return put(String(item));
    }
  };
  const writeObject = (item: object, above: readonly unknown[]): void => {
    if (above.includes(item)) return put('"(contains itself)"');
    if (ArrayBuffer.isView(item) || item instanceof ArrayBuffer) return put(`"(${item.byteLength} bytes)"`);
    const within = [...above, item];
    if (Array.isArray(item)) {
      put("[");
      for (let i = 0; i < item.length && left > 0; i++) {
        if (i > 0) put(",");
        write(item[i], within);
      }
      return put("]");
    }
    if ("toJSON" in item && typeof item.toJSON === "function") return write(item.toJSON(""), within);
    if (item instanceof Error) return put(JSON.stringify(`${item.name}: ${item.message}`.slice(0, left)));
    put("{");
    let isFirst = true;
    for (const key in item) {
      if (left <= 0) break;
      if (!Object.hasOwn(item, key)) continue;
      const member = (item as Readonly<Record<string, unknown>>)[key];
      if (member === undefined || typeof member === "function" || typeof member === "symbol") continue;
      put(`${isFirst ? "" : ","}${JSON.stringify(key.slice(0, left))}:`);
      isFirst = false;
      write(member, within);
    }
    put("}");
  };
  try {
    write(value, []);
  } catch {
    put("(a value that cannot be shown)");
  }
  return clip(parts.join(""), length);
}

/**
 * What JSON takes of a value: all of it where {@link brief} shows it whole, else the text that it makes of it. Whole numbers
 * beyond JSON's precision are text. Never throws.
 */
export function plain(value: unknown, length: number): unknown {
  const text = brief(value, length);
  const exactly = (_: string, item: unknown, { source = "" }: { readonly source?: string } = {}) =>
    typeof item === "number" && !Number.isSafeInteger(item) && /^-?\d+$/.test(source) ? source : item;
  try {
    return JSON.parse(text, exactly);
  } catch {
    return text;
  }
}

/** Control characters but for tab and line feed, and those that end a line or turn its direction: what is read is not what is there. */
const CONTROL = /[^\t\n\P{Cc}]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** A text in which control characters are written as `\x1b` or `\u202e`. */
export const harmless = (text: string): string =>
  text.replace(CONTROL, (sign) => {
    const code = sign.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });

/** The same for one line: no text begins a line that looks like one of ours. */
export const harmlessLine = (text: string): string => harmless(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");

/** JSON in which they are escaped, which changes nothing of what it says: JSON itself escapes some of them only. */
export const harmlessJson = (json: string): string =>
  json.replace(CONTROL, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** JSON of whatever a task gave; whole numbers beyond JSON's precision as text. */
export function toJson(value: unknown, space?: number): string {
  const json = JSON.stringify(value, (_, item) => (typeof item === "bigint" ? String(item) : item), space) ?? "null";
  // The line feeds of its own spaces stay; within texts JSON has escaped them.
  return harmlessJson(json);
}

/** A URL as others may see it, without its passwords: to the last @, since a secret key may hold slashes, written as they should be or not. */
export const maskUrl = (url: string): string =>
  url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^:/?#@]*):.*@/is, "$1:**@")
    .replace(/([?&])([^=&?]*)=[^&#]*/g, (whole, sign: string, name: string) =>
      // Which keys a table has is no secret.
      name !== "keys" && /pass|pwd|secret|token|key/i.test(name) ? `${sign}${name}=**` : whole,
    );
