/**
 * Every error that AWS's models give to an operation that is used, the errors that all services share, and answers that are none: the
 * SDK's client and that of bundles make the same of each, and `docs/reference/errors.md` has it.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import * as sdkCloudwatch from "@aws-sdk/client-cloudwatch";
import * as sdkLambda from "@aws-sdk/client-lambda";
import * as sdkSts from "@aws-sdk/client-sts";
import * as bundledCloudwatch from "../../src/aws/bundled-cloudwatch.ts";
import * as bundledDynamodb from "../../src/aws/bundled-dynamodb.ts";
import * as bundledEvents from "../../src/aws/bundled-eventbridge.ts";
import * as bundledLambda from "../../src/aws/bundled-lambda.ts";
import * as bundledS3 from "../../src/aws/bundled-s3.ts";
import * as bundledScheduler from "../../src/aws/bundled-scheduler.ts";
import * as bundledSqs from "../../src/aws/bundled-sqs.ts";
import * as bundledSts from "../../src/aws/bundled-sts.ts";
import { translateError } from "../../src/aws/errors.ts";
import * as sdkDynamodb from "../../src/aws/sdk-dynamodb.ts";
import * as sdkEvents from "../../src/aws/sdk-eventbridge.ts";
import * as sdkS3 from "../../src/aws/sdk-s3.ts";
import * as sdkScheduler from "../../src/aws/sdk-scheduler.ts";
import * as sdkSqs from "../../src/aws/sdk-sqs.ts";
import { isLasting, type LovageError, OperationalError } from "../../src/errors.ts";
import { type Model, modelOrSkipped, type Service } from "../judge/model.ts";

interface Client {
  send(command: object): Promise<unknown>;
  destroy(): void;
}
type Module = Readonly<Record<string, unknown>>;

/** What each operation needs to be sent at all. */
const INPUTS: Readonly<Record<string, object>> = {
  CreateSchedule: {
    Name: "n",
    GroupName: "g",
    ScheduleExpression: "at(2026-11-28T12:00:00)",
    FlexibleTimeWindow: { Mode: "OFF" },
    Target: { Arn: "a", RoleArn: "r" },
  },
  UpdateEventSourceMapping: { UUID: "b1c5b5f4-0000-4000-8000-000000000000", Enabled: false },
  GetMetricData: { MetricDataQueries: [], StartTime: new Date(0), EndTime: new Date(60_000) },
  PutObject: { Bucket: "texts", Key: "1d/key", Body: Buffer.from("x"), ContentLength: 1 },
  GetObject: { Bucket: "texts", Key: "1d/key" },
};

const SERVICES: readonly (readonly [service: Service, client: string, bundled: Module, sdk: Module])[] = [
  ["sqs", "SQSClient", bundledSqs, sdkSqs],
  ["dynamodb", "DynamoDBClient", bundledDynamodb, sdkDynamodb],
  ["events", "EventBridgeClient", bundledEvents, sdkEvents],
  ["scheduler", "SchedulerClient", bundledScheduler, sdkScheduler],
  ["s3", "S3Client", bundledS3, sdkS3],
  ["lambda", "LambdaClient", bundledLambda, sdkLambda],
  ["cloudwatch", "CloudWatchClient", bundledCloudwatch, sdkCloudwatch],
  ["sts", "STSClient", bundledSts, sdkSts],
];

/** Pages of common errors, and what the services are known to answer besides their models. With their status. */
const COMMON: Readonly<Record<string, number>> = {
  AccessDeniedException: 400,
  AuthFailure: 403,
  ExpiredTokenException: 400,
  IncompleteSignature: 403,
  InternalFailure: 500,
  InvalidClientTokenId: 403,
  InvalidSignatureException: 403,
  KMSAccessDeniedException: 400,
  MissingAuthenticationToken: 403,
  NotAuthorized: 400,
  OptInRequired: 403,
  RequestExpired: 400,
  RequestTimeTooSkewed: 403,
  ServiceUnavailable: 503,
  SlowDown: 503,
  Throttling: 400,
  ThrottledException: 429,
  TooManyRequestsException: 429,
  UnrecognizedClientException: 400,
  ValidationException: 400,
};

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The connection is cut after this much of the body was said to come. */
  readonly cut?: boolean;
}

/** An error as a service of this protocol says it. */
function said({ metadata, shapes }: Model, name: string, status: number): Answer {
  switch (metadata.protocol) {
    case "rest-xml":
      return { status, body: `<?xml version="1.0"?><Error><Code>${name}</Code><Message>no</Message></Error>` };
    case "query":
      return {
        status,
        headers: { "content-type": "text/xml" },
        body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${name}</Code><Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
      };
    case "rest-json":
      return { status, headers: { "x-amzn-errortype": `${name}:http://internal/` }, body: '{"Message":"no"}' };
    default: {
      // A service that once spoke another protocol says the name that an error had there beside it.
      const former = shapes[name]?.error?.code ?? name;
      const isCompatible = metadata.awsQueryCompatible !== undefined;
      return {
        status,
        headers: {
          "content-type": "application/x-amz-json-1.0",
          ...(isCompatible && { "x-amzn-query-error": `${former};Sender` }),
        },
        body: JSON.stringify({ __type: `com.amazonaws.service#${name}`, message: "no" }),
      };
    }
  }
}

/** What is no error of AWS's, by what the page calls it. */
const ODD: Readonly<Record<string, Answer>> = {
  "500 without a body": { status: 500 },
  "503 with a balancer's page": { status: 503, headers: { "content-type": "text/html" }, body: "<html>busy</html>" },
  "a connection that is cut in the middle of the answer": { status: 200, cut: true },
};

/** In words of the page, the reason that `translateError` gives. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/: throttled/, "throttled"],
  [/: access was denied/, "access was denied"],
  [/does not accept the credentials/, "credentials or clock"],
  [/its key cannot be used/, "a key of KMS"],
  [/: AWS answered 5/, "AWS fails"],
  [/: no answer in time|cannot be reached/, "no whole answer"],
];

function verdictOf(error: LovageError): string {
  const lasting = isLasting(error);
  expect(error).toBeInstanceOf(OperationalError);
  expect((error as OperationalError).retryable).toBe(!lasting);
  const reason = REASONS.find(([pattern]) => pattern.test(error.message))?.[1];
  return `${reason ?? (lasting ? "the value is refused" : "anything else")} | \`${!lasting}\``;
}

async function startAws() {
  let answer: Answer = { status: 200 };
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const { status, headers = { "content-type": "application/x-amz-json-1.0" }, body = "", cut } = answer;
      if (cut) {
        response.writeHead(status, { ...headers, "content-length": "1000" }).write('{"Queue');
        setImmediate(() => response.destroy());
      } else response.writeHead(status, headers).end(body);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answers: (next: Answer) => {
      answer = next;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const config = (endpoint: string) => ({
  region: "eu-west-1",
  endpoint,
  credentials: { accessKeyId: "key", secretAccessKey: "secret" },
  requestHandler: { connectionTimeout: 2000, requestTimeout: 5000 },
  maxAttempts: 1,
  useQueueUrlAsEndpoint: false,
  md5: false,
  forcePathStyle: true,
});
// What is tried again is another test's; here each answer is the last.
const once1 = { now: Date.now, random: () => 0, env: { AWS_MAX_ATTEMPTS: "1" } };

function clientsOf(service: (typeof SERVICES)[number], endpoint: string): readonly (readonly [Module, Client])[] {
  const [, name, bundled, sdk] = service;
  const make = (module: Module) => new (module[name] as new (...args: object[]) => Client)(config(endpoint), once1);
  return [bundled, sdk].map((module) => [module, make(module)] as const);
}

async function errorOf(module: Module, client: Client, operation: string): Promise<LovageError> {
  const Command = module[`${operation}Command`] as new (input: object) => object;
  const output = client.send(new Command(INPUTS[operation] ?? { QueueUrl: "http://q/1/q", QueueName: "q" }));
  const error = await output
    .then(
      // A body that comes as a stream is cut while it is read.
      async (result) => {
        for await (const _ of (result as { Body?: AsyncIterable<unknown> }).Body ?? []) void _;
        throw new Error(`${operation} was answered`);
      },
    )
    .catch((thrown: unknown) => thrown);
  return translateError(error, { action: operation, resource: "x" });
}

const models = new Map(SERVICES.map(([service]) => [service, modelOrSkipped(service)]));

test.skipIf([...models.values()].includes(undefined))(
  "the SDK's clients and those of bundles make the same of every error of every operation, and the page has them",
  async () => {
    const aws = await startAws();
    const rows = new Map<string, Set<string>>();
    const counted = { operations: 0, answers: 0 };
    try {
      for (const service of SERVICES) {
        const model = models.get(service[0]) as Model;
        const clients = clientsOf(service, aws.endpoint);
        const operations = Object.keys(service[2]).flatMap((name) => /^(\w+)Command$/.exec(name)?.[1] ?? []);
        for (const operation of operations) {
          counted.operations++;
          const own = (model.operations[operation]?.errors ?? []).map(({ shape }) => {
            const { error, fault } = model.shapes[shape] as { error?: { httpStatusCode?: number }; fault?: boolean };
            return [shape, error?.httpStatusCode ?? (fault ? 500 : 400)] as const;
          });
          const answers: readonly (readonly [string, Answer])[] = [
            ...[...own, ...Object.entries(COMMON)].map(
              ([name, status]) => [`\`${name}\``, said(model, name, status)] as const,
            ),
            ...Object.entries(ODD),
          ];
          for (const [name, answer] of answers) {
            counted.answers++;
            aws.answers(answer);
            const verdicts: string[] = [];
            for (const [module, client] of clients) verdicts.push(verdictOf(await errorOf(module, client, operation)));
            expect(verdicts[0], `${operation} answered ${name}: bundled, and the SDK's`).toBe(verdicts[1]);
            const [verdict = ""] = verdicts;
            rows.set(verdict, (rows.get(verdict) ?? new Set()).add(name));
          }
        }
        for (const [, client] of clients) client.destroy();
      }
    } finally {
      aws.close();
    }
    expect(counted.operations).toBeGreaterThan(25);
    const table = [...rows].sort().map(([verdict, names]) => `| ${[...names].sort().join(", ")} | ${verdict} |`);
    const text = `| AWS answers | which is told as | \`retryable\` |\n|---|---|---|\n${table.join("\n")}\n`;
    const page = readFileSync(new URL("../../docs/reference/errors.md", import.meta.url), "utf8");
    const [before = "", , after = ""] = page.split(/(?<=<!-- .*answers\.test\.ts.* -->\n\n)([\s\S]*?)(?=\n## |$)/);
    await expect(`${before}${text}${after}`).toMatchFileSnapshot("../../docs/reference/errors.md");
  },
);
