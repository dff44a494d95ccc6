/** The functions of an app: one way to bundle them, and a role with the rights that they are given and no others. */
import { fileURLToPath } from "node:url";
import { Annotations, type Duration, type Size, Stack } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { type BundlingOptions, NodejsFunction, OutputFormat } from "aws-cdk-lib/aws-lambda-nodejs";
import type * as logs from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { checkApp } from "../check-app.ts";
import type { Config } from "../config/config.ts";
import { defined } from "../parse.ts";
import { isAnyBatch } from "../tasks/batch.ts";
import { isAnyLimited } from "../tasks/limits.ts";
import { checkHandler, type Maker } from "./entry.ts";
import { workerLog } from "./grants.ts";
import { checkRange, LIMITS } from "./limits.ts";
import { checkLiteral } from "./names.ts";

/** What a user may say of a function beyond its code. */
export interface FunctionOptions {
  /** Memory in MB, 128 to 10,240; CPU comes with it, one whole at 1,769. @default - `memorySize` of the queue, or 512 */
  readonly memorySize?: number | undefined;
  /** Environment variables, over those of the queue's declaration. @default - none */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** Lines below it are not written; at INFO a task writes about 600 bytes. Metrics are written at any level. @default lambda.ApplicationLogLevel.INFO */
  readonly logLevel?: lambda.ApplicationLogLevel | undefined;
  /** What native modules have to be built for. @default lambda.Architecture.ARM_64 */
  readonly architecture?: lambda.Architecture | undefined;
  /** Room in `/tmp`, 512 MB to 10,240 MB. @default Size.mebibytes(512) */
  readonly ephemeralStorageSize?: Size | undefined;
  /** Traces of AWS X-Ray. @default lambda.Tracing.DISABLED */
  readonly tracing?: lambda.Tracing | undefined;
  /** @default - the function runs outside of any VPC */
  readonly vpc?: ec2.IVpc | undefined;
  /** @default - the private subnets of `vpc` */
  readonly vpcSubnets?: ec2.SubnetSelection | undefined;
  /** @default - a security group of its own */
  readonly securityGroups?: ec2.ISecurityGroup[] | undefined;
  /** @default - none */
  readonly layers?: lambda.ILayerVersion[] | undefined;
  /**
   * The lock file by which `nodeModules` are installed; its name says by which package manager, which also runs esbuild.
   * @default - the one that is found upwards from the folder in which `cdk` runs
   */
  readonly depsLockFilePath?: string | undefined;
  /** The folder in which esbuild runs: the entry and the lock file have to be in it or below. @default - the folder of the lock file */
  readonly projectRoot?: string | undefined;
}

const SHARED = [
  "architecture",
  "tracing",
  "vpc",
  "vpcSubnets",
  "securityGroups",
  "depsLockFilePath",
  "projectRoot",
] as const satisfies readonly (keyof FunctionOptions)[];

/** What may be said of all functions at once, beat's too. */
export type SharedFunctionOptions = Pick<FunctionOptions, (typeof SHARED)[number]>;

/** Of these options what may be said of all functions, as far as it is said. */
export function sharedOptions(options: SharedFunctionOptions): SharedFunctionOptions {
  return defined(Object.fromEntries(SHARED.map((name) => [name, options[name]])));
}

export interface TaskFunctionProps extends FunctionOptions {
  readonly app: Lovage;
  readonly entry: string;
  /** What makes the handler of such a function. */
  readonly maker: Maker;
  readonly timeout: Duration;
  readonly logRetention: logs.RetentionDays;
  /** Encrypts the log. */
  readonly encryptionKey?: kms.IKey | undefined;
  readonly reservedConcurrency?: number | undefined;
  readonly deadLetterQueue?: lambda.FunctionProps["deadLetterQueue"];
  readonly bundling?: TaskBundling | undefined;
  /** Whether the deployment has EventBridge Scheduler: its client is bundled then. */
  readonly longDelays?: boolean;
  /** Whether the deployment keeps large texts: what does so is bundled then. */
  readonly payloads?: boolean;
}

const DEFAULT_MEMORY_MB = 512;

/**
 * Regions whose Lambda detects no loops, and where nothing can be said of that. They become fewer:
 * https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html#invocation-recursion-regions
 */
const WITHOUT_LOOP_DETECTION = /^(us-gov-|us-iso|eu-iso|mx-central-1$|ap-southeast-6$)/;

/** Makes a function below `scope`, with its role and its log group. */
export function taskFunction(scope: Construct, id: string, props: TaskFunctionProps): NodejsFunction {
  const home = new Construct(scope, id);
  const logGroup = workerLog(home, props);
  const role = new iam.Role(home, "Role", { assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com") });
  role.addToPrincipalPolicy(
    new iam.PolicyStatement({
      actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
      resources: [logGroup.logGroupArn],
    }),
  );
  if (props.vpc !== undefined) {
    role.addManagedPolicy(iam.ManagedPolicy.fromAwsManagedPolicyName("service-role/AWSLambdaVPCAccessExecutionRole"));
  }
  const architecture = props.architecture ?? lambda.Architecture.ARM_64;
  checkLiteral("ephemeralStorageSize", props.ephemeralStorageSize);
  checkRange("ephemeralStorageSize", props.ephemeralStorageSize?.toMebibytes(), LIMITS.ephemeralStorageSize);
  warnOfNativeModules(home, props.bundling, architecture);
  checkHandler(home, props.entry, props.maker, props.bundling?.format !== OutputFormat.CJS);
  return new NodejsFunction(home, "Function", {
    entry: props.entry,
    handler: "handler",
    runtime: lambda.Runtime.NODEJS_24_X,
    ...sharedOptions(props),
    architecture,
    memorySize: props.memorySize ?? DEFAULT_MEMORY_MB,
    timeout: props.timeout,
    role,
    logGroup,
    // A retry, a chain's next step and a hop to a far ETA are messages of a worker to its own queue. Lambda takes more than
    // about sixteen of them in a row for a loop gone wild, by the trace header, and would stop them.
    ...(WITHOUT_LOOP_DETECTION.test(Stack.of(home).region) ? {} : { recursiveLoop: lambda.RecursiveLoop.ALLOW }),
    loggingFormat: lambda.LoggingFormat.JSON,
    systemLogLevelV2: lambda.SystemLogLevel.WARN,
    ...(props.logLevel === undefined ? {} : { applicationLogLevelV2: props.logLevel }),
    environment: { NODE_OPTIONS: "--enable-source-maps", ...props.environment },
    bundling: bundlingFor(props.app, {
      journal: false,
      ...props.bundling,
      longDelays: props.longDelays ?? false,
      ...(props.payloads === undefined ? {} : { payloads: props.payloads }),
    }),
    ...(props.reservedConcurrency === undefined ? {} : { reservedConcurrentExecutions: props.reservedConcurrency }),
    ...(props.deadLetterQueue === undefined ? {} : { deadLetterQueue: props.deadLetterQueue }),
    ...(props.ephemeralStorageSize === undefined ? {} : { ephemeralStorageSize: props.ephemeralStorageSize }),
    ...(props.layers === undefined ? {} : { layers: props.layers }),
  });
}

/** `nodeModules` are installed where the CDK runs, with what is native built for that machine. */
function warnOfNativeModules(scope: Construct, bundling: TaskBundling | undefined, wanted: lambda.Architecture): void {
  const { nodeModules = [], forceDockerBundling = false } = bundling ?? {};
  const here = process.platform === "linux" ? { x64: "x86_64", arm64: "arm64" }[process.arch as string] : undefined;
  if (nodeModules.length === 0 || forceDockerBundling || here === wanted.name) return;
  Annotations.of(scope).addWarningV2(
    "lovage:nodeModules.architecture",
    `nodeModules (${nodeModules.join(", ")}) are installed on this machine (${process.platform} ${process.arch}) for a function on linux ${wanted.name}: what is native among them does not load there. Set forceDockerBundling in bundling, or an architecture that is this machine's`,
  );
}

/** What a bundle has in another's place, and the module that it has there. */
const REPLACED = {
  "#aws/dynamodb": "aws/bundled-dynamodb",
  "#aws/eventbridge": "aws/bundled-eventbridge",
  "#aws/s3": "aws/bundled-s3",
  "#aws/scheduler": "aws/bundled-scheduler",
  "#aws/sqs": "aws/bundled-sqs",
  "#on-demand": "at-once",
  // For the SDK's clients that tasks of yours may bring along.
  "@aws-sdk/credential-provider-node": "aws/credentials",
} as const;

/**
 * The settings that a deployment goes by. Those of the environment say where the shell that deploys sends its own calls, which
 * may be another deployment: with its prefix and its table everything here would be replaced by what is called as there.
 */
export function declaredConfig(app: Lovage): Config {
  checkApp(app);
  return app.engine.declaredConfig({ resultBackend: "dynamodb://" });
}

/** How functions are bundled: the CDK's options, which go over ours, and what is said of AWS's clients. */
export interface TaskBundling extends BundlingOptions {
  /**
   * Whether the bundle has the AWS SDK's clients, 417 KB for SQS, DynamoDB and EventBridge. The client that it has in their
   * place has 10 KB, and the credentials of the function's environment. @default - `forceDockerBundling`: a container, which
   * sees the project alone, has the SDK's in any case
   */
  readonly awsSdk?: boolean | undefined;
  /**
   * Whether what reads the journal is bundled too: `app.journal` and `app.workflow`, 9 KB. Workers write it in any case; one that
   * reads it needs `grantInspect` as well. @default false in functions of `TaskQueues`, else true
   */
  readonly journal?: boolean | undefined;
}

/** How one function is bundled. */
export interface FunctionBundling extends TaskBundling {
  /**
   * Whether EventBridge Scheduler is bundled too. Without it long delays begin as short ones, and the worker that gets the
   * message has it kept. @default false
   */
  readonly longDelays?: boolean | undefined;
  /** Whether what keeps large texts in S3 is bundled too. @default - where `payloadStore` of the app names a bucket */
  readonly payloads?: boolean | undefined;
}

/** Dependencies that are CommonJS, the SDK among them, require Node's modules, which an ES module has to be given a way to. */
const REQUIRE =
  "import { createRequire as createRequireOfBundle } from 'node:module';const require = createRequireOfBundle(import.meta.url);";

/** What else they have, and an ES module does not: said only where it is used and not declared. */
const COMMONJS = { __dirname: "import.meta.dirname", __filename: "import.meta.filename" };

/**
 * How the functions of an app are bundled: one ES module with all that it needs and nothing else. It serves a function of
 * yours that calls tasks as well: `new NodejsFunction(this, "Api", { bundling: bundlingFor(app) })`.
 *
 * Options of yours go over these; a banner, definitions and aliases of yours are added to these. With
 * `format: OutputFormat.CJS` the bundle is CommonJS.
 */
export function bundlingFor(app: Lovage, options: FunctionBundling = {}): BundlingOptions {
  const {
    longDelays = false,
    awsSdk = false,
    journal = true,
    payloads = declaredConfig(app).payloadStore?.startsWith("s3:") ?? false,
    ...given
  } = options;
  const own = defined(given);
  // Ours are told by their paths on this machine, which mean nothing in a container.
  const hasSdk = awsSdk || own.forceDockerBundling === true;
  const { acceptContent, resultAcceptContent, taskSerializer, resultSerializer } = app.config;
  const serializers = [
    ...acceptContent,
    ...resultAcceptContent,
    taskSerializer,
    resultSerializer,
    ...app.engine.allDeclared().map(({ options }) => options.serializer ?? "json"),
  ];
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const aliases = Object.entries(REPLACED).map(
    ([name, module]) => `${name}=${fileURLToPath(new URL(`../${module}.${extension}`, import.meta.url))}`,
  );
  const isModule = own.format !== OutputFormat.CJS;
  const banner = [isModule ? REQUIRE : "", own.banner ?? ""].filter((text) => text !== "").join("\n");
  return {
    format: OutputFormat.ESM,
    // Functions of yours may run on either of Lambda's; those of TaskQueues run on 24.
    target: "node22",
    // What Lambda has of the SDK is older than what was tested, and loads slower than what a bundle has.
    externalModules: [],
    minify: true,
    // The class of an error is data here: results tell its name.
    keepNames: true,
    sourceMap: true,
    sourcesContent: false,
    // The SDK as ES modules can be shaken.
    mainFields: ["module", "main"],
    ...own,
    ...(banner === "" ? {} : { banner }),
    define: {
      LOVAGE_BUNDLE: '"aws"',
      LOVAGE_SCHEDULER: String(longDelays),
      LOVAGE_LIMITS: String(isAnyLimited(app.engine)),
      LOVAGE_BATCHES: String(isAnyBatch(app.engine)),
      LOVAGE_JOURNAL: String(journal),
      LOVAGE_PAYLOADS: String(payloads),
      LOVAGE_BANDS: String(Object.values(app.config.taskQueues).some(({ priorities }) => priorities !== undefined)),
      ...(serializers.every((serializer) => serializer === "json") ? { LOVAGE_JSON_ONLY: "true" } : {}),
      ...(app.engine.hasForeignNames ? {} : { LOVAGE_OWN_NAMES: "true" }),
      ...(isModule ? COMMONJS : {}),
      ...own.define,
    },
    esbuildArgs: {
      ...own.esbuildArgs,
      "--alias": [...(hasSdk ? [] : aliases), ...[own.esbuildArgs?.["--alias"] ?? []].flat().map(String)],
    },
  };
}
