/** The TypeScript half of the fleet: the same tasks as in proj.py, under `ts.`. */
import { randomBytes } from "node:crypto";
import { type ConfigInput, Ignore, Lovage, type SignatureLike } from "lovage";

/** An error of the app's own. */
class Refused extends Error {
  override readonly name = "Refused";
}

/** Ids of the tasks that ran, in order, for tests that count. */
export type Ran = { readonly task: string; readonly id: string };

export function createApp(config: ConfigInput, ran: Ran[] = [], told: string[] = []): Lovage {
  const app = new Lovage("proj", config);
  app.on("taskPrerun", ({ task, taskId }) => void ran.push({ task, id: taskId }));

  app.task("ts.add", { params: ["x", "y"] }, (x: number, y: number) => x + y);
  app.task("ts.total", (numbers: number[]) => numbers.reduce((sum, n) => sum + n, 0));
  app.task("ts.make", (length: number) => randomBytes((length * 3) / 4).toString("base64"));
  app.task("ts.echo", { bind: true }, (self, ...args: unknown[]) => ({ args, kwargs: self.request.kwargs }));
  app.task("ts.fail", { params: ["message", "code"] }, (message: string) => {
    throw new Refused(message, { cause: new TypeError("the cause") });
  });
  app.task("ts.again", { bind: true }, (self, times: number, countdown?: number) => {
    if (self.request.retries < times) self.retry({ countdown: countdown ?? 0, maxRetries: 5 });
    return [self.request.retries, self.request.headers, self.request.stamps];
  });
  app.task("ts.over", { bind: true, maxRetries: 1 }, (self) => {
    self.retry({ exc: new RangeError(`still ${self.request.retries}`), countdown: 0 });
  });
  app.task("ts.nested", async (name: string, ...args: unknown[]) => (await app.sendTask(name, args)).id);
  app.task("ts.become", { bind: true }, (self, signature: SignatureLike) => {
    self.replace(signature);
  });
  app.task("ts.progress", { bind: true }, async (self, done: number) => {
    await self.updateState({ state: "PROGRESS", meta: { done } });
    throw new Ignore("stays as it is");
  });
  app.task("ts.relay", async (name: string, ...args: unknown[]) =>
    // It waits for a worker of Python, which takes none of this one's places.
    (await app.sendTask(name, args)).get({ timeout: 60, disableSyncSubtasks: false }),
  );
  app.task("ts.told", { params: ["failed", "marker"] }, (_failed: string, marker: string) => void told.push(marker));
  app.task("ts.note", (...args: unknown[]) => args);
  return app;
}
