/** Patterns such as `media.*`, as Celery's routes have them. */

/**
 * Python's `fnmatch` as a regular expression that the whole name has to match: `*` is any text, dots included, `?` any
 * one character, `[a-z]` and `[!a-z]` a set. A `[` without its `]` stands for itself.
 */
export function globPattern(glob: string): RegExp {
  let source = "";
  for (let i = 0; i < glob.length; i++) {
    const sign = glob[i] as string;
    if (sign === "*") {
      // A run of stars is one: two of them side by side make matching slow and change nothing.
      if (glob[i - 1] !== "*") source += ".*";
    } else if (sign === "?") {
      source += ".";
    } else if (sign === "[") {
      // The first sign after `[` or `[!` belongs to the set, also where it is `]`.
      const end = glob.indexOf("]", i + (glob[i + 1] === "!" ? 3 : 2));
      if (end === -1) {
        source += "\\[";
      } else {
        source += setPattern(glob.slice(i + 1, end));
        i = end;
      }
    } else {
      source += sign.replace(/[\\^$.+(){}|/\]]/, "\\$&");
    }
  }
  return new RegExp(`^${source}$`, "su");
}

function setPattern(content: string): string {
  const negated = content.startsWith("!");
  const signs = [...(negated ? content.slice(1) : content)];
  let set = "";
  for (let i = 0; i < signs.length; i++) {
    const [from, dash, to] = signs.slice(i, i + 3) as [string, string?, string?];
    if (dash !== "-" || to === undefined) {
      set += inSet(from);
    } else {
      // A range that runs backwards is empty.
      if (from <= to) set += `${inSet(from)}-${inSet(to)}`;
      i += 2;
    }
  }
  return `[${negated ? "^" : ""}${set}]`;
}

/** A character as a member of a set. */
const inSet = (sign: string): string => sign.replace(/[\\^[\]-]/, "\\$&");
