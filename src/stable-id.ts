import { createHash } from "node:crypto";

/** `uuid5(NAMESPACE_URL, "lovage")`. */
const NAMESPACE = Uint8Array.from("3d01ce8b76b05583a00d0f8a58374df9".match(/../g) ?? [], (byte) =>
  Number.parseInt(byte, 16),
);

/**
 * An id that is the same wherever and however often it is computed from the same parts, so that a second copy of what
 * carries it meets the first one's claim: the version 5 UUID (RFC 9562) of the parts as a JSON array.
 */
export function stableId(...parts: readonly (string | number)[]): string {
  const hash = createHash("sha1").update(NAMESPACE).update(JSON.stringify(parts)).digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}
