"""ministack, with one thing of its IAM as AWS has it: the batch requests of SQS need the right to the single request, and no right is named after them."""

from ministack.app import main
from ministack.core import iam_actions

extract = iam_actions.extract_iam_action


def extract_iam_action(service, *request):
    action = extract(service, *request)
    return action.removesuffix("Batch") if action and service == "sqs" else action


iam_actions.extract_iam_action = extract_iam_action

if __name__ == "__main__":
    main()
