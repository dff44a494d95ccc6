import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { stage, withAbsoluteLinks, withAddresses } from "../../scripts/release.ts";

const root = resolve(import.meta.dirname, "../..");
const manifest = { version: "1.2.3", repository: { url: "git+https://git.example/team/lovage.git" } };

test("the pages of the project and of its bugs follow from its repository", () => {
  expect(withAddresses(manifest)).toMatchObject({
    homepage: "https://git.example/team/lovage#readme",
    bugs: "https://git.example/team/lovage/issues",
  });
});

test("links to files become addresses of the release, and others stay", () => {
  const page =
    "![p](docs/p.webp) [a](docs/a.md) [b](docs/a.md#part) [c](#here) [d](https://d.example/x) [e](../README.md)";
  const base = "https://git.example/team/lovage/blob/v1.2.3";
  expect(withAbsoluteLinks(page, manifest, "docs")).toBe(
    `![p](https://git.example/team/lovage/raw/v1.2.3/docs/docs/p.webp) [a](${base}/docs/docs/a.md) [b](${base}/docs/docs/a.md#part) [c](#here) [d](https://d.example/x) [e](${base}/README.md)`,
  );
});

test("what is published has the starters that lovage init writes, and the addresses", () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-stage-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  stage(root, folder, { ...JSON.parse(readFileSync(join(root, "package.json"), "utf8")), ...manifest });
  const starters = (at: string) =>
    globSync("examples/starters/*/*.{ts,html,json}", { cwd: at })
      .filter((file) => !/package-lock|next-env|tsbuildinfo/.test(file))
      .sort();
  expect(starters(folder)).toEqual(starters(root));
  expect(starters(folder)).toContain("examples/starters/plain/tasks.ts");
  expect(
    globSync("*", { cwd: folder })
      .filter((name) => name !== "dist")
      .sort(),
  ).toEqual(["LICENSE", "README.md", "bin", "examples", "package.json"]);
  const published = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, unknown>;
  expect(published).toMatchObject({ homepage: "https://git.example/team/lovage#readme" });
  expect(published).not.toHaveProperty("devDependencies");
  expect(readFileSync(join(folder, "README.md"), "utf8")).toContain("/blob/v1.2.3/docs/tutorial.md");
});

test("every file that README leads to is there", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, link = ""]) => link);
  expect(links.length).toBeGreaterThan(20);
  expect(links.filter((link) => !existsSync(join(root, link)))).toEqual([]);
});
