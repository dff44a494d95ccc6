"""A group over SQS, its results read once: `celery_sqs_submit.py <members>`."""
import json
import sys
import time

from celery import group
from celery_sqs_app import add


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def run(count):
    start = time.perf_counter()
    result = group(add.s(i, 1) for i in range(count)).apply_async()
    submitted = time.perf_counter()
    values = result.get()
    done = time.perf_counter()
    right = values == [i + 1 for i in range(count)]
    return {"submitMs": (submitted - start) * 1000, "resultsMs": (done - start) * 1000, "right": right}


run(10)
tell("begin")
tell("done", **run(int(sys.argv[1])))
