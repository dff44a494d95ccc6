/** Constructs for the AWS CDK: an app's queues, workers, results and beat. Needs `aws-cdk-lib`, `constructs` and `esbuild`. */
export {} from "../oldest-node.ts";
export { BeatRules, type BeatRulesProps } from "./beat-rules.ts";
export { Board, type BoardFunctionOptions } from "./board.ts";
export type { ContainerOptions } from "./container-worker.ts";
export { loadApp } from "./load-app.ts";
export { LongDelays, type LongDelaysProps } from "./long-delays.ts";
export type { PayloadBucket } from "./payload-bucket.ts";
export { ResultTable, type ResultTableProps } from "./result-table.ts";
export { bundlingFor, type FunctionBundling, type FunctionOptions, type TaskBundling } from "./task-function.ts";
export { TaskQueue, type TaskQueueOptions, type TaskQueueProps } from "./task-queue.ts";
export { TaskQueues, type TaskQueuesProps } from "./task-queues.ts";
