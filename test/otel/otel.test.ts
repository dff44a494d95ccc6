import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { chain, Lovage } from "lovage";
import { instrument } from "lovage/otel";
import { testApp } from "lovage/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

const exporter = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
});
afterAll(() => {
  context.disable();
  propagation.disable();
});
beforeEach(() => exporter.reset());

const spans = () =>
  exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    kind: span.kind,
    trace: span.spanContext().traceId,
    id: span.spanContext().spanId,
    parent: span.parentSpanContext?.spanId,
    attributes: span.attributes,
    status: span.status,
    events: span.events,
    links: span.links,
  }));
const named = (name: string) => spans().filter((span) => span.name === name);

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

/** What `add.delay(1, 2)` sends in Python where `CeleryInstrumentor` is on: it injects into the headers of the message, beside Celery's own. */
const fromPython = (id: string) =>
  JSON.stringify({
    body: Buffer.from(
      JSON.stringify([[1, 2], {}, { callbacks: null, errbacks: null, chain: null, chord: null }]),
    ).toString("base64"),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: {
      lang: "py",
      task: "tasks.add",
      id,
      root_id: id,
      parent_id: null,
      group: null,
      retries: 0,
      eta: null,
      expires: null,
      timelimit: [null, null],
      argsrepr: "(1, 2)",
      kwargsrepr: "{}",
      origin: "gen1@python",
      traceparent: `00-${TRACE}-${PARENT}-01`,
      tracestate: "vendor=1",
    },
    properties: {
      correlation_id: id,
      reply_to: "r",
      delivery_mode: 2,
      delivery_tag: "t",
      priority: 0,
      body_encoding: "base64",
      delivery_info: { exchange: "", routing_key: "celery" },
    },
  });

test("one trace goes from Python's headers through a task here to the headers that Python reads", async () => {
  const app = new Lovage("tasks");
  let within: string | undefined;
  app.task("tasks.add", async (x: number, y: number) => {
    await Promise.resolve();
    within = trace.getActiveSpan()?.spanContext().spanId;
    await app.sendTask("python.next", [x + y], { queue: "python" });
  });
  instrument(app, { tracerProvider });
  await using t = testApp(app, { queues: ["celery"] });
  await t.put(fromPython("p-1"));
  await t.drain();

  const [run] = named("process tasks.add");
  expect(run).toMatchObject({
    kind: SpanKind.CONSUMER,
    trace: TRACE,
    parent: PARENT,
    status: { code: SpanStatusCode.UNSET },
    attributes: {
      "messaging.system": "memory",
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.destination.name": "celery",
      "messaging.message.id": "p-1",
      "messaging.message.conversation_id": "p-1",
      "celery.task_name": "tasks.add",
      "celery.action": "run",
      "celery.state": "SUCCESS",
    },
  });
  expect(within).toBe(run?.id);
  const [sent] = named("send python.next");
  expect(sent).toMatchObject({ kind: SpanKind.PRODUCER, trace: TRACE, parent: run?.id });
  const broker = await app.engine.broker();
  const [delivery] = await broker.receive("python", { max: 1, wait: 0, visibility: 1000 });
  const { headers } = JSON.parse(delivery?.body ?? "") as { headers: Record<string, unknown> };
  // Python's instrumentation asks the request for these by name, and Celery lays all headers over the request.
  expect(headers["traceparent"]).toBe(`00-${TRACE}-${sent?.id}-01`);
  expect(headers["tracestate"]).toBe("vendor=1");
});

test("what follows from a task, and its retries, hang below its run", async () => {
  const app = new Lovage("shop");
  const one = app.task("shop.one", { bind: true }, (self) => {
    if (self.request.retries === 0) self.retry({ countdown: 0 });
    return 1;
  });
  const two = app.task("shop.two", (n: number) => n);
  instrument(app, { tracerProvider });
  await using t = testApp(app);
  await chain(one.s(), two.s()).delay();
  await t.drain();
  const [first, second] = named("process shop.one");
  const [sent, again] = named("send shop.one");
  expect([first?.parent, again?.parent, second?.parent]).toEqual([sent?.id, first?.id, again?.id]);
  expect(first?.attributes).toMatchObject({ "celery.state": "RETRY", "celery.retry.reason": expect.any(String) });
  expect(second?.attributes["celery.retries"]).toBe(1);
  expect(named("process shop.two")[0]?.parent).toBe(named("send shop.two")[0]?.id);
  expect(named("send shop.two")[0]?.parent).toBe(second?.id);
  expect(new Set(spans().map((span) => span.trace)).size).toBe(1);
});

test("a failure is an error of its span, and one that the task declares is none; an eager run has a span too", async () => {
  const app = new Lovage("shop");
  class Declined extends Error {}
  const fail = app.task("shop.fail", { throws: [Declined] }, (expected: boolean) => {
    throw expected ? new Declined("no money") : new RangeError("too far");
  });
  instrument(app, { tracerProvider });
  await using t = testApp(app);
  await fail.delay(false);
  await fail.delay(true);
  await t.drain();
  await fail.apply([false]);
  const [failed, declined, eager] = named("process shop.fail");
  const error = { code: SpanStatusCode.ERROR, message: "too far" };
  expect(failed).toMatchObject({
    status: error,
    attributes: { "error.type": "RangeError", "celery.state": "FAILURE" },
  });
  expect(failed?.events.map(({ name }) => name)).toEqual(["exception"]);
  expect(declined).toMatchObject({ status: { code: SpanStatusCode.UNSET }, attributes: { "celery.state": "FAILURE" } });
  expect(eager).toMatchObject({ status: error });
});

test("messages are counted and timed as the conventions have it, until it is taken away", async () => {
  const reader = new PeriodicExportingMetricReader({
    exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
    exportIntervalMillis: 2 ** 30,
  });
  const meterProvider = new MeterProvider({ readers: [reader] });
  const app = new Lovage("shop");
  const add = app.task("shop.add", (n: number) => n);
  const stop = instrument(app, { tracerProvider, meterProvider });
  await using t = testApp(app);
  await add.delay(1);
  await add.delay(2);
  await t.drain();
  stop();
  await add.delay(3);
  await t.drain();
  const { resourceMetrics } = await reader.collect();
  const points = resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
    metrics.map(({ descriptor, dataPoints }) => {
      const value = dataPoints[0]?.value as number | { count: number };
      return [
        descriptor.name,
        typeof value === "number" ? value : value.count,
        dataPoints[0]?.attributes["celery.task_name"],
      ];
    }),
  );
  expect(points.sort()).toEqual([
    ["messaging.client.consumed.messages", 2, "shop.add"],
    ["messaging.client.operation.duration", 2, "shop.add"],
    ["messaging.client.sent.messages", 2, "shop.add"],
    ["messaging.process.duration", 2, "shop.add"],
  ]);
  expect(named("process shop.add")).toHaveLength(2);
  await meterProvider.shutdown();
});

test("the invocation that a message of another trace is taken up in is linked", async () => {
  const app = new Lovage("tasks");
  app.task("tasks.add", (x: number, y: number) => x + y);
  instrument(app, { tracerProvider });
  await using t = testApp(app);
  await t.put(fromPython("p-2"));
  const invocation = tracerProvider.getTracer("lambda").startSpan("invocation");
  await context.with(trace.setSpan(context.active(), invocation), () => t.drain());
  expect(named("process tasks.add")).toMatchObject([
    { parent: PARENT, links: [{ context: { spanId: invocation.spanContext().spanId } }] },
  ]);
});

test("the function of a batch runs in a span with links to the senders of its calls, and what it sends is below that", async () => {
  const app = new Lovage("tasks");
  let within: string | undefined;
  const index = app.batchTask("tasks.index", { size: 2, wait: 5 }, async (calls) => {
    await Promise.resolve();
    within = trace.getActiveSpan()?.spanContext().spanId;
    await app.sendTask("python.next", [], { queue: "python" });
    if (calls.length === 1) throw new TypeError("alone");
    return calls.map(() => 1);
  });
  instrument(app, { tracerProvider });
  await using t = testApp(app, { queues: ["celery"] });
  for (let n = 0; n < 2; n++) await index.delay();
  await t.drain();

  const [batch] = named("process batch tasks.index");
  const sent = named("send tasks.index");
  expect(batch).toMatchObject({
    kind: SpanKind.CONSUMER,
    parent: undefined,
    status: { code: SpanStatusCode.UNSET },
    attributes: {
      "messaging.operation.name": "process",
      "messaging.destination.name": "celery",
      "messaging.batch.message_count": 2,
      "celery.task_name": "tasks.index",
    },
  });
  expect(batch?.links.map((link) => link.context.spanId)).toEqual(sent.map(({ id }) => id));
  expect([within, named("send python.next")[0]?.parent]).toEqual([batch?.id, batch?.id]);
  expect(named("process tasks.index").map(({ parent }) => parent)).toEqual(sent.map(({ id }) => id));

  await index.delay();
  await t.advance(5_000);
  expect(named("process batch tasks.index")[1]).toMatchObject({
    status: { code: SpanStatusCode.ERROR, message: "alone" },
    attributes: { "messaging.batch.message_count": 1, "error.type": "TypeError" },
  });
});
