/** TypeScript projects as people have them: what Node by itself does not run, the project's own `tsx` does. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { env, exec, installPacked, root } from "./packed.ts";

let user: string;
let remove: () => void;
beforeAll(async () => {
  ({ user, remove } = await installPacked());
}, 120_000);
afterAll(() => remove());

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
    without: /size\.ts:2\b.*Node by itself runs no enum of TypeScript.*npm install --save-dev tsx/s,
  },
  "parameter properties": {
    files: {
      "tasks.ts": `${APP}class Mailer { constructor(readonly from: string) {} }\napp.task("shop.size", () => new Mailer("a").from);`,
    },
    without: /tasks\.ts:3\b.*parameter propert.*npm install --save-dev tsx/s,
  },
  "decorators, as NestJS has them": {
    files: {
      "tsconfig.json": '{ "compilerOptions": { "experimentalDecorators": true } }',
      "tasks.ts": `${APP}function named(target: object, key: string) { app.task("shop." + key, () => 1); }\nclass Tasks { @named size() {} }\nnew Tasks();`,
    },
    without: /tasks\.ts:4\b.*decorators.*npm install --save-dev tsx/s,
  },
  "paths of tsconfig.json": {
    files: {
      "tsconfig.json": '{ "compilerOptions": { "paths": { "@/*": ["./src/*"] } } }',
      "tasks.ts": `${APP}import { size } from "@/size";\napp.task("shop.size", size);`,
      "src/size.ts": "export const size = () => 1;",
    },
    without: /tasks\.ts.*names of tsconfig\.json \(paths\).*npm install --save-dev tsx/s,
  },
  "imports without an ending": {
    files: {
      "tasks.ts": `${APP}import { size } from "./size";\nimport { more } from "./more/index.js";\napp.task("shop.size", () => size() + more);`,
      "size.ts": "export const size = () => 1;",
      "more/index.ts": "export const more = 2;",
    },
    without: /imports without the file's own ending.*npm install --save-dev tsx/s,
  },
  JSX: {
    files: {
      "tsconfig.json": '{ "compilerOptions": { "jsx": "react", "jsxFactory": "h" } }',
      "tasks.ts": `${APP}import { page } from "./page.tsx";\napp.task("shop.size", page);`,
      "page.tsx": "const h = (name: string) => name;\nexport const page = () => <p />;",
    },
    without: /JSX.*npm install --save-dev tsx/s,
  },
  "a CommonJS package in TypeScript": {
    files: {
      "package.json": '{ "private": true, "type": "commonjs" }',
      "tasks.ts": `${APP}app.task("shop.size", () => 1);`,
    },
    without: /tasks\.ts:1\b.*CommonJS.*npm install --save-dev tsx/s,
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
  const lovage = join(user, "node_modules/.bin/lovage");
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
