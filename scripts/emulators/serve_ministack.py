"""ministack, with one thing of its IAM as AWS has it: the batch requests of SQS need the right to the single request, and no right is named after them.

It is served by uvicorn in the place of ministack's own server, whose parser is written in Python: two thirds of the CPU time of a
request went there."""

import os
import resource

import uvicorn
from ministack.app import app
from ministack.core import iam_actions

extract = iam_actions.extract_iam_action


def extract_iam_action(service, *request):
    action = extract(service, *request)
    return action.removesuffix("Batch") if action and service == "sqs" else action


iam_actions.extract_iam_action = extract_iam_action

if __name__ == "__main__":
    # As ministack's own main does: bursts of connections take more than the usual 1,024 files.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvicorn.run(
        app,
        host=os.environ["BIND_HOST"],
        port=int(os.environ["GATEWAY_PORT"]),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        # What ministack's server was told: connections rest for so long, and answers have the headers that the app gives them.
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
        access_log=False,
    )
