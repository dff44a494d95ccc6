/** Finds the app that a command is for: `-A ./tasks.ts`, `-A ./tasks.ts:export`. */
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Lovage } from "../app.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { oneLine } from "./exit.ts";
import { findBeyondNode, useTsx } from "./typescript.ts";

/** What a path may leave out, as `celery -A tasks` does. */
const ENDINGS = ["", ".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"];

/**
 * Loads the app, and the modules that its settings `imports` and `include` name. Throws `ImproperlyConfigured` where the
 * module is not there, throws, or exports no app.
 */
export async function loadApp(given: string): Promise<Lovage> {
  const { path, name } = splitApp(given);
  const file = findFile(resolve(path));
  if (file === undefined) {
    throw new ImproperlyConfigured("--app", `there is no module ${path} (looked for ${resolve(path)})`);
  }
  const byTsx = await useTsx(file);
  const app = findApp(await load("--app", path, file, byTsx), path, name);
  for (const specifier of new Set([...app.config.imports, ...app.config.include])) {
    await load("imports", specifier, resolveFrom(file, specifier), byTsx);
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

/** Loads what an app on the embedded file needs, and the project's loader, but nothing of the project: a reload waits for that alone. */
export async function loadAhead(given: string): Promise<void> {
  const file = appFile(given);
  await Promise.all([
    import("../brokers/sqlite.ts"),
    import("../results/sqlite.ts"),
    import("../workers/presence.ts"),
    import("../payloads/file.ts"),
    import("../payloads/payloads.ts"),
    // What is wrong with it is said when it is loaded.
    file !== undefined && useTsx(file).catch(() => false),
  ]);
}

/** The file that `-A` names; `undefined`: it is not there. */
export const appFile = (given: string): string | undefined => findFile(resolve(splitApp(given).path));

/** `./tasks.ts:export` */
function splitApp(given: string): { readonly path: string; readonly name: string | undefined } {
  const [, path = given, name] = /^(.+?)(?::([\p{L}_$][\p{L}\p{N}_$]*))?$/u.exec(given) ?? [];
  return { path, name };
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

async function load(
  setting: string,
  name: string,
  file: string,
  byTsx: boolean,
): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    const beyond = byTsx || !isOfLoading(error) ? undefined : findBeyondNode(file);
    if (beyond !== undefined) {
      throw new ImproperlyConfigured(
        setting,
        `${name} could not be loaded: ${beyond.construct} (${beyond.file}:${beyond.line}) is more than Node runs by itself. Have it loaded by tsx, which this command uses where a project has it: npm install --save-dev tsx`,
        { cause: error },
      );
    }
    const what = error instanceof LovageError ? error.message : oneLine(error) + placeOf(error);
    throw new ImproperlyConfigured(setting, `${name} could not be loaded: ${what}`, { cause: error });
  }
}

/** Node has not begun to run it. */
const isOfLoading = (error: unknown): boolean =>
  error instanceof SyntaxError ||
  /^(ERR_(MODULE_NOT_FOUND|UN|IMPORT_ATTR|REQUIRE|INVALID_TYPESCRIPT)|MODULE_NOT_FOUND)/.test(
    String((error as { readonly code?: unknown } | null)?.code),
  );

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
