/** Powertools for AWS Lambda as its documentation puts batch and idempotency together; SQS's client, for what a task may send. */
import { BatchProcessor, EventType, processPartialResponse } from "@aws-lambda-powertools/batch";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { SQSClient } from "@aws-sdk/client-sqs";

export const sqs = new SQSClient({});
const processor = new BatchProcessor(EventType.SQS);
const config = new IdempotencyConfig({ eventKeyJmesPath: "messageId" });
const persistenceStore = new DynamoDBPersistenceLayer({ tableName: "results" });

const run = makeIdempotent(
  async (record) => {
    const { size } = JSON.parse(record.body);
    return "x".repeat(size);
  },
  { persistenceStore, config },
);

export const handler = async (event, context) => {
  config.registerLambdaContext(context);
  return processPartialResponse(event, run, processor, { context });
};
