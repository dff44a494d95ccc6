/** A stack that had a table and a function before it had tasks. */
import { join } from "node:path";
import { Duration, RemovalPolicy, Stack, type StackProps } from "aws-cdk-lib";
import { AttributeType, BillingMode, Table } from "aws-cdk-lib/aws-dynamodb";
import { Runtime } from "aws-cdk-lib/aws-lambda";
import { NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";
import type { Construct } from "constructs";
import type { Lovage } from "lovage";
import { bundlingFor, TaskQueues } from "lovage/cdk";

const file = (name: string) => join(import.meta.dirname, name);

export class ShopStack extends Stack {
  constructor(scope: Construct, id: string, { app, ...props }: StackProps & { readonly app: Lovage }) {
    super(scope, id, props);

    const carts = new Table(this, "Carts", {
      partitionKey: { name: "id", type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    const api = new NodejsFunction(this, "Api", {
      entry: file("api.ts"),
      runtime: Runtime.NODEJS_24_X,
      bundling: bundlingFor(app),
    });

    // All that tasks add:
    const tasks = new TaskQueues(this, "Tasks", {
      app,
      prefix: "shop-",
      entry: file("worker.ts"),
      beatEntry: file("beat.ts"),
      queues: {
        celery: { memorySize: 1024, environment: { CARTS: carts.tableName } },
        "orders.fifo": { oldestMessageAge: Duration.minutes(5) },
      },
    });
    tasks.environmentFor(api);
    tasks.grantSend(api, ["orders.fifo"]);
    tasks.grantReadResults(api);
    carts.grantReadWriteData(tasks.queue("celery"));
  }
}
