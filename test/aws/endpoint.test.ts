/**
 * Where the clients of bundles send to, held against the rules that AWS publishes for each service's endpoints, and these
 * against the cases that it publishes with them.
 */
import { awsEndpointFunctions, setPartitionInfo, useDefaultPartitionInfo } from "@aws-sdk/core/client";
import { customEndpointFunctions, resolveEndpoint } from "@smithy/core/endpoints";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CloudWatchClient, GetMetricDataCommand } from "../../src/aws/bundled-cloudwatch.ts";
import { DynamoDBClient, PutItemCommand } from "../../src/aws/bundled-dynamodb.ts";
import { EventBridgeClient, PutRuleCommand } from "../../src/aws/bundled-eventbridge.ts";
import { LambdaClient, ListEventSourceMappingsCommand } from "../../src/aws/bundled-lambda.ts";
import { GetObjectCommand, S3Client } from "../../src/aws/bundled-s3.ts";
import { CreateScheduleCommand, SchedulerClient } from "../../src/aws/bundled-scheduler.ts";
import { ReceiveMessageCommand, SQSClient } from "../../src/aws/bundled-sqs.ts";
import { GetCallerIdentityCommand, STSClient } from "../../src/aws/bundled-sts.ts";
import { endpointOf } from "../../src/aws/endpoint.ts";
import {
  casesOf,
  type EndpointParameters,
  modelOf,
  modelOrSkipped,
  partitions,
  rulesOf,
  type Service,
  SERVICES,
} from "../judge/model.ts";

/** One request of each: the path of an object has its bucket, those of the others begin at the endpoint. */
const CLIENTS: Readonly<Record<Service, readonly [Client: typeof SQSClient, command: () => object, path: string]>> = {
  cloudwatch: [CloudWatchClient, () => new GetMetricDataCommand({}), "/"],
  dynamodb: [DynamoDBClient, () => new PutItemCommand({}), "/"],
  events: [EventBridgeClient, () => new PutRuleCommand({}), "/"],
  lambda: [LambdaClient, () => new ListEventSourceMappingsCommand({}), "/2015-03-31/event-source-mappings"],
  s3: [S3Client, () => new GetObjectCommand({ Bucket: "texts", Key: "key" }), "/key"],
  scheduler: [SchedulerClient, () => new CreateScheduleCommand({ Name: "name" }), "/schedules/name"],
  sqs: [SQSClient, () => new ReceiveMessageCommand({ QueueUrl: "https://q/1/q" }), "/"],
  sts: [STSClient, () => new GetCallerIdentityCommand({}), "/"],
};

/** What Lovage's own client is always asked in. */
const ALWAYS: Readonly<Partial<Record<Service, EndpointParameters>>> = {
  s3: { Bucket: "texts", ForcePathStyle: true },
};

/** An address and what it is signed for, or the refusal. */
type Place = { readonly url: string; readonly signed: string } | "refused";

function ruledPlace(service: Service, given: EndpointParameters): Place {
  const endpointParams = { UseFIPS: false, UseDualStack: false, ...ALWAYS[service], ...given };
  try {
    const { url, properties } = resolveEndpoint(rulesOf(service) as Parameters<typeof resolveEndpoint>[0], {
      endpointParams,
    });
    const [scheme] = (properties?.["authSchemes"] ?? []) as { signingName?: string; signingRegion?: string }[];
    const { endpointPrefix, signingName = endpointPrefix } = modelOf(service).metadata;
    return {
      url: url.href.replace(/\/$/, ""),
      signed: `${scheme?.signingRegion ?? given["Region"]}/${scheme?.signingName ?? signingName}`,
    };
  } catch {
    return "refused";
  }
}

/** Where the client of a bundle sends its request, with the environment that says the same. */
async function sentTo(service: Service, { Region, UseFIPS, UseDualStack, Endpoint }: EndpointParameters) {
  const [Client, command, path] = CLIENTS[service];
  const sent: { url: string; signed: string }[] = [];
  const requestHandler = {
    async handle({ protocol, hostname, port, path, headers }: Record<string, unknown>) {
      const [, signed = ""] = /\/\d{8}\/(.+)\/aws4_request/.exec(
        (headers as Record<string, string>)["authorization"] ?? "",
      ) as RegExpExecArray;
      sent.push({ url: `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`, signed });
      return { response: { statusCode: 200, headers: {} } };
    },
  };
  const name = modelOf(service).metadata.serviceId.toUpperCase().replaceAll(" ", "_");
  const env = {
    ...(UseFIPS === true && { AWS_USE_FIPS_ENDPOINT: "true" }),
    ...(UseDualStack === true && { AWS_USE_DUALSTACK_ENDPOINT: "true" }),
    ...(Endpoint !== undefined && { [`AWS_ENDPOINT_URL_${name}`]: String(Endpoint) }),
    AWS_MAX_ATTEMPTS: "1",
  };
  const config = {
    region: String(Region),
    credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    requestHandler,
  };
  const client = new Client(config as unknown as ConstructorParameters<typeof Client>[0], {
    now: () => 0,
    random: () => 0,
    env,
  });
  try {
    await client.send(command() as Parameters<typeof client.send>[0]);
  } catch (error) {
    if (sent.length === 0 && /FIPS/.test((error as Error).message)) return "refused";
    throw error;
  }
  const [{ url, signed } = { url: "", signed: "" }] = sent;
  if (path === "/") return { url: url.replace(/\/$/, ""), signed };
  expect(url.endsWith(path), url).toBe(true);
  return { url: url.slice(0, -path.length), signed };
}

const isThere = modelOrSkipped("sqs") !== undefined;

/** Of every partition every region, and one that is yet to come. The partitions' own, such as `aws-global`, are nobody's here. */
const regions = (service: Service) =>
  partitions().partitions.flatMap(({ regions }) => {
    const real = Object.keys(regions).filter((region) => !region.endsWith("-global"));
    const next = (real[0] as string).replace(/\d+$/, "9");
    // EventBridge's rules know GovCloud's two regions one by one.
    return service === "events" && next.startsWith("us-gov-") ? real : [...real, next];
  });

const BOTH = [false, true];

describe.skipIf(!isThere).each(SERVICES)("%s", (service) => {
  beforeAll(() => {
    customEndpointFunctions["aws"] = awsEndpointFunctions as (typeof customEndpointFunctions)[string];
    setPartitionInfo(partitions() as unknown as Parameters<typeof setPartitionInfo>[0]);
  });
  afterAll(useDefaultPartitionInfo);

  test("the rules, as they are read here, answer AWS's own cases", () => {
    for (const { documentation, params = {}, expect: expected } of casesOf(service)) {
      const ask = () =>
        resolveEndpoint(rulesOf(service) as Parameters<typeof resolveEndpoint>[0], { endpointParams: { ...params } });
      if ("error" in expected) expect(ask, documentation).toThrow();
      else expect(ask().url.href.replace(/\/$/, ""), documentation).toBe(expected.endpoint.url.replace(/\/$/, ""));
    }
  });

  test("a request goes where the rules say in every region, with FIPS, by dual stack and by both", async () => {
    expect(regions(service).length).toBeGreaterThan(45);
    for (const Region of [...regions(service), "mars-north-1"])
      for (const UseFIPS of BOTH)
        for (const UseDualStack of BOTH) {
          const given = { Region, UseFIPS, UseDualStack };
          expect({ given, to: await sentTo(service, given) }).toEqual({ given, to: ruledPlace(service, given) });
        }
  });

  test("an endpoint of one's own is taken as the rules take it, with its port and its path, and none beside FIPS or dual stack", async () => {
    for (const Endpoint of ["https://example.com", "http://127.0.0.1:4566", "https://example.com:8443/below/it"])
      for (const UseFIPS of BOTH)
        for (const UseDualStack of BOTH) {
          const given = { Region: "eu-west-1", Endpoint, UseFIPS, UseDualStack };
          expect({ given, to: await sentTo(service, given) }).toEqual({ given, to: ruledPlace(service, given) });
        }
  });
});

test("the environment's endpoint goes first, and a service's own before the common one", () => {
  const scope = { service: "sqs", region: "eu-west-1" };
  const AWS_ENDPOINT_URL = "http://127.0.0.1:4566";
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL })).toBe(AWS_ENDPOINT_URL);
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS: "http://a" })).toBe("http://a");
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_DYNAMODB: "http://a" })).toBe(AWS_ENDPOINT_URL);
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL }, "http://b")).toBe("http://b");
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" })).toBe(
    "https://sqs.eu-west-1.amazonaws.com",
  );
});
