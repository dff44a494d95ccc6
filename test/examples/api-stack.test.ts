import { Match, Template } from "aws-cdk-lib/assertions";
import { expect, test } from "vitest";
import { ReportsStack } from "../../examples/api/stack.ts";
import { app } from "../../examples/api/tasks.ts";
import { unbundled } from "../infra/deployment.ts";

test("the example service is a function behind a URL that may do what a caller does, and nothing else", () => {
  const template = Template.fromStack(new ReportsStack(unbundled(), "Reports", { app }));
  template.hasResourceProperties("AWS::Lambda::Url", { AuthType: "AWS_IAM" });
  template.hasResourceProperties("AWS::Lambda::Function", {
    Environment: {
      Variables: Match.objectLike({ LOVAGE_BROKER_URL: Match.anyValue(), LOVAGE_RESULT_BACKEND: Match.anyValue() }),
    },
  });
  const [policy] = Object.values(
    template.findResources("AWS::IAM::Policy", {
      Properties: { PolicyName: Match.stringLikeRegexp("^ServiceServiceRole") },
    }),
  );
  const statements = policy?.["Properties"].PolicyDocument.Statement as { readonly Action: string[] }[];
  expect(statements.flatMap(({ Action }) => Action)).toEqual([
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:SendMessage",
    "dynamodb:DescribeTable",
    "dynamodb:BatchGetItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:BatchGetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
  ]);
  expect(JSON.stringify(statements[0])).toContain("TasksQueuereportsQueue");
});
