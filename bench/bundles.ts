/** The functions that are compared, each one file as it would be deployed, and the AWS that they talk to. */
import { once } from "node:events";
import { copyFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { build, type BuildOptions } from "esbuild";
import { bundlingFor } from "../src/cdk/task-function.ts";
import { sources } from "../scripts/source.ts";
import { CACHE, nodePeersFolder } from "./cache.ts";
import { app } from "./handlers/lovage.ts";
import type { Certificate } from "./tls.ts";

export type Kind = "lovage" | "bare" | "powertools";

export interface Bundle {
  readonly kind: Kind;
  readonly file: string;
  readonly bytes: number;
  /** Bytes of the bundle by the package that they came from, the largest first. */
  readonly packages: readonly (readonly [name: string, bytes: number])[];
}

const HANDLERS = join(import.meta.dirname, "handlers");

const { mainFields, banner, define, esbuildArgs } = bundlingFor(app);

/** How all that is compared is bundled. */
export const SHARED: BuildOptions = {
  format: "esm",
  platform: "node",
  target: "node24",
  minify: true,
  keepNames: true,
  mainFields: [...(mainFields ?? [])],
  banner: { js: banner ?? "" },
};

/** What `lovage/cdk` gives esbuild, as esbuild's own interface has it; the peers get the same but for what is ours alone. */
function optionsOf(kind: Kind): BuildOptions {
  if (kind !== "lovage") return SHARED;
  const aliases = (esbuildArgs?.["--alias"] ?? []) as readonly string[];
  const own = [...sources].map(([name, url]) => [name, new URL(url).pathname]);
  return {
    ...SHARED,
    define: { ...define },
    alias: Object.fromEntries([...own, ...aliases.map((alias) => alias.split("="))]),
  };
}

export async function bundle(kind: Kind): Promise<Bundle> {
  const folder = join(CACHE, "bundles");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${kind}.mjs`);
  const entry = kind === "lovage" ? join(HANDLERS, "lovage.ts") : join(nodePeersFolder(), `${kind}.js`);
  // A peer's bundle takes all its packages from one place, and so each of them once.
  if (kind !== "lovage") copyFileSync(join(HANDLERS, `${kind}.js`), entry);
  const { metafile } = await build({
    ...optionsOf(kind),
    entryPoints: [entry],
    bundle: true,
    outfile: file,
    metafile: true,
  });
  const [output] = Object.values(metafile.outputs);
  const packages = new Map<string, number>();
  for (const [input, { bytesInOutput }] of Object.entries(output?.inputs ?? {})) {
    const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? kind;
    packages.set(name, (packages.get(name) ?? 0) + bytesInOutput);
  }
  return { kind, file, bytes: output?.bytes ?? 0, packages: [...packages].sort((a, b) => b[1] - a[1]) };
}

/** What Lambda tells a function by its environment. */
export const ENV = {
  AWS_ACCESS_KEY_ID: "bench",
  AWS_SECRET_ACCESS_KEY: "bench",
  AWS_REGION: "us-east-1",
  AWS_LAMBDA_FUNCTION_NAME: "bench",
};

export interface FakeAws {
  readonly env: Readonly<Record<string, string>>;
  /** Requests since the last look at it, by action. */
  take(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/** A DynamoDB that has no rows, lets every condition pass and answers at once: what is left is the caller's own work. */
export async function startFakeAws({ key, cert, file }: Certificate): Promise<FakeAws> {
  let counts = new Map<string, number>();
  const server = createServer({ key, cert }, async (request, response) => {
    const action = String(request.headers["x-amz-target"]).split(".").at(-1) ?? "";
    const body = await buffer(request);
    counts.set(action, (counts.get(action) ?? 0) + 1);
    const statements = action.startsWith("Batch") ? (JSON.parse(body.toString()) as Record<string, unknown[]>) : {};
    const answer =
      statements["Statements"] === undefined
        ? {}
        : { Responses: statements["Statements"].map(() => ({ TableName: "results" })) };
    response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(answer));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    env: {
      ...ENV,
      AWS_ENDPOINT_URL: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      NODE_EXTRA_CA_CERTS: file,
    },
    take() {
      const taken = counts;
      counts = new Map();
      return taken;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
