/** The contracts of broker and backend, unchanged, on SQS and DynamoDB as the emulators have them. */
import { backendOn, brokerOn, journalOn } from "./adapters.ts";
import { emulator } from "./emulators.ts";

const [ministack, dynamodbLocal] = await Promise.all([emulator("ministack"), emulator("dynamodb")]);

// LocalStack honours receipts of earlier deliveries, as SQS itself may, and the contract says that they do nothing.
brokerOn("ministack", ministack);
backendOn("ministack", ministack);
backendOn("DynamoDB Local", dynamodbLocal);
journalOn("DynamoDB Local", dynamodbLocal);
