/** Takes the place of `@aws-sdk/client-sqs` in a function's bundle: what `brokers/sqs.ts` uses of it. */
import { clientOf, command } from "./client.ts";

export const SQSClient = clientOf({
  name: "SQS",
  service: "sqs",
  target: "AmazonSQS",
  contentType: "application/x-amz-json-1.0",
});

export const ChangeMessageVisibilityBatchCommand = command("ChangeMessageVisibilityBatch");
export const CreateQueueCommand = command("CreateQueue");
export const DeleteMessageBatchCommand = command("DeleteMessageBatch");
export const GetQueueAttributesCommand = command("GetQueueAttributes");
export const GetQueueUrlCommand = command("GetQueueUrl");
export const ListQueuesCommand = command("ListQueues");
export const PurgeQueueCommand = command("PurgeQueue");
export const ReceiveMessageCommand = command("ReceiveMessage");
export const SendMessageBatchCommand = command("SendMessageBatch");
