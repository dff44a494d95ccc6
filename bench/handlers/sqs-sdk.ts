/** A batch of messages by the AWS SDK's client, as `bundling: { awsSdk: true }` has it. */
import { SendMessageBatchCommand, SQSClient } from "@aws-sdk/client-sqs";
import { type Batch, TIMEOUTS } from "./sqs-batch.ts";

// As `brokers/sqs.ts` has it: the two checks cost more than they tell.
const client = new SQSClient({ requestHandler: TIMEOUTS, md5: false, useQueueUrlAsEndpoint: false });

export const send = (batch: Batch): Promise<object> => client.send(new SendMessageBatchCommand(batch));
