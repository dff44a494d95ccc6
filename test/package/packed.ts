/** The package as a stranger gets it: packed from a copy of the source by its own `prepack`, and installed in an empty folder. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  constants,
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
import { cp, rm } from "node:fs/promises";
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
    const [copy, user] = [join(folder, "copy"), join(folder, "user")];
    mkdirSync(copy);
    for (const name of readdirSync(root)) {
      if (/^(package\.json|tsconfig.*\.json|src|bin|scripts|examples|LICENSE|.*\.md)$/.test(name)) {
        cpSync(join(root, name), join(copy, name), { recursive: true });
      }
    }
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    await exec("npm", ["pack", "--pack-destination", folder], { cwd: copy, env });
    rmSync(copy, { recursive: true });
    mkdirSync(user);
    writeFileSync(join(user, "package.json"), JSON.stringify({ private: true, type: "module" }));
    await exec("npm", ["install", "--no-audit", "--no-fund", tarballIn(folder)], { cwd: user, env });
  });

/** The package's archive. */
export const packedTarball = async (): Promise<string> => tarballIn(await packOnce());

const tarballIn = (folder: string): string =>
  join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "");

/** Gives a folder where nothing but the packed package is installed, a copy of the run's. */
export async function installPacked(): Promise<{
  readonly user: string;
  readonly tarball: string;
  /** Takes a minute and more where the machine is busy. */
  remove(): Promise<void>;
}> {
  const packed = await packOnce();
  const folder = mkdtempSync(join(tmpdir(), "lovage-install-"));
  // The links in `.bin` are relative, and stay so.
  await cp(packed, folder, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 5 });
  return { user: join(folder, "user"), tarball: tarballIn(folder), remove };
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
