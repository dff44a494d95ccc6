/** What AWS takes of policies, Lambda of an environment and CloudFormation of a stack, seen when all is said: at synthesis, not at deployment. */
import { CfnResource, type Stack } from "aws-cdk-lib";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as s3 from "aws-cdk-lib/aws-s3";
import * as sqs from "aws-cdk-lib/aws-sqs";
import type { IConstruct } from "constructs";
import { MAX_ENVIRONMENT } from "../config/values.ts";
import { MAX_RESOURCES } from "./limits.ts";

/**
 * Characters without white space of all inline policies of one of them together, and policies that can be attached.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
 */
const INLINE = { user: 2048, group: 5120, role: 10_240 } as const;
const MAX_ATTACHED = 10;

interface ResourcePolicy {
  readonly service: string;
  /** The document, where a resource is one that has such a policy. */
  readonly of: (resource: IConstruct) => unknown;
  readonly bytes: number;
  readonly statements?: number;
}

/** Policies of resources, to which every role of another account adds something. */
const RESOURCE_POLICIES: readonly ResourcePolicy[] = [
  {
    // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
    service: "SQS",
    of: (resource) => (resource instanceof sqs.CfnQueuePolicy ? resource.policyDocument : undefined),
    bytes: 8192,
    statements: 20,
  },
  {
    // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/rbac-considerations.html
    service: "DynamoDB",
    of: (resource) => (resource instanceof dynamodb.CfnTable ? resource.resourcePolicy : undefined),
    bytes: 20 * 1024,
  },
  {
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html
    service: "S3",
    of: (resource) => (resource instanceof s3.CfnBucketPolicy ? resource.policyDocument : undefined),
    bytes: 20 * 1024,
  },
  {
    // https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
    service: "KMS",
    of: (resource) => (resource instanceof kms.CfnKey ? resource.keyPolicy : undefined),
    bytes: 32 * 1024,
  },
];

type Holder = keyof typeof INLINE;

/** Has every synthesis look. Once for an app, however many say so. */
export function watchSizes(scope: IConstruct): void {
  const { root } = scope.node;
  if (watched.has(root)) return;
  watched.add(root);
  scope.node.addValidation({ validate: () => sizeFaults(root.node.findAll()) });
}

const watched = new WeakSet<IConstruct>();

/** A sentence for each limit that is passed. */
function sizeFaults(all: readonly IConstruct[]): string[] {
  return [
    ...tooManyResources(all),
    ...tooLargeForHolders(all),
    ...tooLargeForResources(all),
    ...tooLargeEnvironments(all),
  ];
}

/** With the policies that the CDK makes of those that outgrow a role: these are not there before. */
function tooManyResources(all: readonly IConstruct[]): string[] {
  const found = Map.groupBy(
    all.filter((node) => CfnResource.isCfnResource(node)),
    (resource) => resource.stack,
  );
  return [...found].flatMap(([stack, resources]) => {
    if (resources.length <= MAX_RESOURCES) return [];
    const policies = resources.filter((one) => one instanceof iam.CfnManagedPolicy).length;
    const advice =
      policies === 0
        ? ""
        : `; ${policies} of them are policies that outgrew their roles: with the few queues that each needs in sendsTo, in place of "all", there are less`;
    return [
      `the stack ${stack.stackName} has ${resources.length} resources, and CloudFormation takes ${MAX_RESOURCES}: declare fewer queues, or share them out to two apps with a TaskQueues and a stack each${advice}`,
    ];
  });
}

function tooLargeForHolders(all: readonly IConstruct[]): string[] {
  const inline = new Map<string, { holder: Holder; name: string; size: number }>();
  const attached = new Map<string, { name: string; count: number }>();
  for (const policy of all) {
    if (policy instanceof iam.CfnPolicy) {
      const size = sizeOf(policy.stack, policy.policyDocument);
      const holders = { user: policy.users, group: policy.groups, role: policy.roles };
      for (const [holder, names] of Object.entries(holders))
        for (const name of namesOf(policy, names)) {
          const key = `${holder} ${keyOf(policy, name)}`;
          const before = inline.get(key)?.size ?? 0;
          inline.set(key, { holder: holder as Holder, name: shown(policy, name), size: before + size });
        }
    }
    if (policy instanceof iam.CfnManagedPolicy)
      for (const name of namesOf(policy, policy.roles)) {
        const key = keyOf(policy, name);
        attached.set(key, { name: shown(policy, name), count: (attached.get(key)?.count ?? 0) + 1 });
      }
  }
  return [
    ...[...inline.values()].flatMap(({ holder, name, size }) => {
      const most = INLINE[holder];
      if (size <= most) return [];
      const instead =
        holder === "role" ? "grant it fewer queues" : "grant a role that it may take (10,240), or fewer queues";
      return [
        `the inline policies of the ${holder} ${name} have about ${size} characters, and IAM takes ${most}: ${instead}`,
      ];
    }),
    ...[...attached.values()].flatMap(({ name, count }) =>
      count <= MAX_ATTACHED
        ? []
        : [
            `the role ${name} needs ${count} policies, and IAM attaches ${MAX_ATTACHED}: name the few queues that it needs in sendsTo, in place of "all", or grant it fewer`,
          ],
    ),
  ];
}

function tooLargeForResources(all: readonly IConstruct[]): string[] {
  return all.flatMap((resource) =>
    RESOURCE_POLICIES.flatMap(({ service, of, bytes, statements = Number.POSITIVE_INFINITY }) => {
      const given = of(resource);
      if (given === undefined) return [];
      const { stack } = resource as CfnResource;
      const resolved = stack.resolve(given) as { readonly policyDocument?: unknown };
      const document = (resolved.policyDocument ?? resolved) as { readonly Statement?: readonly unknown[] };
      const size = sizeOf(stack, document);
      const { length = 0 } = document.Statement ?? [];
      if (size <= bytes && length <= statements) return [];
      const [has, most] =
        statements === Number.POSITIVE_INFINITY
          ? [`about ${size} bytes`, bytes]
          : [`${length} statements and about ${size} bytes`, `${statements} and ${bytes}`];
      return [
        `the policy ${resource.node.path} has ${has}, and ${service} takes ${most}: grant one role of the other account, which its callers take, in place of many`,
      ];
    }),
  );
}

/** With what the deployment adds to those of the app. What only a deployment knows is not counted: it has so many at least. */
function tooLargeEnvironments(all: readonly IConstruct[]): string[] {
  return all.flatMap((fn) => {
    if (!(fn instanceof lambda.CfnFunction)) return [];
    const { variables = {} } = (fn.stack.resolve(fn.environment) ?? {}) as { readonly variables?: object };
    const bytes = Buffer.byteLength(Object.entries(variables).flat().map(literal).join(""));
    if (bytes <= MAX_ENVIRONMENT) return [];
    return [
      `the environment of ${fn.node.scope?.node.path ?? fn.node.path} has ${bytes} bytes or more, and Lambda takes ${MAX_ENVIRONMENT}, those that the deployment sets included: keep what is long elsewhere, such as in a parameter of Systems Manager`,
    ];
  });
}

/** The text of a value that is known at synth. */
function literal(value: unknown): string {
  if (typeof value === "string") return value;
  const [, parts = []] = (value as { readonly "Fn::Join"?: readonly [string, readonly unknown[]] })["Fn::Join"] ?? [];
  return parts.map((part) => (typeof part === "string" ? part : "")).join("");
}

/** Of what only a deployment knows this many characters: the ARN of a queue with a name of 20. */
const UNKNOWN = 63;

/** About how many characters a document will have. */
function sizeOf(stack: Stack, document: unknown): number {
  return measure(stack.resolve(document));
}

function measure(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, one) => sum + measure(one) + 1, 1);
  if (typeof value !== "object" || value === null) return JSON.stringify(value)?.length ?? 0;
  const entries = Object.entries(value);
  const [first = ["", undefined]] = entries;
  if (entries.length === 1 && first[0] === "Fn::Join") {
    const [, parts] = first[1] as [string, readonly unknown[]];
    return parts.reduce<number>((sum, one) => sum + (typeof one === "string" ? one.length : 12), 2);
  }
  if (entries.length === 1 && /^(Ref$|Fn::)/.test(first[0])) return UNKNOWN + 2;
  return entries.reduce((sum, [name, one]) => sum + name.length + 4 + measure(one), 1);
}

/** Names, or what CloudFormation resolves to them. */
const namesOf = ({ stack }: CfnResource, names: unknown): readonly unknown[] =>
  (stack.resolve(names) ?? []) as unknown[];

/** Logical ids are those of one stack. */
const keyOf = ({ stack }: CfnResource, name: unknown): string =>
  typeof name === "string" ? name : `${stack.node.path} ${JSON.stringify(name)}`;

/** A name, or the place in the app where it is not known yet. */
const shown = (policy: CfnResource, name: unknown): string =>
  typeof name === "string" ? name : (policy.node.scope?.node.scope?.node.path ?? policy.node.path);
