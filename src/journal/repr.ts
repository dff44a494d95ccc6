/** Values as a person reads them, in a given room: what is beyond it is not even looked at. */
import { clip } from "../brief.ts";

/**
 * A value in about the form of JSON, with at most `length` characters. It looks at no more of the value than it shows, so
 * that an argument of many megabytes costs what a short one does. Never throws.
 */
export const shortRepr = (value: unknown, length: number): string => flatRepr(value, length) ?? anyRepr(value, length);

/** The same of a list of short and plain values, as most arguments are: nothing is made but the text. Else `undefined`. */
function flatRepr(value: unknown, length: number): string | undefined {
  let text = "[";
  try {
    if (!Array.isArray(value)) return undefined;
    for (let index = 0; index < value.length; index++) {
      const item: unknown = value[index];
      if (index > 0) text += ", ";
      if (typeof item === "string" && item.length <= length) text += JSON.stringify(item);
      else if (typeof item === "number" || typeof item === "boolean" || item === null) text += String(item);
      else return undefined;
      if (text.length >= length) return undefined;
    }
  } catch {
    // A proxy, which may throw whatever it is asked.
    return undefined;
  }
  return `${text}]`;
}

function anyRepr(value: unknown, length: number): string {
  const parts: string[] = [];
  let left = length;
  const put = (text: string): boolean => {
    parts.push(text);
    left -= text.length;
    return left >= 0;
  };
  /** Whether there is room for more. */
  function write(item: unknown, above: readonly object[]): boolean {
    if (typeof item === "string") return put(JSON.stringify(item.length > left ? item.slice(0, left + 1) : item));
    if (typeof item !== "object" || item === null) return put(String(item));
    if (above.includes(item)) return put("…");
    if (item instanceof Uint8Array) return put(`<${item.length} bytes>`);
    if (item instanceof Date) return put(Number.isNaN(item.getTime()) ? "Invalid Date" : item.toISOString());
    const inside = [...above, item];
    if (Array.isArray(item)) {
      if (!put("[")) return false;
      for (let index = 0; index < item.length; index++) {
        if (index > 0 && !put(", ")) return false;
        if (!write(item[index], inside)) return false;
      }
      return put("]");
    }
    const prototype: unknown = Object.getPrototypeOf(item);
    if (prototype !== null && prototype !== Object.prototype) return put(String(item));
    if (!put("{")) return false;
    let isFirst = true;
    for (const key in item) {
      if (!isFirst && !put(", ")) return false;
      isFirst = false;
      if (!write(key, inside) || !put(": ")) return false;
      if (!write((item as Record<string, unknown>)[key], inside)) return false;
    }
    return put("}");
  }
  try {
    write(value, []);
  } catch {
    // A getter, a proxy or a `toString` of the user's that throws.
    parts.push("…");
  }
  return clip(parts.join(""), length);
}
