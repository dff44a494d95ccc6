/**
 * A board in shared memory: what a worker has in hand, one text in each place, for the thread that keeps it alive. Putting
 * something up, or taking it down, wakes nobody and is seen at once, even if the event loop is blocked from then on.
 */

/** Longer texts do not go on the board. A claim without a time limit takes about 350 bytes. */
const PLACE_BYTES = 2048;

/** Of each place: how often it was written (odd while it is), and the length of its text; 0: nothing. */
const WORDS = 2;

export interface BoardMemory {
  readonly words: SharedArrayBuffer;
  readonly deadlines: SharedArrayBuffer;
  readonly texts: SharedArrayBuffer;
}

/** The memory of a board with so many places. */
export const boardMemory = (places: number): BoardMemory => ({
  words: new SharedArrayBuffer(places * WORDS * Int32Array.BYTES_PER_ELEMENT),
  deadlines: new SharedArrayBuffer(places * Float64Array.BYTES_PER_ELEMENT),
  texts: new SharedArrayBuffer(places * PLACE_BYTES),
});

export interface BoardWriter {
  /** Puts a text up under an id, over the one before. `false`: it is too long, or the board is full; nothing is up under the id. */
  put(id: number, text: string, deadline: number): boolean;
  /** `false`: nothing was up under the id. */
  remove(id: number): boolean;
}

export function boardWriter({
  words: wordMemory,
  deadlines: deadlineMemory,
  texts: textMemory,
}: BoardMemory): BoardWriter {
  const words = new Int32Array(wordMemory);
  const deadlines = new Float64Array(deadlineMemory);
  const texts = Buffer.from(textMemory);
  const places = new Map<number, number>();
  const free = Array.from({ length: deadlines.length }, (_, index) => deadlines.length - 1 - index);

  function remove(id: number): boolean {
    const place = places.get(id);
    if (place === undefined) return false;
    places.delete(id);
    free.push(place);
    Atomics.store(words, place * WORDS + 1, 0);
    return true;
  }

  return {
    remove,
    put(id, text, deadline) {
      // A character has three bytes at most.
      const place =
        text.length * 3 > PLACE_BYTES && Buffer.byteLength(text) > PLACE_BYTES
          ? undefined
          : (places.get(id) ?? free.pop());
      if (place === undefined) {
        remove(id);
        return false;
      }
      places.set(id, place);
      const at = place * WORDS;
      Atomics.add(words, at, 1);
      deadlines[place] = deadline;
      Atomics.store(words, at + 1, texts.write(text, place * PLACE_BYTES, "utf8"));
      Atomics.add(words, at, 1);
      return true;
    },
  };
}

export interface BoardReader {
  /** The texts whose deadline is not after `until`. */
  read(until: number): string[];
}

export function boardReader({
  words: wordMemory,
  deadlines: deadlineMemory,
  texts: textMemory,
}: BoardMemory): BoardReader {
  const words = new Int32Array(wordMemory);
  const deadlines = new Float64Array(deadlineMemory);
  const texts = Buffer.from(textMemory);
  return {
    read(until) {
      const found: string[] = [];
      for (let place = 0; place < deadlines.length; place++) {
        const at = place * WORDS;
        for (;;) {
          const before = Atomics.load(words, at);
          const length = Atomics.load(words, at + 1);
          if (length === 0) break;
          const due = (deadlines[place] as number) <= until;
          const text = due ? texts.toString("utf8", place * PLACE_BYTES, place * PLACE_BYTES + length) : "";
          // It was written meanwhile: once more.
          if (before % 2 !== 0 || Atomics.load(words, at) !== before) continue;
          if (due) found.push(text);
          break;
        }
      }
      return found;
    },
  };
}
