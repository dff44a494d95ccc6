/** The commands of the local path on LocalStack, which runs functions under AWS's own runtime client and keeps all that is deployed. */
import { DescribeTimeToLiveCommand, DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { GetQueueAttributesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { describe, expect, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { npmRun, outputs, succeeds } from "./commands.ts";
import { emulator } from "./emulators.ts";

const localstack = await emulator("localstack");

describe.skipIf(localstack === undefined)("on LocalStack", () => {
  const { endpoint } = (localstack ?? {}) as Emulator;
  const client = { endpoint, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };

  test("deploy:local deploys the repository's stack, and smoke passes", { timeout: 300_000 }, async () => {
    await succeeds(npmRun(endpoint, "deploy:local"));
    const table = await succeeds(npmRun(endpoint, "smoke"));
    expect(table.match(/ pass$/gm)).toHaveLength(9);
  });

  test("the deployed queue moves what it cannot get rid of to its dead letters", async () => {
    const sqs = new SQSClient(client);
    const QueueUrl = Object.entries(outputs(endpoint)).find(([name]) => name.includes("QueueUrlmedia"))?.[1];
    const { Attributes = {} } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] }));
    expect(JSON.parse(Attributes["RedrivePolicy"] ?? "")).toMatchObject({
      deadLetterTargetArn: expect.stringMatching(/:Lovage-media-dlq$/),
    });
    expect(Number(Attributes["VisibilityTimeout"])).toBe(610 + 5);
    sqs.destroy();
  });

  test("the deployed table forgets rows whose ttl has passed", async () => {
    const dynamodb = new DynamoDBClient(client);
    const TableName = "Lovage-celery";
    const { TimeToLiveDescription } = await dynamodb.send(new DescribeTimeToLiveCommand({ TableName }));
    expect(TimeToLiveDescription).toEqual({ AttributeName: "ttl", TimeToLiveStatus: "ENABLED" });
    const id = { S: "celery-task-meta-expired" };
    await dynamodb.send(new PutItemCommand({ TableName, Item: { id, ttl: { N: "1700000000" } } }));
    // LocalStack looks once an hour by itself.
    await fetch(`${endpoint}/_aws/dynamodb/expired`, { method: "DELETE" });
    expect((await dynamodb.send(new GetItemCommand({ TableName, Key: { id } }))).Item).toBeUndefined();
    dynamodb.destroy();
  });

  test("destroy:local leaves nothing", async () => {
    expect(await succeeds(npmRun(endpoint, "destroy:local"))).toContain(
      "No queue, table, rule or function of the stack is left.",
    );
  });
});
