/** A module and the app in it, as `-A ./tasks.ts` of the command and `loadApp` of the CDK name it. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Lovage } from "./app.ts";
import { oneLine } from "./brief.ts";
import { ImproperlyConfigured, LovageError } from "./errors.ts";
import { didYouMean, nearest } from "./nearest.ts";

/** What a path may leave out, as `celery -A tasks` does. */
const ENDINGS = ["", ".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"];

/** `./tasks.ts:export`: the module, and which of its exports. */
export function splitApp(given: string): { readonly path: string; readonly name: string | undefined } {
  const [, path = given, name] = /^(.+?)(?::([\p{L}_$][\p{L}\p{N}_$]*))?$/u.exec(given) ?? [];
  return { path, name };
}

/** The file that a name means, as it is given in a folder: a path, or else a package; `undefined`: it is not there. */
export function findModule(name: string, folder = resolve()): string | undefined {
  return findFile(resolve(folder, name)) ?? [packageFile(name, folder)].find(isFile);
}

/** The file that a path means, of a folder what Node takes of a package, else its index; `undefined`: it is not there. */
function findFile(path: string): string | undefined {
  const found = ENDINGS.map((ending) => path + ending).find(isFile);
  if (found !== undefined || !existsSync(path)) return found;
  return [ownFile(path), mainFile(path), ...ENDINGS.map((ending) => join(path, `index${ending}`))].find(isFile);
}

const isFile = (path: string | undefined): path is string =>
  path !== undefined && statSync(path, { throwIfNoEntry: false })?.isFile() === true;

/** What the package in a folder is for those who import it by its name: its `exports` says so to itself too. */
function ownFile(folder: string): string | undefined {
  try {
    const { name, exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return exports === undefined ? undefined : packageFile(name, folder);
  } catch {
    return undefined;
  }
}

function mainFile(folder: string): string | undefined {
  try {
    return createRequire(join(folder, "app.js")).resolve("./");
  } catch {
    return undefined;
  }
}

/** The file that an `import` of a package means in a folder, be it there or not; `undefined`: there is no such package. */
function packageFile(name: string, folder: string): string | undefined {
  if (/^\.{0,2}(\/|$)/.test(name)) return undefined;
  const from = join(folder, "app.js");
  // Node resolves an `import` for other modules than the one that asks by a hook alone. Bun and Deno have none.
  const { registerHooks } = Module as Partial<typeof Module>;
  const hooks = registerHooks?.({
    resolve: (one, context, next) =>
      next(one, one === name ? { ...context, parentURL: pathToFileURL(from).href } : context),
  });
  try {
    return hooks === undefined ? createRequire(from).resolve(name) : fileURLToPath(import.meta.resolve(name));
  } catch {
    return undefined;
  } finally {
    hooks?.deregister();
  }
}

/** That a name means no file, and which one it may have meant. */
export const noModule = (name: string, why = ""): string =>
  `there is no module ${name} (looked for ${packageFile(name, resolve()) ?? resolve(name)})${why}${nearby(resolve(name), "")}`;

/** `; did you mean ./tasks.ts?`, as it is called from a folder; an empty text where no name is near. */
export function nearby(path: string, from: string): string {
  const near = nearModule(path);
  return near === undefined ? "" : `; did you mean ${relative(from, near).replace(/^(?!\.\.)/, "./")}?`;
}

/** Where the name of a folder is wrong as well, the module is looked for in the one of the nearest name. */
function nearModule(path: string): string | undefined {
  const [folder, name] = [nearFolder(dirname(path)), basename(path)];
  if (folder === undefined) return undefined;
  if (findFile(join(folder, name)) !== undefined) return join(folder, name);
  const modules = namesIn(folder, false).filter((file) => /(?<!\.d)\.[cm]?[jt]sx?$/.test(file));
  const found = nearest(name, [...modules, ...modules.map((file) => file.replace(/\.\w+$/, ""))]);
  return found && join(folder, found);
}

function nearFolder(path: string): string | undefined {
  if (existsSync(path)) return path;
  const folder = nearFolder(dirname(path));
  const found = folder && nearest(basename(path), namesIn(folder, true));
  return found && join(folder, found);
}

/** The files, or the folders, in a folder; none where it may not be read. */
function namesIn(folder: string, isFolder: boolean): readonly string[] {
  try {
    const all = readdirSync(folder, { withFileTypes: true });
    return all.filter((entry) => entry.isDirectory() === isFolder).map(({ name }) => name);
  } catch {
    return [];
  }
}

/** Why a module could not be loaded, in a line. */
export const whyNotLoaded = (error: unknown): string =>
  error instanceof LovageError ? error.message : oneLine(error) + placeOf(error) + circleOf(error);

/** Of two modules that import each other, the one with tasks runs first, however far down its import stands in the other. */
const circleOf = (error: unknown): string =>
  error instanceof Error &&
  /^Cannot access '.*' before init|^Cannot read .* undefined \(reading '(?:batchT|t)ask'/.test(error.message)
    ? ". Where two modules import each other, one of them runs before the other has made what it exports: let the module of the app import no module with tasks, and name those in the setting include"
    : "";

/** Where it was thrown, or where the syntax is wrong: what a user looks for first in a stack. */
function placeOf(error: unknown): string {
  // Bun's messages of a build have no stack, and are no errors.
  const { position } = Object(error) as { readonly position?: { readonly file: string; readonly line: number } | null };
  if (position) return ` (${position.file}:${position.line})`;
  if (!(error instanceof Error)) return "";
  const [, place] =
    /^(?:file:\/\/)?(\/\S+:\d+)\n/.exec(error.stack ?? "") ??
    /file:\/\/(\S+?:\d+(?::\d+)?)/.exec(error.stack ?? "") ??
    /^ +at (?:.*\()?(\/[^\s()]+:\d+:\d+)/m.exec(error.stack ?? "") ??
    [];
  return place === undefined ? "" : ` (${place})`;
}

/**
 * The app among the exports of a module: the one of this name, else `app`, the default, or the only one. Throws
 * `ImproperlyConfigured` for the setting that named the module.
 */
export function findApp(
  setting: string,
  loaded: Readonly<Record<string, unknown>>,
  path: string,
  name: string | undefined,
): Lovage {
  const module = withCommonJs(loaded);
  const bad = (why: string) => new ImproperlyConfigured(setting, why);
  const names = Object.keys(module);
  if (name !== undefined) {
    const found = module[name];
    if (found instanceof Lovage) return found;
    if (name in module) throw bad(`the export ${name} of ${path} is no Lovage app${otherCopy(setting, found)}`);
    throw bad(`${path} has no export ${name}${didYouMean(name, names)}; it exports ${names.join(", ") || "nothing"}`);
  }
  for (const usual of ["app", "default"]) {
    const found = module[usual];
    if (found instanceof Lovage) return found;
  }
  const apps = names.filter((key) => module[key] instanceof Lovage);
  const [only] = apps;
  if (apps.length > 1) throw bad(`${path} exports several apps, ${apps.join(", ")}: say which, as in ${path}:${only}`);
  if (only !== undefined) return module[only] as Lovage;
  const other = Object.values(module)
    .map((one) => otherCopy(setting, one))
    .find(Boolean);
  throw bad(`${path} exports no Lovage app${other ?? '; it needs one, as in export const app = new Lovage("tasks")'}`);
}

/** What a CommonJS module exports stands in its default, as far as Node cannot tell it by name. */
function withCommonJs(loaded: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { default: whole } = loaded;
  if (typeof whole !== "object" || whole === null || whole instanceof Lovage) return loaded;
  return { ...whole, ...Object.fromEntries(Object.entries(loaded).filter(([name]) => name !== "default")) };
}

/** An app of another installation is not ours to run: the two would not share anything. `app` is the setting of `loadApp`. */
function otherCopy(setting: string, value: unknown): string {
  if (typeof value !== "object" || value?.constructor.name !== "Lovage") return "";
  const instead =
    setting === "app"
      ? "import the app in place of loadApp, as tsx loads the package once more for what loadApp loads; or have the stack take the package of the tasks' project"
      : "run the lovage command of the project's own node_modules, and not within tsx (npx tsx, --import tsx): it uses tsx by itself where that is needed";
  return ` of this copy of the package: ${instead}`;
}
