/** The bucket of what is too large for a message or a row. */
import { Stack, Validations } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as s3 from "aws-cdk-lib/aws-s3";
import { AwsSolutionsChecks } from "cdk-nag";
import { TaskQueues } from "lovage/cdk";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bundlingFor } from "../../src/cdk/task-function.ts";
import { DAYS_KEPT, MESSAGE_DAYS } from "../../src/protocol/pointer.ts";
import { allowed, deploy, FUNCTIONS, resources, roleOf, shop, unbundled } from "./deployment.ts";

test("it is made where it is asked for, and expires what nobody can need any more", () => {
  const { template, tasks } = deploy(shop(), { payloadStore: true });
  const [bucket] = Object.values(resources(template(), "AWS::S3::Bucket"));
  expect(bucket?.Properties).toMatchObject({
    PublicAccessBlockConfiguration: { BlockPublicAcls: true, RestrictPublicBuckets: true },
    BucketEncryption: expect.anything(),
    LifecycleConfiguration: {
      Rules: expect.arrayContaining(
        DAYS_KEPT.map((days) => expect.objectContaining({ Prefix: `${days}d/`, ExpirationInDays: days })),
      ),
    },
  });
  // As long as SQS keeps a message in its queue, among the dead letters, and sent back from there.
  expect(DAYS_KEPT[0]).toBeGreaterThan(MESSAGE_DAYS);
  expect(template().toJSON().Resources).toMatchObject({});
  const functions = Object.values(resources(template(), "AWS::Lambda::Function"));
  const urls = functions.map(
    ({ Properties }) => (Properties["Environment"] as { Variables: object }).Variables as Record<string, unknown>,
  );
  for (const variables of urls) expect(variables["LOVAGE_PAYLOAD_STORE"]).toBeDefined();
  expect(tasks.payloads?.url).toMatch(/^s3:\/\//);
});

test("nothing of it is there where it is not asked for", () => {
  const { template, tasks } = deploy(shop());
  template().resourceCountIs("AWS::S3::Bucket", 0);
  expect(tasks.payloads).toBeUndefined();
  expect(JSON.stringify(template().toJSON())).not.toMatch(/PAYLOAD_STORE|s3:/);
});

test("workers put and get, senders put, readers get, and nobody else does anything", () => {
  const deployment = deploy(shop(), { payloadStore: true });
  const { stack, tasks } = deployment;
  const role = (id: string) => new iam.Role(stack, id, { assumedBy: new iam.AccountRootPrincipal() });
  const [sender, reader, operator, inspector, revoker] = ["A", "B", "C", "D", "E"].map(role) as [
    iam.Role,
    iam.Role,
    iam.Role,
    iam.Role,
    iam.Role,
  ];
  tasks.grantSend(sender);
  tasks.grantReadResults(reader);
  tasks.grantOperate(operator);
  tasks.grantInspect(inspector);
  tasks.grantRevoke(revoker);
  const rights = (who: iam.IRole) => [
    ...new Set(
      allowed(deployment, who)
        .filter((right) => right.startsWith("s3:"))
        .map((right) => right.split(" ")[0]),
    ),
  ];
  const get = ["s3:GetObject", "s3:ListBucket"];
  expect(rights(roleOf(tasks.queue("celery").function))).toEqual([...get, "s3:PutObject"]);
  expect(rights(sender)).toEqual(["s3:PutObject"]);
  expect(rights(reader)).toEqual(get);
  expect(rights(operator)).toEqual([...get, "s3:PutObject"]);
  expect(rights(inspector)).toEqual(get);
  expect(rights(revoker)).toEqual([]);
});

test("a bucket of one's own is used as it is", () => {
  const deployment = deploy(shop(), (stack) => ({
    payloadStore: s3.Bucket.fromBucketName(stack, "Mine", "my-payloads"),
  }));
  deployment.template().resourceCountIs("AWS::S3::Bucket", 0);
  expect(deployment.tasks.payloads?.url).toMatch(/^s3:\/\/my-payloads\?region=/);
  expect(allowed(deployment, roleOf(deployment.tasks.queue("celery").function)).join()).toContain("s3:GetObject");
});

test("a bucket that the app names itself is one that the deployment has to be told", () => {
  const app = shop({ payloadStore: "s3://my-payloads" });
  expect(() => deploy(app)).toThrow(/payloadStore: is needed, because the app's own is "s3:\/\/my-payloads"/);
  expect(deploy(app, { payloadStore: false }).tasks.payloads).toBeUndefined();
  // That of a laptop is no matter of the deployment's.
  deploy(shop({ payloadStore: "file:///tmp/payloads" }));
});

test("AWS's Solutions pack finds nothing in it, with a key of one's own too", () => {
  const app = unbundled();
  const stack = new Stack(app, "Large");
  new TaskQueues(stack, "Tasks", {
    app: shop(),
    entry: join(FUNCTIONS, "worker.ts"),
    payloadStore: true,
    encryptionKey: new kms.Key(stack, "Key", { enableKeyRotation: true }),
  });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  expect(() => app.synth()).not.toThrow();
});

test("what does it is bundled only where there is one", () => {
  const define = (app = shop(), options = {}) => bundlingFor(app, options).define?.["LOVAGE_PAYLOADS"];
  expect(define()).toBe("false");
  expect(define(shop(), { payloads: true })).toBe("true");
  expect(define(shop({ payloadStore: "s3://mine" }))).toBe("true");
});
