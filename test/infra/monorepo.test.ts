/** A stack and its tasks in two workspaces, and what the CDK says where it is not told enough: docs/how-to/deploy.md has each. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { App, CfnParameter, NestedStack, Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import { Key } from "aws-cdk-lib/aws-kms";
import { Topic } from "aws-cdk-lib/aws-sns";
import { TaskQueues, type TaskQueuesProps } from "lovage/cdk";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { shop } from "./deployment.ts";

const CHECKOUT = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(CHECKOUT, "docs/how-to/deploy.md"), "utf8");

// Whoever starts the tests by npm tells each npx below that the packages and programs are those of the checkout.
beforeEach(() => {
  const PATH = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  vi.stubEnv("PATH", PATH.join(delimiter));
  for (const name of Object.keys(process.env)) if (name.startsWith("npm_")) vi.stubEnv(name, undefined);
});
afterEach(() => vi.unstubAllEnvs());

/** `packages/tasks` has the worker, and `infra` is where `cdk` runs. */
function monorepo(installed: "." | "infra" = ".") {
  const root = mkdtempSync(join(tmpdir(), "lovage-monorepo-"));
  const file = (name: string, text: string) => {
    mkdirSync(join(root, name, ".."), { recursive: true });
    writeFileSync(join(root, name), text);
  };
  file("package.json", '{ "workspaces": ["infra", "packages/*"] }');
  file("package-lock.json", '{ "lockfileVersion": 3, "packages": {} }');
  file("infra/package.json", "{}");
  file("packages/tasks/package.json", '{ "type": "module" }');
  file("packages/tasks/tasks.ts", "export const done: string = 'done';");
  file(
    "packages/tasks/worker.ts",
    'import { done } from "./tasks.ts"; export const handler = async () => done; export const beat: string = "beat";',
  );
  symlinkSync(join(CHECKOUT, "node_modules"), join(root, installed, "node_modules"));
  const before = process.cwd();
  process.chdir(join(root, "infra"));
  onTestFinished(() => {
    process.chdir(before);
    rmSync(root, { recursive: true });
  });
  const entry = join(root, "packages/tasks/worker.ts");
  const synth = (props: Partial<TaskQueuesProps> = {}) => {
    const stack = new Stack(new App({ outdir: mkdtempSync(join(root, "out-")) }), "Shop");
    new TaskQueues(stack, "Tasks", { app: shop(), entry, beatEntry: entry, ...props });
    return Template.fromStack(stack);
  };
  return { root, file, entry, synth };
}

/** A fragment of an error, which the page has to have. */
function explained(fragment: string): string {
  expect(PAGE).toContain(fragment);
  return fragment;
}

test("an entry in another workspace is bundled from the root, whose lock file is found", () => {
  const { synth } = monorepo();
  synth().resourceCountIs("AWS::Lambda::Function", 2);
});

test("a lock file of its own in the CDK's workspace is looked past by depsLockFilePath, or by projectRoot", () => {
  const { root, file, synth } = monorepo();
  file("infra/package-lock.json", '{ "lockfileVersion": 3, "packages": {} }');
  expect(() => synth()).toThrow(explained("should be under projectRoot"));
  synth({ depsLockFilePath: join(root, "package-lock.json") }).resourceCountIs("AWS::Lambda::Function", 2);
  synth({ projectRoot: root }).resourceCountIs("AWS::Lambda::Function", 2);
});

test("a queue may have a root of its own", () => {
  const { root, file, synth } = monorepo();
  file("infra/package-lock.json", '{ "lockfileVersion": 3, "packages": {} }');
  file("infra/beat.ts", "export const handler = async () => undefined;");
  const beatEntry = join(root, "infra/beat.ts");
  expect(() => synth({ beatEntry })).toThrow("should be under projectRoot");
  synth({ beatEntry, queues: { celery: { projectRoot: root } } }).resourceCountIs("AWS::Lambda::Function", 2);
});

test("no lock file, and several", () => {
  const { root, file, synth } = monorepo();
  file("yarn.lock", "");
  expect(() => synth()).toThrow(explained("Multiple package lock files found"));
  synth({ depsLockFilePath: join(root, "package-lock.json") });
  for (const name of ["yarn.lock", "package-lock.json"]) rmSync(join(root, name));
  expect(() => synth()).toThrow(explained("Cannot find a package lock file"));
  expect(() => synth({ depsLockFilePath: join(root, "package-lock.json") })).toThrow(explained("Lock file at"));
});

test("esbuild in the CDK's workspace alone is not found from the root", () => {
  const { root, synth } = monorepo("infra");
  // What npx says goes to the terminal: the error names the command alone.
  expect(() => synth()).toThrow(explained("npx --no-install esbuild"));
  symlinkSync(join(CHECKOUT, "node_modules"), join(root, "node_modules"));
  synth().resourceCountIs("AWS::Lambda::Function", 2);
});

test("with keys, values of the deployment and a nested stack: what names the resources is text, and stays when the app grows", () => {
  const { root, entry } = monorepo();
  /** A synthesis with so many constructs before it, as all tokens are numbered. */
  const synth = (before: number) => {
    const app = new App({ outdir: mkdtempSync(join(root, "out-")) });
    const shared = new Stack(app, "Shared");
    for (let i = 0; i < before; i++) void new Topic(shared, `Topic${i}`).topicArn;
    const encryptionKey = new Key(shared, "Key", { enableKeyRotation: true });
    const alarms = new Topic(shared, "Alarms", { masterKey: encryptionKey });
    const stack = new Stack(app, "Shop");
    const stage = new CfnParameter(stack, "Stage").valueAsString;
    const nested = new NestedStack(stack, "Nested");
    const make = (scope: Stack, prefix: string) =>
      new TaskQueues(scope, "Tasks", {
        app: shop({ beatSchedule: { often: { task: "shop.add", schedule: 60, args: [1, 2] } } }),
        entry,
        beatEntry: entry,
        prefix,
        projectRoot: root,
        depsLockFilePath: join(root, "package-lock.json"),
        encryptionKey,
        alarmActions: [new SnsAction(alarms)],
        longDelays: true,
        queues: { celery: { environment: { STAGE: stage, TOPIC: alarms.topicArn } } },
      });
    make(stack, "shop-");
    make(nested, "nested-");
    expect(() => make(new Stack(new App(), "Refused"), `${nested.stackName}-`)).toThrow("prefix");
    expect(() => make(new Stack(new App(), "Staged"), `${stage}-`)).toThrow("prefix");
    return [stack, nested].map((each) => Template.fromStack(each));
  };
  const names = (templates: readonly Template[]) =>
    templates.flatMap((template) =>
      ["AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::Events::Rule"].flatMap((type) =>
        Object.values(template.findResources(type)).flatMap(({ Properties }) => {
          const { QueueName, TableName, Name } = Properties as Readonly<Record<string, unknown>>;
          return [QueueName ?? TableName ?? Name].filter((name) => name !== undefined);
        }),
      ),
    );
  const [first, grown] = [synth(0), synth(5)];
  expect(names(first)).toContain("shop-celery");
  expect(names(first)).toContain("nested-celery");
  expect(names(first).filter((name) => typeof name !== "string" || /token/i.test(name))).toEqual([]);
  expect(names(grown)).toEqual(names(first));
  for (const template of first) {
    expect(JSON.stringify(template.toJSON())).not.toMatch(/Token[[_]/);
    for (const [type, property] of [
      ["AWS::SQS::Queue", "KmsMasterKeyId"],
      ["AWS::DynamoDB::Table", "SSESpecification"],
      ["AWS::Logs::LogGroup", "KmsKeyId"],
    ] as const) {
      const found = Object.values(template.findResources(type));
      expect(found).not.toEqual([]);
      for (const { Properties } of found) expect(Properties, type).toHaveProperty(property);
    }
  }
});
