"""A Python process that submits and waits, as an expression at a time tells it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "python"))
import datetime
import decimal
import time
import uuid

import celery.beat
from answering import serve
from celery.canvas import chain, chord, chunks, group, signature, xmap, xstarmap
from celery.result import AsyncResult, GroupResult

import proj
from proj import app

scope = {name: getattr(proj, name) for name in dir(proj)}
scope.update(datetime=datetime, decimal=decimal, uuid=uuid, time=time)
app.set_current()




def s(name, *args, **kwargs):
    return app.signature(name, args=args, kwargs=kwargs)


def got(result):
    return result.get(timeout=30, interval=0.05)


def outcome(result):
    """How it ended: a state, and what a reader has in hand. Celery would ask the results before it first, and raise theirs."""
    result = AsyncResult(result.id, app=app)
    try:
        got(result)
    except Exception as exc:
        return {
            "state": result.state,
            "type": type(exc).__name__,
            "bases": [base.__name__ for base in type(exc).__mro__[1:]],
            "module": type(exc).__module__,
            "args": list(exc.args),
            "text": str(exc),
            "traceback": result.traceback,
        }
    return {"state": result.state, "result": result.result}


def until(result, state):
    for _ in range(600):
        if result.state == state:
            return result.info
        time.sleep(0.05)
    raise TimeoutError(f"{result.id} is {result.state}")


def beat(task, args, options):
    """Sends an entry as beat does when it is due."""
    scheduler = celery.beat.Scheduler(app=app, lazy=True)
    entry = celery.beat.ScheduleEntry(name="entry", task=task, schedule=60, args=args, options=options, app=app)
    return scheduler.apply_async(entry, advance=False)


def post(queue, body):
    """Puts a text on a queue as it is, as no client would."""
    sqs = app.connection().channel().sqs(queue=queue)
    name = proj.prefix + queue
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=body)


scope.update(post=post)
scope.update(chunks=chunks, xmap=xmap, xstarmap=xstarmap)
scope.update(s=s, got=got, outcome=outcome, until=until, beat=beat, signature=signature, AsyncResult=AsyncResult, GroupResult=GroupResult)


def answer(question):
    return eval(question["expression"], scope)


serve(answer, threads=12)
