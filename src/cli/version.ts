import { createRequire } from "node:module";

/** The package's version. */
export const VERSION = (createRequire(import.meta.url)("../../package.json") as { readonly version: string }).version;
