/** EventBridge for functions whose tasks put entries at run time. */
import { open } from "../beat/eventbridge.ts";
import { isBeatStoreScheme, registerBeatStore } from "../open.ts";

/**
 * Lets a function use `app.beat`, its tasks too: call it in the module of the handler. Most functions never do, so what
 * `bundlingFor` bundles has neither EventBridge nor the calendar of time zones by itself, which are a quarter of a bundle. The
 * right to use it is `grantSchedule`.
 *
 * ```ts
 * registerRuntimeSchedule();
 * export const handler = createWorkerHandler(app);
 * ```
 */
export function registerRuntimeSchedule(): void {
  if (!isBeatStoreScheme("sqs")) registerBeatStore("sqs", async () => ({ open }));
}
