import { createRequire } from "node:module";

/** The package's version; `undefined` in a bundle, which has left its package behind. */
export const VERSION: string | undefined = readVersion();

function readVersion(): string | undefined {
  try {
    return (createRequire(import.meta.url)("../../package.json") as { readonly version: string }).version;
  } catch {
    return undefined;
  }
}
