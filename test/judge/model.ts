/** AWS's own models of its services, as botocore publishes them: what an operation takes, and which errors it answers. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { RequirementMissing } from "../../scripts/emulator.ts";

export const SERVICES = ["cloudwatch", "dynamodb", "events", "lambda", "s3", "scheduler", "sqs"] as const;
export type Service = (typeof SERVICES)[number];

export interface Model {
  readonly metadata: {
    readonly protocol: string;
    readonly jsonVersion?: string;
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
const models = new Map<Service, Model>();

/** Reads a model, fetching all of them first where that was never done. Throws {@link RequirementMissing} without Python. */
export function modelOf(service: Service): Model {
  folder ??= install();
  let model = models.get(service);
  if (model === undefined) {
    model = JSON.parse(readFileSync(join(folder, `${service}.json`), "utf8")) as Model;
    models.set(service, model);
  }
  return model;
}

function install(): string {
  try {
    return execFileSync(SCRIPT, ["run"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
  } catch (error) {
    if ((error as { status?: unknown }).status !== UNAVAILABLE) throw error;
    throw new RequirementMissing("AWS's models are read with Python 3.10 to 3.13");
  }
}
