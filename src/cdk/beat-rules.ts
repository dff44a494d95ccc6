/** Beat on EventBridge: a rule for each entry of `beatSchedule`, and the function that they call. */
import { ArnFormat, Duration, type RemovalPolicy, Stack } from "aws-cdk-lib";
import type * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import * as events from "aws-cdk-lib/aws-events";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type { NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";
import type { RetentionDays } from "aws-cdk-lib/aws-logs";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { beatDeadLetters, ruleName, rulePrefix } from "../beat/rule-name.ts";
import { cronExpression, ruleOf } from "../beat/rules.ts";
import type { ScheduleEntry } from "../beat/schedule.ts";
import { isFifo } from "../brokers/broker.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { routed } from "../tasks/publish.ts";
import { beatEntries } from "../workers/beat.ts";
import { alarm, silenceAlarm, sum } from "./alarms.ts";
import { grantKey, letService, queueEncryption, rightsHere } from "./grants.ts";
import { type SharedFunctionOptions, taskFunction, type TaskBundling } from "./task-function.ts";

/** What beat on AWS is made of. */
export interface BeatRulesProps extends SharedFunctionOptions {
  /** The app whose `beatSchedule` is deployed. */
  readonly app: Lovage;
  /** Put before the names of the rules. */
  readonly prefix: string;
  /** The module of beat: exports `handler`, made by `createBeatHandler(app)`. */
  readonly entry: string;
  /** How long its log is kept. */
  readonly logRetention: RetentionDays;
  /** What becomes of the dead letters when the stack is deleted. */
  readonly removalPolicy: RemovalPolicy;
  /** Whether the dead letters refuse requests without TLS. */
  readonly enforceSSL: boolean;
  /** Encrypts the dead letters and the log. @default - keys of SQS's and CloudWatch's own */
  readonly encryptionKey?: kms.IKey | undefined;
  /** The function's environment: where the queues and results are. */
  readonly environment: Readonly<Record<string, string>>;
  /** Bundling of the function, over Lovage's own (`bundlingFor`). */
  readonly bundling?: TaskBundling | undefined;
  /** Whether the deployment has EventBridge Scheduler: its client is bundled then. */
  readonly longDelays?: boolean | undefined;
}

const TIMEOUT = Duration.seconds(30);
const MEMORY_MB = 256;
/** Of an event bus, unless AWS has raised it for the account. What is put at run time counts as well. */
const MAX_RULES = 300;
/** Entries that an error names as an example. */
const NAMED = 5;

/** The entries of the app that have a rule, checked. Throws `ImproperlyConfigured`. */
export function ruleEntries(app: Lovage): readonly (ScheduleEntry & { readonly queue: string })[] {
  const entries = beatEntries(app).filter(({ enabled }) => enabled);
  if (entries.length > MAX_RULES) throw tooMany(entries, app.config.timezone);
  return entries.map((entry) => {
    const { queue } = routed(app.engine, entry.task, entry.args, entry.kwargs, entry.options);
    if (isFifo(queue)) checkFifo(entry, queue);
    return { ...entry, queue };
  });
}

/** Says which entries could be one: those of the rule that most have in common. */
function tooMany(entries: readonly ScheduleEntry[], zone: string): ImproperlyConfigured {
  const [most] = [...Map.groupBy(entries, ({ schedule }) => cronExpression(ruleOf(schedule, zone)))].sort(
    ([, a], [, b]) => b.length - a.length,
  );
  const [rule, alike] = most ?? ["", []];
  const named = alike.slice(0, NAMED).map(({ name }) => JSON.stringify(name));
  const fold =
    alike.length > 1
      ? `fold what runs at the same times into one entry, whose task sends the others: ${alike.length} entries have the rule ${rule}, such as ${named.join(", ")}`
      : "no two have the same rule; send several from one entry that runs more often, by a task that looks at the time";
  return new ImproperlyConfigured(
    "beatSchedule",
    `must have at most ${MAX_RULES} enabled entries, as each is a rule and an event bus has no more; given: ${entries.length}; ${fold}`,
  );
}

/** A FIFO queue takes no delay for a single message, and EventBridge knows no seconds. */
function checkFifo({ name, schedule, options }: ScheduleEntry, queue: string): void {
  const refuse = (field: string, why: string) => {
    throw new ImproperlyConfigured(
      `beatSchedule[${JSON.stringify(name)}].${field}`,
      `the FIFO queue ${queue} takes no delay of a single message: ${why}`,
    );
  };
  for (const option of ["countdown", "eta"])
    if (options[option] !== undefined) refuse(`options.${option}`, `given: ${String(options[option])}`);
  if (schedule.type === "interval" && schedule.seconds % 60 !== 0)
    refuse("schedule", `the interval has to be whole minutes; given: ${schedule.seconds} seconds`);
  if (schedule.type === "at" && schedule.instant % 60_000 !== 0)
    refuse("schedule", `the instant has to be on a minute; given: ${new Date(schedule.instant).toISOString()}`);
  if (schedule.type === "solar")
    refuse("schedule", "what the sun does is not on a minute; send the entry to a standard queue");
}

/** After which time without a call something is wrong, by the rule that comes round most often. Rules of fewer days say nothing. */
export function longestSilence(rules: readonly string[]): Duration | undefined {
  const seconds = rules.flatMap((rule) => {
    const [minute, hour, ...days] = rule.slice("cron(".length, -1).split(" ");
    if (!days.every((day) => day === "*" || day === "?")) return [];
    if (hour !== "*") return [24 * 3600];
    return minute === "*" ? [15 * 60] : [2 * 3600];
  });
  return seconds.length === 0 ? undefined : Duration.seconds(Math.min(...seconds));
}

/** One rule for each enabled entry, the beat function, and where events go that could not be delivered or handled. */
export class BeatRules extends Construct {
  /** The function that the rules call. */
  readonly function: NodejsFunction;
  /** Where events go that could not be delivered or handled. */
  readonly deadLetterQueue: sqs.Queue;
  /** On dead letters, on errors of the function, and, where an entry is due each day or more often, on its silence. */
  readonly alarms: cloudwatch.Alarm[];
  /** ARN, with a `*`, of the rules that `app.beat.put` makes: no rule that is deployed is among them. */
  readonly runtimeRules: string;

  constructor(scope: Construct, id: string, props: BeatRulesProps) {
    super(scope, id);
    const { app, prefix } = props;
    this.deadLetterQueue = new sqs.Queue(this, "DeadLetters", {
      // By this name the rules that are put at run time find it.
      queueName: beatDeadLetters(prefix),
      ...queueEncryption(props.encryptionKey),
      enforceSSL: props.enforceSSL,
      retentionPeriod: Duration.days(14),
      removalPolicy: props.removalPolicy,
    });
    this.function = taskFunction(this, "Beat", {
      ...props,
      maker: "createBeatHandler",
      memorySize: MEMORY_MB,
      timeout: TIMEOUT,
      deadLetterQueue: this.deadLetterQueue,
    });
    const deployed = rulePrefix(prefix, "deployed");
    const arnOf = (rules: string) =>
      Stack.of(this).formatArn({
        service: "events",
        resource: "rule",
        resourceName: `${rules}*`,
        arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
      });
    const sourceArn = arnOf(deployed);
    this.runtimeRules = arnOf(rulePrefix(prefix, "runtime"));
    const principal = new iam.ServicePrincipal("events.amazonaws.com");
    // One for all rules: with one for each, the function's policy is full near fifty.
    this.function.addPermission("Rules", { principal, sourceArn });
    this.function.addPermission("RuntimeRules", { principal, sourceArn: this.runtimeRules });
    this.deadLetterQueue.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: [principal],
        actions: ["sqs:SendMessage"],
        resources: [this.deadLetterQueue.queueArn],
        conditions: { ArnLike: { "aws:SourceArn": [sourceArn, this.runtimeRules] } },
      }),
    );
    if (props.encryptionKey !== undefined) {
      // Events that could not be delivered are put there by EventBridge, and those that could not be handled by Lambda, as
      // the function.
      letService(props.encryptionKey, "events.amazonaws.com", ["Decrypt", "GenerateDataKey"], {
        ArnLike: { "aws:SourceArn": [sourceArn, this.runtimeRules] },
      });
      grantKey(props.encryptionKey, "put", this.function);
    }
    const target = (entry: string): events.IRuleTarget => ({
      bind: () => ({
        arn: this.function.functionArn,
        input: events.RuleTargetInput.fromObject({ entry, time: events.EventField.time }),
        deadLetterConfig: { arn: this.deadLetterQueue.queueArn },
      }),
    });
    const rules: string[] = [];
    for (const entry of ruleEntries(app)) {
      const rule = cronExpression(ruleOf(entry.schedule, app.config.timezone));
      rules.push(rule);
      const name = ruleName(deployed, entry.name);
      // Its id is of the name of the rule, which no other has: the CDK takes names that differ by a slash for one.
      new events.Rule(this, `Rule-${name}`, {
        ruleName: name,
        description: `${app.name}: ${entry.task} by the entry ${entry.name} of beatSchedule`.slice(0, 512),
        schedule: events.Schedule.expression(rule),
        targets: [target(entry.name)],
      });
    }
    this.alarms = [
      alarm(this, "DeadLettersAlarm", {
        description: `Beat of ${app.name} could not send what was due: the events are in its dead-letter queue`,
        metric: this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({
          period: Duration.minutes(1),
          statistic: "Maximum",
        }),
        threshold: 1,
      }),
      alarm(this, "ErrorsAlarm", {
        description: `The beat function of ${app.name} failed: Lambda tries twice more before an event is a dead letter`,
        metric: this.function.metricErrors(sum(Duration.minutes(5))),
        threshold: 1,
      }),
    ];
    const silence = longestSilence(rules);
    if (silence !== undefined) {
      this.alarms.push(
        silenceAlarm(this, "SilenceAlarm", {
          description: `Beat of ${app.name} was not called for ${silence.toHumanString()}, in which an entry was due`,
          metric: this.function.metricInvocations(sum(silence)),
        }),
      );
    }
  }

  /**
   * Lets someone put, list, pause, resume and remove entries at run time: rules of that kind alone, which call this function
   * alone. Throws `ImproperlyConfigured` for who has no policy in this account: an account, an ARN, a service, a role of
   * another account.
   */
  grantSchedule(grantee: iam.IGrantable): iam.Grant {
    const rules = [this.runtimeRules];
    const allow = rightsHere(this.function, grantee, "put entries of beat");
    allow(["events:PutTargets"], rules, { ArnEquals: { "events:TargetArn": this.function.functionArn } });
    // It lists names and times, and takes no resource.
    allow(["events:ListRules"], ["*"]);
    return allow(
      ["PutRule", "DeleteRule", "EnableRule", "DisableRule", "RemoveTargets", "ListTargetsByRule"].map(
        (action) => `events:${action}`,
      ),
      rules,
    );
  }
}
