/**
 * Stands in for `on-demand.ts` in the bundle of a function, which uses all of it and is one file: what is imported in the
 * ordinary way is one scope there, and needs no function around each module, which together have 6 KB.
 */
import * as sqs from "./brokers/sqs.ts";
import type * as parts from "./on-demand.ts";
import * as dynamodb from "./results/dynamodb.ts";
import * as eager from "./workers/eager.ts";

/** Whether a task of the app has limits: few do. */
declare const LOVAGE_LIMITS: boolean;

export const loadSqs: typeof parts.loadSqs = async () => sqs;
export const loadDynamodb: typeof parts.loadDynamodb = async () => dynamodb;
export const loadLimits: typeof parts.loadLimits = async () =>
  LOVAGE_LIMITS ? await import("./limits/dynamodb.ts") : {};
export const loadUnique: typeof parts.loadUnique = async () => (LOVAGE_LIMITS ? await import("./tasks/unique.ts") : {});
export const loadLimited: typeof parts.loadLimited = async () =>
  LOVAGE_LIMITS ? await import("./workers/limited.ts") : {};
export const loadEager: typeof parts.loadEager = async () => eager;
