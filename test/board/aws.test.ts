/** The overview on AWS, where a part of it is refused, throttled or missing: the rest is shown, and the part says what it is. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Lovage } from "lovage";
import { createBoard } from "lovage/board";
import { virtualClock } from "../../src/testing/clock.ts";
import { expect, onTestFinished, test, vi } from "vitest";

interface Refused {
  readonly __type: string;
  readonly message: string;
}

/** What AWS answers where nothing is wrong, by the action. */
const ANSWERS: Readonly<Record<string, (host: string) => object>> = {
  ListQueues: (host) => ({
    QueueUrls: ["celery", "mail", "media"].flatMap((name) => [`${host}/1/shop-${name}`, `${host}/1/shop-${name}-dlq`]),
  }),
  GetQueueUrl: (host) => ({ QueueUrl: `${host}/1/shop-celery` }),
  GetQueueAttributes: () => ({ Attributes: { ApproximateNumberOfMessages: "7" } }),
  BatchGetItem: () => ({ Responses: {}, UnprocessedKeys: {} }),
  Query: () => ({ Items: [] }),
  GetMetricData: () => ({ MetricDataResults: [] }),
  ListEventSourceMappings: () => ({
    EventSourceMappings: [
      {
        UUID: "a",
        EventSourceArn: "arn:aws:sqs:eu-west-1:1:shop-celery",
        FunctionArn: "arn:aws:lambda:eu-west-1:1:function:shop-worker",
        State: "Disabled",
        ScalingConfig: { MaximumConcurrency: 5 },
        FunctionResponseTypes: [],
      },
    ],
  }),
};

interface Asked {
  readonly action: string;
  readonly body: string;
}

/** Stands in for AWS, which refuses these actions, and notes what it is asked. */
async function startAws(refused: Readonly<Record<string, Refused>>): Promise<Asked[]> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const target =
      String(request.headers["x-amz-target"] ?? "")
        .split(".")
        .at(-1) ?? "";
    const action = request.url?.includes("event-source-mappings") ? "ListEventSourceMappings" : target;
    asked.push({ action, body: await text(request) });
    const refusal = refused[action];
    const answer = refusal ?? ANSWERS[action]?.(`http://${request.headers.host}`) ?? { __type: "UnknownOperation" };
    response.writeHead(refusal === undefined ? 200 : 400, { "content-type": "application/x-amz-json-1.0" });
    response.end(JSON.stringify(answer));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  vi.stubEnv("AWS_ENDPOINT_URL", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    server.closeAllConnections();
    server.close();
  });
  return asked;
}

const CONFIG = {
  brokerUrl: "sqs://KEY:SECRET@eu-west-1?queue_name_prefix=shop-",
  resultBackend: "dynamodb://KEY:SECRET@eu-west-1/shop-results",
};

async function boardOn(refused: Readonly<Record<string, Refused>>) {
  await startAws(refused);
  const app = new Lovage("shop", CONFIG);
  onTestFinished(() => app.close());
  const board = createBoard(app, { refresh: 60 });
  const ask = async (path: string, headers = {}) => board(new Request(`http://board.test${path}`, { headers }));
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked at member by member
  const status: any = await (await ask("/api/status")).json();
  const page = await (await ask("/", { "x-board": "live" })).text();
  return { status, page };
}

test("functions are listed beside the workers, with whether they are given messages, and may lose them", async () => {
  const { status, page } = await boardOn({});
  expect(status.functions.value).toEqual([
    {
      name: "shop-worker",
      queue: "celery",
      state: "Disabled",
      maxConcurrency: 5,
      losesMessages: true,
      lastHour: { invocations: 0, errors: 0, throttles: 0, concurrency: 0 },
    },
  ]);
  expect(page).toContain("shop-worker");
  expect(page).toMatch(/Disabled/);
  expect(page).toContain("Loses tasks that it hands back");
  expect(page).not.toContain("No long-lived worker");
});

const PARTS = ["queues", "workers", "functions", "active", "told"];

test.each<[string, Record<string, Refused>, readonly string[], RegExp]>([
  [
    "the journal's table is missing",
    { Query: { __type: "ResourceNotFoundException", message: "Requested resource not found" } },
    ["active", "told"],
    /there is no table .*shop-journal/,
  ],
  [
    "the right to read the journal is missing",
    { Query: { __type: "AccessDeniedException", message: "not authorized to perform: dynamodb:Query" } },
    ["active", "told"],
    /dynamodb:Query/,
  ],
  [
    "the table of results is missing",
    { BatchGetItem: { __type: "ResourceNotFoundException", message: "Requested resource not found" } },
    ["queues", "workers", "active"],
    /shop-results/,
  ],
  [
    "SQS throttles",
    { GetQueueAttributes: { __type: "com.amazon.coral.service#RequestThrottled", message: "Request is throttled." } },
    ["queues"],
    /throttl/i,
  ],
  [
    "DynamoDB throttles",
    { Query: { __type: "com.amazonaws.dynamodb.v20120810#ThrottlingException", message: "Rate exceeded" } },
    ["active", "told"],
    /throttl|rate exceeded/i,
  ],
  [
    "the right to list the functions is missing",
    { ListEventSourceMappings: { __type: "AccessDeniedException", message: "no" } },
    ["functions"],
    /lambda:ListEventSourceMappings/,
  ],
  [
    "the right to CloudWatch is missing",
    { GetMetricData: { __type: "AccessDeniedException", message: "no" } },
    [],
    /7/,
  ],
])("%s: that part says so, and all else is shown", async (_, refused, problems, why) => {
  const { status, page } = await boardOn(refused);
  expect(PARTS.filter((part) => "problem" in status[part])).toEqual(problems);
  for (const part of problems) expect(status[part].problem).toMatch(why);
  expect(page).toMatch(why);
  expect(page).toContain("Queues</h2>");
  if (!problems.includes("queues")) expect(page).toContain("celery");
});

test("an overview of three queues that is open all day costs less than a cent", async () => {
  const asked = await startAws({});
  const clock = virtualClock(Date.UTC(2026, 0, 1, 6));
  // It does not know that it talks to this machine.
  const platform = { clock, env: {} };
  const app = new Lovage("shop", { ...CONFIG, taskQueues: { celery: {}, mail: {}, media: {} } }, platform);
  onTestFinished(() => app.close());
  const board = createBoard(app);
  const look = async () => (await board(new Request("http://board.test/", { headers: { "x-board": "live" } }))).text();
  // What is read once, such as the hour before.
  await look();
  asked.length = 0;
  const hours = 2;
  for (let seconds = 0; seconds < hours * 3600; seconds += 60) {
    clock.moveTo(clock.now() + 60_000);
    await look();
  }
  /** In dollars, as docs/how-to/board.md has them: us-east-1, consistent reads of rows, others of items that are small. */
  const price = ({ action, body }: Asked): number => {
    if (action === "BatchGetItem") return (body.match(/"S"/g)?.length ?? 0) * 0.125e-6;
    if (action === "Query") return 0.5 * 0.125e-6;
    if (action === "GetMetricData") return (body.match(/"Id"/g)?.length ?? 0) * 0.01e-3;
    // Lambda's list of mappings, and EventBridge's of rules, are free.
    return ["ListQueues", "GetQueueUrl", "GetQueueAttributes"].includes(action) ? 0.4e-6 : 0;
  };
  const day = (asked.reduce((sum, one) => sum + price(one), 0) * 24) / hours;
  const counts = Object.fromEntries(
    [...Map.groupBy(asked, ({ action }) => action)].map(([action, all]) => [action, (all.length * 24) / hours]),
  );
  expect(day, JSON.stringify(counts)).toBeLessThan(0.01);
  // It looks, all the same.
  expect(day).toBeGreaterThan(0.004);
  expect(counts["Query"]).toBeLessThan(32 * 1440 * 1.3);
});
