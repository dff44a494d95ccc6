/** What an operator asks of AWS beside its queues and tables: who calls, and that functions stop fetching, or go on. */
import { SQSClient } from "#aws/sqs";
import { clientOf, command, type Metadata } from "../aws/client.ts";
import { type AwsUrl, clientConfig, parseAwsUrl, SQS_OPTIONS } from "../aws/connection.ts";
import { translateError } from "../aws/errors.ts";

const REQUEST_TIMEOUT_MS = 10_000;

const LambdaClient = clientOf({ name: "LAMBDA", service: "lambda", contentType: "application/json" });
const StsClient = clientOf({
  name: "STS",
  service: "sts",
  contentType: "application/x-www-form-urlencoded",
  accept: "application/json",
  stringify: (input) => String(new URLSearchParams(input as Record<string, string>)),
});

interface ListInput {
  readonly Marker?: string;
}
interface UpdateInput {
  readonly UUID: string;
}
const MAPPINGS = "/2015-03-31/event-source-mappings/";
const ListMappings = command(
  "ListEventSourceMappings",
  (input) =>
    MAPPINGS +
    ((input as ListInput).Marker ? `?Marker=${encodeURIComponent((input as ListInput).Marker as string)}` : ""),
  "GET",
);
const UpdateMapping = command(
  "UpdateEventSourceMapping",
  (input) => MAPPINGS + encodeURIComponent((input as UpdateInput).UUID),
  "PUT",
);
const GetCallerIdentity = command("GetCallerIdentity", () => "/");

interface Mapping {
  readonly UUID: string;
  readonly EventSourceArn?: string;
}

export function createOperator(brokerUrl: string, options: Readonly<Record<string, unknown>>) {
  const { maxDelay: _, ...known } = options;
  const url: AwsUrl = parseAwsUrl("brokerUrl", brokerUrl, known, SQS_OPTIONS);
  const config = async () => {
    const made = clientConfig(url, REQUEST_TIMEOUT_MS);
    // Found as the SDK finds them: in the environment, by a profile or a role.
    const { config: found } = new SQSClient(made);
    return { ...made, region: await found.region(), credentials: await found.credentials() };
  };
  const call = async <T extends object>(action: string, resource: string, work: () => Promise<Metadata & object>) => {
    try {
      return (await work()) as Metadata & T;
    } catch (error) {
      throw translateError(error, { action, resource });
    }
  };

  return {
    async caller(): Promise<string> {
      const client = new StsClient(await config());
      try {
        const input = { Action: "GetCallerIdentity", Version: "2011-06-15" };
        const answer = await client.send(new GetCallerIdentity(input));
        const { GetCallerIdentityResponse: told } = answer as {
          readonly GetCallerIdentityResponse?: { readonly GetCallerIdentityResult?: { readonly Arn?: string } };
        };
        const arn = told?.GetCallerIdentityResult?.Arn;
        if (arn === undefined) throw new Error("sts:GetCallerIdentity was answered without an ARN");
        return arn;
      } finally {
        client.destroy();
      }
    },
    async setEnabled(queue: string, enabled: boolean): Promise<void> {
      const client = new LambdaClient(await config());
      try {
        const found: Mapping[] = [];
        for (let Marker: string | undefined, more = true; more; more = Marker !== undefined) {
          const input = Marker === undefined ? {} : { Marker };
          const answer = await call<{
            readonly EventSourceMappings?: readonly Mapping[];
            readonly NextMarker?: string;
          }>("lambda:ListEventSourceMappings", "the event source mappings of this region", () =>
            client.send(new ListMappings(input)),
          );
          found.push(...(answer.EventSourceMappings ?? []));
          Marker = answer.NextMarker || undefined;
        }
        const ofQueue = found.filter(({ EventSourceArn = "" }) => {
          const [, , service, , , name] = EventSourceArn.split(":");
          return service === "sqs" && name === queue;
        });
        for (const { UUID } of ofQueue) {
          await call("lambda:UpdateEventSourceMapping", `the event source mapping of ${queue}`, () =>
            client.send(new UpdateMapping({ UUID, Enabled: enabled })),
          );
        }
      } finally {
        client.destroy();
      }
    },
  };
}
