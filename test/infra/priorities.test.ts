/** A queue with bands: several queues, one function, and shares of its concurrency. */
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import type { Template } from "aws-cdk-lib/assertions";
import type { QueueInput } from "lovage";
import { expect, test } from "vitest";
import { bundlingFor } from "../../src/cdk/task-function.ts";
import { allowed, deploy, resources, shop } from "./deployment.ts";

const declared = (celery: QueueInput = { priorities: [0, 5, 9] }) => shop({ taskQueues: { celery, media: {} } });

const queueNames = (template: Template) =>
  Object.values(resources(template, "AWS::SQS::Queue")).map(({ Properties }) => Properties["QueueName"]);

/** Of the queue celery: what each mapping may run at a time, by the logical id of its queue. */
const shares = (template: Template) =>
  Object.values(resources(template, "AWS::Lambda::EventSourceMapping")).flatMap(({ Properties }) => {
    const { EventSourceArn, ScalingConfig, ProvisionedPollerConfig } = Properties as {
      EventSourceArn: { "Fn::GetAtt": [string] };
      ScalingConfig?: { MaximumConcurrency: number };
      ProvisionedPollerConfig?: { MinimumPollers: number; MaximumPollers: number };
    };
    const id = EventSourceArn["Fn::GetAtt"][0];
    if (!id.startsWith("TasksQueuecelery")) return [];
    return [
      ScalingConfig?.MaximumConcurrency ?? [
        ProvisionedPollerConfig?.MinimumPollers,
        ProvisionedPollerConfig?.MaximumPollers,
      ],
    ];
  });

test("each band has a queue and a mapping, and all have one function, one dead-letter queue, and alarms", () => {
  const { template } = deploy(declared());
  expect(queueNames(template())).toEqual(
    expect.arrayContaining(["celery", "celery-dlq", "celery-priority-5", "celery-priority-9", "media", "media-dlq"]),
  );
  expect(queueNames(template())).not.toContain("celery-priority-9-dlq");
  const redrive = new Set(
    Object.values(resources(template(), "AWS::SQS::Queue")).flatMap(({ Properties }) =>
      String(Properties["QueueName"]).startsWith("celery") && Properties["RedrivePolicy"] !== undefined
        ? [JSON.stringify(Properties["RedrivePolicy"])]
        : [],
    ),
  );
  expect(redrive.size).toBe(1);
  const mappings = Object.values(resources(template(), "AWS::Lambda::EventSourceMapping"));
  expect(mappings).toHaveLength(4);
  expect(new Set(mappings.map(({ Properties }) => JSON.stringify(Properties["FunctionName"]))).size).toBe(2);
  const alarms = Object.keys(resources(template(), "AWS::CloudWatch::Alarm"));
  expect(alarms.filter((id) => id.includes("celeryOldest"))).toHaveLength(3);
  const [dashboard] = Object.values(resources(template(), "AWS::CloudWatch::Dashboard"));
  expect(JSON.stringify(dashboard)).toContain("waiting, celery-priority-9");
});

test.each<[string, QueueInput, readonly number[]]>([
  ["twice as much for each next one", { priorities: [0, 5, 9], maxConcurrency: 70 }, [10, 20, 40]],
  ["in whatever order they are written", { priorities: [9, 0, 5], maxConcurrency: 70 }, [10, 20, 40]],
  ["as weights say", { priorities: { 0: 5, 9: 5 }, maxConcurrency: 20 }, [10, 10]],
  ["no less than AWS takes", { priorities: { 0: 1, 9: 99 }, maxConcurrency: 20 }, [2, 18]],
  ["all of it, where it does not come out even", { priorities: [0, 5, 9], maxConcurrency: 11 }, [2, 3, 6]],
  ["as much as there has to be, where nothing is said", { priorities: [0, 5, 9] }, [2, 2, 2]],
])("shares of the concurrency: %s", (_, queue, expected) => {
  expect(shares(deploy(declared(queue)).template())).toEqual(expected);
});

test("shares of provisioned pollers", () => {
  const props = { queues: { celery: { provisionedPollers: { minimum: 7, maximum: 70 } } } };
  expect(shares(deploy(declared(), props).template())).toEqual([
    [2, 10],
    [2, 20],
    [3, 40],
  ]);
});

test("a concurrency that is too small to be shared is refused", () => {
  expect(() => deploy(declared({ priorities: [0, 5, 9], maxConcurrency: 5 }))).toThrow(
    "taskQueues.celery.maxConcurrency: must be at least 6, as it is shared by 3 bands",
  );
});

test("who may send to a queue, look at it or steer it may so for its bands, and no other has them", () => {
  const deployment = deploy(declared(), { longDelays: true });
  const { stack, tasks } = deployment;
  const role = (name: string) =>
    new iam.Role(stack, name, { assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com") });
  const [sender, other, operator] = [role("Sender"), role("Other"), role("Operator")];
  tasks.grantSend(sender, ["celery"]);
  tasks.grantSend(other, ["media"]);
  tasks.grantOperate(operator, ["celery"]);
  const sent = (of: iam.IRole) => allowed(deployment, of).filter((right) => right.startsWith("sqs:SendMessage"));
  expect(sent(sender)).toHaveLength(3);
  expect(sent(other)).toHaveLength(1);
  expect(sent(operator)).toHaveLength(3);
  const of = (action: string) => allowed(deployment, operator).filter((right) => right.startsWith(action));
  expect(of("lambda:UpdateEventSourceMapping")).toHaveLength(3);
  // And the dead letters.
  expect(of("sqs:PurgeQueue")).toHaveLength(4);
  expect(allowed(deployment, sender).filter((right) => right.startsWith("iam:PassRole"))).toHaveLength(3);
  const groups = Object.values(resources(deployment.template(), "AWS::Scheduler::ScheduleGroup"));
  expect(groups.map(({ Properties }) => Properties["Name"])).toContain("lovage-celery-priority-9");
});

test("containers come with what waits in all bands", () => {
  const app = declared({ priorities: [0, 9], worker: "container" });
  const image = ecs.ContainerImage.fromRegistry("public.ecr.aws/docker/library/node:24-slim");
  const alarms = Object.values(
    resources(deploy(app, { container: { image } }).template(), "AWS::CloudWatch::Alarm"),
  ).flatMap(({ Properties }) => (Properties["Metrics"] as { Expression?: string }[] | undefined) ?? []);
  const expressions = new Set(alarms.flatMap(({ Expression }) => Expression ?? []));
  expect([...expressions]).toEqual([
    "waiting + running + waiting1 + running1",
    "IF(waiting0 + waiting1 > 0 AND FILL(containers, 0) < 1, 1, 0)",
  ]);
});

test("a bundle has what bands need where a queue has them", () => {
  expect(bundlingFor(declared()).define).toMatchObject({ LOVAGE_BANDS: "true" });
  expect(bundlingFor(shop()).define).toMatchObject({ LOVAGE_BANDS: "false" });
});
