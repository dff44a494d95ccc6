/** Requests go by the proxies of the environment where Node's own do, from the client of bundles and from the SDK's. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import * as bundled from "../../src/aws/bundled-sqs.ts";
import { clientConfig, parseAwsUrl } from "../../src/aws/connection.ts";
import * as sdk from "../../src/aws/sdk-sqs.ts";

/** Says what it was asked for, answers requests by itself, and lets nothing through. */
async function startProxy() {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end('{"QueueUrl":"http://by.proxy/q"}');
  });
  server.on("connect", (request, socket) => {
    asked.push(`${request.method} ${request.url}`);
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

afterEach(() => vi.unstubAllEnvs());

describe.each([
  ["the client of bundles", bundled],
  ["the SDK's", sdk],
])("%s", (_, { SQSClient, GetQueueUrlCommand }) => {
  async function ask(url: string, env: Readonly<Record<string, string>>) {
    for (const [name, value] of Object.entries({ AWS_MAX_ATTEMPTS: "1", AWS_REGION: "eu-west-1", ...env }))
      vi.stubEnv(name, value);
    const client = new SQSClient(clientConfig(parseAwsUrl("brokerUrl", url, {}, ["is_secure"]), 2000) as never);
    onTestFinished(() => client.destroy());
    const { QueueUrl } = (await client.send(new GetQueueUrlCommand({ QueueName: "q" }) as never)) as {
      readonly QueueUrl?: string;
    };
    return QueueUrl;
  }

  test("asks a proxy for what has no TLS", async () => {
    const { asked, url } = await startProxy();
    const env = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: url };
    expect(await ask("sqs://k:s@queues.invalid:9324", env)).toBe("http://by.proxy/q");
    expect(asked).toEqual(["POST http://queues.invalid:9324/"]);
  });

  test("has a proxy connect it to what has TLS", async () => {
    const { asked, url } = await startProxy();
    const env = { NODE_USE_ENV_PROXY: "1", HTTPS_PROXY: url };
    await expect(ask("sqs://k:s@queues.invalid:9324?is_secure=true", env)).rejects.toThrow();
    expect(asked).toContain("CONNECT queues.invalid:9324");
  });

  test.each<[string, (url: string) => Readonly<Record<string, string>>]>([
    ["where NODE_USE_ENV_PROXY does not say so, as Node itself", (url) => ({ HTTP_PROXY: url })],
    [
      "for a host that NO_PROXY names",
      (url) => ({ NODE_USE_ENV_PROXY: "1", HTTP_PROXY: url, NO_PROXY: "queues.invalid" }),
    ],
  ])("asks no proxy %s", async (_, env) => {
    const { asked, url } = await startProxy();
    await expect(ask("sqs://k:s@queues.invalid:9324", env(url))).rejects.toThrow();
    expect(asked).toEqual([]);
  });
});
