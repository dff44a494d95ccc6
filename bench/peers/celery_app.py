"""Celery on Redis, tuned as its guide on optimizing says for many short tasks."""
import os

from celery import Celery

url = "redis+socket://" + os.environ["BENCH_REDIS"]
app = Celery("bench", broker=url, backend=url)
app.conf.update(
    worker_prefetch_multiplier=128,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.increment")
def increment(x):
    return x + 1


@app.task(name="bench.total")
def total(numbers):
    return sum(numbers)
