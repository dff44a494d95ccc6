/** The tables: of results, one row a task, which is Celery's with what Lovage keeps beside; and of what has happened. */
import { RemovalPolicy } from "aws-cdk-lib";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import type * as kms from "aws-cdk-lib/aws-kms";
import type { Construct } from "constructs";
import { ImproperlyConfigured } from "../errors.ts";
import { checkRange, LIMITS } from "./limits.ts";
import { checkLiteral } from "./names.ts";

/** What may be said of the table. */
export interface ResultTableProps {
  /** 3 to 255 letters, digits, `_`, `-` and `.`. */
  readonly tableName: string;
  /** @default - encrypted with a key of DynamoDB's own */
  readonly encryptionKey?: kms.IKey | undefined;
  /** Reads and writes a second that the table can take from its first second on. @default - DynamoDB's own */
  readonly warmThroughput?: dynamodb.WarmThroughput | undefined;
  /** @default RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE */
  readonly removalPolicy?: RemovalPolicy | undefined;
}

/** Pays per request, forgets rows past their `ttl`, and can be restored to any second of the last 35 days. */
export class ResultTable extends dynamodb.Table {
  constructor(scope: Construct, id: string, props: ResultTableProps) {
    checkLiteral("tableName", props.tableName);
    if (!/^[\w.-]{3,255}$/.test(props.tableName)) {
      throw new ImproperlyConfigured(
        "tableName",
        `must have 3 to 255 letters, digits, "_", "-" and "."; given: ${JSON.stringify(props.tableName)} (${props.tableName.length})`,
      );
    }
    checkWarmth(props.warmThroughput);
    super(scope, id, {
      ...tableProps(props),
      partitionKey: { name: "id", type: dynamodb.AttributeType.STRING },
      ...(props.warmThroughput === undefined ? {} : { warmThroughput: props.warmThroughput }),
    });
  }
}

function checkWarmth(warm: dynamodb.WarmThroughput | undefined): void {
  if (warm === undefined) return;
  for (const name of ["readUnitsPerSecond", "writeUnitsPerSecond"] as const)
    checkRange(`warmThroughput.${name}`, warm[name], LIMITS[name]);
  if (warm.readUnitsPerSecond === undefined && warm.writeUnitsPerSecond === undefined)
    throw new ImproperlyConfigured("warmThroughput", "needs readUnitsPerSecond, writeUnitsPerSecond or both");
}

export type JournalTableProps = Omit<ResultTableProps, "warmThroughput">;

/** Pays per request, and forgets entries past their `ttl`. An item is what some tasks had to tell, compressed. */
export class JournalTable extends dynamodb.Table {
  constructor(scope: Construct, id: string, props: JournalTableProps) {
    super(scope, id, {
      ...tableProps(props),
      partitionKey: { name: "bucket", type: dynamodb.AttributeType.STRING },
      sortKey: { name: "at", type: dynamodb.AttributeType.STRING },
    });
  }
}

const tableProps = ({ tableName, encryptionKey, removalPolicy }: JournalTableProps) => ({
  tableName,
  billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
  timeToLiveAttribute: "ttl",
  pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
  removalPolicy: removalPolicy ?? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
  ...(encryptionKey === undefined ? {} : { encryption: dynamodb.TableEncryption.CUSTOMER_MANAGED, encryptionKey }),
});
