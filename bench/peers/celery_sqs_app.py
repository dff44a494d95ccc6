"""Celery on SQS and DynamoDB."""
import os

from celery import Celery

host = "localhost:" + os.environ["BENCH_PORT"]
app = Celery("bench", broker=f"sqs://test:test@{host}", backend=f"dynamodb://@{host}/celery-results")
app.conf.update(
    dynamodb_endpoint_url=f"http://{host}",
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "wait_time_seconds": 1,
        "polling_interval": 0,
        "visibility_timeout": 60,
    },
    task_default_queue="python",
    worker_prefetch_multiplier=10,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.add")
def add(x, y):
    return x + y
