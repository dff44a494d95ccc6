/**
 * Who may import whom. Run by `npm run lint`; `test/ground/direction.test.ts` sees each rule fail.
 *
 * Biome's rule for restricted imports cannot tell `import` from `import()`, and here the difference matters: an
 * implementation is loaded on first use or not at all, and what `index.ts` loads at once must run where Node is not.
 */
import { globSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

export interface Import {
  readonly specifier: string;
  readonly kind: "static" | "type" | "dynamic";
}

/** Modules that anyone may import; they import nothing but each other. */
const ground = [
  "errors.ts",
  "states.ts",
  "nearest.ts",
  "check-app.ts",
  "other-copy.ts",
  "parse.ts",
  "placeholder.ts",
  "brief.ts",
  "python-builtins.ts",
  "clock.ts",
  "turn.ts",
  "unit.ts",
  "wait.ts",
  "stable-id.ts",
  "hash.ts",
  "glob.ts",
  "file-identity.ts",
  "file-url.ts",
  "embedded.ts",
  "request-handler.ts",
  "oldest-node.ts",
];

/** The app and what it is made of. It knows what a broker and a result backend are, but none in particular. */
const house = [
  "index.ts",
  "app.ts",
  "around.ts",
  "engine.ts",
  "open.ts",
  "on-demand.ts",
  "config/",
  "signals.ts",
  "tasks/",
  "canvas/",
  "workers/",
  "control/",
];

/** The first row whose place a file has says what it may import, types too. Places are prefixes of names below src/. */
const mayImport: readonly (readonly [place: string, ...allowed: string[]])[] = [
  ...ground.map((file) => [file, ...ground] as const),
  ["protocol/", "protocol/", ...ground],
  ["beat/eventbridge", "beat/", "protocol/", "aws/", ...ground],
  ["beat/sqlite", "beat/", "protocol/", "sqlite/", ...ground],
  ["beat/store", "beat/", "protocol/", ...ground],
  ["beat/", "beat/", ...ground],
  ["aws/", "aws/", ...ground],
  ["sqlite/", "sqlite/", ...ground],
  ["brokers/", "brokers/", "protocol/", "aws/", "sqlite/", ...ground],
  ["payloads/", "payloads/", "protocol/", "aws/", ...ground],
  ["journal/", "journal/", "protocol/", "aws/", "sqlite/", ...ground],
  ["limits/dynamodb", "limits/", "results/dynamodb", "protocol/", "aws/", ...ground],
  ["limits/", "limits/", "protocol/", "sqlite/", ...ground],
  ["results/", "results/", "journal/", "protocol/", "aws/", "sqlite/", ...ground],
  ...house.map(
    (place) =>
      [
        place,
        ...house,
        "brokers/",
        "results/",
        "journal/",
        "limits/",
        "payloads/",
        "beat/",
        "protocol/",
        ...ground,
      ] as const,
  ),
  ["at-once.ts", ...house, "brokers/", "results/", "limits/"],
  ["app-module.ts", "app.ts", ...ground],
  ["otel/", ...house, "protocol/", ...ground],
  ["board/", "board/", ...house, "brokers/", "results/", "journal/", "beat/", "protocol/", ...ground],
  ["web/", "web/", "results/", "protocol/", ...ground],
  ["cli/", ""],
  ["testing/", ""],
  ["lambda/", ""],
  ["cdk/", ""],
];

/** One service's way of being a broker or a result backend: a port and the house must do without. */
const implementation =
  /^(aws|sqlite)\/|^brokers\/(sqs|sqlite|memory)|^(results|journal|limits)\/(dynamodb|sqlite|memory)|^beat\/(eventbridge|sqlite|memory)|^payloads\/(payloads|s3|file|memory)/;

/** Who may import an implementation beside another one; openers only with `import()`, when a URL first names it. */
const openers = ["open.ts", "on-demand.ts"];
const onTop = ["cli/", "testing/", "lambda/", "at-once.ts"];

/** The only modules that import the AWS SDK, by `#aws/…` where a function's bundle has something else in its place. */
const aws = [
  "aws/",
  "brokers/sqs",
  "results/dynamodb",
  "journal/dynamodb",
  "limits/dynamodb",
  "beat/eventbridge",
  "payloads/s3",
];

const under = (file: string, prefixes: readonly string[]) => prefixes.some((prefix) => file.startsWith(prefix));

/** The imports of a module. Knows the code that the formatter leaves: statements at the start of a line, double quotes. */
export function importsOf(source: string): readonly Import[] {
  const code = source.replace(/^\s*(\/\*[\s\S]*?\*\/|\/\/.*)/gm, "");
  const found: Import[] = [];
  for (const [, type, specifier = ""] of code.matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^"';()=]*?\sfrom\s+)?"([^"]+)"/gm,
  )) {
    found.push({ specifier, kind: type === undefined ? "static" : "type" });
  }
  for (const [, specifier = ""] of code.matchAll(/\bimport\(\s*"([^"]+)"/g)) found.push({ specifier, kind: "dynamic" });
  return found;
}

/** What is wrong with the imports of a set of modules, whose names are relative to src/: a sentence each. */
export function violations(modules: ReadonlyMap<string, string>): readonly string[] {
  const graph = new Map([...modules].map(([file, source]) => [file, importsOf(source)]));
  const resolve = (file: string, specifier: string) =>
    specifier === "#on-demand" ? "on-demand.ts" : posix.join(posix.dirname(file), specifier);
  const wrong: string[] = [];

  for (const [file, imports] of graph) {
    const [place, ...allowed] = mayImport.find(([prefix]) => file.startsWith(prefix)) ?? [];
    if (place === undefined) {
      wrong.push(`${file} has no place in the table of scripts/direction.ts: say there what it may import`);
      continue;
    }
    for (const { specifier, kind } of imports) {
      if (/^(@aws-sdk|#aws)\//.test(specifier) && !under(file, aws)) {
        wrong.push(`${file} must not import ${specifier}: the AWS SDK belongs to ${aws.join(", ")}`);
      }
      if (!specifier.startsWith(".")) continue;
      if (/(^|\/)(on-demand|at-once)\.ts$/.test(specifier) && file !== "at-once.ts") {
        wrong.push(`${file} must import #on-demand: a function's bundle has another module there`);
      }
      const target = resolve(file, specifier);
      const direct = !implementation.test(target) || implementation.test(file) || under(file, onTop);
      if (under(target, allowed) && (direct || (kind === "dynamic" && openers.includes(file)))) continue;
      wrong.push(`${file} must not import ${target}${kind === "static" ? "" : ` (${kind})`}`);
    }
  }

  const seen = new Map([["index.ts", "index.ts"]]);
  for (const [file, chain] of seen) {
    for (const { specifier, kind } of graph.get(file) ?? []) {
      if (kind !== "static") continue;
      if (specifier.startsWith("node:"))
        wrong.push(`index.ts must load nothing of Node alone: ${chain} → ${specifier}`);
      const target = resolve(file, specifier);
      if (/^\.|^#on-demand$/.test(specifier) && !seen.has(target)) seen.set(target, `${chain} → ${target}`);
    }
  }
  return wrong;
}

if (import.meta.main) {
  const src = join(import.meta.dirname, "../src");
  const files = globSync("**/*.ts", { cwd: src }).map((file) => file.replaceAll("\\", "/"));
  const wrong = violations(new Map(files.map((file) => [file, readFileSync(join(src, file), "utf8")])));
  for (const sentence of wrong) console.error(sentence);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
