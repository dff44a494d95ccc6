/** Links between the pages: each leads to a file that is there, and to a heading that is there. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const isInstalled = (name: string) => name === "node_modules";
const pages = globSync(["*.md", "docs/**/*.md", "examples/**/README.md"], { cwd: root, exclude: isInstalled });

const withoutCode = (markdown: string) => markdown.replaceAll(/^( *)```[\s\S]*?^\1```$/gm, "");

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(markdown: string): ReadonlySet<string> {
  const seen = new Map<string, number>();
  const anchors = [...withoutCode(markdown).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) => {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = plain.replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-");
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
  return new Set(anchors);
}

/** The links of a page that lead nowhere. */
function deadLinks(page: string, markdown: string): readonly string[] {
  const links = [...withoutCode(markdown).matchAll(/(?<!`)\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(
    ([, to = ""]) => to,
  );
  return links.filter((to) => {
    const [path = "", anchor] = to.split("#");
    const file = path === "" ? join(root, page) : resolve(root, dirname(page), path);
    const own = relative(root, file) === page;
    if (!own && !existsSync(file)) return true;
    if (anchor === undefined || !file.endsWith(".md")) return false;
    const there = own ? markdown : readFileSync(file, "utf8");
    return !anchorsOf(there).has(anchor);
  });
}

test("no page has a link that leads nowhere", () => {
  const dead = pages.flatMap((page) =>
    deadLinks(page, readFileSync(join(root, page), "utf8")).map((to) => `${page}: ${to}`),
  );
  expect(dead).toEqual([]);
  expect(pages.length).toBeGreaterThan(40);
});

test("a link to a file or a heading that is not there is found", () => {
  const page =
    "# A\n\n## `b`: c, d\n\n[1](#b-c-d) [2](#nowhere) [3](README.md) [4](nothing.md) [5](README.md#lovage) [6](README.md#no)";
  expect(deadLinks("page.md", page)).toEqual(["#nowhere", "nothing.md", "README.md#no"]);
});
