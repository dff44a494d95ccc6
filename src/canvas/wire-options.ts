/** Options of a call in our spelling and in Python's: what a signature carries is Python's. */
import type { SignatureData } from "../protocol/message.ts";
import type { CallOptions } from "../tasks/options.ts";
import type { PublishOptions } from "../tasks/publish.ts";
import type { SignatureLike } from "./signature.ts";

/** Our names and Celery's, where they differ. What is in neither column has the same name in both. */
const PYTHON_NAMES: Readonly<Record<string, string>> = {
  routingKey: "routing_key",
  taskId: "task_id",
  ignoreResult: "ignore_result",
  timeLimit: "time_limit",
  softTimeLimit: "soft_time_limit",
  linkError: "link_error",
  retryPolicy: "retry_policy",
  maxRetries: "max_retries",
  groupId: "group_id",
  groupIndex: "group_index",
  parentId: "parent_id",
  rootId: "root_id",
  replacedTaskNesting: "replaced_task_nesting",
};
const PYTHON_POLICY: Readonly<Record<string, string>> = {
  maxRetries: "max_retries",
  intervalStart: "interval_start",
  intervalStep: "interval_step",
  intervalMax: "interval_max",
};
const reversed = (names: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(names).map(([a, b]) => [b, a]));
const OUR_POLICY = reversed(PYTHON_POLICY);
const OUR_NAMES = reversed(PYTHON_NAMES);

const renamed = (object: object, names: Readonly<Record<string, string>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [names[name] ?? name, value]));

/** Options as a signature carries them. `undefined` and `null` are left out: to Celery they are the same as absent. */
export function toWireOptions(options: CallOptions): Record<string, unknown> {
  const wire: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null) continue;
    const isLink = name === "link" || name === "linkError";
    if (isLink) wire[PYTHON_NAMES[name] ?? name] = signatureList(value as CallOptions["link"]);
    else wire[PYTHON_NAMES[name] ?? name] = name === "retryPolicy" ? renamed(value as object, PYTHON_POLICY) : value;
  }
  return wire;
}

/** Options that a signature carries, as a call takes them. Stamps, which Python puts among the options, are set apart. */
export function fromWireOptions(wire: Readonly<Record<string, unknown>>): PublishOptions {
  const options: Record<string, unknown> = {};
  const stamps: Record<string, unknown> = {};
  const { stamped_headers: stamped, ...rest } = wire;
  const names = new Set<unknown>(Array.isArray(stamped) ? stamped : []);
  for (const [name, value] of Object.entries(rest)) {
    if (names.has(name)) stamps[name] = value;
    else if (name === "retry_policy" && typeof value === "object" && value !== null)
      options["retryPolicy"] = renamed(value, OUR_POLICY);
    // To Python an empty text is no value, but where it is what is shown of the arguments.
    else if (value !== undefined && value !== null && (value !== "" || /repr$/.test(name)))
      options[OUR_NAMES[name] ?? name] = value;
  }
  return names.size > 0 ? { ...options, stamps } : options;
}

/** The JSON of a signature, whichever way it was given. */
export const signatureData = (signature: SignatureLike): SignatureData =>
  "toJSON" in signature ? signature.toJSON() : signature;

/** The JSON of one signature or several. */
export const signatureList = (given: SignatureLike | readonly SignatureLike[] | undefined): readonly SignatureData[] =>
  given === undefined ? [] : (Array.isArray(given) ? given : [given]).map(signatureData);
