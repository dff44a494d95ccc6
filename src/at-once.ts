/**
 * Stands in for `on-demand.ts` in the bundle of a function, which uses all of it and is one file: what is imported in the
 * ordinary way is one scope there, and needs no function around each module, which together have 6 KB. Each part is imported by
 * name: a module that is handed out as a whole keeps all that it exports, such as what makes queues and tables for tests.
 */
import { open as openSqs } from "./brokers/sqs.ts";
import type * as parts from "./on-demand.ts";
import { open as openDynamodb } from "./results/dynamodb.ts";
import * as eager from "./workers/eager.ts";

/** Whether a task of the app has limits: few do. */
declare const LOVAGE_LIMITS: boolean;

export const loadSqs: typeof parts.loadSqs = async () => ({ open: openSqs });
export const loadDynamodb: typeof parts.loadDynamodb = async () => ({ open: openDynamodb });
export const loadLimits: typeof parts.loadLimits = async () =>
  LOVAGE_LIMITS ? await import("./limits/dynamodb.ts") : {};
export const loadUnique: typeof parts.loadUnique = async () => (LOVAGE_LIMITS ? await import("./tasks/unique.ts") : {});
export const loadLimited: typeof parts.loadLimited = async () =>
  LOVAGE_LIMITS ? await import("./workers/limited.ts") : {};
export const loadEager: typeof parts.loadEager = async () => eager;
