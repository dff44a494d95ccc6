/** A row that has to be written while its task is in hand: what keeps it from that is often over in seconds. */
import { isLasting } from "../errors.ts";
import type { WorkerContext } from "./context.ts";

/** It is tried again after so long, in milliseconds, and after twice as long each time … */
const RETRY_MS = 500;
/** … up to this: half a minute in all. */
const RETRY_MAX_MS = 16_000;

/** Does a step, and again where a system fails. Throws what the last try threw. */
export async function withPatience<T>(
  { engine: { clock }, deadline }: Pick<WorkerContext, "engine" | "deadline">,
  step: () => Promise<T>,
): Promise<T> {
  for (let wait = RETRY_MS; ; wait *= 2) {
    try {
      return await step();
    } catch (error) {
      if (wait > RETRY_MAX_MS || clock.now() + wait > deadline() || isLasting(error)) throw error;
      await clock.sleep(wait);
    }
  }
}
