/** The thread that is a place of a pool. */
import { parentPort, workerData } from "node:worker_threads";
import type { PlaceOrder } from "../workers/place.ts";
import { marked } from "./line.ts";
import { type PlaceSetup, runPlace } from "./place.ts";

await runPlace(
  workerData as PlaceSetup,
  {
    say: (report) => parentPort?.postMessage(marked(report)),
    // The port keeps what comes until somebody listens.
    hear: (listener) => parentPort?.on("message", (order: PlaceOrder) => listener(order)),
  },
  false,
);
