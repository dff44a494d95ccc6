/** The same on the clients that a function's bundle has in place of the SDK's: `bundlingFor` replaces the same modules. */
import { vi } from "vitest";

vi.mock("#aws/sqs", () => import("../../src/aws/bundled-sqs.ts"));
vi.mock("#aws/eventbridge", () => import("../../src/aws/bundled-eventbridge.ts"));
vi.mock("#aws/dynamodb", async () => {
  const bundled = await import("../../src/aws/bundled-dynamodb.ts");
  type Config = ConstructorParameters<typeof bundled.DynamoDBClient>[0];
  class DynamoDBClient extends bundled.DynamoDBClient {
    // A client of the tests' own says nothing of timeouts.
    constructor(config: Config) {
      super({ ...config, requestHandler: config.requestHandler ?? { connectionTimeout: 2000, requestTimeout: 5000 } });
    }
  }
  return { ...bundled, DynamoDBClient };
});

await import("./aws-adapters.test.ts");
await import("./aws-faults.test.ts");
await import("./beat-store.test.ts");
