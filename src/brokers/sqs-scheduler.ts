/**
 * Texts that are due far off, each kept by EventBridge Scheduler as an entry that fires once, sends it to its queue, and
 * is gone. Loaded when the first such text is sent.
 */
import { CreateScheduleCommand, type CreateScheduleCommandInput, SchedulerClient } from "#aws/scheduler";
import { type AwsUrl, clientConfig } from "../aws/connection.ts";
import { isOverload, translateError } from "../aws/errors.ts";
import { type LovageError, OperationalError } from "../errors.ts";
import { stableId } from "../stable-id.ts";
import { type FarOff, LEAD_MS, type Scheduler } from "./sqs-delays.ts";

/** For one try of a request, in milliseconds. */
const REQUEST_TIMEOUT_MS = 5000;
/** Scheduler's limits, and its defaults: so long, and so often, it tries to send to a queue. */
const MAX_EVENT_AGE_S = 86_400;
const MAX_RETRY_ATTEMPTS = 185;

export interface Entries {
  /**
   * Makes the entry of a text. `false`: it could not be made for a reason that passes, and the text is to go by hops.
   * Throws an `OperationalError` where somebody has to put something right.
   *
   * @param deadLetters The queue, by its name on SQS, of what Scheduler cannot send.
   */
  make(text: FarOff, queueUrl: string, deadLetters: string): Promise<boolean>;
  close(): void;
}

export function open(url: AwsUrl, region: string, scheduler: Scheduler): Entries {
  const client = new SchedulerClient({ ...clientConfig(url, REQUEST_TIMEOUT_MS), region });
  return {
    async make(text, queueUrl, deadLetters) {
      const entry = entryOf(text, queueUrl, deadLetters, region, scheduler);
      try {
        await client.send(new CreateScheduleCommand(entry));
        return true;
      } catch (error) {
        const { name, message } = error as Error;
        // A copy of it is there already. A group that is being deleted is in conflict too, and has nothing.
        if (name === "ConflictException") return /already exists/i.test(message);
        if (name === "ServiceQuotaExceededException") return false;
        const translated = translateError(error, {
          action: "scheduler:CreateSchedule",
          resource: `the schedule group ${entry.GroupName}`,
        });
        if (isOverload(error)) return false;
        throw refused(translated, name, text.queue, entry);
      }
    },
    close: () => client.destroy(),
  };
}

/** The entry of a text: the same for every copy of it, by its name. */
export function entryOf(
  { body, due, queue }: FarOff,
  queueUrl: string,
  deadLetters: string,
  region: string,
  scheduler: Scheduler,
): CreateScheduleCommandInput {
  const [name = "", account = ""] = queueUrl.split("/").reverse();
  const partition = scheduler.role.split(":")[1];
  const arnOf = (queueName: string) => `arn:${partition}:sqs:${region}:${account}:${queueName}`;
  const at = Math.floor((due.at - LEAD_MS) / 1000) * 1000;
  return {
    // Apps may share a group, and a task that is sent again for another time is another text. With the body in it, who knows
    // a task's id and time only cannot take the name before its sender does, who would hold the entry for a copy of it.
    Name: stableId("delay", account, name, due.id, at, body),
    GroupName: scheduler.group.replaceAll("{queue}", name),
    ScheduleExpression: `at(${new Date(at).toISOString().slice(0, "2026-01-01T00:00:00".length)})`,
    ScheduleExpressionTimezone: "UTC",
    FlexibleTimeWindow: { Mode: "OFF" },
    ActionAfterCompletion: "DELETE",
    Description: `a message to ${queue}`,
    ...(scheduler.key !== undefined && { KmsKeyArn: scheduler.key }),
    Target: {
      Arn: arnOf(name),
      RoleArn: scheduler.role.replaceAll("{queue}", name),
      Input: body,
      RetryPolicy: { MaximumEventAgeInSeconds: MAX_EVENT_AGE_S, MaximumRetryAttempts: MAX_RETRY_ATTEMPTS },
      DeadLetterConfig: { Arn: arnOf(deadLetters) },
    },
  };
}

/**
 * A right or a group that is missing is missing for a while, as it is just after a deployment: a worker hands back the
 * message that it would park, and loses no retry, until somebody has put it right.
 */
function refused(error: LovageError, name: string, queue: string, entry: CreateScheduleCommandInput): OperationalError {
  const remedy =
    name === "ResourceNotFoundException"
      ? `is there a schedule group ${entry.GroupName} in this region and account? Deploy it, or correct scheduler_group`
      : `grantSend of TaskQueues gives what it takes: scheduler:CreateSchedule on that group, and iam:PassRole on ${entry.Target?.RoleArn}`;
  return new OperationalError(`a message to ${queue} could not be delayed: ${error.message}; ${remedy}`, {
    retryable: true,
    cause: error,
  });
}
