/** The thread behind `startHeartbeat`: a broker and a backend of its own, and a beat three times in each lease. */
import { parentPort, workerData } from "node:worker_threads";
import { openBackend, openBroker } from "../open.ts";
import { beatOnce, type HeartbeatOrder, type HeartbeatSetup, type Holding } from "./heartbeat.ts";

/** A process that is so far past the limit of a task cannot enforce it: its event loop is blocked. */
const BLOCKED_MS = 5_000;

const setup = workerData as HeartbeatSetup;
const holdings = new Map<number, Holding>();

parentPort?.on("message", ({ hold, drop }: HeartbeatOrder) => {
  for (const holding of hold) holdings.set(holding.id, holding);
  for (const id of drop) holdings.delete(id);
});

const context = { now: Date.now, random: Math.random };
const opened = Promise.all([
  openBroker(setup.brokerUrl, { ...context, options: setup.brokerTransportOptions }),
  openBackend(setup.resultBackend, { ...context, options: setup.resultBackendTransportOptions }),
]);

setInterval(async () => {
  try {
    if (holdings.size === 0) return;
    const now = Date.now();
    // The run cannot be stopped from here; the process can. Its message comes back, and after maxDeliveries of this the
    // task is given up.
    if ([...holdings.values()].some(({ deadline }) => now > deadline + BLOCKED_MS))
      process.kill(process.pid, "SIGKILL");
    const [broker, backend] = await opened;
    for (const finding of await beatOnce(broker, backend, [...holdings.values()], now, setup.visibility)) {
      parentPort?.postMessage(finding);
    }
  } catch (error) {
    parentPort?.postMessage({ error: String(error) });
  }
}, setup.visibility / 3);
