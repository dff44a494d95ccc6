/** Beat on EventBridge: a rule for each entry of `beatSchedule`, and the function that they call. */
import { createHash } from "node:crypto";
import { ArnFormat, Duration, type RemovalPolicy, Stack } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import * as events from "aws-cdk-lib/aws-events";
import * as iam from "aws-cdk-lib/aws-iam";
import type { BundlingOptions, NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";
import type { RetentionDays } from "aws-cdk-lib/aws-logs";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { cronExpression, ruleOf } from "../beat/rules.ts";
import type { ScheduleEntry } from "../beat/schedule.ts";
import { isFifo } from "../brokers/broker.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { beatEntries } from "../workers/beat.ts";
import { checkRange, LIMITS } from "./limits.ts";
import { taskFunction } from "./task-function.ts";

export interface BeatRulesProps {
  readonly app: Lovage;
  readonly prefix: string;
  readonly entry: string;
  readonly logRetention: RetentionDays;
  readonly removalPolicy: RemovalPolicy;
  readonly enforceSSL: boolean;
  readonly environment: Readonly<Record<string, string>>;
  readonly bundling?: BundlingOptions | undefined;
}

const TIMEOUT = Duration.seconds(30);
const MEMORY_MB = 256;
/** EventBridge's limit of a rule's name. */
const MAX_RULE_NAME = 64;

/** The entries of the app that have a rule, checked. Throws `ImproperlyConfigured`. */
export function ruleEntries(app: Lovage): readonly (ScheduleEntry & { readonly queue: string })[] {
  const entries = beatEntries(app).filter(({ enabled }) => enabled);
  checkRange("beatSchedule", entries.length, LIMITS.rules);
  return entries.map((entry) => {
    const { queue } = app.engine.router(entry.task, entry.args, entry.kwargs, entry.options, app.tasks.get(entry.task));
    if (isFifo(queue)) checkFifo(entry, queue);
    return { ...entry, queue };
  });
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

/** One rule for each enabled entry, the beat function, and where events go that could not be delivered or handled. */
export class BeatRules extends Construct {
  readonly function: NodejsFunction;
  readonly deadLetterQueue: sqs.Queue;
  readonly alarm: cloudwatch.Alarm;

  constructor(scope: Construct, id: string, props: BeatRulesProps) {
    super(scope, id);
    const { app, prefix } = props;
    this.deadLetterQueue = new sqs.Queue(this, "DeadLetters", {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      enforceSSL: props.enforceSSL,
      retentionPeriod: Duration.days(14),
      removalPolicy: props.removalPolicy,
    });
    this.function = taskFunction(this, "Beat", {
      ...props,
      memorySize: MEMORY_MB,
      timeout: TIMEOUT,
      deadLetterQueue: this.deadLetterQueue,
    });
    const rulePrefix = `${ruleText(prefix)}beat-`;
    const sourceArn = Stack.of(this).formatArn({
      service: "events",
      resource: "rule",
      resourceName: `${rulePrefix}*`,
      arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
    });
    const principal = new iam.ServicePrincipal("events.amazonaws.com");
    // One for all rules: with one for each, the function's policy is full near fifty.
    this.function.addPermission("Rules", { principal, sourceArn });
    this.deadLetterQueue.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: [principal],
        actions: ["sqs:SendMessage"],
        resources: [this.deadLetterQueue.queueArn],
        conditions: { ArnLike: { "aws:SourceArn": sourceArn } },
      }),
    );
    const target = (entry: string): events.IRuleTarget => ({
      bind: () => ({
        arn: this.function.functionArn,
        input: events.RuleTargetInput.fromObject({ entry, time: events.EventField.time }),
        deadLetterConfig: { arn: this.deadLetterQueue.queueArn },
      }),
    });
    for (const entry of ruleEntries(app)) {
      new events.Rule(this, `Rule-${entry.name}`, {
        ruleName: ruleName(rulePrefix, entry.name),
        description: `${app.name}: ${entry.task} by the entry ${entry.name} of beatSchedule`.slice(0, 512),
        schedule: events.Schedule.expression(cronExpression(ruleOf(entry.schedule, app.config.timezone))),
        targets: [target(entry.name)],
      });
    }
    this.alarm = new cloudwatch.Alarm(this, "DeadLettersAlarm", {
      alarmDescription: `Beat of ${app.name} could not send what was due: the events are in its dead-letter queue`,
      metric: this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({
        period: Duration.minutes(1),
        statistic: "Maximum",
      }),
      threshold: 1,
      evaluationPeriods: 1,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
  }
}

const ruleText = (text: string): string => text.replace(/[^\w.-]/g, "-");

/** What had to be changed in the entry's name, or cut off, is made up for by a hash of it. */
function ruleName(prefix: string, entry: string): string {
  const plain = prefix + ruleText(entry);
  if (plain === prefix + entry && plain.length <= MAX_RULE_NAME) return plain;
  const hash = createHash("sha256").update(entry).digest("hex").slice(0, 8);
  return `${plain.slice(0, MAX_RULE_NAME - hash.length - 1)}-${hash}`;
}
