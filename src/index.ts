/** What users import. It loads nothing that needs Node: an app that only sends runs at the edge too. */
export {} from "./oldest-node.ts";
export { Lovage } from "./app.ts";
export type { Around, RanTask } from "./around.ts";
export type {
  Acting,
  ChangedLetters,
  ChangedTasks,
  ChangeLetters,
  ChangeTasks,
  Control,
  DeadLetters,
  LettersOf,
  RedriveLetters,
  RetriedFailures,
  RetryFailed,
  RetryRefusal,
  RevokeTasks,
  ShownLetter,
} from "./control/control.ts";
export type { FunctionNumbers } from "./brokers/operator.ts";
export type { ByWorker, FunctionState, Inspect, InspectNumbers, QueueState, WaitingTask } from "./control/inspect.ts";
export type { Order, TaskInHand, WorkerInfo } from "./control/rows.ts";
export type { Platform } from "./engine.ts";
export type {
  BrokerTransportOptions,
  Compression,
  Config,
  ConfigInput,
  PredefinedQueue,
  QueueConfig,
  MetricsChoice,
  WorkerPool,
  QueueWorker,
  QueueInput,
  ResultBackendTransportOptions,
  TaskAnnotations,
  TaskRoutes,
} from "./config/config.ts";
export type { PublishRetryPolicy } from "./brokers/outbox.ts";
export type { Route, RouterFunction, RouteValue, TaskRouter } from "./brokers/routes.ts";
export type { RequestHandler } from "./request-handler.ts";
export { registerBackend, registerBroker } from "./open.ts";
export { isFifo, refusal } from "./brokers/broker.ts";
export type {
  Broker,
  BrokerContext,
  BrokerLimits,
  Delivery,
  Due,
  OpenBroker,
  Outgoing,
  QueueSize,
  ReceiveOptions,
} from "./brokers/broker.ts";
export type { JournalEntry, JournalError, JournalKind } from "./journal/entry.ts";
export type { FailureGroup } from "./journal/failures.ts";
export type { Journal } from "./journal/journal.ts";
export type { FailuresQuery, JournalFilter, JournalQuery, JournalSpan, SummaryQuery } from "./journal/query.ts";
export type { JournalOptions, JournalRange, JournalStore } from "./journal/store.ts";
export type { Percentiles, SummaryStep } from "./journal/summary.ts";
export type { Workflow, WorkflowGroup, WorkflowTask } from "./journal/workflow.ts";
export type { Store, Unit } from "./unit.ts";
export type { Wait } from "./wait.ts";
export type { Backend, BackendContext, OpenBackend, Payload, Row } from "./results/backend.ts";
export { decide, isExpired } from "./results/record.ts";
export type { Command, Decision, Outcome } from "./results/record.ts";
export { Task } from "./tasks/task.ts";
export type { TaskRef } from "./tasks/task.ts";
export type { BatchCall, BatchOptions, BatchResult, BatchResults } from "./tasks/batch.ts";
export { currentTask } from "./tasks/context.ts";
export type { Request, RetryOptions, RunningTask, TaskContext } from "./tasks/context.ts";
export { getTaskLogger } from "./tasks/logger.ts";
export type { LogExtra, TaskLogger } from "./tasks/logger.ts";
export type { AnnotationOptions, CallOptions, TaskOptions, TaskRefOptions } from "./tasks/options.ts";
export type { FailedRequest } from "./tasks/errback.ts";
export type { Sendable, Wire } from "./tasks/wire.ts";
export { chain, chord, group } from "./canvas/canvas.ts";
export type { ChainOf, GroupOf, Step } from "./canvas/fit.ts";
export type { Form } from "./canvas/shape.ts";
export { Signature } from "./canvas/signature.ts";
export type { SignatureLike } from "./canvas/signature.ts";
export type { SignatureData } from "./protocol/message.ts";
export type { SerializerName } from "./protocol/serializers.ts";
export type { SendManyOptions, SentCalls, UnsentCall } from "./canvas/send-many.ts";
export { AsyncResult } from "./results/async-result.ts";
export type { GetOptions, StreamOptions, WatchedState, WatchOptions } from "./results/async-result.ts";
export type { Chunk } from "./results/stream.ts";
export { GroupResult } from "./results/group-result.ts";
export { crontab } from "./beat/crontab.ts";
export type { CronField, CrontabFields } from "./beat/crontab.ts";
export { at, every, solar } from "./beat/schedule.ts";
export type {
  AtSchedule,
  BeatEntry,
  CatchUp,
  CrontabSchedule,
  Duration,
  IntervalSchedule,
  Schedule,
  ScheduleEntry,
  SolarEvent,
  SolarSchedule,
} from "./beat/schedule.ts";
export type { RuntimeEntry, StoredEntries, UnreadableEntry } from "./beat/store.ts";
export { beatEntry } from "./tasks/beat.ts";
export type { BeatEntryOf, RuntimeSchedule } from "./tasks/beat.ts";
export { Decimal, PlainDate, PlainTime, registerType, Uuid } from "./protocol/values.ts";
export type { SignalHandler, SignalName, Signals } from "./signals.ts";
export * as states from "./states.ts";
export * from "./errors.ts";
