/**
 * `npm run destroy:local`: takes the stack off the local AWS, then the data that the stack leaves behind by design, and
 * looks whether anything is left. Ends with 1 when there is.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { DeleteTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DeleteQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
import { expectedResources, nameOf, stillThere } from "./left-behind.ts";
import { cdk, localAws, main } from "./local-aws.ts";

await main(async () => {
  const aws = await localAws();
  const output = join(aws.home, "cdk.out");
  const resources = expectedResources(output);
  // What was deployed stands there, and need not be made once more.
  await cdk(["destroy", "--all", "--force", "--app", output], aws.env, 120_000);

  Object.assign(process.env, aws.env);
  const sqs = new SQSClient({ useQueueUrlAsEndpoint: false });
  const dynamodb = new DynamoDBClient({});
  for (const { type, name } of await stillThere(resources)) {
    if (!resources.some((one) => one.type === type && one.retained && one.matches(nameOf(name)))) continue;
    console.error(`The stack retains ${name}, so that a destroy loses no data; on an emulator it goes too`);
    if (type === "AWS::SQS::Queue") await sqs.send(new DeleteQueueCommand({ QueueUrl: name }));
    if (type === "AWS::DynamoDB::Table") await dynamodb.send(new DeleteTableCommand({ TableName: name }));
  }

  const left = await stillThere(resources);
  if (left.length > 0) throw new Error(`left behind: ${left.map(({ type, name }) => `${type} ${name}`).join(", ")}`);
  rmSync(aws.home, { recursive: true });
  console.error(
    "No queue, table, rule or function of the stack is left. The CDK's bootstrap stack ends with the emulator.",
  );
});
