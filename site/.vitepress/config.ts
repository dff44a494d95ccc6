import { cpSync, globSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { defineConfig } from "vitepress";

const root = resolve(import.meta.dirname, "../..");
const pages = resolve(import.meta.dirname, "../.pages");

// What Vite reads has to lie where it finds its own packages.
rmSync(pages, { recursive: true, force: true });
const isInstalled = (name: string) => name === "node_modules";
for (const name of globSync(["*.md", "docs", "examples/**/README.md"], { cwd: root, exclude: isInstalled })) {
  cpSync(join(root, name), join(pages, name), { recursive: true });
}

interface Entry {
  readonly text: string;
  readonly link: string;
}

/** The groups of README's last list, "Where to read on", are those of the sidebar: a page is named in one place. */
function sidebar(): readonly {
  readonly text: string;
  readonly collapsed: boolean;
  readonly items: readonly Entry[];
}[] {
  const readme = readFileSync(resolve(root, "README.md"), "utf8");
  const [, list = ""] = readme.split("## Where to read on\n");
  const groups = list.split(/^- \*\*/m).slice(1);
  if (groups.length === 0) throw new Error('README.md has no list below "## Where to read on"');
  return groups.map((group) => {
    const [text = "", rest = ""] = group.split("**:");
    const items = [...rest.matchAll(/\[([^\]]+)\]\(([^)]+)\.md\)/g)].map(([, name = "", link = ""]) => ({
      text: name.charAt(0).toUpperCase() + name.slice(1).replaceAll("`", ""),
      link: `/${link}`,
    }));
    return { text, collapsed: false, items };
  });
}

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("{{", "&#123;&#123;");

export default defineConfig({
  title: "Lovage",
  description: "Celery's model without servers, in TypeScript.",
  lang: "en",
  srcDir: pages,
  outDir: resolve(import.meta.dirname, "../dist"),
  cacheDir: resolve(import.meta.dirname, "../.cache"),
  rewrites: { "README.md": "index.md" },
  // What runs on the reader's own machine.
  ignoreDeadLinks: [/^http:\/\/localhost\b/],
  markdown: {
    // As GitHub makes them, where the same pages are read.
    anchor: {
      slugify: (heading) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "")
          .replaceAll(" ", "-"),
    },
    config(md) {
      const fence = md.renderer.rules.fence;
      md.renderer.rules.fence = (tokens, index, ...rest) => {
        const token = tokens[index];
        if (token?.info.trim() === "mermaid") return `<pre class="mermaid" v-pre>${escaped(token.content)}</pre>`;
        return fence?.(tokens, index, ...rest) ?? "";
      };
    },
  },
  themeConfig: {
    search: { provider: "local" },
    sidebar: sidebar().map((group) => ({ ...group, items: [...group.items] })),
    outline: [2, 3],
  },
});
