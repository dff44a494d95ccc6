/** The installed package on other runtimes than this one: the pages about them are run. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fencesOf } from "../docs/fences.ts";
import { env, exec, folderOf, installOnce, installPacked, root } from "./packed.ts";

const node = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
const INSTALLED = {
  bun: "bun@1.4.5",
  deno: "deno@2.9.6",
  jest: "jest@30.5.2",
  "@swc/core": "@swc/core@1.16.22",
  "@swc/jest": "@swc/jest@0.2.39",
  "node-22": `node-22@npm:${node}@22.18.0`,
  "node-26": `node-26@npm:${node}@26.10.0`,
};
const tools = folderOf("runtimes", Object.values(INSTALLED));
const program = (...path: readonly string[]) => join(tools, "node_modules", ...path);

let user: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  await installOnce("runtimes", Object.values(INSTALLED));
  ({ user, remove } = await installPacked());
  for (const page of ["bun-and-deno", "test-your-tasks"]) writeCode(page, join(user, page));
}, 300_000);
afterAll(() => remove(), 300_000);

/** Writes what a page has under names into a folder. */
function writeCode(page: string, folder: string): void {
  for (const { title, code } of fencesOf(readFileSync(join(root, `docs/how-to/${page}.md`), "utf8"))) {
    if (title === undefined) continue;
    const file = join(folder, title);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, code);
  }
}

const run = (command: readonly string[], cwd: string, more: Readonly<Record<string, string>> = {}) => {
  const [file = "", ...args] = command;
  return exec(file, args, { cwd, env: { ...env, ...more } });
};

// Side by side, as most of it is waiting for the dead to be noticed.
describe.concurrent.each<[string, readonly string[]]>([
  ["Node 22.18", [program("node-22/bin/node")]],
  ["Node 26", [program("node-26/bin/node")]],
  ["Bun", [program(".bin/bun")]],
  ["Deno", [program(".bin/deno"), "run", "-A"]],
])("%s", (name, runtime) => {
  test("runs a worker, whose task dies, and a caller, who hears of both", async () => {
    const cwd = join(user, name);
    writeCode("bun-and-deno", cwd);
    // A project of its own has a file of its own: in one that all share, another runtime's worker would do the work.
    writeFileSync(join(cwd, "package.json"), '{"type":"module"}');
    const [file = "", ...args] = runtime;
    const command = [...args, join(user, "node_modules/lovage/bin/lovage.js"), "worker", "-A", "./tasks.ts"];
    const worker = spawn(file, command, { cwd, env, stdio: "ignore" });
    const ended = once(worker, "exit");
    try {
      const { stdout } = await run([...runtime, "main.ts"], cwd);
      expect(stdout).toBe("3\nWorkerLostError\n");
    } finally {
      worker.kill("SIGTERM");
    }
    expect(await ended).toEqual([0, null]);
  });

  test("says of a module that does not load where its syntax is wrong, or that it ends the process", async () => {
    const cwd = join(user, `${name} broken`);
    mkdirSync(cwd);
    writeFileSync(join(cwd, "package.json"), '{"type":"module"}');
    const head = 'import { Lovage } from "lovage";\nexport const app = new Lovage("shop");\n';
    writeFileSync(join(cwd, "wrong.ts"), `${head}export const add = (;\n`);
    writeFileSync(join(cwd, "ends.ts"), `${head}process.exit();\n`);
    const said = (module: string) =>
      run([...runtime, join(user, "node_modules/lovage/bin/lovage.js"), "beat", "-A", module], cwd).then(
        () => "nothing",
        ({ code, stderr }: { code: number; stderr: string }) => `${code} ${stderr}`,
      );
    expect(await said("wrong.ts")).toMatch(/^2 lovage: --app: wrong\.ts could not be loaded: .*wrong\.ts:3/);
    expect(await said("wrong.ts")).not.toContain("tsx");
    expect(await said("ends.ts")).toMatch(/^2 lovage: --app: ends\.ts could not be loaded: its code ended the process/);
  });

  /**
   * A process loses all its locks on a file when it closes it, by whatever it was opened. Without them another one truncates what this
   * one reads (SIGBUS), or removes its log. So nothing but SQLite may open SQLite's files: a runtime that watches them does.
   */
  test.skipIf(process.platform !== "linux")(
    "keeps its locks on the file while others tell it of their commits",
    async () => {
      const cwd = join(user, `${name} locks`);
      writeCode("bun-and-deno", cwd);
      writeFileSync(join(cwd, "package.json"), '{"type":"module"}');
      writeFileSync(join(cwd, "hold.ts"), HOLD);
      const [file = "", ...args] = runtime;
      const worker = spawn(
        process.execPath,
        [join(user, "node_modules/lovage/bin/lovage.js"), "worker", "-A", "./tasks.ts"],
        {
          cwd,
          env,
          stdio: "ignore",
        },
      );
      const ended = once(worker, "exit");
      const caller = spawn(file, [...args, "hold.ts"], { cwd, env, stdio: ["pipe", "pipe", "ignore"] });
      const over = once(caller, "exit");
      try {
        expect(String((await once(caller.stdout, "data"))[0])).toBe("told\n");
        worker.kill("SIGTERM");
        await ended;
        const held = locks(join(cwd, ".lovage/lovage.db"));
        caller.stdin.end();
        expect(held).toEqual({ file: true, shared: true });
        expect(await over).toEqual([0, null]);
      } finally {
        worker.kill("SIGTERM");
        caller.kill("SIGKILL");
      }
    },
  );
});

/** Waits for what others do, some times over, and then has the file open until its input ends. */
const HOLD = `import { add, app } from "./tasks.ts";
for (let n = 0; n < 10; n++) await (await add.delay(n, 1)).get({ timeout: 30 });
console.log("told");
for await (const _ of process.stdin);
await app.close();
`;

/** Which of a database's two files somebody holds a lock on. */
function locks(path: string): { readonly file: boolean; readonly shared: boolean } {
  const held = readFileSync("/proc/locks", "utf8");
  const isHeld = (of: string) => new RegExp(`:${statSync(of).ino} `).test(held);
  return { file: isHeld(path), shared: isHeld(`${path}-shm`) };
}

test("bun test runs a test of tasks", async () => {
  const { stderr } = await run([program(".bin/bun"), "test", "bun/"], join(user, "bun-and-deno"));
  expect(stderr).toMatch(/^ 1 pass$/m);
});

test("deno test runs a test of tasks", async () => {
  const { stdout } = await run([program(".bin/deno"), "test", "-A", "--no-check", "deno/"], join(user, "bun-and-deno"));
  expect(stdout).toMatch(/\b1 passed\b.* 0 failed/);
});

describe("Jest", () => {
  const jest = [process.execPath, program("jest/bin/jest.js"), "--colors=false"];
  /** Where Jest finds its compiler and itself, as if it were installed beside the package. */
  const NODE_PATH = join(tools, "node_modules");

  test("runs tests of tasks", async () => {
    const settings = { NODE_OPTIONS: "--experimental-vm-modules", NODE_PATH };
    const { stderr } = await run(jest, join(user, "test-your-tasks"), settings);
    expect(stderr).toMatch(/^Tests: +2 passed, 2 total$/m);
  });

  test("runs them, and sends, with faked timers", async () => {
    const folder = join(user, "test-your-tasks/timers");
    mkdirSync(folder);
    const test = readFileSync(join(user, "test-your-tasks/remind.test.ts"), "utf8").replaceAll(
      "./tasks.ts",
      "../tasks.ts",
    );
    // Jest fakes process.nextTick and queueMicrotask too, which other runners leave alone.
    const more = `
      beforeEach(() => jest.useFakeTimers());
      afterEach(() => jest.useRealTimers());
      test("sends", async () => {
        expect(await (await remind.delay("Ada")).state()).toBe("PENDING");
        await app.close();
      });`;
    writeFileSync(
      join(folder, "timers.test.ts"),
      test.replace("{ expect,", "{ afterEach, beforeEach, expect, jest,") + more,
    );
    const settings = { NODE_OPTIONS: "--experimental-vm-modules", NODE_PATH };
    const { stderr } = await run([...jest, "timers/"], join(user, "test-your-tasks"), settings).finally(() =>
      rmSync(folder, { recursive: true }),
    );
    expect(stderr).toMatch(/^Tests: +3 passed, 3 total$/m);
  });

  test("says without its option what the page says that it says", async () => {
    await expect(run(jest, join(user, "test-your-tasks"), { NODE_PATH })).rejects.toMatchObject({
      stderr: expect.stringContaining("Must use import to load ES Module"),
    });
  });

  test("compiles the package, where it requires no ES module: a CommonJS project, by Node 22", async () => {
    const folder = join(user, "test-your-tasks/commonjs");
    writeFileSync(join(folder, "package.json"), "{}");
    for (const name of ["tasks.ts", "remind.test.ts"]) cpSync(join(user, "test-your-tasks", name), join(folder, name));
    const [, ...rest] = jest;
    const { stderr } = await run([program("node-22/bin/node"), ...rest], folder, { NODE_PATH });
    expect(stderr).toMatch(/^Tests: +2 passed, 2 total$/m);
  });
});
