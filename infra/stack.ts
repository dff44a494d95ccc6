import { fileURLToPath } from "node:url";
import { RemovalPolicy, Stack, type StackProps } from "aws-cdk-lib";
import type { Construct } from "constructs";
import { TaskQueues } from "lovage/cdk";
import { app } from "../functions/tasks.ts";

export interface LovageStackProps extends StackProps {
  /** Put before all names. @default - the name of the stack and a `-` */
  readonly prefix?: string | undefined;
  /** Whether table and dead letters go with the stack. @default false */
  readonly removeData?: boolean;
  /** Queues refuse requests without TLS. @default true */
  readonly enforceSSL?: boolean;
}

/** The app of functions/tasks.ts on AWS. */
export class LovageStack extends Stack {
  readonly tasks: TaskQueues;

  constructor(
    scope: Construct,
    id: string,
    { prefix, removeData = false, enforceSSL = true, ...props }: LovageStackProps = {},
  ) {
    super(scope, id, props);
    this.tasks = new TaskQueues(this, "Tasks", {
      app,
      entry: fileURLToPath(new URL("../functions/worker.ts", import.meta.url)),
      beatEntry: fileURLToPath(new URL("../functions/beat.ts", import.meta.url)),
      enforceSSL,
      removalPolicy: removeData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
      ...(prefix === undefined ? {} : { prefix }),
    });
  }
}
