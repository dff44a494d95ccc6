/**
 * `npm run destroy:local`: takes the stack off the local AWS, then the data that the stack leaves behind by design, and
 * looks whether anything is left. Ends with 1 when there is.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DeleteTableCommand, DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { EventBridgeClient, ListRulesCommand } from "@aws-sdk/client-eventbridge";
import { DeleteQueueCommand, ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { cdk, type LocalAws, localAws, main } from "./local-aws.ts";

interface Resource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: string;
}

/** A resource of the stack, by the name that it has, or that CloudFormation begins its name with. */
interface Expected {
  readonly type: string;
  readonly retained: boolean;
  matches(name: string): boolean;
}

const NAME_PROPERTIES = ["QueueName", "TableName", "FunctionName", "Name"];

await main(async () => {
  const aws = await localAws();
  const args = JSON.parse(readFileSync(join(aws.home, "args.json"), "utf8")) as string[];
  const output = join(aws.home, "cdk.out");
  const resources = expectedResources(output);
  await cdk(["destroy", "--all", "--force", "--output", output, ...args], aws.env, 120_000);

  Object.assign(process.env, aws.env);
  const sqs = new SQSClient({ useQueueUrlAsEndpoint: false });
  const dynamodb = new DynamoDBClient({});
  for (const { type, name } of await stillThere(aws, resources)) {
    if (!resources.some((one) => one.type === type && one.retained && one.matches(nameOf(name)))) continue;
    console.error(`The stack retains ${name}, so that a destroy loses no data; on an emulator it goes too`);
    if (type === "AWS::SQS::Queue") await sqs.send(new DeleteQueueCommand({ QueueUrl: name }));
    if (type === "AWS::DynamoDB::Table") await dynamodb.send(new DeleteTableCommand({ TableName: name }));
  }

  const left = await stillThere(aws, resources);
  if (left.length > 0) throw new Error(`left behind: ${left.map(({ type, name }) => `${type} ${name}`).join(", ")}`);
  rmSync(aws.home, { recursive: true });
  console.error(
    "No queue, table, rule or function of the stack is left. The CDK's bootstrap stack ends with the emulator.",
  );
});

function expectedResources(assembly: string): readonly Expected[] {
  return readdirSync(assembly)
    .filter((file) => file.endsWith(".template.json"))
    .flatMap((file) => {
      const stack = file.slice(0, -".template.json".length);
      const { Resources } = JSON.parse(readFileSync(join(assembly, file), "utf8")) as {
        readonly Resources: Readonly<Record<string, Resource>>;
      };
      return Object.entries(Resources).map(([id, { Type, Properties = {}, DeletionPolicy }]) => {
        const given = NAME_PROPERTIES.map((property) => Properties[property]).find(
          (value) => typeof value === "string",
        );
        return {
          type: Type,
          // Or RetainExceptOnCreate, which differs only where a first deployment fails.
          retained: DeletionPolicy?.startsWith("Retain") ?? false,
          matches: (name: string) =>
            given === undefined ? name.startsWith(`${stack}-${id}`.slice(0, 50)) : name === given,
        };
      });
    });
}

/** What is there of the stack's queues (by URL), tables, rules and functions. */
async function stillThere({ endpoint }: LocalAws, resources: readonly Expected[]) {
  const queues = (await new SQSClient({}).send(new ListQueuesCommand({ MaxResults: 1000 }))).QueueUrls ?? [];
  const tables = (await new DynamoDBClient({}).send(new ListTablesCommand({}))).TableNames ?? [];
  const rules = (await new EventBridgeClient({}).send(new ListRulesCommand({}))).Rules ?? [];
  const found = [
    ...queues.map((name) => ({ type: "AWS::SQS::Queue", name })),
    ...tables.map((name) => ({ type: "AWS::DynamoDB::Table", name })),
    ...rules.map(({ Name: name = "" }) => ({ type: "AWS::Events::Rule", name })),
    ...(await functionNames(endpoint)).map((name) => ({ type: "AWS::Lambda::Function", name })),
  ];
  return found.filter(({ type, name }) => resources.some((one) => one.type === type && one.matches(nameOf(name))));
}

/** Lambda's ListFunctions by hand: emulators look at whose key it is and not at the signature. */
async function functionNames(endpoint: string): Promise<readonly string[]> {
  const authorization =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0";
  const response = await fetch(`${endpoint}/2015-03-31/functions/`, { headers: { authorization } });
  const { Functions } = (await response.json()) as { readonly Functions: readonly { readonly FunctionName: string }[] };
  return Functions.map(({ FunctionName }) => FunctionName);
}

/** A queue is known by its URL. */
function nameOf(nameOrUrl: string): string {
  return nameOrUrl.slice(nameOrUrl.lastIndexOf("/") + 1);
}
