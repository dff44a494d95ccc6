/**
 * Publishes the package: `npm run release`, or `npm run release -- --dry-run`, which does all but the upload.
 *
 * Where the project lives is said in one place, `repository.url` of package.json. The page of the project, that of its bugs,
 * and the addresses of README's links, which a registry's page cannot follow inside a repository, are made of it here.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

/** What stands in package.json until a maintainer fills it in. */
const PLACEHOLDER = "your-organization";

interface Manifest {
  readonly version: string;
  readonly repository: { readonly url: string };
  readonly [field: string]: unknown;
}

/** `git+https://host/owner/name.git` as the address of a page. */
export const pageOf = (url: string): string => url.replace(/^git\+/, "").replace(/\.git$/, "");

/** The manifest with the addresses that follow from its repository. */
export function withAddresses(manifest: Manifest): Manifest {
  const page = pageOf(manifest.repository.url);
  return { ...manifest, homepage: `${page}#readme`, bugs: `${page}/issues` };
}

/** A page's links to other files of the repository as addresses of this release; what is one already stays as it is. */
export function withAbsoluteLinks(markdown: string, manifest: Manifest, folder = ""): string {
  const at = (kind: string, link: string): string => {
    const [path = "", ...anchor] = link.split("#");
    const file = posix.join(folder, path);
    const base = `${pageOf(manifest.repository.url)}/${kind}/v${manifest.version}`;
    return `(${base}/${file}${anchor.length > 0 ? `#${anchor.join("#")}` : ""})`;
  };
  // A picture's address has to be the file's own: `blob` is a page around it.
  return markdown
    .replace(/(!\[[^\]]*\])\((?!https?:)([^)\s]+)\)/g, (_, alt: string, link: string) => alt + at("raw", link))
    .replace(/\]\((?!https?:|mailto:|#)([^)\s]+)\)/g, (_, link: string) => `]${at("blob", link)}`);
}

/** Puts into a folder what is published: what `files` of package.json names, with the manifest and the README of a release. */
export function stage(root: string, folder: string, manifest: Manifest): void {
  // Built by now, so that `prepack` has nothing to do.
  execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], { cwd: root });
  const [tarball = ""] = readdirSync(folder);
  execFileSync("tar", ["-xzf", tarball, "--strip-components=1"], { cwd: folder });
  rmSync(join(folder, tarball));
  const { scripts: _, devDependencies: __, ...published } = withAddresses(manifest);
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(published, null, 2)}\n`);
  const readme = readFileSync(join(root, "README.md"), "utf8");
  writeFileSync(join(folder, "README.md"), withAbsoluteLinks(readme, manifest));
}

function main(dryRun: boolean): void {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  if (manifest.repository.url.includes(PLACEHOLDER)) {
    const line = `package.json still says ${manifest.repository.url}: put the address of your repository there.`;
    if (!dryRun) throw new Error(line);
    console.warn(line);
  }
  const run = (command: string, args: readonly string[], cwd = root) =>
    execFileSync(command, args, { cwd, stdio: "inherit" });
  if (!dryRun && execFileSync("git", ["status", "--porcelain"], { cwd: root, encoding: "utf8" }) !== "") {
    throw new Error("There are changes that no commit has: a release is of a commit.");
  }
  run("npm", ["run", "build"]);
  const folder = mkdtempSync(join(tmpdir(), "lovage-release-"));
  try {
    stage(root, folder, manifest);
    // Provenance is signed by the CI that publishes; nothing is signed in a trial.
    run("npm", ["publish", "--access", "public", ...(dryRun ? ["--dry-run"] : ["--provenance"])], folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) main(process.argv.includes("--dry-run"));
