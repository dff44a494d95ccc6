"""Answers lines of JSON on standard input, several at a time; see python.ts."""
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor


def serve(answer, threads=1):
    """Calls `answer(question)` for every line and prints what it returns, or how it raised."""
    # What prints to standard output by the way must not come between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def work(line):
        question = json.loads(line)
        said = {"id": question["id"]}
        try:
            said["answer"] = answer(question)
        except Exception:
            said["raised"] = traceback.format_exc()
        with lock:
            out.write(json.dumps(said) + "\n")
            out.flush()

    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin:
            pool.submit(work, line)
