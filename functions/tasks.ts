import { crontab, Lovage } from "lovage";

export const app = new Lovage("tasks", {
  timezone: "Asia/Shanghai",
  taskQueues: { celery: {}, media: { timeLimit: 600, memorySize: 2048 } },
  taskRoutes: { "media.*": { queue: "media" } },
  beatSchedule: {
    "every-30-seconds": { task: "tasks.multiply", schedule: 30, args: [4, 3] },
    "every-morning": { task: "tasks.multiply", schedule: crontab({ hour: 9, minute: 10 }), args: [5, 6] },
  },
});

export const add = app.task("tasks.add", (x: number, y: number) => x + y);

export const multiply = app.task("tasks.multiply", (x: number, y: number) => x * y);

export const div = app.task("tasks.div", (x: number, y: number) => {
  if (y === 0) throw new RangeError("division by zero");
  return x / y;
});

/** Fails so many times, as a network does, and asks to be run again. */
export const unsteady = app.task("tasks.unsteady", { bind: true, maxRetries: 3 }, (self, failures: number) => {
  const { retries } = self.request;
  if (retries < failures) self.retry({ countdown: 1, exc: new Error(`attempt ${retries + 1} found nobody there`) });
  return `done by attempt ${retries + 1}`;
});
