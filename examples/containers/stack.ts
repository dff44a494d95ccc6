/** A function for short tasks and containers for long ones, of one app. */
import { join } from "node:path";
import { Duration, Stack, type StackProps } from "aws-cdk-lib";
import { Platform } from "aws-cdk-lib/aws-ecr-assets";
import { ContainerImage } from "aws-cdk-lib/aws-ecs";
import type { Construct } from "constructs";
import type { Lovage } from "lovage";
import { TaskQueues } from "lovage/cdk";

export class StudioStack extends Stack {
  constructor(scope: Construct, id: string, { app, ...props }: StackProps & { readonly app: Lovage }) {
    super(scope, id, props);
    new TaskQueues(this, "Tasks", {
      app,
      entry: join(import.meta.dirname, "worker.ts"),
      container: {
        image: ContainerImage.fromAsset(import.meta.dirname, {
          exclude: ["cdk.out", "node_modules"],
          platform: Platform.LINUX_ARM64,
        }),
        cpu: 4096,
        memoryLimitMiB: 8192,
        concurrency: 1, // an encoder takes all of its container's CPUs
        maxTasks: 20,
        spot: true,
        healthCheck: {
          command: [
            "CMD",
            "node",
            "-e",
            "fetch('http://127.0.0.1:9808/healthz').then(({ ok }) => process.exit(ok ? 0 : 1))",
          ],
          startPeriod: Duration.seconds(30),
        },
      },
      queues: { video: { environment: { ENCODER: "ffmpeg" } } },
    });
  }
}
