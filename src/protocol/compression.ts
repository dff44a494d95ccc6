/**
 * Compression as kombu names it. What it calls gzip is a zlib stream (RFC 1950). Node does it all but bzip2 and lzma;
 * a runtime with nothing but `CompressionStream` does gzip.
 */
import { DecodeError, ImproperlyConfigured } from "../errors.ts";
import { roomForValue } from "./room.ts";

/** The largest size that anything may have once it is decompressed, in bytes, unless its reader says otherwise: 64 MiB … */
const MAX_INFLATED_BYTES = 64 * 1024 * 1024;
/** … and no more than there is room for, as bytes, as text, and as what is read of that. */
const maxInflatedBytes = (): number => Math.min(MAX_INFLATED_BYTES, Math.floor(roomForValue() / 4));

const GZIP = "application/x-gzip";
const BROTLI = "application/x-brotli";
const ZSTD = "application/zstd";
const BZIP2 = "application/x-bz2";
const LZMA = "application/x-lzma";

const MIME_TYPES: Readonly<Record<string, string>> = {
  gzip: GZIP,
  zlib: GZIP,
  brotli: BROTLI,
  zstd: ZSTD,
  zstandard: ZSTD,
  bzip2: BZIP2,
  bzip: BZIP2,
  lzma: LZMA,
  xz: LZMA,
};
const KNOWN: ReadonlySet<string> = new Set(Object.values(MIME_TYPES));

/** The MIME type of a compression, by any of kombu's names or by itself; `undefined` for a name that kombu does not know. */
export function compressionType(name: string): string | undefined {
  const lower = name.toLowerCase();
  if (KNOWN.has(lower)) return lower;
  return Object.hasOwn(MIME_TYPES, lower) ? MIME_TYPES[lower] : undefined;
}

/** The compressions that can be written, by what they are called here. */
const WRITABLE = { [GZIP]: "gzip", [BROTLI]: "brotli", [ZSTD]: "zstd" } as const;

/** Our name of a compression that can be written; `undefined` for any other. */
export const compressionName = (name: string): (typeof WRITABLE)[keyof typeof WRITABLE] | undefined =>
  WRITABLE[compressionType(name) as keyof typeof WRITABLE];

const CHOICES = "use gzip, brotli or zstd";

/** Why nobody here can handle it; `undefined`: we can. */
function whyNot(type: string): string | undefined {
  const missing = type === BZIP2 ? "bzip2" : type === LZMA ? "lzma" : undefined;
  return missing && `JavaScript has no ${missing}; ${CHOICES}`;
}

type Zlib = typeof import("node:zlib");

/** Node's zlib where there is one. Asked for by name at run time, so that bundles for the edge do not look for it. */
function nodeZlib(): Zlib | undefined {
  return globalThis.process?.getBuiltinModule?.("node:zlib");
}

type Done = (error: Error | null, result: Uint8Array) => void;
const called = (call: (done: Done) => void): Promise<Uint8Array> =>
  new Promise((resolve, reject) => call((error, result) => (error ? reject(error) : resolve(result))));

/** Compresses bytes. Throws `ImproperlyConfigured` for a compression that this runtime does not have. */
export async function compress(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  const type = compressionType(name);
  const reason = type === undefined ? `is not known; ${CHOICES}` : whyNot(type);
  if (type === undefined || reason !== undefined)
    throw new ImproperlyConfigured("compression", `${JSON.stringify(name)}: ${reason}`);
  const zlib = nodeZlib();
  if (zlib === undefined) {
    if (type === GZIP) return pipe(bytes, new CompressionStream("deflate"), Number.POSITIVE_INFINITY);
    throw new ImproperlyConfigured("compression", `${JSON.stringify(name)} needs Node; this runtime has gzip only`);
  }
  return called((done) => {
    if (type === GZIP) zlib.deflate(bytes, done);
    else if (type === BROTLI) zlib.brotliCompress(bytes, done);
    // python-zstandard, which kombu used before 5.7, reads only what says how long it is.
    else zlib.zstdCompress(bytes, { pledgedSrcSize: bytes.length }, done);
  });
}

/**
 * Undoes a compression. Throws `DecodeError` for one that is not known or not to be had here, for damaged bytes, and as
 * soon as the result would be larger than `maxBytes`. Default 64 MiB, less in a process with less than 2 GiB of memory.
 */
export async function decompress(bytes: Uint8Array, name: string, maxBytes = maxInflatedBytes()): Promise<Uint8Array> {
  const type = compressionType(name);
  const reason = type === undefined ? "it is not a compression that kombu knows" : whyNot(type);
  if (type === undefined || reason !== undefined)
    throw new DecodeError(`the compression ${JSON.stringify(name)} cannot be undone: ${reason}`);
  const zlib = nodeZlib();
  if (zlib === undefined && type !== GZIP) {
    throw new DecodeError(
      `the compression ${JSON.stringify(name)} cannot be undone: this runtime has gzip only, and Node has all`,
    );
  }
  try {
    if (zlib === undefined) return await pipe(bytes, new DecompressionStream("deflate"), maxBytes);
    const options = { maxOutputLength: maxBytes };
    return await called((done) => {
      // unzip tells a gzip header from a zlib one, for senders that take the MIME type at its word.
      if (type === GZIP) zlib.unzip(bytes, options, done);
      else if (type === BROTLI) zlib.brotliDecompress(bytes, options, done);
      else zlib.zstdDecompress(bytes, options, done);
    });
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    if (
      error instanceof RangeError ||
      (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE")
    )
      throw tooLarge(maxBytes, error);
    throw new DecodeError(`the compressed data (${type}) is damaged`, { cause: error });
  }
}

const tooLarge = (maxBytes: number, cause?: unknown): DecodeError =>
  new DecodeError(`the compressed data would have more than ${maxBytes} bytes`, { cause });

async function pipe(
  bytes: Uint8Array,
  through: CompressionStream | DecompressionStream,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(through).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > maxBytes) {
      await reader.cancel();
      throw tooLarge(maxBytes);
    }
    chunks.push(value);
  }
  const result = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    result.set(chunk, at);
    at += chunk.length;
  }
  return result;
}
