/** The SHA-256 of a text, in 64 hexadecimal digits. By the platform's own, which Node and edge runtimes have alike. */
export async function hashOf(text: string): Promise<string> {
  const hash = await globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
