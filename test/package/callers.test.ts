/**
 * A Lambda function that calls tasks, bundled as people bundle: it runs with the SDK that it finds on Lambda, of whatever
 * age, and with none where it brought its own.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BuildOptions, build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { installSdk, SDKS, startAws } from "./aws.ts";
import { freePort } from "../../scripts/emulator.ts";
import { copyInstalled, env, exec, initNext, installPacked } from "./packed.ts";

interface Caller {
  readonly options: BuildOptions;
  /** Whether it needs the SDK that Lambda has. */
  readonly external: boolean;
}

const EXTERNAL = ["@aws-sdk/*", "@smithy/*"];
const CALLERS: Readonly<Record<string, Caller>> = {
  "NodejsFunction as it comes": { options: { format: "cjs", external: EXTERNAL }, external: true },
  "NodejsFunction as an ES module": {
    options: { format: "esm", mainFields: ["module", "main"], external: EXTERNAL },
    external: true,
  },
  "SAM's --external:@aws-sdk/*": { options: { format: "cjs", minify: true, external: ["@aws-sdk/*"] }, external: true },
  "esbuild, all in one file": { options: { format: "cjs" }, external: false },
  "esbuild, all in one ES module": {
    options: {
      format: "esm",
      mainFields: ["module", "main"],
      banner: {
        js: "import { createRequire as requireOf } from 'node:module';const require = requireOf(import.meta.url);",
      },
    },
    external: false,
  },
};

let user: string;
let remove: () => Promise<void>;
let out: string;
beforeAll(async () => {
  ({ user, remove } = await installPacked());
  out = mkdtempSync(join(user, "..", "out-"));
  writeFileSync(
    join(user, "function.ts"),
    `import { Lovage } from "lovage";
     const app = new Lovage("shop");
     const add = app.task("shop.add", (x: number, y: number) => x + y);
     export const handler = async () => {
       const result = await add.delay(2, 3);
       const state = await result.state();
       await app.close();
       return state;
     };`,
  );
  await Promise.all(SDKS.map(installSdk));
}, 180_000);
afterAll(() => remove(), 300_000);

/** Runs a bundle's handler as Lambda would, in a folder that has nothing but this SDK beside it. */
async function run(file: string): Promise<{ readonly said: string; readonly asked: readonly string[] }> {
  const { asked, environment, close } = await startAws();
  const script = `
    const loaded = await import(${JSON.stringify(file)});
    console.log(await (loaded.handler ?? loaded.default.handler)());`;
  const { stdout } = await exec(process.execPath, ["--input-type=module", "-e", script], {
    cwd: join(file, ".."),
    env: environment,
  }).finally(close);
  return { said: stdout.trim(), asked };
}

describe.each(Object.entries(CALLERS))("%s", (name, { options, external }) => {
  const extension = options.format === "esm" ? "mjs" : "cjs";
  const bundle = (folder: string) => {
    const outfile = join(out, folder, `${Object.keys(CALLERS).indexOf(name)}.${extension}`);
    const entry = { entryPoints: [join(user, "function.ts")], absWorkingDir: user, outfile };
    // A CommonJS bundle has no import.meta; what asks for it serves workers and the command line.
    const quiet: BuildOptions = { logLevel: "error", bundle: true, platform: "node", target: "node22" };
    return build({ ...quiet, ...entry, ...options }).then(() => outfile);
  };

  test.each(external ? SDKS : ["none"])("runs with the SDK %s", async (version) => {
    const file = await bundle(version);
    const beside = join(file, "..", "node_modules");
    if (version !== "none" && !existsSync(beside)) symlinkSync(join(await installSdk(version), "node_modules"), beside);
    expect(await run(file)).toEqual({ said: "PENDING", asked: ["GetQueueUrl", "SendMessageBatch", "BatchGetItem"] });
  });

  // The other bundles have all that they need.
  if (!external) return;
  test("says which package is missing where there is none", async () => {
    await expect(run(await bundle("none"))).rejects.toThrow(/Cannot find (module|package) '@aws-sdk\/client-/);
  });
});

/** The framework that bundles on its own terms: what is deployed is the folder that it makes. */
describe("Next.js", () => {
  let folder: string;
  const page = "export default function Layout({ children }) { return children; }";
  const route = `
    import { Lovage } from "lovage";
    export const dynamic = "force-dynamic";
    const app = new Lovage("shop");
    const add = app.task("shop.add", (x, y) => x + y);
    export async function GET() {
      const result = await add.delay(2, 3);
      return new Response(await result.state());
    }`;

  const mounted = `
    import { Lovage } from "lovage";
    import { createBoard } from "lovage/board";
    const app = new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://" });
    const board = createBoard(app, { basePath: "/board" });
    export const GET = board;
    export const POST = board;`;

  beforeAll(async () => {
    folder = join(user, "next");
    // The packages of a starter are what is needed, and another test has installed them.
    copyInstalled(join(await initNext(), "node_modules"), join(folder, "node_modules"));
    mkdirSync(join(folder, "app/api"), { recursive: true });
    mkdirSync(join(folder, "app/board/[[...path]]"), { recursive: true });
    writeFileSync(join(folder, "app/board/[[...path]]/route.js"), mounted);
    writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }));
    writeFileSync(join(folder, "app/layout.js"), page);
    writeFileSync(join(folder, "app/api/route.js"), route);
    // Nobody reads the maps, nor builds again from the cache: they are a fifth of the work.
    const experimental = { turbopackFileSystemCacheForBuild: false, turbopackSourceMaps: false };
    const settings = { output: "standalone", turbopack: { root: folder }, experimental };
    writeFileSync(join(folder, "next.config.mjs"), `export default ${JSON.stringify(settings)};`);
    const next = join(folder, "node_modules/next/dist/bin/next");
    await exec(process.execPath, [next, "build"], { cwd: folder, env });
  }, 300_000);

  /** Starts what it has built, and asks it. */
  async function served(environment: Readonly<Record<string, string>>, ask: (url: string) => Promise<void>) {
    const server = spawn(process.execPath, ["server.js"], {
      cwd: join(folder, ".next/standalone"),
      env: { ...env, ...environment, PORT: String(await freePort()), HOSTNAME: "127.0.0.1" },
    });
    try {
      const url = await new Promise<string>((found, lost) => {
        let said = "";
        server.stdout.on("data", (text: Buffer) => {
          said += text.toString();
          const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? [];
          if (address !== undefined && said.includes("Ready")) found(address);
        });
        server.once("exit", () => lost(new Error(`the server ended:\n${said}`)));
      });
      await ask(url);
    } finally {
      server.kill();
    }
  }

  test("a route handler of what it has built calls a task", async () => {
    const { asked, environment, close } = await startAws();
    await served(environment, async (url) => {
      const response = await fetch(`${url}/api`);
      expect([response.status, await response.text()]).toEqual([200, "PENDING"]);
      expect(asked).toEqual(["GetQueueUrl", "SendMessageBatch", "BatchGetItem"]);
    }).finally(close);
  });

  test("the board is a route of it", async () => {
    await served({}, async (url) => {
      for (const path of ["/board", "/board/tasks", "/board/api/queues"])
        expect([path, (await fetch(url + path)).status]).toEqual([path, 200]);
      const [asset = ""] = /\/board\/assets\/[\w.-]+\.js/.exec(await (await fetch(`${url}/board`)).text()) ?? [];
      expect((await fetch(url + asset)).status).toBe(200);
      const headers = { "content-type": "application/json" };
      const paused = await fetch(`${url}/board/api/queues/celery/pause`, { method: "POST", headers, body: "{}" });
      expect(await paused.json()).toEqual({ ok: true });
    });
  });
});
