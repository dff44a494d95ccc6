/** What a stack has made, and which of it is still there after it was destroyed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { EventBridgeClient, ListRulesCommand } from "@aws-sdk/client-eventbridge";
import { ListBucketsCommand, S3Client } from "@aws-sdk/client-s3";
import { ListScheduleGroupsCommand, SchedulerClient } from "@aws-sdk/client-scheduler";
import { ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { LambdaClient } from "../src/aws/bundled-lambda.ts";
import { command } from "../src/aws/client.ts";

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

/** What is there. A queue is named by its URL. */
interface Found {
  readonly type: string;
  readonly name: string;
}

const NAME_PROPERTIES = ["QueueName", "TableName", "FunctionName", "Name"];

/** What the stacks of a synthesized folder make. */
export function expectedResources(assembly: string): readonly Expected[] {
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
        // Buckets have no capitals.
        const begin = (name: string) => (Type === "AWS::S3::Bucket" ? name.toLowerCase() : name);
        return {
          type: Type,
          // Or RetainExceptOnCreate, which differs only where a first deployment fails.
          retained: DeletionPolicy?.startsWith("Retain") ?? false,
          matches: (name: string) =>
            given === undefined ? name.startsWith(begin(`${stack}-${id}`.slice(0, 50))) : name === given,
        };
      });
    });
}

/** What is there of the resources: queues, tables, rules, groups of schedules, buckets and functions. The environment says where. */
export async function stillThere(resources: readonly Expected[]): Promise<readonly Found[]> {
  const found = await Promise.all([
    named("AWS::SQS::Queue", new SQSClient({}), async (client) => {
      return (await client.send(new ListQueuesCommand({ MaxResults: 1000 }))).QueueUrls ?? [];
    }),
    named("AWS::DynamoDB::Table", new DynamoDBClient({}), async (client) => {
      return (await client.send(new ListTablesCommand({}))).TableNames ?? [];
    }),
    named("AWS::Events::Rule", new EventBridgeClient({}), async (client) => {
      return ((await client.send(new ListRulesCommand({}))).Rules ?? []).map(({ Name = "" }) => Name);
    }),
    named("AWS::Scheduler::ScheduleGroup", new SchedulerClient({}), async (client) => {
      return ((await client.send(new ListScheduleGroupsCommand({}))).ScheduleGroups ?? []).map(({ Name = "" }) => Name);
    }),
    named("AWS::S3::Bucket", new S3Client({ forcePathStyle: true }), async (client) => {
      return ((await client.send(new ListBucketsCommand({}))).Buckets ?? []).map(({ Name = "" }) => Name);
    }),
    named("AWS::Lambda::Function", await lambda(), functionNames),
  ]);
  return found
    .flat()
    .filter(({ type, name }) => resources.some((one) => one.type === type && one.matches(nameOf(name))));
}

async function named<Client extends { destroy(): void }>(
  type: string,
  client: Client,
  list: (client: Client) => Promise<readonly string[]>,
): Promise<readonly Found[]> {
  try {
    return (await list(client)).map((name) => ({ type, name }));
  } finally {
    client.destroy();
  }
}

type Lambda = InstanceType<typeof LambdaClient>;
const ListFunctions = command(
  "ListFunctions",
  (input) => `/2015-03-31/functions?${new URLSearchParams(input as Record<string, string>)}`,
  "GET",
);

/** With credentials and a region that are found as the SDK finds them. */
async function lambda(): Promise<Lambda> {
  const sqs = new SQSClient({});
  const [region, credentials] = await Promise.all([sqs.config.region(), sqs.config.credentials()]);
  sqs.destroy();
  const requestHandler = { connectionTimeout: 5000, requestTimeout: 30_000 };
  return new LambdaClient({ region, credentials, requestHandler } as ConstructorParameters<typeof LambdaClient>[0]);
}

async function functionNames(client: Lambda): Promise<readonly string[]> {
  const names: string[] = [];
  for (let page: object | undefined = {}; page !== undefined; ) {
    const { Functions = [], NextMarker } = (await client.send(new ListFunctions(page))) as {
      readonly Functions?: readonly { readonly FunctionName: string }[];
      readonly NextMarker?: string | null;
    };
    names.push(...Functions.map(({ FunctionName }) => FunctionName));
    page = NextMarker ? { Marker: NextMarker } : undefined;
  }
  return names;
}

/** A queue is known by its URL. */
export function nameOf(nameOrUrl: string): string {
  return nameOrUrl.slice(nameOrUrl.lastIndexOf("/") + 1);
}
