/** What a worker does, as CloudWatch reads it in a log: lines in its embedded metric format, the same that functions write. */
import type { Lovage } from "../app.ts";
import { translateQueueName } from "../brokers/queue-name.ts";
import { createMetrics, type Metric } from "../lambda/metrics.ts";
import { parseTime } from "../protocol/time.ts";
import { FAILURE, hasRun, RETRY, SUCCESS } from "../states.ts";
import type { PollWatch } from "../workers/poll.ts";

/** Lines are written so often, in milliseconds: CloudWatch adds up what is of the same minute. */
const FLUSH_MS = 30_000;

const ENDS: Readonly<Record<string, Metric>> = { [SUCCESS]: "Succeeded", [FAILURE]: "Failed", [RETRY]: "Retried" };

export interface CloudWatchLines extends PollWatch {
  /** Writes what is left, and no more. */
  end(): void;
}

/** `undefined` where the app wants no metrics (`metrics: false`). */
export function cloudWatchLines(app: Lovage, write: (line: string) => void): CloudWatchLines | undefined {
  const { config, clock } = app.engine;
  if (config.metrics === false) return undefined;
  const metrics = createMetrics(config.metrics, (task) => app.tasks.has(task));
  const named = (queue: string) => translateQueueName(config.brokerTransportOptions.queueNamePrefix, queue);
  const flush = () => {
    for (const line of metrics.flush(clock.now())) write(line);
  };
  const timer = setInterval(flush, FLUSH_MS).unref();
  app.on("taskRejected", ({ task, queue }) => metrics.add("DeadLettered", named(queue), task));
  return {
    received: () => {},
    began({ message: { task, eta }, delivery: { queue, sentAt }, decided }) {
      metrics.add("Received", named(queue), task);
      if (decided) return;
      const due = Math.max(sentAt, eta === null ? 0 : parseTime(eta));
      metrics.add("QueueToStart", named(queue), task, Math.max(0, clock.now() - due));
    },
    ended({ task, queue, state, runtime }) {
      const end = ENDS[state];
      if (end !== undefined) metrics.add(end, named(queue), task);
      if (hasRun(state, runtime)) metrics.add("RunTime", named(queue), task, Math.round(runtime * 1000));
    },
    end() {
      clearInterval(timer);
      flush();
    },
  };
}

/** One that tells several; `undefined` where there is none. */
export function watchers(...given: readonly (PollWatch | undefined)[]): PollWatch | undefined {
  const all = given.filter((watch) => watch !== undefined);
  if (all.length === 0) return undefined;
  return {
    received(queue, count) {
      for (const watch of all) watch.received(queue, count);
    },
    began(run) {
      for (const watch of all) watch.began(run);
    },
    ended(attempt) {
      for (const watch of all) watch.ended(attempt);
    },
  };
}
