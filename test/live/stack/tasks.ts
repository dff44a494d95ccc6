/** Tasks whose results tell when they ran. */
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";

export const app = new Lovage("live", {
  taskQueues: {
    // A short limit makes a short visibility timeout: six times the limit and ten seconds.
    celery: { timeLimit: 5 },
    narrow: { timeLimit: 5, batchSize: 1, maxConcurrency: 2 },
    "orders.fifo": {},
    // Where it is moved to there are no containers: a plain process is one that works on it.
    moving: { timeLimit: 5, worker: process.env["LIVE_MOVED"] === "true" ? "none" : "function" },
    ...(process.env["LIVE_QUEUES"] === "more" ? { added: {} } : {}),
  },
});

/** From when to when it ran. */
export const nap = app.task("live.nap", async (ms: number): Promise<readonly [began: number, ended: number]> => {
  const began = Date.now();
  await sleep(ms);
  return [began, Date.now()];
});

/** Succeeds at the second attempt. */
export const stumble = app.task("live.stumble", { bind: true }, (self): number => {
  if (self.request.retries === 0) self.retry({ countdown: 2, exc: new Error("stumbled") });
  return Date.now();
});

export const now = app.task("live.now", (): number => Date.now());
