/** What is tried again: the SDK's client of SQS and that of bundles agree. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import * as bundled from "../../src/aws/bundled-sqs.ts";
import * as sdk from "../../src/aws/sdk-sqs.ts";

test.each([
  ["KmsThrottled", 3],
  ["RequestThrottled", 3],
  ["ThrottlingException", 3],
  ["KmsDisabled", 1],
  ["OverLimit", 1],
])("%s is asked %d times by both clients", async (name, times) => {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.writeHead(400, { "content-type": "application/x-amz-json-1.0" });
    response.end(JSON.stringify({ __type: `com.amazonaws.sqs#${name}`, message: "no" }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
  });
  const config = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: "eu-west-1",
    credentials: { accessKeyId: "AKID", secretAccessKey: "secret" },
    requestHandler: { connectionTimeout: 2000, requestTimeout: 5000 },
  };
  const ask = async (client: { send(command: object): Promise<unknown>; destroy(): void }, command: object) => {
    asked = 0;
    await expect(client.send(command)).rejects.toThrow("no");
    client.destroy();
    return asked;
  };
  expect([
    await ask(new sdk.SQSClient(config) as never, new sdk.ListQueuesCommand({})),
    await ask(
      new bundled.SQSClient(config, { now: Date.now, random: () => 0, env: {} }) as never,
      new bundled.ListQueuesCommand({}),
    ),
  ]).toEqual([times, times]);
});
