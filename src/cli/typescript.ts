/**
 * What there is in a project's TypeScript that Node does not run by itself. Node strips types and leaves the rest: enums,
 * decorators, `paths` of a tsconfig.json and imports without extension are for a loader, `tsx`.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import Module, { createRequire, isBuiltin } from "node:module";
import { dirname, extname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ImproperlyConfigured } from "../errors.ts";

/** The first thing that was found, and where. */
export interface BeyondNode {
  readonly construct: string;
  readonly file: string;
  readonly line: number;
}

/** What a name may stand for where a loader or a bundler looks for it. */
const FOR_NAME = ["", ".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", "/index.ts", "/index.tsx", "/index.js"];
const FOR_ENDING: Readonly<Record<string, readonly string[]>> = {
  ".js": [".ts", ".tsx"],
  ".jsx": [".tsx"],
  ".mjs": [".mts"],
  ".cjs": [".cts"],
};
/** More modules than that are not looked through: what is beyond Node is in the first ones, or nowhere. */
const MOST_MODULES = 2_000;

/** An import of a module, once types are stripped. */
const IMPORTS =
  /^[^\S\n]*(?:import|export)\b(?<names>[^"';()=]*?)\bfrom\s*["'](?<from>[^"'\n]+)["'](?<with>\s*with\b)?|^[^\S\n]*import\s*["'](?<bare>[^"'\n]+)["']|\b(?:import|require)\(\s*["'](?<called>[^"'\n]+)["']/gm;

/** Bun has none, and Deno does not use it: they run all of TypeScript in ways of their own, and nothing is looked for. */
const { stripTypeScriptTypes } = (process.versions["deno"] === undefined ? Module : {}) as Partial<typeof Module>;

/** What kept Node from a module, if that is what failed to load: it has not begun to run any then. */
export function beyondNodeIn(entry: string, error: unknown): BeyondNode | undefined {
  const isOfLoading =
    error instanceof SyntaxError ||
    /^(ERR_(MODULE_NOT_FOUND|UN|IMPORT_ATTR|REQUIRE|INVALID_TYPESCRIPT)|MODULE_NOT_FOUND)/.test(
      String((error as { readonly code?: unknown } | null)?.code),
    );
  return isOfLoading ? findBeyondNode(entry) : undefined;
}

/** Looks through a module and those of the project that it imports. Runs nothing of them. */
export function findBeyondNode(entry: string): BeyondNode | undefined {
  if (stripTypeScriptTypes === undefined) return undefined;
  const seen = new Set<string>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined && seen.size < MOST_MODULES; file = waiting.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    if (/\.[jt]sx$/.test(file)) return { construct: `JSX (${extname(file)})`, file, line: 1 };
    const source = readFileSync(file, "utf8");
    const at = (index: number) => source.slice(0, index).split("\n").length;
    const code = stripped(file, source);
    if (typeof code !== "string") return { ...code, file };
    const decorator =
      /^[^\S\n]*(?:export\s+(?:default\s+)?)?@[\p{L}_$][\p{L}\p{N}_$.]*\s*(?:\(|\n|(?:export|abstract|class)\b)/mu.exec(
        code,
      );
    if (decorator !== null && !isQuoted(code, decorator.index)) {
      return { construct: "a decorator", file, line: at(decorator.index) };
    }
    for (const match of code.matchAll(IMPORTS)) {
      if (match.groups?.["called"] === undefined && /\.ts$/.test(file) && isCommonJs(file)) {
        return { construct: 'import in a package of "type": "commonjs"', file, line: at(match.index) };
      }
      if (isQuoted(code, match.index)) continue;
      const { names = "", from, bare, called, with: attribute } = match.groups ?? {};
      const specifier = from ?? bare ?? called ?? "";
      const found = meant(file, specifier, called !== undefined && /^require/.test(match[0]));
      const construct =
        found.construct ??
        (specifier.endsWith(".json") && from !== undefined && attribute === undefined
          ? `an import of ${specifier} without with { type: "json" }`
          : found.file === undefined
            ? undefined
            : typeAmong(names, found.file));
      if (construct !== undefined) return { construct, file, line: at(match.index) };
      if (found.file !== undefined && /\.[cm]?[jt]sx?$/.test(found.file)) waiting.push(found.file);
    }
  }
  return undefined;
}

/** Of a package that says so: what says nothing is judged by Node by what is in it. */
function isCommonJs(file: string): boolean {
  const manifest = above(dirname(file), "package.json");
  return manifest !== undefined && /"type"\s*:\s*"commonjs"/.test(readFileSync(manifest, "utf8"));
}

/** The nearest file of this name, from a folder upwards. */
function above(folder: string, name: string): string | undefined {
  const path = join(folder, name);
  if (isFile(path)) return path;
  return dirname(folder) === folder ? undefined : above(dirname(folder), name);
}

/** Types become blanks, so that places stay what they were. */
function stripped(file: string, source: string): string | Omit<BeyondNode, "file"> {
  if (!/\.[cm]?ts$/.test(file)) return source;
  // It says with every first use that it is experimental.
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes?.(source) ?? source;
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string };
    // Wrong syntax is Node's to report.
    if (code !== "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") return "";
    return { construct: constructOf(message), line: lineOf(source, message) };
  } finally {
    process.emitWarning = emitWarning;
  }
}

function constructOf(message: string): string {
  const [, name] = /TypeScript (.+?) is not supported/.exec(message) ?? [];
  if (name === undefined) return /angle-bracket/.test(message) ? "a type assertion <T>value" : "syntax";
  return `${/^[aeiou]/i.test(name) ? "an" : "a"} ${name.replace(/ declaration$/, "")}`;
}

/** Node does not say where when it is asked for the text alone. */
function lineOf(source: string, message: string): number {
  const sign = /enum/.test(message)
    ? /^[^\S\n]*(?:export\s+)?(?:const\s+)?enum\s/m
    : /parameter property/.test(message)
      ? /(?:\(|,|^)\s*(?:public|private|protected|readonly)\s+(?:readonly\s+)?[\p{L}_$][\p{L}\p{N}_$]*\s*[?:=,)]/mu
      : /namespace|module/.test(message)
        ? /^[^\S\n]*(?:export\s+)?(?:namespace|module)\s+\w/m
        : /import equals/.test(message)
          ? /^[^\S\n]*(?:export\s+)?import\s+\w+\s*=/m
          : /export assignment/.test(message)
            ? /^[^\S\n]*export\s*=/m
            : /=\s*<[\p{L}_$]/u;
  const found = sign.exec(source);
  if (found === null) return 1;
  // White space may stand before the sign.
  return source.slice(0, found.index + (/^[(,\s]*/.exec(found[0])?.[0].length ?? 0)).split("\n").length;
}

/** The module that a specifier means, and what a reader would call the way in which it says so, if that is not Node's. */
function meant(
  file: string,
  specifier: string,
  required: boolean,
): { readonly construct?: string; readonly file?: string } {
  if (/^\.{1,2}(\/|$)/.test(specifier)) {
    const path = resolve(dirname(file), specifier);
    if (isFile(path)) return { file: path };
    // What CommonJS finds by itself.
    const own = required ? [".js", ".json", ".node", "/index.js"].map((end) => path + end).find(isFile) : undefined;
    if (own !== undefined) return { file: own };
    const ending = extname(path);
    const other = FOR_ENDING[ending]?.map((end) => path.slice(0, -ending.length) + end).find(isFile);
    if (other !== undefined) return { construct: `an import of "${specifier}", which is ${short(file, other)}` };
    const longer = FOR_NAME.map((end) => path + end).find(isFile);
    return longer === undefined ? {} : { construct: `an import of "${specifier}" without its extension` };
  }
  if (isBuiltin(specifier) || /^(node:|data:|file:|#|lovage(\/|$))/.test(specifier)) return {};
  const config = tsconfigOf(file);
  if (config === undefined || isInstalled(file, specifier)) return {};
  return config.names(specifier)
    ? { construct: `an import of "${specifier}", a name that ${short(file, config.path)} makes (paths)` }
    : {};
}

function isInstalled(file: string, specifier: string): boolean {
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  return (createRequire(file).resolve.paths(name) ?? []).some((folder) => existsSync(join(folder, name)));
}

/** What the nearest tsconfig.json and those that it extends have under `paths`: names alone, not where they lead. */
function tsconfigOf(file: string): { readonly path: string; names(specifier: string): boolean } | undefined {
  const path = above(dirname(file), "tsconfig.json");
  if (path === undefined) return undefined;
  const folder = dirname(path);
  const patterns: string[] = [];
  let hasBase = false;
  for (let [next, left]: [string | undefined, number] = [path, 10]; next !== undefined && left > 0; left--) {
    if (!isFile(next)) throw new ImproperlyConfigured("tsconfig.json", `${path} extends ${next}, which is not there`);
    const text: string = readFileSync(next, "utf8");
    const [, paths = ""] = /"paths"\s*:\s*\{([^}]*)\}/.exec(text) ?? [];
    patterns.push(...[...paths.matchAll(/"([^"]+)"\s*:/g)].map(([, name = ""]) => name));
    hasBase ||= /"baseUrl"\s*:/.test(text);
    const [, extended]: readonly string[] = /"extends"\s*:\s*"(\.[^"]+)"/.exec(text) ?? [];
    next = extended && resolve(dirname(next), extended.replace(/(\.json)?$/, ".json"));
  }
  return {
    path,
    names: (specifier) =>
      patterns.some((pattern) => {
        const [head = "", tail] = pattern.split("*");
        return tail === undefined ? specifier === head : specifier.startsWith(head) && specifier.endsWith(tail);
      }) ||
      (hasBase && FOR_NAME.some((end) => isFile(join(folder, specifier + end)))),
  };
}

/** A name that is a type alone, imported as if it were a value: Node finds no such export. */
function typeAmong(names: string, from: string): string | undefined {
  const [, list = ""] = /\{([^}]*)\}/.exec(names) ?? [];
  if (list === "" || !/\.[cm]?ts$/.test(from)) return undefined;
  const source = readFileSync(from, "utf8");
  for (const one of list.split(",")) {
    const [name = ""] = one.trim().split(/\s+as\s+/);
    if (!/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(name)) continue;
    const isType = new RegExp(
      `^\\s*export\\s+(?:declare\\s+)?(?:interface|type)\\s+${name.replace(/\$/g, "\\$")}\\b`,
      "m",
    );
    const isValue = new RegExp(`\\b(?:const|let|var|function\\*?|class|enum)\\s+${name.replace(/\$/g, "\\$")}\\b`);
    if (isType.test(source) && !isValue.test(source)) return `an import of the type ${name} without the word type`;
  }
  return undefined;
}

/** In a template literal or a comment, as well as can be told without a parser: an odd number of back quotes stands before it. */
function isQuoted(code: string, index: number): boolean {
  const before = code
    .slice(0, index)
    .replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\\./g, "");
  return (before.split("`").length - 1) % 2 === 1 || before.includes("/*");
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;
const short = (from: string, to: string): string => relative(dirname(from), to);

/** Whether the project has it is decided by where its module is. */
function tsxOf(file: string): string | undefined {
  try {
    return createRequire(file).resolve("tsx");
  } catch {
    return undefined;
  }
}

/** Has this process load modules by the project's own tsx from now on, if what a module needs is beyond Node. `false`: it goes without. */
export async function useTsx(file: string): Promise<boolean> {
  const tsx = tsxOf(file);
  if (tsx === undefined || findBeyondNode(file) === undefined) return false;
  // tsx would go on without what it says.
  tsconfigOf(file);
  // tsx makes CommonJS of what is required, a second Lovage of ours too: what is required once before is not made anew.
  const require = createRequire(import.meta.url);
  for (const entry of ["index", "workers/index", "testing/index", "otel/index", "board/index"]) {
    try {
      require(`../${entry}${extname(import.meta.filename)}`);
    } catch {
      // It needs a package that the project does not have, and so does not use it.
    }
  }
  await import(pathToFileURL(tsx).href);
  return true;
}
