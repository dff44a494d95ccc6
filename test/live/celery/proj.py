"""The Python half of the fleet: an app as anybody would write it, told by the environment where its things are."""
import json
import os

import boto3
from celery import Celery, chain, chord, group
from celery.backends.dynamodb import DynamoDBBackend
from celery.exceptions import Ignore
from kombu.transport.SQS import Channel
from kombu.utils.json import loads

aws = os.environ["FLEET_AWS"]
prefix = os.environ["FLEET_PREFIX"]


# What is too large for a message or a row is in S3, and a pointer in its place.
def whole(text):
    if not text.startswith('["software.amazon.payloadoffloading'):
        return text
    at = json.loads(text)[1]
    return boto3.client("s3").get_object(Bucket=at["s3BucketName"], Key=at["s3Key"])["Body"].read().decode()


take = Channel._message_to_python
Channel._message_to_python = lambda self, message, *rest: take(self, {**message, "Body": whole(message["Body"])}, *rest)


class PlainKeys(DynamoDBBackend):
    key_t = str

    def meta_from_decoded(self, meta):
        if meta.pop("result_kept", None):
            meta["result"] = loads(whole(json.dumps(meta["result"], separators=(",", ":"))))
        return super().meta_from_decoded(meta)


backend = f"dynamodb://@{aws}/{prefix}results"
app = Celery("proj", broker=f"sqs://test:test@{aws}")
app.conf.update(
    result_backend=f"proj:PlainKeys+{backend}" if os.environ["FLEET_KEYS"] == "plain" else backend,
    # localhost and port in the URL would do; celery up to 5.4 takes an IP for a region.
    dynamodb_endpoint_url=f"http://{aws}",
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "queue_name_prefix": prefix,
        "wait_time_seconds": 1,
        "polling_interval": 0,
        "visibility_timeout": 30,
    },
    task_default_queue="python",
    task_routes={"ts.*": {"queue": "lovage"}},
    result_chord_join_timeout=10,
    task_publish_retry_policy={"max_retries": 1},
)


class Refused(Exception):
    """An exception of the app's own."""

    def __init__(self, reason, code):
        super().__init__(reason, code)


@app.task(name="py.add")
def add(x, y):
    return x + y


@app.task(name="py.size")
def size(text):
    return len(text)


@app.task(name="py.total")
def total(numbers):
    return sum(numbers)


@app.task(name="py.echo")
def echo(*args, **kwargs):
    return {"args": args, "kwargs": kwargs}


@app.task(name="py.fail")
def fail(*args, kind="ValueError"):
    raise {"ValueError": ValueError, "Refused": Refused}[kind](*args)


@app.task(name="py.again", bind=True)
def again(self, times, countdown=0):
    if self.request.retries < times:
        raise self.retry(countdown=countdown, max_retries=5)
    return [self.request.retries, self.request.headers, self.request.stamps]


@app.task(name="py.over", bind=True)
def over(self):
    raise self.retry(exc=ValueError("still", self.request.retries), countdown=0, max_retries=1)


@app.task(name="py.nested", bind=True)
def nested(self, name, *args):
    return app.signature(name, args=args).delay().id


@app.task(name="py.become", bind=True)
def become(self, signature):
    raise self.replace(app.signature(signature))


@app.task(name="py.progress", bind=True)
def progress(self, done):
    self.update_state(state="PROGRESS", meta={"done": done})
    raise Ignore()


@app.task(name="py.told")
def told(failed, *, marker):
    return marker


@app.task(name="py.note", bind=True)
def note(self, *args):
    return list(args)
