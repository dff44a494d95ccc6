import { stableId } from "../stable-id.ts";
import type { ScheduleEntry } from "./schedule.ts";

/**
 * The id of the task that a slot sends: the same wherever and however often it is computed, so that a second copy meets
 * the first one's claim. `slot` is in milliseconds since the epoch.
 */
export const slotId = (app: string, entry: string, slot: number): string => stableId(app, entry, slot);

/** Says of a slot what was sent for it. */
export const sentLine = ({ name, task }: ScheduleEntry, slot: number, id: string, sent: string): string => {
  const time = new Date(slot).toISOString();
  return sent === id
    ? `${name}: sent ${task} [${id}] for ${time}`
    : `${name}: nothing was sent for ${time}, as ${task} [${sent}] of the same key is there`;
};
