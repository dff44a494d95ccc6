/**
 * What a task writes while it runs (`self.write`), and how it is read: parts, each a row of its own, in order. A part says
 * which run wrote it, so that a reader sees when a task has begun anew.
 */
import type { Clock } from "../clock.ts";
import { PayloadTooLarge } from "../errors.ts";
import { payloadText } from "../protocol/serializers.ts";
import { parseValue, stringifyValue } from "../protocol/values.ts";
import type { Wait } from "../wait.ts";
import { applyOne, type Backend, taskKey } from "./backend.ts";

/** Within the keys that readers and writers of results have their rights on. */
const partKey = (id: string, part: number): string => taskKey(`${id}/stream/${part}`);

interface Part {
  /** Made once for each run. */
  readonly run: string;
  /** How many chunks came before it. */
  readonly from: number;
  readonly chunks: readonly unknown[];
}

/** A part is stored when this long has passed since its first chunk, in milliseconds … */
const GATHER_MS = 200;
/** … or when it has so many characters: a row has room for a few more … */
const GATHER_LENGTH = 64 * 1024;
/** … and while so many wait to be stored, a task that awaits its writes waits. */
const MOST_WAITING = 4 * GATHER_LENGTH;
/** A part is of use while its task runs, and to whoever comes soon after. In seconds. */
const KEPT_S = 86_400;

export interface StreamWriter {
  /** Takes a chunk. Resolves when there is room for more. Throws `EncodeError` for what cannot be written. */
  write(chunk: unknown): Promise<void>;
  /** Stores what was taken. Throws what kept it from being stored. */
  end(): Promise<void>;
}

export interface StreamContext {
  readonly backend: () => Promise<Backend>;
  readonly clock: Clock;
  readonly id: string;
  readonly run: string;
}

export function createStream({ backend, clock, id, run }: StreamContext): StreamWriter {
  let part = 0;
  let taken = 0;
  /** Encoded when they are written: the task may go on with what it has given. */
  let chunks: string[] = [];
  let length = 0;
  let storing: Promise<void> = Promise.resolve();
  let waiting = 0;
  let gathering: AbortController | undefined;
  let failed: { readonly error: unknown } | undefined;

  function store(): void {
    gathering?.abort();
    gathering = undefined;
    if (chunks.length === 0) return;
    const number = part++;
    const text = `{"run":${JSON.stringify(run)},"from":${taken - chunks.length},"chunks":[${chunks.join(",")}]}`;
    const size = length;
    chunks = [];
    length = 0;
    waiting += size;
    storing = storing.then(async () => {
      if (failed !== undefined) return;
      try {
        const now = clock.now();
        const ttl = Math.ceil(now / 1000 + KEPT_S);
        await applyOne(backend(), { type: "store", key: partKey(id, number), now, ttl, result: text });
      } catch (error) {
        failed = { error };
      }
      waiting -= size;
    });
  }

  return {
    async write(chunk) {
      const text = stringifyValue(chunk);
      const written = text.length;
      const { maxBytes } = await backend();
      if (written * 3 > maxBytes) throw new PayloadTooLarge("a chunk of write()", written, Math.floor(maxBytes / 3));
      if (failed !== undefined) throw failed.error;
      // Room for one that is large by itself.
      if (length > 0 && length + written > GATHER_LENGTH) store();
      chunks.push(text);
      taken++;
      length += written;
      if (length >= GATHER_LENGTH) store();
      else if (gathering === undefined) {
        const own = new AbortController();
        gathering = own;
        void clock.sleep(GATHER_MS, own.signal).then(() => gathering === own && store());
      }
      if (waiting > MOST_WAITING) await storing;
    },
    async end() {
      store();
      await storing;
      if (failed !== undefined) throw failed.error;
    },
  };
}

/** A value that a task wrote. */
export interface Chunk {
  /** What it wrote. */
  readonly value: unknown;
  /** How many came before it in its run. */
  readonly offset: number;
  /** If it differs from that of the chunk before, the task has begun again, from offset 0. */
  readonly run: string;
}

/** Parts that are asked for at a time, beside the first, which says whose they are. */
const PARTS = 10;

/** Where a reader is. */
export interface Position {
  readonly run: string | undefined;
  /** The next chunk that it has not seen. */
  readonly offset: number;
}

/** Reads a stream on from where it was left. */
export class StreamReader {
  readonly #id: string;
  #run: string | undefined;
  #offset: number;
  #part = 0;

  constructor(id: string, { run, offset }: Position) {
    this.#id = id;
    this.#run = run;
    this.#offset = offset;
  }

  /** What there is now and was not seen before. */
  async read(backend: Backend): Promise<readonly Chunk[]> {
    const found: Chunk[] = [];
    for (;;) {
      const from = Math.max(1, this.#part);
      const keys = [0, ...Array.from({ length: PARTS }, (_, index) => from + index)];
      const rows = await backend.read(
        keys.map((part) => partKey(this.#id, part)),
        { consistent: true },
      );
      const [first, ...rest] = rows.map((row) =>
        row === undefined ? undefined : (parseValue(payloadText(row.result)) as Part),
      );
      if (first === undefined) return found;
      if (first.run !== this.#run) {
        // It was seen from its beginning by nobody, or in part by another reader of this place: an offset stays what it is.
        if (this.#run !== undefined) this.#offset = 0;
        this.#run = first.run;
        this.#part = 0;
      }
      const next = this.#part === 0 ? [first, ...rest] : rest;
      const own: Part[] = [];
      // What another run has left further on is no part of this one.
      for (const part of next) {
        if (part?.run !== first.run) break;
        own.push(part);
      }
      for (const part of own) {
        this.#part++;
        part.chunks.forEach((value, index) => {
          const offset = part.from + index;
          if (offset < this.#offset) return;
          this.#offset = offset + 1;
          found.push({ value, offset, run: part.run });
        });
      }
      if (own.length < next.length) return found;
    }
  }
}

/** Between two looks at a store that cannot tell of changes, in milliseconds: short while something comes, longer while nothing does. */
const FIRST_LOOK_MS = 100;
const LOOK_GROWTH = 1.5;
const LAST_LOOK_MS = 2_000;
/** Where the store does tell, a look that found nothing is repeated after this all the same. */
const SAFETY_MS = 1_000;

/** The time between two looks. */
export interface Pace {
  /** To be called before a look: what changes after that is not missed. */
  begin(backend: Backend): void;
  /** Waits until the next look may find something new, or the signal aborts. */
  rest(found: boolean, signal: AbortSignal | undefined): Promise<void>;
  /** What has begun is waited for no longer. */
  end(): void;
}

export function createPace(clock: Clock): Pace {
  let interval = FIRST_LOOK_MS;
  let wait: Wait | undefined;
  return {
    begin(backend) {
      wait = backend.changed?.();
    },
    async rest(found, signal) {
      interval = found ? FIRST_LOOK_MS : Math.min(LAST_LOOK_MS, interval * LOOK_GROWTH);
      if (wait === undefined) return clock.sleep(interval, signal);
      const told = new AbortController();
      const until = signal === undefined ? told.signal : AbortSignal.any([told.signal, signal]);
      await Promise.race([wait.over, clock.sleep(SAFETY_MS, until)]);
      told.abort("told");
    },
    end: () => wait?.end(),
  };
}
