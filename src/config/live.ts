import type { ParsedConfig } from "./config.ts";
import {
  BROKER_OPTIONS,
  MAX_JOURNAL_SECONDS,
  PUBLISH_RETRY,
  annotations,
  beatSchedule,
  brokerTransportOptions,
  compression,
  duration,
  metrics,
  queues,
  payloadStore,
  resultBackendTransportOptions,
  routes,
  serializer,
  serializers,
  timezone,
  url,
  workerPool,
} from "./values.ts";
import { isBackendScheme, isBrokerScheme } from "../open.ts";
import { boolean, integer, name, names, type Parse, seconds, text } from "../parse.ts";
import { retryPolicy } from "../tasks/options.ts";

/** A setting that does something. */
export interface LiveSetting<T> {
  /** Celery has it too. */
  readonly celery?: true;
  /** Celery's old name, where {@link oldName} cannot derive it. */
  readonly old?: string;
  readonly default: T;
  readonly parse: Parse<T>;
}

export const LIVE: { readonly [K in keyof ParsedConfig]: LiveSetting<ParsedConfig[K]> } = {
  brokerUrl: {
    celery: true,
    default: "sqlite://",
    parse: url(["sqlite", "memory", "sqs"], isBrokerScheme, "sqlite://, sqlite:///path, memory://, or sqs://[region]"),
  },
  brokerUrlRequired: {
    default: false,
    parse: boolean,
  },
  resultBackend: {
    celery: true,
    default: undefined,
    parse: url(
      ["sqlite", "memory", "dynamodb"],
      isBackendScheme,
      "sqlite://, sqlite:///path, memory://, or dynamodb://[region]/table",
    ),
  },
  payloadStore: {
    default: undefined,
    parse: payloadStore,
  },
  brokerTransportOptions: {
    celery: true,
    default: Object.freeze(BROKER_OPTIONS),
    parse: brokerTransportOptions,
  },
  resultBackendTransportOptions: {
    celery: true,
    default: Object.freeze({ globalKeyprefix: "", requestHandler: undefined }),
    parse: resultBackendTransportOptions,
  },
  timezone: {
    celery: true,
    default: "UTC",
    parse: timezone,
  },
  acceptContent: {
    celery: true,
    default: undefined,
    parse: serializers,
  },
  resultAcceptContent: {
    celery: true,
    old: "RESULT_ACCEPT_CONTENT",
    default: undefined,
    parse: serializers,
  },
  taskSerializer: {
    celery: true,
    old: "CELERY_TASK_SERIALIZER",
    default: "json",
    parse: serializer,
  },
  resultSerializer: {
    celery: true,
    default: "json",
    parse: serializer,
  },
  taskCompression: {
    celery: true,
    old: "CELERY_MESSAGE_COMPRESSION",
    default: undefined,
    parse: compression,
  },
  resultCompression: {
    celery: true,
    default: undefined,
    parse: compression,
  },
  resultExpires: {
    celery: true,
    old: "CELERY_TASK_RESULT_EXPIRES",
    default: 86_400,
    parse: (value, at) => duration(value, at) || Infinity,
  },
  journal: {
    default: true,
    parse: boolean,
  },
  journalExpires: {
    default: 604_800,
    parse: (value, at) => seconds({ min: 60, max: MAX_JOURNAL_SECONDS })(duration(value, at), at),
  },
  keepFailed: {
    default: true,
    parse: boolean,
  },
  metrics: {
    default: "queue",
    parse: metrics,
  },
  resultExtended: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskDefaultQueue: {
    celery: true,
    default: "celery",
    parse: name,
  },
  taskDefaultExchange: {
    celery: true,
    default: "",
    parse: text,
  },
  taskDefaultRoutingKey: {
    celery: true,
    default: undefined,
    parse: name,
  },
  taskDefaultPriority: {
    celery: true,
    default: undefined,
    parse: integer(0, 255),
  },
  taskQueues: {
    celery: true,
    old: "CELERY_QUEUES",
    default: undefined,
    parse: queues,
  },
  taskRoutes: {
    celery: true,
    old: "CELERY_ROUTES",
    default: Object.freeze([]),
    parse: routes,
  },
  taskCreateMissingQueues: {
    celery: true,
    default: true,
    parse: boolean,
  },
  taskIgnoreResult: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskStoreErrorsEvenIfIgnored: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskTrackStarted: {
    celery: true,
    default: true,
    parse: boolean,
  },
  taskTimeLimit: {
    celery: true,
    old: "CELERYD_TASK_TIME_LIMIT",
    default: undefined,
    parse: seconds({ over: 0 }),
  },
  taskSoftTimeLimit: {
    celery: true,
    old: "CELERYD_TASK_SOFT_TIME_LIMIT",
    default: undefined,
    parse: seconds({ over: 0 }),
  },
  taskAlwaysEager: { celery: true, default: false, parse: boolean },
  taskEagerPropagates: {
    celery: true,
    old: "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    default: false,
    parse: boolean,
  },
  taskStoreEagerResult: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskInheritParentPriority: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskAllowErrorCbOnChordHeader: {
    celery: true,
    default: false,
    parse: boolean,
  },
  taskPublishRetry: {
    celery: true,
    old: "CELERY_TASK_PUBLISH_RETRY",
    default: true,
    parse: boolean,
  },
  taskPublishRetryPolicy: {
    celery: true,
    old: "CELERY_TASK_PUBLISH_RETRY_POLICY",
    default: Object.freeze(PUBLISH_RETRY),
    parse: retryPolicy(PUBLISH_RETRY),
  },
  taskAnnotations: {
    celery: true,
    default: Object.freeze({}),
    parse: annotations,
  },
  maxDeliveries: {
    default: 3,
    parse: integer(1, 100),
  },
  beatSchedule: {
    celery: true,
    default: Object.freeze({}),
    parse: beatSchedule,
  },
  beatFunction: {
    default: undefined,
    parse: name,
  },
  workerPool: {
    celery: true,
    default: "async",
    parse: workerPool,
  },
  workerConcurrency: {
    celery: true,
    default: undefined,
    parse: (value, at) => (value === "auto" ? undefined : integer(1, 10_000)(value, at)),
  },
  workerPrefetchMultiplier: {
    celery: true,
    default: 4,
    parse: integer(1, 1000),
  },
  imports: {
    celery: true,
    default: Object.freeze([]),
    parse: names,
  },
  include: { celery: true, default: Object.freeze([]), parse: names },
  workerMaxTasksPerChild: {
    celery: true,
    default: undefined,
    parse: integer(1),
  },
  workerMaxMemoryPerChild: {
    celery: true,
    default: undefined,
    parse: integer(1),
  },
  workerSoftShutdownTimeout: {
    celery: true,
    default: 20,
    parse: seconds({ max: 86_400 }),
  },
};
