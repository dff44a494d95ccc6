/** Writes a project out of examples/starters, which the package has with it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ImproperlyConfigured } from "../errors.ts";
import { VERSION } from "./version.ts";

export interface Choices {
  /** An absolute path. */
  readonly folder: string;
  readonly web: string;
  readonly aws: boolean;
}

type Manifest = Readonly<Record<string, unknown>> & {
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
};

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
const STARTERS = join(PACKAGE, "examples/starters");
/** What running a starter in its place leaves there. */
const LEFT = /^(node_modules|\.lovage|\.next|cdk\.out|next-env\.d\.ts|package-lock\.json|.*\.tsbuildinfo)$/;
const IGNORED = ["node_modules/", ".lovage/", ".env", "*.log"];

/**
 * Writes a project and returns the names of its files. Throws `ImproperlyConfigured`, and has written nothing, where npm
 * would refuse the folder's name or a file is there already.
 */
export function writeStarter({ folder, web, aws }: Choices): readonly string[] {
  const kind = web === "none" ? "plain" : web;
  const files = new Map(filesOf(join(STARTERS, kind)));
  // What is laid over it, and where a framework needs something of its own, over that.
  const layers = aws ? ["aws", `aws-${kind}`].filter((layer) => existsSync(join(STARTERS, layer))) : [];
  const extra = new Map(layers.flatMap((layer) => [...filesOf(join(STARTERS, layer))]));
  const name = basename(folder);
  const manifest = merge(name, parse(files.get("package.json")), parse(extra.get("package.json")));
  const fault = nameFault(folder, Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }));
  if (fault !== undefined) throw new ImproperlyConfigured("init", fault);
  for (const [file, text] of extra) files.set(file, file === "README.md" ? `${files.get(file)}${text}` : text);
  files.set("package.json", `${JSON.stringify(manifest, undefined, 2)}\n`);
  files.set(
    ".gitignore",
    [...IGNORED, ...(kind === "next" ? [".next/", "next-env.d.ts", "*.tsbuildinfo"] : []), ...(aws ? ["cdk.out/"] : [])]
      .map((line) => `${line}\n`)
      .join(""),
  );

  const there = [...files.keys()].filter((file) => existsSync(join(folder, file)));
  if (there.length > 0)
    throw new ImproperlyConfigured(
      "init",
      `${folder} has ${there.slice(0, 5).join(", ")}${there.length > 5 ? " …" : ""} already, and nothing is overwritten: name another folder`,
    );
  const stack = name.replace(/(?:^|[^a-zA-Z0-9]+)([a-zA-Z0-9]?)/g, (_, letter: string) => letter.toUpperCase());
  for (const [file, text] of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    const own = text.replace('new Lovage("shop"', `new Lovage(${JSON.stringify(name)}`);
    // A name of CloudFormation's begins with a letter.
    const named = file.startsWith("infra/") ? own.replaceAll(/\bShop\b/g, stack.replace(/^(?=\d)/, "App")) : own;
    writeFileSync(join(folder, file), named, { flag: "wx" });
  }
  return [...files.keys()];
}

/** Why npm would refuse the folder's name as that of a package with these dependencies; `undefined`: it takes it. */
export function nameFault(folder: string, dependencies: readonly string[] = []): string | undefined {
  const name = basename(folder);
  if (existsSync(folder) && !statSync(folder).isDirectory()) return `${folder} is a file: name another folder`;
  if (!/^[a-z0-9~-][a-z0-9._~-]*$/.test(name) || name.length > 214 || name === "node_modules") {
    const nearest = name
      .toLowerCase()
      .replace(/[^a-z0-9~-]+/g, "-")
      .replace(/^-+|-+$/g, "");
    return `npm takes no package of the name ${JSON.stringify(name)}, which is the folder's: small letters, digits, -, . and _, as in ${nearest || "tasks"}`;
  }
  if (dependencies.includes(name))
    return `npm installs no package into one of the same name, and ${name} is one that the project needs: name another folder`;
  return undefined;
}

function* filesOf(folder: string, under = ""): Generator<[name: string, text: string]> {
  for (const entry of readdirSync(join(folder, under), { withFileTypes: true })) {
    if (LEFT.test(entry.name)) continue;
    const name = under === "" ? entry.name : `${under}/${entry.name}`;
    if (entry.isDirectory()) yield* filesOf(folder, name);
    else yield [name, readFileSync(join(folder, name), "utf8")];
  }
}

// The files of the starters are ours.
const parse = (text = "{}"): Manifest => JSON.parse(text) as Manifest;

function merge(name: string, base: Manifest, extra: Manifest): Manifest {
  const sorted = (entries: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)));
  return {
    ...base,
    name,
    scripts: { ...base.scripts, ...extra.scripts },
    dependencies: sorted({ ...base.dependencies, lovage: ownSource() }),
    devDependencies: sorted({ ...base.devDependencies, ...extra.devDependencies }),
  };
}

/** What the project installs is what wrote it: a version of a registry's, or the file or the checkout that this one is from. */
function ownSource(): string {
  if (existsSync(join(PACKAGE, "src/cli/starter.ts"))) return `file:${PACKAGE.replace(/[/\\]$/, "")}`;
  // Kept by npm beside what it installs.
  const lock = resolve(PACKAGE, "../.package-lock.json");
  const { packages = {} } = (existsSync(lock) ? JSON.parse(readFileSync(lock, "utf8")) : {}) as {
    readonly packages?: Readonly<Record<string, { readonly resolved?: string }>>;
  };
  const from = packages["node_modules/lovage"]?.resolved ?? "";
  return from.startsWith("file:") ? `file:${resolve(PACKAGE, "../..", from.slice(5))}` : `^${VERSION}`;
}

/** The one by which the command was started, as all of them say; else npm. */
export function packageManager(env: Readonly<Record<string, string | undefined>>): string {
  return /^(npm|pnpm|yarn|bun)\//.exec(env["npm_config_user_agent"] ?? "")?.[1] ?? "npm";
}

/** Whether it could install the project's packages. It has said on the terminal why not. */
export async function install(folder: string, manager: string): Promise<boolean> {
  const quiet = manager === "npm" ? ["--no-audit", "--no-fund"] : [];
  const isWindows = process.platform === "win32";
  const child = spawn(manager, ["install", ...quiet], { cwd: folder, stdio: "inherit", shell: isWindows });
  try {
    const [code] = (await once(child, "exit")) as [number | null];
    return code === 0;
  } catch {
    return false;
  }
}
