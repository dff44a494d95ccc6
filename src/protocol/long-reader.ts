/**
 * A text that is not held as a whole while it is read: its longest parts are taken out of it as it comes, already as what they
 * mean, and all the rest is a text in which a mark stands for each of them. So it was written, too (`long-text.ts`).
 */
import { base64ToBytes } from "./bytes.ts";
import { LONG, markFor, type Part, restoredBy } from "./long-text.ts";

/** A text that was read. */
export interface ReadText {
  /** The text, a mark in the place of each of its longest parts. */
  readonly text: string;
  /** The value that was read from that, with its longest parts. */
  restored<T>(value: T): T;
}

/** How a message begins whose body is JSON within a text of JSON: so it is written here, and by Celery where nothing is base64. */
const BODY = /^\{"body": ?"\[/;
const BODY_LENGTH = 16;
const QUOTE = '"';
const BACKSLASH = 0x5c;
/** What stands before the value of a tag, and before bytes. In a body each quote has a backslash of its own. */
const BEFORE_TAGGED = /"__value__\\?"\s*:\s*\\?"$/;
const BEFORE_BYTES = /\{\\?"__type__\\?": ?\\?"base64\\?", ?\\?"__value__\\?": ?\\?"$/;
const BEFORE_LENGTH = 60;
const TAGS = /__type__/g;
/** Tags whose values hold nothing long of another kind; what others hold is read by code that must not see a mark. */
const PLAIN_TAGS = /"__type__\\?": ?\\?"(?:base64|datetime|date|time|decimal|uuid)\\?"/g;
/** A letter of a tag may be written so. */
const ESCAPED_LETTER = /\\u00[2-7]/;

/** Reads a text from pieces that may end anywhere. */
export interface LongReader {
  add(piece: string): void;
  /** `undefined`: it has to be read as a whole, which tells what is wrong with it where it is no JSON. */
  end(): ReadText | undefined;
}

/**
 * @param isMessage Whether long parts are looked for in a message's body, and not in the text itself.
 * @param least So many characters of a text of JSON are long.
 */
export function longReader(isMessage: boolean, least = LONG): LongReader {
  const parts = new Map<string, Part>();
  let phase: "begins" | "open" | "closed" = isMessage ? "begins" : "open";
  let text = "";
  /** It cannot be told yet what this belongs to. */
  let held = "";
  /** A text within the text that began in an earlier piece. */
  let inside: { raw: string; part: PartReader | undefined } | undefined;
  let isOdd = false;

  /** What a quote is that so many backslashes stand before. */
  const kindOf = (slashes: number): "escaped" | "delimiter" | "end of the body" => {
    if (!isMessage) return slashes % 2 === 0 ? "delimiter" : "escaped";
    if (slashes % 2 === 0) return "end of the body";
    return ((slashes - 1) / 2) % 2 === 0 ? "delimiter" : "escaped";
  };

  const goOn = (raw: string) => {
    inside ??= { raw: "", part: undefined };
    if (inside.part !== undefined) return inside.part.add(raw);
    inside.raw += raw;
    if (inside.raw.length < least) return;
    const before = text.slice(-BEFORE_LENGTH);
    const isBytes = BEFORE_BYTES.test(before);
    isOdd ||= !isBytes && BEFORE_TAGGED.test(before);
    inside.part = partReader(isMessage ? 2 : 1, isBytes);
    inside.part.add(inside.raw);
    inside.raw = "";
  };

  const close = () => {
    const part = inside?.part;
    if (part === undefined) text += inside?.raw ?? "";
    else {
      const value = part.end();
      if (value === undefined) isOdd = true;
      else text += markFor(value, parts);
    }
    inside = undefined;
  };

  function look(piece: string): void {
    /** Up to here it is in `text`, or in a part. */
    let taken = 0;
    let start = inside === undefined ? undefined : 0;
    for (let at = piece.indexOf(QUOTE); at >= 0; at = piece.indexOf(QUOTE, at + 1)) {
      let slashes = 0;
      while (piece.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++;
      const kind = kindOf(slashes);
      if (kind === "escaped") continue;
      if (kind === "end of the body") {
        isOdd ||= start !== undefined;
        phase = "closed";
        break;
      }
      if (start === undefined) {
        start = at + 1;
        continue;
      }
      const end = isMessage ? at - 1 : at;
      if (inside !== undefined || end - start >= least) {
        text += piece.slice(taken, start);
        goOn(piece.slice(start, end));
        close();
        taken = end;
      }
      start = undefined;
    }
    if (start === undefined || phase === "closed") {
      text += piece.slice(taken);
      return;
    }
    text += piece.slice(taken, start);
    goOn(piece.slice(start));
  }

  return {
    add(given) {
      let piece = held + given;
      held = "";
      if (phase === "begins") {
        if (piece.length < BODY_LENGTH) {
          held = piece;
          return;
        }
        phase = BODY.test(piece) ? "open" : "closed";
        const begin = phase === "open" ? piece.indexOf("[") : 0;
        text += piece.slice(0, begin);
        piece = piece.slice(begin);
      }
      if (phase === "closed") {
        text += piece;
        return;
      }
      // How many backslashes stand before the next quote is known when all of them are there.
      let end = piece.length;
      while (piece.charCodeAt(end - 1) === BACKSLASH) end--;
      held = piece.slice(end);
      look(piece.slice(0, end));
    },
    end() {
      text += held;
      if (isOdd || inside !== undefined || !canRestore(text, parts)) return undefined;
      return { text, restored: (value) => (parts.size === 0 ? value : restoredBy(value, parts)) };
    },
  };
}

/** Whether each mark stands where a value is that nobody but us reads. */
function canRestore(text: string, parts: ReadonlyMap<string, Part>): boolean {
  if (parts.size === 0) return true;
  if (ESCAPED_LETTER.test(text)) return false;
  if ((text.match(TAGS)?.length ?? 0) !== (text.match(PLAIN_TAGS)?.length ?? 0)) return false;
  // A name of a member is no value.
  return [...parts.keys()].every(
    (mark) => !/^\\?"\s*:/.test(text.slice(text.indexOf(mark) + mark.length).slice(0, 100)),
  );
}

interface PartReader {
  add(raw: string): void;
  /** `undefined`: it has to be read as a whole. */
  end(): Part | undefined;
}

/** Reads one long part. Where that is bytes, they are decoded at once. */
function partReader(escapes: number, isBytes: boolean): PartReader {
  const levels = Array.from({ length: escapes }, unescaper);
  const into = isBytes ? bytesReader() : textReader();
  return {
    add: (raw) => into.add(levels.reduce((piece, level) => level.add(piece), raw)),
    end() {
      const value = into.end();
      return levels.some((level) => level.isOdd()) ? undefined : value;
    },
  };
}

function textReader(): PartReader {
  let value = "";
  return {
    add(piece) {
      value += piece;
    },
    end: () => value,
  };
}

function bytesReader(): PartReader {
  const pieces: Uint8Array[] = [];
  let isOdd = false;
  let rest = "";
  const decode = (text: string): number => {
    try {
      const bytes = base64ToBytes(text);
      pieces.push(bytes);
      return bytes.length;
    } catch {
      isOdd = true;
      return 0;
    }
  };
  return {
    add(given) {
      const piece = rest + given;
      // Padding and white space may be in the last group alone.
      const ready = Math.max(0, piece.length - (piece.length % 4) - 4);
      rest = piece.slice(ready);
      if (decode(piece.slice(0, ready)) !== (ready / 4) * 3) isOdd = true;
    },
    end() {
      decode(rest);
      return isOdd ? undefined : joined(pieces);
    },
  };
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Undoes the escapes of a text of JSON that comes in pieces. */
function unescaper() {
  let cut = "";
  let isOdd = false;
  return {
    add(given: string): string {
      const piece = cut + given;
      const end = endOfEscapes(piece);
      cut = piece.slice(end);
      try {
        return JSON.parse(`"${piece.slice(0, end)}"`) as string;
      } catch {
        isOdd = true;
        return "";
      }
    },
    /** Whether there was a bad escape, a control character, or half an escape at the end. */
    isOdd: () => isOdd || cut !== "",
  };
}

/** Up to where a piece that begins with no half of an escape ends with none. */
function endOfEscapes(piece: string): number {
  const last = piece.lastIndexOf("\\");
  if (last < piece.length - 6 || last < 0) return piece.length;
  let run = 0;
  while (piece.charCodeAt(last - run) === BACKSLASH) run++;
  // The last of an even number is the second half of an escape.
  if (run % 2 === 0) return piece.length;
  const length = piece[last + 1] === "u" ? 6 : 2;
  return last + length <= piece.length ? piece.length : last;
}
