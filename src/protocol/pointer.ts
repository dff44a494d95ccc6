/**
 * What travels in the place of a text that is too large: where the text is. It has the form of AWS's extended client
 * libraries (Java, Python), so that what they send is read here and the other way round. All that Lovage has to know of the
 * text stands in the key, which nobody can guess: for how many days it is kept, since when, whose it is, its length and its hash.
 */

/** The class in the library of AWS's, which is the name of the form. */
const FORM = "software.amazon.payloadoffloading.PayloadS3Pointer";
const BEGINS = `["${FORM}"`;
/** A pointer is short; nothing longer is looked into. */
const MAX_LENGTH = 4096;

/** The attribute that AWS's libraries know such a message by: the size of its text, in bytes. */
export const SIZE_ATTRIBUTE = "ExtendedPayloadSize";

/** Where a text is. */
export interface Pointer {
  readonly bucket: string;
  readonly key: string;
}

export const writePointer = ({ bucket, key }: Pointer): string =>
  JSON.stringify([FORM, { s3BucketName: bucket, s3Key: key }]);

/** Whether a text may be a pointer: no message is written so. */
export const isPointer = (text: string): boolean => text.length <= MAX_LENGTH && text.trimStart().startsWith(BEGINS);

/** The pointer that a text is; `undefined` where it is none. */
export function readPointer(text: string): Pointer | undefined {
  if (!isPointer(text)) return undefined;
  try {
    const [, { s3BucketName: bucket, s3Key: key }] = JSON.parse(text);
    return typeof bucket === "string" && typeof key === "string" ? { bucket, key } : undefined;
  } catch {
    return undefined;
  }
}

/** What a key says of its text. */
export interface KeyFacts {
  /** Days that it is kept; `undefined`: without end. */
  readonly days: number | undefined;
  /** The task whose message or result it is. */
  readonly id: string;
  /** When it was put, in milliseconds since the epoch, without the fraction of a second; `undefined`: nobody knows. */
  readonly at?: number | undefined;
  /** In bytes. */
  readonly length: number;
  /** SHA-256 of the bytes, in hexadecimal. */
  readonly sha256: string;
}

const KEY = /(?:^|\/)(?:(\d+)d|kept)\/([^/]+)\/[0-9a-f-]{36}-(?:(\d+)s-)?(\d+)-([0-9a-f]{64})$/;

/** @param unique What makes it a key that nobody can guess: a UUID. */
export const keyOf = (prefix: string, { days, id, at, length, sha256 }: KeyFacts, unique: string): string => {
  const since = at === undefined ? "" : `${Math.floor(at / 1000)}s-`;
  return `${prefix}${days === undefined ? "kept" : `${days}d`}/${writeId(id)}/${unique}-${since}${length}-${sha256}`;
};

/** An id that is anybody's own would need escapes, which services read in their own ways, or be too long for a name. */
const writeId = (id: string): string => (/^[\w.-]{1,128}$/.test(id) ? id : `~${toBase64Url(id.slice(0, 96))}`);

const readId = (text: string): string => (text.startsWith("~") ? fromBase64Url(text.slice(1)) : text);

const toBase64Url = (text: string): string =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

const fromBase64Url = (text: string): string =>
  new TextDecoder().decode(
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0)),
  );

/** What a key of ours says; `undefined`: somebody else's. */
export function readKey(key: string): KeyFacts | undefined {
  const found = KEY.exec(key);
  if (found === null) return undefined;
  const [, days, id = "", at, length, sha256 = ""] = found;
  try {
    return {
      days: days === undefined ? undefined : Number(days),
      id: readId(id),
      at: at === undefined ? undefined : Number(at) * 1000,
      length: Number(length),
      sha256,
    };
  } catch {
    return undefined;
  }
}

/** For so many days a text is kept: a bucket has a rule for each, by the beginning of the key. */
export const DAYS_KEPT = [60, 120, 400, 3700] as const;

/**
 * A message may be 14 days in its queue, run for as long, be as long among the dead letters, and as long again where it is sent
 * back from there: SQS keeps it no longer.
 */
export const MESSAGE_DAYS = 4 * 14;

/** The first of {@link DAYS_KEPT} that is enough; `undefined`: it is kept without end. */
export const keptFor = (days: number): number | undefined => DAYS_KEPT.find((kept) => kept >= days);
