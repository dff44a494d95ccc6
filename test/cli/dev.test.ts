/** `lovage dev` as its users have it: real processes, and files that are saved. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Lovage } from "lovage";
import { describe, expect, test, vi } from "vitest";
import { isAlive, place, type Place, type Running } from "./run.ts";

const root = resolve(import.meta.dirname, "../..");

/** A module whose tasks say by which version of it they ran. */
const source = (version: string, top = "") => `
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";
import { factor } from "./factor.ts";
const note = (...words: unknown[]) => appendFileSync(process.env.RUNS!, [process.pid, ...words].join(" ") + "\\n");
export const app = new Lovage("cli");
app.task("cli.version", () => ${JSON.stringify(version)});
app.task("cli.times", (n: number) => n * factor);
app.task("cli.nap", async () => {
  note("begin", ${JSON.stringify(version)});
  while (${JSON.stringify(version)} === "one" && !existsSync("go")) await sleep(20);
  note("end", ${JSON.stringify(version)});
  return ${JSON.stringify(version)};
});
${top}
`;

function project(): Place & { save(name: string, text: string): void; dev(...args: string[]): Running } {
  const here = place();
  const save = (name: string, text: string) => writeFileSync(join(here.folder, name), text);
  save("package.json", '{ "type": "module" }');
  save("factor.ts", "export const factor = 2;\n");
  save("tasks.ts", source("one"));
  return { ...here, save, dev: (...args) => here.start(["dev", "-A", "./tasks.ts", ...args]) };
}

const took = (what: string) => new RegExp(`dev +\\| ${what} saved: a new worker took over after \\d+ ms\n`);
const call = async (app: Lovage, task: string, ...args: unknown[]) =>
  (await app.sendTask(task, args)).get({ timeout: 60 });

test("worker, beat and board run in one terminal, and whatever file is saved is what runs next", async () => {
  const { app, dev, save } = project();
  const running = dev("--port", "0");
  const [, url = ""] = await running.says(/^board +\| (http:\S+)$/m);
  await running.says(/^worker \| \[.* ready\.$/m);
  await running.says(/^beat {3}\| .*beat: Starting/m);
  expect((await fetch(url)).status).toBe(200);
  expect(await call(app, "cli.version")).toBe("one");
  save("tasks.ts", source("two"));
  await running.says(took("tasks\\.ts"));
  expect(await call(app, "cli.version")).toBe("two");
  expect(await call(app, "cli.times", 3)).toBe(6);
  // A file that only another one imports.
  save("factor.ts", "export const factor = 5;\n");
  await running.says(took("factor\\.ts"));
  expect(await call(app, "cli.times", 3)).toBe(15);
  // The board comes after the worker, at the same place.
  await vi.waitFor(async () => expect((await fetch(url)).status).toBe(200), { timeout: 60_000, interval: 200 });
  running.process.kill("SIGINT");
  const { code, stdout, stderr } = await running.exited;
  expect([code, stderr]).toEqual([0, ""]);
  // Plain where there is no terminal.
  expect(stdout).not.toContain("\u001b");
});

test("a module that a task imports is watched from then on", async () => {
  const { app, dev, save } = project();
  save("tasks.ts", source("one", 'app.task("cli.late", async () => (await import("./late.ts")).late);'));
  const running = dev("--no-board", "--no-beat");
  await running.says(/ ready\./);
  save("late.ts", "export const late = 1;\n");
  expect(await call(app, "cli.late")).toBe(1);
  save("late.ts", "export const late = 22;\n");
  await running.says(took("late\\.ts"));
  expect(await call(app, "cli.late")).toBe(22);
});

test("each module is told with the time at which it was loaded itself, and not the first one", () => {
  const { folder } = place();
  const main = join(folder, "main.ts");
  writeFileSync(
    main,
    `import { statSync, writeFileSync } from "node:fs";
     import { createRequire } from "node:module";
     import { noteModules } from ${JSON.stringify(join(root, "src/cli/modules.ts"))};
     let told = [];
     const flush = noteModules((files) => { told = files; });
     const wait = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
     for (const [name, load] of [["a.mjs", (url) => import(url)], ["b.cjs", createRequire(import.meta.url)]]) {
       wait();
       writeFileSync(name, "");
       wait();
       await load("./" + name);
       flush();
     }
     console.log(JSON.stringify(told.map(([file, at]) => [file.replace(/.*\\//, ""), at > statSync(file).mtimeMs])));`,
  );
  const args = ["--no-warnings", "--import", join(root, "scripts/source.ts"), main];
  const said = JSON.parse(execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" }));
  expect(said).toEqual([
    ["a.mjs", true],
    ["b.cjs", true],
  ]);
});

test("the files of a package that -A names are watched, where it is linked", async () => {
  const { app, folder, start } = place();
  for (const made of ["jobs", "node_modules/@shop"]) mkdirSync(join(folder, made), { recursive: true });
  symlinkSync("../../jobs", join(folder, "node_modules/@shop/tasks"));
  const save = (name: string, text: string) => writeFileSync(join(folder, "jobs", name), text);
  save("package.json", '{ "name": "@shop/tasks", "type": "module", "exports": { "import": "./tasks.ts" } }');
  save("factor.ts", "export const factor = 2;\n");
  save("tasks.ts", source("one"));
  const running = start(["dev", "-A", "@shop/tasks", "--no-board", "--no-beat"]);
  await running.says(/ ready\./);
  save("factor.ts", "export const factor = 5;\n");
  await running.says(took("jobs/factor\\.ts"));
  expect(await call(app, "cli.times", 3)).toBe(15);
  save("tasks.ts", source("two"));
  await running.says(took("jobs/tasks\\.ts"));
  expect(await call(app, "cli.version")).toBe("two");
});

test("what runs while a file is saved ends where it began, and what is sent then is run by the new worker", async () => {
  const { app, dev, save, runs } = project();
  const running = dev("--no-board", "--no-beat");
  await running.says(/ ready\./);
  const result = await app.sendTask("cli.nap", []);
  await vi.waitFor(() => expect(runs()).toHaveLength(1), 60_000);
  save("tasks.ts", source("two"));
  await running.says(took("tasks\\.ts"));
  expect(await call(app, "cli.nap")).toBe("two");
  save("go", "");
  expect(await result.get({ timeout: 60 })).toBe("one");
  const pids = new Map<string, Set<number>>();
  for (const [pid, , version = ""] of runs()) pids.set(version, (pids.get(version) ?? new Set()).add(pid));
  expect([...pids.values()].map(({ size }) => size)).toEqual([1, 1]);
  expect(runs().map(([, word, version]) => `${word} ${version}`)).toEqual([
    "begin one",
    "begin two",
    "end two",
    "end one",
  ]);
});

test("what does not end within the grace is handed back to the new worker", async () => {
  const { app, dev, save, runs } = project();
  const running = dev("--no-board", "--no-beat", "--grace", "0.1");
  await running.says(/ ready\./);
  const result = await app.sendTask("cli.nap", []);
  await vi.waitFor(() => expect(runs()).toHaveLength(1), 60_000);
  save("tasks.ts", source("two"));
  expect(await result.get({ timeout: 60 })).toBe("two");
  expect(runs().map(([, word, version]) => `${word} ${version}`)).toEqual(["begin one", "begin two", "end two"]);
});

describe("a module that does not load is shown, the old worker goes on, and the next save is tried", () => {
  test.each([
    ["wrong syntax", source("two", "const = ;"), /SyntaxError.*tasks\.ts:\d+\)$/m],
    ["a throw", source("two", 'throw new Error("no DATABASE_URL");'), /Error: no DATABASE_URL \(.*tasks\.ts:\d+/],
    ["no app", "export const nothing = 1;\n", /exports no Lovage app/],
    ["a module that is missing", source("two", 'await import("./more.ts");'), /Cannot find module.*more\.ts/],
    ["an endless loop", source("two", "for (;;);"), /dev +\| .*has not been loaded after 5 s: something at its top/],
  ])("%s", async (name, broken, said) => {
    const { app, dev, save } = project();
    const running = dev("--no-board", "--no-beat");
    await running.says(/ ready\./);
    save("tasks.ts", broken);
    await running.says(said);
    await running.says(/The old worker goes on\./);
    expect(await call(app, "cli.version")).toBe("one");
    if (name === "a module that is missing") save("more.ts", "export {};\n");
    else save("tasks.ts", source("two"));
    await running.says(took("(tasks|more)\\.ts"));
    expect(await call(app, "cli.version")).toBe("two");
  });

  test("a module that is deleted, and comes back", async () => {
    const { app, dev, save, folder } = project();
    const running = dev("--no-board", "--no-beat");
    await running.says(/ ready\./);
    rmSync(join(folder, "tasks.ts"));
    await running.says(
      /^dev +\| \.\/tasks\.ts is not there\. The old worker goes on\. A new one starts when it is there again\.$/m,
    );
    expect(await call(app, "cli.version")).toBe("one");
    // As a build that has emptied its folder does: what is said once is enough.
    rmSync(join(folder, "factor.ts"));
    save("factor.ts", "export const factor = 3;\n");
    save("tasks.ts", source("two"));
    await running.says(took("tasks\\.ts(, factor\\.ts)?"));
    expect(await call(app, "cli.version")).toBe("two");
  });

  test("at the first start too, where there is no old worker", async () => {
    const { app, dev, save } = project();
    save("tasks.ts", source("one", "const = ;"));
    const running = dev("--no-board", "--no-beat");
    await running.says(/\.\/tasks\.ts could not be loaded\. It is tried again when a file is saved\./);
    save("tasks.ts", source("two"));
    await running.says(/ ready\./);
    expect(await call(app, "cli.version")).toBe("two");
  });

  test("a tsconfig.json that extends a file which is not there", async () => {
    const { dev, save, folder } = project();
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(join(root, "node_modules/tsx"), join(folder, "node_modules/tsx"));
    save("tsconfig.json", '{ "extends": "./nowhere.json" }');
    save("tasks.ts", source("one", "enum Color { Red }"));
    const running = dev("--no-board", "--no-beat");
    await running.says(/tsconfig\.json: .*extends .*nowhere\.json, which is not there/);
    save("tsconfig.json", "{}");
    await running.says(/ ready\./);
  });
});

test("a second one in the folder is told of the first, and one that was killed leaves nothing behind", async () => {
  const { dev } = project();
  const first = dev("--no-board", "--no-beat");
  await first.says(/ ready\./);
  const { code, stderr } = await dev().exited;
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(
      new RegExp(`^lovage: dev: another lovage dev runs in \\S+ already \\(process ${first.process.pid}\\): end that`),
    ),
  ]);
  first.process.kill("SIGKILL");
  await first.exited;
  await dev("--no-board", "--no-beat").says(/ ready\./);
});

test.skipIf(process.platform === "win32")(
  "a folder for temporary files that is not there is no second one",
  async () => {
    const { start } = project();
    const { code, stderr } = await start(["dev", "-A", "./tasks.ts"], { TMPDIR: "/nobody/has/this" }).exited;
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^lovage: TMPDIR: .*\/nobody\/has\/this\/lovage-dev-/)]);
  },
);

test("a module that is not there at the start is refused", async () => {
  const { start } = project();
  const { code, stderr } = await start(["dev", "-A", "./nothing.ts"]).exited;
  expect([code, stderr]).toEqual([2, expect.stringMatching(/there is no module \.\/nothing\.ts .*npx lovage init/)]);
});

test("a command of the user's runs beside them, ends with them, and they with it", async () => {
  const { dev, save, folder } = project();
  save(
    "server.js",
    `import { spawn } from "node:child_process";
     const { pid } = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
     console.log("web is up with", pid);
     if (process.argv[2]) setTimeout(() => process.exit(Number(process.argv[2])), 200);
     setInterval(() => {}, 1000);`,
  );
  const running = dev("--no-board", "--no-beat", "--", process.execPath, "server.js");
  const [, child = ""] = await running.says(/^web {4}\| web is up with (\d+)$/m);
  await running.says(/ ready\./);
  running.process.kill("SIGTERM");
  expect((await running.exited).code).toBe(0);
  await vi.waitFor(() => expect(isAlive(Number(child))).toBe(false), 60_000);

  const other = await dev("--no-board", "--no-beat", "--", process.execPath, "server.js", "7").exited;
  expect(other.code).toBe(7);
  expect(other.stdout).toMatch(/^web {4}\| .* has ended with 7$/m);
  expect(existsSync(folder)).toBe(true);
});

test("names and levels have colours where they are asked for", async () => {
  const { start, save } = project();
  save("tasks.ts", source("one", 'throw new Error("no");'));
  const running = start(["dev", "-A", "./tasks.ts"], { FORCE_COLOR: "1", NO_COLOR: "" });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what a terminal is told.
  await running.says(/\u001b\[32mworker \|\u001b\[39m \u001b\[31mlovage: /);
});
