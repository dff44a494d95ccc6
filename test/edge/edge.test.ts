/** A caller in workerd, the runtime of Cloudflare Workers: what its bundle holds, and what it can do from there. */
import { randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { app as reports } from "../../examples/api/tasks.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { emulator, emulatorUrl } from "../live/emulators.ts";
import { declareTasks } from "./tasks.ts";
import { type Bundle, makeProject, type Project, serve } from "./workerd.ts";

const ministack = await emulator("ministack");

let project: Project;
let caller: Bundle;
beforeAll(async () => {
  project = await makeProject("test/edge/caller.ts", "examples/api");
  caller = await project.bundle("test/edge/caller.ts");
});
afterAll(() => project.remove());

const nowhere = { BROKER_URL: "sqs://a:b@127.0.0.1:1", RESULT_BACKEND: "dynamodb://a:b@127.0.0.1:1/results" };

test("a caller's bundle needs nothing of Node and holds no worker, no command and no embedded store", () => {
  const { code, holds, imports } = caller;
  const kib = (bytes: number) => `${Math.round(bytes / 1024)} KiB`;
  console.warn(`a caller's bundle: ${kib(code.length)}, gzipped ${kib(gzipSync(code).length)}`);
  expect(imports).toEqual([]);
  expect(holds).toContain("node_modules/lovage/dist/brokers/sqs.js");
  expect(holds.filter((file) => /lovage\/dist\/(workers|cli|cdk|lambda|testing)\/|sqlite/.test(file))).toEqual([]);
  expect(holds.filter((file) => /node-http-handler|credential-provider|commander|client-scheduler/.test(file))).toEqual(
    [],
  );
});

test("the example service's bundle holds none of the workers' code", async () => {
  const { holds, imports } = await project.bundle("examples/api/edge.ts");
  expect(imports).toEqual([]);
  expect(holds).toContain("examples/api/service.ts");
  expect(holds.filter((file) => /examples\/api\/(tasks|pages)/.test(file))).toEqual([]);
});

test("an endpoint that cannot be reached is an error that passes", async () => {
  const response = await fetch(`${await serve(caller, nowhere)}/add`);
  expect(await response.json()).toMatchObject({
    name: "OperationalError",
    retryable: true,
    message: expect.stringContaining("the endpoint cannot be reached"),
  });
});

test.each([
  ["sqs://eu-west-1", /no AWS credentials were found.*the URL can carry them/],
  ["sqs://a:b@", /no AWS region is known; name it in the URL/],
])("%s, which leaves something to an environment that is not there, is refused", async (BROKER_URL, message) => {
  const response = await fetch(`${await serve(caller, { ...nowhere, BROKER_URL })}/add`);
  expect(await response.json()).toMatchObject({ message: expect.stringMatching(message) });
});

test("what needs Node is refused with what to do instead", async () => {
  const url = await serve(caller, nowhere);
  expect(await (await fetch(`${url}/embedded`)).json()).toMatchObject({
    name: "ImproperlyConfigured",
    setting: "brokerUrl",
    message: expect.stringContaining("use sqs://"),
  });
  expect(await (await fetch(`${url}/here`)).json()).toMatchObject({
    name: "ImproperlyConfigured",
    message: expect.stringContaining("send it with delay()"),
  });
  expect(await (await fetch(`${url}/schedule`)).json()).toMatchObject({
    name: "ImproperlyConfigured",
    message: expect.stringContaining("use app.beat in a task, or in a service on Node"),
  });
});

describe.skipIf(ministack === undefined)("with SQS and DynamoDB", () => {
  if (ministack === undefined) return;

  /** Queues and a table, and a worker in this process that serves them. */
  const start = async (app: Lovage, queues: readonly string[]) => {
    const name = randomUUID();
    const brokerUrl = emulatorUrl("sqs", ministack, `?queue_name_prefix=${name}-&wait_time_seconds=1`);
    const resultBackend = emulatorUrl("dynamodb", ministack, `/${name}`);
    await Promise.all([sqs.createQueues(brokerUrl, queues), dynamodb.createTable(resultBackend)]);
    app.configFromObject({ brokerUrl, resultBackend });
    const worker = await startWorker(app, { queues });
    onTestFinished(async () => {
      await worker.abort();
      await app.close();
    });
    return { BROKER_URL: brokerUrl, RESULT_BACKEND: resultBackend };
  };

  test("it sends tasks and reads what becomes of them", async () => {
    const app = new Lovage("edge");
    declareTasks(app);
    const url = await serve(caller, await start(app, ["celery"]));
    const ask = async (path: string) => (await fetch(url + path)).json();
    expect(await ask("/add")).toBe(3);
    expect(await ask("/many")).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]);
    expect(await ask("/fail")).toMatchObject({ name: "RangeError", message: "no luck" });
    expect(await ask("/revoke")).toBe("REVOKED");
    expect(await ask("/compressed")).toBe(7);
    // Requests of one isolate at the same time.
    expect(await Promise.all(Array.from({ length: 8 }, () => ask("/add")))).toEqual(Array(8).fill(3));
  });

  test("the example service runs there", async () => {
    const url = await serve(await project.bundle("examples/api/edge.ts"), await start(reports, ["reports"]));
    const order = { customer: "Ann", lines: [{ item: "bolt", price: 2, count: 3 }] };
    const accepted = await fetch(`${url}/reports`, { method: "POST", body: JSON.stringify(order) });
    expect(accepted.status).toBe(202);
    const { id } = (await accepted.json()) as { readonly id: string };
    await reports.result(id).get({ timeout: 60 });
    const served = await fetch(new URL(accepted.headers.get("Location") ?? "", url));
    expect(await served.json()).toMatchObject({ id, state: "SUCCESS", result: { total: 6 } });
    // Its progress is pushed from there too.
    const pushed = await fetch(new URL(`${accepted.headers.get("Location")}/events`, url));
    expect(pushed.headers.get("content-type")).toContain("text/event-stream");
    expect(await pushed.text()).toMatch(/event: chunk\ndata: {"page":1,"pages":1}[\s\S]*event: result\ndata: {"pages"/);
  });
});
