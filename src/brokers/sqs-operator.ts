/**
 * What an operator asks of AWS beside its queues and tables: who calls, which functions serve the queues and how they do, how
 * old the oldest message is, and that functions stop fetching, or go on.
 */
import { SQSClient } from "#aws/sqs";
import { CloudWatchClient, GetMetricDataCommand } from "../aws/bundled-cloudwatch.ts";
import {
  LambdaClient,
  ListEventSourceMappingsCommand,
  UpdateEventSourceMappingCommand,
} from "../aws/bundled-lambda.ts";
import { GetCallerIdentityCommand, STSClient } from "../aws/bundled-sts.ts";
import type { Metadata } from "../aws/client.ts";
import { type AwsUrl, clientConfig, parseAwsUrl, SQS_OPTIONS } from "../aws/connection.ts";
import { translateError } from "../aws/errors.ts";
import type { FunctionNumbers, FunctionOfQueue, Operator } from "./operator.ts";

const REQUEST_TIMEOUT_MS = 10_000;

interface Mapping {
  readonly UUID: string;
  readonly EventSourceArn?: string;
  readonly FunctionArn?: string;
  readonly State?: string;
  readonly ScalingConfig?: { readonly MaximumConcurrency?: number };
  /** Lambda tells of none by an empty list. */
  readonly FunctionResponseTypes?: readonly string[];
}

interface MetricData {
  readonly MetricDataResults?: readonly { readonly Id?: string; readonly Values?: readonly number[] }[];
  readonly NextToken?: string;
}

/** A number of CloudWatch's: of one queue or function. */
interface MetricOf {
  readonly namespace: string;
  readonly metric: string;
  readonly dimension: string;
  readonly of: string;
  readonly statistic: string;
}

/** Of one request of GetMetricData. */
const MAX_METRICS = 500;
/** CloudWatch has a number of SQS's a minute or two later; of a queue that nobody uses it has none. */
const AGE_WINDOW_MS = 5 * 60_000;
const HOUR_MS = 60 * 60_000;
const FUNCTION_METRICS = {
  invocations: ["Invocations", "Sum"],
  errors: ["Errors", "Sum"],
  throttles: ["Throttles", "Sum"],
  concurrency: ["ConcurrentExecutions", "Maximum"],
} as const;

export function createOperator(brokerUrl: string, options: Readonly<Record<string, unknown>>): Operator {
  const { maxDelay: _, ...known } = options;
  const url: AwsUrl = parseAwsUrl("brokerUrl", brokerUrl, known, SQS_OPTIONS);
  const config = async () => {
    const made = {
      // A host of one's own has any region, as for the queues.
      ...(url.endpoint !== undefined && { region: globalThis.process?.env["AWS_REGION"] ?? "us-east-1" }),
      ...clientConfig(url, REQUEST_TIMEOUT_MS),
    };
    // Found as the SDK finds them: in the environment, by a profile or a role.
    const { config: found } = new SQSClient(made);
    return { ...made, region: await found.region(), credentials: await found.credentials() };
  };
  const call = async <T extends object>(action: string, resource: string, work: () => Promise<Metadata & object>) => {
    try {
      return (await work()) as Metadata & T;
    } catch (error) {
      throw translateError(error, { action, resource });
    }
  };

  /** The mappings of queues, by the names that these have on SQS. */
  async function mappings(
    client: InstanceType<typeof LambdaClient>,
  ): Promise<readonly (Mapping & { queue: string })[]> {
    const found: Mapping[] = [];
    for (let Marker: string | undefined, more = true; more; more = Marker !== undefined) {
      const input = Marker === undefined ? {} : { Marker };
      const answer = await call<{
        readonly EventSourceMappings?: readonly Mapping[];
        readonly NextMarker?: string;
      }>("lambda:ListEventSourceMappings", "the event source mappings of this region", () =>
        client.send(new ListEventSourceMappingsCommand(input)),
      );
      found.push(...(answer.EventSourceMappings ?? []));
      Marker = answer.NextMarker || undefined;
    }
    return found.flatMap((mapping) => {
      const [, , service, , , queue] = (mapping.EventSourceArn ?? "").split(":");
      return service === "sqs" && queue !== undefined ? [{ ...mapping, queue }] : [];
    });
  }

  /** What CloudWatch has of each, minute by minute, the newest first. */
  async function numbers(metrics: readonly MetricOf[], from: number, to: number, period: number) {
    const values = metrics.map((): number[] => []);
    if (metrics.length === 0) return values;
    const client = new CloudWatchClient(await config());
    try {
      for (let at = 0; at < metrics.length; at += MAX_METRICS) {
        const MetricDataQueries = metrics
          .slice(at, at + MAX_METRICS)
          .map(({ namespace, metric, dimension, of, statistic }, index) => ({
            Id: `m${at + index}`,
            MetricStat: {
              Metric: { Namespace: namespace, MetricName: metric, Dimensions: [{ Name: dimension, Value: of }] },
              Period: period,
              Stat: statistic,
            },
          }));
        const asked = {
          MetricDataQueries,
          StartTime: Math.floor(from / 1000),
          EndTime: Math.floor(to / 1000),
          ScanBy: "TimestampDescending",
        };
        for (let NextToken: string | undefined, more = true; more; more = NextToken !== undefined) {
          const input = NextToken === undefined ? asked : { ...asked, NextToken };
          const answer = await call<MetricData>("cloudwatch:GetMetricData", "the metrics of this region", () =>
            client.send(new GetMetricDataCommand(input)),
          );
          for (const { Id = "", Values = [] } of answer.MetricDataResults ?? [])
            values[Number(Id.slice(1))]?.push(...Values);
          NextToken = answer.NextToken || undefined;
        }
      }
      return values;
    } finally {
      client.destroy();
    }
  }

  return {
    async functions(): Promise<readonly FunctionOfQueue[]> {
      const client = new LambdaClient(await config());
      try {
        return (await mappings(client)).map((mapping) => {
          const { queue, FunctionArn = "", State = "", ScalingConfig, FunctionResponseTypes: types } = mapping;
          const [, , , , , , name = FunctionArn] = FunctionArn.split(":");
          const maxConcurrency = ScalingConfig?.MaximumConcurrency;
          return {
            queue,
            name,
            state: State,
            ...(maxConcurrency !== undefined && { maxConcurrency }),
            ...(types?.includes("ReportBatchItemFailures") === false && { losesMessages: true }),
          };
        });
      } finally {
        client.destroy();
      }
    },
    async functionNumbers(names: readonly string[], now: number): Promise<ReadonlyMap<string, FunctionNumbers>> {
      const kinds = Object.entries(FUNCTION_METRICS);
      const metrics = names.flatMap((of) =>
        kinds.map(([, [metric, statistic]]) => ({
          namespace: "AWS/Lambda",
          metric,
          dimension: "FunctionName",
          of,
          statistic,
        })),
      );
      const values = await numbers(metrics, now - HOUR_MS, now, 300);
      return new Map(
        names.map((name, at) => {
          const [invocations = [], errors = [], throttles = [], concurrency = []] = values.slice(at * kinds.length);
          const sum = (list: readonly number[]) => list.reduce((all, one) => all + one, 0);
          const most = Math.max(0, ...concurrency);
          return [
            name,
            { invocations: sum(invocations), errors: sum(errors), throttles: sum(throttles), concurrency: most },
          ] as const;
        }),
      );
    },
    async oldest(queues: readonly string[], now: number): Promise<ReadonlyMap<string, number>> {
      const metrics = queues.map((of) => ({
        namespace: "AWS/SQS",
        metric: "ApproximateAgeOfOldestMessage",
        dimension: "QueueName",
        of,
        statistic: "Maximum",
      }));
      const values = await numbers(metrics, now - AGE_WINDOW_MS, now, 60);
      return new Map(queues.flatMap((queue, at) => values[at]?.slice(0, 1).map((age) => [queue, age] as const) ?? []));
    },
    async caller(): Promise<string> {
      const client = new STSClient(await config());
      try {
        const { Arn } = await call<{ readonly Arn?: string }>("sts:GetCallerIdentity", "the caller", () =>
          client.send(new GetCallerIdentityCommand({})),
        );
        if (Arn === undefined) throw new Error("sts:GetCallerIdentity was answered without an ARN");
        return Arn;
      } finally {
        client.destroy();
      }
    },
    async setEnabled(queue: string, enabled: boolean): Promise<void> {
      const client = new LambdaClient(await config());
      try {
        const ofQueue = (await mappings(client)).filter((mapping) => mapping.queue === queue);
        for (const { UUID } of ofQueue) {
          await call("lambda:UpdateEventSourceMapping", `the event source mapping of ${queue}`, () =>
            client.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: enabled })),
          );
        }
      } finally {
        client.destroy();
      }
    },
  };
}
