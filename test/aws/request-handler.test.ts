/** A request handler of one's own carries every request, from the SDK's clients and from those of bundles. */
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { Lovage, type RequestHandler } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test } from "vitest";
import * as bundled from "../../src/aws/bundled-sqs.ts";
import { clientConfig, parseAwsUrl } from "../../src/aws/connection.ts";
import * as sdk from "../../src/aws/sdk-sqs.ts";

interface Asked {
  readonly Entries?: readonly { readonly Id: string }[];
}

const ANSWERS: Readonly<Record<string, (asked: Asked) => unknown>> = {
  GetQueueUrl: () => ({ QueueUrl: "https://queues.invalid/1/celery" }),
  SendMessageBatch: ({ Entries = [] }) => ({
    Successful: Entries.map(({ Id }) => ({ Id, MessageId: "m" })),
    Failed: [],
  }),
  BatchGetItem: () => ({ Responses: {}, UnprocessedKeys: {} }),
};

/** Answers by itself: what it is not asked for goes to a host that is not there. */
function startHandler(status = 200) {
  const asked: string[] = [];
  let isClosed = false;
  const handler: RequestHandler = {
    async handle({ method, protocol, hostname, path, headers, body }) {
      const operation = headers["x-amz-target"]?.split(".").at(-1) ?? "";
      asked.push(`${method} ${protocol}//${hostname}${path} ${operation}`);
      expect(headers["authorization"]).toMatch(/^AWS4-HMAC-SHA256 /);
      const answer = ANSWERS[operation];
      const said = status === 200 ? answer?.(JSON.parse(String(body)) as Asked) : { __type: "x#InvalidAddress" };
      return { response: { statusCode: status, headers: {}, body: Readable.from([JSON.stringify(said ?? {})]) } };
    },
    destroy: () => {
      isClosed = true;
    },
  };
  return { asked, handler, isClosed: () => isClosed };
}

describe.each([
  ["the client of bundles", bundled],
  ["the SDK's", sdk],
])("%s", (_, { SQSClient, GetQueueUrlCommand }) => {
  const clientOf = (requestHandler: RequestHandler) => {
    const options = { requestHandler };
    const url = parseAwsUrl("brokerUrl", "sqs://k:s@queues.invalid?region=eu-west-1", options, [
      "region",
      "request_handler",
    ]);
    return new SQSClient(clientConfig(url, 2000) as never);
  };

  test("is answered by it, and closes it", async () => {
    const { asked, handler, isClosed } = startHandler();
    const client = clientOf(handler);
    expect(await client.send(new GetQueueUrlCommand({ QueueName: "celery" }) as never)).toMatchObject({
      QueueUrl: "https://queues.invalid/1/celery",
    });
    expect(asked).toEqual(["POST http://queues.invalid/ GetQueueUrl"]);
    client.destroy();
    expect(isClosed()).toBe(true);
  });

  test("reads the error that it brings", async () => {
    const client = clientOf(startHandler(400).handler);
    onTestFinished(() => client.destroy());
    await expect(client.send(new GetQueueUrlCommand({ QueueName: "celery" }) as never)).rejects.toMatchObject({
      name: "InvalidAddress",
    });
  });
});

function appWith(requestHandler: RequestHandler) {
  const app = new Lovage("shop", {
    brokerUrl: "sqs://k:s@queues.invalid",
    resultBackend: "dynamodb://k:s@rows.invalid/celery",
    brokerTransportOptions: { requestHandler },
    resultBackendTransportOptions: { requestHandler },
  });
  onTestFinished(() => app.close());
  return { app, add: app.task("shop.add", (x: number, y: number) => x + y) };
}

test("a call and a look at its state go by it, to queue and table", async () => {
  const { asked, handler } = startHandler();
  const result = await appWith(handler).add.delay(1, 2);
  expect(await result.state()).toBe("PENDING");
  expect(asked).toEqual([
    "POST http://queues.invalid/ GetQueueUrl",
    "POST http://queues.invalid/ SendMessageBatch",
    "POST http://rows.invalid/ BatchGetItem",
  ]);
});

test("so does a text that is too large for its message", async () => {
  const { asked, handler } = startHandler();
  const brokerTransportOptions = { requestHandler: handler };
  const payloadStore = "s3://k:s@texts?region=eu-west-1&endpoint=http://objects.invalid";
  const app = new Lovage("shop", {
    brokerUrl: "sqs://k:s@queues.invalid",
    resultBackend: "memory://",
    payloadStore,
    brokerTransportOptions,
  });
  onTestFinished(() => app.close());
  await app.sendTask("shop.add", [randomBytes(2_000_000).toString("base64")]);
  expect(asked).toContainEqual(expect.stringMatching(/^PUT http:\/\/objects\.invalid\/texts\/\S+ $/));
});

test("a worker that has one starts, and asks by it for messages", async () => {
  const { asked, handler } = startHandler();
  const { promise, resolve } = Promise.withResolvers<void>();
  const { app } = appWith({
    async handle(request, options) {
      if (request.headers["x-amz-target"]?.endsWith("ReceiveMessage")) resolve();
      return handler.handle(request, options);
    },
  });
  const worker = await startWorker(app, { log: () => {} });
  await promise;
  await worker.stop();
  expect(asked).toContain("POST http://queues.invalid/ ReceiveMessage");
});

test("what is none is refused by its setting, in options and in a URL", async () => {
  expect(() => new Lovage("shop", { brokerTransportOptions: { requestHandler: {} as never } })).toThrow(
    /brokerTransportOptions\.requestHandler: must be an object with handle\(\)/,
  );
  const url = "sqs://eu-west-1?request_handler=x";
  expect(() => new Lovage("shop", { brokerUrl: url, resultBackend: "memory://" })).toThrow(
    /brokerUrl\.requestHandler: must be an object with handle\(\)/,
  );
});
