/** The package as a stranger gets it: packed by `scripts/pack.ts`, and installed in an empty folder. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { packed } from "../../scripts/pack.ts";

export const exec = promisify(execFile);
export const root = resolve(import.meta.dirname, "../..");
export const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
};

// npm hands its own settings to the scripts it runs; the npm that is run here is to find a user's.
export const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));
// The Node of this run first: its folder is where `node` is found by npm, by npx and by the launcher's first line.
env["PATH"] = `${resolve(process.execPath, "..")}:${env["PATH"]}`;
/**
 * What costs time and proves nothing is left out: questions whether a package that npm has is still the newest, reports to the
 * makers of tools, and the collection of garbage in compilers, which are of Go and soon end.
 */
Object.assign(env, {
  npm_config_prefer_offline: "true",
  npm_config_update_notifier: "false",
  NEXT_TELEMETRY_DISABLED: "1",
  CDK_DISABLE_CLI_TELEMETRY: "true",
  GOGC: "off",
  GOMEMLIMIT: "1GiB",
});

/**
 * A folder that is made at the first call for it. It is made beside its place and renamed: tests in two processes may want the
 * same one at once, and a run that is cut short leaves no half of it.
 */
async function once(place: string, make: (folder: string) => Promise<void>): Promise<string> {
  if (existsSync(place)) return place;
  const made = mkdtempSync(`${place}-`);
  try {
    await make(made);
    renameSync(made, place);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    // The other was sooner.
    if (!existsSync(place)) throw error;
  }
  return place;
}

/** The package's archive, and a folder `user` where it is installed, made once for all tests of a run: their temporary folder is one (`test/temporary.ts`). */
const packOnce = (): Promise<string> =>
  once(join(tmpdir(), "lovage-packed"), async (folder) => {
    const user = join(folder, "user");
    const archive = await packed(env);
    copyFileSync(archive, join(folder, basename(archive)));
    mkdirSync(user);
    writeFileSync(join(user, "package.json"), JSON.stringify({ private: true, type: "module" }));
    await exec("npm", ["install", "--no-audit", "--no-fund", tarballIn(folder)], { cwd: user, env });
  });

/** The package's archive. */
export const packedTarball = async (): Promise<string> => tarballIn(await packOnce());

const tarballIn = (folder: string): string =>
  join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "");

/**
 * Copies a project that npm has installed. The files of its packages are hard links, which cost a tenth of copies: npm
 * replaces such files, and nobody writes into them.
 */
export function copyInstalled(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
    const source = join(entry.parentPath, entry.name);
    const copy = join(to, relative(from, source));
    if (entry.isDirectory()) mkdirSync(copy);
    // The links in `.bin` are relative, and stay so.
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), copy);
    else if (/node_modules[\\/]./.test(relative(dirname(from), entry.parentPath))) linkSync(source, copy);
    else copyFileSync(source, copy);
  }
}

/** Has a `node_modules` have these packages of the checkout. */
export function linkPackages(modules: string, names: readonly string[]): void {
  for (const name of names) {
    const link = join(modules, name);
    mkdirSync(dirname(link), { recursive: true });
    if (!existsSync(link)) symlinkSync(join(root, "node_modules", name), link);
  }
}

/** Gives a folder where nothing but the packed package is installed, a copy of the run's. */
export async function installPacked(): Promise<{
  readonly user: string;
  readonly tarball: string;
  /** Takes a minute and more where the machine is busy. */
  remove(): Promise<void>;
}> {
  const packed = await packOnce();
  const folder = mkdtempSync(join(tmpdir(), "lovage-install-"));
  copyInstalled(packed, folder);
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 5 });
  return { user: join(folder, "user"), tarball: tarballIn(folder), remove };
}

/** Gives a project of `lovage init --web next` as the command has installed it, made once for all tests of a run. */
export async function initNext(): Promise<string> {
  const command = join(await packOnce(), "user/node_modules/.bin/lovage");
  const folder = await once(join(tmpdir(), "lovage-next"), async (parent) => {
    await exec(command, ["init", "my-next", "--web", "next"], { cwd: parent, env });
  });
  return join(folder, "my-next");
}

/** Where {@link installOnce} puts these packages. */
export const folderOf = (name: string, packages: readonly string[]): string =>
  join(root, ".cache", `${name}-${createHash("sha256").update(packages.join()).digest("hex").slice(0, 8)}`);

/** Installs packages in a folder below `.cache` for this and all later runs, and gives its path. */
export async function installOnce(name: string, packages: readonly string[]): Promise<string> {
  mkdirSync(join(root, ".cache"), { recursive: true });
  return once(folderOf(name, packages), async (folder) => {
    writeFileSync(join(folder, "package.json"), "{}");
    await exec("npm", ["install", "--no-audit", "--no-fund", ...packages], { cwd: folder, env });
  });
}
