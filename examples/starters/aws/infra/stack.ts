/** The app on AWS: a queue, a dead-letter queue and a function for each of its queues, the table of results, beat's rules. */
import { join } from "node:path";
import { RemovalPolicy, Stack, type StackProps } from "aws-cdk-lib";
import type { Construct } from "constructs";
import { loadApp, TaskQueues } from "lovage/cdk";
import { optional } from "./optional.ts";

const file = (name: string) => join(import.meta.dirname, name);

export class TasksStack extends Stack {
  readonly tasks: TaskQueues;

  constructor(scope: Construct, id: string, props: StackProps & { readonly isLocal?: boolean } = {}) {
    super(scope, id, props);
    this.tasks = new TaskQueues(this, "Tasks", {
      app: loadApp(file("../tasks.ts")),
      entry: file("worker.ts"),
      beatEntry: file("beat.ts"),
      bundling: { externalModules: [...optional] },
      ...(props.isLocal && { removalPolicy: RemovalPolicy.DESTROY }),
    });
  }
}
