/**
 * A container on ECS keeps itself from being taken away while it runs something that takes long: who scales a service down
 * does not know which of its containers have work. A deployment waits for it too.
 */
import type { Clock } from "../clock.ts";
import type { Log } from "./log.ts";

/** What runs for so long, in milliseconds, is worth protecting. Shorter runs end within the time that SIGTERM leaves them. */
const LONG_RUN_MS = 10_000;
/** ECS's default. It ends by itself where a worker has hung. */
const EXPIRES_MINUTES = 120;
const RENEW_MS = (EXPIRES_MINUTES / 2) * 60_000;
/** The agent is on the same machine. */
const AGENT_TIMEOUT_MS = 5_000;

export interface ProtectionOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
  /** When what runs for the longest began, in milliseconds since the epoch; `undefined`: nothing runs. */
  readonly oldest: () => number | undefined;
}

/** Starts it where there is an agent of ECS. Returns what ends it. */
export function startProtection({ env, clock, log, oldest }: ProtectionOptions): () => void {
  const agent = env["ECS_AGENT_URI"];
  if (!agent) return () => {};
  const stopping = new AbortController();
  /** Since when it is protected. */
  let since: number | undefined;
  let hasFailed = false;

  async function set(isProtected: boolean): Promise<void> {
    try {
      await tell(agent as string, isProtected);
      since = isProtected ? clock.now() : undefined;
      hasFailed = false;
    } catch (error) {
      // Its tasks are handed back when it is stopped, and run again elsewhere.
      if (!hasFailed)
        log("warning", `This container cannot be kept from being taken away while it runs tasks: ${String(error)}`);
      hasFailed = true;
    }
  }

  async function watch(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(LONG_RUN_MS, stopping.signal);
      if (stopping.signal.aborted) return;
      const now = clock.now();
      const began = oldest();
      const isLong = began !== undefined && now - began >= LONG_RUN_MS;
      if (isLong ? since === undefined || now - since >= RENEW_MS : since !== undefined && began === undefined)
        await set(isLong);
    }
  }
  void watch();
  return () => stopping.abort();
}

async function tell(agent: string, isProtected: boolean): Promise<void> {
  const response = await fetch(`${agent}/task-protection/v1/state`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ProtectionEnabled: isProtected,
      ...(isProtected ? { ExpiresInMinutes: EXPIRES_MINUTES } : {}),
    }),
    signal: AbortSignal.timeout(AGENT_TIMEOUT_MS),
  });
  const answer = await response.text();
  // What ECS refuses stands in an answer of its own form.
  if (!response.ok || !answer.includes('"protection"')) throw new Error(`${response.status} ${answer.slice(0, 500)}`);
}
