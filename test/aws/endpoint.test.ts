import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { EventBridgeClient } from "@aws-sdk/client-eventbridge";
import { SchedulerClient } from "@aws-sdk/client-scheduler";
import { SQSClient } from "@aws-sdk/client-sqs";
import { expect, test } from "vitest";
import { endpointOf } from "../../src/aws/endpoint.ts";

const REGIONS = [
  ..."us-east-1 us-west-2 eu-west-1 eu-central-2 ap-southeast-7 ca-west-1 mx-central-1 il-central-1".split(" "),
  ..."cn-north-1 cn-northwest-1 us-gov-west-1 us-gov-east-1 eusc-de-east-1".split(" "),
  ..."us-iso-east-1 us-isob-east-1 us-isof-south-1 eu-isoe-west-1".split(" "),
];
const sdk = {
  sqs: new SQSClient({}).config.endpointProvider,
  dynamodb: new DynamoDBClient({}).config.endpointProvider,
  scheduler: new SchedulerClient({}).config.endpointProvider,
  events: new EventBridgeClient({}).config.endpointProvider,
};

test.each(Object.entries(sdk))("%s answers where the SDK finds it, in each partition", (service, endpointProvider) => {
  for (const Region of REGIONS) {
    for (const UseFIPS of [false, true]) {
      for (const UseDualStack of [false, true]) {
        const env = {
          AWS_USE_FIPS_ENDPOINT: String(UseFIPS),
          AWS_USE_DUALSTACK_ENDPOINT: String(UseDualStack),
        };
        const { url } = endpointProvider({ Region, UseFIPS, UseDualStack });
        expect(`${endpointOf("X", { service, region: Region }, env)}/`).toBe(url.href);
      }
    }
  }
});

test("the environment's endpoint goes first, and a service's own before the common one", () => {
  const scope = { service: "sqs", region: "eu-west-1" };
  const AWS_ENDPOINT_URL = "http://127.0.0.1:4566";
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL })).toBe(AWS_ENDPOINT_URL);
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS: "http://a" })).toBe("http://a");
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_DYNAMODB: "http://a" })).toBe(AWS_ENDPOINT_URL);
  expect(endpointOf("SQS", scope, { AWS_ENDPOINT_URL, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" })).toBe(
    "https://sqs.eu-west-1.amazonaws.com",
  );
});
