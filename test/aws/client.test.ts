/** The client of bundles, against servers that answer as AWS does and as it does not. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test, vi } from "vitest";
import { ConditionalCheckFailedException, DynamoDBClient, PutItemCommand } from "../../src/aws/bundled-dynamodb.ts";
import { SendMessageBatchCommand, SQSClient } from "../../src/aws/bundled-sqs.ts";
import { CreateScheduleCommand, SchedulerClient } from "../../src/aws/bundled-scheduler.ts";
import type { ClientConfig } from "../../src/aws/client.ts";

interface Request {
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Answers one request after the other, the last answer for ever. */
type Answer = (response: ServerResponse) => void;
const json =
  (status: number, body: object): Answer =>
  (response) =>
    response.writeHead(status, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(body));
const ok = json(200, {});
const throttled = json(400, {
  __type: "com.amazonaws.dynamodb.v20120810#ThrottlingException",
  message: "Rate exceeded",
});
const breakOff: Answer = (response) => response.socket?.destroy();

async function server(...answers: readonly Answer[]) {
  const requests: Request[] = [];
  const http = createServer(async (request, response) => {
    const answer = answers[requests.length] ?? answers.at(-1);
    requests.push({ url: request.url ?? "", headers: request.headers, body: await text(request) });
    answer?.(response);
  }).listen(0, "127.0.0.1");
  await once(http, "listening");
  onTestFinished(() => {
    http.closeAllConnections();
    http.close();
  });
  return { requests, endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}` };
}

const config = (endpoint: string, requestTimeout = 5000): ClientConfig => ({
  endpoint,
  credentials: { accessKeyId: "AKID", secretAccessKey: "secret" },
  requestHandler: { connectionTimeout: 2000, requestTimeout },
});

/** Waits between tries are a random share: of nothing here. */
const chance = (env: Record<string, string> = {}) => ({
  now: Date.now,
  random: () => 0,
  env: { AWS_REGION: "eu-west-1", ...env },
});

function dynamodb(endpoint: string, env: Record<string, string> = {}, requestTimeout?: number) {
  const client = new DynamoDBClient(config(endpoint, requestTimeout), chance(env));
  onTestFinished(() => client.destroy());
  return client;
}

const put = () => new PutItemCommand({ TableName: "celery" });

test("an operation is named in a header, and bytes travel in base64 in both directions", async () => {
  const { requests, endpoint } = await server(
    json(200, { Attributes: { result: { B: "AQI=" }, B: { BS: ["Aw=="] } } }),
  );
  const Item = { id: { S: "a" }, one: { B: Buffer.from([1]) }, two: { B: new Uint8Array([1, 2, 3]).subarray(1) } };
  const answer = await dynamodb(endpoint).send(new PutItemCommand({ TableName: "celery", Item }));
  expect(requests[0]?.headers).toMatchObject({
    "x-amz-target": "DynamoDB_20120810.PutItem",
    "content-type": "application/x-amz-json-1.0",
    authorization: expect.stringContaining("/eu-west-1/dynamodb/aws4_request"),
  });
  expect(JSON.parse(requests[0]?.body ?? "")).toEqual({
    TableName: "celery",
    Item: { id: { S: "a" }, one: { B: "AQ==" }, two: { B: "AgM=" } },
  });
  expect(answer).toMatchObject({
    Attributes: { result: { B: Buffer.from([1, 2]) }, B: { BS: [Buffer.from([3])] } },
    $metadata: { attempts: 1 },
  });
});

test("an error has AWS's name, its words and what it brings, and is not asked for again", async () => {
  const { requests, endpoint } = await server(
    json(400, {
      __type: "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
      message: "The conditional request failed",
      Item: { result: { B: "AQI=" } },
    }),
  );
  const error = await dynamodb(endpoint)
    .send(put())
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ConditionalCheckFailedException);
  expect(error).toMatchObject({
    name: "ConditionalCheckFailedException",
    message: "The conditional request failed",
    Item: { result: { B: Buffer.from([1, 2]) } },
    $metadata: { httpStatusCode: 400, attempts: 1 },
  });
  expect(requests).toHaveLength(1);
});

test("a page that is no JSON is an error all the same", async () => {
  const { endpoint } = await server((response) => response.writeHead(413).end("<html>"));
  await expect(dynamodb(endpoint).send(put())).rejects.toMatchObject({
    name: "UnknownError",
    $metadata: { httpStatusCode: 413 },
  });
});

test.each<[string, Answer]>([
  ["throttles", throttled],
  ["throttles by its status", json(429, {})],
  ["fails", json(500, { __type: "InternalServerError" })],
  ["is away", (response) => response.writeHead(503).end("<html>")],
  ["breaks off", breakOff],
])("a service that %s is asked again, and the answer says how often", async (_, answer) => {
  const { requests, endpoint } = await server(answer, answer, ok);
  expect(await dynamodb(endpoint).send(put())).toMatchObject({ $metadata: { attempts: 3 } });
  expect(requests.map(({ body }) => body)).toEqual(Array(3).fill('{"TableName":"celery"}'));
});

test("DynamoDB is tried four times and SQS three times, or as often as AWS_MAX_ATTEMPTS says", async () => {
  const { requests, endpoint } = await server(throttled);
  await expect(dynamodb(endpoint).send(put())).rejects.toMatchObject({ $metadata: { attempts: 4 } });
  await expect(dynamodb(endpoint, { AWS_MAX_ATTEMPTS: "2" }).send(put())).rejects.toMatchObject({
    name: "ThrottlingException",
    $metadata: { attempts: 2 },
  });
  expect(requests).toHaveLength(6);
  const sqs = new SQSClient(config(endpoint), chance());
  onTestFinished(() => sqs.destroy());
  await expect(sqs.send(new SendMessageBatchCommand({}))).rejects.toMatchObject({ $metadata: { attempts: 3 } });
});

test("a service that only fails is not asked again for ever: retries are used up, and what succeeds gives them back", async () => {
  const { requests, endpoint } = await server(json(500, {}));
  const client = dynamodb(endpoint);
  for (let call = 0; call < 20; call++) await client.send(put()).catch(() => undefined);
  // 500 of them, 14 for each.
  expect(requests).toHaveLength(20 + 35);
});

test("who breaks off is waited for, but not where a connection that was kept has gone meanwhile", async () => {
  const random = vi.fn(() => 0);
  const { endpoint } = await server(ok, breakOff, ok, ok);
  const client = new DynamoDBClient(config(endpoint), { ...chance(), random });
  onTestFinished(() => client.destroy());
  await client.send(put());
  await new Promise((resolve) => setImmediate(resolve));
  expect(await client.send(put())).toMatchObject({ $metadata: { attempts: 2 } });
  expect(random).not.toHaveBeenCalled();
});

test("of connections that are all gone none uses up a try", async () => {
  const kept = 6;
  const { endpoint } = await server(...Array.from({ length: kept }, () => ok), breakOff, ok);
  const client = dynamodb(endpoint, { AWS_MAX_ATTEMPTS: "1" });
  await Promise.all(Array.from({ length: kept }, () => client.send(put())));
  await new Promise((resolve) => setImmediate(resolve));
  expect(await client.send(put())).toMatchObject({ $metadata: { httpStatusCode: 200 } });
});

test("an answer that does not come in time is given up", async () => {
  const { endpoint } = await server(() => undefined);
  const error = await dynamodb(endpoint, { AWS_MAX_ATTEMPTS: "1" }, 20)
    .send(put())
    .catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    name: "TimeoutError",
    message: expect.stringMatching(/^no answer of 127\.0\.0\.1:\d+ within 20 ms/),
  });
});

test("neither is one that stops in the middle waited for", async () => {
  const { endpoint } = await server((response) => response.writeHead(200, { "content-length": 2 }).write("{"));
  const sent = dynamodb(endpoint, { AWS_MAX_ATTEMPTS: "1" }, 20).send(put());
  await expect(sent).rejects.toMatchObject({ name: "TimeoutError" });
});

test("an answer that breaks off in the middle is asked for again", async () => {
  const { endpoint } = await server((response) => {
    response.writeHead(200, { "content-length": 2 }).write("{", () => response.socket?.destroy());
  }, ok);
  expect(await dynamodb(endpoint).send(put())).toMatchObject({ $metadata: { attempts: 2 } });
});

test("an answer may be empty, and an error's name may stand in a header", async () => {
  const { endpoint } = await server(
    (response) => response.writeHead(200).end(),
    (response) => response.writeHead(400, { "x-amzn-errortype": "Denied:http://internal" }).end(),
  );
  const client = dynamodb(endpoint);
  await expect(client.send(put())).resolves.toBeDefined();
  await expect(client.send(put())).rejects.toMatchObject({ name: "Denied", message: "Denied" });
});

test("a request may take longer than its client's others", async () => {
  const { endpoint } = await server((response) => setTimeout(() => ok(response), 60));
  const client = dynamodb(endpoint, { AWS_MAX_ATTEMPTS: "1" }, 20);
  await expect(client.send(put(), { requestTimeout: 5000 })).resolves.toBeDefined();
});

test("within an invocation its trace goes along", async () => {
  const { requests, endpoint } = await server(ok);
  await dynamodb(endpoint, { _X_AMZN_TRACE_ID: "Root=1-2-3;Lineage=a:1" }).send(put());
  expect(requests[0]?.headers).toMatchObject({ "x-amzn-trace-id": "Root=1-2-3;Lineage=a:1" });
  expect(requests[0]?.headers.authorization).not.toContain("x-amzn-trace-id");
});

test("an entry of Scheduler's is named by the path, and every try of it has the same token", async () => {
  const { requests, endpoint } = await server(breakOff, ok);
  const client = new SchedulerClient(config(endpoint), chance());
  onTestFinished(() => client.destroy());
  expect(await client.config.region()).toBe("eu-west-1");
  await client.send(new CreateScheduleCommand({ Name: "delay-1", GroupName: "lovage" }));
  expect(requests.map(({ url }) => url)).toEqual(Array(2).fill("/schedules/delay-1"));
  expect(requests[0]?.headers).toMatchObject({ "content-type": "application/json" });
  expect(requests[0]?.headers).not.toHaveProperty("x-amz-target");
  expect(JSON.parse(requests[0]?.body ?? "")).toEqual({ ClientToken: expect.any(String), GroupName: "lovage" });
  expect(requests[1]?.body).toBe(requests[0]?.body);
});

test("connections are kept", async () => {
  const sockets = new Set<unknown>();
  const { endpoint } = await server((response) => {
    sockets.add(response.socket);
    ok(response);
  });
  const client = dynamodb(endpoint);
  for (let call = 0; call < 3; call++) await client.send(put());
  expect(sockets.size).toBe(1);
});

test("a client that was not used may be closed, and without a region it cannot be used", async () => {
  const { endpoint: _, ...rest } = config("");
  const client = new SQSClient(rest, { ...chance(), env: {} });
  await expect(client.send(new SendMessageBatchCommand({}))).rejects.toThrow("Region is missing");
  client.destroy();
});
