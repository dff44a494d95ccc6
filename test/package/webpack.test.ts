/** A worker in a bundle of webpack's, which makes a file of each thread, and puts the path of where it ran for `import.meta.url`. */
import { cpSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { env, exec, folderOf, installOnce, installPacked } from "./packed.ts";

const INSTALLED = ["webpack@5.113.0"];

let user: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  await installOnce("webpack", INSTALLED);
  ({ user, remove } = await installPacked());
}, 300_000);
afterAll(() => remove(), 300_000);

const MAIN = `
  import { Lovage } from "lovage";
  import { startWorker } from "lovage/worker";
  const app = new Lovage("shop", { brokerUrl: "sqlite://" });
  const add = app.task("shop.add", (x, y) => x + y);
  const worker = await startWorker(app);
  console.log(await (await add.delay(1, 2)).get({ timeout: 60 }));
  await worker.stop();
  await app.close();`;

/** Bundles `main.mjs` into a folder. */
async function bundle(to: string, publicPath?: string): Promise<void> {
  writeFileSync(join(user, "main.mjs"), MAIN);
  const output = { path: join(user, to), filename: "main.cjs", publicPath };
  const settings = {
    mode: "development",
    devtool: false,
    target: "node22",
    context: user,
    entry: "./main.mjs",
    output,
  };
  const build = `
    require(${JSON.stringify(join(folderOf("webpack", INSTALLED), "node_modules/webpack"))})(${JSON.stringify(settings)}, (error, stats) => {
      if (error ?? stats.hasErrors()) throw error ?? new Error(stats.toString());
    });`;
  await exec(process.execPath, ["-e", build], { cwd: user, env });
}

test("says what to do where files are named by the paths of a browser, as Next.js has webpack do", {
  timeout: 300_000,
}, async () => {
  await bundle("next", "/_next/");
  const failed = exec(process.execPath, [join(user, "next/main.cjs")], { cwd: user, env });
  await expect(failed).rejects.toThrow(
    /heartbeat does not start: .*Cannot find module '\/_next\/[\s\S]*serverExternalPackages: \["lovage"\]/,
  );
});

test("runs where it was made, and where nothing but the bundle is", { timeout: 300_000 }, async () => {
  await bundle("bundle");
  const run = (folder: string) => exec(process.execPath, [join(folder, "main.cjs")], { cwd: folder, env });
  expect((await run(join(user, "bundle"))).stdout).toBe("3\n");
  const elsewhere = join(user, "../elsewhere");
  cpSync(join(user, "bundle"), elsewhere, { recursive: true });
  renameSync(join(user, "node_modules"), join(user, "gone"));
  expect((await run(elsewhere)).stdout).toBe("3\n");
});
