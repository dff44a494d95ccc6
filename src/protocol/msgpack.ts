/** A look at msgpack before it is decoded: a decoder believes what a header says of its length, and makes room for it. */
import { DecodeError } from "../errors.ts";
import { MAX_NESTING } from "./json.ts";

/**
 * How many values there are, keys included. Reads headers alone, in time in proportion to the bytes. Throws `DecodeError`
 * where more is announced than can follow, where anything is left over, and for more than {@link MAX_NESTING} levels.
 */
export function checkMsgpack(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let values = 0;
  /** How many values are still to come, in all that is open. Each takes a byte at least. */
  let expected = 1;
  /** How many are still to come in each list or map that is open. */
  const open: number[] = [];

  const take = (count: number): void => {
    at += count;
    if (at + expected > bytes.length) throw new DecodeError("the msgpack data announces more than it has");
  };
  const size = (width: number): number => {
    const start = at;
    take(width);
    return width === 1 ? view.getUint8(start) : width === 2 ? view.getUint16(start) : view.getUint32(start);
  };
  const begin = (count: number): void => {
    if (count === 0) return;
    expected += count;
    open.push(count);
    if (open.length > MAX_NESTING) throw new DecodeError(`the data is nested more than ${MAX_NESTING} levels deep`);
    take(0);
  };

  while (expected > 0) {
    if (at >= bytes.length) throw new DecodeError("the msgpack data ends too early");
    const header = bytes[at] as number;
    expected -= 1;
    values += 1;
    if (open.length > 0) open[open.length - 1] = (open.at(-1) as number) - 1;
    take(1);
    if (header <= 0x7f || header >= 0xe0) {
      // A small number.
    } else if (header <= 0x8f) begin(2 * (header & 0x0f));
    else if (header <= 0x9f) begin(header & 0x0f);
    else if (header <= 0xbf) take(header & 0x1f);
    else if (header <= 0xc3) {
      if (header === 0xc1) throw new DecodeError("the msgpack data has a byte that means nothing");
    } else if (header <= 0xc6) take(size(2 ** (header - 0xc4)));
    // An extension has its type beside its length.
    else if (header <= 0xc9) take(size(2 ** (header - 0xc7)) + 1);
    else if (header <= 0xcb) take(header === 0xca ? 4 : 8);
    else if (header <= 0xd3) take(2 ** ((header - 0xcc) % 4));
    else if (header <= 0xd8) take(2 ** (header - 0xd4) + 1);
    else if (header <= 0xdb) take(size(2 ** (header - 0xd9)));
    else if (header <= 0xdd) begin(size(2 ** (header - 0xdb)));
    else begin(2 * size(2 ** (header - 0xdd)));
    while (open.at(-1) === 0) open.pop();
  }
  if (at < bytes.length) throw new DecodeError("the msgpack data goes on after its end");
  return values;
}
