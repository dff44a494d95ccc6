/** The board on AWS: a function behind a URL that asks for a signature. */
import { Annotations, Duration, Stack } from "aws-cdk-lib";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import type { NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";
import type { RetentionDays } from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import type { Lovage } from "../app.ts";
import { checkEnvironment } from "../config/values.ts";
import { checkRange, LIMITS } from "./limits.ts";
import { type FunctionOptions, type TaskBundling, taskFunction } from "./task-function.ts";

/** What a deployment says of the board. */
export interface BoardFunctionOptions extends FunctionOptions {
  /** The module of the board: exports `handler`, made by `createBoardHandler(app)`. */
  readonly entry: string;
  /** Its function may look at everything and change nothing (`grantInspect`), else it may steer all queues (`grantOperate`). @default false */
  readonly readOnly?: boolean | undefined;
}

interface BoardProps extends BoardFunctionOptions {
  readonly app: Lovage;
  readonly logRetention: RetentionDays;
  readonly encryptionKey?: kms.IKey | undefined;
  readonly bundling?: TaskBundling | undefined;
}

/** As long as a function may take: what is for many tasks goes on for as long. */
const TIMEOUT = Duration.minutes(15);

/** They become fewer: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html */
const WITHOUT_URLS: ReadonlySet<string> = new Set([
  "ap-east-2",
  "ap-south-2",
  "ap-southeast-4",
  "ap-southeast-5",
  "ap-southeast-6",
  "ap-southeast-7",
  "ca-west-1",
  "cn-northwest-1",
  "eu-central-2",
  "eu-south-2",
  "il-central-1",
  "me-central-1",
  "mx-central-1",
  "us-gov-east-1",
  "us-gov-west-1",
]);

/** The board's function and its URL, which only those can call who are granted it: `board.url.grantInvokeUrl(role)`. */
export class Board extends Construct {
  /** The function that answers. */
  readonly function: NodejsFunction;
  /** Its URL. */
  readonly url: lambda.FunctionUrl;

  constructor(scope: Construct, id: string, { readOnly = false, ...props }: BoardProps) {
    super(scope, id);
    checkRange("board.memorySize", props.memorySize, LIMITS.memorySize);
    checkEnvironment(props.environment ?? {}, "board.environment");
    this.function = taskFunction(this, "Board", {
      ...props,
      maker: "createBoardHandler",
      timeout: TIMEOUT,
      environment: { ...props.environment, ...(readOnly ? { LOVAGE_BOARD_READ_ONLY: "1" } : {}) },
      bundling: {
        ...props.bundling,
        // It asks AWS for more than a worker's own clients can, and steers, which a worker's bundle is without.
        awsSdk: true,
        journal: true,
        define: { ...props.bundling?.define, LOVAGE_BUNDLE: "undefined" },
      },
    });
    const { region } = Stack.of(this);
    if (WITHOUT_URLS.has(region)) {
      Annotations.of(this).addWarningV2(
        "lovage:board.region",
        `Lambda has no function URLs in ${region} as far as is known, and without them the deployment fails: leave board out, and put createBoard(app) behind an API or a server of yours (docs/how-to/board.md)`,
      );
    }
    this.url = this.function.addFunctionUrl({ authType: lambda.FunctionUrlAuthType.AWS_IAM });
  }
}
