/** Roles and policies of a synthesized stack, with the ARNs that its resources would have. */
import { createHash } from "node:crypto";
import type { Statement } from "./policy.ts";

export const ACCOUNT = "000000000000";
export const REGION = "us-east-1";
export const arnOf = (service: string, resource: string, region = REGION, account = ACCOUNT): string =>
  `arn:aws:${service}:${region}:${account}:${resource}`;

interface Resource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
}

export interface Rights {
  /** The statements of a role's policies, by its logical id. */
  of(role: string): readonly Statement[];
  /** The policy of a resource, by the resource's ARN. */
  on(arn: string): readonly Statement[];
  /** The key that encrypts a resource, by the resource's ARN; `undefined`: AWS's own, for which nobody needs a right. */
  keyOf(arn: string): string | undefined;
  /** A value of the template as it would be. */
  resolve(value: unknown): unknown;
  /** By type, as they would be. */
  all(type: string): readonly (readonly [id: string, properties: Readonly<Record<string, unknown>>])[];
}

/** What `Ref` and `Arn` of a resource are. A name that CloudFormation would make up is the logical id. */
const KINDS: Readonly<
  Record<string, (id: string, name: (property: string) => string) => { readonly ref: string; readonly arn: string }>
> = {
  "AWS::SQS::Queue": (_, name) => {
    const queue = name("QueueName");
    return { ref: `https://sqs.${REGION}.amazonaws.com/${ACCOUNT}/${queue}`, arn: arnOf("sqs", queue) };
  },
  "AWS::DynamoDB::Table": (_, name) => {
    const table = name("TableName");
    return { ref: table, arn: arnOf("dynamodb", `table/${table}`) };
  },
  "AWS::S3::Bucket": (_, name) => {
    const bucket = name("BucketName").toLowerCase();
    return { ref: bucket, arn: `arn:aws:s3:::${bucket}` };
  },
  "AWS::IAM::Role": (_, name) => {
    const role = name("RoleName");
    return { ref: role, arn: arnOf("iam", `role/${role}`, "") };
  },
  "AWS::KMS::Key": (id) => ({ ref: id, arn: arnOf("kms", `key/${id}`) }),
  "AWS::Logs::LogGroup": (id) => ({ ref: id, arn: arnOf("logs", `log-group:${id}:*`) }),
  "AWS::Lambda::Function": (id) => ({ ref: id, arn: arnOf("lambda", `function:${id}`) }),
  "AWS::Lambda::EventSourceMapping": (id) => {
    const ref = mappingId(id);
    return { ref, arn: arnOf("lambda", `event-source-mapping:${ref}`) };
  },
  "AWS::Scheduler::ScheduleGroup": (_, name) => {
    const group = name("Name");
    return { ref: group, arn: arnOf("scheduler", `schedule-group/${group}`) };
  },
};

/** A UUID, made of the logical id. */
export const mappingId = (id: string): string =>
  createHash("sha256")
    .update(id)
    .digest("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, "$1-$2-$3-$4-$5");

const PSEUDO: Readonly<Record<string, string>> = {
  "AWS::AccountId": ACCOUNT,
  "AWS::Partition": "aws",
  "AWS::Region": REGION,
  "AWS::URLSuffix": "amazonaws.com",
};

export function rightsOf(template: { readonly Resources: Readonly<Record<string, Resource>> }): Rights {
  const { Resources } = template;

  function find(id: string): { readonly ref: string; readonly arn: string } {
    const resource = Resources[id];
    const kind = KINDS[resource?.Type ?? ""];
    // What no right is on is named by its id.
    if (resource === undefined || kind === undefined) return { ref: id, arn: id };
    return kind(id, (property) => {
      const given = resource.Properties?.[property];
      return given === undefined ? id : String(resolve(given));
    });
  }

  function resolve(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(resolve);
    if (typeof value !== "object" || value === null) return value;
    const [[name = "", inner] = []] = Object.entries(value) as [string, unknown][];
    if (name === "Ref") return PSEUDO[inner as string] ?? find(inner as string).ref;
    if (name === "Fn::GetAtt") return find((inner as [string])[0]).arn;
    if (name === "Fn::Join") {
      const [separator, parts] = inner as [string, unknown[]];
      return parts.map((part) => String(resolve(part))).join(separator);
    }
    if (name.startsWith("Fn::")) throw new Error(`${name} is not resolved here: add it`);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolve(one)]));
  }

  const ofType = (type: string) =>
    Object.entries(Resources).flatMap(([id, { Type, Properties = {} }]) =>
      Type === type ? [[id, Properties] as const] : [],
    );
  const statements = (document: unknown) =>
    (resolve(document) as { readonly Statement: readonly Statement[] } | undefined)?.Statement ?? [];

  const onResources = new Map<string, readonly Statement[]>();
  const put = (arn: string, more: readonly Statement[]) =>
    onResources.set(arn, [...(onResources.get(arn) ?? []), ...more]);
  for (const [, { Queues, PolicyDocument }] of ofType("AWS::SQS::QueuePolicy"))
    for (const queue of Queues as { Ref: string }[]) put(find(queue.Ref).arn, statements(PolicyDocument));
  for (const [, { Bucket, PolicyDocument }] of ofType("AWS::S3::BucketPolicy"))
    put(find((Bucket as { Ref: string }).Ref).arn, statements(PolicyDocument));
  for (const [id, { ResourcePolicy }] of ofType("AWS::DynamoDB::Table"))
    put(find(id).arn, statements((ResourcePolicy as { PolicyDocument?: unknown } | undefined)?.PolicyDocument));

  const keys = new Map<string, unknown>([
    ...ofType("AWS::SQS::Queue").map(([id, { KmsMasterKeyId }]) => [find(id).arn, KmsMasterKeyId] as const),
    ...ofType("AWS::DynamoDB::Table").map(
      ([id, { SSESpecification }]) =>
        [find(id).arn, (SSESpecification as { KMSMasterKeyId?: unknown } | undefined)?.KMSMasterKeyId] as const,
    ),
    ...ofType("AWS::S3::Bucket").map(([id, { BucketEncryption }]) => {
      const found = /"KMSMasterKeyID":(\{[^}]*\}|"[^"]*")/.exec(JSON.stringify(BucketEncryption ?? {}))?.[1];
      return [find(id).arn, found === undefined ? undefined : (JSON.parse(found) as unknown)] as const;
    }),
  ]);

  return {
    of(role) {
      const named = (roles: unknown) => JSON.stringify(roles).includes(JSON.stringify({ Ref: role }));
      const beside = ofType("AWS::IAM::Policy").filter(([, { Roles }]) => named(Roles));
      const inline = (Resources[role]?.Properties?.["Policies"] ?? []) as readonly { PolicyDocument: unknown }[];
      return [
        ...beside.map(([, { PolicyDocument }]) => PolicyDocument),
        ...inline.map((one) => one.PolicyDocument),
      ].flatMap(statements);
    },
    on: (arn) => onResources.get(arn.replace(/^(arn:aws:s3:::[^/]+)\/.*/, "$1")) ?? [],
    keyOf(arn) {
      const key = keys.get(arn.replace(/^(arn:aws:s3:::[^/]+)\/.*/, "$1"));
      return key === undefined ? undefined : String(resolve(key));
    },
    resolve,
    all: (type) =>
      ofType(type).map(([id, properties]) => [id, resolve(properties) as Record<string, unknown>] as const),
  };
}
