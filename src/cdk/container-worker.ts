/** The service of containers that works on a queue: on Fargate, from none while the queue is empty, and back. */
import { Duration, Stack } from "aws-cdk-lib";
import { AdjustmentType, type ScalingInterval } from "aws-cdk-lib/aws-applicationautoscaling";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import type * as logs from "aws-cdk-lib/aws-logs";
import type * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { ImproperlyConfigured } from "../errors.ts";
import { workerLog } from "./grants.ts";
import { checkRange, LIMITS } from "./limits.ts";
import { acknowledge, wildcard } from "./nag.ts";
import { checkLiteral } from "./names.ts";

/** What a container is told that works on a queue (`worker: "container"`). */
export interface ContainerOptions {
  /**
   * The image. Its `ENTRYPOINT` is `lovage worker -A …`, and passes signals on; what `command` says comes after it.
   * `ecs.ContainerImage.fromAsset(".")` builds it from a Dockerfile for the architecture that the queue has.
   */
  readonly image: ecs.ContainerImage;
  /** What is put after the image's `ENTRYPOINT`. @default - `--queues <queue> --concurrency <concurrency> --grace <a little less than stopTimeout>`, and `--cloudwatch-metrics` unless the app says `metrics: false` */
  readonly command?: readonly string[] | undefined;
  /** Tasks at a time in one container, 1 to 10,000. @default 4 */
  readonly concurrency?: number | undefined;
  /** CPU units of a container, 1,024 for a whole one, 256 to 16,384. Fargate takes certain pairs with memory alone. @default 1024 */
  readonly cpu?: number | undefined;
  /** Memory of a container in MiB, 512 to 122,880. @default 2048 */
  readonly memoryLimitMiB?: number | undefined;
  /** Room on a container's disk in GiB, 21 to 200. @default - Fargate's 20 */
  readonly ephemeralStorageGiB?: number | undefined;
  /**
   * Whether containers run on Fargate's spare capacity, at about a third of the price. AWS takes it back with a warning of
   * two minutes, and what does not end in that time is handed back to the queue. A cluster that was looked up has to have the
   * capacity provider `FARGATE_SPOT` already. @default false
   */
  readonly spot?: boolean | undefined;
  /** The cluster, whose VPC is taken too. @default - one of the deployment's own, in the `vpc` of the queue or of `TaskQueues` */
  readonly cluster?: ecs.ICluster | undefined;
  /** Containers while nothing is to be done. @default 0 */
  readonly minTasks?: number | undefined;
  /** Containers at most, 1 to 5,000. @default 10 */
  readonly maxTasks?: number | undefined;
  /** So many messages, waiting or in hand, are worth a container. @default - `concurrency` */
  readonly backlogPerTask?: number | undefined;
  /** From SIGTERM to SIGKILL: what runs may end in it. Up to 120 seconds, which is what Fargate grants. @default Duration.seconds(120) */
  readonly stopTimeout?: Duration | undefined;
  /** Asks a container whether it is well. @default - none: a worker that cannot go on ends by itself */
  readonly healthCheck?: ecs.HealthCheck | undefined;
}

export interface ContainerWorkerProps extends ContainerOptions {
  /** The queue by its name in the app. */
  readonly queueName: string;
  /** All that it is on SQS: one for each band of its priorities, where it has any. */
  readonly queues: readonly sqs.IQueue[];
  readonly environment: Readonly<Record<string, string>>;
  /** @default lambda.Architecture.ARM_64 */
  readonly architecture?: lambda.Architecture | undefined;
  readonly vpc?: ec2.IVpc | undefined;
  readonly vpcSubnets?: ec2.SubnetSelection | undefined;
  readonly securityGroups?: ec2.ISecurityGroup[] | undefined;
  /** Whether its workers write metrics to their log. */
  readonly hasMetrics: boolean;
  readonly logRetention: logs.RetentionDays;
  /** Encrypts the log. */
  readonly encryptionKey?: kms.IKey | undefined;
}

const DEFAULT_CONCURRENCY = 4;
const DEFAULT_MAX_TASKS = 10;
const STOP_TIMEOUT = Duration.seconds(120);
/** Of the time to stop, for handing back what did not end: tasks have 5 seconds after their signal, and requests take a moment. */
const HAND_BACK_S = 10;
/** Application Auto Scaling's, of one policy. */
const MAX_STEPS = 20;
/** Of an alarm on what is computed: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html */
const MAX_METRICS = 10;
/**
 * Fargate's sizes: of each CPU the memory in MiB, from the least to the most by steps.
 * https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
 */
const SIZES: ReadonlyMap<number, { readonly min: number; readonly max: number; readonly step: number }> = new Map([
  [256, { min: 512, max: 2048, step: 1024 }],
  [512, { min: 1024, max: 4096, step: 1024 }],
  [1024, { min: 2048, max: 8192, step: 1024 }],
  [2048, { min: 4096, max: 16_384, step: 1024 }],
  [4096, { min: 8192, max: 30_720, step: 1024 }],
  [8192, { min: 16_384, max: 61_440, step: 4096 }],
  [16_384, { min: 32_768, max: 122_880, step: 8192 }],
]);
/** SQS counts its messages for CloudWatch once a minute. */
const MINUTE = Duration.minutes(1);

/** A service on Fargate whose containers poll one queue. */
export class ContainerWorker extends Construct implements iam.IGrantable {
  readonly service: ecs.FargateService;
  readonly grantPrincipal: iam.IPrincipal;
  readonly #container: ecs.ContainerDefinition;

  constructor(scope: Construct, id: string, props: ContainerWorkerProps) {
    super(scope, id);
    const { queues, queueName, ephemeralStorageGiB } = props;
    const settings = settingsOf(props);
    if (props.cluster === undefined && props.vpc === undefined) refusePlace(props);
    const { cpu, memoryLimitMiB } = sizeOf(props);
    const logGroup = workerLog(this, props);
    const cluster = props.cluster ?? sharedCluster(this, props.vpc);
    const architecture = props.architecture ?? lambda.Architecture.ARM_64;
    const definition = new ecs.FargateTaskDefinition(this, "Task", {
      cpu,
      memoryLimitMiB,
      ...(ephemeralStorageGiB === undefined ? {} : { ephemeralStorageGiB }),
      runtimePlatform: {
        operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
        cpuArchitecture:
          architecture.name === lambda.Architecture.X86_64.name
            ? ecs.CpuArchitecture.X86_64
            : ecs.CpuArchitecture.ARM64,
      },
    });
    this.#container = definition.addContainer("Worker", {
      image: props.image,
      command: [...(props.command ?? commandOf(queueName, settings, props.hasMetrics))],
      environment: { ...props.environment },
      stopTimeout: settings.stopTimeout,
      // Somebody has to end what a task's own processes leave behind: a worker is nobody's init.
      linuxParameters: new ecs.LinuxParameters(this, "Linux", { initProcessEnabled: true }),
      logging: ecs.LogDrivers.awsLogs({ logGroup, streamPrefix: "worker", mode: ecs.AwsLogDriverMode.NON_BLOCKING }),
      ...(props.healthCheck === undefined ? {} : { healthCheck: props.healthCheck }),
    });
    acknowledge(
      definition,
      "ECS2",
      "The variables are names of queues and tables, and what the app's own declaration says: no secrets.",
    );
    // From a public subnet nobody reaches AWS without a public address. Nobody is let in by it.
    const { hasPublic } = cluster.vpc.selectSubnets(props.vpcSubnets);
    // Of a cluster that was given it is not known whether Fargate's capacity providers go with it, and none are needed but for Spot.
    const hasProviders = props.cluster === undefined || props.spot === true;
    this.service = new ecs.FargateService(this, "Service", {
      cluster,
      taskDefinition: definition,
      ...(hasPublic ? { assignPublicIp: true } : {}),
      ...(props.vpcSubnets === undefined ? {} : { vpcSubnets: props.vpcSubnets }),
      ...(props.securityGroups === undefined ? {} : { securityGroups: props.securityGroups }),
      ...(hasProviders && {
        capacityProviderStrategies: [{ capacityProvider: props.spot === true ? "FARGATE_SPOT" : "FARGATE", weight: 1 }],
      }),
      // Of the new ones one may come before an old one goes: two workers of a queue do no harm.
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { rollback: true },
    });
    if (hasProviders && cluster instanceof ecs.Cluster) {
      cluster.enableFargateCapacityProviders();
      // ECS takes no service whose provider is not yet with the cluster.
      this.service.node.addDependency(cluster);
    }
    this.grantPrincipal = definition.taskRole;
    // A worker keeps a container that has work from being taken away when there is less to do.
    definition.addToTaskRolePolicy(protection(this, cluster));
    acknowledge(
      definition.taskRole,
      wildcard(this, tasksOf(this, cluster)),
      "A container protects itself alone, and its id is known to nobody before it runs.",
    );
    const scaling = this.service.autoScaleTaskCount({ minCapacity: settings.minTasks, maxCapacity: settings.maxTasks });
    if (settings.minTasks < settings.maxTasks) {
      scaling.scaleOnMetric("Backlog", {
        metric: new cloudwatch.MathExpression({
          // What runs counts too, or a queue that is all in hand would lose those who have it.
          expression: queues.map((_, band) => `waiting${idOf(band)} + running${idOf(band)}`).join(" + "),
          label: `backlog of ${queueName}`,
          period: MINUTE,
          usingMetrics: Object.assign({}, ...queues.map(backlogOf)) as Record<string, cloudwatch.IMetric>,
        }),
        scalingSteps: scalingSteps(settings),
        adjustmentType: AdjustmentType.EXACT_CAPACITY,
        cooldown: MINUTE,
      });
    }
  }

  addEnvironment(name: string, value: string): void {
    this.#container.addEnvironment(name, value);
  }
}

/** Of the first band, or of a queue without, there is no number. */
const idOf = (band: number): string => (band === 0 ? "" : String(band));

const backlogOf = (queue: sqs.IQueue, band: number): Record<string, cloudwatch.IMetric> => ({
  [`waiting${idOf(band)}`]: queue.metricApproximateNumberOfMessagesVisible({ period: MINUTE, statistic: "Maximum" }),
  [`running${idOf(band)}`]: queue.metricApproximateNumberOfMessagesNotVisible({ period: MINUTE, statistic: "Maximum" }),
});

interface Settings {
  readonly concurrency: number;
  readonly minTasks: number;
  readonly maxTasks: number;
  readonly backlogPerTask: number;
  readonly stopTimeout: Duration;
}

function settingsOf(props: ContainerWorkerProps): Settings {
  const at = (name: string) => `queues.${props.queueName}.container.${name}`;
  const { concurrency = DEFAULT_CONCURRENCY, minTasks = 0, stopTimeout = STOP_TIMEOUT } = props;
  checkRange(at("concurrency"), concurrency, LIMITS.concurrency);
  checkRange(at("minTasks"), minTasks, LIMITS.minTasks);
  const maxTasks = props.maxTasks ?? Math.max(DEFAULT_MAX_TASKS, minTasks);
  const backlogPerTask = props.backlogPerTask ?? concurrency;
  checkRange(at("maxTasks"), maxTasks, LIMITS.maxTasks);
  checkRange(at("backlogPerTask"), backlogPerTask, LIMITS.backlogPerTask);
  checkLiteral(at("stopTimeout"), stopTimeout);
  checkRange(at("stopTimeout"), stopTimeout.toSeconds(), LIMITS.stopTimeout);
  checkRange(at("ephemeralStorageGiB"), props.ephemeralStorageGiB, LIMITS.ephemeralStorageGiB);
  if (maxTasks < minTasks) {
    throw new ImproperlyConfigured(
      at("maxTasks"),
      `must not be below minTasks, which is ${minTasks}; given: ${maxTasks}`,
    );
  }
  if (props.backlogPerTask !== undefined && minTasks === maxTasks) {
    throw new ImproperlyConfigured(
      at("backlogPerTask"),
      `has no effect, as minTasks and maxTasks are both ${minTasks}: leave it out, or let their number change`,
    );
  }
  if (
    props.command !== undefined &&
    props.concurrency !== undefined &&
    (props.backlogPerTask !== undefined || minTasks === maxTasks)
  ) {
    throw new ImproperlyConfigured(
      at("concurrency"),
      "has no effect beside command: say --concurrency there, and leave it out here",
    );
  }
  // To scale takes two metrics of each band; to see that nothing runs one, and that of the containers.
  const most = minTasks < maxTasks ? MAX_METRICS / 2 : MAX_METRICS - 1;
  if (props.queues.length > most) {
    throw new ImproperlyConfigured(
      `taskQueues.${props.queueName}.priorities`,
      `must be at most ${most} where containers work on the queue${minTasks < maxTasks ? " and their number goes by what waits" : ""}, as an alarm of CloudWatch takes ${MAX_METRICS} metrics; given: ${props.queues.length}`,
    );
  }
  return { concurrency, minTasks, maxTasks, backlogPerTask, stopTimeout };
}

/** Of the network that the deployment makes nobody has subnets or security groups yet. */
function refusePlace({ queueName, ...props }: ContainerWorkerProps): void {
  for (const name of ["vpcSubnets", "securityGroups"] as const)
    if (props[name] !== undefined)
      throw new ImproperlyConfigured(
        `queues.${queueName}.${name}`,
        "needs the vpc that it is of, or container.cluster",
      );
}

function sizeOf(props: ContainerWorkerProps): { readonly cpu: number; readonly memoryLimitMiB: number } {
  const at = (name: string) => `queues.${props.queueName}.container.${name}`;
  const { cpu = 1024, memoryLimitMiB = 2048 } = props;
  checkLiteral(at("cpu"), cpu);
  checkLiteral(at("memoryLimitMiB"), memoryLimitMiB);
  const size = SIZES.get(cpu);
  if (size === undefined) {
    throw new ImproperlyConfigured(at("cpu"), `must be one of ${[...SIZES.keys()].join(", ")}; given: ${cpu}`);
  }
  const { min, max, step } = size;
  // The smallest CPU has half a step of memory as well.
  if (memoryLimitMiB < min || memoryLimitMiB > max || (memoryLimitMiB !== min && memoryLimitMiB % step !== 0)) {
    throw new ImproperlyConfigured(
      at("memoryLimitMiB"),
      `must be ${min} to ${max} MiB by steps of ${step} where cpu is ${cpu}, as Fargate has no others; given: ${memoryLimitMiB}`,
    );
  }
  return { cpu, memoryLimitMiB };
}

function commandOf(queueName: string, { concurrency, stopTimeout }: Settings, hasMetrics: boolean): readonly string[] {
  const grace = Math.max(1, stopTimeout.toSeconds() - HAND_BACK_S);
  const metrics = hasMetrics ? ["--cloudwatch-metrics"] : [];
  return ["--queues", queueName, "--concurrency", String(concurrency), "--grace", String(grace), ...metrics];
}

/** Of a backlog so many containers: one from the first message on, and one more for each `backlogPerTask`, up to the most. */
function scalingSteps({ minTasks, maxTasks, backlogPerTask }: Settings): ScalingInterval[] {
  const counts: number[] = [];
  const steps = Math.min(maxTasks - minTasks, MAX_STEPS - 1);
  for (let step = 1; step <= steps; step++) counts.push(minTasks + Math.ceil(((maxTasks - minTasks) * step) / steps));
  // A message above what the containers of the step before take asks for the next step. Between two counts of messages, as
  // the alarm of going down has its own threshold in it, and that of going up too.
  const lowest = (at: number) => (counts[at - 1] ?? minTasks) * backlogPerTask + 0.5;
  return [
    { upper: lowest(0), change: minTasks },
    ...counts.map((change, at) => ({
      lower: lowest(at),
      ...(at + 1 < counts.length ? { upper: lowest(at + 1) } : {}),
      change,
    })),
  ];
}

/** One cluster for all queues of a deployment that name none. */
function sharedCluster(worker: ContainerWorker, vpc: ec2.IVpc | undefined): ecs.ICluster {
  // Beside the queues, so that each finds it.
  const queue = worker.node.scope;
  const home = queue?.node.scope ?? worker;
  const id = vpc === undefined ? "Cluster" : `Cluster-${vpc.node.addr}`;
  const found = home.node.tryFindChild(id);
  if (found !== undefined) return found as ecs.Cluster;
  return new ecs.Cluster(home, id, {
    vpc: vpc ?? ownVpc(home),
    enableFargateCapacityProviders: true,
    containerInsightsV2: ecs.ContainerInsights.ENABLED,
  });
}

/** Public subnets alone: a NAT gateway, which private ones would need, costs by the hour, and a worker takes no connections. */
function ownVpc(scope: Construct): ec2.IVpc {
  const vpc = new ec2.Vpc(scope, "Vpc", {
    maxAzs: 2,
    natGateways: 0,
    subnetConfiguration: [{ name: "Workers", subnetType: ec2.SubnetType.PUBLIC }],
    restrictDefaultSecurityGroup: false,
    gatewayEndpoints: { DynamoDb: { service: ec2.GatewayVpcEndpointAwsService.DYNAMODB } },
  });
  acknowledge(
    vpc,
    "VPC7",
    "Nobody is let in, and what goes out goes to AWS: flow logs of it would cost more than they tell.",
  );
  return vpc;
}

/** The containers of a cluster. */
const tasksOf = (scope: Construct, { clusterName }: ecs.ICluster): string =>
  Stack.of(scope).formatArn({ service: "ecs", resource: "task", resourceName: `${clusterName}/*` });

/** Of itself alone a container may say that it is not to be taken away. */
const protection = (scope: Construct, cluster: ecs.ICluster): iam.PolicyStatement =>
  new iam.PolicyStatement({
    actions: ["ecs:UpdateTaskProtection"],
    resources: [tasksOf(scope, cluster)],
    conditions: { ArnEquals: { "ecs:cluster": cluster.clusterArn } },
  });
