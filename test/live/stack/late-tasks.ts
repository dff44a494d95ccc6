/** Tasks that are due later, and tasks that send such. */
import { Lovage } from "lovage";

export const app = new Lovage("late", {
  taskQueues: { celery: { timeLimit: 5 }, denied: { timeLimit: 5 } },
  // So that no test waits for longer than it must: what SQS's own delay reaches makes no entry.
  brokerTransportOptions: { maxDelay: 60, schedulerMinDelay: 75 },
});

export const now = app.task("late.now", (): number => Date.now());

export const postpone = app.task("late.postpone", async (countdown: number): Promise<string> => {
  return (await now.applyAsync([], { countdown })).id;
});

export const again = app.task("late.again", { bind: true }, (self, countdown: number) => self.retry({ countdown }));
