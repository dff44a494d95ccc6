/** The thread behind `startHeartbeat`: a broker and a backend of its own, and a beat three times in each lease. */
import { parentPort, workerData } from "node:worker_threads";
import { Engine } from "../engine.ts";
import { beatOnce, type HeartbeatOrder, type HeartbeatSetup, type Holding } from "./heartbeat.ts";

/** A process that is so far past the limit of a task cannot enforce it: its event loop is blocked. */
const BLOCKED_MS = 5_000;

const setup = workerData as HeartbeatSetup;
const holdings = new Map<number, Holding>();

parentPort?.on("message", (order: string) => {
  // Written by `startThread` alone.
  const { hold, drop } = JSON.parse(order) as HeartbeatOrder;
  for (const holding of hold)
    holdings.set(holding.id, { ...holding, deadline: holding.deadline ?? Number.POSITIVE_INFINITY });
  for (const id of drop) holdings.delete(id);
});

// The config is the one in force: the environment has had its say.
const engine = new Engine(setup.config, { env: {} });

setInterval(async () => {
  try {
    if (holdings.size === 0) return;
    const now = Date.now();
    // The run cannot be stopped from here; the process can. Its message comes back, and after maxDeliveries of this the
    // task is given up.
    if ([...holdings.values()].some(({ deadline }) => now > deadline + BLOCKED_MS))
      process.kill(process.pid, "SIGKILL");
    const [broker, backend] = await Promise.all([engine.broker(), engine.backend()]);
    for (const finding of await beatOnce(broker, backend, [...holdings.values()], now, setup.visibility)) {
      parentPort?.postMessage(finding);
    }
  } catch (error) {
    parentPort?.postMessage({ error: String(error) });
  }
}, setup.visibility / 3);
