/** The thread of a heartbeat that is not begun: it has loaded what an embedded app needs, and waits for what it is to keep. */
import { once } from "node:events";
import { parentPort, Worker as Thread, workerData } from "node:worker_threads";
import type { HeartbeatSetup } from "../workers/holding.ts";

/** Starts one. */
export function startAhead(): Thread {
  const here = import.meta.url;
  const options = { workerData: { [AHEAD]: true } };
  // A checkout runs the sources, whose names of their own are known by a hook, and each thread has its own hooks.
  const thread = here.endsWith(".ts")
    ? new Thread(new URL(here), {
        ...options,
        execArgv: ["--import", new URL("../../scripts/source.ts", here).href],
      })
    : new Thread(new URL(here), options);
  thread.unref();
  return thread;
}

/** Marks the thread, as this module is loaded by who starts it too. */
const AHEAD = "lovage:ahead";

if ((workerData as Record<string, unknown> | null)?.[AHEAD] === true && parentPort !== null) {
  const told = once(parentPort, "message") as Promise<[HeartbeatSetup]>;
  await Promise.all([
    import("../brokers/sqlite.ts"),
    import("../results/sqlite.ts"),
    import("../engine.ts"),
    import("../workers/board.ts"),
    import("../workers/holding.ts"),
  ]);
  const [setup] = await told;
  Object.assign(workerData as object, setup);
  await import("../workers/heartbeat-thread.ts");
}
