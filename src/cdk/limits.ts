/** What AWS takes, checked before anything is deployed: each refusal names the limit and the value given. */
import { ImproperlyConfigured } from "../errors.ts";
import { checkLiteral } from "./names.ts";

interface Range {
  readonly min: number;
  /** Absent where there is none that all accounts have. */
  readonly max?: number;
  readonly unit: string;
}

/** Inclusive, whole numbers. */
export const LIMITS = {
  memorySize: { min: 128, max: 10_240, unit: "MB" },
  ephemeralStorageSize: { min: 512, max: 10_240, unit: "MB" },
  failedPercent: { min: 1, max: 100, unit: "%" },
  batchSize: { min: 1, max: 10_000, unit: "messages" },
  fifoBatchSize: { min: 1, max: 10, unit: "messages on a FIFO queue" },
  maxBatchingWindow: { min: 0, max: 300, unit: "seconds" },
  /** SQS's event sources know no concurrency of 1: a FIFO queue with one message group runs one task at a time. */
  maxConcurrency: { min: 2, max: 1000, unit: "invocations" },
  /** An event poller runs ten invocations at a time, so that a queue has 20,000 at most. */
  minimumPollers: { min: 2, max: 200, unit: "pollers" },
  maximumPollers: { min: 2, max: 2000, unit: "pollers" },
  /** Of a container. */
  concurrency: { min: 1, max: 10_000, unit: "tasks at a time" },
  minTasks: { min: 0, max: 5000, unit: "containers" },
  /** ECS runs no more tasks of a service. */
  maxTasks: { min: 1, max: 5000, unit: "containers" },
  backlogPerTask: { min: 1, max: 1_000_000, unit: "messages" },
  ephemeralStorageGiB: { min: 21, max: 200, unit: "GiB" },
  /** Fargate's longest; shorter than this nothing could be handed back. */
  stopTimeout: { min: 15, max: 120, unit: "seconds" },
  reservedConcurrency: { min: 1, max: 1_000_000, unit: "invocations" },
  retentionPeriod: { min: 60, max: 14 * 86_400, unit: "seconds (a minute to 14 days)" },
  /** What DynamoDB gives each table, which is never less. */
  readUnitsPerSecond: { min: 12_000, unit: "reads a second" },
  writeUnitsPerSecond: { min: 4000, unit: "writes a second" },
} as const satisfies Record<string, Range>;

/** An event source with larger batches than this has to wait for them. */
export const MAX_BATCH_WITHOUT_WINDOW = 10;

/** Invocations at a time of one event poller of the provisioned mode. */
export const INVOCATIONS_OF_POLLER = 10;

/** Of an alarm, for each of its states. */
export const MAX_ALARM_ACTIONS = 5;

/** Throws `ImproperlyConfigured` where a number is out of its range. */
export function checkRange(setting: string, value: number | undefined, { min, max, unit }: Range): void {
  checkLiteral(setting, value);
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= (max ?? value))) return;
  const range = max === undefined ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new ImproperlyConfigured(setting, `must be a whole number ${range} ${unit}; given: ${value}`);
}

/** CloudFormation's, of one stack. */
export const MAX_RESOURCES = 500;

/**
 * Starts a second of one row of a rate: DynamoDB takes 1,000 writes a second of one key
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html), a start that waits asks
 * twice, and where workers meet each of these is written twice, about.
 */
export const MOST_STARTS_OF_ROW = 1000 / 2 / 2;
