/** `lovage/otel`: spans and metrics of OpenTelemetry for what an app sends and runs. */
export {} from "../oldest-node.ts";
import {
  type Attributes,
  context,
  type Context,
  metrics,
  type MeterProvider,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapPropagator,
  trace,
  type TracerProvider,
} from "@opentelemetry/api";
import type { Lovage } from "../app.ts";
import type { RanTask } from "../around.ts";
import { checkApp } from "../check-app.ts";
import { errorMessage } from "../protocol/exceptions.ts";

/** What is instrumented, and with what. */
export interface InstrumentOptions {
  /** Default: the one that the SDK has registered. */
  readonly tracerProvider?: TracerProvider | undefined;
  /** Default: the one that the SDK has registered. */
  readonly meterProvider?: MeterProvider | undefined;
  /** How a trace travels in a message's headers. Default: the SDK's, which is W3C's: `traceparent`, `tracestate`, `baggage`. */
  readonly propagator?: TextMapPropagator | undefined;
}

const NAME = "lovage";

/**
 * Makes a span for each message that the app sends (`send shop.add`, a producer) and one for each run of a task
 * (`process shop.add`, a consumer), in one trace: its context travels in the message's headers, where Python's
 * `opentelemetry-instrumentation-celery` reads and writes it too. The span of a run is active while the task's code runs, and until
 * what follows from it is sent. The function of a batch has one too (`process batch shop.add`), with links to the senders of its calls.
 * Attributes and metrics are those of OpenTelemetry's conventions for messaging, beside
 * `celery.*` as Python has them.
 *
 * Without an SDK that was registered before, or providers given here, it does next to nothing. Returns the function that
 * takes it away again.
 */
export function instrument(app: Lovage, options: InstrumentOptions = {}): () => void {
  checkApp(app);
  const tracer = (options.tracerProvider ?? trace.getTracerProvider()).getTracer(NAME);
  const meter = (options.meterProvider ?? metrics.getMeterProvider()).getMeter(NAME);
  const { propagator = propagation } = options;
  const unit = "{message}";
  const sent = meter.createCounter("messaging.client.sent.messages", { unit });
  const consumed = meter.createCounter("messaging.client.consumed.messages", { unit });
  const sending = meter.createHistogram("messaging.client.operation.duration", { unit: "s" });
  const processing = meter.createHistogram("messaging.process.duration", { unit: "s" });

  const factsOf = (operation: "send" | "process", task: string, queue: string): Attributes => ({
    "messaging.system": systemOf(app.config.brokerUrl),
    "messaging.operation.name": operation,
    "messaging.destination.name": queue,
    "celery.task_name": task,
  });

  return app.around({
    async send({ message, queue, headers }, next) {
      const facts = factsOf("send", message.task, queue);
      const span = tracer.startSpan(`send ${message.task}`, {
        kind: SpanKind.PRODUCER,
        attributes: {
          ...facts,
          "messaging.operation.type": "send",
          "messaging.message.id": message.id,
          "messaging.message.conversation_id": message.rootId ?? message.id,
          "celery.action": "apply_async",
        },
      });
      const within = trace.setSpan(context.active(), span);
      propagator.inject(within, headers, setter);
      const began = performance.now();
      let failed: Attributes = {};
      try {
        await context.with(within, next);
      } catch (error) {
        failed = fail(span, error);
        throw error;
      } finally {
        span.end();
        sent.add(1, { ...facts, ...failed });
        sending.record((performance.now() - began) / 1000, { ...facts, ...failed });
      }
    },

    async run({ request }, next) {
      const { task, queue } = request;
      const facts = factsOf("process", task, queue);
      const around = context.active();
      const parent = propagator.extract(around, request.headers, getter);
      const span = tracer.startSpan(
        `process ${task}`,
        {
          kind: SpanKind.CONSUMER,
          attributes: {
            ...facts,
            "messaging.operation.type": "process",
            "messaging.message.id": request.id,
            "messaging.message.conversation_id": request.rootId,
            "celery.action": "run",
            "celery.hostname": request.hostname,
            ...(request.retries > 0 ? { "celery.retries": request.retries } : {}),
          },
          links: linksTo(around, parent),
        },
        parent,
      );
      const began = performance.now();
      let failed: Attributes = {};
      try {
        const ran = await context.with(trace.setSpan(parent, span), next);
        failed = tell(span, ran);
      } catch (error) {
        failed = fail(span, error);
        throw error;
      } finally {
        span.end();
        consumed.add(1, { ...facts, ...failed });
        processing.record((performance.now() - began) / 1000, { ...facts, ...failed });
      }
    },

    async batch({ requests }, next) {
      const [first] = requests;
      if (first === undefined) return;
      const { task, queue } = first;
      const span = tracer.startSpan(`process batch ${task}`, {
        kind: SpanKind.CONSUMER,
        attributes: {
          ...factsOf("process", task, queue),
          "messaging.operation.type": "process",
          "messaging.batch.message_count": requests.length,
          "celery.action": "run",
          "celery.hostname": first.hostname,
        },
        links: requests.flatMap(({ headers }) => {
          const sender = trace.getSpanContext(propagator.extract(ROOT_CONTEXT, headers, getter));
          return sender === undefined ? [] : [{ context: sender }];
        }),
      });
      try {
        await context.with(trace.setSpan(context.active(), span), next);
      } catch (error) {
        fail(span, error);
        throw error;
      } finally {
        span.end();
      }
    },
  });
}

const setter = {
  set(carrier: Record<string, unknown>, key: string, value: string) {
    carrier[key] = value;
  },
};

const getter = {
  keys: (carrier: Readonly<Record<string, unknown>>) => Object.keys(carrier),
  get(carrier: Readonly<Record<string, unknown>>, key: string) {
    const value = Object.hasOwn(carrier, key) ? carrier[key] : undefined;
    return typeof value === "string" ? value : undefined;
  },
};

/** What was active where a message of another trace is taken up, such as the invocation of a function. */
function linksTo(around: Context, parent: Context) {
  const [here, there] = [trace.getSpanContext(around), trace.getSpanContext(parent)];
  return here === undefined || here.spanId === there?.spanId ? [] : [{ context: here }];
}

/** Says how a run ended. Gives what metrics are to say of it. */
function tell(span: Span, { state, error, expected }: RanTask): Attributes {
  if (state !== undefined) span.setAttribute("celery.state", state);
  if (state === "RETRY") span.setAttribute("celery.retry.reason", errorMessage(error));
  return state === "FAILURE" && !expected ? fail(span, error) : {};
}

function fail(span: Span, error: unknown): Attributes {
  const message = errorMessage(error);
  const type = { "error.type": error instanceof Error ? error.name : "_OTHER" };
  span.setAttributes(type);
  span.recordException(error instanceof Error ? error : message);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  return type;
}

/** The conventions' name of what carries the messages: that of SQS, else the scheme. */
function systemOf(brokerUrl: string): string {
  const scheme = brokerUrl.slice(0, Math.max(0, brokerUrl.indexOf(":")));
  return scheme === "sqs" ? "aws_sqs" : scheme;
}
