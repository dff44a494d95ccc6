/** Emulators for test files: each file starts its own, on a free port, and ends it. */
import { afterAll, expect } from "vitest";
import {
  type Emulator,
  type EmulatorKind,
  emulatorEnv,
  RequirementMissing,
  startEmulator,
} from "../../scripts/emulator.ts";
import { SERVICES, modelOf } from "../judge/model.ts";
import { startJudgingProxy } from "../judge/proxy.ts";
import { skipped } from "../skipped.ts";

/**
 * Starts an emulator for the file that calls this at its top level, behind a proxy that holds each request against AWS's own
 * models: emulators take what AWS refuses, and a file that sent such a request fails. Where the machine lacks what it needs,
 * the file's tests are to be {@link skipped}.
 */
export async function emulator(kind: EmulatorKind): Promise<Emulator | undefined> {
  try {
    for (const service of SERVICES) modelOf(service);
    const started = await startEmulator(kind);
    const proxy = await startJudgingProxy(started.endpoint);
    afterAll(async () => {
      await proxy.close();
      await started.stop();
      expect(proxy.faults(), "requests that AWS would refuse").toEqual([]);
    });
    return { ...started, endpoint: proxy.endpoint, env: emulatorEnv(proxy.endpoint) };
  } catch (error) {
    if (!(error instanceof RequirementMissing)) throw error;
    return skipped(`the tests on ${kind} did not run. ${error.message}`, error);
  }
}

/** `sqs://` or `dynamodb://` of an emulator, which takes any credentials. */
export const emulatorUrl = (scheme: "sqs" | "dynamodb", { endpoint }: Pick<Emulator, "endpoint">, rest = ""): string =>
  `${scheme}://test:test@${new URL(endpoint).host}${rest}`;
