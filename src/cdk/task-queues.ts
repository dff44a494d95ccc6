/** An app on AWS: its queues with their workers, its results, its beat. */
import { createHash } from "node:crypto";
import {
  Annotations,
  Aws,
  CfnCondition,
  CfnOutput,
  CfnResource,
  Fn,
  type ICfnConditionExpression,
  Names,
  RemovalPolicy,
  Stack,
  Token,
  TokenComparison,
} from "aws-cdk-lib";
import type * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import type * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import type * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as lambda from "aws-cdk-lib/aws-lambda";
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import type * as s3 from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { rulePrefix } from "../beat/rule-name.ts";
import { deadLetterQueue, isFifo } from "../brokers/broker.ts";
import { bandQueues, checkQueueName, translateQueueName } from "../brokers/queue-name.ts";
import { createRouter, type Route } from "../brokers/routes.ts";
import { type ENVIRONMENT, outputOf } from "../config/values.ts";
import { ImproperlyConfigured, QueueNotFound } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { defined, names } from "../parse.ts";
import { BeatRules, ruleEntries } from "./beat-rules.ts";
import { Board, type BoardFunctionOptions } from "./board.ts";
import type { ContainerOptions } from "./container-worker.ts";
import { taskDashboard } from "./dashboard.ts";
import { isAnyLimited, isUnique, limitsOf } from "../tasks/limits.ts";
import { grantKey, grantOn, grantRows, type RowKind, type RowsOf } from "./grants.ts";
import { grantInspect, grantOperate, type Operated } from "./operator-grants.ts";
import { MAX_ALARM_ACTIONS, MAX_RESOURCES, MOST_STARTS_OF_ROW } from "./limits.ts";
import { LongDelays } from "./long-delays.ts";
import { checkLiteral, defaultPrefix, deployedStack, takeNames, warnOfPrefix } from "./names.ts";
import { PayloadBucket } from "./payload-bucket.ts";
import { checkPlaces } from "./places.ts";
import { checkProps } from "./props.ts";
import { watchSizes } from "./policy-sizes.ts";
import { JournalTable, ResultTable } from "./result-table.ts";
import { declaredConfig, type SharedFunctionOptions, sharedOptions, type TaskBundling } from "./task-function.ts";
import { refuseOthersOwn, TaskQueue, type TaskQueueOptions } from "./task-queue.ts";

/** Architecture, tracing, VPC, lock file and project root are those of all functions, beat's too; a queue's own in `queues` come before them. */
export interface TaskQueuesProps extends SharedFunctionOptions {
  /** The app. Its `taskQueues`, routes and `beatSchedule` are what is deployed. */
  readonly app: Lovage;
  /** The module of the worker: exports `handler`, made by `createWorkerHandler(app)`. @default - none; needed where a function works on a queue that has none of its own in `queues` */
  readonly entry?: string | undefined;
  /** The module of beat: exports `handler`, made by `createBeatHandler(app)`. @default - none; needed where the app has a `beatSchedule`, or puts entries at run time */
  readonly beatEntry?: string | undefined;
  /**
   * Put before the names of queues, table and rules, so that two deployments can be side by side. `""`: nothing, as Python's
   * Celery has it. @default - `queue_name_prefix` of the app's broker, or the name of the stack and a `-`
   */
  readonly prefix?: string | undefined;
  /** What a queue's deployment is told beyond its declaration, by the queue's name. @default - none */
  readonly queues?: Readonly<Record<string, TaskQueueOptions | undefined>> | undefined;
  /**
   * To which queues the tasks of each queue may send: retries and what follows them go to their own in any case. `"all"`: to
   * every queue, so that whoever has taken over one worker may give work to all. A queue's own `sendsTo` in `queues` comes
   * before it. @default - to none but their own
   */
  readonly sendsTo?: readonly string[] | "all" | undefined;
  /** A table of results that exists already, such as Python's, in the stack's account and region. @default - a new one */
  readonly table?: dynamodb.ITable | undefined;
  /** The name of the new table. @default - the table of the app's `resultBackend` where that is DynamoDB, or `celery` with the prefix, in the spelling of queue names */
  readonly tableName?: string | undefined;
  /** What the new table can take from its first second on; to be raised before a rise of load that is known. Each unit above DynamoDB's own is paid once. @default - DynamoDB's own: 4,000 writes and 12,000 reads a second, then twice the highest load so far */
  readonly warmThroughput?: dynamodb.WarmThroughput | undefined;
  /**
   * Encrypts queues, dead letters, tables, logs, the bucket of `payloadStore: true` and what `longDelays` keeps. A key that is made by another app needs
   * statements in its policy for `logs.<region>.amazonaws.com` (in China `.com.cn`) and, with beat, for `events.amazonaws.com`.
   * @default - keys of SQS's, DynamoDB's, S3's and CloudWatch's own
   */
  readonly encryptionKey?: kms.IKey | undefined;
  /** @default RetentionDays.ONE_MONTH */
  readonly logRetention?: RetentionDays | undefined;
  /**
   * Have EventBridge Scheduler keep messages that are due in an hour or later (`schedulerMinDelay` of the app), each as an
   * entry that fires once. Without it they go from delay to delay, of 15 minutes at most: a message and a call of the
   * function each time. @default false
   */
  readonly longDelays?: boolean | undefined;
  /**
   * What becomes of the tables, the dead letters, the bucket of `payloadStore: true` and the entries of `longDelays` when the
   * stack is destroyed. With `RETAIN`
   * they stay after a first deployment that failed, too, and the next one finds their names taken.
   * @default RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
   */
  readonly removalPolicy?: RemovalPolicy | undefined;
  /** Queues refuse requests without TLS. @default true */
  readonly enforceSSL?: boolean | undefined;
  /** Told when an alarm goes off. @default - nobody; the alarms are there to be seen */
  readonly alarmActions?: readonly cloudwatch.IAlarmAction[] | undefined;
  /** Told when it is over. @default - nobody */
  readonly okActions?: readonly cloudwatch.IAlarmAction[] | undefined;
  /**
   * Keep messages and results that are too large for their place (1 MiB, 400 KB) in a bucket: `true` makes one, whose objects
   * go by themselves when nobody can need them any more; one of yours needs rules for the beginnings of its keys: `60d/`, `120d/`,
   * `400d/`, `3700d/`. @default false: what is too large is refused. Needed where the app's own `payloadStore` is a bucket
   */
  readonly payloadStore?: boolean | s3.IBucket | undefined;
  /** The containers of queues whose declaration says `worker: "container"`; a queue's own in `queues` comes before it, as a whole. @default - none; needed for such a queue */
  readonly container?: ContainerOptions | undefined;
  /** Deploys the board, for whoever may sign requests to its URL. @default - none */
  readonly board?: BoardFunctionOptions | undefined;
  /** Bundling of the functions, over Lovage's own (`bundlingFor`). @default - one minified ES module with source maps, without the AWS SDK */
  readonly bundling?: TaskBundling | undefined;
}

/**
 * All that an app needs on AWS. Throws `ImproperlyConfigured` or `QueueNotFound` for what could not work there.
 *
 * ```ts
 * const tasks = new TaskQueues(this, "Tasks", { app, entry: "functions/worker.ts", beatEntry: "functions/beat.ts" });
 * tasks.environmentFor(api);
 * tasks.grantSend(api, ["media"]);
 * ```
 */
export class TaskQueues extends Construct {
  /** The result table. */
  readonly table: dynamodb.ITable;
  /** The table of what has happened; absent where the app keeps no journal (`journal: false`). Who is to ask `app.journal` is granted it by `grantInspect`. */
  readonly journal: dynamodb.Table | undefined;
  /** `LOVAGE_BROKER_URL` of all that talks to the queues. */
  readonly brokerUrl: string;
  /** `LOVAGE_RESULT_BACKEND` of all that reads results. */
  readonly resultBackend: string;
  /** A dashboard with a row for each queue. */
  readonly dashboard: cloudwatch.Dashboard;
  /** Absent where neither `beatSchedule` nor `beatEntry` is given. */
  readonly beat: BeatRules | undefined;
  /** Absent unless they are asked for. */
  readonly longDelays: LongDelays | undefined;
  /** The bucket of texts that are too large; absent unless `payloadStore` asks for it. */
  readonly payloads: PayloadBucket | undefined;
  /** Absent unless it is asked for. Let people see it with `tasks.board.url.grantInvokeUrl(role)`. */
  readonly board: Board | undefined;
  readonly #queues = new Map<string, TaskQueue>();
  readonly #rows: RowsOf;
  readonly #hasLimits: boolean;
  readonly #hasUnique: boolean;
  readonly #sendsTo: (queue: string) => readonly string[];

  constructor(scope: Construct, id: string, props: TaskQueuesProps) {
    super(scope, id);
    checkProps(props);
    const { app } = props;
    const config = declaredConfig(app);
    checkLiteral("prefix", props.prefix);
    checkLiteral("queue_name_prefix", config.brokerTransportOptions.queueNamePrefix);
    const prefix = props.prefix ?? (config.brokerTransportOptions.queueNamePrefix || defaultPrefix(this));
    const removalPolicy = props.removalPolicy ?? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE;
    checkDeclaration(props);
    this.#warnOfHotRows(app);
    warnOfPrefix(this, translateQueueName(prefix, ""));
    const scheduled = ruleEntries(app);
    const backend = parseBackend(config.resultBackend);
    if (config.payloadStore?.startsWith("s3:") && props.payloadStore === undefined) {
      throw new ImproperlyConfigured(
        "payloadStore",
        `is needed, because the app's own is ${JSON.stringify(config.payloadStore)} and the functions get rights only on the bucket that is given here: give a bucket of yours (s3.Bucket.fromBucketName(…)), true for a new one, or false for none`,
      );
    }
    if (props.table !== undefined) {
      for (const name of ["tableName", "warmThroughput"] as const)
        if (props[name] !== undefined)
          throw new ImproperlyConfigured(name, "is for a new table: set it where the given table is made");
    }
    checkValues(props);

    checkPlaces(this, props);
    refuseWhatNobodyHas(props);

    const tableName = props.tableName ?? backend.table ?? translateQueueName(prefix, "celery");
    const journalName = translateQueueName(prefix, "journal");
    const queueNames = Object.keys(config.taskQueues).map((name) => checkQueueName("taskQueues", prefix, name, true));
    const bandNames = Object.values(config.taskQueues).flatMap(({ name, priorities }) =>
      bandQueues(name, priorities)
        .slice(1)
        .map((band) => translateQueueName(prefix, band)),
    );
    const hasBeat = scheduled.length > 0 || props.beatEntry !== undefined;
    takeNames(this, {
      queue: [...queueNames, ...queueNames.map(deadLetterQueue), ...bandNames],
      table: [...(props.table === undefined ? [tableName] : []), ...(config.journal ? [journalName] : [])],
      rule: hasBeat ? [`${rulePrefix(prefix, "deployed")}*`] : [],
    });
    this.table =
      props.table ??
      new ResultTable(this, "Results", {
        tableName,
        encryptionKey: props.encryptionKey,
        removalPolicy,
        warmThroughput: props.warmThroughput,
      });
    this.#hasLimits = isAnyLimited(props.app.engine);
    this.#hasUnique = isAnyLimited(props.app.engine, isUnique);
    this.#rows = {
      table: this.table,
      keyPrefix: config.resultBackendTransportOptions.globalKeyprefix,
      isPython: new URLSearchParams(backend.query).get("keys") === "python",
    };
    if (config.journal) {
      this.journal = new JournalTable(this, "Journal", {
        tableName: journalName,
        encryptionKey: props.encryptionKey,
        removalPolicy,
      });
    }
    if (props.payloadStore !== undefined && props.payloadStore !== false) {
      const bucket = props.payloadStore === true ? undefined : props.payloadStore;
      const { encryptionKey } = props;
      this.payloads = new PayloadBucket(this, "Payloads", { bucket, encryptionKey, removalPolicy });
    }
    const { region } = Stack.of(this);
    this.resultBackend = `dynamodb://${region}/${this.table.tableName}${backend.query}`;

    const common = {
      ...sharedOptions(props),
      app,
      prefix,
      logRetention: props.logRetention ?? RetentionDays.ONE_MONTH,
      removalPolicy,
      enforceSSL: props.enforceSSL ?? true,
      bundling: props.bundling,
      longDelays: props.longDelays ?? false,
      payloads: this.payloads !== undefined,
    };
    for (const queue of Object.values(config.taskQueues)) {
      const options = defined<TaskQueueOptions>(props.queues?.[queue.name] ?? {});
      const key = options.encryptionKey ?? props.encryptionKey;
      const container = options.container ?? props.container;
      refuseOthersOwn(queue, options, container?.cluster);
      this.#queues.set(
        queue.name,
        // Below an id of its own kind: a queue may be called Results, Dashboard or Default.
        new TaskQueue(this, `Queue-${queue.name}`, {
          ...common,
          ...options,
          queue,
          entry: options.entry ?? props.entry,
          ...(key === undefined ? {} : { encryptionKey: key }),
          ...(container === undefined ? {} : { container }),
        }),
      );
    }
    if (common.longDelays) {
      const { encryptionKey } = props;
      this.longDelays = new LongDelays(this, "LongDelays", {
        prefix,
        queues: this.#queues,
        encryptionKey,
        removalPolicy,
      });
    }
    const query = [
      ...(prefix === "" ? [] : [`queue_name_prefix=${encodeURIComponent(prefix)}`]),
      ...(this.longDelays?.query ?? []),
    ].join("&");
    this.brokerUrl = `sqs://${region}${query === "" ? "" : `?${query}`}`;
    this.#sendsTo = (name) => sendsTo(props, name);
    for (const [name, queue] of this.#queues) {
      if (queue.worker === "none") continue;
      setEnvironment(queue, this.#environment);
      this.#grantTasks(queue, name, queue.worker === "container");
    }

    if (hasBeat) {
      if (props.beatEntry === undefined) {
        throw new ImproperlyConfigured(
          "beatEntry",
          `is needed, as beatSchedule has ${scheduled.length} entries: the module that exports createBeatHandler(app)`,
        );
      }
      this.beat = new BeatRules(this, "BeatRules", {
        ...common,
        entry: props.beatEntry,
        encryptionKey: props.encryptionKey,
        environment: this.#environment,
      });
      // What is put at run time may be for others: whoever is granted that says which.
      if (scheduled.length > 0)
        this.#grantMessages(this.beat.function, [...new Set(scheduled.map(({ queue }) => queue))]);
      if (Object.values(config.beatSchedule).some(({ task }) => isUniqueTask(app, task)))
        this.#grantKeys(this.beat.function);
      this.#grantJournal(this.beat.function, ["dynamodb:PutItem"]);
      for (const queue of this.#queues.values()) setEnvironment(queue, this.#beatEnvironment);
    }
    const alarms = [...this.#queues.values()].flatMap((queue) => queue.alarms);
    if (this.beat !== undefined) alarms.push(...this.beat.alarms);
    for (const alarm of alarms) {
      alarm.addAlarmAction(...(props.alarmActions ?? []));
      alarm.addOkAction(...(props.okActions ?? []));
    }
    if (props.board !== undefined) {
      this.board = new Board(this, "Board", {
        ...common,
        ...defined(props.board),
        entry: props.board.entry,
        encryptionKey: props.encryptionKey,
      });
      this.environmentFor(this.board.function);
      if (props.board.readOnly) this.grantInspect(this.board.function);
      else this.grantOperate(this.board.function);
    }
    this.dashboard = taskDashboard(this, "Dashboard", { queues: this.#queues, alarms, metrics: config.metrics });
    this.#addOutputs();
    watchSizes(this);
    const resources = this.node.findAll().filter((node) => CfnResource.isCfnResource(node)).length;
    if (resources > MAX_RESOURCES) {
      throw new ImproperlyConfigured(
        "taskQueues",
        `are too many for one stack: ${this.#queues.size} queues and ${scheduled.length} entries are ${resources} resources, and CloudFormation takes ${MAX_RESOURCES}; declare fewer queues, or share them out to two apps with a TaskQueues and a stack each`,
      );
    }
  }

  /** One queue, by the name that the app gives it. Throws `QueueNotFound`. */
  queue(name: string): TaskQueue {
    const queue = this.#queues.get(name);
    if (queue === undefined) throw new QueueNotFound(name, [...this.#queues.keys()]);
    return queue;
  }

  /**
   * Lets someone send to these queues, and to no others. Beside `environmentFor` all that a caller of `delay()` needs. An
   * account, an ARN, a service, or a role of another account get it from the policies of the queues.
   *
   * @param queues By their names in the app. Default: all of them.
   */
  grantSend(grantee: iam.IGrantable, queues: readonly string[] = [...this.#queues.keys()]): iam.Grant {
    const given = names(queues, "queues");
    if (this.#hasUnique) this.#grantKeys(grantee);
    return this.#grantMessages(grantee, given);
  }

  /** Of tasks that are unique: whose id a key has, and whether the task of that id has ended. */
  #grantKeys(grantee: iam.IGrantable): void {
    this.#grantRows(["limit"], grantee, [...READ, "dynamodb:PutItem"]);
    this.#grantRows(["task"], grantee, READ);
  }

  /** The messages themselves. */
  #grantMessages(grantee: iam.IGrantable, queues: readonly string[]): iam.Grant {
    const targets = queues.flatMap((name) => this.queue(name).targets);
    const keys = queues.flatMap((name) => this.queue(name).queue.encryptionMasterKey ?? []);
    for (const key of new Set(keys)) grantKey(key, "put", grantee);
    this.longDelays?.grantDelay(grantee, queues);
    this.payloads?.grantPut(grantee);
    // How large a message of the queue may be is asked for those of more than 256 KB.
    return grantOn(targets, grantee, ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]);
  }

  /**
   * Lets someone send chords, and groups of more calls than fit into one request, whose rows their sender writes. Beside
   * `grantSend`, for Python's Celery too.
   */
  grantSendChords(grantee: iam.IGrantable): iam.Grant {
    this.#grantRows([], grantee, CELERY);
    return this.#grantRows(["group", "chord"], grantee, [...READ, ...WRITE]);
  }

  /** Lets someone read results: `get()`, `state()` and the like, of Python's Celery too. */
  grantReadResults(grantee: iam.IGrantable): iam.Grant {
    this.payloads?.grantGet(grantee);
    this.#grantRows([], grantee, CELERY);
    return this.#grantRows(["task", "group"], grantee, [...READ, "dynamodb:GetItem"]);
  }

  /** Lets someone `revoke()` and `forget()` tasks: it may write the rows of all tasks, and of groups that were saved. */
  grantRevoke(grantee: iam.IGrantable): iam.Grant {
    this.#grantJournal(grantee, ["dynamodb:PutItem"]);
    this.#grantRows(["asked"], grantee, READ);
    return this.#grantRows(["task", "group"], grantee, [...READ, ...WRITE]);
  }

  /**
   * Gives a worker of yours, on EC2, EKS or your own machines, all that `lovage worker` needs: to take messages of these
   * queues, to send to them and to those of `sendsTo`, to write its tasks' rows and the journal, and to be seen and steered.
   * Its environment is `LOVAGE_BROKER_URL` and `LOVAGE_RESULT_BACKEND` (`brokerUrl` and `resultBackend`).
   *
   * @param queues That it works on, by their names in the app. Default: all of them.
   */
  grantWork(grantee: iam.IGrantable, queues: readonly string[] = [...this.#queues.keys()]): void {
    for (const name of names(queues, "queues")) {
      this.queue(name).grantConsume(grantee);
      this.#grantTasks(grantee, name, true);
    }
  }

  /**
   * Lets someone look at all there is: `app.control.inspect()`, `app.journal`, `app.workflow`, results, dead letters with
   * their bodies, and with beat its entries. It changes nothing. Throws `ImproperlyConfigured` for who has no policy in
   * this account: an account, an ARN, a service, a role of another account.
   */
  grantInspect(grantee: iam.IGrantable): iam.Grant {
    this.payloads?.grantGet(grantee);
    return grantInspect(this.#operated, grantee);
  }

  /**
   * Lets someone look at all there is, as `grantInspect` does, and steer these queues with all of `app.control`: pause and
   * resume, retry, redrive and delete dead letters, purge. Tasks can be revoked and forgotten, and long-lived workers be
   * stopped, whatever their queue: rows say nothing of queues.
   *
   * @param queues By their names in the app. Default: all of them.
   */
  grantOperate(grantee: iam.IGrantable, queues: readonly string[] = [...this.#queues.keys()]): iam.Grant {
    const given = names(queues, "queues").map((name) => this.queue(name));
    this.payloads?.grantPut(grantee);
    this.payloads?.grantGet(grantee);
    return grantOperate(this.#operated, grantee, given);
  }

  /** Points the app of a function at these queues and results. What it may do there, the grants say. */
  environmentFor(fn: lambda.Function): void {
    // Nobody of another account may put entries of beat, whose function has no name that another stack could know.
    const isOurs = Token.compareStrings(Stack.of(this).account, fn.stack.account) !== TokenComparison.DIFFERENT;
    setEnvironment(fn, { ...this.#environment, ...(isOurs ? this.#beatEnvironment : {}) });
  }

  /** What running the tasks of a queue takes beyond taking its messages. A long-lived worker has rows of its own too. */
  #grantTasks(grantee: iam.IGrantable, name: string, isLongLived: boolean): void {
    this.grantSend(grantee, this.#sendsTo(name));
    this.payloads?.grantGet(grantee);
    const kinds: RowKind[] = ["group", "chord"];
    if (isLongLived) kinds.push("control");
    // What a task revokes may have failed, and be asked for again.
    else this.#grantRows(["asked"], grantee, READ);
    this.#grantRows(["task"], grantee, [...READ, ...WRITE, ...SHARED_WRITE]);
    this.#grantRows(kinds, grantee, [...READ, ...WRITE]);
    if (this.#hasLimits) this.#grantRows(["limit"], grantee, [...READ, "dynamodb:PutItem"]);
    // What it has to tell goes along with the outcomes, or by itself.
    this.#grantJournal(grantee, ["dynamodb:PartiQLInsert", "dynamodb:PutItem"]);
  }

  /**
   * Lets someone use `app.beat`: put, list, pause, resume and remove entries at run time, those of others too. What is put
   * is sent by beat, whose function is given these queues, and may send to no others but those of `beatSchedule`. Throws
   * `ImproperlyConfigured` for who has no policy in this account, as `grantInspect` does.
   *
   * @param queues That entries may be for, by their names in the app. Default: all of them.
   */
  grantSchedule(grantee: iam.IGrantable, queues: readonly string[] = [...this.#queues.keys()]): iam.Grant {
    if (this.beat !== undefined) {
      this.grantSend(this.beat.function, queues);
      return this.beat.grantSchedule(grantee);
    }
    throw new ImproperlyConfigured(
      "beatEntry",
      "is needed for entries put at run time: the module that exports createBeatHandler(app)",
    );
  }

  /** A rate that its row in the table could not keep up with: tasks would be late, and messages handed back. */
  #warnOfHotRows({ engine }: Lovage): void {
    for (const task of engine.tasks.values()) {
      const { rate: { rate, key } = {} } = limitsOf(engine.optionsOf(task));
      if (rate === undefined) continue;
      const perSecond = Math.round((rate.limit / rate.period) * 1000);
      if (perSecond <= MOST_STARTS_OF_ROW) continue;
      const rows = Math.ceil(perSecond / MOST_STARTS_OF_ROW);
      Annotations.of(this).addWarningV2(
        `lovage:rateLimit.row:${task.name}`,
        `rateLimit of ${task.name} lets ${perSecond} tasks${key === undefined ? "" : " of one key"} start in a second, and a row of DynamoDB takes about ${MOST_STARTS_OF_ROW}: give it ${key === undefined ? "a key" : "a finer key"} that makes ${rows} rows of it or more, each with its share of the rate, such as (id: number) => String(id % ${rows})`,
      );
    }
  }

  get #operated(): Operated {
    return {
      rows: this.#rows,
      journal: this.journal,
      queues: this.#queues,
      runtimeRules: this.beat?.runtimeRules,
      hasLimits: this.#hasLimits,
    };
  }

  get #environment(): Environment {
    return {
      LOVAGE_BROKER_URL: this.brokerUrl,
      LOVAGE_RESULT_BACKEND: this.resultBackend,
      ...(this.payloads !== undefined && { LOVAGE_PAYLOAD_STORE: this.payloads.url }),
    };
  }

  /** Beat's function is made with the others', and so has none of its own ARN. */
  get #beatEnvironment(): Environment {
    return this.beat === undefined ? {} : { LOVAGE_BEAT_FUNCTION: this.beat.function.functionArn };
  }

  #grantRows(kinds: readonly RowKind[], grantee: iam.IGrantable, actions: readonly string[]): iam.Grant {
    const isRead = actions.every((action) => /Get|Describe/.test(action));
    grantKey(this.#rows.table.encryptionKey, isRead ? "read" : "write", grantee);
    return grantRows(this.#rows, kinds, grantee, actions);
  }

  #grantJournal(grantee: iam.IGrantable, actions: string[]): void {
    if (this.journal === undefined) return;
    grantKey(this.journal.encryptionKey, "write", grantee);
    const target = { resource: this.journal, arn: this.journal.tableArn, name: "the journal", selfArn: "*" };
    grantOn([target], grantee, actions);
  }

  /**
   * By ids without the CDK's hash, which stay as they are: scripts and `lovage env` look for them. What a nested stack says is
   * shown to nobody, so there the stack around it says them.
   */
  #addOutputs(): void {
    const stack = deployedStack(this);
    const home = stack === Stack.of(this) ? this : new Construct(stack, Names.uniqueId(this));
    // A second TaskQueues of a stack says of each whose it is.
    const whose = named.has(stack) ? this.node.path.slice(stack.node.path.length).replace(NOT_IN_IDS, "") : "";
    named.add(stack);
    const output = (name: string, value: string, description: string, condition?: CfnCondition) =>
      new CfnOutput(home, name, { value, description, condition }).overrideLogicalId(`${whose}${name}`);
    for (const [name, { queue }] of this.#queues)
      output(`LovageQueueUrl${idOf(name)}`, queue.queueUrl, `The queue ${name}`);
    output("LovageTableName", this.table.tableName, "The results");
    const { region } = stack;
    const { host, condition } = consoleOf(home);
    if (host !== undefined)
      output(
        "LovageDashboardUrl",
        `https://${region}.${host}/cloudwatch/home?region=${region}#dashboards/dashboard/${this.dashboard.dashboardName}`,
        "Queues, tasks and alarms at a glance",
        condition,
      );
    if (this.board !== undefined) output("LovageBoardUrl", this.board.url.url, "The board");
    const variables = { ...this.#environment, ...this.#beatEnvironment };
    for (const [variable, value] of Object.entries(variables))
      output(outputOf(variable as keyof typeof ENVIRONMENT), value, variable);
  }
}

/**
 * The host of the console, which each partition has its own of. Where a stack does not say its region, the deployment sees, by
 * a condition too of whether it is known: of AWS's isolated partitions it is not.
 */
function consoleOf(scope: Construct): { readonly host?: string | undefined; readonly condition?: CfnCondition } {
  const { region } = Stack.of(scope);
  if (!Token.isUnresolved(region)) return CONSOLES.find(({ regions }) => regions.test(region)) ?? {};
  const stack = deployedStack(scope);
  // One for all of a stack: CloudFormation's linter, which the CDK runs, warns of two that say the same.
  const conditionOf = (id: string, expression: ICfnConditionExpression) =>
    (stack.node.tryFindChild(id) as CfnCondition | undefined) ?? new CfnCondition(stack, id, { expression });
  const isIn = ({ partition }: (typeof CONSOLES)[number]) => Fn.conditionEquals(Aws.PARTITION, partition);
  const [first, ...others] = CONSOLES;
  const host = others.reduce<string>((otherwise, one) => {
    const { logicalId } = conditionOf(`LovageConsole-${one.partition}`, isIn(one));
    return Fn.conditionIf(logicalId, one.host, otherwise).toString();
  }, first.host);
  return { host, condition: conditionOf("LovageConsole", Fn.conditionOr(...CONSOLES.map(isIn))) };
}

const CONSOLES = [
  { partition: "aws", regions: /^(?!cn-|eusc-|us-gov-|[a-z]+-iso)/, host: "console.aws.amazon.com" },
  { partition: "aws-cn", regions: /^cn-/, host: "console.amazonaws.cn" },
  { partition: "aws-eusc", regions: /^eusc-/, host: "console.amazonaws-eusc.eu" },
  { partition: "aws-us-gov", regions: /^us-gov-/, host: "console.amazonaws-us-gov.com" },
] as const;

/** Stacks that have outputs of one of these. */
const named = new WeakSet<Stack>();

const NOT_IN_IDS = /[^A-Za-z0-9]/g;

/** A queue's name in the id of an output. What had to be left out is made up for by a hash. */
function idOf(name: string): string {
  const plain = name.replace(NOT_IN_IDS, "");
  return plain === name ? name : `${plain}${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}

type Environment = Readonly<Partial<Record<keyof typeof ENVIRONMENT, string>>>;

function setEnvironment(worker: lambda.Function | TaskQueue, environment: Environment): void {
  for (const [name, value] of Object.entries(environment)) worker.addEnvironment(name, value);
}

const READ = ["dynamodb:BatchGetItem"];
const WRITE = ["dynamodb:PutItem", "dynamodb:UpdateItem"];
/** Python's Celery looks first whether the table is there. */
const CELERY = ["dynamodb:DescribeTable"];
/** A batch's claims and outcomes of tasks are statements of PartiQL, which have rights of their own. */
const SHARED_WRITE = ["dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"];

/** The queues that the tasks of one may send to. */
function sendsTo({ app, queues = {}, sendsTo: given = [] }: TaskQueuesProps, name: string): readonly string[] {
  const others = queues[name]?.sendsTo ?? given;
  return [...new Set([name, ...(others === "all" ? Object.keys(app.config.taskQueues) : others)])];
}

/** What the app says about queues has to name queues that will be there. */
function checkDeclaration({ app, queues = {}, sendsTo: all }: TaskQueuesProps): void {
  const config = declaredConfig(app);
  const declared = Object.keys(config.taskQueues);
  for (const name of declared) checkLiteral("taskQueues", name);
  // They stand in what rules and alarms say of themselves, which is cut, and in ids that the functions derive once more.
  checkLiteral("app", app.name);
  checkLiteral("beatSchedule", config.beatSchedule);
  checkLiteral("taskRoutes", config.taskRoutes);
  checkLiteral("resultBackend", config.resultBackend);
  checkLiteral("resultBackendTransportOptions.globalKeyprefix", config.resultBackendTransportOptions.globalKeyprefix);
  const mustExist = (setting: string, queue: string) => {
    if (declared.includes(queue)) return;
    const twin = isFifo(queue) ? queue.slice(0, -".fifo".length) : `${queue}.fifo`;
    const hint = declared.includes(twin) ? `; did you mean ${JSON.stringify(twin)}?` : didYouMean(queue, declared);
    throw new ImproperlyConfigured(
      setting,
      `${JSON.stringify(queue)} is not in taskQueues, so it would not be deployed${hint || ` (declared: ${declared.join(", ")})`}`,
    );
  };
  mustExist("taskDefaultQueue", config.taskDefaultQueue);
  for (const name of Object.keys(queues)) mustExist(`queues.${name}`, name);
  for (const [at, sendsTo] of [
    ["sendsTo", all] as const,
    ...Object.entries(queues).map(([name, options]) => [`queues.${name}.sendsTo`, options?.sendsTo] as const),
  ]) {
    if (sendsTo === undefined || sendsTo === "all") continue;
    checkLiteral(at, sendsTo);
    for (const queue of sendsTo) mustExist(at, queue);
  }
  const unrouted = createRouter({ ...config, taskRoutes: [] });
  const target = (setting: string, route: Pick<Route, "queue" | "exchange" | "routingKey">) => {
    const { queue, exchange, routingKey } = route;
    mustExist(setting, unrouted("", [], {}, { queue, exchange, routingKey }).queue);
  };
  for (const router of config.taskRoutes) {
    // What a function decides is known only at the call.
    if (typeof router === "function") continue;
    const pairs = Array.isArray(router) ? router : Object.entries(router);
    for (const [pattern, route] of pairs)
      target(`taskRoutes[${JSON.stringify(String(pattern))}]`, typeof route === "string" ? { queue: route } : route);
  }
  for (const task of app.engine.allDeclared()) target(`queue of ${task.name}`, app.engine.optionsOf(task));
  for (const [name, { options = {} }] of Object.entries(config.beatSchedule))
    target(`beatSchedule[${JSON.stringify(name)}].options.queue`, options);
}

/** What the types let through and AWS does not. */
function checkValues({ logRetention, removalPolicy, ...props }: TaskQueuesProps): void {
  if (logRetention !== undefined && !Token.isUnresolved(logRetention) && !LOG_RETENTIONS.includes(logRetention)) {
    throw new ImproperlyConfigured(
      "logRetention",
      `must be a number of days that CloudWatch keeps logs for, those of RetentionDays: ${LOG_RETENTIONS.join(", ")}; given: ${logRetention}`,
    );
  }
  if (removalPolicy === RemovalPolicy.SNAPSHOT) {
    throw new ImproperlyConfigured(
      "removalPolicy",
      "must not be SNAPSHOT, which neither tables nor queues have: keep them (RETAIN_ON_UPDATE_OR_DELETE, RETAIN), or delete them (DESTROY)",
    );
  }
  for (const name of ["alarmActions", "okActions"] as const) {
    const { length = 0 } = props[name] ?? [];
    if (length > MAX_ALARM_ACTIONS)
      throw new ImproperlyConfigured(name, `must be at most ${MAX_ALARM_ACTIONS} for an alarm; given: ${length}`);
  }
}

/**
 * Of what is said for all functions or containers nothing is left aside in silence where there are none. Only the entry may
 * stay when the last function's queue is given to containers: it is a file that others have too.
 */
function refuseWhatNobodyHas(props: TaskQueuesProps): void {
  const queues = Object.values(declaredConfig(props.app).taskQueues);
  const containers = queues.filter(({ worker }) => worker === "container");
  const hasFunctions =
    props.beatEntry !== undefined ||
    props.board !== undefined ||
    queues.some(({ worker = "function" }) => worker === "function");
  // The network of a cluster that is given is its own.
  const hasNetwork =
    hasFunctions ||
    containers.some(({ name }) => (props.queues?.[name]?.container ?? props.container)?.cluster === undefined);
  const refuse = (names: readonly (keyof TaskQueuesProps)[], why: string) => {
    for (const name of names) if (props[name] !== undefined) throw new ImproperlyConfigured(name, why);
  };
  if (containers.length === 0)
    refuse(
      ["container"],
      'is for queues that containers work on, and there is none: declare worker: "container" in taskQueues, or leave it out',
    );
  if (!hasFunctions)
    refuse(
      ["tracing", "bundling", "depsLockFilePath", "projectRoot"],
      "is for functions, and there is none: leave it out",
    );
  if (!hasNetwork)
    refuse(
      ["vpc"],
      "is for functions, and for containers without a cluster of yours, and there are none: leave it out",
    );
  if (!hasFunctions && containers.length === 0)
    refuse(
      ["architecture", "vpcSubnets", "securityGroups", "logRetention"],
      "is for functions and containers, and there are none: leave it out",
    );
}

const LOG_RETENTIONS = Object.values(RetentionDays).filter((days) => typeof days === "number");

/** Table and options where the app names a DynamoDB backend of its own. */
function parseBackend(url: string): { readonly table: string | undefined; readonly query: string } {
  const found = /^dynamodb:\/\/[^/?]*(?:\/(?<table>[^?]*))?(?<query>\?.*)?$/.exec(url)?.groups;
  return { table: found?.["table"] || undefined, query: found?.["query"] ?? "" };
}

function isUniqueTask({ engine }: Lovage, name: string): boolean {
  const task = engine.declared(name);
  return task !== undefined && isUnique(engine.optionsOf(task));
}
