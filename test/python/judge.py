"""
The judge of what is on the wire: kombu's own transport reads the text of a message, Celery's own consumer makes a request
of it; and they write messages to be read elsewhere. No broker is asked for anything.
"""
import base64
import datetime
import decimal
import json
import struct
import uuid
from types import SimpleNamespace

from answering import serve
from celery import Celery
from celery.backends.base import KeyValueStoreBackend
from celery.canvas import maybe_signature
from celery.concurrency.solo import TaskPool
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.transport.SQS import Channel


class Client:
    """Keeps what would be sent."""

    sent = None

    def send_message(self, **request):
        Client.sent = request["MessageBody"]

    def get_queue_attributes(self, **_):
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}


class Kept(KeyValueStoreBackend):
    """A table in memory, for the key/value base that DynamoDB's backend has too."""

    table = {}

    def get(self, key):
        return Kept.table.get(key)

    def set(self, key, value):
        Kept.table[key] = value


Channel.sqs = lambda self, queue=None: Client()
app = Celery("judge", broker="sqs://test:test@", set_as_current=True)
app.conf.update(
    broker_transport_options={"predefined_queues": {"celery": {"url": "http://localhost/0/celery"}}},
    task_default_queue="celery",
)
channel = app.connection().channel()
backend = Kept(app=app)
requests = []


@app.task(name="tasks.any")
def anything(*args, **kwargs):
    pass


class Timer:
    """An ETA is no matter of the judge's: what is due later is due now."""

    def call_at(self, _, fun, args, **__):
        fun(*args)

    def apply_entry(self, entry):
        entry()


consumer = Consumer(requests.append, app=app, pool=TaskPool(1), timer=Timer(), controller=SimpleNamespace(use_eventloop=False, state=state), hostname="judge@here")
consumer.qos = SimpleNamespace(increment_eventually=lambda *_: None, decrement_eventually=lambda *_: None)
consumer.event_dispatcher = app.events.Dispatcher(enabled=False)
consumer.update_strategies()
on_task_received = consumer.create_task_handler()


def canonical(value):
    """A value in JSON, as two languages can agree on it: whole numbers by their digits, others by their bits."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        if value.is_integer() and not (value == 0 and str(value) == "-0.0"):
            return {"int": str(int(value))}
        return {"float": "nan" if value != value else struct.pack(">d", value).hex()}
    if isinstance(value, (list, tuple)):
        return [canonical(each) for each in value]
    if isinstance(value, dict):
        # Sorted, for JavaScript puts keys that look like numbers first.
        return {"dict": sorted([str(key), canonical(each)] for key, each in value.items())}
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        micros = (aware - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)
        return {"datetime": str(micros)}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    if isinstance(value, datetime.time):
        return {"time": value.isoformat()}
    if isinstance(value, decimal.Decimal):
        return {"decimal": str(value)}
    if isinstance(value, uuid.UUID):
        return {"uuid": value.hex}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(f"no canonical form of {type(value)}")


def value_of(form):
    """The value that a canonical form stands for."""
    if isinstance(form, list):
        return [value_of(each) for each in form]
    if not isinstance(form, dict):
        return form
    ((kind, text),) = form.items()
    return {
        "int": lambda: int(text),
        "float": lambda: float("nan") if text == "nan" else struct.unpack(">d", bytes.fromhex(text))[0],
        "dict": lambda: {key: value_of(each) for key, each in text},
        "datetime": lambda: datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=int(text)),
        "date": lambda: datetime.date.fromisoformat(text),
        "time": lambda: datetime.time.fromisoformat(text),
        "decimal": lambda: decimal.Decimal(text),
        "uuid": lambda: uuid.UUID(text),
        "bytes": lambda: bytes.fromhex(text),
    }[kind]()


def read(question):
    """What a worker makes of a message. That it raises means that it would end the worker."""
    rejected = []
    payload = channel._message_to_python({"Body": question["text"], "ReceiptHandle": "r", "MessageId": "m"}, "celery", "http://localhost/0/celery")
    message = channel.Message(payload, channel=channel)
    message.ack_log_error = lambda *_, **__: rejected.append("acknowledged without having run")
    message.reject_log_error = lambda *_, **__: rejected.append("rejected")
    message.ack = message.ack_log_error
    requests.clear()
    on_task_received(message)
    if not requests:
        raise ValueError(f"no request came of it: {rejected}")
    (request,) = requests
    args, kwargs, embed = request._payload
    # What the pool's process gets.
    context = request._context
    for signature in [*(embed.get("callbacks") or []), *(embed.get("errbacks") or []), *(embed.get("chain") or []), embed.get("chord")]:
        clone = maybe_signature(signature, app=app)
        if clone is not None:
            clone.clone()
    headers = {key: message.headers.get(key) for key in question.get("headers", [])}
    return {
        "args": canonical(args),
        "kwargs": canonical(kwargs),
        "embed": canonical({key: embed.get(key) for key in ("callbacks", "errbacks", "chain", "chord")}),
        "id": request.id,
        "task": request.name,
        "eta": canonical(request.eta),
        "expires": canonical(request.expires),
        "time_limits": canonical(request.time_limits),
        "group": context.group,
        "group_index": context.group_index,
        "retries": context.retries,
        "root_id": context.root_id,
        "parent_id": context.parent_id,
        "stamps": canonical(context.stamps),
        "ignore_result": context.ignore_result,
        "headers": canonical(headers),
    }


def write(question):
    """The text that a Python caller puts on the queue."""
    app.conf.broker_transport_options["sqs_base64_encoding"] = question["base64"]
    channel.connection.client.transport_options = app.conf.broker_transport_options
    call = value_of(question["call"])
    app.send_task("tasks.any", call["args"], call["kwargs"], queue="celery", **call["options"])
    return Client.sent


def read_result(question):
    """What `AsyncResult` reads of a stored payload."""
    Kept.table[backend.get_key_for_task("t")] = base64.b64decode(question["payload"])
    meta = backend.get_task_meta("t", cache=False)
    result = meta["result"]
    if isinstance(result, BaseException):
        if not isinstance(result, Exception):
            raise TypeError(f"{type(result)} would end the reader")
        return {"type": type(result).__name__, "args": canonical(result.args), "status": meta["status"], "traceback": meta["traceback"]}
    return {"result": canonical(result), "status": meta["status"]}


def write_result(question):
    """What a worker stores, where nothing is stored yet."""
    Kept.table.clear()
    if "raises" in question:
        kind, args = question["raises"]
        backend.store_result("t", {"ValueError": ValueError, "KeyError": KeyError, "OSError": OSError}[kind](*value_of(args)), "FAILURE", traceback="Traceback")
    else:
        backend.store_result("t", value_of(question["value"]), "SUCCESS")
    payload = Kept.table.pop(backend.get_key_for_task("t"))
    return base64.b64encode(payload if isinstance(payload, bytes) else payload.encode()).decode()


serve(lambda question: {"read": read, "write": write, "read_result": read_result, "write_result": write_result}[question["ask"]](question))
