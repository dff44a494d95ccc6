/** A batch of messages by the client that functions' bundles have. */
import { SendMessageBatchCommand, SQSClient } from "../../src/aws/bundled-sqs.ts";
import { type Batch, TIMEOUTS } from "./sqs-batch.ts";

const client = new SQSClient({ requestHandler: TIMEOUTS });

export const send = (batch: Batch): Promise<object> => client.send(new SendMessageBatchCommand(batch));
