/** The example service: by requests in this process, as a Lambda function, and as the processes its README starts. */
import { randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { build as bundle } from "esbuild";
import { OperationalError } from "lovage";
import { hostileBroker, type TestOptions, testApp } from "lovage/testing";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createService } from "../../examples/api/service.ts";
import { app, build } from "../../examples/api/tasks.ts";
import { place } from "../cli/run.ts";

const root = resolve(import.meta.dirname, "../..");
const example = join(root, "examples/api");
const order = { customer: "Ann", lines: [{ item: "bolt", price: 2, count: 3 }] };
const post = (body: unknown, headers: Record<string, string> = {}) => ({
  method: "POST",
  headers,
  body: typeof body === "string" ? body : JSON.stringify(body),
});

describe("requests", () => {
  function start(options: TestOptions = {}) {
    const t = testApp(app, options);
    onTestFinished(() => t.close());
    return { t, service: createService(app, { build }) };
  }

  test("an order is accepted with 202 and the place where its state stands, and a worker does it", async () => {
    const { t, service } = start();
    const accepted = await service.request("/reports", post(order));
    const { id } = (await accepted.json()) as { id: string };
    expect(accepted.status).toBe(202);
    const location = accepted.headers.get("Location") ?? "";
    expect(location).toBe(`/tasks/${id}`);
    expect(await (await service.request(location)).json()).toEqual({ id, state: "PENDING" });
    expect(await t.drain()).toMatchObject([{ task: "reports.build", id, queue: "reports" }]);
    expect(await (await service.request(location)).json()).toEqual({
      id,
      state: "SUCCESS",
      result: { pages: ["── Ann, page 1 ──\nbolt"], total: 6 },
    });
  });

  test("what a task has written is pushed to whoever asks, and its result at the end", async () => {
    const { t, service } = start();
    const accepted = await service.request("/reports", post(order));
    await t.drain();
    const events = await service.request(`${accepted.headers.get("Location")}/events`);
    expect(events.headers.get("content-type")).toContain("text/event-stream");
    expect(await events.text()).toMatch(/event: chunk\ndata: {"page":1,"pages":1}[\s\S]*event: result\ndata: {"pages"/);
  });

  test("a task that failed is served with its error", async () => {
    const { t, service } = start();
    const accepted = await service.request("/reports", post({ ...order, customer: "nobody" }));
    await t.drain();
    const response = await service.request(accepted.headers.get("Location") ?? "");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      state: "FAILURE",
      error: { name: "RangeError", message: expect.stringContaining("no address") },
    });
  });

  test("a deleted task does not run", async () => {
    const { t, service } = start();
    const location = (await service.request("/reports", post(order))).headers.get("Location") ?? "";
    expect((await service.request(location, { method: "DELETE" })).status).toBe(202);
    await t.drain();
    expect(await (await service.request(location)).json()).toMatchObject({
      state: "REVOKED",
      error: { name: "TaskRevokedError" },
    });
  });

  test("an order that is sent twice under one key runs once", async () => {
    const { t, service } = start();
    const key = { "Idempotency-Key": crypto.randomUUID() };
    const first = await service.request("/reports", post(order, key));
    const second = await service.request("/reports", post(order, key));
    expect(second.headers.get("Location")).toBe(first.headers.get("Location"));
    expect(await t.drain()).toHaveLength(1);
  });

  test.each([
    ["no JSON", "{", 400, { error: "the body is not JSON" }],
    ["a field that is missing", { customer: "Ann" }, 400, { issues: [{ path: "lines" }] }],
    [
      "a value out of range",
      { ...order, lines: [{ item: "bolt", price: 2, count: -3 }] },
      400,
      { issues: [{ path: "lines.0.count" }] },
    ],
    [
      "more than a message takes",
      { ...order, lines: [{ item: randomBytes(2 ** 20).toString("hex"), price: 0, count: 1 }] },
      413,
      {},
    ],
  ])("%s is refused and nothing is sent", async (_, body, status, answer) => {
    const { t, service } = start();
    const response = await service.request("/reports", post(body));
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject(answer);
    expect(await t.drain()).toEqual([]);
  });

  test("a key that is no UUID is refused", async () => {
    const { service } = start();
    expect((await service.request("/reports", post(order, { "Idempotency-Key": "1" }))).status).toBe(400);
  });

  test("a broker that is busy is 503, and says when to come back", async () => {
    const throttled = { duplicate: 0, delay: 0, throttle: 1, loseReply: 0, loseDelete: 0, stale: 0 };
    const errors = vi.spyOn(console, "error").mockReturnValue();
    const { service } = start({
      config: { taskPublishRetry: false },
      broker: (broker) => hostileBroker(broker, 1, throttled),
    });
    const response = await service.request("/reports", post(order));
    expect([response.status, response.headers.get("Retry-After")]).toEqual([503, "5"]);
    expect(errors).toHaveBeenCalledWith(expect.any(OperationalError));
    errors.mockRestore();
  });

  test("what only the owner can mend is 500, and is told to the log alone", async () => {
    const denied = new OperationalError("access to the queue was denied", { retryable: false });
    const errors = vi.spyOn(console, "error").mockReturnValue();
    const { service } = start({
      broker: (broker) => ({ ...broker, send: async (entries) => entries.map(() => denied) }),
    });
    const response = await service.request("/reports", post(order));
    expect([response.status, response.headers.get("Retry-After")]).toEqual([500, null]);
    expect(await response.text()).not.toContain("denied");
    expect(errors).toHaveBeenCalledWith(denied);
    errors.mockRestore();
  });

  test("what is not there is 404", async () => {
    const { service } = start();
    expect((await service.request("/nothing")).status).toBe(404);
  });
});

/** An event as a function URL makes it, as far as the service looks at it. */
const event = (method: string, path: string, body?: unknown) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: path,
  rawQueryString: "",
  headers: { host: "id.lambda-url.eu-west-1.on.aws", "content-type": "application/json" },
  requestContext: { http: { method, path }, domainName: "id.lambda-url.eu-west-1.on.aws" },
  ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  isBase64Encoded: false,
});

test("server, Lambda function and worker share queue and results", async () => {
  const here = place();
  const url = `sqlite:///${join(here.folder, "lovage.db")}`;
  const worker = here.start(["worker", "-A", join(example, "tasks.ts"), "-l", "info", "-c", "1"]);

  const server = spawn(process.execPath, ["--import", join(root, "scripts/source.ts"), join(example, "server.ts")], {
    cwd: here.folder,
    env: { ...process.env, LOVAGE_BROKER_URL: url, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(server, "exit");
  onTestFinished(() => void server.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: server.stdout }), "line")) as [string];
  const address = line.replace("listening on ", "");

  const accepted = await fetch(`${address}/reports`, post(order));
  expect(accepted.status).toBe(202);
  const location = accepted.headers.get("Location") ?? "";
  await worker.says(/reports\.build\[[^\]]+\] succeeded/);
  expect(await (await fetch(address + location)).json()).toMatchObject({ state: "SUCCESS", result: { total: 6 } });
  server.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);

  vi.stubEnv("LOVAGE_BROKER_URL", url);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { handler } = await import("../../examples/api/lambda.ts");
  const call = async (...request: Parameters<typeof event>) => {
    const { statusCode, body, headers } = await handler(event(...request) as never);
    return { statusCode, headers, body: JSON.parse(body) as unknown };
  };
  expect(await call("GET", location)).toMatchObject({ statusCode: 200, body: { state: "SUCCESS" } });
  const posted = await call("POST", "/reports", order);
  expect(posted).toMatchObject({ statusCode: 202, headers: { location: expect.stringMatching(/^\/tasks\//) } });
});

test("the Lambda function's bundle holds none of the workers' code, the server's would", async () => {
  const holds = async (entry: string) => {
    const { metafile } = await bundle({
      absWorkingDir: root,
      entryPoints: [entry],
      bundle: true,
      write: false,
      metafile: true,
      platform: "node",
      format: "esm",
      packages: "external",
      outfile: "out.js",
    });
    return Object.keys(metafile.inputs);
  };
  expect(await holds("examples/api/lambda.ts")).not.toContain("examples/api/pages.ts");
  expect(await holds("examples/api/server.ts")).toContain("examples/api/pages.ts");
});
