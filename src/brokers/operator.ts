/** The port of what an operator asks beside queues and rows: of a broker whose tasks functions run. */

/** A function that is given the messages of a queue. */
export interface FunctionOfQueue {
  /** The queue's name on SQS, prefix included. */
  readonly queue: string;
  readonly name: string;
  /** Whether it is given messages, in Lambda's words: `Enabled`, `Disabled`, `Enabling`, `Disabling` … */
  readonly state: string;
  /** Invocations at a time at most, where the queue says so. */
  readonly maxConcurrency?: number;
  /** `true`: the event source mapping has no `ReportBatchItemFailures`, so that Lambda deletes what the function hands back: such tasks are lost. */
  readonly losesMessages?: true;
}

/** What a function did in the last hour. */
export interface FunctionNumbers {
  /** How often the function was called. */
  readonly invocations: number;
  /** Invocations that died or timed out: tasks that fail are none. */
  readonly errors: number;
  /** Invocations that the account's concurrency, or the function's own, had no room for. */
  readonly throttles: number;
  /** The most that ran at a time. */
  readonly concurrency: number;
}

/** What asks AWS itself, beside its queues and tables. Queues go by their names on SQS, prefix included. */
export interface Operator {
  /** The ARN of who calls. */
  caller(): Promise<string>;
  /** Has the functions of a queue fetch, or not. */
  setEnabled(queue: string, enabled: boolean): Promise<void>;
  /** The functions of all queues of the region. */
  functions(): Promise<readonly FunctionOfQueue[]>;
  /** By the functions' names, from CloudWatch. `now`: in milliseconds since the epoch. */
  functionNumbers(names: readonly string[], now: number): Promise<ReadonlyMap<string, FunctionNumbers>>;
  /** Seconds since the oldest message of each queue was sent, from CloudWatch: a minute or two ago. */
  oldest(queues: readonly string[], now: number): Promise<ReadonlyMap<string, number>>;
}
