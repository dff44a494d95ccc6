/** What a function talks to, for bundles of `lovage/cdk`. */
import { open as openSqs } from "../brokers/sqs.ts";
import { isBackendScheme, isBrokerScheme, registerBackend, registerBroker } from "../open.ts";
import { open as openDynamodb } from "../results/dynamodb.ts";

/**
 * Makes SQS and DynamoDB known where `open.ts` was bundled without them: what a bundler reaches by `import()` it keeps
 * whole, and of both clients that would be every command there is. Elsewhere they are known already.
 */
export function registerAws(): void {
  if (!isBrokerScheme("sqs")) registerBroker("sqs", async () => ({ open: openSqs }));
  if (!isBackendScheme("dynamodb")) registerBackend("dynamodb", async () => ({ open: openDynamodb }));
}
