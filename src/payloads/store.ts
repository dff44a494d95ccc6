/**
 * The port of what keeps texts that are too large for a message or a row: put, get, and no more. What is kept goes by the age
 * that its key begins with (`60d/…`), which is the store's own matter: a bucket's lifecycle, or a look now and then.
 */
import type { ReadText } from "../protocol/long-reader.ts";
import type { LongText } from "../protocol/long-text.ts";
import type { RequestHandler } from "../request-handler.ts";

/** A text in pieces, so that nobody has to hold it a second time as bytes. */
export type Pieces = () => Iterable<Uint8Array>;

export interface PayloadStore {
  /** What a pointer calls it. A pointer to any other is refused. */
  readonly bucket: string;
  /** What each key begins with: empty, or ending in a slash. A pointer to anything else is refused. */
  readonly prefix: string;
  /**
   * Keeps a text under a key, as a whole or not at all. `pieces` may be asked for more than once. Throws `OperationalError`.
   *
   * @param length In bytes.
   */
  put(key: string, pieces: Pieces, length: number): Promise<void>;
  /** The bytes of a text, as they come; `undefined`: there is none. Throws `OperationalError`, also while they come. */
  get(key: string): Promise<AsyncIterable<Uint8Array> | undefined>;
  close(): Promise<void>;
}

/** What opens a store. */
export interface PayloadStoreContext {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** What carries the requests of a store on AWS; `undefined`: its client's own. */
  readonly requestHandler?: RequestHandler | undefined;
}

export type OpenPayloadStore = (url: string, context: PayloadStoreContext) => PayloadStore | Promise<PayloadStore>;

/** A store, as those use it who have a text that is too large: a pointer is given for one, and one for a pointer. */
export interface Payloads {
  /**
   * Keeps a text, and returns the pointer to it. Throws `OperationalError`: nothing is kept then.
   *
   * @param id Whose it is.
   * @param days So long it is needed; `Infinity`: for ever.
   */
  put(text: string | LongText, id: string, days: number): Promise<string>;
  /**
   * The text of a pointer. Throws `PayloadLost` where there is none any more; `DecodeError` where it is not the one that was
   * kept, or the pointer leads elsewhere; `OperationalError` where the store cannot be asked.
   */
  get(pointer: string): Promise<string>;
  /** The same for who reads it as JSON: its longest parts are taken out of it as it comes. `isMessage`: it is a message's. */
  read(pointer: string, isMessage: boolean): Promise<ReadText>;
  /**
   * The pointer for a message that is sent anew: the same, or where its text would go too early, one to a copy. Throws as `get`
   * and `put` do.
   *
   * @param days So long it is needed from now on.
   */
  renew(pointer: string, days: number): Promise<string>;
  close(): Promise<void>;
}
