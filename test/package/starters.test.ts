/** What `lovage init` writes, as a stranger gets it: its tests pass, its types are right, and it runs from the page to the result. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePort } from "../../scripts/emulator.ts";
import { copyInstalled, env, exec, initNext, installPacked, linkPackages, root } from "./packed.ts";

const LIGHT = ["none", "hono", "express", "fastify", "nest"];

let user: string;
let remove: () => Promise<void>;
const lovage = (...args: string[]) => exec(join(user, "node_modules/.bin/lovage"), args, { cwd: user, env });
const npm = (folder: string, ...args: string[]) => exec("npm", args, { cwd: folder, env });
const at = (kind: string) => join(user, `my-${kind}`);

beforeAll(async () => {
  ({ user, remove } = await installPacked());
  for (const kind of LIGHT) await lovage("init", `my-${kind}`, "--web", kind, "--aws", "--no-install");
  // Together they are installed once. What each uses is in its own package.json, as `npm run lint` sees.
  const wanted = new Map<string, string>();
  for (const kind of LIGHT) {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(at(kind), "package.json"), "utf8"));
    for (const [name, range] of Object.entries<string>({ ...devDependencies, ...dependencies }))
      wanted.set(name, range);
  }
  // What the package has brought is there, and what the checkout has is not fetched anew.
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const isThere = (name: string) => name in devDependencies || existsSync(join(user, "node_modules", name));
  const packages = [...wanted].filter(([name]) => !isThere(name)).map(([name, range]) => `${name}@${range}`);
  await npm(user, "install", "--no-audit", "--no-fund", ...packages);
  const linked = [...wanted].filter(([name]) => name in devDependencies);
  linkPackages(
    join(user, "node_modules"),
    linked.map(([name]) => name),
  );
  // It stands for what npm would fetch as long as a starter asks for the same.
  const bare = (range = "") => range.replace(/^\^/, "");
  expect(linked.map(([name, range]) => [name, bare(range)])).toEqual(
    linked.map(([name]) => [name, bare(devDependencies[name])]),
  );
  for (const [name, file] of [
    ["cdk", "aws-cdk/bin/cdk"],
    ["tsc", "typescript/bin/tsc"],
    ["tsx", "tsx/dist/cli.mjs"],
    ["esbuild", "esbuild/bin/esbuild"],
  ] as const) {
    const link = join(user, "node_modules/.bin", name);
    if (!existsSync(link)) symlinkSync(join("../", file), link);
  }
}, 600_000);
afterAll(() => remove(), 300_000);

interface Development {
  readonly process: ChildProcess;
  /** Resolves with the first match in what it has printed. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** Ctrl-C, which a terminal sends to all of them. */
  end(): Promise<void>;
}

function develop(folder: string, port: number): Development {
  const child = spawn("npm", ["run", "dev"], {
    cwd: folder,
    env: { ...env, PORT: String(port) },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const looking = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text: Buffer) => {
      said += text.toString();
      for (const look of looking) look();
    });
  }
  const ended = once(child, "exit").then(() => {
    for (const look of looking) look();
  });
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid ?? 0), name);
    } catch {
      // It has ended.
    }
  };
  onTestFinished(() => signal("SIGKILL"));
  return {
    process: child,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(said);
          if (found !== null) resolve(found);
          else if (child.exitCode !== null) reject(new Error(`ended without saying ${pattern}:\n${said}`));
        };
        looking.add(look);
        look();
      }),
    async end() {
      signal("SIGINT");
      await ended;
    },
  };
}

/** Orders a report as the page does, and watches it. */
async function order(url: string): Promise<void> {
  expect(await (await fetch(url)).text()).toContain("Reports");
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ customer: "Ada", pages: 2 });
  const accepted = await fetch(`${url}/reports`, { method: "POST", headers, body });
  expect(accepted.status).toBe(202);
  const { id } = (await accepted.json()) as { id: string };
  const events = await (await fetch(`${url}/reports/${id}/events`)).text();
  expect(events).toMatch(/event: chunk\ndata: {"page":1,"pages":2}/);
  expect(events).toMatch(/event: result\ndata: {"customer":"Ada","pages":2}/);
  const read = await (await fetch(`${url}/reports/${id}`)).json();
  expect(read).toEqual({ state: "SUCCESS", result: { customer: "Ada", pages: 2 } });
}

async function developed(folder: string, isWeb: boolean): Promise<void> {
  const port = await freePort();
  const running = develop(folder, port);
  await running.says(/^worker \|.* ready\./m);
  await running.says(/^beat {3}\|.*beat: Starting/m);
  await running.says(/^board {2}\| http:\/\/127/m);
  if (isWeb) {
    await running.says(/^web {4}\|.*(http:|Ready in)/m);
    await order(`http://localhost:${port}`);
  } else {
    const { stdout } = await npm(folder, "run", "send");
    expect(stdout).toContain("{ customer: 'Ada', pages: 5 }");
  }
  await running.end();
}

/** Adds settings to the starter's own: what proves nothing and is much work is left out. */
function configureNext(more: string): void {
  const file = join(at("next"), "next.config.ts");
  const settings = readFileSync(file, "utf8");
  const last = /^export default (.*);$/ms;
  expect(settings).toMatch(last);
  writeFileSync(file, settings.replace(last, `export default { ...$1, ${more} };`));
}

// First, as another file builds with what is installed here.
describe("next", () => {
  // Its types are checked by `next build` below.
  test("it is installed, and its test passes", { timeout: 400_000 }, async () => {
    copyInstalled(await initNext(), at("next"));
    // Caches and maps that nobody reads here.
    configureNext(`experimental: {
      turbopackFileSystemCacheForDev: false,
      turbopackFileSystemCacheForBuild: false,
      turbopackSourceMaps: false,
    }`);
    const { stdout } = await npm(at("next"), "test");
    expect(stdout).toMatch(/^(ℹ|#) pass [1-9]/m);
  });

  test("npm run dev runs all of it", { timeout: 400_000 }, () => developed(at("next"), true));

  test.each(["--turbopack", "--webpack"])("what next build %s makes serves", { timeout: 400_000 }, async (bundler) => {
    if (bundler === "--webpack")
      configureNext(`
        // The other build has checked them.
        typescript: { ignoreBuildErrors: true },
        // Lists of files for a folder that is deployed elsewhere: callers.test.ts builds one.
        outputFileTracingExcludes: { "next-server": ["**/node_modules/**"] },
        // One process compiles all, not one each for the server, the edge and the browser.
        experimental: { webpackBuildWorker: false },
        // Nobody builds again from it.
        webpack: (settings: object) => ({ ...settings, cache: false })`);
    await npm(at("next"), "run", "build", "--", bundler);
    const port = await freePort();
    const worker = spawn("npm", ["run", "worker"], { cwd: at("next"), env, detached: true, stdio: "ignore" });
    const server = spawn("npm", ["start"], {
      cwd: at("next"),
      env: { ...env, PORT: String(port) },
      detached: true,
      stdio: ["ignore", "pipe", "ignore"],
    });
    onTestFinished(() => {
      for (const child of [worker, server]) process.kill(-(child.pid ?? 0), "SIGKILL");
    });
    for await (const text of server.stdout) if (String(text).includes("Ready")) break;
    await order(`http://localhost:${port}`);
  });
});

describe.each(LIGHT)("%s", (kind) => {
  test("its test passes", { timeout: 300_000 }, async () => {
    const { stdout } = await npm(at(kind), "test");
    expect(stdout).toMatch(/^(ℹ|#) pass [1-9]/m);
  });

  test("npm run dev runs all of it", { timeout: 300_000 }, () => developed(at(kind), kind !== "none"));
});

test("the types of each pass", { timeout: 300_000 }, async () => {
  const [typed = "", ...others] = LIGHT;
  await npm(at(typed), "run", "typecheck");
  // In one process, each with its own settings: most of the time is the compiler's for the CDK's declarations, which it reads once.
  for (const kind of others)
    expect(JSON.parse(readFileSync(join(at(kind), "package.json"), "utf8")).scripts.typecheck, kind).toBe("tsc");
  await exec(join(user, "node_modules/.bin/tsc"), ["-b", ...others.map(at)], { cwd: user, env });
});

/** NestJS needs something that the others do not. */
describe.each(["none", "nest"])("%s on AWS", (kind) => {
  test("its stack is synthesized, with the bundles of its functions", { timeout: 400_000 }, async () => {
    await npm(at(kind), "run", "synth", "--", "--no-notices");
    const template = readFileSync(
      join(at(kind), `cdk.out/My${kind[0]?.toUpperCase()}${kind.slice(1)}.template.json`),
      "utf8",
    );
    expect(template).toContain("AWS::SQS::Queue");
    expect(readdirSync(join(at(kind), "cdk.out")).filter((file) => /^asset\.[0-9a-f]+$/.test(file))).toHaveLength(2);
  });
});

describe("what cannot be written is refused, and nothing is written", () => {
  const refused = async (...args: string[]): Promise<string> => {
    const error = await lovage("init", ...args).then(
      () => undefined,
      (failed: { code: number; stderr: string }) => failed,
    );
    expect(error?.code).toBe(2);
    return error?.stderr ?? "";
  };

  test("a folder with files of the same names", async () => {
    const folder = join(user, "full");
    mkdirSync(folder);
    writeFileSync(join(folder, "tasks.ts"), "mine");
    expect(await refused("full")).toMatch(/full has tasks\.ts already, and nothing is overwritten/);
    expect([readdirSync(folder), readFileSync(join(folder, "tasks.ts"), "utf8")]).toEqual([["tasks.ts"], "mine"]);
  });

  test.each([
    ["My Tasks", /npm takes no package of the name "My Tasks".*as in my-tasks/],
    ["node_modules", /npm takes no package of the name "node_modules"/],
    ["hono", /no package into one of the same name, and hono is one that the project needs/],
    ["package.json", /package\.json is a file/],
  ])("%s", async (name, said) => {
    expect(await refused(name, "--web", "hono")).toMatch(said);
  });

  test("nothing, where nobody can be asked", async () => {
    expect(await refused()).toMatch(/which folder\? Give its name, as in npx lovage init shop/);
  });

  test("a framework that there is not", async () => {
    expect(await refused("shop", "--web", "koa")).toMatch(/Allowed choices are none, hono, express/);
  });
});

test("without network the files are complete, and what to do is said", { timeout: 300_000 }, async () => {
  const offline = {
    ...env,
    npm_config_registry: "http://127.0.0.1:1",
    npm_config_fetch_retries: "0",
    npm_config_cache: join(user, "no-cache"),
  };
  const command = join(user, "node_modules/.bin/lovage");
  const failed = await exec(command, ["init", "far-away"], { cwd: user, env: offline }).then(
    () => undefined,
    (error: { code: number; stdout: string }) => error,
  );
  expect(failed?.code).toBe(1);
  expect(failed?.stdout).toMatch(
    /npm install did not succeed.*The files are complete.*\n.*cd far-away\n {2}npm install/s,
  );
  expect(readdirSync(join(user, "far-away"))).toContain("tasks.ts");
});

test("what is of no framework is the same in all starters", () => {
  const starters = join(root, "examples/starters");
  const text = (kind: string, file: string) => readFileSync(join(starters, kind, file), "utf8");
  for (const kind of ["hono", "express", "fastify"]) {
    expect(text(kind, "tasks.ts")).toBe(text("plain", "tasks.ts"));
    expect(text(kind, "tsconfig.json")).toBe(text("plain", "tsconfig.json"));
    expect(text(kind, "page.html")).toBe(text("nest", "page.html"));
  }
  expect(text("next", "tasks.ts")).toBe(text("plain", "tasks.ts"));
});
