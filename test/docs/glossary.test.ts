/** A page's first use of a word that is the glossary's leads to the glossary, or to the page that is about it. */
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const docs = resolve(import.meta.dirname, "../../docs");
const GLOSSARY = "reference/glossary.md";

/** Words of the glossary in the forms that they are used in. Others of it are everybody's words too, and stay as they are. */
const FORMS: Readonly<Record<string, RegExp>> = {
  row: /\brows?\b/i,
  claim: /\bclaim(s|ed)?\b/i,
  lease: /\bleases?\b/i,
  "hand back": /\bhand(s|ed|ing)? back\b/i,
  settle: /\bsettle(s|d)?\b/i,
  hop: /\bhops?\b/i,
  slot: /\bslots?\b/i,
  "dead letter": /\bdead letters?\b/i,
  "follow-up": /\bfollow-ups?\b/i,
};

/**
 * The prose of a page, each letter at its place: fences, code, headings, comments, addresses of links and what a test writes
 * into it are blanks.
 */
function proseOf(markdown: string): string {
  const blank = (text: string) => text.replaceAll(/[^\n]/g, " ");
  const written = /<!-- a test writes what follows -->[\s\S]*?<!-- up to here -->/g;
  return [
    written,
    /^( *)```[\s\S]*?^\1```$/gm,
    /<!--[\s\S]*?-->/g,
    /^#.*$/gm,
    /`[^`\n]+`/g,
    /(?<=\])\([^)\s]+\)/g,
  ].reduce((text, hidden) => text.replaceAll(hidden, blank), markdown);
}

/** The words whose first use on a page is in no link. */
function unexplained(
  markdown: string,
): readonly { readonly word: string; readonly at: number; readonly text: string }[] {
  const prose = proseOf(markdown);
  const links = [...prose.matchAll(/\[[^\]]*\]/g)].map(({ index, 0: text }) => [index, index + text.length] as const);
  return Object.entries(FORMS).flatMap(([word, form]) => {
    const found = form.exec(prose);
    if (found === null || links.some(([from, to]) => from < found.index && found.index < to)) return [];
    return [{ word, at: found.index, text: found[0] }];
  });
}

test("words of the glossary are links to it where a page uses them first", () => {
  const pages = globSync("**/*.md", { cwd: docs }).filter(
    (page) => page !== GLOSSARY && !page.startsWith("reference/api/"),
  );
  expect(pages.length).toBeGreaterThan(40);
  const found = pages.flatMap((page) => {
    const markdown = readFileSync(join(docs, page), "utf8");
    if (markdown.includes("<!-- Made by")) return []; // made from the code's own comments, and looked up in, not read
    return unexplained(markdown).map(({ at, text }) => `${page}:${markdown.slice(0, at).split("\n").length} ${text}`);
  });
  expect(found).toEqual([]);
});

test("each of these words stands in the glossary", () => {
  const glossary = readFileSync(join(docs, GLOSSARY), "utf8");
  expect(Object.keys(FORMS).filter((word) => !glossary.includes(`| **${word}** |`))).toEqual([]);
});

test("a use without a link is found, in prose alone", () => {
  const page =
    "# A lease\n\n`claim: false` and ```x lease``` [the row](rows.md) of a row;\n\n```ts\nslot\n```\n\nIts hop, [hops](a.md).\n<!-- a test writes what follows -->\n| a claim |\n<!-- up to here -->";
  expect(unexplained(page).map(({ text }) => text)).toEqual(["hop"]);
});
