/** The page of environment variables has those that the sources read, and no others. */
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { ENVIRONMENT } from "../../src/config/values.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/reference/environment.md"), "utf8");

/** The names in the first column of a section's table. */
function namesIn(heading: string): readonly string[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
}

/** Where a name is not written at the place that reads it, and which names it can have. */
const BY_VARIABLE: Readonly<Record<string, { readonly expression: string; readonly names: readonly string[] }>> = {
  "src/config/config.ts": { expression: "variable", names: Object.keys(ENVIRONMENT) },
};

/** The environment variables that a source reads. Throws where it reads one whose name it does not say. */
function readIn(file: string, text: string): readonly string[] {
  const code = text.replace(/^\s*(\/\*\*|\*|\/\/).*$/gm, "");
  const found = new Set<string>();
  for (const [, name = ""] of code.matchAll(/\benv\??\.?\["([^"]+)"\]/g)) found.add(name);
  for (const [, start = ""] of code.matchAll(/\benv\[`([A-Z_]+)\$\{\w+\}`\]/g)) found.add(`${start}<SERVICE>`);
  for (const [, name = ""] of code.matchAll(/\benv\.([A-Z][A-Z0-9_]*)\b/g)) found.add(name);
  for (const [, name = ""] of code.matchAll(/\.env\("([^"]+)"\)/g)) found.add(name);
  for (const [, names = ""] of code.matchAll(/\{([^{}]*)\} = (?:globalThis\.)?(?:process\??\.)?env\b/g))
    for (const [, name = ""] of names.matchAll(/\b([A-Z][A-Z0-9_]*)\b/g)) found.add(name);
  for (const [, expression = ""] of code.matchAll(/\benv\??\.?\[([^"`\]]+)\]/g)) {
    const known = BY_VARIABLE[file];
    if (known?.expression !== expression) throw new Error(`${file} reads env[${expression}]: which names can that be?`);
    for (const name of known.names) found.add(name);
  }
  return [...found];
}

function readBelow(...patterns: readonly string[]): readonly string[] {
  const files = globSync(patterns, { cwd: root }).map((file) => file.replaceAll("\\", "/"));
  return [...new Set(files.flatMap((file) => readIn(file, readFileSync(join(root, file), "utf8"))))].sort();
}

const OWN = "Lovage's own";
const OTHERS = "Variables of others that Lovage reads";

test("the page has every environment variable that the package reads, once, and no other", () => {
  const listed = [...namesIn(OWN), ...namesIn(OTHERS)];
  expect([...listed].sort()).toEqual(readBelow("src/**/*.ts", "bin/*.js"));
  expect(namesIn(OWN).filter((name) => !name.startsWith("LOVAGE_"))).toEqual([]);
  const beneath = namesIn("Variables that the AWS SDK and Node read");
  expect(beneath.filter((name) => listed.includes(name))).toEqual([]);
});

test("and those of the scripts of a checkout", () => {
  const scripts = globSync("scripts/emulators/*.sh", { cwd: root }).map((file) =>
    readFileSync(join(root, file), "utf8"),
  );
  const inShell = scripts.flatMap((text) => [...text.matchAll(/\$\{(LOVAGE_\w+)/g)].map(([, name = ""]) => name));
  const known = new Set([...namesIn(OWN), ...namesIn(OTHERS), "PATH"]);
  const read = new Set([...readBelow("scripts/**/*.ts"), ...inShell].filter((name) => !known.has(name)));
  expect([...namesIn("In a checkout of Lovage")].sort()).toEqual([...read].sort());
});

test("every form in which one is read is seen, and one without a name is refused", () => {
  const code = [
    'env["A_A"];',
    'process?.env?.["B_B"];',
    "env.C_C;",
    'option.env("D_D");',
    "const { E_E: e, F_F, ...rest } = process.env;",
    "env[`G_$".concat("{name}`];"),
    '// env["NOT"]',
  ].join("\n");
  expect(readIn("src/x.ts", code)).toEqual(["A_A", "B_B", "G_<SERVICE>", "C_C", "D_D", "E_E", "F_F"]);
  expect(() => readIn("src/x.ts", "env[name];")).toThrow("src/x.ts reads env[name]");
});
