/** The stacks that are looked at as an architect would: this repository's, those of the examples, and a matrix of props. */
import { join } from "node:path";
import { type App, Duration, Stack } from "aws-cdk-lib";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import type { ConfigInput } from "lovage";
import { TaskQueues, type TaskQueuesProps } from "lovage/cdk";
import { ReportsStack } from "../../examples/api/stack.ts";
import { app as reports } from "../../examples/api/tasks.ts";
import { StudioStack } from "../../examples/containers/stack.ts";
import { app as studio } from "../../examples/containers/tasks.ts";
import { ShopStack } from "../../examples/existing-stack/stack.ts";
import { app as market } from "../../examples/existing-stack/tasks.ts";
import { LovageStack } from "../../infra/stack.ts";
import { FUNCTIONS, shop } from "./deployment.ts";

const often = { task: "shop.add", schedule: 60 };
const all: ConfigInput = {
  taskQueues: { celery: {}, media: { timeLimit: 600, memorySize: 2048 }, "orders.fifo": {} },
  beatSchedule: { often, daily: { task: "shop.add", schedule: 86_400 } },
};

type Props = Partial<TaskQueuesProps>;
/** What may be told to the construct, each way that makes other resources once. */
const MATRIX: Readonly<Record<string, readonly [ConfigInput, (stack: Stack, tasks?: TaskQueues) => Props]>> = {
  Plain: [{}, () => ({})],
  Late: [all, () => ({ longDelays: true, sendsTo: "all" })],
  Keyed: [
    all,
    (stack) => ({ longDelays: true, encryptionKey: new kms.Key(stack, "Key", { enableKeyRotation: true }) }),
  ],
  Quiet: [{ journal: false }, () => ({ logRetention: 7, enforceSSL: true, queues: { celery: { failedPercent: 20 } } })],
  Network: [
    all,
    (stack) => ({
      vpc: new ec2.Vpc(stack, "Vpc", {
        maxAzs: 2,
        natGateways: 0,
        subnetConfiguration: [{ name: "in", subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
        flowLogs: { all: {} },
      }),
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
      tracing: lambda.Tracing.ACTIVE,
    }),
  ],
  Fast: [
    all,
    () => ({
      warmThroughput: { readUnitsPerSecond: 13_000, writeUnitsPerSecond: 5000 },
      queues: {
        celery: {
          batchSize: 100,
          maxBatchingWindow: Duration.seconds(1),
          provisionedPollers: { minimum: 2, maximum: 4 },
        },
        media: { architecture: lambda.Architecture.X86_64, reservedConcurrency: 20 },
        "orders.fifo": { highThroughput: true },
      },
    }),
  ],
};

/** Makes all of them in one CDK app, unbundled and, as they are, without a container's image to build. */
export function allStacks(app: App): readonly Stack[] {
  const matrix = Object.entries(MATRIX).map(([id, [config, props]]) => {
    const stack = new Stack(app, id);
    const tasks = new TaskQueues(stack, "Tasks", {
      app: shop(config),
      entry: join(FUNCTIONS, "worker.ts"),
      beatEntry: join(FUNCTIONS, "beat.ts"),
      ...props(stack),
    });
    const role = new iam.Role(stack, "Operator", { assumedBy: new iam.AccountRootPrincipal() });
    tasks.grantSend(role);
    tasks.grantSendChords(role);
    tasks.grantReadResults(role);
    tasks.grantRevoke(role);
    tasks.grantInspect(role);
    tasks.grantOperate(role);
    if (tasks.beat !== undefined) tasks.grantSchedule(role);
    return stack;
  });
  return [
    new LovageStack(app, "Lovage"),
    new ReportsStack(app, "Reports", { app: reports }),
    new ShopStack(app, "Market", { app: market }),
    new StudioStack(app, "Studio", { app: studio }),
    ...matrix,
  ];
}
