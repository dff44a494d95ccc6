/** Takes the place of `@aws-sdk/client-dynamodb` in a function's bundle: what `results/dynamodb.ts` uses of it. */
import { clientOf, command } from "./client.ts";

export class ConditionalCheckFailedException extends Error {}
export class ResourceInUseException extends Error {}

export const DynamoDBClient = clientOf({
  name: "DYNAMODB",
  service: "dynamodb",
  target: "DynamoDB_20120810",
  contentType: "application/x-amz-json-1.0",
  attempts: 4,
  backoff: 25,
  errors: { ConditionalCheckFailedException, ResourceInUseException },
  stringify,
  parse: (text) => withBytes(JSON.parse(text)),
});

export const BatchExecuteStatementCommand = command("BatchExecuteStatement");
export const BatchGetItemCommand = command("BatchGetItem");
export const CreateTableCommand = command("CreateTable");
export const DescribeTableCommand = command("DescribeTable");
export const PutItemCommand = command("PutItem");
export const QueryCommand = command("Query");
export const UpdateItemCommand = command("UpdateItem");
export const UpdateTimeToLiveCommand = command("UpdateTimeToLive");

/** Bytes travel in base64. */
function stringify(input: unknown): string {
  return JSON.stringify(input, function (this: Readonly<Record<string, unknown>>, key: string, value: unknown) {
    // What a Buffer makes of itself for JSON stands in `value` already.
    const given = this[key];
    return given instanceof Uint8Array
      ? Buffer.from(given.buffer, given.byteOffset, given.byteLength).toString("base64")
      : value;
  });
}

const bytesOf = (text: unknown): unknown => (typeof text === "string" ? Buffer.from(text, "base64") : text);

/** An answer with the bytes of its attribute values. A text at `B` is one: an attribute of that name has an object there. */
function withBytes(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const object = value as Record<string, unknown>;
  for (const [key, inner] of Object.entries(object)) {
    if (key === "B" && typeof inner === "string") object[key] = bytesOf(inner);
    else if (key === "BS" && Array.isArray(inner)) object[key] = inner.map(bytesOf);
    else withBytes(inner);
  }
  return value;
}
