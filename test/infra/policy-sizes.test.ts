/** Limits that only show when all grants are made: a synthesis says them, with what to do, before a deployment fails on them. */
import { type App, Stack } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import { expect, test } from "vitest";
import { ACCOUNT, REGION, rightsOf } from "../rights/template.ts";
import { deploy, shop, unbundled } from "./deployment.ts";

const queues = (count: number) => ({
  taskQueues: { celery: {}, ...Object.fromEntries(Array.from({ length: count - 1 }, (_, n) => [`queue-${n}`, {}])) },
});
const here = () => new Stack(unbundled(), "Test", { env: { account: ACCOUNT, region: REGION } });
/** Bundling of the functions is left out, as in all of these tests. */
const synth = (stack: Stack, options: Parameters<App["synth"]>[0] = {}) =>
  (stack.node.root as App).synth({ force: true, ...options });

test("a user that is granted more than its 2,048 characters is told of a role", () => {
  const { stack, tasks } = deploy(shop(queues(3)));
  const user = new iam.User(stack, "Anna");
  tasks.grantSend(user);
  expect(() => synth(stack)).not.toThrow();
  tasks.grantOperate(user);
  expect(() => synth(stack)).toThrow(
    /the inline policies of the user Test\/Anna have about \d+ characters, and IAM takes 2048: grant a role that it may take/,
  );
});

test("a role of elsewhere, whose policy the CDK does not share out, is told of fewer queues", () => {
  const { stack, tasks } = deploy(shop(queues(30)), { prefix: "a-prefix-that-is-long-enough-" }, here());
  const role = iam.Role.fromRoleArn(stack, "Deployer", `arn:aws:iam::${ACCOUNT}:role/deployer`);
  for (const queue of Object.keys(queues(30).taskQueues)) tasks.grantOperate(role, [queue]);
  expect(() => synth(stack)).toThrow(
    /the inline policies of the role deployer have about \d+ characters, and IAM takes 10240: grant it fewer queues/,
  );
});

test("queues whose policies would be too large for another account's roles are told of one role", () => {
  const stack = here();
  const { tasks } = deploy(shop(), {}, stack);
  for (let n = 0; n < 21; n++)
    tasks.queue("celery").queue.addToResourcePolicy(
      new iam.PolicyStatement({
        actions: ["sqs:SendMessage"],
        resources: ["*"],
        principals: [new iam.ArnPrincipal(`arn:aws:iam::222222222222:role/caller-${n}`)],
        conditions: { StringEquals: { "aws:PrincipalTag/n": String(n) } },
      }),
    );
  expect(() => synth(stack)).toThrow(
    /has 2\d statements and about \d+ bytes, and SQS takes 20 and 8192: grant one role/,
  );
});

test("a table, a bucket and a key whose policies would be too large for another account's roles are told of one role", () => {
  const stack = here();
  const encryptionKey = new kms.Key(stack, "Key");
  const { tasks } = deploy(shop(), { encryptionKey, payloadStore: true }, stack);
  const name = (n: number) => `a-caller-with-a-name-of-the-usual-length-${n}`;
  const grant = (n: number) => {
    const role = iam.Role.fromRoleArn(stack, `Role${n}`, `arn:aws:iam::222222222222:role/${name(n)}`);
    tasks.grantReadResults(role);
  };
  for (let n = 0; n < 20; n++) grant(n);
  expect(() => synth(stack)).not.toThrow();
  for (let n = 20; n < 120; n++) grant(n);
  const said = String(errorOf(() => synth(stack)));
  expect(said).toMatch(
    /the policy Test\/Tasks\/Results\/Resource has about \d+ bytes, and DynamoDB takes 20480: grant one/,
  );
  expect(said).toMatch(
    /the policy Test\/Tasks\/Payloads\/.*\/Resource has about \d+ bytes, and S3 takes 20480: grant one/,
  );
  expect(said).toMatch(/the policy Test\/Key\/Resource has about \d+ bytes, and KMS takes 32768: grant one/);
});

test("a stack that only the CDK's own policies make too large is told of sendsTo", () => {
  const { stack } = deploy(shop(queues(30)), { sendsTo: "all", longDelays: true, payloadStore: true });
  expect(() => synth(stack)).toThrow(
    /the stack Test has 5\d\d resources, and CloudFormation takes 500: .*; \d+ of them are policies that outgrew their roles: .*sendsTo/,
  );
});

test("what is said of a policy's size is near to what it will be", () => {
  const stack = here();
  const { tasks } = deploy(shop(queues(10)), { prefix: "shop-" }, stack);
  const user = new iam.User(stack, "Anna");
  tasks.grantOperate(user);
  const said = /about (\d+) characters/.exec(String(errorOf(() => synth(stack))))?.[1];
  const template = synth(stack, { skipValidation: true }).getStackByName("Test").template as Parameters<
    typeof rightsOf
  >[0];
  const rights = rightsOf(template);
  const real = Object.values(template.Resources)
    .filter(({ Properties }) => Properties?.["Users"] !== undefined)
    .reduce((sum, { Properties }) => sum + JSON.stringify(rights.resolve(Properties?.["PolicyDocument"])).length, 0);
  expect(Math.abs(Number(said) - real) / real).toBeLessThan(0.15);
});

function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}
