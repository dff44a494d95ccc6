/** Metrics in CloudWatch's embedded format: log lines that CloudWatch makes metrics of, without a request of ours. */

import type { MetricsChoice } from "../config/config.ts";

/** The namespace of the metrics in CloudWatch. */
export const NAMESPACE = "Lovage";

/** Each by queue, and where it is asked for by queue and task. */
export const METRICS = {
  /** Messages that were looked at. */
  Received: "Count",
  Succeeded: "Count",
  Failed: "Count",
  Retried: "Count",
  DeadLettered: "Count",
  /** From the time a message was sent, or its ETA, to the beginning of its task. */
  QueueToStart: "Milliseconds",
  RunTime: "Milliseconds",
} as const;

export type Metric = keyof typeof METRICS;

/** Stands for every task name that the app does not know: a dimension whose values anyone could invent costs money. */
const UNKNOWN_TASK = "unknown";

/** The most values of one metric that a line may have. */
const MAX_VALUES = 100;

export interface Metrics {
  /** @param queue The queue's name on SQS, as in the metrics of SQS itself. */
  add(metric: Metric, queue: string, task: string | undefined, value?: number): void;
  /** The lines of all that was added since the last time. */
  flush(now: number): readonly string[];
}

/**
 * @param choice Of what there are some: of each queue, or of each task of it too.
 * @param lowest Lambda's name of the lowest level that it lets through, as in `AWS_LAMBDA_LOG_LEVEL`: a line of JSON that has
 *   no level and time of its own counts as INFO there, and above that Lambda would drop it.
 */
export function createMetrics(
  choice: Exclude<MetricsChoice, false>,
  isKnown: (task: string) => boolean,
  lowest?: string,
): Metrics {
  const byTask = choice === "task";
  /** By queue, then by task; by the queue alone, that is none. */
  let series = new Map<string, Map<string, Map<Metric, number[]>>>();
  return {
    add(metric, QueueName, task, value = 1) {
      const TaskName = !byTask ? "" : task !== undefined && isKnown(task) ? task : UNKNOWN_TASK;
      const tasks = series.get(QueueName) ?? new Map<string, Map<Metric, number[]>>();
      series.set(QueueName, tasks);
      const metrics = tasks.get(TaskName) ?? new Map<Metric, number[]>();
      tasks.set(TaskName, metrics);
      const values = metrics.get(metric);
      if (values === undefined) metrics.set(metric, [value]);
      else if (METRICS[metric] === "Count") values[0] = (values[0] as number) + value;
      else values.push(value);
    },
    flush(now) {
      const each = [...series].flatMap(([QueueName, tasks]) =>
        [...tasks].map(([TaskName, values]) => ({ QueueName, TaskName, values })),
      );
      const lines = each.flatMap(({ QueueName, TaskName, values }) => {
        const longest = Math.max(...[...values.values()].map(({ length }) => length));
        return Array.from({ length: Math.ceil(longest / MAX_VALUES) }, (_, at) => {
          const part = [...values]
            .map(([metric, all]) => [metric, all.slice(at * MAX_VALUES, (at + 1) * MAX_VALUES)] as const)
            .filter(([, some]) => some.length > 0);
          return JSON.stringify({
            ...(lowest === undefined ? {} : { timestamp: new Date(now).toISOString(), level: lowest }),
            _aws: {
              Timestamp: now,
              CloudWatchMetrics: [
                {
                  Namespace: NAMESPACE,
                  Dimensions: [["QueueName"], ...(byTask ? [["QueueName", "TaskName"]] : [])],
                  Metrics: part.map(([Name]) => ({ Name, Unit: METRICS[Name] })),
                },
              ],
            },
            QueueName,
            ...(byTask && { TaskName }),
            ...Object.fromEntries(part.map(([metric, some]) => [metric, some.length === 1 ? some[0] : some])),
          });
        });
      });
      series = new Map();
      return lines;
    },
  };
}
