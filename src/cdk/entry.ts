/** The module of a function. Of an export that is missing Lambda would tell only when it calls it: once for each message. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { Annotations } from "aws-cdk-lib";
import type { Construct } from "constructs";
import { ImproperlyConfigured } from "../errors.ts";
import { nearest } from "../nearest.ts";

/** What makes a handler, by the setting that names its module. */
const SETTINGS = {
  createWorkerHandler: "entry",
  createBeatHandler: "beatEntry",
  createBoardHandler: "board.entry",
} as const;
export type Maker = keyof typeof SETTINGS;

/** As much of esbuild as is used here: it comes with the project, and not with this package. */
interface Esbuild {
  buildSync(options: Readonly<Record<string, unknown>>): {
    readonly outputFiles: readonly { readonly text: string }[];
    readonly metafile: {
      readonly inputs: Readonly<Record<string, { readonly format?: string }>>;
      readonly outputs: Readonly<Record<string, { readonly exports: readonly string[] }>>;
    };
  };
}

/**
 * Throws `ImproperlyConfigured` for a module that is known to export no `handler`; warns of one whose bundle has what it does
 * not use: of what is required esbuild leaves nothing out.
 *
 * @param isModule Whether its bundle is an ES module: what a CommonJS module exports has no names there, and Lambda finds none.
 */
export function checkHandler(scope: Construct, path: string, maker: Maker, isModule: boolean): void {
  const names = exportsOf(resolve(path));
  if (names === "commonjs" && isModule)
    throw new ImproperlyConfigured(
      SETTINGS[maker],
      `${path} is a CommonJS module, and of its exports Lambda finds none in the bundle, which is an ES module: write import, and export const handler = ${maker}(app), in it, or set bundling: { format: OutputFormat.CJS }`,
    );
  if (names === "commonjs" && /require\(["']lovage\/lambda["']\)/.test(readFileSync(path, "utf8")))
    Annotations.of(scope).addWarningV2(
      "lovage:entry.commonjs",
      `${path} requires lovage/lambda, which is bundled as a whole, the board and the AWS SDK's clients too: 700 KB in place of 300, which make each cold start longer. Write import, and export const handler = ${maker}(app), in it; the modules of tasks may stay as they are`,
    );
  if (names === undefined || names === "commonjs" || names.includes("handler")) return;
  const near = nearest("handler", names);
  throw new ImproperlyConfigured(
    SETTINGS[maker],
    `${path} exports no handler, which Lambda calls${near === undefined ? "" : `, but ${near}`}: write export const handler = ${maker}(app) in it, or give the module that does (it exports ${names.join(", ") || "nothing"})`,
  );
}

/**
 * What a module exports by name, which of CommonJS is known only when it runs. `undefined`: so it is with `export * from`; or
 * there is no esbuild beside it, as where all is bundled in a container; or it does not parse, which its bundling tells better.
 */
function exportsOf(file: string): readonly string[] | "commonjs" | undefined {
  try {
    const { buildSync } = createRequire(file)("esbuild") as Esbuild;
    const { outputFiles, metafile } = buildSync({
      entryPoints: [file],
      format: "esm",
      write: false,
      metafile: true,
      outdir: "out",
      logLevel: "silent",
    });
    const [{ format } = {}] = Object.values(metafile.inputs);
    if (format === "cjs") return "commonjs";
    if (outputFiles.some(({ text }) => /^export \* from/m.test(text))) return undefined;
    return Object.values(metafile.outputs)[0]?.exports;
  } catch {
    return undefined;
  }
}
