/** `lovage worker --health`: whether it lives, whether it fetches, and what Prometheus reads. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ImproperlyConfigured, Lovage } from "lovage";
import { expect, onTestFinished, test, vi } from "vitest";
import { startHealth } from "../../src/cli/health.ts";
import { parseAddress } from "../../src/cli/options.ts";
import { startPoller } from "../../src/workers/poll.ts";
import { place } from "./run.ts";

const ask = async (base: string, path: string, init?: RequestInit) => {
  const response = await fetch(`${base}${path}`, init);
  return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
};
/** A number that Prometheus reads, by the beginning of its line. */
const numberOf = (text: string, series: string) =>
  Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length),
  );

test("a worker tells how it is and what it has done, and one that is shut down by app.control exits 0", async () => {
  const { app, worker } = place();
  const { says, exited } = await worker(["--health", "0", "-c", "2", "-n", "one"]);
  const [, base = ""] = await says(/Health at (http:\/\/127\.0\.0\.1:\d+)\/healthz/);
  expect(await ask(base, "/healthz")).toMatchObject({ status: 200, body: "alive\n" });
  expect(await ask(base, "/readyz")).toMatchObject({ status: 200, body: "ready\n" });
  expect(await ask(base, "/nowhere")).toMatchObject({ status: 404 });
  expect(await ask(base, "/readyz", { method: "POST" })).toMatchObject({ status: 405 });

  expect(await (await app.sendTask("cli.add", [1, 2])).get({ timeout: 60 })).toBe(3);
  await expect((await app.sendTask("cli.fail")).get({ timeout: 60 })).rejects.toThrow("too far");
  const expired = await app.sendTask("cli.add", [1, 2], { expires: new Date(0) });
  await expect(expired.get({ timeout: 60 })).rejects.toThrow("expired");
  await expect((await app.sendTask("cli.nobody")).get({ timeout: 1 })).rejects.toThrow();
  await app.sendTask("cli.nap", [7]);
  const metrics = async () => (await ask(base, "/metrics")).body;
  await vi.waitUntil(async () => numberOf(await metrics(), "lovage_tasks_running") === 1, { timeout: 60_000 });
  const text = await metrics();
  const of = (series: string) => numberOf(text, series);
  expect(of('lovage_tasks_ended_total{task="cli.add",queue="celery",state="SUCCESS"}')).toBe(1);
  expect(of('lovage_tasks_ended_total{task="cli.fail",queue="celery",state="FAILURE"}')).toBe(1);
  expect(of('lovage_tasks_started_total{task="cli.nap",queue="celery"}')).toBe(1);
  // What ends without a run has not started.
  expect(of('lovage_tasks_ended_total{task="cli.add",queue="celery",state="REVOKED"}')).toBe(1);
  expect(of('lovage_tasks_started_total{task="cli.add",queue="celery"}')).toBe(1);
  expect(of('lovage_messages_received_total{queue="celery"}')).toBeGreaterThanOrEqual(4);
  expect(of('lovage_task_runtime_seconds_count{task="cli.add",queue="celery"}')).toBe(1);
  expect(of('lovage_task_waiting_seconds_count{task="cli.add",queue="celery"}')).toBe(1);
  expect(of('lovage_queue_messages{queue="media",state="ready"}')).toBe(0);
  expect(of('lovage_queue_paused{queue="media"}')).toBe(0);
  expect(of("lovage_worker_concurrency")).toBe(2);
  expect(of("lovage_worker_ready")).toBe(1);
  expect(of("process_cpu_seconds_total")).toBeGreaterThan(0);

  const [name = ""] = Object.keys(await app.control.inspect().ping());
  await app.control.shutdown(name);
  // What runs goes on, and nothing more is taken.
  await vi.waitUntil(async () => (await ask(base, "/readyz")).status === 503, { timeout: 60_000 });
  expect(await ask(base, "/readyz")).toMatchObject({ body: "stops\n" });
  expect(await ask(base, "/healthz")).toMatchObject({ status: 200 });
  expect((await exited).code).toBe(0);
});

async function inMemory() {
  const app = new Lovage("health", { brokerUrl: `memory://health-${crypto.randomUUID()}` });
  onTestFinished(() => app.close());
  const lines: string[] = [];
  const health = () => startHealth(app, { host: "127.0.0.1", port: 0 }, (_, line) => void lines.push(line));
  const baseOf = () => /http:\/\/[^/]+/.exec(lines.find((line) => line.startsWith("Health at")) ?? "")?.[0] ?? "";
  return { app, lines, health, baseOf };
}

test("it answers before the worker is ready, and is not ready while a queue cannot be read", async () => {
  const { app, health, baseOf } = await inMemory();
  const { watch } = await health();
  const base = baseOf();
  expect(await ask(base, "/readyz")).toMatchObject({ status: 503, body: "starts\n" });
  expect((await ask(base, "/metrics")).body).toMatch(/^lovage_worker_ready 0$/m);
  const broker = await app.engine.broker();
  const { receive } = broker;
  let isDown = true;
  const { OperationalError } = await import("lovage");
  broker.receive = (...of) =>
    isDown ? Promise.reject(new OperationalError("no route to host", { retryable: true })) : receive(...of);
  const worker = await startPoller(app, { concurrency: 1 });
  onTestFinished(() => worker.stop());
  watch(worker);
  const ready = () => ask(base, "/readyz");
  await vi.waitUntil(async () => (await ready()).status === 503, { timeout: 60_000 });
  expect((await ready()).body).toContain("the queue celery cannot be read: OperationalError: no route to host");
  isDown = false;
  await app.engine.broker();
  await app.sendTask("nobody");
  await vi.waitUntil(async () => (await ready()).status === 200, { timeout: 60_000 });
});

test("sizes that cannot be had are left out, and told of once", async () => {
  const { app, lines, health, baseOf } = await inMemory();
  await health();
  (await app.engine.broker()).queues = () => Promise.reject(new Error("denied"));
  const { status, body } = await ask(baseOf(), "/metrics");
  expect(status).toBe(200);
  expect(body).not.toMatch(/^lovage_queue_messages\{/m);
  await ask(baseOf(), "/metrics");
  expect(lines.filter((line) => line.includes("denied"))).toHaveLength(1);
});

test("what a message can name has labels up to a bound", async () => {
  const { app, health, baseOf } = await inMemory();
  await health();
  await Promise.all(Array.from({ length: 130 }, (_, n) => app.sendTask("nobody", [], { queue: `q${n}` })));
  const { body } = await ask(baseOf(), "/metrics");
  const ready = body.split("\n").filter((line) => /^lovage_queue_messages\{.*state="ready"/.test(line));
  // The declared one, a hundred others, and the rest together.
  expect(ready).toHaveLength(102);
  expect(numberOf(body, 'lovage_queue_messages{queue="celery",state="ready"}')).toBe(0);
  expect(numberOf(body, 'lovage_queue_messages{queue="unknown",state="ready"}')).toBe(30);
});

test("without prom-client there is no /metrics, and it is said what brings it", async () => {
  vi.doMock("prom-client", () => {
    throw new Error("Cannot find package 'prom-client'");
  });
  onTestFinished(() => void vi.doUnmock("prom-client"));
  const { lines, health, baseOf } = await inMemory();
  await health();
  expect(await ask(baseOf(), "/metrics")).toMatchObject({
    status: 501,
    body: expect.stringMatching(/npm install prom-client/),
  });
  expect(await ask(baseOf(), "/healthz")).toMatchObject({ status: 200 });
  expect(lines.join("\n")).toContain("npm install prom-client");
});

test("a port that is taken is an error that names it", async () => {
  const server = createServer();
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  onTestFinished(() => void server.close());
  const { app } = await inMemory();
  const { port } = server.address() as AddressInfo;
  const starting = startHealth(app, { host: "127.0.0.1", port }, () => {});
  await expect(starting).rejects.toThrow(ImproperlyConfigured);
  await expect(starting).rejects.toThrow(`--health: cannot listen on 127.0.0.1:${port}`);
});

test.each([
  ["9808", { host: "127.0.0.1", port: 9808 }],
  ["0.0.0.0:80", { host: "0.0.0.0", port: 80 }],
  ["[::]:80", { host: "::", port: 80 }],
])("%s is where it listens", (given, address) => {
  expect(parseAddress(given)).toEqual(address);
});

test.each(["", "x", "127.0.0.1", "127.0.0.1:", "1:2:3", "99999", "-1", "::1:80"])("%j is no address", (given) => {
  expect(() => parseAddress(given)).toThrow("It must be a port, or host:port");
});
