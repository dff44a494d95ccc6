/** Delays beyond SQS's own: EventBridge Scheduler's entries, and the roles by which it sends what they hold. */
import { Annotations, type RemovalPolicy, Stack, Token } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as scheduler from "aws-cdk-lib/aws-scheduler";
import { Construct } from "constructs";
import { isFifo } from "../brokers/broker.ts";
import { translateQueueName } from "../brokers/queue-name.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { isElsewhere } from "./grants.ts";
import { acknowledge, wildcard } from "./nag.ts";
import { takeNames } from "./names.ts";
import type { TaskQueue } from "./task-queue.ts";

/** What Scheduler keeps for the queues. */
export interface LongDelaysProps {
  /** Put before the names of the groups. */
  readonly prefix: string;
  /** By their names in the app. */
  readonly queues: ReadonlyMap<string, TaskQueue>;
  /** Of the entries. */
  readonly encryptionKey: kms.IKey | undefined;
  /** What becomes of the entries when the stack is deleted. */
  readonly removalPolicy: RemovalPolicy;
}

/** IAM's limit of a role's name, and Scheduler's of a group's, which is the shorter of the two here. */
const MAX_NAME = 64;
/** `ap-southeast-1`: where the stack does not say its region, it may be one of these. */
const LONGEST_REGION = 14;
const SERVICE = "scheduler.amazonaws.com";

/**
 * For each standard queue a group for its entries, and a role that Scheduler takes for that group alone: who may make
 * entries for one queue can have messages sent to that queue and to no other, and can take the names of no other's entries.
 */
export class LongDelays extends Construct {
  /** By the names of the queues in the app; those of bands by their own, such as `celery-priority-9`. */
  readonly groups: ReadonlyMap<string, scheduler.CfnScheduleGroup>;
  readonly #roles = new Map<string, iam.Role>();
  /** By the names of the queues. */
  readonly #bands = new Map<string, readonly string[]>();
  readonly #key: kms.IKey | undefined;
  readonly #roleArn: string;

  constructor(scope: Construct, id: string, { prefix, queues, encryptionKey, removalPolicy }: LongDelaysProps) {
    super(scope, id);
    const stack = Stack.of(this);
    this.#key = encryptionKey;
    const groups = new Map<string, scheduler.CfnScheduleGroup>();
    this.groups = groups;
    const rolePrefix = `lovage-${stack.region}-`;
    this.#roleArn = stack.formatArn({
      service: "iam",
      region: "",
      resource: "role",
      resourceName: `${rolePrefix}{queue}`,
    });
    /** By the names of what they are on SQS, as IAM compares those of roles. */
    const named = new Map<string, string>();
    for (const [queueName, { queues: bands, bandNames, deadLetterQueue }] of queues) {
      if (isFifo(queueName)) continue;
      this.#bands.set(queueName, bandNames);
      for (const [rank, queue] of bands.entries()) {
        const band = bandNames[rank] as string;
        const onSqs = translateQueueName(prefix, band);
        const other = named.get(onSqs.toLowerCase());
        if (other !== undefined) {
          throw new ImproperlyConfigured(
            `taskQueues.${queueName}`,
            `must differ from ${other} in more than capitals, where longDelays makes a role of each: IAM takes their names for one`,
          );
        }
        named.set(onSqs.toLowerCase(), queueName);
        checkRoleName(queueName, onSqs, stack.region);
        const name = groupOf(onSqs);
        const group = new scheduler.CfnScheduleGroup(this, `Group-${band}`, { name });
        group.applyRemovalPolicy(removalPolicy);
        groups.set(band, group);
        const groupArn = stack.formatArn({ service: "scheduler", resource: "schedule-group", resourceName: name });
        const role = new iam.Role(this, `Role-${band}`, {
          roleName: `${rolePrefix}${onSqs}`,
          description: `EventBridge Scheduler sends delayed messages to ${onSqs}`,
          assumedBy: new iam.ServicePrincipal(SERVICE, {
            conditions: {
              StringEquals: { "aws:SourceAccount": stack.account },
              ArnEquals: { "aws:SourceArn": groupArn },
            },
          }),
          // Part of the role, and not a policy beside it: what outlives the stack shall be of use.
          inlinePolicies: {
            Send: new iam.PolicyDocument({
              statements: [
                allow(["sqs:SendMessage"], [queue.queueArn, deadLetterQueue.queueArn]),
                ...(queue.encryptionMasterKey === undefined
                  ? []
                  : [allow(["kms:Decrypt", "kms:GenerateDataKey"], [queue.encryptionMasterKey.keyArn])]),
                ...(encryptionKey === undefined ? [] : [allow(["kms:Decrypt"], [encryptionKey.keyArn])]),
              ],
            }),
          },
        });
        role.applyRemovalPolicy(removalPolicy);
        this.#roles.set(band, role);
      }
    }
    takeNames(this, { "role of the queue": [...named.keys()] });
    if (this.#roles.size === 0) {
      throw new ImproperlyConfigured(
        "longDelays",
        `is for standard queues, and there is none: a FIFO queue takes no delay of a single message (declared: ${[...queues.keys()].join(", ")})`,
      );
    }
  }

  /** What the URL of the broker says of it. */
  get query(): readonly string[] {
    return [
      `scheduler_group=${groupOf("{queue}")}`,
      `scheduler_role_arn=${this.#roleArn}`,
      ...(this.#key === undefined ? [] : [`scheduler_key_arn=${this.#key.keyArn}`]),
    ];
  }

  /** Lets someone have messages to these queues delayed, and to no others. */
  grantDelay(grantee: iam.IGrantable, queues: readonly string[]): void {
    const delayed = queues.flatMap((name) => this.#bands.get(name) ?? []);
    if (delayed.length === 0) return;
    const stack = Stack.of(this);
    const pass = () =>
      iam.Grant.addToPrincipal({
        grantee,
        actions: ["iam:PassRole"],
        resourceArns: delayed.flatMap((name) => this.#roles.get(name)?.roleArn ?? []),
        conditions: { StringEquals: { "iam:PassedToService": SERVICE } },
      });
    if (isElsewhere({ env: stack }, grantee) || !pass().success) {
      Annotations.of(this).addWarningV2(
        "lovage:longDelays.grant",
        `${String(grantee.grantPrincipal)} may send, but make no entries of Scheduler, as it has no policy of its own in this account: leave scheduler_group and scheduler_role_arn out of its LOVAGE_BROKER_URL, so that its long delays begin as short ones`,
      );
      return;
    }
    const entries = delayed.map((name) =>
      stack.formatArn({
        service: "scheduler",
        resource: "schedule",
        resourceName: `${this.groups.get(name)?.name}/*`,
      }),
    );
    iam.Grant.addToPrincipal({ grantee, actions: ["scheduler:CreateSchedule"], resourceArns: entries });
    this.#key?.grant(grantee, "kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt");
    const { grantPrincipal } = grantee;
    if (!Construct.isConstruct(grantPrincipal)) return;
    for (const arn of entries) {
      acknowledge(
        grantPrincipal,
        wildcard(grantPrincipal, arn),
        "An entry is named by a hash of its message, and the group has no other entries.",
      );
    }
  }
}

const allow = (actions: string[], resources: string[]) => new iam.PolicyStatement({ actions, resources });

/** A queue's group. A queue whose role has a name that fits has one too. */
const groupOf = (onSqs: string): string => `lovage-${onSqs}`;

function checkRoleName(queueName: string, onSqs: string, region: string): void {
  const longest = MAX_NAME - "lovage--".length - (Token.isUnresolved(region) ? LONGEST_REGION : region.length);
  if (onSqs.length <= longest) return;
  throw new ImproperlyConfigured(
    `taskQueues.${queueName}`,
    `must have a name of at most ${longest} characters with its prefix, where longDelays makes a role of it; given: ${onSqs} (${onSqs.length})`,
  );
}
