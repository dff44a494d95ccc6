/** Each example runs from a fresh clone by the commands that its README states. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT, run, succeeds, terminal } from "../live/commands.ts";
import { installSdk, SDKS, startAws } from "../package/aws.ts";

// What `lovage init` writes is installed and run by test/package/starters.test.ts.
const EXAMPLES = readdirSync(join(ROOT, "examples")).filter((name) => name !== "starters");
const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { readonly scripts: object };

/** What git has of the checkout, and what `npm ci` installs: nothing that was built. */
const clone = join(mkdtempSync(join(tmpdir(), "lovage-clone-")), "lovage");
beforeAll(async () => {
  await Promise.all(SDKS.map(installSdk));
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
  for (const file of files.toString().split("\n")) {
    if (/^(bin|examples|scripts|src)\/|^[^/]+\.json$/.test(file) && existsSync(join(ROOT, file)))
      cpSync(join(ROOT, file), join(clone, file));
  }
  symlinkSync(join(ROOT, "node_modules"), join(clone, "node_modules"));
}, 180_000);
afterAll(() => rmSync(dirname(clone), { recursive: true }), 60_000);

/** Commands in blocks for a shell, and those after a `$` where their output stands with them. */
function commandsOf(readme: string): readonly string[] {
  const blocks = [...readme.matchAll(/^```(sh|text)\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, kind, text = ""]) =>
    text.split("\n").flatMap((line) => {
      const [command = ""] = (kind === "sh" ? line : line.startsWith("$ ") ? line.slice(2) : "").split(/ +# /);
      return command === "" ? [] : [command.trim()];
    }),
  );
}

/** What each function of an example is called with, what it says to that, and what it asks of AWS. */
const CALLS: Readonly<Record<string, readonly [event: object, answer: object, asked: readonly string[]]>> = {
  "worker.ts": [{ Records: [] }, { batchItemFailures: [] }, []],
  "beat.ts": [{}, { name: "ImproperlyConfigured" }, []],
  "api.ts": [{ rawPath: "/17" }, { statusCode: 202 }, ["GetQueueUrl", "SendMessageBatch"]],
  "lambda.ts": [
    {
      version: "2.0",
      rawPath: "/tasks/1",
      rawQueryString: "",
      headers: {},
      requestContext: { http: { method: "GET", path: "/tasks/1" }, domainName: "api" },
    },
    { statusCode: 200 },
    ["BatchGetItem"],
  ],
};

/** Runs a bundle as Lambda does, with an SDK beside it of a year ago, of a month ago, and with none where it brings what it needs. */
async function runs(bundle: string): Promise<void> {
  const file = ["index.mjs", "index.js"].find((name) => existsSync(join(bundle, name))) ?? "";
  const code = readFileSync(join(bundle, file), "utf8");
  const map = existsSync(join(bundle, `${file}.map`)) ? readFileSync(join(bundle, `${file}.map`), "utf8") : code;
  const [name = "", call] =
    Object.entries(CALLS).find(([entry]) => new RegExp(`(examples/[\\w-]+|"(\\.\\./)*\\.\\.)/${entry}`).test(map)) ??
    [];
  if (call === undefined) throw new Error(`${bundle}: of what entry is it?`);
  const [event, answer, asked] = call;
  const script = `
    const { handler } = await import(${JSON.stringify(`./${file}`)});
    const context = { awsRequestId: "r", getRemainingTimeInMillis: () => 1000 };
    const said = await handler(${JSON.stringify(event)}, context).catch(({ name }) => ({ name }));
    console.log(JSON.stringify(said));
    process.exit();`;
  const external = /from ?"@aws-sdk\//.test(code);
  for (const sdk of external ? SDKS : ["none", ...SDKS]) {
    const folder = mkdtempSync(join(dirname(clone), "lambda-"));
    cpSync(bundle, folder, { recursive: true });
    if (sdk !== "none") symlinkSync(join(await installSdk(sdk), "node_modules"), join(folder, "node_modules"));
    const aws = await startAws();
    const args = ["--input-type=module", "-e", script];
    const ended = await run(process.execPath, args, { cwd: folder, env: aws.environment }).finally(aws.close);
    expect(
      JSON.parse((await succeeds(Promise.resolve(ended))).trim().split("\n").at(-1) ?? ""),
      `${name} beside ${sdk}`,
    ).toMatchObject(answer);
    expect(aws.asked, `${name} beside ${sdk}`).toEqual(asked);
  }
}

describe.each(EXAMPLES)("examples/%s", (name) => {
  const folder = join(clone, "examples", name);
  const readme = readFileSync(join(ROOT, "examples", name, "README.md"), "utf8");
  const commands = commandsOf(readme);

  test("a page links to it", () => {
    const pages = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" }).filter((page) =>
      page.endsWith(".md"),
    );
    const linking = pages.filter((page) =>
      readFileSync(join(ROOT, "docs", page), "utf8").includes(`examples/${name}/README.md)`),
    );
    expect(linking).not.toEqual([]);
  });

  test("it names each of its files", () => {
    for (const file of readdirSync(join(ROOT, "examples", name)).filter((file) => /\.(ts|py|txt)$/.test(file)))
      expect(readme).toContain(`\`${file}\``);
  });

  test("its commands are those of a checkout without a build", () => {
    expect(commands).not.toEqual([]);
    for (const command of commands) {
      const [program, first = "", ...rest] = command.split(" ");
      // The tests of each example run these, and what they print.
      if (["curl", "export", "pip", "celery", "python", "cd"].includes(program ?? "")) continue;
      if (program === "npm") {
        if (first !== "ci") expect(Object.keys(scripts)).toContain(rest[0]);
      } else if (program === "npx") {
        expect(first).toBe("cdk");
        expect(existsSync(join(folder, "cdk.json"))).toBe(true);
      } else {
        expect(program).toBe("node");
        // Node does not find the package by its name before it is built.
        const [loader, module] = first === "--import" ? rest : [first];
        expect(loader).toMatch(/^\.\.\/\.\.\/(scripts\/source\.ts|bin\/lovage\.js)$/);
        expect(existsSync(join(folder, loader ?? ""))).toBe(true);
        if (module !== undefined) expect(existsSync(join(folder, module))).toBe(true);
      }
    }
  });

  if (!existsSync(join(ROOT, "examples", name, "stack.ts"))) return;
  test("its stack is synthesized, with the bundles of its functions", async () => {
    const [synth = ""] = commands.filter((command) => command.startsWith("npx cdk synth"));
    const [command = "", ...args] = synth.split(" ");
    expect(command).toBe("npx");
    await succeeds(run(command, [...args, "--no-notices"], { cwd: folder, env: terminal() }));
    // An image is an asset too.
    const bundles = readdirSync(join(folder, "cdk.out")).filter(
      (file) => /^asset\.[0-9a-f]+$/.test(file) && !existsSync(join(folder, "cdk.out", file, "Dockerfile")),
    );
    const functions = ["worker.ts", "beat.ts", "api.ts", "lambda.ts"].filter((file) => existsSync(join(folder, file)));
    expect(bundles).toHaveLength(functions.length);
    for (const bundle of bundles) await runs(join(folder, "cdk.out", bundle));
  });
});
