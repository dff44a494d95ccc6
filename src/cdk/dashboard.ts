/** What goes on in an app, on one page of CloudWatch. */
import { Duration } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import type * as ecs from "aws-cdk-lib/aws-ecs";
import type * as lambda from "aws-cdk-lib/aws-lambda";
import type { Construct } from "constructs";
import type { MetricsChoice } from "../config/config.ts";
import { type Metric, NAMESPACE } from "../lambda/metrics.ts";
import type { TaskQueue } from "./task-queue.ts";

interface TaskDashboardProps {
  /** By their names in the app. */
  readonly queues: ReadonlyMap<string, TaskQueue>;
  readonly alarms: readonly cloudwatch.Alarm[];
  /** Of what the functions write metrics. */
  readonly metrics: MetricsChoice;
}

const WIDTH = 8;
/**
 * Of one widget:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html#CloudWatch-Dashboard-Properties-Alarm-Widget-Object
 */
const MAX_ALARMS = 100;

/** A row for each queue: what waits, what became of it, how long it took. */
export function taskDashboard(
  scope: Construct,
  id: string,
  { queues: taskQueues, alarms, metrics }: TaskDashboardProps,
): cloudwatch.Dashboard {
  const dashboard = new cloudwatch.Dashboard(scope, id, { defaultInterval: Duration.hours(3) });
  for (let at = 0; at < alarms.length; at += MAX_ALARMS)
    dashboard.addWidgets(
      new cloudwatch.AlarmStatusWidget({
        title: at === 0 ? "Alarms" : `Alarms, from the ${at + 1}st on`,
        alarms: alarms.slice(at, at + MAX_ALARMS),
        width: 3 * WIDTH,
        height: 3,
      }),
    );
  for (const [name, taskQueue] of taskQueues) {
    const { queue, queues, bandNames, deadLetterQueue } = taskQueue;
    const whose = (rank: number) => (queues.length === 1 ? "" : `, ${bandNames[rank]}`);
    const metric = (metricName: Metric, statistic: string, label: string = metricName) =>
      new cloudwatch.Metric({
        namespace: NAMESPACE,
        metricName,
        statistic,
        label,
        period: Duration.minutes(1),
        dimensionsMap: { QueueName: queue.queueName },
      });
    const waiting = new cloudwatch.GraphWidget({
      title: `${name}: waiting`,
      width: WIDTH,
      left: [
        ...queues.flatMap((band, rank) => [
          band.metricApproximateNumberOfMessagesVisible({ label: `waiting${whose(rank)}` }),
          band.metricApproximateNumberOfMessagesNotVisible({ label: `in hand${whose(rank)}` }),
        ]),
        deadLetterQueue.metricApproximateNumberOfMessagesVisible({ label: "dead letters" }),
      ],
      right: queues.map((band, rank) =>
        band.metricApproximateAgeOfOldestMessage({ label: `age of the oldest${whose(rank)} (s)` }),
      ),
    });
    const { service, worker } = taskQueue;
    const fn = worker === "function" ? taskQueue.function : undefined;
    if (metrics === false || worker === "none") {
      dashboard.addWidgets(
        waiting,
        ...(fn === undefined ? [] : functionWidgets(name, fn)),
        ...containers(name, service),
      );
      continue;
    }
    dashboard.addWidgets(
      waiting,
      new cloudwatch.GraphWidget({
        title: `${name}: tasks`,
        width: WIDTH,
        left: [
          metric("Received", "Sum"),
          metric("Succeeded", "Sum"),
          metric("Failed", "Sum"),
          metric("Retried", "Sum"),
          metric("DeadLettered", "Sum"),
        ],
        ...(fn !== undefined && {
          right: [fn.metricErrors({ label: "function errors" }), fn.metricThrottles({ label: "throttles" })],
        }),
      }),
      new cloudwatch.GraphWidget({
        title: `${name}: times (ms)`,
        width: WIDTH,
        left: [
          metric("QueueToStart", "p50", "queue to start, p50"),
          metric("QueueToStart", "p99", "queue to start, p99"),
          metric("RunTime", "p50", "run, p50"),
          metric("RunTime", "p99", "run, p99"),
        ],
      }),
      ...containers(name, service),
    );
    if (metrics === "task") {
      dashboard.addWidgets(
        byTask(`${name}: failed, by task`, queue.queueName, "Failed", "Sum"),
        byTask(`${name}: run by task, p99 (ms)`, queue.queueName, "RunTime", "p99"),
        byTask(`${name}: queue to start by task, p99 (ms)`, queue.queueName, "QueueToStart", "p99"),
      );
    }
  }
  return dashboard;
}

/** Of each task that there is by then: no names are written down. */
const byTask = (title: string, queueName: string, metricName: Metric, statistic: string) =>
  new cloudwatch.GraphWidget({
    title,
    width: WIDTH,
    left: [
      new cloudwatch.MathExpression({
        expression: `SEARCH('{${NAMESPACE},QueueName,TaskName} MetricName="${metricName}" QueueName="${queueName}"', '${statistic}', 60)`,
        label: "",
        usingMetrics: {},
        period: Duration.minutes(1),
      }),
    ],
  });

/** What Lambda itself counts, which costs nothing: invocations, of ten tasks each at most, say. */
const functionWidgets = (name: string, fn: lambda.IFunction) => [
  new cloudwatch.GraphWidget({
    title: `${name}: invocations`,
    width: WIDTH,
    left: [fn.metricInvocations({ label: "invocations" })],
    right: [fn.metricErrors({ label: "function errors" }), fn.metricThrottles({ label: "throttles" })],
  }),
  new cloudwatch.GraphWidget({
    title: `${name}: times of invocations (ms)`,
    width: WIDTH,
    left: [
      fn.metricDuration({ label: "p50", statistic: "p50" }),
      fn.metricDuration({ label: "p99", statistic: "p99" }),
    ],
  }),
];

const containers = (name: string, service: ecs.FargateService | undefined) =>
  service === undefined ? [] : [containersWidget(name, service)];

const containersWidget = (name: string, service: ecs.FargateService) =>
  new cloudwatch.GraphWidget({
    title: `${name}: containers`,
    width: WIDTH,
    left: [
      service.metricCpuUtilization({ label: "CPU (%)" }),
      service.metricMemoryUtilization({ label: "memory (%)" }),
    ],
    leftYAxis: { min: 0, max: 100 },
  });
