/** In a file of its own: a process loads the app's module once, and with it the broker that is set then. */
import { startWorker } from "lovage/worker";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { lovage, place } from "./run.ts";

afterEach(() => void vi.unstubAllEnvs());

test("what waits for a limit is listed, with what for and until when", async () => {
  const { app } = place();
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  vi.stubEnv("RUNS", "/dev/null");
  expect(await lovage("inspect", "waiting")).toContain("No task waits for a limit.");
  const push = app.task("cli.push", { rateLimit: "1/h" }, (n: number) => n);
  const worker = await startWorker(app);
  onTestFinished(() => worker.stop());
  await push.delay(1);
  await push.delay(2);
  const waiting = () => app.control.inspect().waiting();
  await vi.waitUntil(async () => (await waiting()).length > 0, { timeout: 60_000 });
  const [{ id: which, until }] = JSON.parse(await lovage("inspect", "waiting", "--json"));
  expect(new Date(until).getTime()).toBeGreaterThan(Date.now());
  expect(await lovage("inspect", "waiting")).toMatch(new RegExp(`cli.push +${which} +celery +rateLimit +\\d{4}-`));
  expect(await lovage("tasks")).toMatch(/PENDING +cli\.push.*waits for its rateLimit until \d{4}-/);
});
