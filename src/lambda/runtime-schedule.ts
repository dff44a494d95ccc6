/** EventBridge for functions whose tasks put entries at run time. */
import { open } from "../beat/eventbridge.ts";
import { isBeatStoreScheme, registerBeatStore } from "../open.ts";

/**
 * Lets the tasks of a function use `app.beat`: call it in the module of the handler. Most functions never do, so a
 * handler does not bring EventBridge by itself, which is a fifth of a bundle. The right to use it is `grantSchedule`.
 *
 * ```ts
 * registerRuntimeSchedule();
 * export const handler = createWorkerHandler(app);
 * ```
 */
export function registerRuntimeSchedule(): void {
  if (!isBeatStoreScheme("sqs")) registerBeatStore("sqs", async () => ({ open }));
}
