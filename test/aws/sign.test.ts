import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { CreateScheduleCommand, DeleteScheduleCommand, SchedulerClient } from "@aws-sdk/client-scheduler";
import { SendMessageBatchCommand, SQSClient } from "@aws-sdk/client-sqs";
import { expect, test } from "vitest";
import { signed } from "../../src/aws/sign.ts";

const credentials = { accessKeyId: "AKID", secretAccessKey: "secret/+", sessionToken: "token==" };

/** What the SDK's client sends. */
async function sentBy(send: (endpoint: string) => Promise<unknown>): Promise<{
  readonly method: string | undefined;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const sent = new Promise<Awaited<ReturnType<typeof sentBy>>>((resolve) => {
    server.on("request", async (request, response) => {
      resolve({
        method: request.method,
        url: new URL(request.url ?? "", endpoint),
        headers: request.headers,
        body: await text(request),
      });
      response.setHeader("content-type", "application/x-amz-json-1.0").end("{}");
    });
  });
  await send(endpoint);
  server.closeAllConnections();
  server.close();
  return sent;
}

/** The same request's headers, signed by us. */
async function signedAgain(service: string, { method = "", url, headers, body }: Awaited<ReturnType<typeof sentBy>>) {
  const { authorization = "", host: _, "x-amz-date": date, "x-amz-security-token": __, ...rest } = headers;
  const names = /SignedHeaders=([^,]*)/.exec(authorization)?.[1]?.split(";") ?? [];
  const covered = Object.entries(rest).flatMap(([name, value]) =>
    names.includes(name) ? [[name, String(value)]] : [],
  );
  const time = String(date).replace(/^(....)(..)(..T..)(..)(..)Z$/, "$1-$2-$3:$4:$5Z");
  const unsigned = { method, url, body, headers: Object.fromEntries(covered) as Record<string, string> };
  const again = signed(unsigned, { service, region: "eu-west-1" }, credentials, Date.parse(time));
  return { names, authorization, ours: again["authorization"] };
}

test("a request to SQS is signed as the SDK signs it", async () => {
  const request = await sentBy((endpoint) =>
    new SQSClient({ endpoint, region: "eu-west-1", credentials }).send(
      new SendMessageBatchCommand({
        QueueUrl: "http://x/1/celery",
        Entries: [{ Id: "0", MessageBody: "übung ✓ \u2028" }],
      }),
    ),
  );
  const { names, authorization, ours } = await signedAgain("sqs", request);
  expect(names).toEqual(expect.arrayContaining(["host", "x-amz-date", "x-amz-target", "x-amz-security-token"]));
  expect(ours).toBe(authorization);
});

test("so is one to DynamoDB, whose endpoint has a path", async () => {
  const request = await sentBy((endpoint) =>
    new DynamoDBClient({ endpoint: `${endpoint}/emulated`, region: "eu-west-1", credentials }).send(
      new PutItemCommand({ TableName: "celery", Item: { id: { S: "a" }, result: { B: new Uint8Array([1, 2]) } } }),
    ),
  );
  expect(request.url.pathname).toMatch(/^\/emulated/);
  const { authorization, ours } = await signedAgain("dynamodb", request);
  expect(ours).toBe(authorization);
});

test("so is one to Scheduler, whose operation is a path", async () => {
  const request = await sentBy((endpoint) =>
    new SchedulerClient({ endpoint, region: "eu-west-1", credentials }).send(
      new CreateScheduleCommand({
        Name: "delay-1",
        ScheduleExpression: "at(2030-01-01T00:00:00)",
        FlexibleTimeWindow: { Mode: "OFF" },
        Target: { Arn: "arn:aws:sqs:eu-west-1:1:a", RoleArn: "arn:aws:iam::1:role/a" },
      }),
    ),
  );
  expect(request.url.pathname).toBe("/schedules/delay-1");
  const { authorization, ours } = await signedAgain("scheduler", request);
  expect(ours).toBe(authorization);
});

test("so is one with a query, escaped as signatures are and not as URLs", async () => {
  const request = await sentBy((endpoint) =>
    new SchedulerClient({ endpoint, region: "eu-west-1", credentials }).send(
      new DeleteScheduleCommand({ Name: "delay-(1)*", GroupName: "a b!'/~+é", ClientToken: "z" }),
    ),
  );
  expect([...request.url.searchParams.keys()]).toHaveLength(2);
  const { authorization, ours } = await signedAgain("scheduler", request);
  expect(ours).toBe(authorization);
});

test("credentials that last have no token to be signed", async () => {
  const unsigned = { url: new URL("https://sqs.eu-west-1.amazonaws.com"), body: "{}", headers: {} };
  const { sessionToken: _, ...lasting } = credentials;
  const headers = signed(unsigned, { service: "sqs", region: "eu-west-1" }, lasting, 0);
  expect(headers).toHaveProperty("authorization");
  expect(headers).not.toHaveProperty("x-amz-security-token");
});
