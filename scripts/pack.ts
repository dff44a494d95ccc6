/**
 * The package's archive, packed from a copy of the source by its own `prepack`. To build and to pack takes twelve seconds, and
 * the checks and the tests look at the same archive: there is one for each content of what it is made of.
 *
 *   node scripts/pack.ts <file>    puts it there
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const root = resolve(import.meta.dirname, "..");
const cache = join(root, ".cache");

/** What the copy has. */
const MADE_OF = /^(package\.json|tsconfig.*\.json|src|bin|scripts|examples|LICENSE|.*\.md)$/;
const DAY_MS = 86_400_000;

const parts = (): readonly string[] => readdirSync(root).filter((name) => MADE_OF.test(name));

/** Of what is packed, and of what builds it. */
function fingerprint(): string {
  const hash = createHash("sha256").update(`${process.version}\n`);
  const add = (file: string) =>
    hash
      .update(`${file}\n`)
      .update(readFileSync(join(root, file)))
      .update("\n");
  add("package-lock.json");
  for (const part of parts()) {
    if (!statSync(join(root, part)).isDirectory()) add(part);
    else
      for (const file of globSync(`${part}/**/*`, { cwd: root }).sort())
        if (statSync(join(root, file)).isFile()) add(file);
  }
  return hash.digest("hex").slice(0, 16);
}

/** Gives the path of the archive. Who packs is given the environment of npm. */
export async function packed(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const place = join(cache, `packed-${fingerprint()}`);
  if (!existsSync(place)) {
    mkdirSync(cache, { recursive: true });
    // Made beside its place and renamed: two may want it at once, and whoever is cut short leaves no half of it.
    const made = mkdtempSync(`${place}-`);
    try {
      const copy = join(made, "copy");
      mkdirSync(copy);
      for (const part of parts()) cpSync(join(root, part), join(copy, part), { recursive: true });
      symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
      await promisify(execFile)("npm", ["pack", "--pack-destination", made], { cwd: copy, env });
      rmSync(copy, { recursive: true });
      renameSync(made, place);
    } catch (error) {
      rmSync(made, { recursive: true, force: true });
      // The other was sooner.
      if (!existsSync(place)) throw error;
    }
    for (const other of globSync("packed-*", { cwd: cache }).map((name) => join(cache, name)))
      if (Date.now() - statSync(other).mtimeMs > DAY_MS) rmSync(other, { recursive: true, force: true });
  }
  return join(place, readdirSync(place).find((name) => name.endsWith(".tgz")) ?? "");
}

if (import.meta.main) {
  const [to = ""] = process.argv.slice(2);
  mkdirSync(dirname(resolve(to)), { recursive: true });
  copyFileSync(await packed(), to);
}
