/** Bytes, text and base64 by what every runtime has: no `Buffer`, so that a sender runs at the edge too. */
import { DecodeError } from "../errors.ts";

const encoder = new TextEncoder();
// ignoreBOM keeps a byte order mark as the character it is: nothing may be lost.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const textToBytes = (text: string): Uint8Array => encoder.encode(text);

/** The text of bytes in UTF-8; `undefined` where they are none. */
export function bytesToText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** What Node has of its own beside `btoa`, which takes half a second for 10 MB. */
interface NodeBytes {
  from(buffer: ArrayBufferLike, offset: number, length: number): { toString(encoding: "base64"): string };
}

export function bytesToBase64(bytes: Uint8Array): string {
  const { Buffer: node } = globalThis as { readonly Buffer?: NodeBytes };
  if (node !== undefined) return node.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  const parts: string[] = [];
  // In pieces: a call takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  return btoa(parts.join(""));
}

/** Characters of base64 that are decoded at a time. */
const PIECE = 2 ** 18;

/** Throws `DecodeError`. White space is ignored, padding may be missing. */
export function base64ToBytes(text: string): Uint8Array {
  // Only the last piece may end within a group of four; the others have white space in them where they do.
  const end = Math.floor(Math.max(0, text.length - 1) / PIECE) * PIECE;
  const rest = pieceOfBase64(text.slice(end));
  if (end === 0 || rest === undefined) return binaryToBytes(decodeBase64(text));
  const bytes = new Uint8Array((end / 4) * 3 + rest.length);
  for (let at = 0; at < end; at += PIECE) {
    const piece = pieceOfBase64(text.slice(at, at + PIECE));
    if (piece?.length !== (PIECE / 4) * 3) return binaryToBytes(decodeBase64(text));
    copyBinary(piece, bytes, (at / 4) * 3);
  }
  copyBinary(rest, bytes, (end / 4) * 3);
  return bytes;
}

function pieceOfBase64(text: string): string | undefined {
  try {
    return atob(text);
  } catch {
    return undefined;
  }
}

/** Base64 as text where it is ASCII, which is what Python's JSON is and needs no decoding; else as bytes. Throws `DecodeError`. */
export function base64ToAscii(text: string): string | Uint8Array {
  const binary = decodeBase64(text);
  // NUL is none: UTF-16 of ASCII has it.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant
  return /[^\x01-\x7f]/.test(binary) ? binaryToBytes(binary) : binary;
}

/** Base64 of text in UTF-8. Throws `DecodeError`. */
export function base64ToText(text: string): string {
  const decoded = base64ToAscii(text);
  const result = typeof decoded === "string" ? decoded : bytesToText(decoded);
  if (result === undefined) throw new DecodeError("the base64 text does not hold UTF-8");
  return result;
}

function binaryToBytes(binary: string): Uint8Array {
  const bytes = new Uint8Array(binary.length);
  copyBinary(binary, bytes, 0);
  return bytes;
}

function copyBinary(binary: string, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < binary.length; i++) bytes[at + i] = binary.charCodeAt(i);
}

function decodeBase64(text: string): string {
  try {
    return atob(text);
  } catch (error) {
    throw new DecodeError("the text is neither JSON nor base64", { cause: error });
  }
}
