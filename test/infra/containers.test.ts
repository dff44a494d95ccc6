/** Queues whose worker is a container, or nobody of the stack's. */
import { Duration, Stack, Validations } from "aws-cdk-lib";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { Match } from "aws-cdk-lib/assertions";
import { AwsSolutionsChecks } from "cdk-nag";
import type { ConfigInput } from "lovage";
import { type ContainerOptions, TaskQueues, type TaskQueuesProps } from "lovage/cdk";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { allowed, deploy, type Deployment, FUNCTIONS, resources, shop, unbundled } from "./deployment.ts";

const image = ecs.ContainerImage.fromRegistry("public.ecr.aws/docker/library/node:24-slim");
const VIDEO: ConfigInput = {
  taskQueues: { celery: {}, video: { timeLimit: 14_400, worker: "container" } },
  taskRoutes: { "shop.resize": "video" },
};

const deployVideo = (container: Partial<ContainerOptions> = {}, props: Partial<TaskQueuesProps> = {}) =>
  deploy(shop(VIDEO), { container: { image, ...container }, ...props });

const only = (deployment: Deployment, type: string) => {
  const found = Object.values(resources(deployment.template(), type));
  expect(found, type).toHaveLength(1);
  return found[0]?.Properties ?? {};
};

const containerOf = (deployment: Deployment) =>
  (only(deployment, "AWS::ECS::TaskDefinition")["ContainerDefinitions"] as Record<string, unknown>[])[0] ?? {};

test("a task of four hours has a queue that containers work on, beside one that a function works on", () => {
  const deployment = deployVideo();
  const template = deployment.template();
  expect(Object.values(resources(template, "AWS::Lambda::EventSourceMapping"))).toHaveLength(1);
  expect(containerOf(deployment)).toMatchObject({
    Command: ["--queues", "video", "--concurrency", "4", "--grace", "110", "--cloudwatch-metrics"],
    StopTimeout: 120,
    Environment: ["LOVAGE_BROKER_URL", "LOVAGE_RESULT_BACKEND", "LOVAGE_BEAT_FUNCTION"].map((Name) =>
      expect.objectContaining({ Name }),
    ),
  });
  template.hasResourceProperties("AWS::ECS::TaskDefinition", {
    Cpu: "1024",
    Memory: "2048",
    RequiresCompatibilities: ["FARGATE"],
    RuntimePlatform: { CpuArchitecture: "ARM64", OperatingSystemFamily: "LINUX" },
  });
  // A poller says itself for how long it hides a message: the attribute is what others get.
  template.hasResourceProperties("AWS::SQS::Queue", { QueueName: "video", VisibilityTimeout: 30 });
});

test("containers come with the backlog, from none, and go with it", () => {
  const deployment = deployVideo({ concurrency: 2, maxTasks: 3 });
  expect(only(deployment, "AWS::ApplicationAutoScaling::ScalableTarget")).toMatchObject({
    MinCapacity: 0,
    MaxCapacity: 3,
  });
  const policies = Object.values(resources(deployment.template(), "AWS::ApplicationAutoScaling::ScalingPolicy"));
  const alarms = Object.values(resources(deployment.template(), "AWS::CloudWatch::Alarm"));
  /** How many containers the policies ask for at a backlog, by the rules of Application Auto Scaling. */
  const wanted = (backlog: number): number | undefined => {
    for (const { Properties } of policies) {
      const { AdjustmentType, StepAdjustments } = Properties["StepScalingPolicyConfiguration"] as {
        AdjustmentType: string;
        StepAdjustments: {
          MetricIntervalLowerBound?: number;
          MetricIntervalUpperBound?: number;
          ScalingAdjustment: number;
        }[];
      };
      expect(AdjustmentType).toBe("ExactCapacity");
      const id = Object.entries(resources(deployment.template(), "AWS::ApplicationAutoScaling::ScalingPolicy")).find(
        ([, other]) => other.Properties === Properties,
      )?.[0];
      const alarm = alarms.find(
        (one) => JSON.stringify(one.Properties["AlarmActions"]) === JSON.stringify([{ Ref: id }]),
      );
      const threshold = Number(alarm?.Properties["Threshold"]);
      const isUpper = alarm?.Properties["ComparisonOperator"] === "GreaterThanOrEqualToThreshold";
      if (isUpper ? backlog < threshold : backlog > threshold) continue;
      const over = backlog - threshold;
      const step = StepAdjustments.find(
        ({
          MetricIntervalLowerBound: low = Number.NEGATIVE_INFINITY,
          MetricIntervalUpperBound: high = Number.POSITIVE_INFINITY,
        }) => (isUpper ? over >= low && over < high : over > low && over <= high),
      );
      if (step !== undefined) return step.ScalingAdjustment;
    }
    return undefined;
  };
  expect([0, 1, 2, 3, 4, 5, 6, 100].map(wanted)).toEqual([0, 1, 1, 2, 2, 3, 3, 3]);
});

test.each([
  [0, 5000],
  [3, 20],
  [0, 1],
  [2, 2],
])("from %d to %d containers need no more steps than AWS takes", (minTasks, maxTasks) => {
  const deployment = deployVideo({ minTasks, maxTasks });
  const policies = Object.values(resources(deployment.template(), "AWS::ApplicationAutoScaling::ScalingPolicy"));
  const steps = policies.flatMap(
    ({ Properties }) =>
      (Properties["StepScalingPolicyConfiguration"] as { StepAdjustments: { ScalingAdjustment: number }[] })
        .StepAdjustments,
  );
  expect(steps.length).toBeLessThanOrEqual(20 * policies.length);
  if (minTasks < maxTasks) expect(Math.max(...steps.map(({ ScalingAdjustment }) => ScalingAdjustment))).toBe(maxTasks);
  else expect(policies).toEqual([]);
});

const WORKS = (queue: string) => [
  ...["BatchGetItem", "PartiQLInsert", "PartiQLUpdate", "PutItem", "UpdateItem"].map(
    (action) => `dynamodb:${action} Results celery-task-meta-*`,
  ),
  ...["BatchGetItem", "PutItem", "UpdateItem"].map(
    (action) => `dynamodb:${action} Results celery-taskset-meta-* chord-unlock-* lovage-control-*`,
  ),
  "dynamodb:PartiQLInsert Journal",
  "dynamodb:PutItem Journal",
  `sqs:ChangeMessageVisibility ${queue}Queue`,
  `sqs:DeleteMessage ${queue}Queue`,
  // Once for who receives, once for who sends.
  `sqs:GetQueueAttributes ${queue}Queue`,
  `sqs:GetQueueAttributes ${queue}Queue`,
  `sqs:GetQueueUrl ${queue}DeadLetters`,
  `sqs:GetQueueUrl ${queue}Queue`,
  `sqs:ReceiveMessage ${queue}Queue`,
  `sqs:SendMessage ${queue}DeadLetters`,
  `sqs:SendMessage ${queue}Queue`,
];

test("a container may do what its tasks do, keep itself from being taken away, and no more", () => {
  const deployment = deployVideo();
  const role = deployment.tasks.queue("video").grantPrincipal as iam.Role;
  const rights = allowed(deployment, role);
  expect(rights.filter((right) => !right.startsWith("ecs:"))).toEqual(WORKS("video").sort());
  expect(rights.filter((right) => right.startsWith("ecs:"))).toEqual([
    expect.stringMatching(/^ecs:UpdateTaskProtection .*task\/.*Cluster/),
  ]);
});

test("a worker elsewhere is given exactly what a container has", () => {
  const deployment = deploy(shop({ taskQueues: { celery: {}, media: { worker: "none" } } }));
  const role = new iam.Role(deployment.stack, "Mine", { assumedBy: new iam.ServicePrincipal("ec2.amazonaws.com") });
  deployment.tasks.grantWork(role, ["media"]);
  expect(allowed(deployment, role)).toEqual(WORKS("media").sort());
  expect(() => deployment.tasks.grantWork(role, ["medai"])).toThrow('there is no queue "medai"');
});

test("an alarm goes off where messages wait and no container runs, beside those that every queue has", () => {
  const { tasks, template } = deployVideo();
  expect(tasks.queue("video").alarms).toHaveLength(3);
  const alarms = Object.values(resources(template(), "AWS::CloudWatch::Alarm"));
  const alarm = alarms.find(({ Properties }) =>
    String(JSON.stringify(Properties["AlarmDescription"])).includes("no container"),
  );
  expect(alarm?.Properties).toMatchObject({ EvaluationPeriods: 3, Threshold: 1, TreatMissingData: "notBreaching" });
  expect(alarm?.Properties["Metrics"]).toEqual([
    expect.objectContaining({ Expression: "IF(waiting0 > 0 AND FILL(containers, 0) < 1, 1, 0)" }),
    expect.objectContaining({
      MetricStat: expect.objectContaining({
        Metric: expect.objectContaining({ MetricName: "CPUUtilization", Namespace: "AWS/ECS" }),
        Stat: "SampleCount",
      }),
    }),
    expect.objectContaining({
      MetricStat: expect.objectContaining({
        Metric: expect.objectContaining({ MetricName: "ApproximateNumberOfMessagesVisible" }),
      }),
    }),
  ]);
});

test("what its containers write of tasks is on the dashboard, and has an alarm where one is wanted", () => {
  const deployment = deployVideo({}, { queues: { video: { failedPercent: 20 } } });
  const text = JSON.stringify(Object.values(resources(deployment.template(), "AWS::CloudWatch::Dashboard")));
  for (const title of ["video: tasks", "video: times (ms)", "video: containers"]) expect(text).toContain(title);
  expect(text).not.toContain('"video: invocations"');
  const alarms = Object.values(resources(deployment.template(), "AWS::CloudWatch::Alarm"));
  expect(alarms.some(({ Properties }) => JSON.stringify(Properties["Metrics"] ?? "").includes("100 * failed"))).toBe(
    true,
  );
});

test("without metrics containers write none", () => {
  const deployment = deploy(shop({ ...VIDEO, metrics: false }), { container: { image } });
  expect(containerOf(deployment)).toMatchObject({
    Command: ["--queues", "video", "--concurrency", "4", "--grace", "110"],
  });
});

test("a queue with nobody of the stack's has its dead letters and its alarms, and says what it has not", () => {
  const { tasks, template } = deploy(shop({ taskQueues: { celery: {}, media: { worker: "none" } } }));
  const media = tasks.queue("media");
  expect(media.worker).toBe("none");
  expect(media.service).toBeUndefined();
  expect(media.alarms).toHaveLength(2);
  expect(() => media.function).toThrow(/the queue media: has no function: its worker is "none"/);
  expect(Object.keys(resources(template(), "AWS::Lambda::EventSourceMapping"))).toHaveLength(1);
  template().resourceCountIs("AWS::ECS::Service", 0);
  template().resourceCountIs("AWS::EC2::VPC", 0);
  template().hasResourceProperties("AWS::SQS::Queue", { QueueName: "media-dlq" });
});

describe("a queue that moves from one kind of worker to another", () => {
  type Resources = Readonly<Record<string, { readonly Type: string; readonly Properties?: Record<string, unknown> }>>;
  const made = new Map<string, Resources>();
  const withWorker = (worker: "function" | "container" | "none"): Resources => {
    const taskQueues = { celery: {}, video: { worker } };
    const resources =
      made.get(worker) ??
      deploy(shop({ taskQueues }), worker === "container" ? { container: { image } } : {})
        .template()
        .toJSON()["Resources"];
    made.set(worker, resources as Resources);
    return resources as Resources;
  };
  const keeps = ({ Type }: Resources[string]) => /^AWS::(SQS::Queue|DynamoDB::)/.test(Type);
  const isWork = ({ Type }: Resources[string]) => /EventSourceMapping|Lambda::Function|ECS::Service/.test(Type);

  test.each([
    ["function", "container"],
    ["container", "function"],
    ["function", "none"],
    ["none", "container"],
  ] as const)("keeps what holds its messages and rows: from %s to %s", (from, to) => {
    const [before, after] = [withWorker(from), withWorker(to)];
    const kept = (resources: Resources) =>
      Object.entries(resources)
        .filter(([, resource]) => keeps(resource))
        // For how long a message is hidden that was received says who receives it.
        .map(([id, { Type, Properties: { VisibilityTimeout: _, ...rest } = {} }]) => [id, Type, rest]);
    expect(kept(after)).toEqual(kept(before));
    expect(kept(before).length).toBeGreaterThanOrEqual(6);

    // CloudFormation makes what is new before it takes away what is gone, unless that has the same name.
    const names = (resources: Resources, others: Resources) =>
      Object.entries(resources)
        .filter(([id]) => others[id] === undefined)
        .flatMap(([, { Type, Properties = {} }]) =>
          Object.entries(Properties).flatMap(([key, value]) =>
            /Name$/.test(key) && key !== "PolicyName" && typeof value === "string" ? [`${Type} ${key} ${value}`] : [],
          ),
        );
    const taken = new Set(names(before, after));
    expect(names(after, before).filter((name) => taken.has(name))).toEqual([]);
    // What stays waits for nobody who comes or goes.
    const workers = Object.entries({ ...before, ...after }).flatMap(([id, one]) => (isWork(one) ? [id] : []));
    const said = JSON.stringify(Object.values(after).filter(keeps));
    expect(workers.filter((id) => said.includes(`"${id}"`))).toEqual([]);
  });
});

const PRIVATE = ec2.SubnetType.PRIVATE_WITH_EGRESS;
test.each([
  ["a VPC of public subnets alone, as AWS's default one is", [ec2.SubnetType.PUBLIC], undefined, "ENABLED"],
  ["public subnets that are named", [ec2.SubnetType.PUBLIC, PRIVATE], ec2.SubnetType.PUBLIC, "ENABLED"],
  ["private subnets", [ec2.SubnetType.PUBLIC, PRIVATE], undefined, "DISABLED"],
  ["isolated ones", [ec2.SubnetType.PRIVATE_ISOLATED], undefined, "DISABLED"],
])("in %s containers have an address that reaches AWS", (_, kinds, subnetType, AssignPublicIp) => {
  const { template } = deploy(shop({ taskQueues: { celery: {}, video: { worker: "container" } } }), (stack) => ({
    container: { image },
    queues: {
      video: {
        vpc: new ec2.Vpc(stack, "Mine", {
          subnetConfiguration: kinds.map((kind) => ({ name: kind, subnetType: kind })),
          natGateways: kinds.includes(PRIVATE) ? 1 : 0,
        }),
        ...(subnetType && { vpcSubnets: { subnetType } }),
      },
    },
  }));
  template().hasResourceProperties("AWS::ECS::Service", {
    NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp } },
  });
});

test("what is said of containers and their place is what is deployed", () => {
  const deployment = deploy(
    shop({ taskQueues: { celery: {}, video: { worker: "container", environment: { MODE: "hd", SIZE: "1" } } } }),
    (stack) => ({
      container: { image },
      vpc: new ec2.Vpc(stack, "Mine"),
      queues: {
        video: {
          environment: { SIZE: "2" },
          architecture: lambda.Architecture.X86_64,
          container: {
            image,
            cpu: 4096,
            memoryLimitMiB: 16_384,
            ephemeralStorageGiB: 100,
            spot: true,
            stopTimeout: Duration.seconds(30),
            command: ["--queues", "video,celery"],
            healthCheck: { command: ["CMD", "true"] },
          },
        },
      },
    }),
  );
  const template = deployment.template();
  template.resourceCountIs("AWS::EC2::VPC", 1);
  template.resourceCountIs("AWS::ECS::Cluster", 1);
  template.hasResourceProperties("AWS::ECS::Service", {
    CapacityProviderStrategy: [{ CapacityProvider: "FARGATE_SPOT", Weight: 1 }],
    NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: "DISABLED" } },
  });
  template.hasResourceProperties("AWS::ECS::TaskDefinition", {
    Cpu: "4096",
    Memory: "16384",
    EphemeralStorage: { SizeInGiB: 100 },
    RuntimePlatform: { CpuArchitecture: "X86_64" },
  });
  expect(containerOf(deployment)).toMatchObject({
    Command: ["--queues", "video,celery"],
    StopTimeout: 30,
    HealthCheck: { Command: ["CMD", "true"] },
    Environment: expect.arrayContaining([
      { Name: "MODE", Value: "hd" },
      { Name: "SIZE", Value: "2" },
    ]),
  });
});

test("two queues of containers share a cluster", () => {
  const deployment = deploy(
    shop({ taskQueues: { celery: {}, video: { worker: "container" }, sound: { worker: "container" } } }),
    { container: { image } },
  );
  deployment.template().resourceCountIs("AWS::ECS::Cluster", 1);
  deployment.template().resourceCountIs("AWS::ECS::Service", 2);
  deployment.template().resourceCountIs("AWS::EC2::NatGateway", 0);
});

describe("a cluster of one's own", () => {
  const inCluster = (cluster: (stack: Stack) => ecs.ICluster, spot = false) =>
    deploy(shop(VIDEO), (stack) => ({ container: { image, spot, cluster: cluster(stack) } }));
  const made = (stack: Stack) => new ecs.Cluster(stack, "Mine", { vpc: new ec2.Vpc(stack, "Vpc") });
  const lookedUp = (stack: Stack) =>
    ecs.Cluster.fromClusterAttributes(stack, "Mine", { clusterName: "mine", vpc: new ec2.Vpc(stack, "Vpc") });

  test.each([made, lookedUp])("need not have Fargate's capacity providers", (cluster) => {
    inCluster(cluster)
      .template()
      .hasResourceProperties("AWS::ECS::Service", { LaunchType: "FARGATE", CapacityProviderStrategy: Match.absent() });
  });

  test("gets them for Spot, before its service is made", () => {
    const { template } = inCluster(made, true);
    const [association] = Object.keys(resources(template(), "AWS::ECS::ClusterCapacityProviderAssociations"));
    template().hasResource("AWS::ECS::Service", {
      Properties: { CapacityProviderStrategy: [{ CapacityProvider: "FARGATE_SPOT", Weight: 1 }] },
      DependsOn: Match.arrayWith([association]),
    });
  });

  test("is left as it is where it was looked up", () => {
    const { template } = inCluster(lookedUp, true);
    template().resourceCountIs("AWS::ECS::ClusterCapacityProviderAssociations", 0);
    template().hasResourceProperties("AWS::ECS::Service", {
      CapacityProviderStrategy: [{ CapacityProvider: "FARGATE_SPOT", Weight: 1 }],
    });
  });
});

test("the service of a cluster that the deployment makes waits for its capacity providers", () => {
  const { template } = deployVideo();
  const [association] = Object.keys(resources(template(), "AWS::ECS::ClusterCapacityProviderAssociations"));
  template().hasResource("AWS::ECS::Service", { DependsOn: Match.arrayWith([association]) });
});

test.each<[string, ConfigInput["taskQueues"], Partial<TaskQueuesProps>, RegExp]>([
  [
    "a time beyond a function's",
    { celery: { timeLimit: 3600 } },
    {},
    /taskQueues\.celery\.timeLimit: must be at most 890 seconds on Lambda.*given: 3600\. Containers run tasks of up to 1209600: set worker: "container"/,
  ],
  [
    "a time beyond what a FIFO queue keeps a message",
    { celery: {}, "celery.fifo": { timeLimit: 700_000, worker: "container" } },
    { container: { image } },
    /timeLimit: must be at most 604800 seconds on celery\.fifo.*given: 700000/,
  ],
  [
    "a time beyond a container's",
    { celery: { timeLimit: 1_209_601, worker: "container" } },
    { container: { image } },
    /taskQueues\.celery\.timeLimit.*1209600/,
  ],
  ["no image", { celery: { worker: "container" } }, {}, /queues\.celery\.container: is needed.*image/],
  [
    "what is a function's",
    { celery: { worker: "container", memorySize: 512 } },
    { container: { image } },
    /taskQueues\.celery\.memorySize: is only for a function.*memoryLimitMiB/,
  ],
  [
    "what is a function's, of the deployment",
    { celery: { worker: "container" } },
    { container: { image }, queues: { celery: { entry: "own.ts" } } },
    /queues\.celery\.entry: is only for a function.*"container": leave it out/,
  ],
  [
    "containers where none work",
    { celery: {} },
    { queues: { celery: { container: { image } } } },
    /queues\.celery\.container: is only for containers.*"function": leave it out, or declare worker: "container"/,
  ],
  [
    "containers of all queues where none work",
    { celery: {}, media: { worker: "none" } },
    { container: { image } },
    /^container: is for queues that containers work on, and there is none: declare worker: "container"/,
  ],
  [
    "a worth of a container where their number stays",
    { celery: { worker: "container" } },
    { container: { image, minTasks: 2, maxTasks: 2, backlogPerTask: 3 } },
    /container\.backlogPerTask: has no effect, as minTasks and maxTasks are both 2/,
  ],
  [
    "a concurrency that a command does not say",
    { celery: { worker: "container" } },
    { container: { image, command: ["-Q", "celery"], concurrency: 2, backlogPerTask: 3 } },
    /container\.concurrency: has no effect beside command: say --concurrency there/,
  ],
  [
    "an environment of nobody",
    { celery: { worker: "none", environment: { MODE: "x" } } },
    {},
    /taskQueues\.celery\.environment: is only for a function or containers.*"none": leave it out/,
  ],
  [
    "a security group of no VPC",
    { celery: { worker: "container" } },
    { container: { image }, queues: { celery: { securityGroups: [] } } },
    /queues\.celery\.securityGroups: needs the vpc/,
  ],
  [
    "an alarm on metrics that nobody writes",
    { celery: { worker: "none" } },
    { queues: { celery: { failedPercent: 20 } } },
    /failedPercent: is only for a function.*"none": leave it out/,
  ],
  [
    "it, where nobody works",
    { celery: { worker: "none", maxConcurrency: 5 } },
    {},
    /maxConcurrency: is only for a function/,
  ],
  [
    "a stop that Fargate does not grant",
    { celery: { worker: "container" } },
    { container: { image, stopTimeout: Duration.minutes(5) } },
    /queues\.celery\.container\.stopTimeout: must be a whole number from 15 to 120 seconds; given: 300/,
  ],
  [
    "fewer at most than at least",
    { celery: { worker: "container" } },
    { container: { image, minTasks: 5, maxTasks: 2 } },
    /maxTasks: must not be below minTasks, which is 5; given: 2/,
  ],
  [
    "a CPU that Fargate has not",
    { celery: { worker: "container" } },
    { container: { image, cpu: 1500 } },
    /queues\.celery\.container\.cpu: must be one of 256, 512, .*, 16384; given: 1500/,
  ],
  [
    "more memory than its CPU has",
    { celery: { worker: "container" } },
    { container: { image, cpu: 256, memoryLimitMiB: 8192 } },
    /memoryLimitMiB: must be 512 to 2048 MiB by steps of 1024 where cpu is 256.*given: 8192/,
  ],
  [
    "memory between two steps",
    { celery: { worker: "container" } },
    { queues: { celery: { container: { image, cpu: 8192, memoryLimitMiB: 18_432 } } } },
    /memoryLimitMiB: must be 16384 to 61440 MiB by steps of 4096 where cpu is 8192.*given: 18432/,
  ],
  [
    "more bands than an alarm has metrics for",
    { celery: { worker: "container", priorities: [0, 1, 2, 3, 4, 5] } },
    { container: { image } },
    /taskQueues\.celery\.priorities: must be at most 5 where containers .*10 metrics; given: 6/,
  ],
  [
    "as many, where their number stays as it is",
    { celery: { worker: "container", priorities: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] } },
    { container: { image, minTasks: 2, maxTasks: 2 } },
    /taskQueues\.celery\.priorities: must be at most 9 where containers work on the queue, .*given: 10/,
  ],
])("%s is refused at synth", (_, taskQueues, props, message) => {
  expect(() => deploy(shop({ ...(taskQueues && { taskQueues }) }), props)).toThrow(message);
});

test.each([
  [{ priorities: [0, 1, 2, 3, 4] }, {}],
  [{ priorities: [0, 1, 2, 3, 4, 5, 6, 7, 8] }, { minTasks: 2, maxTasks: 2 }],
])("no alarm has more metrics than AWS takes: %j", (queue, container) => {
  const deployment = deploy(shop({ taskQueues: { celery: { ...queue, worker: "container" } } }), {
    container: { image, ...container },
  });
  for (const { Properties } of Object.values(resources(deployment.template(), "AWS::CloudWatch::Alarm")))
    expect(JSON.stringify(Properties).match(/"MetricStat"/g)?.length ?? 0).toBeLessThanOrEqual(10);
});

test.each([
  [256, 512],
  [256, 1024],
  [512, 4096],
  [4096, 30_720],
  [16_384, 122_880],
])("%d of CPU and %d MiB are a size of Fargate's", (cpu, memoryLimitMiB) => {
  const { template } = deployVideo({ cpu, memoryLimitMiB });
  template().hasResourceProperties("AWS::ECS::TaskDefinition", { Cpu: `${cpu}`, Memory: `${memoryLimitMiB}` });
});

test.each(["lambda", 5, null])("a worker of %j is refused where it is declared", (worker) => {
  expect(() => shop({ taskQueues: { celery: { worker: worker as "none" } } })).toThrow(
    /taskQueues\.celery\.worker.*"function", "container", "none"/,
  );
});

test("AWS's Solutions pack finds nothing in a mixed stack, with a key of one's own too", () => {
  const app = unbundled();
  const stack = new Stack(app, "Mixed");
  new TaskQueues(stack, "Tasks", {
    app: shop(VIDEO),
    entry: join(FUNCTIONS, "worker.ts"),
    container: { image },
    encryptionKey: new kms.Key(stack, "Key", { enableKeyRotation: true }),
  });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  expect(() => app.synth()).not.toThrow();
});
