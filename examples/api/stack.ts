/** Queues, workers and results of the app, and the service as a function with a URL of its own. */
import { join } from "node:path";
import { CfnOutput, Stack, type StackProps } from "aws-cdk-lib";
import { FunctionUrlAuthType, Runtime } from "aws-cdk-lib/aws-lambda";
import { NodejsFunction, OutputFormat } from "aws-cdk-lib/aws-lambda-nodejs";
import type { Construct } from "constructs";
import type { Lovage } from "lovage";
import { TaskQueues } from "lovage/cdk";

const file = (name: string) => join(import.meta.dirname, name);

export class ReportsStack extends Stack {
  constructor(scope: Construct, id: string, { app, ...props }: StackProps & { readonly app: Lovage }) {
    super(scope, id, props);
    const tasks = new TaskQueues(this, "Tasks", { app, prefix: "reports-", entry: file("worker.ts") });

    const service = new NodejsFunction(this, "Service", {
      entry: file("lambda.ts"),
      runtime: Runtime.NODEJS_24_X,
      bundling: { format: OutputFormat.ESM, mainFields: ["module", "main"] },
    });
    tasks.environmentFor(service);
    tasks.grantSend(service, ["reports"]);
    tasks.grantReadResults(service);
    tasks.grantRevoke(service);

    // Callers sign their requests; with NONE anybody could order reports.
    const { url } = service.addFunctionUrl({ authType: FunctionUrlAuthType.AWS_IAM });
    new CfnOutput(this, "ServiceUrl", { value: url });
  }
}
