/**
 * In a checkout the package's own name means its source: `node --import <path to this file> script.ts` resolves
 * `lovage`, `lovage/testing` and so on to src/, so that examples and documentation run without a build.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly name: string;
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
};

/** What others may import, and the source file's URL behind it. */
export const sources: ReadonlyMap<string, string> = new Map(
  Object.entries(manifest.exports).flatMap(([subpath, target]) => {
    if (typeof target === "string") return [];
    const file = target.default.replace("./dist/", "../src/").replace(/\.js$/, ".ts");
    return [[manifest.name + subpath.slice(1), new URL(file, import.meta.url).href] as const];
  }),
);

registerHooks({
  resolve(specifier, context, nextResolve) {
    return nextResolve(sources.get(specifier) ?? specifier, context);
  },
});
