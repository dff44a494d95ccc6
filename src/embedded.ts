/** Where the embedded file of an app is, and whether it is meant. Node's modules are asked for at run time: an app which only sends runs where they are not. */
import { fileOf } from "./file-url.ts";

interface Builtins {
  getBuiltinModule?(name: "node:fs"): typeof import("node:fs");
  getBuiltinModule?(name: "node:path"): typeof import("node:path");
}

const builtins = (globalThis as { process?: Builtins }).process;

/**
 * The project that a folder is in: that of the nearest package.json, at or above it. Where one further up has workspaces (npm's,
 * Yarn's or pnpm's), it is that one, so that the packages of a monorepo meet. Where there is none it is the folder itself.
 */
export function projectFolder(folder: string): string {
  const fs = builtins?.getBuiltinModule?.("node:fs");
  const path = builtins?.getBuiltinModule?.("node:path");
  if (fs === undefined || path === undefined) return folder;
  let nearest: string | undefined;
  for (let at = folder; ; at = path.dirname(at)) {
    const manifest = path.join(at, "package.json");
    if (fs.existsSync(manifest)) {
      nearest ??= at;
      if (/"workspaces"\s*:/.test(fs.readFileSync(manifest, "utf8"))) return at;
    }
    if (nearest !== undefined && fs.existsSync(path.join(at, "pnpm-workspace.yaml"))) return at;
    if (path.dirname(at) === at) return nearest ?? folder;
  }
}

/** Made in containers by Docker and by Podman. */
const CONTAINER_FILES = ["/.dockerenv", "/run/.containerenv"];

/** What is to be said of an embedded file that nobody has named; `undefined`: it is likely to be meant. */
export function unnamedWarning(url: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const file = fileOf(url);
  if (file === undefined) return undefined;
  const why =
    env["NODE_ENV"] === "production"
      ? "NODE_ENV is production"
      : isContainer(env) && builtins?.getBuiltinModule?.("node:fs").existsSync(file) === false
        ? "this is a container, and there is no such file in it yet"
        : undefined;
  if (why === undefined) return undefined;
  return `No broker is named (LOVAGE_BROKER_URL, brokerUrl), and ${why}: tasks and results are kept in ${file}, which nobody sees who does not share it. brokerUrl: "sqlite://" says that it is meant; brokerUrlRequired: true makes this an error.`;
}

function isContainer(env: Readonly<Record<string, string | undefined>>): boolean {
  // Kubernetes, ECS, Cloud Run, Podman.
  if (env["KUBERNETES_SERVICE_HOST"] || env["ECS_CONTAINER_METADATA_URI_V4"] || env["K_SERVICE"] || env["container"])
    return true;
  const fs = builtins?.getBuiltinModule?.("node:fs");
  return fs !== undefined && CONTAINER_FILES.some((file) => fs.existsSync(file));
}
