/** Where the benches keep what they install and what they measured. Nothing of it is committed. */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

export const CACHE = join(import.meta.dirname, "..", ".cache", "bench");

/** The machine lacks what a peer needs. The message says what, and how to get it. */
export class PeerMissing extends Error {
  override readonly name = "PeerMissing";
}

const NPM = join(CACHE, "npm");
const VENV = join(CACHE, "python");

/** Installs once for each content of the list of packages. */
function install(list: string, target: string, run: () => void): void {
  const wanted = readFileSync(join(import.meta.dirname, list), "utf8");
  const mark = join(target, ".installed");
  if (existsSync(mark) && readFileSync(mark, "utf8") === wanted) return;
  mkdirSync(target, { recursive: true });
  console.error(`Installing the peers of bench/${list} into ${target} …`);
  run();
  writeFileSync(mark, wanted);
}

/** Installs the peers of `bench/package.json`, and gives what loads them. */
export function nodePeers(): NodeJS.Require {
  install("package.json", NPM, () => {
    copyFileSync(join(import.meta.dirname, "package.json"), join(NPM, "package.json"));
    execFileSync("npm", ["install", "--no-audit", "--no-fund", "--silent"], { cwd: NPM, stdio: "inherit" });
  });
  return createRequire(join(NPM, "package.json"));
}

/** Bun, which is a peer's own. Throws {@link PeerMissing}. */
export function bun(): string {
  const folder = join(nodePeersFolder(), "node_modules", "bun");
  const command = join(folder, "bin", "bun.exe");
  const runs = () => execFileSync(command, ["--version"], { stdio: "ignore" });
  try {
    runs();
  } catch {
    try {
      // npm runs no script of a package that nobody has approved, and this one fetches the program.
      execFileSync(process.execPath, ["install.js"], { cwd: folder, stdio: "ignore" });
      runs();
    } catch (cause) {
      throw new PeerMissing("bunqueue needs Bun, which could not be installed", { cause });
    }
  }
  return command;
}

/** The folder whose `node_modules` has the peers of `bench/package.json`. */
export function nodePeersFolder(): string {
  nodePeers();
  return NPM;
}

/** The Python of an environment with the peers of `bench/requirements.txt`. Throws {@link PeerMissing}. */
export function pythonPeers(): string {
  const python = join(VENV, "bin", "python");
  install("requirements.txt", VENV, () => {
    try {
      execFileSync("python3", ["-m", "venv", VENV], { stdio: "inherit" });
    } catch (cause) {
      throw new PeerMissing("Celery needs python3 with its venv module (Debian: apt-get install python3-venv)", {
        cause,
      });
    }
    const list = join(import.meta.dirname, "requirements.txt");
    execFileSync(python, ["-m", "pip", "install", "--quiet", "-r", list], { stdio: "inherit" });
  });
  return python;
}
