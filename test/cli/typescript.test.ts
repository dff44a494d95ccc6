import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { findBeyondNode } from "../../src/cli/typescript.ts";

/** What is found in a project, as `construct (file:line)`; the last file is the one that is loaded. */
function look(files: Readonly<Record<string, string>>): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "lovage-typescript-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const found = findBeyondNode(join(folder, Object.keys(files).at(-1) ?? ""));
  return found && `${found.construct} (${found.file.slice(folder.length + 1)}:${found.line})`;
}

test.each([
  ["const a = 1;\nexport enum Color { Red }", "an enum (tasks.ts:2)"],
  ["class A {\n  constructor(\n    private readonly a: number,\n  ) {}\n}", "a parameter property (tasks.ts:3)"],
  ["\nnamespace A { export const a = 1; }", "a namespace (tasks.ts:2)"],
  ["\n\nimport fs = require('node:fs');", "an import equals (tasks.ts:3)"],
  ["const a = <any>3;", "a type assertion <T>value (tasks.ts:1)"],
  ["const mark = (a: any) => a;\n\n@mark()\nexport class A {}", "a decorator (tasks.ts:3)"],
  ["const mark = (a: any) => a;\n@mark class A {}", "a decorator (tasks.ts:2)"],
  ["\nimport { one } from './one';", 'an import of "./one" without its extension (tasks.ts:2)'],
  ["export * from './one.js';", 'an import of "./one.js", which is one.ts (tasks.ts:1)'],
  ["const one = require('./one');", 'an import of "./one" without its extension (tasks.ts:1)'],
  ["import './lib';", 'an import of "./lib" without its extension (tasks.ts:1)'],
  ["import { One } from './one.ts';", "an import of the type One without the word type (tasks.ts:1)"],
  ["import data from './data.json';", 'an import of ./data.json without with { type: "json" } (tasks.ts:1)'],
  ["import { one } from '@/one';", 'an import of "@/one", a name that tsconfig.json makes (paths) (tasks.ts:1)'],
  ["import { page } from './page.tsx';", "JSX (.tsx) (page.tsx:1)"],
  ["import './deep/enum.ts';", "an enum (deep/enum.ts:2)"],
])("%j", (code, expected) => {
  expect(
    look({
      "tsconfig.base.json": '{ "compilerOptions": { "paths": { "@/*": ["./*"] } } }',
      "tsconfig.json": '{ "extends": "./tsconfig.base.json" }',
      "one.ts": "export const one = 1;\nexport type One = 1;",
      "page.tsx": "export const page = <p />;",
      "data.json": "{}",
      "deep/enum.ts": "\nexport enum Color { Red }",
      "lib/index.ts": "export {};",
      "tasks.ts": code,
    }),
  ).toBe(expected);
});

test("what Node runs is not found fault with", () => {
  expect(
    look({
      "tsconfig.json": '{ "compilerOptions": { "paths": { "@/*": ["./*"] } } }',
      "one.ts": "export interface Both {}\nexport const Both = 1;\nexport interface One {}",
      "tasks.ts": `
import { type One, Both } from "./one.ts";
import type { One as Other } from "./nowhere";
import { nobody } from "nobody";
import { readFile } from "node:fs/promises";
import data from "./data.json" with { type: "json" };
/* @mark class A {}
   import "./one";
@mark
class B {} */
const text = \`
import "./one";
@mark
class C {}
\`;
abstract class D<T> { constructor(a: T, private_: number) {} }
const a = { b: 1 } as const satisfies object;
export { a, data, Both, readFile, nobody, text, D };
export type { One, Other };
`,
    }),
  ).toBeUndefined();
});

test("wrong syntax, modules that are not there and circles are Node's to report", () => {
  expect(look({ "tasks.ts": "const = 3;" })).toBeUndefined();
  expect(look({ "tasks.ts": 'import "./nowhere";' })).toBeUndefined();
  expect(look({ "a.ts": 'import "./tasks.ts";', "tasks.ts": 'import "./a.ts";' })).toBeUndefined();
});

test("a tsconfig.json that extends a missing one is named", () => {
  const files = { "tsconfig.json": '{ "extends": "./nowhere" }', "tasks.ts": 'import "@/one";' };
  expect(() => look(files)).toThrow(/tsconfig\.json extends .*nowhere\.json, which is not there/);
});

test("import in a package that says it is CommonJS is for a loader", () => {
  const files = { "package.json": '{ "type": "commonjs" }', "tasks.ts": '\nimport "node:fs";' };
  expect(look(files)).toBe('import in a package of "type": "commonjs" (tasks.ts:2)');
});
