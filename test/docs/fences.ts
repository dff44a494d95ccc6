/** The code in a page. */

export interface Fence {
  readonly language: string;
  readonly flags: readonly string[];
  readonly title?: string;
  /** Of the first line of code, from 1. */
  readonly line: number;
  readonly code: string;
}

/** A page's fenced blocks. */
export function fencesOf(markdown: string): readonly Fence[] {
  const fences: Fence[] = [];
  for (const match of markdown.matchAll(/^( *)```(\w+)(.*)\n([\s\S]*?)^\1```$/gm)) {
    const [, indent = "", language = "", info = "", code = ""] = match;
    const title = /title="([^"]+)"/.exec(info)?.[1];
    fences.push({
      language,
      flags: info
        .replace(/title="[^"]+"/, "")
        .split(" ")
        .filter(Boolean),
      ...(title !== undefined && { title }),
      line: markdown.slice(0, match.index).split("\n").length + 1,
      code: code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    });
  }
  return fences;
}
