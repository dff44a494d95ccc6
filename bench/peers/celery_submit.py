"""Sends and reads as drive.ts does: `celery_submit.py <tasks in bulk> <tasks one by one>`."""
import json
import sys
import time

from celery.result import ResultSet
from celery_app import add, app

WARM_UP = 500
EVERY = 0.02


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def bulk(count):
    with app.producer_pool.acquire(block=True) as producer:
        results = [add.apply_async((i, 1), producer=producer) for i in range(count)]
    return ResultSet(results).join_native()


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


count, light = (int(argument) for argument in sys.argv[1:])
bulk(WARM_UP)
for i in range(20):
    add.delay(i, 1).get()
tell("begin")
start = time.perf_counter()
results = bulk(count)
tell("bulk", seconds=time.perf_counter() - start, right=results == [i + 1 for i in range(count)])

latencies, wrong = [], []
start = time.perf_counter()
for i in range(light):
    time.sleep(max(0, start + i * EVERY - time.perf_counter()))
    sent = time.perf_counter()
    result = add.delay(i, 1).get()
    latencies.append((time.perf_counter() - sent) * 1000)
    if result != i + 1:
        wrong.append(result)
tell("light", p50=quantile(latencies, 0.5), p99=quantile(latencies, 0.99), right=not wrong)
