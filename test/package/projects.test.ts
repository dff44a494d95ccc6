/** TypeScript projects as people have them: what Node by itself does not run, the project's own `tsx` does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { env, exec, installPacked, root } from "./packed.ts";

let user: string;
let lovage: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  ({ user, remove } = await installPacked());
  lovage = join(user, "node_modules/.bin/lovage");
}, 300_000);
afterAll(() => remove(), 300_000);

const APP = `import { Lovage } from "lovage";\nexport const app = new Lovage("shop");\n`;

interface Project {
  readonly files: Readonly<Record<string, string>>;
  /** What the error says without `tsx`; `undefined`: Node alone runs it. */
  readonly without?: RegExp;
  readonly entry?: string;
}

const PROJECTS: Readonly<Record<string, Project>> = {
  "an enum": {
    files: {
      "tasks.ts": `${APP}import { Size } from "./size.ts";\napp.task("shop.size", () => Size.Large);`,
      "size.ts": "const before = 1;\nexport enum Size { Small = before, Large }",
    },
    without: /an enum \(\S*size\.ts:2\).*npm install --save-dev tsx/s,
  },
  "parameter properties": {
    files: {
      "tasks.ts": `${APP}class Mailer { constructor(readonly from: string) {} }\napp.task("shop.size", () => new Mailer("a").from);`,
    },
    without: /a parameter property \(\S*tasks\.ts:3\).*npm install --save-dev tsx/s,
  },
  "decorators, as NestJS has them": {
    files: {
      "tsconfig.json": '{ "compilerOptions": { "experimentalDecorators": true } }',
      "tasks.ts": `${APP}function named(_target: object, key: string) { app.task("shop." + key, () => 1); }\nclass Tasks {\n@named\nsize() {} }\nnew Tasks();`,
    },
    without: /a decorator \(\S*tasks\.ts:5\).*npm install --save-dev tsx/s,
  },
  "paths of tsconfig.json": {
    files: {
      "tsconfig.json": '{ "compilerOptions": { "paths": { "@/*": ["./src/*"] } } }',
      "tasks.ts": `${APP}import { size } from "@/size";\napp.task("shop.size", size);`,
      "src/size.ts": "export const size = () => 1;",
    },
    without: /"@\/size", a name that tsconfig\.json makes \(paths\) \(\S*tasks\.ts:3\).*npm install --save-dev tsx/s,
  },
  "imports without an ending": {
    files: {
      "tasks.ts": `${APP}import { size } from "./size";\nimport { more } from "./more/index.js";\napp.task("shop.size", () => size() + more);`,
      "size.ts": "export const size = () => 1;",
      "more/index.ts": "export const more = 2;",
    },
    without: /"\.\/size" without its extension \(\S*tasks\.ts:3\).*npm install --save-dev tsx/s,
  },
  JSX: {
    files: {
      "tsconfig.json": '{ "compilerOptions": { "jsx": "react", "jsxFactory": "h" } }',
      "tasks.ts": `${APP}import { page } from "./page.tsx";\napp.task("shop.size", page);`,
      "page.tsx": "const h = (name: string) => name;\nexport const page = () => <p />;",
    },
    without: /JSX \(\.tsx\) \(\S*page\.tsx:1\).*npm install --save-dev tsx/s,
  },
  "a CommonJS package in TypeScript": {
    files: {
      "package.json": '{ "private": true, "type": "commonjs" }',
      "tasks.ts": `${APP}app.task("shop.size", () => 1);`,
    },
    without: /import in a package of "type": "commonjs" \(\S*tasks\.ts:1\).*npm install --save-dev tsx/s,
  },
  "a CommonJS package": {
    files: {
      "package.json": '{ "private": true, "type": "commonjs" }',
      "tasks.js": `const { Lovage } = require("lovage");\nconst app = new Lovage("shop");\napp.task("shop.size", () => 1);\nmodule.exports = { ...{ app } };`,
    },
    entry: "./tasks.js",
  },
  "what Node runs by itself": {
    files: { "tasks.ts": `${APP}app.task("shop.size", (n: number) => n);` },
  },
};

async function registered(folder: string, entry = "./tasks.ts") {
  return exec(lovage, ["inspect", "registered", "-A", entry], { cwd: folder, env }).then(
    ({ stdout }) => stdout,
    ({ stderr }: { readonly stderr: string }) => stderr,
  );
}

describe.each(Object.entries(PROJECTS))("%s", (name, { files, without, entry }) => {
  function lay(): string {
    const folder = join(user, "projects", String(Object.keys(PROJECTS).indexOf(name)));
    for (const [file, text] of Object.entries({ "package.json": '{ "private": true, "type": "module" }', ...files })) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    return folder;
  }

  test(without === undefined ? "runs" : "is an error that names it, its place and one command", async () => {
    const said = await registered(lay(), entry);
    if (without === undefined) expect(said).toContain("shop.size");
    else expect(said).toMatch(without);
  });

  if (without !== undefined)
    test("runs where the project has tsx", async () => {
      const folder = lay();
      mkdirSync(join(folder, "node_modules"), { recursive: true });
      symlinkSync(join(root, "node_modules/tsx"), join(folder, "node_modules/tsx"));
      expect(await registered(folder, entry)).toContain("shop.size");
      rmSync(join(folder, "node_modules"), { recursive: true });
    });
});

test("a module that is not there is no matter of TypeScript's", async () => {
  const folder = join(user, "projects/missing");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  writeFileSync(join(folder, "tasks.ts"), `${APP}import "nobody-has-this";`);
  const said = await registered(folder);
  expect(said).toMatch(/Cannot find package 'nobody-has-this'/);
  expect(said).not.toContain("tsx");
});

test.each([{ type: "module" }, {}, { type: "commonjs" }])(
  "a project of %j is loaded by its tsx where Node does not do",
  async (kind) => {
    const project = join(user, `project-${kind.type ?? "none"}`);
    const files = {
      "package.json": JSON.stringify(kind),
      "tsconfig.json":
        '{ "compilerOptions": { "paths": { "@/*": ["./*"] }, "jsx": "react", "experimentalDecorators": true } }',
      "one.ts": "export const one = 1;\nexport type One = 1;\n",
      "page.tsx": "const React = { createElement: () => 1 };\nexport const page: number = (<p />) as never;\n",
      "tasks.ts": `import { Lovage, Retry } from "lovage";
import { one, One } from "@/one";
import { one as again } from "./one.js";
import { page } from "./page";
enum Color { Red = 1 }
const mark = (value: any): any => value;
@mark
class Two { constructor(readonly value: One) {} }
export const app = new Lovage("t");
app.task("t.again", { bind: true }, (self) => {
  if (self.request.retries === 0) throw new Retry("once more", { countdown: 0 });
  return [one, again, page, Color.Red, new Two(1).value];
});
`,
    };
    mkdirSync(join(project, "node_modules"), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
    const own = { ...env, LOVAGE_BROKER_URL: `sqlite:///${join(project, "own.db")}` };
    const args = ["call", "-A", "./tasks.ts", "t.again", "--wait", "30"];
    const call = () => exec(lovage, args, { cwd: project, env: own });
    await expect(call()).rejects.toMatchObject({
      stderr: expect.stringMatching(/tasks\.ts:\d\).*npm install --save-dev tsx\n$/),
    });
    symlinkSync(join(root, "node_modules/tsx"), join(project, "node_modules/tsx"));
    // One copy of the package runs them: what a task throws for it is known to the worker.
    const worker = spawn(lovage, ["worker", "-A", "./tasks.ts"], { cwd: project, env: own });
    const ended = once(worker, "exit");
    try {
      expect((await call()).stdout).toBe("[1,1,1,1,1]\n");
    } finally {
      worker.kill("SIGTERM");
      await ended;
    }
  },
);
