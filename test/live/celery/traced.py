"""A traced Celery app: it sends in the trace of its caller, and its worker runs what it is given in the trace that it comes with."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "python"))
from answering import serve
from celery import Celery
from celery.contrib.testing.worker import start_worker
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()

app = Celery("traced", broker="memory://", backend="cache+memory://")
app.conf.task_default_queue = "in"


@app.task(name="ts.add")
def add(x, y):
    raise NotImplementedError("it runs elsewhere")


@app.task(name="py.double")
def double(x):
    return x * 2


def spans():
    return [
        {
            "name": span.name,
            "trace": f"{span.context.trace_id:032x}",
            "span": f"{span.context.span_id:016x}",
            "parent": span.parent and f"{span.parent.span_id:016x}",
        }
        for span in exporter.get_finished_spans()
    ]


def answer(question):
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        if "message" in question:
            message = json.loads(question["message"])
            # Where a message comes from SQS, kombu puts the receipt there.
            message["properties"]["delivery_tag"] = message["headers"]["id"]
            channel._put("in", message)
            return None
        if "spans" in question:
            return spans()
        with trace.get_tracer("caller").start_as_current_span("caller"):
            add.apply_async(question["args"], queue="out")
        return json.dumps(channel._get("out"))


with start_worker(app, pool="solo", perform_ping_check=False, queues=["in"], shutdown_timeout=20):
    serve(answer)
