/** Handlers for AWS Lambda, made from an app. */
export {} from "../oldest-node.ts";
export { type BeatEvent, createBeatHandler } from "./beat.ts";
export { createBoardHandler, type HttpAnswer, type HttpEvent } from "./board.ts";
export { registerRuntimeSchedule } from "./runtime-schedule.ts";
export {
  type BatchResponse,
  createWorkerHandler,
  type HandlerOptions,
  type LambdaContext,
  type SqsEvent,
  type SqsRecord,
} from "./worker.ts";
