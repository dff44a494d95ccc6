/** Patterns such as `media.*`, as Celery's routes have them. */

/**
 * Python's `fnmatch`, which the whole name has to match: `*` is any text, dots included, `?` any one character, `[a-z]` and
 * `[!a-z]` a set. A `[` without its `]` stands for itself.
 *
 * Names are anybody's, so it takes time in proportion to the name. What stands between two stars has a fixed length, and
 * its first place is as good as any other: there is nothing to go back to, as there is for a regular expression.
 */
export function matchGlob(glob: string): (name: string) => boolean {
  const [first = [], ...others] = piecesOf(glob);
  const last = others.pop();
  return (name) => {
    const signs = [...name];
    if (last === undefined) return signs.length === first.length && standsAt(first, signs, 0);
    const end = signs.length - last.length;
    if (end < first.length || !standsAt(first, signs, 0) || !standsAt(last, signs, end)) return false;
    let at = first.length;
    for (const piece of others) {
      while (at + piece.length <= end && !standsAt(piece, signs, at)) at++;
      at += piece.length;
      if (at > end) return false;
    }
    return true;
  };
}

/** Whether a character is meant. */
type Sign = (sign: string) => boolean;

const standsAt = (piece: readonly Sign[], signs: readonly string[], at: number): boolean =>
  piece.every((test, i) => test(signs[at + i] as string));

/** What stands between the stars of a glob. */
function piecesOf(glob: string): readonly (readonly Sign[])[] {
  const signs = [...glob];
  const pieces: Sign[][] = [[]];
  for (let i = 0; i < signs.length; i++) {
    const sign = signs[i] as string;
    // The first sign after `[` or `[!` belongs to the set, also where it is `]`.
    const end = sign === "[" ? signs.indexOf("]", i + (signs[i + 1] === "!" ? 3 : 2)) : -1;
    if (sign === "*") pieces.push([]);
    else if (end !== -1) {
      pieces.at(-1)?.push(setOf(signs.slice(i + 1, end)));
      i = end;
    } else pieces.at(-1)?.push(sign === "?" ? () => true : (given) => given === sign);
  }
  return pieces;
}

function setOf(content: readonly string[]): Sign {
  const negated = content[0] === "!";
  const signs = negated ? content.slice(1) : content;
  const ranges: (readonly [from: number, to: number])[] = [];
  const code = (sign: string) => sign.codePointAt(0) as number;
  for (let i = 0; i < signs.length; i++) {
    const [from, dash, to] = signs.slice(i, i + 3) as [string, string?, string?];
    const isRange = dash === "-" && to !== undefined;
    // A range that runs backwards is empty.
    ranges.push([code(from), code(isRange ? to : from)]);
    if (isRange) i += 2;
  }
  return (sign) => ranges.some(([from, to]) => from <= code(sign) && code(sign) <= to) !== negated;
}
