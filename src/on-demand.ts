/**
 * Parts that are loaded at their first use: a process that never comes to one never loads it, and a bundle for the edge has
 * an empty module in its place (`browser` in package.json). The bundle of a function has `at-once.ts` in place of this one.
 */
import type { OpenBroker } from "./brokers/broker.ts";
import type { OpenLimitStore } from "./limits/store.ts";
import type { OpenBackend } from "./results/backend.ts";

/** The step of a delivery whose task has limits. */
export type LimitedStep = typeof import("./workers/limited.ts");

/** What runs tasks in their caller. */
export type Eager = typeof import("./workers/eager.ts");

export const loadSqs = (): Promise<{ readonly open?: OpenBroker }> => import("./brokers/sqs.ts");
export const loadDynamodb = (): Promise<{ readonly open?: OpenBackend }> => import("./results/dynamodb.ts");
export const loadUnique = (): Promise<Partial<typeof import("./tasks/unique.ts")>> => import("./tasks/unique.ts");
export const loadLimits = (): Promise<{ readonly open?: OpenLimitStore }> => import("./limits/dynamodb.ts");
export const loadLimited = (): Promise<Partial<LimitedStep>> => import("./workers/limited.ts");
export const loadEager = (): Promise<Partial<Eager>> => import("./workers/eager.ts");
