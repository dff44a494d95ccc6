/** A value as a line of text, for logs and errors: no more of it is written out than is shown. */

/** Cuts a text that is longer, and says so by its last character. */
export const clip = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, Math.max(0, length - 1))}…` : text;

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
