/** What an operator asks of AWS beside queues and tables, as it goes over the wire. */
import { createServer, type IncomingMessage } from "node:http";
import { Lovage } from "lovage";
import { expect, onTestFinished, test, vi } from "vitest";
import { createOperator } from "../../src/brokers/sqs-operator.ts";

interface Asked {
  readonly line: string;
  readonly body: string;
  readonly target: string | undefined;
}

/** Stands in for AWS; returns what it was asked. */
async function aws(answer: (asked: Asked) => object | { readonly denied: string } | string): Promise<readonly Asked[]> {
  const all: Asked[] = [];
  const server = createServer(async (request, response) => {
    const asked = {
      line: `${request.method} ${request.url}`,
      body: await textOf(request),
      target: request.headers["x-amz-target"] as string | undefined,
    };
    all.push(asked);
    const told = answer(asked);
    if (typeof told === "string") response.end(told);
    else if ("denied" in told) {
      response.statusCode = 400;
      response.end(JSON.stringify({ __type: "AccessDeniedException", message: told.denied }));
    } else response.end(JSON.stringify(told));
  });
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  onTestFinished(() => void server.close());
  const address = server.address();
  vi.stubEnv("AWS_ENDPOINT_URL", `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
  onTestFinished(() => void vi.unstubAllEnvs());
  return all;
}

async function textOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const part of request) body += part;
  return body;
}

const mapping = (UUID: string, queue: string, more: object = {}) => ({
  UUID,
  EventSourceArn: `arn:aws:sqs:eu-west-1:1:${queue}`,
  FunctionArn: `arn:aws:lambda:eu-west-1:1:function:${queue}-worker`,
  State: "Enabled",
  ...more,
});
const mappingsAnswer = ({ line }: Asked) =>
  line.endsWith("/event-source-mappings")
    ? { EventSourceMappings: [mapping("a", "shop-celery")], NextMarker: "more+" }
    : {
        EventSourceMappings: [
          mapping("b", "shop-media", { State: "Disabled", ScalingConfig: { MaximumConcurrency: 5 } }),
          mapping("c", "other"),
          { UUID: "d", EventSourceArn: "arn:aws:kinesis:eu-west-1:1:stream/shop-media" },
        ],
      };

test("a queue's mapping is found page by page and switched, and the caller has a name", async () => {
  const asked = await aws((one) =>
    one.line.startsWith("POST")
      ? "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/anna</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
      : mappingsAnswer(one),
  );
  const operator = createOperator("sqs://KEY:SECRET@eu-west-1", {});
  expect(await operator.caller()).toBe("arn:aws:iam::1:user/anna");
  await operator.setEnabled("shop-media", false);
  expect(asked.map(({ line, body }) => `${line} ${body}`)).toEqual([
    "POST / Action=GetCallerIdentity&Version=2011-06-15",
    "GET /2015-03-31/event-source-mappings ",
    "GET /2015-03-31/event-source-mappings?Marker=more%2B ",
    'PUT /2015-03-31/event-source-mappings/b {"Enabled":false}',
  ]);
});

test("a host of one's own is asked where nothing says a region, as it is for queues", async () => {
  const asked = await aws(mappingsAnswer);
  const host = new URL(process.env["AWS_ENDPOINT_URL"] as string).host;
  for (const name of ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"]) vi.stubEnv(name, undefined);
  await createOperator(`sqs://KEY:SECRET@${host}`, {}).setEnabled("shop-celery", false);
  expect(asked.at(-1)?.line).toBe("PUT /2015-03-31/event-source-mappings/a");
});

interface MetricDataRequest {
  readonly StartTime: number;
  readonly EndTime: number;
  readonly NextToken?: string;
  readonly MetricDataQueries: readonly {
    readonly Id: string;
    readonly MetricStat: { readonly Metric: { readonly MetricName: string; readonly Dimensions: [{ Value: string }] } };
  }[];
}

/** Answers for SQS, Lambda and CloudWatch beside each other. */
function account(numbers: (metric: string, of: string) => readonly number[] | undefined) {
  return (asked: Asked) => {
    if (asked.line.startsWith("GET /2015")) return mappingsAnswer(asked);
    switch (asked.target) {
      case "AmazonSQS.ListQueues":
        return { QueueUrls: ["https://sqs/1/shop-celery", "https://sqs/1/shop-media", "https://sqs/1/shop-media-dlq"] };
      case "AmazonSQS.GetQueueUrl":
        return { QueueUrl: `${process.env["AWS_ENDPOINT_URL"]}/1/${JSON.parse(asked.body).QueueName}` };
      case "AmazonSQS.GetQueueAttributes":
        return { Attributes: { ApproximateNumberOfMessages: asked.body.includes("shop-celery") ? "7" : "0" } };
      case "GraniteServiceVersion20100801.GetMetricData": {
        const { MetricDataQueries, NextToken } = JSON.parse(asked.body) as MetricDataRequest;
        const results = MetricDataQueries.map(({ Id, MetricStat: { Metric } }) => ({
          Id,
          Values: numbers(Metric.MetricName, Metric.Dimensions[0].Value),
        }));
        if (results.some(({ Values }) => Values === undefined)) return { denied: "cloudwatch:GetMetricData" };
        // In two pages.
        return NextToken === undefined
          ? {
              MetricDataResults: results.map(({ Id, Values }) => ({ Id, Values: Values?.slice(0, 1) })),
              NextToken: "2",
            }
          : { MetricDataResults: results.map(({ Id, Values }) => ({ Id, Values: Values?.slice(1) })) };
      }
      default:
        throw new Error(`nobody answers ${asked.line} ${asked.target}`);
    }
  };
}

function shop() {
  const app = new Lovage("shop", {
    brokerUrl: "sqs://KEY:SECRET@eu-west-1?queue_name_prefix=shop-",
    resultBackend: "memory://",
    taskQueues: ["celery", "media"],
  });
  onTestFinished(() => app.close());
  return app;
}

test("functions are told with what Lambda says of them and CloudWatch has counted, once a minute", async () => {
  const counted: Readonly<Record<string, readonly number[]>> = {
    Invocations: [3, 4],
    Errors: [1],
    Throttles: [],
    ConcurrentExecutions: [2, 5, 1],
  };
  const asked = await aws(account((metric, of) => (of === "shop-media-worker" ? (counted[metric] ?? []) : [])));
  const inspect = shop().control.inspect();
  const found = await inspect.functions();
  expect(found).toEqual([
    {
      name: "shop-celery-worker",
      queue: "celery",
      state: "Enabled",
      lastHour: { invocations: 0, errors: 0, throttles: 0, concurrency: 0 },
    },
    {
      name: "shop-media-worker",
      queue: "media",
      state: "Disabled",
      maxConcurrency: 5,
      lastHour: { invocations: 7, errors: 1, throttles: 0, concurrency: 5 },
    },
  ]);
  expect(await inspect.functions()).toEqual(found);
  const cloudWatch = asked.filter(({ target }) => target?.endsWith(".GetMetricData"));
  // Of two pages.
  expect(cloudWatch).toHaveLength(2);
  const { StartTime, EndTime } = JSON.parse(cloudWatch[0]?.body ?? "") as MetricDataRequest;
  expect(EndTime - StartTime).toBe(3600);
});

test("a function whose mapping does not report what it hands back is told of: Lambda deletes that", async () => {
  const rest = account(() => []);
  await aws((one) =>
    one.line.startsWith("GET /2015")
      ? {
          EventSourceMappings: [
            mapping("a", "shop-celery", { FunctionResponseTypes: [] }),
            mapping("b", "shop-media", { FunctionResponseTypes: ["ReportBatchItemFailures"] }),
          ],
        }
      : rest(one),
  );
  const [celery, media] = await shop().control.inspect().functions();
  expect(celery).toMatchObject({ queue: "celery", losesMessages: true });
  expect(media).not.toHaveProperty("losesMessages");
});

test("the age of the oldest message is CloudWatch's, of queues that have any", async () => {
  const asked = await aws(account((metric) => (metric === "ApproximateAgeOfOldestMessage" ? [90, 30] : [])));
  const inspect = shop().control.inspect();
  const withoutIt = await inspect.queues({ cloudWatch: false });
  expect(withoutIt[0]).not.toHaveProperty("oldest");
  expect(asked.some(({ target }) => target?.endsWith(".GetMetricData"))).toBe(false);
  expect(await inspect.queues()).toEqual([
    { queue: "celery", ready: 7, delayed: 0, inFlight: 0, deadLetters: 0, oldest: 90 },
    { queue: "media", ready: 0, delayed: 0, inFlight: 0, deadLetters: 0 },
  ]);
});

test("without the right to CloudWatch all else is told", async () => {
  await aws(account(() => undefined));
  const inspect = shop().control.inspect();
  expect(await inspect.queues()).toHaveLength(2);
  expect(await inspect.functions()).toEqual([
    { name: "shop-celery-worker", queue: "celery", state: "Enabled" },
    { name: "shop-media-worker", queue: "media", state: "Disabled", maxConcurrency: 5 },
  ]);
});

test("without the right to list the mappings it is said which one is missing", async () => {
  const answer = account(() => []);
  await aws((asked) => (asked.line.startsWith("GET /2015") ? { denied: "no" } : answer(asked)));
  await expect(shop().control.inspect().functions()).rejects.toThrow("lambda:ListEventSourceMappings");
});

test("a queue's bands are one queue: paused together, one function, the age of the oldest in any", async () => {
  const queues = ["shop-celery", "shop-celery-priority-9"];
  const functionOf = (UUID: string, queue: string, MaximumConcurrency: number) => ({
    ...mapping(UUID, queue, { ScalingConfig: { MaximumConcurrency } }),
    FunctionArn: "arn:aws:lambda:eu-west-1:1:function:worker",
  });
  const rest = account((metric, of) =>
    metric === "ApproximateAgeOfOldestMessage" ? [of.endsWith("-9") ? 120 : 30] : [],
  );
  const asked = await aws((one) => {
    if (one.line.startsWith("GET /2015"))
      return {
        EventSourceMappings: [functionOf("low", "shop-celery", 2), functionOf("high", "shop-celery-priority-9", 8)],
      };
    if (one.line.startsWith("PUT")) return {};
    if (one.target === "AmazonSQS.ListQueues")
      return { QueueUrls: [...queues, "shop-celery-dlq"].map((name) => `https://sqs/1/${name}`) };
    return rest(one);
  });
  const app = new Lovage("shop", {
    brokerUrl: "sqs://KEY:SECRET@eu-west-1?queue_name_prefix=shop-",
    resultBackend: "memory://",
    journal: false,
    taskQueues: { celery: { priorities: [0, 9] } },
  });
  onTestFinished(() => app.close());
  const inspect = app.control.inspect();
  expect(await inspect.functions()).toMatchObject([
    { name: "worker", queue: "celery", state: "Enabled", maxConcurrency: 10 },
  ]);
  expect(await inspect.queues()).toEqual([
    { queue: "celery", ready: 14, delayed: 0, inFlight: 0, deadLetters: 7, oldest: 120 },
  ]);
  await app.control.pause("celery", { by: "anna" });
  expect(asked.flatMap(({ line }) => (line.startsWith("PUT") ? [line] : []))).toEqual([
    "PUT /2015-03-31/event-source-mappings/low",
    "PUT /2015-03-31/event-source-mappings/high",
  ]);
});
