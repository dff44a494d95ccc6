/** Claims that could not be given up: elsewhere each looks like a death once its lease has ended, until its owner is heard of. */
import type { WorkerContext } from "./context.ts";
import { withPatience } from "./patience.ts";

/** Claims that are remembered because they could not be given up. */
const MAX_UNRELEASED = 10_000;
/** So many of them are given up at a time. */
const MAX_RELEASES = 100;

/**
 * Gives a claim up. What kept the outcome from being stored may keep this from it too, so it is tried again; where even
 * that does not help, the next one here who takes the message is the same owner, and {@link releaseLate} goes on trying.
 */
export async function patiently(
  context: WorkerContext,
  { key, owner }: { readonly key: string; readonly owner: string },
  free: () => Promise<void>,
): Promise<void> {
  const { unreleased } = context;
  await withPatience(context, free).catch(() => {
    // A table that is gone for long must not fill the memory.
    if (unreleased.size >= MAX_UNRELEASED) unreleased.clear();
    unreleased.set(key, { owner, free });
  });
}

/** Tries once more. */
export async function releaseLate({ unreleased }: WorkerContext): Promise<void> {
  const late = [...unreleased].slice(0, MAX_RELEASES);
  await Promise.all(
    late.map(([key, claim]) => {
      // Who takes it meanwhile is another owner: this one is about to let go.
      unreleased.delete(key);
      return claim.free().catch(() => {
        unreleased.set(key, unreleased.get(key) ?? claim);
      });
    }),
  );
}
