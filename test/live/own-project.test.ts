/**
 * docs/how-to/deploy.md as a stranger follows it: an empty folder, the packed package, the page's own files, `cdk synth`, and a
 * deployment to ministack on which a task runs.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Emulator, emulatorEnv } from "../../scripts/emulator.ts";
import { ROOT, run, succeeds, terminal } from "./commands.ts";
import { packedTarball } from "../package/packed.ts";
import { emulator } from "./emulators.ts";

const ministack = await emulator("ministack");
const page = readFileSync(join(ROOT, "docs/how-to/deploy.md"), "utf8");
const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  readonly devDependencies: Readonly<Record<string, string>>;
};
const folder = mkdtempSync(join(tmpdir(), "lovage-own-project-"));
const project = join(folder, "shop");
afterAll(() => rmSync(folder, { recursive: true, force: true }), 60_000);

/** The version that this checkout is tested with: a page says `aws-cdk@2`, a test says which. */
const pinned = (name: string): string => `${name}@${devDependencies[name]}`;

describe.skipIf(ministack === undefined)("a project of one's own", () => {
  const { endpoint } = (ministack ?? {}) as Emulator;
  const inProject = (command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    succeeds(run(command, args, { cwd: project, env: terminal({ ...emulatorEnv(endpoint), ...env }) }));

  beforeAll(async () => {
    const tarball = await packedTarball();
    mkdirSync(project);
    for (const [, name = "", code = ""] of page.matchAll(/^```\w+ title="([^"]+)"\n([\s\S]*?)^```$/gm)) {
      writeFileSync(join(project, basename(name)), code);
    }
    await inProject("npm", ["init", "-y"]);
    await inProject("npm", ["pkg", "set", "type=module"]);
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline"];
    await inProject("npm", ["install", ...quiet, tarball, pinned("aws-cdk-lib"), pinned("constructs")]);
    await inProject("npm", ["install", ...quiet, "--save-dev", pinned("aws-cdk"), pinned("esbuild")]);
  }, 240_000);

  test("the page's stack is eight lines of code", () => {
    expect(readFileSync(join(project, "app.ts"), "utf8").split("\n").filter(Boolean).length).toBeLessThanOrEqual(8);
  });

  test("cdk synth gives a stack of its queues, table, functions and rule", async () => {
    // With all that the CDK does where nobody spares it.
    await inProject("npx", ["cdk", "synth", "--quiet", "--no-notices"], { CDK_VALIDATION: "true" });
    const { Resources } = JSON.parse(readFileSync(join(project, "cdk.out/Shop.template.json"), "utf8")) as {
      readonly Resources: Readonly<Record<string, { readonly Type: string }>>;
    };
    const count = (type: string) => Object.values(Resources).filter(({ Type }) => Type === type).length;
    expect(count("AWS::SQS::Queue")).toBe(5);
    // Of results, and of what has happened.
    expect(count("AWS::DynamoDB::Table")).toBe(2);
    expect(count("AWS::Lambda::Function")).toBe(3);
    expect(count("AWS::Events::Rule")).toBe(1);
  });

  const DEPLOY = ["cdk", "deploy", "--require-approval", "never", "--outputs-file", "outputs.json", "--no-notices"];

  test("a first deployment that fails half-way takes all back, and the next one makes it", {
    timeout: 400_000,
  }, async () => {
    await inProject("npx", ["cdk", "bootstrap", "aws://000000000000/us-east-1", "--no-notices"]);
    // What ministack refuses, after all else is there.
    writeFileSync(
      join(project, "broken.ts"),
      `${readFileSync(join(project, "app.ts"), "utf8")}
       import { CfnResource } from "aws-cdk-lib";
       const alarm = { ComparisonOperator: "GreaterThanThreshold", EvaluationPeriods: 1, Threshold: 1 };
       const properties = { ...alarm, Metrics: [{ Id: "a", Expression: "1" }] };
       const broken = new CfnResource(stack, "Broken", { type: "AWS::CloudWatch::Alarm", properties });
       broken.node.addDependency(stack.node.findChild("Tasks"));`,
    );
    await expect(inProject("npx", [...DEPLOY, "-a", "node broken.ts"])).rejects.toThrow("Failed resources");
    await inProject("npx", DEPLOY);
  });

  test("a task runs there", async () => {
    expect(await inProject("sh", ["-c", 'eval "$(npx lovage env outputs.json)" && node main.ts'])).toBe("3\n");
  });

  test("cdk diff finds nothing to do then", { timeout: 180_000 }, async () => {
    expect(await inProject("npx", ["cdk", "diff", "--fail", "--no-notices"])).toContain("There were no differences");
  });

  test("cdk deploy --hotswap of other code changes the functions alone, and past CloudFormation", {
    timeout: 180_000,
  }, async () => {
    const tasks = join(project, "tasks.ts");
    const before = readFileSync(tasks, "utf8");
    writeFileSync(tasks, before.replace("x + y", "x + y + 1"));
    const said = await inProject("npx", [...DEPLOY, "--hotswap"]);
    expect(said).toMatch(/hotswapped/);
    // What cannot be swapped would be named, and deployed by CloudFormation.
    expect(said).not.toMatch(/non-hotswappable|CloudFormation deployment/i);
    expect(await inProject("sh", ["-c", 'eval "$(npx lovage env outputs.json)" && node main.ts'])).toBe("4\n");
    writeFileSync(tasks, before);
  });
});
