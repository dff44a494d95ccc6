/** Texts that are too large, kept elsewhere: a pointer is given for one, and one for a pointer. Needs Node. */
import { createHash } from "node:crypto";
import { DecodeError, PayloadLost } from "../errors.ts";
import { longReader, type ReadText } from "../protocol/long-reader.ts";
import { isHigh, type LongText } from "../protocol/long-text.ts";
import { keptFor, keyOf, type Pointer, readKey, readPointer, writePointer } from "../protocol/pointer.ts";
import { checkRoom, roomForKept } from "../protocol/room.ts";
import type { Payloads, PayloadStore } from "./store.ts";

/** Characters that are made bytes at a time. */
const PIECE = 1024 * 1024;
/** Bytes that are made text at a time: what Node makes of a million lies outside of the heap, and goes late. */
const DECODED = 512 * 1024;
const DAY_MS = 86_400_000;

/**
 * @param uuid Makes keys that nobody can guess.
 * @param now Milliseconds since the epoch.
 */
export function createPayloads(store: PayloadStore, uuid: () => string, now: () => number): Payloads {
  /** Gives the text of a pointer, in pieces, and throws in the end where it is not what was kept. */
  async function each(text: string, take: (piece: string) => void): Promise<void> {
    const pointer = readPointer(text);
    if (pointer === undefined) throw new DecodeError("the pointer to a large text cannot be read");
    const { bucket, key } = pointer;
    // A stranger's message must not say what is read with our rights.
    if (bucket !== store.bucket || !key.startsWith(store.prefix))
      throw new DecodeError(
        `a pointer to ${JSON.stringify(`${bucket}/${key}`)} is refused: large texts are read from ${store.bucket}/${store.prefix} alone (payloadStore)`,
      );
    // Before any of it comes, where the key says how much that is.
    checkRoom(readKey(key)?.length ?? 0, roomForKept());
    const bytes = await store.get(key);
    if (bytes === undefined) throw new PayloadLost(bucket, key);
    await decoded(bytes, pointer, take);
  }

  const payloads: Payloads = {
    async put(text, id, days) {
      const pieces = () => piecesOf(text);
      const hash = createHash("sha256");
      let length = 0;
      for (const piece of pieces()) {
        hash.update(piece);
        length += piece.length;
      }
      const facts = { days: keptFor(days), id, at: now(), length, sha256: hash.digest("hex") };
      const key = keyOf(store.prefix, facts, uuid());
      await store.put(key, pieces, length);
      return writePointer({ bucket: store.bucket, key });
    },
    async get(pointer) {
      const pieces: string[] = [];
      await each(pointer, (piece) => pieces.push(piece));
      return pieces.join("");
    },
    async read(pointer, isMessage) {
      const reader = longReader(isMessage);
      await each(pointer, (piece) => reader.add(piece));
      const whole = (text: string): ReadText => ({ text, restored: (value) => value });
      return reader.end() ?? whole(await payloads.get(pointer));
    },
    async renew(pointer, days) {
      const { days: kept, at, id } = readKey(readPointer(pointer)?.key ?? "") ?? {};
      if (kept === undefined || at === undefined || id === undefined) return pointer;
      if (at + kept * DAY_MS >= now() + days * DAY_MS) return pointer;
      return payloads.put(await payloads.get(pointer), id, days);
    },
    close: () => store.close(),
  };
  return payloads;
}

function* piecesOf(text: string | LongText): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  if (typeof text !== "string") {
    for (const piece of text.pieces()) yield encoder.encode(piece);
    return;
  }
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + PIECE);
    // A character of two halves stays whole.
    if (end < text.length && isHigh(text.charCodeAt(end - 1))) end--;
    yield encoder.encode(text.slice(at, end));
    at = end;
  }
}

async function decoded(
  bytes: AsyncIterable<Uint8Array>,
  { bucket, key }: Pointer,
  take: (piece: string) => void,
): Promise<void> {
  const room = roomForKept();
  // What AWS's own libraries have kept says neither.
  const facts = readKey(key);
  const hash = createHash("sha256");
  const decoder = new TextDecoder();
  const another = (why: string) =>
    new DecodeError(`the text at ${bucket}/${key} is not the one that was kept: ${why} (payloadStore)`);
  let length = 0;
  for await (const piece of bytes) {
    length += piece.length;
    checkRoom(length, room);
    if (facts !== undefined && length > facts.length) throw another(`it has more than ${facts.length} bytes`);
    hash.update(piece);
    for (let at = 0; at < piece.length; at += DECODED)
      take(decoder.decode(piece.subarray(at, at + DECODED), { stream: true }));
  }
  take(decoder.decode());
  if (facts === undefined) return;
  if (length !== facts.length) throw another(`it has ${length} bytes, and had ${facts.length}`);
  if (hash.digest("hex") !== facts.sha256) throw another("its SHA-256 is another");
}
