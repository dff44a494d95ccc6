/** The package as a stranger gets it: packed from a copy of the source by its own `prepack`, and installed in an empty folder. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

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

/** Packs the package, and installs it in an empty folder, which is given. */
export async function installPacked(): Promise<{
  readonly user: string;
  readonly tarball: string;
  /** Takes a minute and more where the machine is busy. */
  remove(): Promise<void>;
}> {
  const folder = mkdtempSync(join(tmpdir(), "lovage-install-"));
  const [copy, user] = [join(folder, "copy"), join(folder, "user")];
  mkdirSync(copy);
  for (const name of readdirSync(root)) {
    if (/^(package\.json|tsconfig.*\.json|src|bin|scripts|examples|LICENSE|.*\.md)$/.test(name)) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  mkdirSync(user);
  await exec("npm", ["pack", "--pack-destination", folder], { cwd: copy, env });
  const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "");
  writeFileSync(join(user, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await exec("npm", ["install", "--no-audit", "--no-fund", tarball], { cwd: user, env });
  return { user, tarball, remove: () => rm(folder, { recursive: true, force: true, maxRetries: 5 }) };
}

/** Where {@link installOnce} puts these packages. */
export const folderOf = (name: string, packages: readonly string[]): string =>
  join(root, ".cache", `${name}-${createHash("sha256").update(packages.join()).digest("hex").slice(0, 8)}`);

/**
 * Installs packages in a folder below `.cache` for this and all later runs, and gives its path. It is made beside it and
 * renamed: tests in two processes may want the same one at once, and a run that is cut short leaves no half of it.
 */
export async function installOnce(name: string, packages: readonly string[]): Promise<string> {
  const folder = folderOf(name, packages);
  if (existsSync(folder)) return folder;
  mkdirSync(join(root, ".cache"), { recursive: true });
  const made = mkdtempSync(`${folder}-`);
  writeFileSync(join(made, "package.json"), "{}");
  try {
    await exec("npm", ["install", "--no-audit", "--no-fund", ...packages], { cwd: made, env });
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    // The other was sooner.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}
