/** What a client of AWS costs in a function's bundle: Lovage's own, the SDK's, and one that is put together from the SDK's parts. */
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { build } from "esbuild";
import { ENV, SHARED } from "./bundles.ts";
import { CACHE } from "./cache.ts";
import { check, compare, type Contender } from "./compare.ts";
import { start } from "./processes.ts";

const HANDLERS = join(import.meta.dirname, "handlers");
const SEND = join(HANDLERS, "send.js");
const REQUESTS = Number(process.env["BENCH_REQUESTS"] ?? 3000);

/** One kind of request to a service, as all three ask it. Texts are JavaScript. */
interface Kind {
  readonly work: string;
  /** `@aws-sdk/client-<package>`. */
  readonly package: string;
  /** `src/aws/bundled-<own>.ts`. */
  readonly own: string;
  readonly client: string;
  readonly command: string;
  readonly input: string;
  /** Of the SDK's client, as Lovage makes it where it is used. */
  readonly options?: string;
  /** What is signed for. */
  readonly service: string;
  /** What the client of the parts has to make of the input by itself. */
  readonly parts: { readonly method: string; readonly path: string; readonly headers: object; readonly body: string };
  readonly answer: object | string;
}

const json = (target: string, version: string) => ({
  method: "POST",
  path: "/",
  headers: { "content-type": `application/x-amz-json-${version}`, "x-amz-target": target },
  body: "JSON.stringify(input)",
});

const KINDS: Readonly<Record<string, Kind>> = {
  SQS: {
    work: "batches of ten messages of 500 B",
    package: "sqs",
    own: "sqs",
    client: "SQSClient",
    command: "SendMessageBatchCommand",
    input:
      '{ QueueUrl: "https://sqs.us-east-1.amazonaws.com/000000000000/bench", Entries: Array.from({ length: 10 }, (_, index) => ({ Id: String(index), MessageBody: "x".repeat(500) })) }',
    // As `brokers/sqs.ts` has it: the two checks cost more than they tell.
    options: "md5: false, useQueueUrlAsEndpoint: false",
    service: "sqs",
    parts: json("AmazonSQS.SendMessageBatch", "1.0"),
    answer: { Successful: Array.from({ length: 10 }, (_, index) => ({ Id: String(index), MessageId: String(index) })) },
  },
  DynamoDB: {
    work: "rows with 500 B of bytes",
    package: "dynamodb",
    own: "dynamodb",
    client: "DynamoDBClient",
    command: "PutItemCommand",
    input:
      '{ TableName: "results", Item: { id: { S: "celery-task-meta-1" }, result: { B: Buffer.alloc(500, "x") }, attempt: { N: "1" } } }',
    service: "dynamodb",
    parts: {
      ...json("DynamoDB_20120810.PutItem", "1.0"),
      body: 'JSON.stringify(input, (_, value) => value?.type === "Buffer" ? Buffer.from(value.data).toString("base64") : value)',
    },
    answer: {},
  },
  EventBridge: {
    work: "rules",
    package: "eventbridge",
    own: "eventbridge",
    client: "EventBridgeClient",
    command: "PutRuleCommand",
    input: '{ Name: "celery-beat-1", ScheduleExpression: "rate(1 minute)" }',
    service: "events",
    parts: json("AWSEvents.PutRule", "1.1"),
    answer: { RuleArn: "arn:aws:events:us-east-1:000000000000:rule/celery-beat-1" },
  },
  Scheduler: {
    work: "entries with a message of 500 B",
    package: "scheduler",
    own: "scheduler",
    client: "SchedulerClient",
    command: "CreateScheduleCommand",
    input:
      '{ Name: "one", GroupName: "shop", ScheduleExpression: "at(2026-12-01T00:00:00)", FlexibleTimeWindow: { Mode: "OFF" }, Target: { Arn: "arn:aws:sqs:us-east-1:000000000000:celery", RoleArn: "arn:aws:iam::000000000000:role/delays", Input: "x".repeat(500) } }',
    service: "scheduler",
    parts: {
      method: "POST",
      path: "/schedules/one",
      headers: { "content-type": "application/json" },
      body: "JSON.stringify({ ClientToken: crypto.randomUUID(), ...input, Name: undefined })",
    },
    answer: { ScheduleArn: "arn:aws:scheduler:us-east-1:000000000000:schedule/shop/one" },
  },
  S3: {
    work: "texts of 100 KB",
    package: "s3",
    own: "s3",
    client: "S3Client",
    command: "PutObjectCommand",
    input: '{ Bucket: "texts", Key: "60d/one", Body: Buffer.alloc(100_000, "x"), ContentLength: 100_000 }',
    options:
      'forcePathStyle: true, requestChecksumCalculation: "WHEN_REQUIRED", responseChecksumValidation: "WHEN_REQUIRED"',
    service: "s3",
    parts: {
      method: "PUT",
      path: "/texts/60d/one",
      headers: { "content-type": "application/json" },
      body: "input.Body.toString()",
    },
    answer: "",
  },
};

/** An AWS that takes what it is asked by all three and answers at once: what is left is the client's own work. */
async function startFakeAws({ service, parts, answer }: Kind) {
  const target = (parts.headers as Readonly<Record<string, string>>)["x-amz-target"];
  const scope = new RegExp(`^AWS4-HMAC-SHA256 Credential=bench/\\d+/us-east-1/${service}/`);
  const type = typeof answer === "string" ? "application/xml" : "application/json";
  const text = typeof answer === "string" ? answer : JSON.stringify(answer);
  const server = createServer(async (request, response) => {
    const { length } = await buffer(request);
    const [path] = (request.url ?? "").split("?");
    const isRight =
      length > 0 &&
      request.method === parts.method &&
      path === parts.path &&
      request.headers["x-amz-target"] === target &&
      scope.test(request.headers.authorization ?? "");
    const refusal = JSON.stringify({ __type: "InvalidAction", message: "not what was asked for" });
    response.writeHead(isRight ? 200 : 400, { "content-type": type }).end(isRight ? text : refusal);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** In milliseconds, as `lovage` has them. */
const TIMEOUTS = "{ connectionTimeout: 1000, requestTimeout: 5000 }";

const withClient = (module: string, { client, command, input }: Kind, options = "") => `
  import { ${client}, ${command} } from "${module}";
  const client = new ${client}({ requestHandler: ${TIMEOUTS}, ${options} });
  const input = ${input};
  export const send = () => client.send(new ${command}(input));`;

const resolverOf = (kind: Kind) => `@aws-sdk/client-${kind.package}/dist-es/endpoint/endpointResolver.js`;

const withParts = (kind: Kind) => `
  import { defaultEndpointResolver } from "${resolverOf(kind)}";
  import { partsOf } from "./bench/handlers/parts.ts";
  const ask = partsOf("${kind.service}", defaultEndpointResolver, ${TIMEOUTS});
  const input = ${kind.input};
  const { body: _, ...asked } = ${JSON.stringify(kind.parts)};
  export const send = () => ask({ ...asked, body: ${kind.parts.body} });`;

/** What each part does, by the SDK's and by ours. Of endpoints each client of the SDK's has the rules of its own service. */
const PARTS: Readonly<Record<string, readonly [theirs: string, ours?: string]>> = {
  "to sign": ['export { SignatureV4 } from "@smithy/signature-v4"', 'export { signed } from "./src/aws/sign.ts"'],
  ...Object.fromEntries(
    Object.entries(KINDS).map(([name, kind]) => [
      `endpoints of ${name}`,
      [
        `export { defaultEndpointResolver } from "${resolverOf(kind)}"`,
        'export { endpointOf } from "./src/aws/endpoint.ts"',
      ],
    ]),
  ),
  "retries and their quota": ['export { StandardRetryStrategy } from "@smithy/core/retry"'],
  "which errors are tried again": [
    'export { isServerError, isThrottlingError, isTransientError } from "@smithy/core/retry"',
  ],
  HTTP: ['export { NodeHttpHandler } from "@smithy/node-http-handler"'],
  "retries, errors and HTTP": [
    'export { isServerError, isThrottlingError, isTransientError, StandardRetryStrategy } from "@smithy/core/retry"; export { NodeHttpHandler } from "@smithy/node-http-handler"',
    'export { clientOf } from "./src/aws/client.ts"',
  ],
};

const ofText = (contents: string) => ({
  ...SHARED,
  stdin: { contents, loader: "ts", resolveDir: join(import.meta.dirname, "..") } as const,
  bundle: true,
});

/** Of a module that has this alone, in KB. */
async function sizeOf(contents: string | undefined): Promise<string> {
  if (contents === undefined) return "within the last";
  const { outputFiles } = await build({ ...ofText(contents), banner: {}, write: false });
  return `${((outputFiles[0]?.contents.length ?? 0) / 1000).toFixed(1)} KB`;
}

async function contender(
  name: string,
  file: string,
  contents: string,
  env: Readonly<Record<string, string>>,
): Promise<Contender> {
  const folder = join(CACHE, "clients");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `${file}.mjs`);
  const { metafile } = await build({ ...ofText(contents), outfile, metafile: true });
  const bytes = Object.values(metafile.outputs)[0]?.bytes ?? 0;
  return {
    name,
    async round() {
      const child = start(process.execPath, [SEND, outfile, String(REQUESTS)], { env });
      const { importMs, importCpuMs } = await child.next("imported");
      const { cpu, wall } = await child.next("warm");
      await child.stop();
      check(Number(cpu) > 0, "no CPU was used");
      return {
        bundle: bytes / 1000,
        import: Number(importMs),
        "import, CPU": Number(importCpuMs),
        "a request, CPU": Number(cpu),
        "a request": Number(wall),
      };
    },
  };
}

export async function client(): Promise<void> {
  for (const [part, [theirs, ours]] of Object.entries(PARTS))
    console.log(`${part}: the SDK's ${await sizeOf(theirs)}, Lovage's own ${await sizeOf(ours)}`);
  for (const [name, kind] of Object.entries(KINDS)) {
    const { server, endpoint } = await startFakeAws(kind);
    const env = { ...ENV, AWS_ENDPOINT_URL: endpoint };
    const file = (side: string) => `${kind.package}-${side}`;
    const own = withClient(`./src/aws/bundled-${kind.own}.ts`, kind);
    const sdk = withClient(`@aws-sdk/client-${kind.package}`, kind, kind.options);
    try {
      await compare({
        name: `client of ${name}`,
        work: `${REQUESTS} requests, ${kind.work}, one after the other, to a service that answers at once`,
        metrics: {
          bundle: { unit: "KB", better: "less" },
          import: { unit: "ms", better: "less" },
          "import, CPU": { unit: "ms", better: "less" },
          "a request, CPU": { unit: "µs", better: "less" },
          "a request": { unit: "µs", better: "less" },
        },
        contenders: [
          await contender("Lovage's own", file("own"), own, env),
          await contender("the SDK's", file("sdk"), sdk, env),
          await contender("of the SDK's parts", file("parts"), withParts(kind), env),
        ],
      });
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }
}
