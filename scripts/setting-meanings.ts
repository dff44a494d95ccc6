/** What each setting does, for the reference page: texts that no app needs while it runs, and no bundle has to carry. */
import type { LIVE } from "../src/settings.ts";

export interface Meaning {
  /** The default as the reference shows it, where it depends on another setting. */
  readonly default?: string;
  /** What it does, with unit and range: a sentence of the reference. */
  readonly what: string;
  /** Why its default or its values are not Celery's. */
  readonly why?: string;
}

export const MEANINGS: { readonly [K in keyof typeof LIVE]: Meaning } = {
  brokerUrl: {
    what: "The broker: `sqlite://` (in `.lovage/` of the working folder), `sqlite:///path`, `memory://`, or `sqs://[region]?queue_name_prefix=…`. `LOVAGE_BROKER_URL` overrides it. All apps of a process that say `memory://` share one broker; `memory://name` is another one, shared by those that say the same name.",
    why: "Celery's is RabbitMQ on this machine; the default here needs nothing installed.",
  },
  resultBackend: {
    default: "the broker's URL, where that is SQLite or memory",
    what: "Where results are kept: `sqlite://`, `sqlite:///path`, `memory://`, or `dynamodb://[region]/table?ttl_seconds=…`. Has to be given beside an SQS broker. `LOVAGE_RESULT_BACKEND` overrides it. Apps of a process that say the same `memory://name` share their results.",
    why: "Celery keeps no results by default. Here the row of a result is also what keeps a task from running twice.",
  },
  brokerTransportOptions: {
    what: "`visibilityTimeout`: seconds that a message stays hidden each time the poller takes or extends it, over 0 to 43,200. `maxDelay`: seconds of the longest single delay, over 0; a longer one is made of several. Default: the broker's own limit, which is 900 on SQS. `waitTimeSeconds`: 0 to 20. `region` and `queueNamePrefix`, which the broker's URL can name as well. `predefinedQueues`: URLs of SQS queues by their names there, prefix included, `{ \"prod-media\": { url } }`; what is named is not looked up (`sqs:GetQueueUrl`), what is not, is. `schedulerRoleArn`: the role by which EventBridge Scheduler sends to SQS what it has kept, `{queue}` in it standing for the queue's name there; without it long delays are made of several. `schedulerMinDelay`: whole seconds of the shortest delay that is given to Scheduler, from 75. `schedulerGroup`: the group of its entries, with `{queue}` as well. `schedulerKeyArn`: the key of KMS that they are encrypted with. These four can stand in the broker's URL as well, in Celery's spelling (`scheduler_role_arn`).",
    why: "Celery's visibility timeout is 1800 s for SQS and has to be longer than any task; here it is extended while the task runs, so that a dead worker's tasks are soon taken over.",
  },
  resultBackendTransportOptions: {
    what: "`globalKeyprefix`: put before the key of every row; `_` is added unless it ends in `:`, `_`, `-` or `.`.",
  },
  timezone: {
    what: "IANA name of the zone that schedules are in.",
    why: "The same: Celery takes UTC where none is set.",
  },
  acceptContent: {
    default: "`json`, and `taskSerializer`",
    what: "Serializers that a worker takes, by name or MIME type: `json`, `msgpack`, `yaml`. Others become dead letters.",
    why: "What the app itself writes can be read without saying so. Pickle is refused: reading it runs code.",
  },
  resultAcceptContent: {
    default: "`acceptContent`, and `resultSerializer`",
    what: "The same for results. Must have `resultSerializer` in it.",
  },
  taskSerializer: {
    what: "How messages are written: `json`, `msgpack` or `yaml`.",
  },
  resultSerializer: {
    what: "How results are written: `json`, `msgpack` or `yaml`.",
  },
  taskCompression: {
    what: "How messages are compressed: `gzip` (or `zlib`), `brotli` or `zstd`.",
    why: "bzip2 and lzma are refused, as JavaScript platforms cannot write them.",
  },
  resultCompression: {
    what: "How results are compressed. Celery's readers understand it from 5.7 on.",
    why: "bzip2 and lzma are refused, as JavaScript platforms cannot write them.",
  },
  resultExpires: {
    what: "How long results can be read, in seconds or parts (`{ days: 1 }`); 0: for ever.",
  },
  journal: {
    what: "Keeps what has happened beside the results, to be asked with `app.journal`: an entry for each attempt that ended, and for dead letters, revokes, slots of beat and chords that were joined. On AWS in a table of its own, `<prefix>journal`.",
  },
  journalExpires: {
    what: "How long that is kept, in seconds or parts (`{ days: 7 }`), from a minute to 366 days. In a SQLite file the newest 200,000 entries of failures, and as many of all the rest, at most; in memory 100,000.",
  },
  resultExtended: {
    what: "Stores name, arguments, worker, queue and retries beside a result.",
  },
  taskDefaultQueue: {
    what: "Queue of tasks that no route and no option sends elsewhere.",
  },
  taskDefaultExchange: {
    what: "Exchange of the queues that name none.",
    why: "Celery's is named like the default queue; its messages reach a queue by the anonymous exchange all the same.",
  },
  taskDefaultRoutingKey: {
    default: "`taskDefaultQueue`",
    what: "Routing key that binds the default queue, where its declaration names none.",
  },
  taskDefaultPriority: {
    what: "Priority of messages, 0 to 255, the higher the sooner. SQS carries it and does not act on it.",
  },
  taskQueues: {
    default: "the default queue alone",
    what: "The queues that workers serve and the AWS construct makes: names, or `{ name: { exchange, routingKey, timeLimit, memorySize, batchSize, maxBatchingWindow, maxConcurrency, reservedConcurrency, environment } }`. Where it is given, the default queue is served only if it is among them.",
    why: 'Exchanges are direct. Names are those that SQS takes after kombu\'s translation, at most 76 characters with the prefix, and none ends in "-dlq".',
  },
  taskRoutes: {
    what: "Where tasks go: `{ pattern: route }`, a function, or a list of routers, of which the first that answers decides.",
    why: "A router is given itself, not as a dotted path.",
  },
  taskCreateMissingQueues: {
    what: "`false`: a call for a queue that `taskQueues` does not name throws `QueueNotFound`. `true`: it is sent. SQLite and memory then have the queue; on SQS the call throws `QueueNotFound` where none was deployed.",
    why: "Celery makes the queue. On SQS nothing is made by sending: queues are deployed.",
  },
  taskIgnoreResult: {
    what: "Default of the task option `ignoreResult`.",
  },
  taskStoreErrorsEvenIfIgnored: {
    what: "Stores failures also where results are ignored.",
  },
  taskTrackStarted: {
    what: "Shows STARTED while a task runs.",
    why: "The worker writes the row at that point anyway.",
  },
  taskTimeLimit: {
    what: "Seconds after which a run ends as FAILURE `TimeLimitExceeded`.",
  },
  taskSoftTimeLimit: {
    what: "Seconds after which the task's `signal` aborts with `SoftTimeLimitExceeded`. Below `taskTimeLimit`.",
  },
  taskAlwaysEager: {
    what: "`applyAsync` runs the task in place.",
  },
  taskEagerPropagates: {
    what: "A task that runs in place throws instead of returning a failed result.",
  },
  taskStoreEagerResult: {
    what: "Stores the result of a task that ran in place.",
  },
  taskInheritParentPriority: {
    what: "A call without a priority takes that of the task that makes it.",
  },
  taskAllowErrorCbOnChordHeader: {
    what: "Errbacks of a chord are given to its header's tasks too.",
  },
  taskPublishRetry: {
    what: "Tries a send again that met a passing error, where the broker does not do so itself (the AWS SDK does, for SQS).",
  },
  taskPublishRetryPolicy: {
    what: "`maxRetries` (`null`: without end), and the seconds of the waits: `intervalStart`, `intervalStep` more each time, at most `intervalMax`.",
  },
  taskAnnotations: {
    what: 'Task options by task name, or by `"*"` for all tasks; they replace what the declaration says.',
    why: "A key is a name or `*`, as in Celery, and any other glob is refused, since it would never be met. So are hooks and what else belongs to the function (`bind`, `base`, `params`, `schema`): Celery can replace any attribute of a task class.",
  },
  maxDeliveries: {
    what: "Workers that may die of one task before it is given up as FAILURE `WorkerLostError`, 1 to 100.",
    why: "Celery loses such a task, or with `task_reject_on_worker_lost` runs it for ever.",
  },
  beatSchedule: {
    what: "What beat sends: `{ name: { task, schedule, args, kwargs, options, relative, enabled, catchUp, within } }`. `schedule` is a number of seconds, `every({ … })`, `crontab({ … })`, `solar(…)` or `at(…)`.",
    why: "Intervals are counted from the epoch, not from the last run, which a restart would reset; `enabled`, `catchUp` and `within` are additions.",
  },
  beatFunction: {
    default: "none",
    what: "ARN of the beat function on AWS, which the rules of entries put at run time (`app.beat.put`) call. `environmentFor` of `TaskQueues` gives it; `LOVAGE_BEAT_FUNCTION` overrides it.",
    why: "Celery has no entries that are put at run time without another scheduler.",
  },
  workerConcurrency: {
    default: "the number of CPUs",
    what: "Tasks that one worker process runs at a time, 1 to 10,000, or `auto`. On AWS it is the queue's `maxConcurrency` that counts.",
  },
  workerPrefetchMultiplier: {
    what: "Messages that a polling worker takes ahead, times its concurrency, 1 to 1,000.",
    why: "0 (no limit, in Celery) is refused: a worker would hide the whole queue from the others.",
  },
  imports: {
    what: "Modules that a worker loads, named as in `import`.",
  },
  include: {
    what: "The same; both are loaded.",
  },
  workerMaxTasksPerChild: {
    what: "Tasks after which a polling worker's process makes room for a fresh one.",
  },
  workerSoftShutdownTimeout: {
    what: "Seconds that a worker which is told to stop gives to the tasks that run; `lovage worker --grace` overrides it. Then their `signal`s abort, and what has not ended five seconds later is handed back and runs again elsewhere. `0`: as long as they take.",
    why: "Docker on ECS, Kubernetes and Heroku kill after 30 s. Celery waits without end by default, and is killed.",
  },
};
