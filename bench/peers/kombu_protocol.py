"""What kombu's SQS transport does with a message, timed: `kombu_protocol.py`, then a line of JSON for each line it is sent."""
import json
import sys
import time
from base64 import b64decode, b64encode

from celery import Celery
from kombu import Connection
from kombu.serialization import dumps
from kombu.transport.virtual import Message
from kombu.utils.json import dumps as json_dumps
from kombu.utils.json import loads as json_loads

app = Celery("bench", broker="memory://")
channel = Connection("memory://").channel()
size = int(sys.argv[1])
ID = "3a7e4f9e-7e0b-4c5e-8f45-0f7bb4b7f001"
task = app.amqp.as_task_v2(ID, "bench.echo", args=("x" * size, 3), kwargs={})


def encode():
    content_type, content_encoding, body = dumps(task.body, serializer="json")
    message = channel.prepare_message(
        body, 0, content_type, content_encoding, dict(task.headers), dict(task.properties)
    )
    # As `basic_publish` does it, with SQS's encoding.
    message["body"], encoding = channel.encode_body(message["body"], "base64")
    message["properties"].update(
        body_encoding=encoding, delivery_info={"exchange": "", "routing_key": "celery"}, delivery_tag=ID
    )
    return b64encode(json_dumps(message).encode()).decode()


def decode(text):
    payload = json_loads(b64decode(text))
    message = Message(payload, channel=channel)
    args, kwargs, embed = message.decode()
    return args, message.headers["id"]


def timed(run, seconds=0.4):
    for _ in range(1000):
        run()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(100):
            run()
        count += 100
    return (time.perf_counter() - start) / count * 1e6


text = encode()
args, found = decode(text)
print(json.dumps({"event": "ready", "text": text, "right": found == ID and args == ["x" * size, 3]}), flush=True)
for _ in sys.stdin:
    print(json.dumps({"event": "round", "encode": timed(encode), "decode": timed(lambda: decode(text))}), flush=True)
