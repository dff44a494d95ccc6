/** Bundles for the edge, made of the built package as a stranger's bundler makes them, and workerd to run them. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { build } from "esbuild";
import { onTestFinished } from "vitest";
import { folderInCheckout } from "../temporary.ts";

const root = resolve(import.meta.dirname, "../..");
const require = createRequire(import.meta.url);
const workerd = join(dirname(require.resolve("workerd/package.json")), "bin/workerd");

export interface Project {
  /** Bundles a module of the project as Cloudflare's wrangler does. */
  bundle(entry: string): Promise<Bundle>;
  remove(): void;
}

export interface Bundle {
  readonly code: string;
  /** The files that it holds something of, by their names below the project. */
  readonly holds: readonly string[];
  /** What it imports from the runtime. */
  readonly imports: readonly string[];
}

/** A project in which the package, freshly built, is installed, with these files and folders of the checkout. */
export async function makeProject(...sources: readonly string[]): Promise<Project> {
  const folder = folderInCheckout("edge-");
  const installed = join(folder, "node_modules/lovage");
  mkdirSync(installed, { recursive: true });
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "at-the-edge", private: true, type: "module" }));
  // Else the checkout's own would be found, whose paths lead to the source.
  writeFileSync(join(folder, "tsconfig.json"), "{}");
  for (const source of sources) cpSync(join(root, source), join(folder, source), { recursive: true });
  const tsc = join(root, "node_modules/.bin/tsc");
  const config = join(root, "tsconfig.build.json");
  // The types are checked elsewhere.
  await promisify(execFile)(tsc, ["-p", config, "--noCheck", "--outDir", join(installed, "dist")]);

  return {
    async bundle(entry) {
      const { metafile, outputFiles } = await build({
        absWorkingDir: folder,
        entryPoints: [entry],
        outfile: "worker.js",
        bundle: true,
        write: false,
        metafile: true,
        minify: true,
        keepNames: true,
        format: "esm",
        target: "es2024",
        platform: "browser",
        conditions: ["workerd", "worker", "browser"],
        // Left to the runtime, which then has to have them.
        external: ["node:*", "cloudflare:*"],
        logLevel: "silent",
      });
      const { inputs = {}, imports = [] } = metafile.outputs["worker.js"] ?? {};
      return {
        code: outputFiles[0]?.text ?? "",
        // What `browser` in package.json turns off is an empty module here.
        holds: Object.keys(inputs).filter(
          (file) => (inputs[file]?.bytesInOutput ?? 0) > 0 && !file.startsWith("(disabled):"),
        ),
        imports: imports.map(({ path }) => path),
      };
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}

/** Runs a bundle in workerd until the test is over. Gives the address at which it answers. */
export async function serve({ code }: Bundle, variables: Readonly<Record<string, string>>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "lovage-workerd-"));
  writeFileSync(join(folder, "worker.js"), code);
  const bindings = Object.entries(variables).map(
    ([name, value]) => `(name = "${name}", text = ${JSON.stringify(value)})`,
  );
  // No compatibility flags: what runs here needs none of the runtime's emulation of Node.
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    # The emulator is on this machine, and by itself a Worker reaches public addresses only.
    (name = "internet", network = (allow = ["private", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01",
  bindings = [${bindings.join(", ")}],
);
`;
  writeFileSync(join(folder, "config.capnp"), config);
  // Where it listens, it says on the descriptor that it is given for that.
  const child = spawn(workerd, ["serve", "--control-fd=3", join(folder, "config.capnp")], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
    rmSync(folder, { recursive: true });
  });
  const said = text(child.stderr as Readable);
  for await (const line of createInterface({ input: child.stdio[3] as Readable })) {
    const { event, port } = JSON.parse(line) as { readonly event: string; readonly port?: number };
    if (event === "listen" && port !== undefined) return `http://127.0.0.1:${port}`;
  }
  throw new Error(`workerd did not start: ${await said}`);
}
