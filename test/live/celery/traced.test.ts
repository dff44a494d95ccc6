/** One trace, from a caller in Python through a task here to a task that Python's own worker runs. */
import { join } from "node:path";
import { context, propagation } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { Lovage } from "lovage";
import { instrument } from "lovage/otel";
import { testApp } from "lovage/testing";
import { expect, onTestFinished, test, vi } from "vitest";
import { celeryPython, startAnswering } from "../../python/python.ts";

const python = await celeryPython("traced");

interface PythonSpan {
  readonly name: string;
  readonly trace: string;
  readonly span: string;
  readonly parent: string | null;
}

test.skipIf(python === undefined)("a trace goes from Python to Lovage and back", async () => {
  const celery = startAnswering(python ?? "", join(import.meta.dirname, "traced.py"));
  onTestFinished(() => celery.stop());
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  onTestFinished(() => {
    context.disable();
    propagation.disable();
  });
  const exporter = new InMemorySpanExporter();
  const app = new Lovage("traced");
  app.task("ts.add", async (x: number, y: number) => {
    await app.sendTask("py.double", [x + y], { queue: "in" });
  });
  instrument(app, { tracerProvider: new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }) });
  await using t = testApp(app, { queues: ["celery"] });

  await t.put((await celery.ask({ args: [1, 2] })) as string);
  await t.drain();
  const [sent] = await (await app.engine.broker()).receive("in", { max: 1, wait: 0, visibility: 1000 });
  await celery.ask({ message: sent?.body });
  const told = await vi.waitUntil(
    async () => {
      const spans = (await celery.ask({ spans: true })) as readonly PythonSpan[];
      return spans.some(({ name }) => name === "run/py.double") && spans;
    },
    { timeout: 60_000, interval: 100 },
  );

  const inPython = (name: string) => told.find((span) => span.name === name);
  const here = (name: string) => {
    const found = exporter.getFinishedSpans().find((span) => span.name === name);
    const { traceId: trace, spanId: span } = found?.spanContext() ?? {};
    return { trace, span, parent: found?.parentSpanContext?.spanId };
  };
  const [caller, called, ran, back, end] = [
    inPython("caller"),
    inPython("apply_async/ts.add"),
    here("process ts.add"),
    here("send py.double"),
    inPython("run/py.double"),
  ];
  const trace = caller?.trace;
  expect(trace).toMatch(/^[0-9a-f]{32}$/);
  expect(called).toMatchObject({ trace, parent: caller?.span });
  expect(ran).toMatchObject({ trace, parent: called?.span });
  expect(back).toMatchObject({ trace, parent: ran.span });
  expect(end).toMatchObject({ trace, parent: back.span });
});
