/** `lovage/worker`: a worker inside a process of your own. The `lovage worker` command is this, with a process to itself. */
export {} from "../oldest-node.ts";
export type { Log, LogLevel } from "./log.ts";
export { type PollingWorker, type PollOptions, startWorker } from "./poll.ts";
export {
  type Admission,
  createWorker,
  type Disposition,
  type Run,
  type RunEnd,
  type Watch,
  type Worker,
  type WorkerOptions,
} from "./worker.ts";
