/** The templates as an architect reads them: five of cdk-nag's packs, AWS's schemas by cfn-lint, and what must not be replaced. */
import { execFile, execFileSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { App, Validations } from "aws-cdk-lib";
import { AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks, PCIDSS321Checks, ServerlessChecks } from "cdk-nag";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { skipped } from "../skipped.ts";
import { allStacks } from "./stacks.ts";

const outdir = mkdtempSync(join(tmpdir(), "lovage-architect-"));
afterAll(() => rmSync(outdir, { recursive: true }));

/** A rule with what it found, as `rule construct`. */
let findings: readonly string[] = [];
beforeAll(() => {
  // Which test/temporary.ts has set for all others.
  vi.stubEnv("CDK_VALIDATION", undefined);
  const app = new App({ outdir, context: { "aws:cdk:bundling-stacks": [] } });
  allStacks(app);
  const packs = [AwsSolutionsChecks, ServerlessChecks, NIST80053R5Checks, HIPAASecurityChecks, PCIDSS321Checks].map(
    (Pack) => new Pack(app),
  );
  Validations.of(app).addPlugins(...packs);
  // It throws where something is found, having written the templates and what was found.
  try {
    app.synth();
  } catch (error) {
    if (!/ERROR/.test(String(error))) throw error;
  } finally {
    vi.unstubAllEnvs();
  }
  const report = JSON.parse(readFileSync(join(outdir, "validation-report.json"), "utf8")) as {
    readonly pluginReports: readonly {
      readonly violations: readonly {
        readonly ruleName: string;
        readonly violatingConstructs: readonly { readonly constructPath: string }[];
      }[];
    }[];
  };
  findings = report.pluginReports.flatMap(({ violations }) =>
    violations.flatMap(({ ruleName, violatingConstructs }) =>
      // NIST.800.53.R5, HIPAA.Security and PCI.DSS.321, of which the first word says enough.
      violatingConstructs.map(
        ({ constructPath }) => `${ruleName.replace(/^(NIST|HIPAA|PCI)[\w.]+/, "$1")} ${constructPath}`,
      ),
    ),
  );
}, 240_000);

test("a second synthesis has the same templates, to the byte", { timeout: 240_000 }, () => {
  const app = new App({ context: { "aws:cdk:bundling-stacks": [] } });
  allStacks(app);
  const { stacks } = app.synth();
  expect(stacks.length).toBeGreaterThan(9);
  for (const { templateFile, templateFullPath } of stacks)
    expect(
      readFileSync(templateFullPath, "utf8") === readFileSync(join(outdir, templateFile), "utf8"),
      templateFile,
    ).toBe(true);
});

/** What is found and stays, with the reason. Each is for what it matches and no more. */
const ACCEPTED: readonly (readonly [finding: RegExp, reason: string])[] = [
  // Of the construct.
  [/^Serverless-SQSRedrivePolicy \S+DeadLetters\//, "dead letters are where messages end"],
  [/^(Serverless|NIST|HIPAA)-LambdaDLQ \S+\/Queue-\S+\/Worker\//, "called by SQS: its messages have dead letters"],
  [
    /^Serverless-LambdaEventSourceMappingDestination \S+\/Messages\//,
    "the worker moves dead letters, with their reason",
  ],
  [/^Serverless-LambdaTracing \S+\/Tasks\//, "a prop: it costs by the trace"],
  [/^(NIST|HIPAA|PCI)-CloudWatchAlarmAction /, "a prop (alarmActions): who is to be told, the user knows"],
  [
    /^(NIST|HIPAA|PCI)-CloudWatchLogGroupEncrypted /,
    "a prop (encryptionKey): CloudWatch encrypts with a key of its own",
  ],
  [/^(NIST|HIPAA|PCI)-DynamoDBInBackupPlan /, "point-in-time recovery is on; a plan is the account's"],
  [/^(NIST|HIPAA|PCI)-IAMNoInlinePolicy /, "a policy for one role, deleted with it"],
  [/^(NIST|HIPAA|PCI)-LambdaConcurrency /, "the event source bounds it (maxConcurrency)"],
  [/^(NIST|HIPAA|PCI)-LambdaInsideVPC /, "a prop (vpc): it speaks to AWS alone"],
  [
    /^AwsSolutions-IAM4\[\S+AWSLambdaVPCAccessExecutionRole\] Network\/Tasks\//,
    "Lambda's interfaces in a VPC have no names before they are made",
  ],
  [/^AwsSolutions-IAM5\[Resource::\*\] Network\/Tasks\/\S+\/Role\//, "X-Ray takes no resource"],
  [
    /^AwsSolutions-IAM5\[Resource::\*\] Studio\/\S+\/ExecutionRole\//,
    "a login to the registry of images takes no resource",
  ],
  // Of what users are granted who look at all, or put entries at run time.
  [
    /^AwsSolutions-IAM5\[Resource::\*\] \w+\/Operator\//,
    "lists of metrics, alarms, event sources and rules take no resource",
  ],
  [
    /^AwsSolutions-IAM5\[Resource::arn:\S+:rule\/\w+-beat\.\*\] \w+\/Operator\//,
    "rules that are put at run time have no names before",
  ],
  // Of the VPC that containers have where none is given.
  [
    /^(NIST|HIPAA|PCI)-VPC\w+ (Studio\/Tasks\/Vpc|Network\/Vpc)\//,
    "containers fetch messages from the Internet's side; give a vpc of your own for more",
  ],
  // Of the examples' own functions and table, which are there to be short.
  [/^Serverless-LambdaDefault(Memory\w+|Timeout) (Market\/Api|Reports\/Service)\//, "an example's own function"],
  [
    /^(Serverless-LambdaTracing|(Serverless|NIST|HIPAA)-LambdaDLQ) (Market\/Api|Reports\/Service)\//,
    "an example's own function",
  ],
  [
    /^AwsSolutions-IAM4\[\S+AWSLambdaBasicExecutionRole\] (Market|Reports)\//,
    "the CDK's role of an example's own function",
  ],
  [/^(AwsSolutions-DDB3|(NIST|HIPAA)-DynamoDBPITREnabled) Market\/Carts\//, "an example's own table"],
];

test("AWS's Solutions, Serverless, NIST, HIPAA and PCI packs find nothing but what has a reason to stay", () => {
  expect(findings.length).toBeGreaterThan(0);
  expect(findings.filter((finding) => !ACCEPTED.some(([pattern]) => pattern.test(finding)))).toEqual([]);
});

test("each reason is for something that is found", () => {
  expect(ACCEPTED.filter(([pattern]) => !findings.some((finding) => pattern.test(finding)))).toEqual([]);
});

test("queues, tables and buckets keep their logical ids and names: others would be new ones, without what is in them", async () => {
  const kept = globSync("*.template.json", { cwd: outdir })
    .sort()
    .flatMap((file) => {
      const { Resources } = JSON.parse(readFileSync(join(outdir, file), "utf8")) as {
        readonly Resources: Readonly<
          Record<string, { readonly Type: string; readonly Properties?: Readonly<Record<string, unknown>> }>
        >;
      };
      return Object.entries(Resources)
        .filter(([, { Type }]) => /::(SQS::Queue|DynamoDB::Table|S3::Bucket)$/.test(Type))
        .map(([id, { Type, Properties }]) => {
          const name = Properties?.["QueueName"] ?? Properties?.["TableName"] ?? Properties?.["BucketName"] ?? "";
          return `${file.split(".")[0]} ${Type} ${id} ${JSON.stringify(name)}`;
        });
    });
  await expect(`${kept.sort().join("\n")}\n`).toMatchFileSnapshot("logical-ids.txt");
});

function findLinter(): string | undefined {
  const script = join(import.meta.dirname, "../../scripts/emulators/cfn-lint.sh");
  try {
    return execFileSync(script, ["run"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
  } catch (error) {
    if ((error as { status?: unknown }).status !== 69) throw error;
    return skipped("cfn-lint runs with Python 3.10 to 3.13", error);
  }
}
const linter = findLinter();

describe.skipIf(linter === undefined)("cfn-lint", () => {
  const lint = async (...files: readonly string[]) => {
    // W3005: a dependency that a reference makes already, which the CDK writes of each function on its role.
    const args = ["--regions", "us-east-1", "--ignore-checks", "W3005", "--format", "parseable", "--", ...files];
    return promisify(execFile)(linter ?? "", args).then(
      ({ stdout }) => stdout,
      (error: { readonly stdout: string }) => error.stdout,
    );
  };

  test("finds nothing that AWS's schemas refuse, and nothing that it warns of", { timeout: 240_000 }, async () => {
    const templates = globSync("*.template.json", { cwd: outdir }).map((file) => join(outdir, file));
    expect(templates.length).toBeGreaterThanOrEqual(10);
    expect(await lint(...templates)).toBe("");
  });

  test("would find a value out of its range", async () => {
    const file = join(outdir, "bad.json");
    const Properties = { VisibilityTimeout: 50_000, Colour: "red" };
    writeFileSync(file, JSON.stringify({ Resources: { Queue: { Type: "AWS::SQS::Queue", Properties } } }));
    const said = await lint(file);
    for (const rule of ["E3002", "E3034"]) expect(said).toContain(rule);
  });
});
