/** docs/how-to/deploy-without-the-cdk.md says what `TaskQueues` makes, and a worker that is bundled so loads. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { folderInCheckout } from "../temporary.ts";
import { allowed, deploy, resources, roleOf, shop } from "./deployment.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/how-to/deploy-without-the-cdk.md"), "utf8");
const [, yaml = ""] = /^```yaml[^\n]*\n([\s\S]*?)^```$/m.exec(page) ?? [];
const written = parse(yaml) as { readonly Resources: Readonly<Record<string, Made>> };

interface Made {
  readonly Type: string;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  readonly Metadata: {
    readonly BuildProperties: { readonly Minify?: boolean; readonly External: string[]; readonly Target: string };
  };
  readonly Properties: Record<string, never>;
}

test("queues, tables, function and event source are those of the construct", () => {
  const { template } = deploy(shop({ taskQueues: { celery: { timeLimit: 60 } } }), {
    prefix: "shop-",
    enforceSSL: false,
  });
  const made = Object.values(resources(template(), "AWS::SQS::Queue"));
  const tables = Object.values(resources(template(), "AWS::DynamoDB::Table"));
  for (const { Type, Properties } of Object.values(written.Resources)) {
    const { RedrivePolicy, ...plain } = Properties as Record<string, unknown>;
    if (Type === "AWS::SQS::Queue") {
      expect(made.map((queue) => queue.Properties)).toContainEqual(expect.objectContaining(plain));
      if (RedrivePolicy !== undefined)
        expect(made).toContainEqual(
          expect.objectContaining({
            Properties: expect.objectContaining({
              RedrivePolicy: expect.objectContaining({
                maxReceiveCount: (RedrivePolicy as { maxReceiveCount: number }).maxReceiveCount,
              }),
            }),
          }),
        );
    }
    if (Type === "AWS::DynamoDB::Table")
      expect(tables.map((table) => table.Properties)).toContainEqual(
        expect.objectContaining({ ...plain, AttributeDefinitions: expect.anything() }),
      );
  }
  const { Timeout, MemorySize, RecursiveLoop, Runtime, Events } = written.Resources["Worker"]?.Properties ?? {};
  template().hasResourceProperties("AWS::Lambda::Function", { Timeout, MemorySize, RecursiveLoop, Runtime });
  const { Queue: _, ...source } = (Events as unknown as { Messages: { Properties: Record<string, unknown> } }).Messages
    .Properties;
  template().hasResourceProperties("AWS::Lambda::EventSourceMapping", source);
});

test("what has data stays, as of the construct, when it is deleted or replaced", () => {
  const { template } = deploy(shop(), { prefix: "shop-", beatEntry: undefined });
  const named = (all: Readonly<Record<string, Made>>) =>
    Object.fromEntries(
      Object.values(all).flatMap(({ Type, Properties, DeletionPolicy = "Delete", UpdateReplacePolicy = "Delete" }) =>
        /Queue$|Table$/.test(Type)
          ? [[`${Type} ${Properties["QueueName"] ?? Properties["TableName"]}`, [DeletionPolicy, UpdateReplacePolicy]]]
          : [],
      ),
    );
  expect(named(written.Resources)).toEqual(named(template().toJSON()["Resources"] as typeof written.Resources));
});

test("its rights are those of the construct's worker", () => {
  const deployment = deploy(shop());
  const actions = new Set(
    allowed(deployment, roleOf(deployment.tasks.queue("celery").function)).map((right) => right.split(" ")[0] ?? ""),
  );
  const [policy] = (written.Resources["Worker"]?.Properties["Policies"] ?? []) as unknown as {
    Statement: { Action: string[] }[];
  }[];
  // Where SAM makes the role, it adds what a log needs.
  const wanted = [...actions].filter((action) => !action.startsWith("logs:"));
  expect([...new Set(policy?.Statement.flatMap(({ Action }) => Action))].sort()).toEqual(wanted.sort());
});

const { Minify, External, Target } = written.Resources["Worker"]?.Metadata.BuildProperties ?? {
  External: [],
  Target: "",
};
const [, command = ""] = /^npx esbuild worker\.ts (.*)$/m.exec(page) ?? [];
const flags = (command.match(/"[^"]*"|\S+/g) ?? []).map((flag) => flag.replaceAll('"', ""));
const SAM: BuildOptions = {
  bundle: true,
  platform: "node",
  format: "cjs",
  minify: Minify ?? true,
  external: External,
  target: Target,
};
const TERRAFORM: BuildOptions = {
  bundle: flags.includes("--bundle"),
  platform: "node",
  format: "cjs",
  minify: flags.includes("--minify"),
  keepNames: flags.includes("--keep-names"),
  external: flags.flatMap((flag) => /^--external:(.*)/.exec(flag)?.[1] ?? []),
  target: "node22",
};

/** What a worker says that is bundled so: of an event, in its log, and of an error that its task throws. */
async function said(options: BuildOptions): Promise<readonly string[]> {
  const folder = folderInCheckout("bundled-");
  const outfile = join(folder, "worker.cjs");
  const entry = join(folder, "worker.ts");
  writeFileSync(
    entry,
    `import { Lovage } from "lovage";
    import { createWorkerHandler } from "lovage/lambda";
    class CardDeclined extends Error {}
    const app = new Lovage("shop");
    const pay = app.task("shop.pay", () => { throw new CardDeclined("no funds"); });
    export const handler = createWorkerHandler(app);
    export const nameOfError = async () => (await pay.apply()).get().catch((error) => error.name);`,
  );
  await build({ ...options, entryPoints: [entry], logLevel: "error", outfile });
  const script = `
    const { handler, nameOfError } = require(${JSON.stringify(outfile)});
    handler({ Records: [] }, { awsRequestId: "r", getRemainingTimeInMillis: () => 1000 })
      .then(async (said) => console.log(JSON.stringify(said) + "\\n" + await nameOfError()));`;
  const env = { LOVAGE_BROKER_URL: "sqs://eu-west-1", LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/shop-celery" };
  return execFileSync(process.execPath, ["-e", script], { env, encoding: "utf8" }).trim().split("\n");
}

test.each([
  ["SAM", SAM],
  ["Terraform", TERRAFORM],
])(
  "a worker that is bundled as for %s loads, handles an event, and tells errors by their names",
  async (_, options) => {
    expect(await said(options)).toEqual(['{"batchItemFailures":[]}', "CardDeclined"]);
  },
);

test("a worker whose bundler has shortened the names of classes says so in its log", async () => {
  const [line = "", ...rest] = await said({ ...TERRAFORM, keepNames: false });
  expect(JSON.parse(line)).toMatchObject({
    level: "WARN",
    message: expect.stringMatching(/names of classes.*--keep-names/),
  });
  expect(rest).toEqual(['{"batchItemFailures":[]}', expect.not.stringContaining("CardDeclined")]);
});
