"""Chords and a chain as drive.ts has them: `celery_canvas.py <sizes of chords> <length of the chain>`."""
import json
import sys
import time

from celery import chain, chord
from celery_app import add, increment, total


def run_chord(members):
    return chord([add.s(i, 1) for i in range(members)], total.s()).apply_async().get()


def run_chain(steps):
    return chain(increment.s(0), *(increment.s() for _ in range(steps - 1))).apply_async().get()


def timed(name, run, size, expected):
    start = time.perf_counter()
    result = run(size)
    ms = (time.perf_counter() - start) * 1000
    print(json.dumps({"event": "canvas", "name": name, "ms": ms, "right": result == expected}), flush=True)


run_chord(10)
run_chain(2)
for members in map(int, sys.argv[1].split(",")):
    timed(f"chord of {members}", run_chord, members, members * (members + 1) // 2)
steps = int(sys.argv[2])
timed(f"chain of {steps}", run_chain, steps, steps)
