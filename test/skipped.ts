/**
 * Says aloud that tests are skipped, and why: this machine lacks what they need, and `describe.skipIf(needed === undefined)` leaves
 * them out. What a laptop may skip has to run in CI, where this throws.
 */
export function skipped(why: string, cause?: unknown): undefined {
  if (process.env["CI"]) throw new Error(why, { cause });
  process.stderr.write(`\nSKIPPED: ${why}\n\n`);
}
