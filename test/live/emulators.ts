/** Emulators for test files: each file starts its own, on a free port, and ends it. */
import { afterAll } from "vitest";
import { type Emulator, type EmulatorKind, RequirementMissing, startEmulator } from "../../scripts/emulator.ts";

/**
 * Starts an emulator for the file that calls this at its top level. Where the machine lacks what it needs, the file's tests
 * are to be skipped (`describe.skipIf(!emulator)`), which is said aloud; in CI that is a failure.
 */
export async function emulator(kind: EmulatorKind): Promise<Emulator | undefined> {
  try {
    const started = await startEmulator(kind);
    afterAll(() => started.stop());
    return started;
  } catch (error) {
    if (!(error instanceof RequirementMissing) || process.env["CI"]) throw error;
    process.stderr.write(`\nSKIPPED: the tests on ${kind} did not run. ${error.message}\n\n`);
    return undefined;
  }
}

/** `sqs://` or `dynamodb://` of an emulator, which takes any credentials. */
export const emulatorUrl = (scheme: "sqs" | "dynamodb", { endpoint }: Pick<Emulator, "endpoint">, rest = ""): string =>
  `${scheme}://test:test@${new URL(endpoint).host}${rest}`;
