import { stableId } from "../stable-id.ts";

/**
 * The id of the task that a slot sends: the same wherever and however often it is computed, so that a second copy meets
 * the first one's claim. `slot` is in milliseconds since the epoch.
 */
export const slotId = (app: string, entry: string, slot: number): string => stableId(app, entry, slot);
