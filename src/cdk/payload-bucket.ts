/** The bucket of texts that are too large for a message or a row, and who may put and get there. */
import { Duration, type RemovalPolicy } from "aws-cdk-lib";
import type * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as s3 from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import { DAYS_KEPT } from "../protocol/pointer.ts";
import { grantKey, grantOn } from "./grants.ts";
import { acknowledge, wildcard } from "./nag.ts";

/** What the bucket is made of. */
export interface PayloadBucketProps {
  /** One that is there already. Its own rules have to expire what is old: keys begin with the days that they are kept, as in `60d/`. */
  readonly bucket?: s3.IBucket | undefined;
  /** Encrypts a new one. @default - a key of S3's own */
  readonly encryptionKey?: kms.IKey | undefined;
  /** What becomes of a new one when the stack is deleted. CloudFormation deletes none that has anything in it. */
  readonly removalPolicy: RemovalPolicy;
}

/** Private, by TLS alone; what nobody can need any more goes by itself. */
export class PayloadBucket extends Construct {
  /** The one that was made, or given. */
  readonly bucket: s3.IBucket;
  /** `LOVAGE_PAYLOAD_STORE` of all that sends large texts, or reads them. */
  readonly url: string;

  constructor(scope: Construct, id: string, { bucket, encryptionKey, removalPolicy }: PayloadBucketProps) {
    super(scope, id);
    this.bucket = bucket ?? this.#make(encryptionKey, removalPolicy);
    // With its region, as the URLs of queues and table have theirs: who sends may be in another.
    this.url = `s3://${this.bucket.bucketName}?region=${this.bucket.env.region}`;
  }

  #make(encryptionKey: kms.IKey | undefined, removalPolicy: RemovalPolicy): s3.IBucket {
    const made = new s3.Bucket(this, "Bucket", {
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      // A bucket's key, or each text would be a request to KMS.
      ...(encryptionKey === undefined
        ? { encryption: s3.BucketEncryption.S3_MANAGED }
        : { encryption: s3.BucketEncryption.KMS, encryptionKey, bucketKeyEnabled: true }),
      lifecycleRules: [
        ...DAYS_KEPT.map((days) => ({ id: `${days}d`, prefix: `${days}d/`, expiration: Duration.days(days) })),
        { id: "halves", abortIncompleteMultipartUploadAfter: Duration.days(1) },
      ],
      removalPolicy,
    });
    acknowledge(
      made,
      "S1",
      "Texts of tasks are put and read by their workers alone, and go by themselves: a log of each would cost more than it tells.",
    );
    return made;
  }

  /** Lets someone put texts there: whoever sends. */
  grantPut(grantee: iam.IGrantable): void {
    this.#grant(grantee, "s3:PutObject", `${this.bucket.bucketArn}/*`);
    grantKey(this.bucket.encryptionKey, "put", grantee);
  }

  /** Lets someone read texts there: whoever runs tasks, or reads results. */
  grantGet(grantee: iam.IGrantable): void {
    this.#grant(grantee, "s3:GetObject", `${this.bucket.bucketArn}/*`);
    // Without it S3 says of what is gone that access is denied, and a task would wait for a right instead of failing.
    this.#grant(grantee, "s3:ListBucket", this.bucket.bucketArn);
    grantKey(this.bucket.encryptionKey, "take", grantee);
  }

  #grant(grantee: iam.IGrantable, action: string, arn: string): void {
    const resource = this.bucket as s3.IBucket & iam.IResourceWithPolicyV2;
    grantOn([{ resource, arn, name: "the bucket of large texts" }], grantee, [action]);
    const { grantPrincipal } = grantee;
    if (arn.endsWith("*") && Construct.isConstruct(grantPrincipal))
      acknowledge(
        grantPrincipal,
        wildcard(grantPrincipal, arn),
        "The bucket holds texts of tasks alone, under names that nobody can guess.",
      );
  }
}
