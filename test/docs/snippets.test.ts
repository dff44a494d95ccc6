/**
 * The code in the documentation is compiled, and where it says so run. A fence is
 * - `ts`: a module of its own, type-checked against the source; `title="tasks.ts"` gives it the name under which the
 *   page's other blocks import it;
 * - `ts run`: run too, and must print what the next fence of the page, `text`, says;
 * - `ts fragment`: part of something larger, which only has to be TypeScript;
 * - `json`: JSON;
 * - `sh`: the npm scripts that it names exist, and `lovage` takes the commands and options of its lines.
 */
import { execFile } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { type Command, CommanderError } from "commander";
import { transform } from "esbuild";
import { afterAll, describe, expect, test } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { folderInCheckout } from "../temporary.ts";
import { type Fence, fencesOf } from "./fences.ts";

const exec = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const source = join(root, "scripts/source.ts");

interface Page {
  readonly name: string;
  readonly markdown: string;
}

const isModule = ({ language, flags }: Fence) => language === "ts" && !flags.includes("fragment");
const fileOf = (page: Page, { title, line }: Fence) => join(page.name, title ?? `line-${line}.ts`);

/** Writes the modules of the pages below a folder, each at the line it has on its page, for the compiler to name. */
function write(folder: string, pages: readonly Page[]): void {
  const written = new Set<string>();
  for (const page of pages) {
    for (const fence of fencesOf(page.markdown).filter(isModule)) {
      const file = fileOf(page, fence);
      if (written.has(file))
        throw new Error(`${page.name}:${fence.line}: the page has two blocks named ${fence.title}`);
      written.add(file);
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), "\n".repeat(fence.line - 1) + fence.code);
    }
  }
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      moduleDetection: "force",
      noUnusedLocals: false,
      noUnusedParameters: false,
      // Users have it, and it finds a task that gives `undefined` too because of a `self.retry()` without `return`.
      noImplicitReturns: true,
    },
    include: ["**/*.ts"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
}

/** What the compiler says about all that is below a folder; nothing when it is content. */
async function compile(folder: string): Promise<string> {
  const tsc = join(root, "node_modules/.bin/tsc");
  return exec(tsc, ["-p", folder, "--pretty", "false"], { cwd: folder }).then(
    () => "",
    (error: { readonly stdout: string }) => error.stdout,
  );
}

/**
 * What a page's code imports of the packages that come with this one, without a word of their installation. npm puts them where a
 * user's code finds them too. pnpm and Yarn do not.
 */
function borrowed({ name, markdown }: Page): readonly string[] {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<
      Record<string, { readonly dev?: true; readonly devOptional?: true; readonly peer?: true }>
    >;
  };
  const coming = Object.entries(packages).flatMap(([path, { dev, devOptional, peer }]) => {
    const [, one] = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path) ?? [];
    return one === undefined || dev || devOptional || peer ? [] : [one];
  });
  const code = fencesOf(markdown)
    .map((fence) => fence.code)
    .join("");
  const imported = new Set([...code.matchAll(/\bfrom "((?:@[^/"]+\/)?[^/"]+)/g)].map(([, one = ""]) => one));
  const installed = [...markdown.matchAll(/\bnpm install ([^`\n]*)/g)].flatMap(([, words = ""]) => words.split(" "));
  return coming.filter((one) => imported.has(one) && !installed.includes(one)).map((one) => `${name}: ${one}`);
}

/** What a module prints. It runs in an empty folder: the embedded default writes there. */
async function run(file: string): Promise<string> {
  const cwd = mkdtempSync(join(tmpdir(), "lovage-snippet-"));
  try {
    return (await exec(process.execPath, ["--import", source, file], { cwd })).stdout;
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** The lines of a shell block that name an npm script which is not there: here, or in what `lovage init` writes. */
function unknownScripts(code: string): readonly string[] {
  const manifests = ["package.json", ...globSync("examples/starters/*/package.json", { cwd: root })];
  const scripts = Object.assign(
    {},
    ...manifests.map((name) => (JSON.parse(readFileSync(join(root, name), "utf8")) as { scripts?: object }).scripts),
  ) as object;
  return code.split("\n").filter((line) => {
    const named = [...line.matchAll(/\bnpm (?:run )?([\w:-]+)/g)].map(([, name = ""]) => name);
    return named.some((name) => !(name in scripts) && !["ci", "i", "install", "init", "exec", "pkg"].includes(name));
  });
}

/** What `lovage` says to the lines of a shell block that begin with it; nothing where it knows commands and options. */
async function refusedCommands(code: string): Promise<readonly string[]> {
  const said: string[] = [];
  for (const [, rest = ""] of code.replaceAll("\\\n", " ").matchAll(/^(?:\$ )?(?:npx )?lovage\b([^#|&;>\n]*)/gm)) {
    const words = [...rest.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, ...parts]) => parts.find(Boolean) ?? "");
    const program = await createProgram();
    disarm(program, (text) => said.push(text.trim()));
    await program.parseAsync(words, { from: "user" }).catch((error: unknown) => {
      if (!(error instanceof CommanderError)) throw error;
    });
  }
  return said;
}

/** A command that only checks what it is given. */
function disarm(command: Command, writeErr: (text: string) => void): void {
  command.configureOutput({ writeOut: () => {}, writeErr }).showHelpAfterError(false);
  // One that has others below it must keep saying that it needs one of them.
  const runs = command.commands.length === 0 || (command.parent !== null && command.options.length > 0);
  if (runs) command.action(() => {});
  for (const below of command.commands) disarm(below, writeErr);
}

const folder = folderInCheckout("snippets-");
afterAll(() => rmSync(folder, { recursive: true }));

const pages = globSync(["README.md", "ARCHITECTURE.md", "docs/**/*.md"], { cwd: root }).map((name) => ({
  name: name.replaceAll("\\", "/"),
  markdown: readFileSync(join(root, name), "utf8"),
}));
write(folder, pages);

test("a page that imports what comes with the package by itself says how it is installed", () => {
  expect(pages.flatMap(borrowed)).toEqual([]);
});

test("every TypeScript block of the documentation compiles", async () => {
  expect(await compile(folder)).toBe("");
});

for (const page of pages) {
  const fences = fencesOf(page.markdown);
  for (const [index, fence] of fences.entries()) {
    const where = `${page.name}:${fence.line}`;
    if (fence.flags.includes("run")) {
      test(`${where} prints what the page says`, async () => {
        const expected = fences[index + 1];
        expect(expected?.language).toBe("text");
        expect(await run(join(folder, fileOf(page, fence)))).toBe(expected?.code);
      });
    }
    if (fence.flags.includes("fragment")) {
      test(`${where} is TypeScript`, () => transform(fence.code, { loader: "ts", format: "esm" }));
    }
    if (fence.language === "json") test(`${where} is JSON`, () => void JSON.parse(fence.code));
    if (fence.language === "sh") {
      test(`${where} names npm scripts that exist`, () => expect(unknownScripts(fence.code)).toEqual([]));
      test(`${where} is what lovage takes`, async () => expect(await refusedCommands(fence.code)).toEqual([]));
    }
  }
}

describe("the checks of the documentation can fail", () => {
  const page = (...lines: readonly string[]): Page => ({ name: "page.md", markdown: lines.join("\n") });

  test("a dependency of the package that is borrowed is named, and one that is installed is not", () => {
    const code = ["```ts", 'import { Hono } from "hono";', 'import { z } from "zod";', "```"];
    expect(borrowed(page(...code))).toEqual(["page.md: hono"]);
    expect(borrowed(page("Run `npm install zod hono`:", ...code))).toEqual([]);
  });

  test("a fence says its language, its flags, its title and its line", () => {
    const { markdown } = page(
      "# a",
      '```ts run title="a.ts"',
      "1;",
      "",
      "2;",
      "```",
      "- b",
      "  ```sh",
      "  ls",
      "  ```",
    );
    expect(fencesOf(markdown)).toEqual([
      { language: "ts", flags: ["run"], title: "a.ts", line: 3, code: "1;\n\n2;\n" },
      { language: "sh", flags: [], line: 9, code: "ls\n" },
    ]);
  });

  test("a block that does not compile is named with its page and line", async () => {
    const bad = folderInCheckout("snippets-");
    try {
      write(bad, [
        page(
          '```ts title="one.ts"',
          "export const one = 1;",
          "```",
          "text",
          "```ts",
          'import { one } from "./one.ts";',
          "export const two: string = one;",
          "```",
        ),
      ]);
      const said = await compile(bad);
      expect(said).toMatch(/^page\.md\/line-6\.ts\(7,14\): error TS2322/);
      expect(said.trim().split("\n")).toHaveLength(1);
    } finally {
      rmSync(bad, { recursive: true });
    }
  });

  test("a run shows what the block prints", async () => {
    const file = join(folder, "prints.ts");
    writeFileSync(file, "const text: string = 'hello'; console.log(text);");
    expect(await run(file)).toBe("hello\n");
  });

  test("an npm script that does not exist is named", () => {
    expect(unknownScripts("npm ci && npm test\nnpm run nonsense")).toEqual(["npm run nonsense"]);
  });

  test("a line that lovage does not take is named", async () => {
    const right = "npx lovage worker -A ./tasks.ts -Q a,b -l info # runs\n$ lovage call -A a.ts t.add --args '[1, 2]'";
    expect(await refusedCommands(`npm ci\n${right} | jq .\nlovage --help\nlovage purge --help`)).toEqual([]);
    expect(
      await refusedCommands("lovage wroker -A a.ts\nlovage worker -A a.ts \\\n  --colour red\nlovage result -A a.ts"),
    ).toEqual([
      expect.stringContaining("unknown command 'wroker'"),
      "error: unknown option '--colour'",
      "error: missing required argument 'id'",
    ]);
  });
});
