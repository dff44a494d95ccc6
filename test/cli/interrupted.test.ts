/** What of a long command is done when Ctrl-C ends it. In a file of its own: the module of the app keeps the first URL that it is given. */
import { startWorker } from "lovage/worker";
import { expect, onTestFinished, test, vi } from "vitest";
import { lovage, place } from "./run.ts";

test("Ctrl-C ends a retry of all behind the tasks in hand, and it is said how many were sent", async () => {
  const { exitCode } = process;
  onTestFinished(() => {
    process.exitCode = exitCode;
    vi.unstubAllEnvs();
  });
  const { app } = place();
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  vi.stubEnv("RUNS", "/dev/null");
  app.task("cli.fail", () => {
    throw new RangeError("too far");
  });
  const results = await Promise.all(Array.from({ length: 150 }, () => app.sendTask("cli.fail")));
  const worker = await startWorker(app);
  for (const result of results) await result.get({ propagate: false, timeout: 60 });
  await worker.stop();
  const press = (event: string | symbol, listener: () => void) => {
    if (event === "SIGINT") queueMicrotask(listener);
  };
  process.on("newListener", press);
  onTestFinished(() => void process.off("newListener", press));
  expect(await lovage("retry", "--failed", "--yes")).toMatch(/Sent again: 100 tasks\.$/);
  expect(process.exitCode).toBe(130);
  expect(await lovage("retry", "--failed", "--dry-run")).toContain("Would run again: 50 tasks.");
});
