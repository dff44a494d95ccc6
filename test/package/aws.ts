/** What a function finds on Lambda: an SDK of some age, or none, and AWS's answers. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { installOnce } from "./packed.ts";

/** Of a year and of a month ago, as Lambda's own may be, or older. */
export const SDKS = ["3.940.0", "3.1158.0"] as const;
const CLIENTS = ["sqs", "dynamodb", "eventbridge", "scheduler", "s3"];

/** A folder in whose `node_modules` the clients of this version are. */
export const installSdk = (version: string): Promise<string> =>
  installOnce(
    `sdk-${version}`,
    CLIENTS.map((name) => `@aws-sdk/client-${name}@${version}`),
  );

/** What AWS answers to the three requests that a call and a look at its state are. */
const ANSWERS: Readonly<Record<string, (asked: { readonly Entries?: readonly { readonly Id: string }[] }) => unknown>> =
  {
    GetQueueUrl: () => ({ QueueUrl: "https://sqs.eu-west-1.amazonaws.com/123456789012/celery" }),
    SendMessageBatch: ({ Entries = [] }) => ({
      Successful: Entries.map(({ Id }) => ({ Id, MessageId: "m" })),
      Failed: [],
    }),
    BatchGetItem: () => ({ Responses: {}, UnprocessedKeys: {} }),
  };

/** Answers as AWS does, and notes what it was asked for. The environment is that of whoever asks it. */
export async function startAws() {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const action = String(request.headers["x-amz-target"]).split(".").at(-1) ?? "";
    asked.push(action);
    const answer = ANSWERS[action]?.(JSON.parse(await text(request)));
    response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(answer));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const environment = {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_REGION: "eu-west-1",
    AWS_ACCESS_KEY_ID: "key",
    AWS_SECRET_ACCESS_KEY: "secret",
    LOVAGE_BROKER_URL: "sqs://eu-west-1",
    LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/celery",
  };
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { asked, environment, close };
}
