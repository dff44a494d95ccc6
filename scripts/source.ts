/**
 * In a checkout the package's own name means its source: `node --import <path to this file> script.ts` resolves
 * `lovage`, `lovage/testing` and so on to src/, so that examples and documentation run without a build. So are `#aws/sqs`
 * and the other names that the package has for itself.
 */
import { readFileSync } from "node:fs";
import { flushCompileCache, registerHooks } from "node:module";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly name: string;
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
  readonly imports: Readonly<Record<string, string>>;
};

const sourceOf = (built: string): string =>
  new URL(built.replace("./dist/", "../src/").replace(/\.js$/, ".ts"), import.meta.url).href;

/** What others may import, and what the package has a name of its own for, with the source file's URL behind it. */
export const sources: ReadonlyMap<string, string> = new Map([
  ...Object.entries(manifest.exports).flatMap(([subpath, target]) =>
    typeof target === "string" ? [] : [[manifest.name + subpath.slice(1), sourceOf(target.default)] as const],
  ),
  ...Object.entries(manifest.imports).map(([name, built]) => [name, sourceOf(built)] as const),
]);

const SOURCES = new URL("../src/", import.meta.url).href;

registerHooks({
  resolve(specifier, context, nextResolve) {
    const { parentURL } = context;
    // Between the sources a name is a place. Node would look for links and package.json on the way to each of a hundred modules,
    // which takes half of the time in which a process of a test starts.
    if (parentURL?.startsWith(SOURCES) && specifier.startsWith(".") && specifier.endsWith(".ts")) {
      return { url: new URL(specifier, parentURL).href, format: "module-typescript", shortCircuit: true };
    }
    return nextResolve(sources.get(specifier) ?? specifier, context);
  },
});

// Node keeps what it has compiled when a process ends by itself (NODE_COMPILE_CACHE), and the tests kill most of theirs.
if (process.env["NODE_COMPILE_CACHE"] !== undefined) setTimeout(flushCompileCache, 500).unref();
