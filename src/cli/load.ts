/** Finds the app that a command is for: `-A ./tasks.ts`, `-A ./tasks.ts:export`. */
import { existsSync, readFileSync, statSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Lovage } from "../app.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { oneLine } from "./exit.ts";

/** What a path may leave out, as `celery -A tasks` does. */
const ENDINGS = ["", ".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs"];

/**
 * Loads the app, and the modules that its settings `imports` and `include` name. Throws `ImproperlyConfigured` where the
 * module is not there, throws, or exports no app.
 */
export async function loadApp(given: string): Promise<Lovage> {
  const [, path = given, name] = /^(.+?)(?::([\p{L}_$][\p{L}\p{N}_$]*))?$/u.exec(given) ?? [];
  const file = findFile(resolve(path));
  if (file === undefined) {
    throw new ImproperlyConfigured("--app", `there is no module ${path} (looked for ${resolve(path)})`);
  }
  const app = findApp(await load("--app", path, file), path, name);
  for (const specifier of new Set([...app.config.imports, ...app.config.include])) {
    await load("imports", specifier, resolveFrom(file, specifier));
  }
  return app;
}

/** The same for commands that reach what other processes do. */
export async function loadSharedApp(given: string): Promise<Lovage> {
  const app = await loadApp(given);
  for (const setting of ["brokerUrl", "resultBackend"] as const) {
    if (!app.config[setting].startsWith("memory:")) continue;
    throw new ImproperlyConfigured(
      setting,
      "memory:// is seen by the process that made it alone, and this command is another one; leave it out for SQLite",
    );
  }
  return app;
}

function findFile(path: string): string | undefined {
  return ENDINGS.map((ending) => path + ending).find((file) => existsSync(file) && statSync(file).isFile());
}

/** Modules named in the settings are found from where the app's own module is. */
function resolveFrom(file: string, specifier: string): string {
  const beside = findFile(fileURLToPath(new URL(specifier, pathToFileURL(file))));
  if (beside !== undefined) return beside;
  try {
    return createRequire(file).resolve(specifier);
  } catch (cause) {
    throw new ImproperlyConfigured("imports", `there is no module ${specifier} beside ${file}`, { cause });
  }
}

async function load(setting: string, name: string, file: string): Promise<Readonly<Record<string, unknown>>> {
  const url = pathToFileURL(file).href;
  try {
    return await import(url).catch(async (error: unknown) => {
      const why = /\.[cm]?tsx?$/.test(file) ? beyondNode(error) : undefined;
      if (why === undefined || !(await registerTsx(file, why, error))) throw error;
      // What failed before is not remembered, but for CommonJS, which was taken for what it is not.
      return IMPORT_IN_COMMONJS.test((error as Error).message) ? requireFrom(file) : import(url);
    });
  } catch (error) {
    if (error instanceof ImproperlyConfigured && error.setting === "--app") throw error;
    const what = error instanceof LovageError ? error.message : oneLine(error) + placeOf(error);
    throw new ImproperlyConfigured(setting, `${name} could not be loaded: ${what}`, { cause: error });
  }
}

/** A CommonJS module. What it requires of us is what everybody else in this process has: `tsx` would make a copy of its own. */
async function requireFrom(file: string): Promise<Readonly<Record<string, unknown>>> {
  const require = createRequire(file);
  const own = require.resolve("lovage");
  const whole = new Module(own);
  whole.exports = await import(pathToFileURL(own).href);
  whole.loaded = true;
  require.cache[own] = whole;
  const exports: unknown = require(file);
  return Object(exports);
}

/** Node runs TypeScript by leaving types out. What that does not do, a project's own `tsx` does, once for all that is loaded. */
let hasTsx = false;

/** Of an error what Node's own way with TypeScript does not do; `undefined`: it is another one. */
function beyondNode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  const { message } = error;
  switch (code) {
    case "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX":
    case "ERR_INVALID_TYPESCRIPT_SYNTAX":
      return `${/^(?:TypeScript )?([\w -]+?) (?:is|are) not supported/i.exec(message)?.[1] ?? "such syntax"} of TypeScript`;
    case "ERR_UNKNOWN_FILE_EXTENSION":
      return "JSX, and files that end in .tsx";
    case "ERR_UNSUPPORTED_DIR_IMPORT":
      return "imports of folders";
    case "ERR_MODULE_NOT_FOUND":
      return `${/Cannot find package/.test(message) ? "names of tsconfig.json (paths)" : "imports without the file's own ending"}`;
    default:
      if (!(error instanceof SyntaxError)) return undefined;
      if (IMPORT_IN_COMMONJS.test(message)) return "import statements in a CommonJS package";
      // Node says no more of one, and not where it is.
      return /unexpected token/i.test(message) ? "decorators" : undefined;
  }
}

const IMPORT_IN_COMMONJS = /import statement outside a module|^Unexpected token 'export'/;

/** Not in a comment, nor within a word as in an address. */
const DECORATOR = /^(?!\s*(?:\*|\/[/*]))(?:.*[\s{;(])?@[A-Za-z_$]/;

/** Where the first decorator is in a module and what it imports of the project's own. */
function findDecorator(file: string, seen = new Set<string>()): string | undefined {
  if (seen.has(file) || !existsSync(file)) return undefined;
  seen.add(file);
  const source = readFileSync(file, "utf8");
  const line = source.split("\n").findIndex((text) => DECORATOR.test(text));
  if (line >= 0) return `${file}:${line + 1}`;
  for (const [, specifier = ""] of source.matchAll(/(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g)) {
    const found = findDecorator(resolve(file, "..", specifier), seen);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether the project's `tsx` loads from now on. Throws `ImproperlyConfigured` where it would be needed and is not there. */
async function registerTsx(file: string, why: string, error: unknown): Promise<boolean> {
  if (hasTsx) return false;
  const { resolve: find } = createRequire(file);
  let esm: string;
  let cjs: string;
  try {
    [esm, cjs] = [find("tsx/esm/api"), find("tsx/cjs/api")];
  } catch (cause) {
    // A package that is not there is no matter of TypeScript's, unless it is spelled as an alias is.
    const { code, message } = error as NodeJS.ErrnoException;
    const missing = /Cannot find package '([^']+)'/.exec(message)?.[1];
    if (code === "ERR_MODULE_NOT_FOUND" && missing !== undefined && !/^[@~#]\/|^[~#$]/.test(missing)) return false;
    if (code === "ERR_MODULE_NOT_FOUND" && missing === undefined && !isWrittenSo(message)) return false;
    let place = placeOf(error);
    if (why === "decorators") {
      const decorator = findDecorator(file);
      // It is no matter of TypeScript's: a syntax error.
      if (decorator === undefined) return false;
      place = ` (${decorator})`;
    }
    throw new ImproperlyConfigured(
      "--app",
      `${file} could not be loaded: ${oneLine(error)}${place}. Node by itself runs no ${why}; with tsx in the project they run: npm install --save-dev tsx`,
      { cause },
    );
  }
  for (const api of [cjs, esm]) {
    const { register }: { readonly register?: () => unknown } = await import(pathToFileURL(api).href);
    register?.();
  }
  hasTsx = true;
  return true;
}

/** Whether a module that was not found is there under the ending that TypeScript's own files have. */
function isWrittenSo(message: string): boolean {
  const path = /Cannot find module '([^']+)'/.exec(message)?.[1];
  if (path === undefined) return false;
  const plain = path.replace(/\.[cm]?jsx?$/, "");
  return [".ts", ".tsx", ".mts", ".cts", "/index.ts"].some((ending) => existsSync(plain + ending));
}

/** Where it was thrown, or where the syntax is wrong: what a user looks for first in a stack. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const [, place] =
    /^(?:file:\/\/)?(\/\S+:\d+)\n/.exec(error.stack ?? "") ??
    /file:\/\/(\S+?:\d+(?::\d+)?)/.exec(error.stack ?? "") ??
    [];
  return place === undefined ? "" : ` (${place})`;
}

function findApp(loaded: Readonly<Record<string, unknown>>, path: string, name: string | undefined): Lovage {
  const module = withCommonJs(loaded);
  const bad = (why: string) => new ImproperlyConfigured("--app", why);
  const names = Object.keys(module);
  if (name !== undefined) {
    const found = module[name];
    if (found instanceof Lovage) return found;
    if (name in module) throw bad(`the export ${name} of ${path} is no Lovage app${otherCopy(found)}`);
    throw bad(`${path} has no export ${name}${didYouMean(name, names)}; it exports ${names.join(", ") || "nothing"}`);
  }
  for (const usual of ["app", "default"]) {
    const found = module[usual];
    if (found instanceof Lovage) return found;
  }
  const apps = names.filter((key) => module[key] instanceof Lovage);
  const [only] = apps;
  if (apps.length > 1)
    throw bad(`${path} exports several apps, ${apps.join(", ")}: say which, as in -A ${path}:${only}`);
  if (only !== undefined) return module[only] as Lovage;
  throw bad(
    `${path} exports no Lovage app${Object.values(module).map(otherCopy).find(Boolean) ?? ""}; it needs one, as in export const app = new Lovage("tasks")`,
  );
}

/** What a CommonJS module exports stands in its default, as far as Node cannot tell it by name. */
function withCommonJs(loaded: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { default: whole } = loaded;
  if (typeof whole !== "object" || whole === null || whole instanceof Lovage) return loaded;
  return { ...whole, ...Object.fromEntries(Object.entries(loaded).filter(([name]) => name !== "default")) };
}

/** An app of another installation is not ours to run: the two would not share anything. */
const otherCopy = (value: unknown): string =>
  typeof value === "object" && value?.constructor.name === "Lovage"
    ? " of this copy of the package: run the lovage command of the project's own node_modules"
    : "";
