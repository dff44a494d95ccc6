/** Short tasks for a function, and long ones for containers: to a caller they are the same. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Lovage } from "lovage";

export const app = new Lovage("studio", {
  taskQueues: { celery: {}, video: { timeLimit: 14_400, worker: "container" } },
  taskRoutes: { "video.*": { queue: "video" } },
});

export const notify = app.task("mail.notify", async (address: string, text: string) => `${address}: ${text}`);

const run = promisify(execFile);

/** Its program is `ffmpeg` in the image; the default needs nothing, so that the example runs anywhere. */
const ENCODER = process.env["ENCODER"] ?? "echo";

/** Four hours at most. `signal` aborts when the time is over, or the container has to go: the program ends with it. */
export const encode = app.task("video.encode", { bind: true }, async (self, file: string) => {
  const { stdout } = await run(ENCODER, [file], { signal: self.signal });
  return stdout.trim();
});
