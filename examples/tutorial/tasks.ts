/** The app and its tasks. `lovage worker -A ./tasks.ts -l info` runs them; whoever imports this module can send them. */
import { Lovage, Task } from "lovage";
import * as config from "./config.ts";

export const app = new Lovage("tasks").configFromObject(config);

/** A class of tasks with hooks. */
class Reporting extends Task {
  override onSuccess(retval: unknown, taskId: string): void {
    console.log(`onSuccess of ${this.name}[${taskId}]: it gave ${JSON.stringify(retval)}`);
  }
  override onFailure(exc: unknown, taskId: string): void {
    console.log(`onFailure of ${this.name}[${taskId}]: it threw ${String(exc)}`);
  }
}

/** These two are routed to queues of their own by the settings. */
export const add = app.task("tasks.add", (x: number, y: number) => x + y);
export const multiply = app.task("tasks.multiply", (x: number, y: number) => x * y);

export const div = app.task("tasks.div", { base: Reporting }, (x: number, y: number) => {
  if (y === 0) throw new RangeError("division by zero");
  return x / y;
});

/** A bound task finds its own message in `self.request`. */
export const greet = app.task("tasks.greet", { bind: true }, (self, name: string) => {
  return `Hello ${name}, says ${self.request.hostname}; my arguments were ${JSON.stringify(self.request.args)}`;
});

/** Fails so many times, as a network does, and asks to be run again. */
export const unsteady = app.task("tasks.unsteady", { bind: true, maxRetries: 3 }, (self, failures: number) => {
  const { retries } = self.request;
  if (retries < failures) self.retry({ countdown: 1, exc: new Error(`attempt ${retries + 1} found nobody there`) });
  return `done by attempt ${retries + 1}`;
});
