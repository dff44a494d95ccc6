/** Users are told the same where a function's bundle has its own clients in place of the SDK's. */
import { vi } from "vitest";

vi.mock("#aws/sqs", () => import("../../src/aws/bundled-sqs.ts"));
vi.mock("#aws/dynamodb", () => import("../../src/aws/bundled-dynamodb.ts"));

await import("./errors.test.ts");
