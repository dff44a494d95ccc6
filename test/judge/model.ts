/**
 * AWS's own models of its services, as botocore publishes them: what an operation takes, which errors it answers, and where the
 * service is.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { RequirementMissing } from "../../scripts/emulator.ts";
import { skipped } from "../skipped.ts";

export const SERVICES = ["cloudwatch", "dynamodb", "events", "lambda", "s3", "scheduler", "sqs", "sts"] as const;
export type Service = (typeof SERVICES)[number];

export interface Model {
  readonly metadata: {
    readonly apiVersion: string;
    /** By which the service's variables of the environment are named. */
    readonly serviceId: string;
    readonly protocol: string;
    readonly jsonVersion?: string;
    readonly awsQueryCompatible?: object;
    readonly targetPrefix?: string;
    readonly endpointPrefix: string;
    readonly signingName?: string;
  };
  readonly operations: Readonly<Record<string, Operation>>;
  readonly shapes: Readonly<Record<string, Shape>>;
}

export interface Operation {
  readonly name: string;
  readonly http: { readonly method: string; readonly requestUri: string };
  readonly input?: { readonly shape: string };
  readonly errors?: readonly { readonly shape: string }[];
}

interface Reference {
  readonly shape: string;
  readonly location?: "uri" | "querystring" | "header" | "headers" | "statusCode";
  readonly locationName?: string;
}

export interface Shape {
  readonly type: string;
  readonly required?: readonly string[];
  readonly members?: Readonly<Record<string, Reference>>;
  readonly member?: Reference;
  readonly key?: Reference;
  readonly value?: Reference;
  readonly min?: number;
  readonly max?: number;
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly union?: boolean;
  readonly payload?: string;
  readonly exception?: boolean;
  readonly error?: { readonly code?: string; readonly httpStatusCode?: number };
}

const SCRIPT = join(import.meta.dirname, "../../scripts/emulators/models.sh");
/** EX_UNAVAILABLE, by which the script says that the machine lacks what it needs. */
const UNAVAILABLE = 69;

let folder: string | undefined;
const read = new Map<string, unknown>();

/** Reads a file, fetching all of them first where that was never done. Throws {@link RequirementMissing} without Python. */
function fileOf<T>(name: string): T {
  folder ??= install();
  if (!read.has(name)) read.set(name, JSON.parse(readFileSync(join(folder, name), "utf8")));
  return read.get(name) as T;
}

export const modelOf = (service: Service): Model => fileOf(`${service}.json`);

/** The same. `undefined` without Python: tests that need it are to be {@link skipped}. */
export function modelOrSkipped(service: Service): Model | undefined {
  try {
    return modelOf(service);
  } catch (error) {
    if (!(error instanceof RequirementMissing)) throw error;
    return skipped(error.message, error);
  }
}

/** The parameters of an endpoint's rules, by AWS's names: `Region`, `UseFIPS`, `Bucket`. */
export type EndpointParameters = Readonly<Record<string, string | boolean>>;

/** A case that AWS publishes with the rules of a service's endpoints. */
export interface EndpointCase {
  readonly documentation: string;
  readonly params?: EndpointParameters;
  readonly expect: { readonly error: string } | { readonly endpoint: { readonly url: string } };
}

/** Where a service is: rules, as an engine of the SDK's takes them, and cases that they answer. */
export const rulesOf = (service: Service): object => fileOf(`${service}.rules.json`);
export const casesOf = (service: Service): readonly EndpointCase[] =>
  fileOf<{ readonly testCases: readonly EndpointCase[] }>(`${service}.cases.json`).testCases;

/** The partitions of AWS, each with its regions, and what its hosts end in. */
export const partitions = () =>
  fileOf<{
    readonly partitions: readonly { readonly id: string; readonly regions: Readonly<Record<string, object>> }[];
  }>("partitions.json");

function install(): string {
  try {
    return execFileSync(SCRIPT, ["run"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
  } catch (error) {
    if ((error as { status?: unknown }).status !== UNAVAILABLE) throw error;
    throw new RequirementMissing("AWS's models are read with Python 3.10 to 3.13");
  }
}
