import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { withAbsoluteLinks, withAddresses } from "../../scripts/release.ts";

const root = resolve(import.meta.dirname, "../..");
const manifest = { version: "1.2.3", repository: { url: "git+https://git.example/team/lovage.git" } };

test("the pages of the project and of its bugs follow from its repository", () => {
  expect(withAddresses(manifest)).toMatchObject({
    homepage: "https://git.example/team/lovage#readme",
    bugs: "https://git.example/team/lovage/issues",
  });
});

test("links to files become addresses of the release, and others stay", () => {
  const page = "[a](docs/a.md) [b](docs/a.md#part) [c](#here) [d](https://d.example/x) [e](../README.md)";
  const base = "https://git.example/team/lovage/blob/v1.2.3";
  expect(withAbsoluteLinks(page, manifest, "docs")).toBe(
    `[a](${base}/docs/docs/a.md) [b](${base}/docs/docs/a.md#part) [c](#here) [d](https://d.example/x) [e](${base}/README.md)`,
  );
});

test("every file that README leads to is there", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, link = ""]) => link);
  expect(links.length).toBeGreaterThan(20);
  expect(links.filter((link) => !existsSync(join(root, link)))).toEqual([]);
});
