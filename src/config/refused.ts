/** A setting of Celery's that has one value here, or none. */
export interface FixedSetting {
  readonly old?: string;
  /** The values that say what happens anyway; any other is refused. */
  readonly accepts: readonly unknown[];
  /** Why, and what to do instead: the sentence with which it is refused. */
  readonly instead: string;
}

/** Settings of a group that share their reason, by what follows the group's name. */
function group<G extends string, N extends string>(
  prefix: G,
  members: readonly N[],
  instead: string,
): {
  readonly [K in N as `${G}${K}`]: {
    readonly accepts: readonly [];
    readonly instead: string;
  };
} {
  return Object.fromEntries(
    members.map((member) => [prefix + member, { accepts: [], instead }]),
    // The keys are prefix and member, which is what the type says and `fromEntries` cannot.
  ) as never;
}

const NO_SUCH_BACKEND =
  "there is no such result backend here; results are kept in DynamoDB, SQLite or memory (resultBackend)";
const NO_EVENTS = "workers send no events; the journal has what happened (app.journal, lovage events)";
const NO_REMOTE_CONTROL =
  "SQS has no broadcast; app.control and lovage control write rows that workers read, and need no setting";
const NO_POOL =
  "the pool starts and replaces its processes or threads itself; set workerPool, and their number as workerConcurrency";
const NO_CONNECTION =
  "no connection is kept open: SQLite and memory are in the process itself, and the AWS SDK sends requests by HTTPS and repeats them (set AWS_MAX_ATTEMPTS, AWS_RETRY_MODE)";
const NO_BROKER_PARTS = "give all of it in brokerUrl";
const NO_LOGGING =
  "the worker writes its log to standard output, as its --loglevel and --log-format say, and does not change the console";
const NO_AMQP = "it is a setting of RabbitMQ; on SQS and in SQLite all queues are of one kind";
const NO_SIGNING = "messages are not signed; IAM decides who may use the queues";
const NO_RESULT_EXCHANGE = "it belongs to the rpc backend; results are rows here (resultBackend)";
const ACKS = "a message is acknowledged after the outcome is stored, whatever the outcome; throw Reject to refuse one";
const SHUTDOWN = "an idle worker that is told to stop has nothing to wait for; delayed messages wait in the queue";

export const FIXED = {
  enableUtc: {
    accepts: [true],
    instead: "times in messages are always UTC; timezone is the zone of schedules",
  },

  taskAcksLate: {
    accepts: [true],
    instead:
      "a message is acknowledged after the outcome is stored, because a crash would otherwise lose the task; a task that must not run twice has to check that itself",
  },
  taskAcksOnFailureOrTimeout: { accepts: [true], instead: ACKS },
  taskAcksOnFailure: { accepts: [true], instead: ACKS },
  taskAcksOnTimeout: { accepts: [true], instead: ACKS },
  taskRejectOnWorkerLost: {
    accepts: [true],
    instead: "a task whose worker died runs again, as often as maxDeliveries allows",
  },
  taskRetryOnWorkerLost: {
    accepts: [],
    instead: "a worker's death is not counted as a retry; maxDeliveries says how many there may be",
  },
  taskCreateMissingQueueType: { accepts: ["classic"], instead: NO_AMQP },
  taskCreateMissingQueueExchangeType: {
    accepts: ["direct"],
    instead: "only direct exchanges exist; SQS has neither topics nor fanout",
  },
  taskDefaultQueueType: { accepts: ["classic"], instead: NO_AMQP },
  taskDefaultExchangeType: {
    accepts: ["direct"],
    instead: "only direct exchanges exist; SQS has neither topics nor fanout",
  },
  taskDefaultDeliveryMode: { accepts: [2, "persistent"], instead: "messages are always persistent" },
  taskDefaultRateLimit: {
    accepts: [],
    instead:
      'a rate belongs to one task: give rateLimit where the task is declared, or taskAnnotations: { "*": { rateLimit: "10/s" } }, which gives each task this rate',
  },
  taskProtocol: {
    old: "CELERY_TASK_PROTOCOL",
    accepts: [2],
    instead: "messages are written in protocol 2; both are read",
  },
  taskQueueMaxPriority: {
    accepts: [],
    instead:
      "SQLite and memory take priorities from 0 to 255 without a setting; on SQS give the queue priorities, such as taskQueues: { media: { priorities: [0, 5, 9] } }",
  },
  taskRemoteTracebacks: {
    accepts: [true],
    instead: "an error that get() throws always has the stack of the place where it was thrown",
  },
  taskReprMaxlevels: {
    accepts: [],
    instead: "argsrepr and kwargsrepr have a fixed depth; a call can give its own",
  },
  taskSendSentEvent: { old: "CELERY_SEND_TASK_SENT_EVENT", accepts: [false], instead: NO_EVENTS },

  resultCacheMax: {
    old: "CELERY_MAX_CACHED_RESULTS",
    accepts: [-1],
    instead: "results are not cached in the process; an AsyncResult keeps what it has read once the task has ended",
  },
  resultExchange: { accepts: [], instead: NO_RESULT_EXCHANGE },
  resultExchangeType: { accepts: [], instead: NO_RESULT_EXCHANGE },
  resultPersistent: { accepts: [], instead: NO_RESULT_EXCHANGE },
  resultChordExpires: {
    accepts: [],
    instead: "the row of a chord expires like any other (resultExpires)",
  },
  resultFailureExpires: {
    accepts: [],
    instead: "failures are kept as long as other results (resultExpires)",
  },
  resultChordRetryInterval: {
    accepts: [],
    instead: "the last member of a chord that ends sends its body; nothing polls",
  },
  resultChordJoinTimeout: {
    accepts: [],
    instead: "a chord's body is sent when all results are stored, and does not wait for any",
  },
  resultBackendAlwaysRetry: {
    accepts: [],
    instead: "passing errors are tried again by the AWS SDK, and then the message is handed back to the queue",
  },
  ...group("resultBackend", ["MaxSleepBetweenRetriesMs", "BaseSleepBetweenRetriesMs", "MaxRetries"], NO_CONNECTION),

  ...group(
    "beat",
    ["Scheduler", "ScheduleFilename"],
    "beat keeps no state: which runs are due follows from the schedule and the time alone",
  ),
  beatSyncEvery: { accepts: [0], instead: "beat keeps no state that would have to be written" },
  beatMaxLoopInterval: {
    accepts: [0],
    instead: "beat sleeps until the next run is due; there is no interval to set",
  },
  beatCronStartingDeadline: {
    accepts: [],
    instead:
      "give the entry catchUp and within, which say whether a missed run is sent, and how late; to drop one that starts late, give the entry options: { expires: seconds }",
  },
  beatEnableRemoteControl: { accepts: [false], instead: NO_REMOTE_CONTROL },
  beatRemoteControlMaxTickAge: { accepts: [], instead: NO_REMOTE_CONTROL },

  ...group("broker", ["ReadUrl", "WriteUrl"], "one URL serves both ways: brokerUrl"),
  ...group("broker", ["Transport", "Host", "Port", "User", "Password", "Vhost"], NO_BROKER_PARTS),
  ...group(
    "broker",
    [
      "ConnectionTimeout",
      "ConnectionMaxRetries",
      "FailoverStrategy",
      "Heartbeat",
      "HeartbeatCheckrate",
      "PoolLimit",
      "PoolAcquireTimeout",
    ],
    NO_CONNECTION,
  ),
  brokerConnectionRetry: { accepts: [true], instead: NO_CONNECTION },
  brokerConnectionRetryOnStartup: { accepts: [true], instead: NO_CONNECTION },
  brokerChannelErrorRetry: { accepts: [], instead: NO_CONNECTION },
  brokerLoginMethod: { accepts: [], instead: "the AWS SDK finds the credentials" },
  brokerUseSsl: {
    accepts: [],
    instead: "AWS is always reached over TLS; for an emulator give http:// or https:// in AWS_ENDPOINT_URL",
  },
  brokerNativeDelayedDeliveryQueueType: { accepts: [], instead: NO_AMQP },

  workerDeduplicateSuccessfulTasks: {
    accepts: [true],
    instead: "a task's row keeps it from running twice; the task option claim: false leaves that out",
  },
  workerDirect: {
    old: "CELERY_WORKER_DIRECT",
    accepts: [false],
    instead: "workers have no queues of their own; declare one in taskQueues and let one worker serve it",
  },
  workerDisableRateLimits: {
    old: "CELERY_DISABLE_RATE_LIMITS",
    accepts: [false],
    instead: "a task that declares a rateLimit never runs without it; remove rateLimit from the task",
  },
  workerEnableRemoteControl: {
    old: "CELERY_ENABLE_REMOTE_CONTROL",
    accepts: [false],
    instead: NO_REMOTE_CONTROL,
  },
  workerStateDb: { accepts: [], instead: "a revoke is stored in the task's row, not in a worker" },
  workerSendTaskEvents: { old: "CELERY_SEND_EVENTS", accepts: [false], instead: NO_EVENTS },
  workerHijackRootLogger: { accepts: [false], instead: NO_LOGGING },
  workerRedirectStdouts: { old: "CELERY_REDIRECT_STDOUTS", accepts: [false], instead: NO_LOGGING },
  workerRedirectStdoutsLevel: {
    old: "CELERY_REDIRECT_STDOUTS_LEVEL",
    accepts: [],
    instead: NO_LOGGING,
  },
  ...group("worker", ["LogColor", "LogDatefmt", "LogFormat", "TaskLogDatefmt", "TaskLogFormat"], NO_LOGGING),
  ...group("worker", ["PoolPutlocks", "PoolRestarts", "PoolStartMethod", "ProcAliveTimeout", "Autoscaler"], NO_POOL),
  workerAgent: { accepts: [], instead: "the worker is not made of replaceable parts" },
  workerConsumer: {
    accepts: [],
    instead: "the worker is not made of replaceable parts",
  },
  workerTimer: { accepts: [], instead: "the worker is not made of replaceable parts" },
  workerTimerPrecision: {
    accepts: [],
    instead: "delayed messages wait in the queue, not in a timer of the worker",
  },
  workerEtaTaskLimit: {
    accepts: [],
    instead: "delayed messages wait in the queue, not in the worker's memory",
  },
  workerLostWait: {
    old: "CELERYD_WORKER_LOST_WAIT",
    accepts: [],
    instead: "a dead worker is noticed when its lease ends (brokerTransportOptions.visibilityTimeout)",
  },
  workerDisablePrefetch: { accepts: [], instead: "set workerPrefetchMultiplier: 1" },
  workerEnablePrefetchCountReduction: {
    accepts: [],
    instead: "there is no connection whose loss would give messages back to the queue",
  },
  workerCancelLongRunningTasksOnConnectionLoss: {
    accepts: [],
    instead: "there is no connection that could be lost; a run whose lease another worker has taken stores nothing",
  },
  workerEnableSoftShutdownOnIdle: { accepts: [false], instead: SHUTDOWN },
  workerDetectQuorumQueues: { accepts: [], instead: NO_AMQP },

  ...group("control", ["QueueTtl", "QueueExpires", "QueueExclusive", "QueueDurable", "Exchange"], NO_REMOTE_CONTROL),
  ...group(
    "event",
    ["QueueExpires", "QueueTtl", "QueuePrefix", "QueueExclusive", "QueueDurable", "Serializer", "Exchange"],
    NO_EVENTS,
  ),
  ...group("security", ["Certificate", "CertStore", "Key", "KeyPassword", "Digest"], NO_SIGNING),

  // Read by Celery's DynamoDB backend, though not in Celery's own table of defaults.
  dynamodbEndpointUrl: {
    accepts: [],
    instead: "set AWS_ENDPOINT_URL, or AWS_ENDPOINT_URL_DYNAMODB, in the environment",
  },

  ...group("cache", ["Backend", "BackendOptions"], NO_SUCH_BACKEND),
  ...group(
    "cassandra",
    [
      "EntryTtl",
      "Keyspace",
      "Port",
      "ReadConsistency",
      "Servers",
      "BundlePath",
      "Table",
      "WriteConsistency",
      "AuthProvider",
      "AuthKwargs",
      "Options",
    ],
    NO_SUCH_BACKEND,
  ),
  ...group("s3", ["AccessKeyId", "SecretAccessKey", "Bucket", "BasePath", "EndpointUrl", "Region"], NO_SUCH_BACKEND),
  ...group(
    "azureblockblob",
    [
      "ContainerName",
      "RetryInitialBackoffSec",
      "RetryIncrementBase",
      "RetryMaxAttempts",
      "BasePath",
      "ConnectionTimeout",
      "ReadTimeout",
    ],
    NO_SUCH_BACKEND,
  ),
  ...group("gcs", ["Bucket", "Project", "BasePath", "Ttl"], NO_SUCH_BACKEND),
  ...group("couchbase", ["BackendSettings"], NO_SUCH_BACKEND),
  ...group("arangodb", ["BackendSettings"], NO_SUCH_BACKEND),
  ...group("mongodb", ["BackendSettings"], NO_SUCH_BACKEND),
  ...group(
    "cosmosdbsql",
    ["DatabaseName", "CollectionName", "ConsistencyLevel", "MaxRetryAttempts", "MaxRetryWaitTime"],
    NO_SUCH_BACKEND,
  ),
  ...group(
    "redis",
    [
      "BackendUseSsl",
      "Db",
      "Host",
      "MaxConnections",
      "Username",
      "Password",
      "Port",
      "SocketTimeout",
      "SocketConnectTimeout",
      "RetryOnTimeout",
      "SocketKeepalive",
    ],
    NO_SUCH_BACKEND,
  ),
  ...group("elasticsearch", ["RetryOnTimeout", "MaxRetries", "Timeout", "SaveMetaAsText"], NO_SUCH_BACKEND),
  databaseUrl: { old: "CELERY_RESULT_DBURI", accepts: [], instead: NO_SUCH_BACKEND },
  databaseEngineOptions: {
    old: "CELERY_RESULT_ENGINE_OPTIONS",
    accepts: [],
    instead: NO_SUCH_BACKEND,
  },
  databaseShortLivedSessions: {
    old: "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    accepts: [],
    instead: NO_SUCH_BACKEND,
  },
  databaseTableNames: { old: "CELERY_RESULT_DB_TABLENAMES", accepts: [], instead: NO_SUCH_BACKEND },
  ...group("database", ["EngineCallback", "TableSchemas", "CreateTablesAtSetup"], NO_SUCH_BACKEND),
} as const satisfies Readonly<Record<string, FixedSetting>>;

/** Settings of Celery's that may be written down with the one value that is true here anyway. */
export type AcceptedInput = {
  readonly [K in keyof typeof FIXED as (typeof FIXED)[K]["accepts"] extends readonly [] ? never : K]?:
    | (typeof FIXED)[K]["accepts"][number]
    | undefined;
};
