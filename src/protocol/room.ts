/**
 * How much memory a value may take that somebody else wrote. What is compressed, or says how long a list is before it has
 * one, can ask for a thousand times what it brings; a process that dies of it dies before anybody can count its death.
 */
import { DecodeError } from "../errors.ts";

/** One value may take the eighth part of a process's memory: several are read at a time, and are then worked with. */
const PART = 8;
/** Where nobody says how much there is, as at the edge: what a Cloudflare worker has. */
const UNKNOWN_BYTES = 128 * 2 ** 20;
/** Texts below this need no look: in their worst form they take some 30 MB. */
export const SMALL_BYTES = 2 ** 20;

/** What V8 takes for an item of a list, or a member of an object, and the value in it. Measured: `[[], [], …]` takes 56. */
export const ITEM_BYTES = 64;

let found: number | undefined;

/** How many bytes a single value that is read may take in this process. */
export function roomForValue(): number {
  found ??= Math.floor(memoryOfProcess() / PART);
  return found;
}

/** The same for what was kept elsewhere because it is large: it is there in its whole length, and its store is the app's own. */
export const roomForKept = (): number => (roomForValue() * PART) / 2;

function memoryOfProcess(): number {
  const load = globalThis.process?.getBuiltinModule;
  if (load === undefined) return UNKNOWN_BYTES;
  const heap = load("node:v8").getHeapStatistics().heap_size_limit;
  // 0, or more than any machine has: no limit is set.
  const limit = globalThis.process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  return Math.min(heap, limit, load("node:os").totalmem());
}

/** Throws `DecodeError` for data that would take more bytes than there is room for. */
export function checkRoom(bytes: number, room = roomForValue()): void {
  if (bytes <= room) return;
  throw new DecodeError(
    `the data would take about ${megabytes(bytes)} MB of memory and may take ${megabytes(room)}, by what this process has; send less at a time, or give the worker more memory (--max-old-space-size)`,
  );
}

const megabytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20);
