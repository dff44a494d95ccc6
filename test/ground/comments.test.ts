/** Comments and pages lead their readers to files, which may move. */
import { globSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const filesOf = (pattern: string) =>
  globSync(pattern, { cwd: root, exclude: (name) => /(^|[\\/])(node_modules|dist)$/.test(String(name)) }).map((file) =>
    file.replaceAll("\\", "/"),
  );
const files = filesOf("{bin,src,test,scripts,bench,examples,functions,infra,site}/**/*.*");

/** The names of files that a text has in backticks, with a folder, and that are none. A name may leave its beginning out. */
const gone = (file: string, text: string): readonly string[] =>
  [...text.matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.(?:ts|js|sh|py))`/g)].flatMap(([, name = ""]) => {
    const beside = posix.join(posix.dirname(file), name);
    return files.some((one) => one === beside || one === name || one.endsWith(`/${name}`)) ? [] : [`${file}: ${name}`];
  });

/** The comments of a module: a template's text may show a user's own files. */
const comments = (source: string) => (source.match(/^\s*(\/\/|\/?\*).*$/gm) ?? []).join("\n");

test("a name of a file that is not there is found, be it whole, beside, or without its beginning", () => {
  expect(gone("src/beat/store.ts", "see `../beat/gone.ts`, `test/gone.ts` and `beat/loop.ts`")).toEqual([
    "src/beat/store.ts: ../beat/gone.ts",
    "src/beat/store.ts: test/gone.ts",
  ]);
});

test("files that comments and ARCHITECTURE.md name are there", () => {
  const sources = files.filter(
    (file) => /^(src|test|scripts|bench)\/.*\.ts$/.test(file) && !file.endsWith("/texts.ts"),
  );
  expect([
    ...sources.flatMap((file) => gone(file, comments(readFileSync(join(root, file), "utf8")))),
    ...["ARCHITECTURE.md", "CONTRIBUTING.md"].flatMap((file) => gone(file, readFileSync(join(root, file), "utf8"))),
  ]).toEqual([]);
});
