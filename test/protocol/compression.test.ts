import { inflateSync, gzipSync } from "node:zlib";
import { describe, expect, test, vi } from "vitest";
import { DecodeError, ImproperlyConfigured } from "../../src/errors.ts";
import { compress, compressionType, decompress } from "../../src/protocol/compression.ts";

const bytes = new TextEncoder().encode("lovage ".repeat(10_000));

test.each([
  ["gzip", "application/x-gzip"],
  ["zlib", "application/x-gzip"],
  ["bzip2", "application/x-bz2"],
  ["bzip", "application/x-bz2"],
  ["brotli", "application/x-brotli"],
  ["lzma", "application/x-lzma"],
  ["xz", "application/x-lzma"],
  ["zstd", "application/zstd"],
  ["zstandard", "application/zstd"],
  ["application/x-gzip", "application/x-gzip"],
])("kombu's %s is %s", (name, type) => {
  expect(compressionType(name)).toBe(type);
});

test("a name that kombu does not know has no type", () => {
  for (const name of ["zip", "constructor", ""]) expect(compressionType(name)).toBeUndefined();
});

describe.each(["gzip", "brotli", "zstd"])("%s", (name) => {
  test("comes back equal, up to the bound and not beyond", async () => {
    const compressed = await compress(bytes, name);
    expect(compressed.length).toBeLessThan(1000);
    expect(Buffer.from(await decompress(compressed, name, bytes.length)).equals(bytes)).toBe(true);
    await expect(decompress(compressed, name, bytes.length - 1)).rejects.toThrow(/more than 69999 bytes/);
  });

  test("damaged data is a DecodeError", async () => {
    const compressed = await compress(bytes, name);
    await expect(decompress(compressed.subarray(0, -5), name)).rejects.toThrow(DecodeError);
    await expect(decompress(new Uint8Array([1, 2, 3]), name)).rejects.toThrow(DecodeError);
  });
});

test("gzip is a zlib stream, as Celery's is, and true gzip is read too", async () => {
  expect(inflateSync(await compress(bytes, "gzip")).equals(bytes)).toBe(true);
  expect(Buffer.from(await decompress(gzipSync(bytes), "gzip")).equals(bytes)).toBe(true);
});

test.each(["bzip2", "lzma", "zip"])("%s is refused both ways", async (name) => {
  await expect(compress(bytes, name)).rejects.toThrow(ImproperlyConfigured);
  await expect(decompress(bytes, name)).rejects.toThrow(DecodeError);
});

describe("on a runtime without node:zlib", () => {
  async function withoutNode<T>(run: () => Promise<T>): Promise<T> {
    vi.stubGlobal("process", undefined);
    try {
      return await run();
    } finally {
      vi.unstubAllGlobals();
    }
  }

  test("gzip works, with its bound", async () => {
    const compressed = await withoutNode(() => compress(bytes, "gzip"));
    expect(inflateSync(compressed).equals(bytes)).toBe(true);
    expect(Buffer.from(await withoutNode(() => decompress(compressed, "gzip"))).equals(bytes)).toBe(true);
    await expect(withoutNode(() => decompress(compressed, "gzip", 100))).rejects.toThrow(/more than 100 bytes/);
    await expect(withoutNode(() => decompress(new Uint8Array([1, 2]), "gzip"))).rejects.toThrow(DecodeError);
  });

  test("the others say that they need Node", async () => {
    await expect(withoutNode(() => compress(bytes, "zstd"))).rejects.toThrow(/needs Node/);
    await expect(withoutNode(() => decompress(bytes, "zstd"))).rejects.toThrow(/gzip only/);
  });
});

test.each([0, 1, 255, 256, 65_792, 300_000])("%i bytes say in zstd's header that they are so many", async (length) => {
  const frame = await compress(new Uint8Array(length), "zstd");
  // RFC 8878, 3.1.1: magic number, descriptor, window unless there is a single segment, size of the content.
  const view = new DataView(frame.buffer, frame.byteOffset);
  const descriptor = view.getUint8(4);
  const at = descriptor & 0x20 ? 5 : 6;
  const sizes = [
    () => (descriptor & 0x20 ? view.getUint8(at) : undefined),
    () => view.getUint16(at, true) + 256,
    () => view.getUint32(at, true),
    () => Number(view.getBigUint64(at, true)),
  ];
  expect(sizes[descriptor >> 6]?.()).toBe(length);
});
