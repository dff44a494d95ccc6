"""The Celery app. Of `reports.render`, which TypeScript runs, it has the name."""
import os

from celery import Celery, chord

# Celery wants to be told of an emulator in the URL.
aws = os.environ.get("AWS_ENDPOINT_URL", "").removeprefix("http://")

app = Celery("shop", broker=f"sqs://test:test@{aws}" if aws else "sqs://")
app.conf.update(
    result_backend=f"dynamodb://@{aws or os.environ['AWS_REGION']}/shop-results",
    broker_transport_options={
        "region": os.environ["AWS_REGION"],
        "is_secure": not aws,
        "queue_name_prefix": "shop-",
        "wait_time_seconds": 1,
    },
    task_routes={"reports.*": {"queue": "reports"}},
)

PRICES = {"tea": 4.9, "pot": 50.0}
ORDERS = {7: {"tea": 2, "pot": 1}}


@app.task(name="orders.price")
def price(order, item):
    return round(PRICES[item] * ORDERS[order][item], 2)


@app.task(name="orders.total")
def total(order):
    return sum(price(order, item) for item in ORDERS[order])


# As `@app.task` would give it; only that its code is elsewhere.
render = app.signature("reports.render")


if __name__ == "__main__":
    members = [price.s(7, item) for item in ORDERS[7]]
    report = chord(members)(render.clone(kwargs={"order": 7, "copies": 2}))
    print(report.get(timeout=30))
