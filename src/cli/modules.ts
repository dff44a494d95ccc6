/** Which files of a project its app is made of: said while they are loaded, for the one that watches them. */
import Module, { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** The package itself: what a project has of it changes with an installation alone. */
const OWN = new URL("../", import.meta.url).href;
/** Files that are loaded one after another are said together, after so many milliseconds. */
const TOGETHER_MS = 20;

/** A file, and when it was loaded, in milliseconds since the epoch. */
export type LoadedFile = readonly [file: string, at: number];

/** Begins to note what is loaded from now on; `say` is given all files so far. Returns a way to say what is noted at once. */
export function noteModules(say: (files: readonly LoadedFile[]) => void): () => void {
  const files = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let flushed = Date.now();
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    // What no hook has seen was loaded at some time since the last look.
    for (const file of Object.keys(createRequire(import.meta.url).cache)) note(file, flushed);
    flushed = Date.now();
    say([...files]);
  };
  function note(at: string, time: number): void {
    const url = at.startsWith("/") ? `file://${at}` : at;
    if (!url.startsWith("file:") || url.startsWith(OWN) || url.includes("/node_modules/")) return;
    try {
      // tsx adds a query to tell its own loads apart.
      const file = fileURLToPath(url.replace(/[?#].*$/, ""));
      if (!files.has(file)) files.set(file, time);
    } catch {
      // No file of this machine.
    }
  }
  const noteSoon = (url: string) => {
    note(url, Date.now());
    timer ??= setTimeout(flush, TOGETHER_MS).unref();
  };
  // Bun and Deno have none: there the app's own module is watched, and no more.
  const { registerHooks } = Module as Partial<typeof Module>;
  registerHooks?.({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        // What is missing may come.
        const { url } = error as { readonly url?: unknown };
        if (typeof url === "string") noteSoon(url);
        throw error;
      }
    },
    load(url, context, next) {
      noteSoon(url);
      return next(url, context);
    },
  });
  return flush;
}
