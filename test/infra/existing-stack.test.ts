import { Match, Template } from "aws-cdk-lib/assertions";
import { expect, test } from "vitest";
import { ShopStack } from "../../examples/existing-stack/stack.ts";
import { app } from "../../examples/existing-stack/tasks.ts";
import { unbundled } from "./deployment.ts";

test("the construct lives in a stack that was there before, and wires the stack's own function", () => {
  const template = Template.fromStack(new ShopStack(unbundled(), "Shop", { app }));
  template.hasResourceProperties("AWS::SQS::Queue", { QueueName: "shop-orders.fifo", FifoQueue: true });
  template.hasResourceProperties("AWS::Events::Rule", {
    Name: "shop-beat-tidy-up",
    ScheduleExpression: "cron(0 * * * ? *)",
  });
  template.hasResourceProperties("AWS::Lambda::Function", {
    Handler: "index.handler",
    Environment: {
      Variables: Match.objectLike({ LOVAGE_BROKER_URL: Match.anyValue(), LOVAGE_RESULT_BACKEND: Match.anyValue() }),
    },
  });
  const [policy] = Object.values(
    template.findResources("AWS::IAM::Policy", {
      Properties: { PolicyName: Match.stringLikeRegexp("^ApiServiceRole") },
    }),
  );
  expect(policy?.["Properties"].PolicyDocument.Statement).toMatchObject([
    { Action: ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"] },
    { Action: "dynamodb:DescribeTable" },
    { Action: ["dynamodb:BatchGetItem", "dynamodb:GetItem"] },
  ]);
});
